# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bed of bare namespaces: engine tests, the NAT grid and benchmarks; up in a quarter second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from . import machine, netns, network, wireguard
from .errors import LabError
from .lock import locked
from .names import check_prefix
from .netns import Node
from .network import Network
from .router import Router
from .signals import signals_raise
from .topology import INTERNET, REGISTRY, Site
from .wireguard import WireGuard

DEFAULT_SITES = (Site("alice"), Site("bob"))


class BareHost(Node):
    """A host without an operating system of its own: a network, a /run, and what a test starts."""

    def __init__(self, node: Node, network: Network) -> None:
        super().__init__(node.name, node.pid)
        self._network = network

    @property
    def address(self) -> str:
        """Its own IPv4 address now; see :meth:`BareLab.move`."""
        return self._network.attachment(self.name).address

    @property
    def address6(self) -> str:
        """Its IPv6 address now, by which the internet sees it too."""
        return self._network.attachment(self.name).address6

    @property
    def outside(self) -> str:
        """The IPv4 address by which the internet sees it now."""
        return self._network.outside(self.name)

    def start_wireguard(
        self,
        interface: str = "wg0",
        *,
        address: str | None = None,
        listen_port: int = 51820,
        private_key: str | None = None,
    ) -> WireGuard:
        """Start a WireGuard device here; see :func:`tests.lab.wireguard.start`."""
        return wireguard.start(
            self, interface, address=address, listen_port=listen_port, private_key=private_key
        )


class BareLab:
    """A registry, and sites behind routers; a context manager.

    Everything is gone when the block is left, by an exception, ^C, SIGTERM and SIGHUP too; a lab
    of the same prefix that was killed is removed first.

    :param prefix: tells this lab's processes from other labs'
    :param sites: in the order of their routers ``a``, ``b`` …
    :param registry_delay: seconds that a packet takes on the registry's access link, either way
    """

    def __init__(
        self, prefix: str, sites: Sequence[Site] = DEFAULT_SITES, registry_delay: float = 0.0
    ) -> None:
        self.prefix = check_prefix(prefix)
        self._sites = tuple(sites)
        self._registry_delay = registry_delay
        self._network: Network | None = None
        self._hosts: dict[str, BareHost] = {}
        self._stack = ExitStack()

    def __enter__(self) -> BareLab:
        machine.check()
        with ExitStack() as stack:
            stack.enter_context(signals_raise())
            stack.enter_context(locked(self.prefix))
            netns.remove(self.prefix)
            stack.callback(netns.remove, self.prefix)
            self._network = network.build(self.prefix, self._sites, self._registry_delay)
            self._stack = stack.pop_all()
        built = self._network
        self._hosts = {name: BareHost(node, built) for name, node in built.hosts.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def hosts(self) -> dict[str, BareHost]:
        """All hosts, the registry first."""
        return self._hosts

    @property
    def registry(self) -> BareHost:
        """The host with the public address 203.0.113.4."""
        return self._hosts[REGISTRY]

    @property
    def internet(self) -> Node:
        """The router between the public networks: the place to watch packets."""
        assert self._network, "the lab is not up"
        return self._network.nodes[INTERNET]

    def host(self, name: str) -> BareHost:
        """A host by its name.

        :raises LabError: when there is none
        """
        if name not in self._hosts:
            raise LabError(f"no host {name!r}; there are {', '.join(self._hosts)}")
        return self._hosts[name]

    def router(self, name: str) -> Router:
        """A router by its letter, or by the name of its site.

        :raises LabError: when there is none
        """
        assert self._network, "the lab is not up"
        return self._network.router(name)

    def move(self, name: str, to: str) -> None:
        """Plug a host into the router of another site, as a laptop that is carried to a café.

        Its interface loses its carrier and its addresses, and gets others; what runs there goes on.

        :param to: the letter of a router, or the name of its site
        :raises LabError: when there is no such host or router, or the host is there already
        """
        assert self._network, "the lab is not up"
        self._network.move(self.host(name).name, to)

    def renumber(self, name: str) -> None:
        """Take a host's addresses away and give it others of the same network.

        :raises LabError: when there is no such host
        """
        assert self._network, "the lab is not up"
        self._network.renumber(self.host(name).name)

    @contextmanager
    def unplugged(self, name: str) -> Iterator[None]:
        """Have a host without its cable for the length of the block; its addresses stay.

        :raises LabError: when there is no such host
        """
        assert self._network, "the lab is not up"
        self._network.plug(self.host(name).name, "down")
        try:
            yield
        finally:
            self._network.plug(name, "up")
