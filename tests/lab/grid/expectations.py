# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What should happen in each cell of the grid, and why: theory, written down before measuring.

Two hosts know of each other the mapping that the registry sees (the endpoint in the directory).
Each sends to the other's. It is enough that packets get through one way: WireGuard answers to
where they came from.
"""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from .events import KEEPALIVE, Event
from .rows import Filtering, Kind, Row


class Verdict(enum.Enum):
    """What should happen."""

    DIRECT = "direct"  #: packets flow both ways within a bound
    UNPUNCHABLE = "cannot be punched"  #: and both ends are told so within a bound
    RACE = "direct or told"  #: either of the two, as the first packets happen to meet
    MEETING = "direct, or told and direct later"  #: at a moment that both ends compute
    UNHARMED = "no packet lost"  #: the tunnel lives on
    NOTHING = "-"  #: there is nothing to see


#: Seconds after which both ends must know that they cannot be connected.
TOLD_WITHIN = 30.0
#: Seconds within which packets flow again.
DIRECT_WITHIN: t.Final = {
    Event.COLD_START: 1.0,
    Event.ALICE_MOVES: 1.0,
    Event.BOB_MOVES: 1.0,
    Event.BOTH_MOVE: 2.0,
    Event.REBOOT: KEEPALIVE + 1.0,
    # A round trip is lost with 34 % or 76 %, and so is every try of each end: at 0, 1, 3, 7 s and
    # WireGuard's own every 5 s. After 20 s comes a rest, of up to 100 s.
    Event.LOSS_10: 20.0,
    Event.LOSS_30: 150.0,
    Event.DELAY: 1.0,
}
#: Seconds until the second try, and some more. Where one end alone can get through, its first
#: packet may come before the other's NAT has seen that end's address.
SECOND_TRY = 1.5
#: Seconds within which both ends of a pair have been the first to send once: 20 s of tries, a rest
#: of up to 100 s, a slot of 60 s, a rest of 60 s, and some more.
MEETING_WITHIN = 250.0
#: Seconds in which a lost registry must know the peers again.
REGISTRY_WITHIN = 60.0


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What should happen in a cell.

    Attributes:
        within: Seconds.
        reason: Why, in words.
    """

    verdict: Verdict
    within: float
    reason: str


def expect(row: Row, event: Event) -> Expectation:
    """Return what should happen to a pair of *row*."""
    verdict, reason = _reach(row, event)
    if event is Event.REBOOT and not row.alice.has_state:
        return Expectation(Verdict.NOTHING, 0.0, "there is no NAT that could reboot")
    if event.spares_tunnels:
        if verdict is Verdict.UNPUNCHABLE:
            return Expectation(Verdict.NOTHING, 0.0, "there is no tunnel that could be harmed")
        reason = "packets between peers never pass the registry"
        return Expectation(Verdict.UNHARMED, REGISTRY_WITHIN, reason)
    if verdict is Verdict.UNPUNCHABLE:
        return Expectation(verdict, TOLD_WITHIN, reason)
    if verdict is Verdict.MEETING and event is not Event.COLD_START:
        # One cell that waits for a meeting is enough; in the others a lost race is told.
        return Expectation(Verdict.RACE, DIRECT_WITHIN[event], reason)
    within = DIRECT_WITHIN[event]
    if event in (Event.COLD_START, Event.DELAY) and _may_be_early(row):
        within += SECOND_TRY
    return Expectation(verdict, within, reason)


def _may_be_early(row: Row) -> bool:
    """Whether only one end can get through, and only once the other has sent."""
    kinds = (row.alice, row.bob)
    return any(kind.per_destination for kind in kinds) and any(
        kind.filtering is Filtering.ADDRESS for kind in kinds
    )


def _reach(row: Row, event: Event) -> tuple[Verdict, str]:
    """Whether a pair can be connected once *event* is over."""
    if row.shared and event not in (Event.ALICE_MOVES, Event.BOB_MOVES):
        if row.alice.nat.hairpin:
            return Verdict.DIRECT, "their NAT turns packets to its own mappings back inside"
        return Verdict.UNPUNCHABLE, "their NAT turns no packets to its own mappings back inside"
    ends = (("A", row.alice, "B", row.bob), ("B", row.bob, "A", row.alice))
    ways = [_lets_in(*end) for end in ends]
    open_ways = [why for is_open, why in ways if is_open]
    if not open_ways:
        return Verdict.UNPUNCHABLE, "; ".join(why for _is_open, why in ways)
    keeping = [name for name, kind, _other, _kind in ends if kind.keeps_uninvited]
    if not keeping:
        return Verdict.DIRECT, open_ways[0]
    if len(keeping) == 2:
        reason = (
            "both NATs keep entries of uninvited packets: each end's first packet must be past its "
            "own NAT before the other's comes, or the ports are taken"
        )
        return Verdict.RACE, reason
    (name,) = keeping
    reason = f"{name}'s NAT keeps entries of uninvited packets: {name} must be the first to send"
    return Verdict.MEETING, reason


def _lets_in(name: str, kind: Kind, other: str, other_kind: Kind) -> tuple[bool, str]:
    """Whether a NAT lets the other end's packets in to the mapping that the registry sees."""
    if kind.per_destination:
        return False, f"{name}'s mapping is for the registry alone"
    if kind.filtering is Filtering.INDEPENDENT:
        return True, f"{name}'s mapping is open to everybody"
    if kind.filtering is Filtering.ADDRESS:
        return True, f"{name} has sent to {other}'s address, and its NAT asks for no more"
    if other_kind.per_destination:
        return False, f"{name}'s NAT asks for a port of {other}'s that nobody can know"
    return True, f"{name} has sent to the one port that {other} has for all destinations"
