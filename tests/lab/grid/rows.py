# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The grid's rows: pairs of hosts, each behind a NAT of some kind, and the sites for them."""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from tests.lab.nat import Nat
from tests.lab.topology import Site

ALICE, BOB = "alice", "bob"
#: Where Alice and Bob go when they move.
CAFE, OFFICE = "cafe", "office"


class Filtering(enum.Enum):
    """Whose packets a NAT lets in to a mapping that is there (RFC 4787 section 5)."""

    INDEPENDENT = "from everybody"
    ADDRESS = "from addresses that were sent to"
    PORT = "from addresses and ports that were sent to"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of NAT, by what RFC 4787 tells NATs apart by.

    Attributes:
        name: What people call it.
        nat: What a router of the lab does.
        filtering: Whom it lets in.
        per_destination: Whether a socket has another port for each destination (RFC 4787 section
            4.1: address- and port-dependent mapping).
    """

    name: str
    nat: Nat
    filtering: Filtering
    per_destination: bool = False

    @property
    def keeps_uninvited(self) -> bool:
        """Whether a packet that was not let in can take the port of our own mapping."""
        return self.filtering is Filtering.PORT and not self.nat.drop_inbound

    @property
    def has_state(self) -> bool:
        """Whether there is something that a reboot makes it forget."""
        return self.nat.kind != "none"


NONE = Kind("none", Nat("none"), Filtering.INDEPENDENT)
FULL_CONE = Kind("full cone", Nat("full-cone"), Filtering.INDEPENDENT)
ADDRESS = Kind("address-restricted", Nat("address-restricted"), Filtering.ADDRESS)
PORT = Kind("port-restricted", Nat("port-restricted"), Filtering.PORT)
NO_DROP = Kind("port-restricted, no drop", Nat(drop_inbound=False), Filtering.PORT)
SYMMETRIC = Kind("symmetric", Nat("symmetric"), Filtering.PORT, per_destination=True)
DOUBLE = Kind("double", Nat("double"), Filtering.PORT)
HAIRPIN = Kind("port-restricted, hairpin", Nat(hairpin=True), Filtering.PORT)
FIREWALL = Kind("IPv6 firewall", Nat("port-restricted"), Filtering.PORT)


@dataclasses.dataclass(frozen=True)
class Row:
    """A pair of hosts.

    Attributes:
        shared: Whether both are behind one router; they are of one kind then.
    """

    alice: Kind
    bob: Kind
    shared: bool = False

    @property
    def name(self) -> str:
        """What the row is called in reports and on the command line."""
        if self.shared:
            return "one NAT with hairpin" if self.alice.nat.hairpin else "one NAT, no hairpin"
        return f"{self.alice.name} x {self.bob.name}"

    @property
    def ipv6(self) -> bool:
        """Whether tunnels are made over IPv6."""
        return self.alice is FIREWALL

    @property
    def ports(self) -> dict[str, int]:
        """Listening ports that are not the usual one: hosts behind one NAT need different ones."""
        return {BOB: 51821} if self.shared else {}

    def sites(self, delay: float, *, moves: bool) -> list[Site]:
        """Return the sites of the lab.

        Args:
            delay: Seconds on each access link, one way.
            moves: Whether there are networks to which the two can move, of the same kinds.
        """
        if self.shared:
            homes = [Site("home", self.alice.nat, hosts=(ALICE, BOB), delay=delay)]
            others = [Site(CAFE, self.alice.nat, hosts=())]
        else:
            homes = [
                Site(ALICE, self.alice.nat, delay=delay),
                Site(BOB, self.bob.nat, delay=delay),
            ]
            others = [Site(CAFE, self.alice.nat, hosts=()), Site(OFFICE, self.bob.nat, hosts=())]
        return homes + (others if moves else [])


#: Every kind against port-restricted and against itself, symmetric against each.
ROWS: t.Final = (
    Row(NONE, NONE),
    Row(PORT, NONE),
    Row(FULL_CONE, FULL_CONE),
    Row(FULL_CONE, PORT),
    Row(ADDRESS, ADDRESS),
    Row(ADDRESS, PORT),
    Row(PORT, PORT),
    Row(PORT, NO_DROP),
    Row(NO_DROP, NO_DROP),
    Row(DOUBLE, PORT),
    Row(DOUBLE, DOUBLE),
    Row(SYMMETRIC, NONE),
    Row(SYMMETRIC, FULL_CONE),
    Row(SYMMETRIC, ADDRESS),
    Row(SYMMETRIC, PORT),
    Row(SYMMETRIC, DOUBLE),
    Row(SYMMETRIC, SYMMETRIC),
    Row(HAIRPIN, HAIRPIN, shared=True),
    Row(PORT, PORT, shared=True),
    Row(FIREWALL, FIREWALL),
)
