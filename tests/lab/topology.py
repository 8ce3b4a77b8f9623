# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The picture that both beds build: an internet, a registry, and sites behind routers.

Pure: from the list of sites to the plan of nodes and addresses. All public addresses come from
the documentation ranges (RFC 5737, RFC 3849); every site has the same private IPv4 network, and a
global IPv6 prefix of its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from .nat import Nat

INTERNET = "internet"
REGISTRY = "registry"
REGISTRY_ADDRESS = "203.0.113.4"
REGISTRY_ADDRESS6 = "2001:db8::4"
LAN = "192.168.1"
LAN_GATEWAY = f"{LAN}.1"
# The provider's network between its own NAT and a router that is behind it (RFC 6598).
PROVIDER = "100.64.0"


@dataclass(frozen=True)
class PublicNet:
    """A network of the internet: the bridge there, and its prefixes; the internet is ``.1``.

    :param start: the first three octets
    :param start6: the first half of the address, a /64
    """

    bridge: str
    start: str
    length: int
    start6: str


# What is left of the registry's network is routed to sites without NAT.
REGISTRY_NET = PublicNet("pub0", "203.0.113", 26, "2001:db8:")
SITE_NETS = (
    PublicNet("pub1", "198.51.100", 24, "2001:db8:1:"),
    PublicNet("pub2", "192.0.2", 24, "2001:db8:2:"),
)
LETTERS = "abcdefghijklmnopqrstuvwx"
MAX_SITES = len(LETTERS)
ROUTED_ADDRESSES = 6  # what a site has for hosts without NAT


@dataclass(frozen=True)
class Site:
    """A private network behind one router.

    :param name: of the site, and of its one host unless ``hosts`` says otherwise
    :param hosts: several hosts share the router's public address; a site without any waits for
        one that moves there
    :param delay: seconds that a packet takes on the access link, either way
    :param jitter: seconds that it may take longer or shorter, which may change the order
    """

    name: str
    nat: Nat = field(default_factory=Nat)
    hosts: tuple[str, ...] | None = None
    delay: float = 0.0
    jitter: float = 0.0

    @property
    def host_names(self) -> tuple[str, ...]:
        return (self.name,) if self.hosts is None else self.hosts


@dataclass(frozen=True)
class Attachment:
    """The addresses of a host's ``eth0``, with prefix lengths, and the gateways there."""

    ipv4: str
    gateway: str
    ipv6: str
    gateway6: str

    @property
    def address(self) -> str:
        return self.ipv4.partition("/")[0]

    @property
    def address6(self) -> str:
        return self.ipv6.partition("/")[0]


@dataclass(frozen=True)
class SitePlan:
    """A site with its place in the picture: router ``a`` is the first site's."""

    site: Site
    index: int

    @property
    def letter(self) -> str:
        return LETTERS[self.index]

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

    @property
    def net(self) -> PublicNet:
        return SITE_NETS[self.index % len(SITE_NETS)]

    @property
    def wan_address(self) -> str:
        return f"{self.net.start}.{self._last}"

    @property
    def wan_address6(self) -> str:
        return f"{self.net.start6}:{self._last}"

    @property
    def routed_net(self) -> str:
        """Public IPv4 addresses for hosts while the router does no NAT."""
        return f"{REGISTRY_NET.start}.{64 + 8 * self.index}/29"

    @property
    def lan6(self) -> str:
        """The first half of the addresses of the site's own IPv6 network, a /64."""
        return f"2001:db8:{100 + self.index}:"

    @property
    def provider6(self) -> str:
        """The first half of the addresses between provider and router, a /64."""
        return f"2001:db8:{200 + self.index}:"

    @property
    def hosts(self) -> dict[str, str]:
        """The private address of every host that is here from the start."""
        names = self.site.host_names
        return {name: self.attachment(number).address for number, name in enumerate(names)}

    def attachment(self, number: int) -> Attachment:
        """What the host with this number has on the site's private network.

        :param number: from 0 in the order of the hosts; later ones are for hosts that move
        """
        last = 2 + (self._last - 2 + number) % 253
        return Attachment(
            f"{LAN}.{last}/24",
            LAN_GATEWAY,
            f"{self.lan6}:{self._last + number}/64",
            f"{self.lan6}:1",
        )

    def routed_address(self, number: int) -> str:
        """The address that the host with this number has while the router does no NAT."""
        routed = list(ipaddress.ip_network(self.routed_net).hosts())
        return str(routed[number % ROUTED_ADDRESSES])

    def public_address(self, host: str) -> str:
        """The address that ``host``, here from the start, has while the router does no NAT.

        :raises ValueError: for the seventh host of a site, for which there is none
        """
        number = list(self.hosts).index(host)
        if number >= ROUTED_ADDRESSES:
            raise ValueError(
                f"without NAT there are addresses for {ROUTED_ADDRESSES} hosts of a site"
            )
        return self.routed_address(number)

    @property
    def _last(self) -> int:
        """The last part of the router's public address and of the first host's."""
        return 10 * (self.index + 1)


def registry_attachment(number: int = 0) -> Attachment:
    """What the registry has on its public network; other numbers are for one that moves."""
    net, net6 = REGISTRY_NET.start, REGISTRY_NET.start6
    last = 4 + number % 58
    return Attachment(
        f"{net}.{last}/{REGISTRY_NET.length}", f"{net}.1", f"{net6}:{last}/64", f"{net6}:1"
    )


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
    return [SitePlan(site, index) for index, site in enumerate(sites)]
