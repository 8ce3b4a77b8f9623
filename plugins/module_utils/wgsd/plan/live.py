# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides about a peer that WireGuard has a session with: leave it alone unless it is dead.

A peer whose endpoint in the directory is another than the device's may have moved, or be reached
in another way than the registry's. It is asked, by probes in the tunnel. While anything comes it is
left alone; if nothing does it has moved, and gets the directory's endpoint. Its session stays.
"""

from __future__ import annotations

import dataclasses
import math

from ..model import REJECT_AFTER_TIME, Endpoint, Peer, PeerChange, PeerRecord
from . import asking as probing
from .peers import chosen_keepalive
from .states import Decision, Memory, Policy, State

#: Seconds by which a peer's keepalive may be late before the peer counts as silent.
KEEPALIVE_GRACE = 5.0


#: Bytes received where nothing but handshakes has come: answers of 92 bytes, and initiations of 148
#: (protocol section 5.4). Whoever answers a handshake has a session only once data has come.
HANDSHAKES = frozenset(92 * answers + 148 * begun for answers in (1, 2) for begun in (0, 1, 2))


@dataclasses.dataclass(frozen=True)
class Situation:
    """What to decide about: one peer at one moment.

    Attributes:
        told: Whether the directory has said anything about it, be it that it has no record.
        before: What was known at the last look; None for a peer that is new to us.
        heard: Seconds that the answer to a probe took that came since then; None if none came.
        stirred: Whether this host has moved since then.
        leads: Whether this is the end of the two that goes first.
        now: Steady seconds.
    """

    peer: Peer
    record: PeerRecord | None
    told: bool
    before: Memory | None
    heard: float | None
    stirred: bool
    leads: bool
    now: float
    policy: Policy

    @property
    def target(self) -> Endpoint | None:
        """The directory's endpoint."""
        return self.record.endpoint if self.record else None

    @property
    def elsewhere(self) -> Endpoint | None:
        """The directory's endpoint if the device has another one."""
        return self.target if self.target != self.peer.endpoint else None

    def is_silent(self, memory: Memory) -> bool:
        """Whether the peer, whose client keeps the same policy, has missed a keepalive."""
        keepalive = self.policy.keepalive
        return bool(keepalive) and self.now >= memory.alive_at + keepalive + KEEPALIVE_GRACE


def decide_live(memory: Memory, situation: Situation) -> Decision:
    """Decide about a peer with a session.

    Args:
        memory: What was observed of it at this look.
    """
    peer, now = situation.peer, situation.now
    target, elsewhere = situation.target, situation.elsewhere
    memory = dataclasses.replace(
        memory,
        target=target,
        refuted=None if situation.is_silent(memory) else memory.refuted,
        first_try=None,
        tries=0,
        rest_until=None,
        hold_until=0.0,
        meetings=0,
    )
    if situation.policy.force and elsewhere:
        reason = "forced onto a tunnel that lives"
        return _decision(situation, memory, State.DIRECT, reason, elsewhere)
    if situation.policy.continuous:
        memory = _ask(memory, situation)
    asking = memory.asking
    if asking is None:
        return _decision(situation, memory, State.DIRECT, _how(situation))
    overdue = situation.is_silent(memory)
    quiet = probing.unanswered(asking, peer, now, overdue=overdue)
    if asking.confirming and quiet:
        if not memory.started_over:
            return _start_over(memory, situation)
        # Or it answers no probes and has nothing to say.
        memory = probing.learn(memory, now)
    elif quiet and not asking.dead:
        asking = dataclasses.replace(asking, dead=True, learning=False)
        memory = dataclasses.replace(memory, asking=asking)
    asking = memory.asking or asking
    if asking.dead and elsewhere and elsewhere != memory.refuted:
        silence = _seconds(now - memory.alive_at)
        reason = f"nothing came from {peer.endpoint} for {silence}; the directory has {elsewhere}"
        memory = probing.sent(
            probing.ask(memory, "followed to there", now, dead=True, moved=True), peer, now
        )
        return _decision(situation, memory, State.STALE, reason, elsewhere, probe=True)
    probe = now >= probing.next_probe(asking)
    if probe:
        memory = probing.sent(memory, peer, now)
    if asking.dead:
        reason = f"no answer to {asking.sent} probes ({asking.why})"
        return _decision(situation, memory, State.STALE, reason, probe=probe)
    return _decision(situation, memory, State.DIRECT, _how(situation), probe=probe)


