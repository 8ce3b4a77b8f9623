# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wire the nodes of a plan together: links, addresses, routes, and what each router does.

Both beds stand on this network; they differ in what runs on the hosts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from . import netns
from .errors import LabError
from .nat import Nat, ruleset
from .netns import Node
from .topology import (
    INTERNET,
    LAN_GATEWAY,
    PROVIDER,
    REGISTRY,
    REGISTRY_ADDRESS,
    REGISTRY_NET,
    SITE_NETS,
    Site,
    SitePlan,
    plan,
)


class Router:
    """A site's router, whose NAT can be changed while packets flow."""

    def __init__(self, site: SitePlan, nodes: dict[str, Node]) -> None:
        self.site = site
        self.node = nodes[site.router]
        self.nat = site.site.nat
        self._provider = nodes[site.provider] if site.is_double else None
        self._hosts = {name: nodes[name] for name in site.hosts}

    def set_nat(self, nat: Nat | str) -> None:
        """Do ``nat`` from now on (a kind's name keeps drop and loss) and forget all mappings.

        :raises ValueError: for an unknown kind
        :raises LabError: to ``double`` or from it, since a provider's NAT is a node more
        """
        if isinstance(nat, str):
            nat = dataclasses.replace(self.nat, kind=nat)
        if (nat.kind == "double") != self.site.is_double:
            raise LabError(
                f"{self.node.name} cannot become {nat.kind} while the lab is up: a double NAT has "
                f"a provider's router more. Build the lab with it for site {self.site.site.name}"
            )
        self.nat = nat
        if self._provider:
            nat = dataclasses.replace(nat, kind="port-restricted")
            _translate(self._provider, dataclasses.replace(nat, loss=0))
        _translate(self.node, nat)
        self._route_publicly(nat.kind == "none")

    def _route_publicly(self, public: bool) -> None:
        """Without NAT a host needs an address that the internet knows the way to."""
        for name, node in self._hosts.items():
            address = self.site.public_address(name)
            node.run(["ip", "address", "delete", f"{address}/32", "dev", "eth0"], check=False)
            route = ["ip", "route", "replace", "default", "via", LAN_GATEWAY, "dev", "eth0"]
            if public:
                node.run(["ip", "address", "replace", f"{address}/32", "dev", "eth0"])
                route += ["src", address]
            node.run(route)

    def flush(self) -> None:
        """Forget all mappings, as a router does that has been switched off and on."""
        self.set_nat(self.nat)


class Network:
    """All nodes of a lab, with their links."""

    def __init__(self, prefix: str, sites: Sequence[Site], nodes: dict[str, Node]) -> None:
        self.prefix = prefix
        self.sites = plan(sites)
        self.nodes = nodes
        self.routers = {site.letter: Router(site, nodes) for site in self.sites}

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


def build(prefix: str, sites: Sequence[Site]) -> Network:
    """Make all nodes and links. A failure leaves nodes behind: the caller removes the lab."""
    plans = plan(sites)
    nodes = {INTERNET: netns.create_host(prefix, INTERNET, forward=True)}
    nodes[REGISTRY] = netns.create_host(prefix, REGISTRY)
    for site in plans:
        for name in [site.provider] * site.is_double + [site.router]:
            nodes[name] = netns.create_host(prefix, name, forward=True)
        for name in site.hosts:
            nodes[name] = netns.create_host(prefix, name)
    network = Network(prefix, sites, nodes)
    _build_internet(nodes)
    for site in plans:
        _build_site(nodes, site)
        network.routers[site.letter].set_nat(site.site.nat)
    return network


def attach(prefix: str, sites: Sequence[Site]) -> Network | None:
    """The network that :func:`build` has made in another process; None unless it is whole."""
    nodes = netns.find(prefix)
    plans = plan(sites)
    needed = {INTERNET, REGISTRY, *(site.router for site in plans)}
    needed |= {site.provider for site in plans if site.is_double}
    needed |= {name for site in plans for name in site.hosts}
    return Network(prefix, sites, nodes) if needed <= set(nodes) else None


def _build_internet(nodes: dict[str, Node]) -> None:
    internet = nodes[INTERNET]
    lines = []
    for bridge, net, length in (REGISTRY_NET, *SITE_NETS):
        lines += [
            f"link add name {bridge} type bridge",
            f"address add {net}.1/{length} dev {bridge}",
            f"link set {bridge} up",
        ]
    _ip(internet, lines)
    bridge, net, length = REGISTRY_NET
    _link(nodes[REGISTRY], "eth0", internet, REGISTRY, bridge=bridge)
    _ip(
        nodes[REGISTRY],
        [
            f"address add {REGISTRY_ADDRESS}/{length} dev eth0",
            f"route add default via {net}.1",
        ],
    )


def _build_site(nodes: dict[str, Node], site: SitePlan) -> None:
    router = nodes[site.router]
    outermost = nodes[site.provider] if site.is_double else router
    _link(outermost, "wan", nodes[INTERNET], f"site-{site.letter}", bridge=site.bridge)
    _ip(
        outermost,
        [
            f"address add {site.wan_address}/24 dev wan",
            f"route add default via {site.wan_gateway}",
        ],
    )
    _ip(nodes[INTERNET], [f"route add {site.routed_net} via {site.wan_address}"])
    if site.is_double:
        _link(router, "wan", outermost, "lan")
        _ip(outermost, [f"address add {PROVIDER}.1/24 dev lan"])
        _ip(
            router,
            [f"address add {PROVIDER}.10/24 dev wan", f"route add default via {PROVIDER}.1"],
        )
    _ip(
        router,
        [
            "link add name lan type bridge",
            f"address add {LAN_GATEWAY}/24 dev lan",
            "link set lan up",
            f"route add {site.routed_net} dev lan",
        ],
    )
    for name, address in site.hosts.items():
        _link(nodes[name], "eth0", router, f"to-{name}"[:15], bridge="lan")
        _ip(nodes[name], [f"address add {address}/24 dev eth0"])


def _translate(router: Node, nat: Nat) -> None:
    router.run(["nft", "-f", "-"], stdin=ruleset(nat))
    router.run(["conntrack", "-F"])


def _link(
    node: Node, interface: str, other: Node, other_interface: str, bridge: str | None = None
) -> None:
    """A cable between two nodes, both ends up; the other end in ``bridge``, if given."""
    peer = f"peer name {other_interface} netns {other.pid}"
    _ip(node, [f"link add name {interface} type veth {peer}", f"link set {interface} up"])
    master = [f"link set {other_interface} master {bridge}"] if bridge else []
    _ip(other, [*master, f"link set {other_interface} up"])


def _ip(node: Node, lines: list[str]) -> None:
    """Run several ``ip`` commands in one process."""
    node.run(["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")
