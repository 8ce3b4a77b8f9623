# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wire the nodes of a plan together: links, addresses, routes, and what each router does.

Both beds stand on this network; they differ in what runs on the hosts.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from . import delay, netns
from .errors import LabError
from .netns import Node
from .router import Router, forget_addresses, set_addresses
from .topology import (
    INTERNET,
    LAN_GATEWAY,
    PROVIDER,
    REGISTRY,
    REGISTRY_NET,
    SITE_NETS,
    Attachment,
    PublicNet,
    Site,
    SitePlan,
    plan,
    registry_attachment,
)


class Network:
    """All nodes of a lab, with their links."""

    def __init__(self, prefix: str, sites: Sequence[Site], nodes: dict[str, Node]) -> None:
        self.prefix = prefix
        self.sites = plan(sites)
        self.nodes = nodes
        self.routers = {site.letter: Router(site, nodes) for site in self.sites}
        self._places = {
            name: self.routers[site.letter] for site in self.sites for name in site.hosts
        }
        self._registry_number = 0

    @property
    def hosts(self) -> dict[str, Node]:
        """The registry and the hosts of all sites."""
        names = [REGISTRY, *(name for site in self.sites for name in site.hosts)]
        return {name: self.nodes[name] for name in names}

    def router(self, name: str) -> Router:
        """A router by its letter, or by the name of its site.

        :raises LabError: when there is none
        """
        letters = {site.site.name: site.letter for site in self.sites}
        letter = letters.get(name, name)
        if letter not in self.routers:
            raise LabError(f"no router {name!r}; there are {', '.join(self.routers)}")
        return self.routers[letter]

    def attachment(self, host: str) -> Attachment:
        """The addresses that a host has now."""
        if host == REGISTRY:
            return registry_attachment(self._registry_number)
        return self._places[host].attachment(host)

    def outside(self, host: str) -> str:
        """The IPv4 address under which the internet sees a host now."""
        if host == REGISTRY:
            return self.attachment(host).address
        return self._places[host].outside(host)

    def move(self, host: str, to: str) -> None:
        """Plug a host's cable into the router ``to``: carrier and addresses go, others come.

        :raises LabError: when there is no such router, or the host is behind it already
        """
        before, after, node = self._places[host], self.router(to), self.nodes[host]
        if before is after:
            raise LabError(f"{host} is behind {after.node.name} already; renumber it instead")
        cable = _cable(host)
        before.node.ip([f"link set {cable} netns {after.node.pid}"])
        forget_addresses(node)
        before.dismiss(host)
        self._places[host] = after
        after.node.ip([f"link set {cable} master lan", f"link set {cable} up"])
        after.admit(node)

    def renumber(self, host: str) -> None:
        """Take a host's addresses away and give it others of the same network."""
        node = self.nodes[host]
        forget_addresses(node)
        if host == REGISTRY:
            self._registry_number += 1
            set_addresses(node, self.attachment(host))
        else:
            self._places[host].admit(node)

    def plug(self, host: str, state: str) -> None:
        """Set the far end of a host's cable ``up`` or ``down``."""
        if host == REGISTRY:
            self.nodes[INTERNET].ip([f"link set {REGISTRY} {state}"])
        else:
            self._places[host].node.ip([f"link set {_cable(host)} {state}"])


def build(prefix: str, sites: Sequence[Site], registry_delay: float = 0.0) -> Network:
    """Make all nodes and links. A failure leaves nodes behind: the caller removes the lab.

    :param registry_delay: seconds that a packet takes on the registry's access link, either way
    """
    plans = plan(sites)
    nodes = {INTERNET: netns.create_host(prefix, INTERNET, forward=True)}
    nodes[REGISTRY] = netns.create_host(prefix, REGISTRY)
    for site in plans:
        for name in [site.provider] * site.is_double + [site.router]:
            nodes[name] = netns.create_host(prefix, name, forward=True)
        for name in site.hosts:
            nodes[name] = netns.create_host(prefix, name)
    network = Network(prefix, sites, nodes)
    _build_internet(nodes, registry_delay)
    for site in plans:
        _build_site(nodes, site)
        router = network.routers[site.letter]
        router.set_nat(site.site.nat)
        for name in site.hosts:
            router.configure(nodes[name])
    return network


def attach(prefix: str, sites: Sequence[Site]) -> Network | None:
    """The network that :func:`build` has made in another process; None unless it is whole."""
    nodes = netns.find(prefix)
    plans = plan(sites)
    needed = {INTERNET, REGISTRY, *(site.router for site in plans)}
    needed |= {site.provider for site in plans if site.is_double}
    needed |= {name for site in plans for name in site.hosts}
    return Network(prefix, sites, nodes) if needed <= set(nodes) else None