def _ask(memory: Memory, situation: Situation) -> Memory:
    """End the asking that something has answered, and begin to ask if there is a reason."""
    peer, before, now = situation.peer, situation.before, situation.now
    elsewhere = situation.elsewhere
    memory, alive = probing.conclude(memory, peer, now, heard=situation.heard)
    news = before is None or before.target != memory.target
    if alive and memory.started_over:
        memory = dataclasses.replace(memory, started_over=False)
    if alive and elsewhere and not news:
        memory = dataclasses.replace(memory, refuted=elsewhere)
    if situation.stirred:
        # Where it could not be reached from before, it may be reached now.
        memory = dataclasses.replace(memory, refuted=None)
        return probing.ask(memory, "this host has moved", now, moved=True)
    if memory.asking is not None and memory.asking.dead:
        return memory
    if news and elsewhere and elsewhere != memory.refuted:
        return probing.ask(memory, "the directory has another endpoint", now)
    if memory.asking is not None:
        return memory
    if situation.is_silent(memory):
        return probing.ask(memory, "a keepalive is overdue", now)
    if before is None or before.handshake != memory.handshake:
        tried = before is not None and before.first_try is not None
        if tried and peer.rx_bytes in HANDSHAKES and memory.answers is not False:
            return probing.confirm(memory, now)
        return probing.learn(memory, now)
    return memory


def _start_over(memory: Memory, situation: Situation) -> Decision:
    """Start a new session that only this end has over, once.

    The other end has started the peer over just after it had answered our handshake.
    """
    peer, now = situation.peer, situation.now
    chosen = chosen_keepalive(memory, peer)
    raised = 0 if chosen or not situation.record else situation.policy.keepalive
    keepalive = chosen or raised
    memory = dataclasses.replace(
        memory,
        handshake=0.0,
        rx_bytes=0,
        asking=None,
        first_try=now,
        last_try=now,
        tries=1,
        started_over=True,
        raised=raised,
        chosen=0,
    )
    change = PeerChange.anew(peer, peer.endpoint, persistent_keepalive=keepalive)
    return Decision(
        public_key=peer.public_key,
        state=State.PUNCHING,
        change=change,
        # Without a keepalive WireGuard waits for something to send.
        probe=not keepalive,
        reason="nothing came after the handshake, its other end has been started over; once more",
        before=peer.endpoint,
        after=peer.endpoint,
        due=now + probing.CONFIRMING_PATIENCE,
        memory=memory,
        peer=peer,
        record=situation.record,
    )


def _how(situation: Situation) -> str:
    if situation.target is None:
        return "the tunnel lives"
    if situation.elsewhere is None:
        return "the tunnel lives, at the directory's endpoint"
    return "the tunnel lives, where its own packets come from"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _decision(
    situation: Situation,
    memory: Memory,
    state: State,
    reason: str,
    target: Endpoint | None = None,
    *,
    probe: bool = False,
) -> Decision:
    peer, policy = situation.peer, situation.policy
    keepalive = None
    if policy.continuous and not peer.persistent_keepalive:
        # A peer that came to us by itself has none on our side, and our router must not forget it.
        raised = 0 if memory.chosen or not situation.record else policy.keepalive
        keepalive = memory.chosen or raised or None
        memory = dataclasses.replace(memory, raised=raised, chosen=0)
    elif (
        policy.continuous
        and situation.record
        and peer.persistent_keepalive == memory.raised != policy.keepalive
    ):
        # It is of a client before us, which the operator had told another one.
        keepalive = policy.keepalive
        memory = dataclasses.replace(memory, raised=keepalive)
    change = None
    if target is not None or keepalive is not None:
        change = PeerChange(peer.public_key, endpoint=target, persistent_keepalive=keepalive)
    expires = memory.handshake_at + REJECT_AFTER_TIME
    due = math.inf
    if memory.asking is not None:
        due = probing.next_due(memory.asking, situation.now)
    elif policy.keepalive:
        due = memory.alive_at + policy.keepalive + KEEPALIVE_GRACE
    return Decision(
        public_key=peer.public_key,
        state=state,
        change=change,
        probe=probe,
        reason=reason,
        before=peer.endpoint,
        after=target or peer.endpoint,
        due=min(due, expires),
        memory=memory,
        peer=peer,
        record=situation.record,
    )
