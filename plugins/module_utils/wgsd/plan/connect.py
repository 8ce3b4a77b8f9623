# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides about a peer without a session: tries to connect, and when to try again.

A peer is connected by removing and adding it in one operation. WireGuard sends at most one
initiation per peer in 5 s, and a peer that has been trying without an endpoint has spent it; a new
entry has not. There is no session that could be lost.
"""

from __future__ import annotations

import dataclasses
import math

from ..keys import PublicKey
from ..model import Endpoint, PeerChange
from .live import Situation
from .peers import chosen_keepalive
from .rendezvous import REST_MIN, next_meeting
from .states import Decision, Memory, State

#: Seconds between two tries, after the first and so on. In between WireGuard tries every 5 s.
#: Initiations that cross each other on their way undo one another, so the ends must not go on at
#: the same times.
LEADING_PAUSES = (1.0, 2.0, 4.0)
FOLLOWING_PAUSES = (2.0, 3.0)
#: Seconds after which the end that leads tries again if something came from the peer, yet no
#: handshake: initiations have crossed. The peer's has arrived, so that the next one crosses none. A
#: handshake that is under way would have come to its end within a round trip.
CROSSED = 0.25
#: Seconds between two endpoints of the directory that are tried, and until an endpoint is tried
#: anew that was set when we came.
FIRST_PAUSE = 1.0
#: Seconds after which a peer that was tried without a handshake is called unreachable.
UNREACHABLE_AFTER = 20.0
#: Seconds for which a packet that came from the peer lets us wait: a handshake may be under way.
UNDER_WAY = 0.5


def decide_connect(
    memory: Memory, situation: Situation, own: PublicKey | None, wall: float
) -> Decision:
    """Decide about a peer without a session.

    Args:
        memory: What was observed of it at this look.
        own: This host's key.
        wall: Seconds since the epoch.
    """
    peer, now, target = situation.peer, situation.now, situation.target
    before = memory.target
    memory = dataclasses.replace(memory, asking=None, refuted=None, target=target)
    if target is None:
        memory = forget_tries(memory)
        if not situation.told:
            reason = "the directory has not said yet where it is"
            return _leave(situation, memory, State.UNKNOWN, reason, math.inf)
        reason = "the directory has no endpoint for it"
        # Nobody knows where it is: no need to knock where it was.
        keepalive = chosen_keepalive(memory, peer)
        memory = dataclasses.replace(memory, raised=0, chosen=0)
        if keepalive != peer.persistent_keepalive:
            change = PeerChange(peer.public_key, persistent_keepalive=keepalive)
            after = peer.endpoint
            return _decision(situation, memory, State.UNKNOWN, reason, change, after, math.inf)
        return _leave(situation, memory, State.UNKNOWN, reason, math.inf)
    if memory.rest_until is not None and target == before and not situation.stirred:
        if now < memory.rest_until:
            reason = "silent until both ends try again, so that routers forget"
            return _leave(situation, memory, State.UNREACHABLE, reason, memory.rest_until)
        memory = dataclasses.replace(memory, tries=0, rest_until=None)
        return _try(situation, memory, target, State.UNREACHABLE, "both ends try again now")
    if peer.endpoint not in (None, target) and _is_coming(memory, situation):
        reason = f"a handshake is under way: packets come from {peer.endpoint}"
        due = memory.alive_at + UNDER_WAY
        return _leave(situation, memory, State.PUNCHING, reason, due)
    if peer.endpoint != target or not _has_keepalive(situation) or situation.stirred:
        # A directory that cannot make up its mind must not make us start over and over.
        if memory.tries and now < memory.last_try + FIRST_PAUSE:
            reason = f"just tried {peer.endpoint}; {target} comes next"
            return _leave(situation, memory, State.PUNCHING, reason, memory.last_try + FIRST_PAUSE)
        was = f"instead of {peer.endpoint}" if peer.endpoint else "where it had none"
        if peer.endpoint == target:
            was = "anew"
        memory = dataclasses.replace(forget_tries(memory), first_try=now)
        return _try(situation, memory, target, State.KNOWN, f"no session; set {target} {was}")
    if memory.first_try is None:
        memory = dataclasses.replace(memory, first_try=now, last_try=now)
        reason = "the endpoint is set, no handshake yet"
        return _leave(situation, memory, State.PUNCHING, reason, now + FIRST_PAUSE)
    return _go_on(situation, memory, target, own, wall)


def forget_tries(memory: Memory) -> Memory:
    """Return *memory* for when nothing is being tried, or something else is."""
    return dataclasses.replace(
        memory, first_try=None, tries=0, rest_until=None, hold_until=0.0, meetings=0
    )


def give_up(memory: Memory) -> Memory:
    """Return *memory* for a session that is lost: as if all had been tried since then."""
    since = memory.asking.since if memory.asking else memory.alive_at
    tries = 1 + max(len(LEADING_PAUSES), len(FOLLOWING_PAUSES))
    return dataclasses.replace(
        forget_tries(memory), asking=None, first_try=since, last_try=since, tries=tries
    )


def _go_on(
    situation: Situation, memory: Memory, target: Endpoint, own: PublicKey | None, wall: float
) -> Decision:
    """Decide about a peer whose endpoint is set already."""
    now = situation.now
    waited = now - _began(memory, now)
    lost = now >= _began(memory, now) + UNREACHABLE_AFTER
    if lost and own is not None and now >= memory.hold_until:
        return _rest(situation, memory, own, wall)
    state = State.UNREACHABLE if lost else State.PUNCHING
    reason = f"no handshake with {target} since {waited:.0f} s"
    if now >= _next_try(memory, situation):
        return _try(situation, memory, target, state, f"{reason}; try again")
    return _leave(situation, memory, state, reason, _due(memory, situation))


def _began(memory: Memory, now: float) -> float:
    return now if memory.first_try is None else memory.first_try


def _next_try(memory: Memory, situation: Situation) -> float:
    """Return when to start over, in steady seconds."""
    if not memory.tries:
        return memory.last_try + FIRST_PAUSE
    pauses = LEADING_PAUSES if situation.leads else FOLLOWING_PAUSES
    if memory.tries > len(pauses):
        return math.inf
    again = memory.last_try + pauses[memory.tries - 1]
    if situation.leads and memory.alive_at > memory.last_try:
        return memory.alive_at + CROSSED
    if memory.tries > 1 and memory.alive_at > memory.last_try:
        again = max(again, memory.alive_at + UNDER_WAY)
    return again


def _due(memory: Memory, situation: Situation) -> float:
    """Return when time alone leads to something."""
    lost_at = _began(memory, situation.now) + UNREACHABLE_AFTER
    ends = lost_at if situation.now < lost_at else memory.hold_until
    # A single look, or a device without a key, knows no rest.
    return min(_next_try(memory, situation), ends if ends > situation.now else math.inf)


def _rest(situation: Situation, memory: Memory, own: PublicKey, wall: float) -> Decision:
    """Fall silent until both ends begin anew."""
    peer, now = situation.peer, situation.now
    meeting = next_meeting(own, peer.public_key, wall, REST_MIN, memory.meetings)
    until = now + meeting.begin
    memory = dataclasses.replace(
        memory,
        rest_until=until,
        hold_until=now + meeting.rest,
        meetings=memory.meetings + 1,
        chosen=chosen_keepalive(memory, peer),
        rx_bytes=0,
        handshake=0.0,
    )
    change = PeerChange.anew(peer, None, persistent_keepalive=0)
    reason = (
        f"no handshake with {situation.target}: is it on, and can the NATs in between be punched?"
        f" Silent for {meeting.begin:.0f} s, so that routers forget"
    )
    return _decision(situation, memory, State.UNREACHABLE, reason, change, None, until)


def _is_coming(memory: Memory, situation: Situation) -> bool:
    """Whether the peer itself has begun a handshake a moment ago.

    One that is new to us may have: it is a peer that goes on by its next key.
    """
    before, peer = situation.before, situation.peer
    if before is None and not situation.policy.continuous:
        # There is no later look.
        return False
    if situation.now >= memory.alive_at + UNDER_WAY:
        return False
    return bool(memory.tries or (peer.rx_bytes and not peer.last_handshake))


def _has_keepalive(situation: Situation) -> bool:
    """Whether the peer has a keepalive if it is to have one."""
    return bool(situation.peer.persistent_keepalive or not situation.policy.keepalive)


def _try(
    situation: Situation, memory: Memory, target: Endpoint, state: State, reason: str
) -> Decision:
    """Start over with *target*."""
    peer, now = situation.peer, situation.now
    chosen = chosen_keepalive(memory, peer)
    raised = 0 if chosen else situation.policy.keepalive
    keepalive = chosen or raised
    memory = dataclasses.replace(
        memory,
        # The device counts a new entry from zero.
        rx_bytes=0,
        handshake=0.0,
        last_try=now,
        tries=memory.tries + 1,
        raised=raised,
        chosen=0,
    )
    change = PeerChange.anew(peer, target, persistent_keepalive=keepalive)
    # Without a keepalive WireGuard waits for something to send.
    due, probe = _due(memory, situation), not keepalive
    return _decision(situation, memory, state, reason, change, target, due, probe=probe)


def _leave(situation: Situation, memory: Memory, state: State, reason: str, due: float) -> Decision:
    return _decision(situation, memory, state, reason, None, situation.peer.endpoint, due)


def _decision(
    situation: Situation,
    memory: Memory,
    state: State,
    reason: str,
    change: PeerChange | None,
    after: Endpoint | None,
    due: float,
    *,
    probe: bool = False,
) -> Decision:
    return Decision(
        public_key=situation.peer.public_key,
        state=state,
        change=change,
        probe=probe,
        reason=reason,
        before=situation.peer.endpoint,
        after=after,
        due=due,
        memory=memory,
        peer=situation.peer,
        record=situation.record,
    )