def _build_internet(nodes: dict[str, Node], registry_delay: float) -> None:
    internet = nodes[INTERNET]
    lines = []
    for net in (REGISTRY_NET, *SITE_NETS):
        lines += [
            f"link add name {net.bridge} type bridge",
            f"address add {net.start}.1/{net.length} dev {net.bridge}",
            f"address add {net.start6}:1/64 dev {net.bridge} nodad",
            f"link set {net.bridge} up",
        ]
    internet.ip(lines)
    registry = nodes[REGISTRY]
    _link(registry, "eth0", internet, REGISTRY, bridge=REGISTRY_NET.bridge, seconds=registry_delay)
    set_addresses(registry, registry_attachment())
    if registry_delay:
        _greet(registry, REGISTRY_NET)


def _build_site(nodes: dict[str, Node], site: SitePlan) -> None:
    router = nodes[site.router]
    outermost = nodes[site.provider] if site.is_double else router
    net, access = site.net, site.site
    _link(
        outermost,
        "wan",
        nodes[INTERNET],
        f"site-{site.letter}",
        bridge=net.bridge,
        seconds=access.delay,
        jitter=access.jitter,
    )
    outermost.ip(
        [
            f"address add {site.wan_address}/24 dev wan",
            f"address add {site.wan_address6}/64 dev wan nodad",
            f"route add default via {net.start}.1",
            f"route add default via {net.start6}:1",
        ],
    )
    if access.delay:
        _greet(outermost, net)
    nodes[INTERNET].ip(
        [
            f"route add {site.routed_net} via {site.wan_address}",
            f"route add {site.lan6}:/64 via {site.wan_address6}",
        ],
    )
    if site.is_double:
        _link(router, "wan", outermost, "lan")
        outermost.ip(
            [
                f"address add {PROVIDER}.1/24 dev lan",
                f"address add {site.provider6}:1/64 dev lan nodad",
                f"route add {site.lan6}:/64 via {site.provider6}:10",
            ],
        )
        router.ip(
            [
                f"address add {PROVIDER}.10/24 dev wan",
                f"address add {site.provider6}:10/64 dev wan nodad",
                f"route add default via {PROVIDER}.1",
                f"route add default via {site.provider6}:1",
            ],
        )
    router.ip(
        [
            # An address of its own: else the bridge takes one from its ports, and another one when
            # a host moves away.
            f"link add name lan address 02:00:00:00:{site.index:02x}:01 type bridge",
            f"address add {LAN_GATEWAY}/24 dev lan",
            f"address add {site.lan6}:1/64 dev lan nodad",
            "link set lan up",
            f"route add {site.routed_net} dev lan",
        ],
    )
    for name in site.hosts:
        _link(nodes[name], "eth0", router, _cable(name), bridge="lan")


def _cable(host: str) -> str:
    """The router's end of a host's cable."""
    return f"to-{host}"[:15]


def _link(
    node: Node,
    interface: str,
    other: Node,
    other_interface: str,
    bridge: str | None = None,
    seconds: float = 0.0,
    jitter: float = 0.0,
) -> None:
    """A cable between two nodes, both ends up; the other end in ``bridge``, if given.

    :param seconds: how long a packet is under way, give or take ``jitter``
    """
    create: list[str] = []
    if seconds:
        _link_slowly(node, interface, other, other_interface, seconds, jitter)
    else:
        peer = f"peer name {other_interface} netns {other.pid}"
        create = [f"link add name {interface} type veth {peer}"]
    node.ip([*create, f"link set {interface} up"])
    master = [f"link set {other_interface} master {bridge}"] if bridge else []
    other.ip([*master, f"link set {other_interface} up"])


def _link_slowly(
    node: Node, interface: str, other: Node, other_interface: str, seconds: float, jitter: float
) -> None:
    """Both ends of a cable, and the process that is the cable (`delay`); the lab ends it."""
    ends = [interface, str(other.pid), other_interface]
    process = node.popen(
        [sys.executable, "-I", "-S", delay.__file__, *ends, str(seconds), str(jitter)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    with process.stdout as said:
        if (line := said.readline()) != delay.READY:
            raise LabError(f"no delayed cable to {node.name}: {line}{said.read()}")


def _greet(node: Node, net: PublicNet) -> None:
    """Let a node and the internet learn each other's link addresses, as on a line in use.

    On a line that takes its time, the first packets would wait for ARP and get lost there.
    """
    for gateway in (f"{net.start}.1", f"{net.start6}:1"):
        node.run(["ping", "-c1", "-W5", gateway])
