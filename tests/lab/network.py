# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wire the nodes of a plan together: links, addresses, routes, and what each router does.

Both beds stand on this network; they differ in what runs on the hosts.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Sequence

from . import delay, netns
from .errors import LabError
from .nat import Nat, loss_ruleset, ruleset
from .netns import Node
from .topology import (
    INTERNET,
    LAN_GATEWAY,
    PROVIDER,
    REGISTRY,
    REGISTRY_NET,
    ROUTED_ADDRESSES,
    SITE_NETS,
    Attachment,
    Site,
    SitePlan,
    plan,
    registry_attachment,
)

# A reboot inverts some bits of the mapped ports, never of the lowest three: hosts of one site whose
# ports are neighbours do not get each other's old mappings.
_SHIFT_STEP, _SHIFT_END = 8, 1024


class Router:
    """A site's router, whose NAT can be changed while packets flow."""

    def __init__(self, site: SitePlan, nodes: dict[str, Node]) -> None:
        self.site = site
        self.node = nodes[site.router]
        self.nat = site.site.nat
        self._provider = nodes[site.provider] if site.is_double else None
        self._hosts = {name: nodes[name] for name in site.hosts}
        self._numbers = {name: number for number, name in enumerate(site.hosts)}
        self._next_number = len(self._numbers)
        self._shift = 0

    def set_nat(self, nat: Nat | str) -> None:
        """Do ``nat`` from now on (a kind's name keeps everything else) and forget all mappings.

        :raises ValueError: for an unknown kind, or none for more hosts than there are addresses
        :raises LabError: to ``double`` or from it, since a provider's NAT is a node more
        """
        if isinstance(nat, str):
            nat = dataclasses.replace(self.nat, kind=nat)
        if (nat.kind == "double") != self.site.is_double:
            raise LabError(
                f"{self.node.name} cannot become {nat.kind} while the lab is up: a double NAT has "
                f"a provider's router more. Build the lab with it for site {self.site.site.name}"
            )
        before, self.nat = self.nat, nat
        self.flush()
        self.set_loss(nat.loss)
        if (before.kind == "none") != self.is_public:
            for name, node in self._hosts.items():
                routed = self.site.routed_address(self._numbers[name])
                verb = "add" if self.is_public else "delete"
                _ip(node, [f"address {verb} {routed}/32 dev eth0", self._default_route(name)])

    @property
    def is_public(self) -> bool:
        """Whether hosts have public addresses, since there is no NAT."""
        return self.nat.kind == "none"

    def set_loss(self, percent: int) -> None:
        """Lose so many of the forwarded packets from now on; all mappings stay.

        :raises ValueError: for what is no percentage
        """
        self.nat = dataclasses.replace(self.nat, loss=percent)
        self.node.run(["nft", "-f", "-"], stdin=loss_ruleset(percent))

    def flush(self) -> None:
        """Forget all mappings. Where the kind of NAT keeps ports, new ones get the same ports."""
        if self._provider:
            _translate(self._provider, dataclasses.replace(self.nat, kind="port-restricted"))
        _translate(self.node, self.nat, self._shift)

    def reboot(self) -> None:
        """Forget all mappings, and map every UDP port to another one than before.

        Where NAT is double, the provider's goes on; it sees other ports of the router, and so
        does the world.
        """
        self._shift = (self._shift + _SHIFT_STEP) % _SHIFT_END or _SHIFT_STEP
        _translate(self.node, self.nat, self._shift)

    def attachment(self, name: str) -> Attachment:
        """The addresses of a host that is here."""
        return self.site.attachment(self._numbers[name])

    def outside(self, name: str) -> str:
        """The IPv4 address under which the internet sees a host that is here."""
        if self.is_public:
            return self.site.routed_address(self._numbers[name])
        return self.site.wan_address

    def admit(self, node: Node) -> None:
        """Give a host that has no addresses some that none had here for a while."""
        others = {self._numbers[name] for name in self._hosts if name != node.name}
        routed = {number % ROUTED_ADDRESSES for number in others}
        if self.is_public and len(routed) == ROUTED_ADDRESSES:
            raise LabError(f"no public address is left for {node.name} behind {self.node.name}")
        while self.is_public and self._next_number % ROUTED_ADDRESSES in routed:
            self._next_number += 1
        self._hosts[node.name] = node
        self._numbers[node.name] = self._next_number
        self._next_number += 1
        self.configure(node)

    def dismiss(self, name: str) -> None:
        """Forget a host that is no longer here."""
        del self._hosts[name], self._numbers[name]

    def configure(self, node: Node) -> None:
        """Set the addresses and routes of a host that is here."""
        lines = _addresses(self.attachment(node.name))
        if self.is_public:
            lines += [
                f"address add {self.outside(node.name)}/32 dev eth0",
                self._default_route(node.name),
            ]
        _ip(node, lines)

    def _default_route(self, name: str) -> str:
        source = f" src {self.outside(name)}" if self.is_public else ""
        return f"route replace default via {LAN_GATEWAY} dev eth0{source}"


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
        _ip(before.node, [f"link set {cable} netns {after.node.pid}"])
        _ip(node, [_FORGET_ADDRESSES])
        before.dismiss(host)
        self._places[host] = after
        _ip(after.node, [f"link set {cable} master lan", f"link set {cable} up"])
        after.admit(node)

    def renumber(self, host: str) -> None:
        """Take a host's addresses away and give it others of the same network."""
        node = self.nodes[host]
        _ip(node, [_FORGET_ADDRESSES])
        if host == REGISTRY:
            self._registry_number += 1
            _ip(node, _addresses(self.attachment(host)))
        else:
            self._places[host].admit(node)

    def plug(self, host: str, state: str) -> None:
        """Set the far end of a host's cable ``up`` or ``down``."""
        if host == REGISTRY:
            _ip(self.nodes[INTERNET], [f"link set {REGISTRY} {state}"])
        else:
            _ip(self._places[host].node, [f"link set {_cable(host)} {state}"])


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
            f"address add {net.start6}:1/64 dev {net.bridge}",
            f"link set {net.bridge} up",
        ]
    _ip(internet, lines)
    registry = nodes[REGISTRY]
    _link(registry, "eth0", internet, REGISTRY, bridge=REGISTRY_NET.bridge, seconds=registry_delay)
    _ip(registry, _addresses(registry_attachment()))


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
    _ip(
        outermost,
        [
            f"address add {site.wan_address}/24 dev wan",
            f"address add {site.wan_address6}/64 dev wan",
            f"route add default via {net.start}.1",
            f"route add default via {net.start6}:1",
        ],
    )
    _ip(
        nodes[INTERNET],
        [
            f"route add {site.routed_net} via {site.wan_address}",
            f"route add {site.lan6}:/64 via {site.wan_address6}",
        ],
    )
    if site.is_double:
        _link(router, "wan", outermost, "lan")
        _ip(
            outermost,
            [
                f"address add {PROVIDER}.1/24 dev lan",
                f"address add {site.provider6}:1/64 dev lan",
                f"route add {site.lan6}:/64 via {site.provider6}:10",
            ],
        )
        _ip(
            router,
            [
                f"address add {PROVIDER}.10/24 dev wan",
                f"address add {site.provider6}:10/64 dev wan",
                f"route add default via {PROVIDER}.1",
                f"route add default via {site.provider6}:1",
            ],
        )
    _ip(
        router,
        [
            # An address of its own: else the bridge takes one from its ports, and another one when
            # a host moves away.
            f"link add name lan address 02:00:00:00:{site.index:02x}:01 type bridge",
            f"address add {LAN_GATEWAY}/24 dev lan",
            f"address add {site.lan6}:1/64 dev lan",
            "link set lan up",
            f"route add {site.routed_net} dev lan",
        ],
    )
    for name in site.hosts:
        _link(nodes[name], "eth0", router, _cable(name), bridge="lan")


