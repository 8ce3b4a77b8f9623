# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a peer with a session is asked for a sign of life, and when its silence says enough.

A peer that answers probes does so within a round trip. Of any other WireGuard says when it must
send something: 10 s after a packet of ours at the latest, a keepalive if it has nothing else
(Keepalive-Timeout, protocol section 6.5).
"""

from __future__ import annotations

import dataclasses

from ..model import Peer
from .states import Asking, Memory

#: Probes that have to stay without an answer.
PROBES = 3
#: Seconds between two probes at the least, and as a part of the round trip.
GAP_MIN = 0.05
GAP_PER_RTT = 0.85
#: The same for a peer that is not known to answer.
UNSURE_GAP = 0.2
#: Seconds within which such a peer sends something: WireGuard's Keepalive-Timeout, and some more.
UNSURE_PATIENCE = 12.0
#: Seconds for which what it sent before it left may be under way.
UNDER_WAY = 1.0
#: Seconds between probes, and for all of them, where only whether it answers is to be found out.
LEARNING_GAP = 5.0
LEARNING_PATIENCE = 15.0
#: The same after a handshake that is the first for long: a round trip is over by then.
CONFIRMING_GAP = 0.15
CONFIRMING_PATIENCE = 0.5
#: Seconds after a move without a sign of life after which a session is given up.
LOST_AFTER = 20.0
#: Bytes of a probe, as WireGuard counts what it sends.
PROBE_BYTES = 64
#: Longest pause in seconds between probes; from the last that decides on the pauses double.
LONGEST_GAP = 5.0


def ask(memory: Memory, why: str, now: float, *, dead: bool = False, moved: bool = False) -> Memory:
    """Begin to ask: the first probe is due now."""
    gap, patience = UNSURE_GAP, UNSURE_PATIENCE
    if memory.answers:
        gap = max(GAP_MIN, GAP_PER_RTT * memory.rtt)
        patience = PROBES * gap
    asking = Asking(now, why, gap, patience, dead=dead, moved=moved)
    return dataclasses.replace(memory, asking=asking)


def learn(memory: Memory, now: float) -> Memory:
    """Begin to find out whether a peer answers probes."""
    asking = Asking(now, "asked after a handshake", LEARNING_GAP, LEARNING_PATIENCE, learning=True)
    return dataclasses.replace(memory, asking=asking)


def confirm(memory: Memory, now: float) -> Memory:
    """Begin to find out whether a peer that has just answered a handshake is still there."""
    asking = Asking(
        now,
        "asked after a handshake",
        CONFIRMING_GAP,
        CONFIRMING_PATIENCE,
        learning=True,
        confirming=True,
    )
    return dataclasses.replace(memory, asking=asking)


def next_probe(asking: Asking) -> float:
    """Return when the next probe is due, in steady seconds."""
    if not asking.sent:
        return asking.since
    doubled = asking.gap * 2.0 ** min(max(0, asking.sent - PROBES + 1), 10)
    return asking.last + min(doubled, max(LONGEST_GAP, asking.gap))


def sent(memory: Memory, peer: Peer, now: float) -> Memory:
    """Note that a probe is sent now."""
    if memory.asking is None:
        return memory
    asking = dataclasses.replace(
        memory.asking,
        sent=memory.asking.sent + 1,
        last=now,
        # Whether anything came at all is enough to learn that it lives.
        mark=memory.asking.mark if memory.asking.learning and memory.asking.sent else peer.rx_bytes,
        sent_mark=memory.asking.sent_mark if memory.asking.sent else peer.tx_bytes,
    )
    return dataclasses.replace(memory, asking=asking)


def unanswered(asking: Asking, peer: Peer, now: float, *, overdue: bool) -> bool:
    """Whether the silence says enough: nothing has come in, neither answers nor anything else.

    Args:
        overdue: Whether the peer has missed a keepalive. If not, the probes must have left: it
            may have no address to probe, or a firewall of this host may drop them.
    """
    left = peer.tx_bytes - asking.sent_mark >= PROBES * PROBE_BYTES
    return (
        asking.sent >= PROBES
        and now >= _over(asking)
        and peer.rx_bytes == asking.mark
        and (left or overdue)
    )


def is_lost(asking: Asking | None, peer: Peer, now: float) -> bool:
    """Whether a session carries nothing any more, in either direction, since one end has moved.

    Without a move it may be an outage, which the session survives.
    """
    return (
        asking is not None
        and asking.moved
        and asking.dead
        and asking.sent >= PROBES
        and now >= asking.since + LOST_AFTER
        and peer.rx_bytes == asking.mark
    )


def _over(asking: Asking) -> float:
    """Return when nobody need wait any longer for the probes that were sent."""
    return max(asking.since + asking.patience, asking.last + min(asking.gap, GAP_MIN))


def next_due(asking: Asking, now: float) -> float:
    """Return when time alone may change what is known, in steady seconds."""
    probe = next_probe(asking)
    over = _over(asking)
    return min(probe, over) if not asking.dead and over > now else probe


def conclude(memory: Memory, peer: Peer, now: float, *, heard: float | None) -> tuple[Memory, bool]:
    """End the asking if something came; return also whether something did.

    Of a peer that has answered before, packets other than answers count only after the last
    probe that decides: they may have been under way when it left.

    Args:
        heard: Seconds that an answer took; None if there was none.
    """
    asking = memory.asking
    if asking is None or not asking.sent:
        return memory, heard is not None
    if heard is not None and now - heard >= asking.since:
        return dataclasses.replace(memory, asking=None), True
    came = peer.rx_bytes != asking.mark
    if asking.confirming and came:
        return learn(memory, now), True
    if asking.learning:
        # Its other packets show that it lives: it does not answer.
        if came and asking.sent >= PROBES and now - asking.last >= asking.gap:
            return dataclasses.replace(memory, asking=None, answers=False), True
        return memory, came
    early = asking.sent < PROBES if memory.answers else now < asking.since + UNDER_WAY
    if not came or (early and not asking.dead):
        return memory, False
    # The way may have been barred for our probes until now: does it still answer?
    return learn(memory, now), True
