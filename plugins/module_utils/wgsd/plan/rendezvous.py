# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When two ends that cannot talk try again: both compute it from the clock and their keys.

Some routers keep an entry of a packet that came uninvited. It takes the port that our own packets
would leave from, so they leave from another one, which the other end's router does not let in; and
it lives while either end goes on sending. Such a pair gets through if both are silent until that
entry is forgotten, and then the end behind that router is the first to send. Nobody knows which end
that is, so they take turns. Where both are behind such routers, the first packets of both must be
on their way at the same time.
"""

from __future__ import annotations

import hashlib
import typing as t

from ..keys import PublicKey

#: Seconds between two moments at which a pair may begin.
SLOT = 60.0
#: Ways to begin: the one end first, the other, and both together.
WAYS = 3
#: Meetings that follow one another, in each slot: one of each way, also for two ends of which the
#: one has given up a slot later. Then every so many slots are silent: in the others a peer that
#: comes back is heard at once. A number that makes the ways take turns.
EAGER = WAYS + 1
REST_EVERY = 8
#: Seconds for which ends try that meet again in the next slot.
TRY_FOR = 20.0
#: Seconds of silence at the least: Linux forgets an unreplied entry after 30.
REST_MIN = 35.0
#: Seconds by which the one end begins later: more than a packet takes, and than clocks differ. A
#: whole number, as all moments of a pair are: one read of the device serves all peers of a second.
LAG = 2.0


class Meeting(t.NamedTuple):
    """When to begin and when to fall silent again, in seconds from now."""

    begin: float
    rest: float


def next_meeting(
    own: PublicKey, other: PublicKey, wall: float, at_least: float, earlier: int
) -> Meeting:
    """Return the next moment to begin that is *at_least* seconds from now.

    Both ends get the same one if their clocks agree, but for the lag of the one whose turn it is to
    be second, if it is anybody's.

    Args:
        own: This host's key.
        other: The peer's key.
        wall: Seconds since the epoch.
        at_least: Seconds.
        earlier: How many such moments there have been in this series.
    """
    shifted = wall + _shift(own, other)
    index = -int(-(shifted + at_least) // SLOT)
    begin = index * SLOT - shifted
    if earlier + 1 < EAGER:
        rest = begin + TRY_FOR
    else:
        rest = (index // REST_EVERY + 1) * REST_EVERY * SLOT - shifted
    second = index % WAYS == (0 if own < other else 1)
    return Meeting(begin + (LAG if second else 0.0), rest)


def _shift(own: PublicKey, other: PublicKey) -> float:
    """Return seconds that spread the pairs of a mesh over a slot.

    They are whole ones: a host with a thousand peers does what is due to many of them at once.
    """
    digest = hashlib.sha256(b"".join(sorted((bytes(own), bytes(other))))).digest()
    return float(int.from_bytes(digest[:4], "big") % int(SLOT))