def _cable(host: str) -> str:
    """The router's end of a host's cable."""
    return f"to-{host}"[:15]


_FORGET_ADDRESSES = "address flush dev eth0 scope global"


def _addresses(attachment: Attachment) -> list[str]:
    return [
        f"address add {attachment.ipv4} dev eth0",
        f"address add {attachment.ipv6} dev eth0",
        f"route replace default via {attachment.gateway} dev eth0",
        f"route replace default via {attachment.gateway6} dev eth0",
    ]


def _translate(router: Node, nat: Nat, shift: int = 0) -> None:
    router.run(["nft", "-f", "-"], stdin=ruleset(nat, shift))
    router.run(["conntrack", "-F"])


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
    if seconds:
        _link_slowly(node, interface, other, other_interface, seconds, jitter)
    else:
        peer = f"peer name {other_interface} netns {other.pid}"
        _ip(node, [f"link add name {interface} type veth {peer}"])
    _ip(node, [f"link set {interface} up"])
    master = [f"link set {other_interface} master {bridge}"] if bridge else []
    _ip(other, [*master, f"link set {other_interface} up"])


def _link_slowly(
    node: Node, interface: str, other: Node, other_interface: str, seconds: float, jitter: float
) -> None:
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


def _ip(node: Node, lines: list[str]) -> None:
    """Run several ``ip`` commands in one process."""
    node.run(["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")
