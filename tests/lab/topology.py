# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The picture that both beds build: an internet, a registry, and sites behind routers.

Pure: from the list of sites to the plan of nodes and addresses. All public addresses come from
the documentation ranges (RFC 5737); every site has the same private network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from .nat import Nat

INTERNET = "internet"
REGISTRY = "registry"
REGISTRY_ADDRESS = "203.0.113.4"
LAN = "192.168.1"
LAN_GATEWAY = f"{LAN}.1"
# The provider's network between its own NAT and a router that is behind it (RFC 6598).
PROVIDER = "100.64.0"
# Networks of the internet: the bridge there, the first three octets, the prefix length. What is
# left of the registry's network is routed to sites without NAT.
REGISTRY_NET = ("pub0", "203.0.113", 26)
SITE_NETS = (("pub1", "198.51.100", 24), ("pub2", "192.0.2", 24))
LETTERS = "abcdefghijklmnopqrstuvwx"
MAX_SITES = len(LETTERS)


@dataclass(frozen=True)
class Site:
    """A private network behind one router.

    :param name: of the site, and of its one host unless ``hosts`` says otherwise
    :param hosts: several hosts share the router's public address
    """

    name: str
    nat: Nat = field(default_factory=Nat)
    hosts: tuple[str, ...] = ()

    @property
    def host_names(self) -> tuple[str, ...]:
        return self.hosts or (self.name,)


@dataclass(frozen=True)
class SitePlan:
    """A site with its place in the picture: router ``a`` is the first site's."""

    site: Site
    letter: str
    bridge: str
    wan_address: str
    wan_gateway: str
    routed_net: str
    hosts: dict[str, str]

    @property
    def router(self) -> str:
        return f"router-{self.letter}"

    @property
    def provider(self) -> str:
        """The provider's NAT in front of the router, where the NAT is double."""
        return f"provider-{self.letter}"

    @property
    def is_double(self) -> bool:
        return self.site.nat.kind == "double"

    def public_address(self, host: str) -> str:
        """The address that ``host`` has while the router does no NAT.

        :raises ValueError: for the seventh host of a site, for which there is none
        """
        routed = list(ipaddress.ip_network(self.routed_net).hosts())
        number = list(self.hosts).index(host)
        if number >= len(routed):
            raise ValueError(f"without NAT there are addresses for {len(routed)} hosts of a site")
        return str(routed[number])


def plan(sites: Sequence[Site]) -> list[SitePlan]:
    """Give every site its router's letter and all its addresses.

    :raises ValueError: for too many sites, or a name that is there twice
    """
    if len(sites) > MAX_SITES:
        raise ValueError(f"{len(sites)} sites; the picture has addresses for {MAX_SITES}")
    names = [INTERNET, REGISTRY, *(host for site in sites for host in site.host_names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two nodes of one name: {', '.join(twice)}")
    return [_plan_site(index, site) for index, site in enumerate(sites)]


def _plan_site(index: int, site: Site) -> SitePlan:
    bridge, net, _mask = SITE_NETS[index % len(SITE_NETS)]
    last = 10 * (index + 1)
    return SitePlan(
        site=site,
        letter=LETTERS[index],
        bridge=bridge,
        wan_address=f"{net}.{last}",
        wan_gateway=f"{net}.1",
        routed_net=f"{REGISTRY_NET[1]}.{64 + 8 * index}/29",
        hosts={host: f"{LAN}.{last + offset}" for offset, host in enumerate(site.host_names)},
    )
