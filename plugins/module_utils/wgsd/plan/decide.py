# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides about every peer at one moment. Pure: no I/O, no clock of its own."""

from __future__ import annotations

import dataclasses
import types
import typing as t

from ..clock import Moment
from ..keys import PublicKey
from ..model import Device, Peer, PeerRecord
from . import asking as probing
from .connect import decide_connect, give_up
from .live import Situation, decide_live
from .observe import has_session, in_session, observe
from .peers import managed
from .states import Decision, Keepalive, Memory, Policy, State

Decisions = t.Mapping[PublicKey, Decision]
NONE_YET: Decisions = types.MappingProxyType({})
NOTHING_HEARD: t.Mapping[PublicKey, float] = types.MappingProxyType({})
NOTHING_KNOWN: t.Mapping[PublicKey, Keepalive] = types.MappingProxyType({})
#: Seconds for which a peer is asked whose handshake is old by the wall clock alone.
DOUBT = 1.0
#: Bytes of a handshake initiation (protocol section 5.4): who sends one has no session either.
INITIATION_BYTES = 148
#: So many changes may be made to a peer at once, and then one in so many seconds: 24 in a minute
#: and 12 a minute in the long run, whatever the directory says.
CHANGES_AT_ONCE = 12
CHANGE_PAUSE = 5.0


def decide(
    device: Device,
    records: t.Mapping[PublicKey, PeerRecord | None],
    last: Decisions,
    moment: Moment,
    policy: Policy,
    *,
    heard: t.Mapping[PublicKey, float] = NOTHING_HEARD,
    stirred: bool = False,
    keepalives: t.Mapping[PublicKey, Keepalive] = NOTHING_KNOWN,
) -> list[Decision]:
    """Decide about every managed peer of *device*.

    The same state gives no change: whoever carries a decision out and looks again leaves the peer
    alone.

    Args:
        device: A snapshot taken just before.
        records: What the directory says; None for peers that it does not have, missing while it
            has not said anything.
        last: The decisions before, carried out; `NONE_YET` for a single run.
        moment: The present.
        policy: What the operator wants.
        heard: Who has answered a probe since then, and the seconds that it took.
        stirred: Whether this host has moved since then, so that routers know nothing of it.
        keepalives: Whose they are, of peers about which nothing was decided before.
    """
    return [
        _decide(device, peer, records, last.get(key), moment, policy, heard, stirred, keepalives)
        for key, peer in ((peer.public_key, peer) for peer in managed(device, policy))
    ]


def wants_record(peer: Peer, past: Decision | None, moment: Moment, policy: Policy) -> bool:
    """Whether a decision about *peer* could depend on what the directory says."""
    if past is None:
        return policy.force or not has_session(peer, moment.wall)
    memory = observe(peer, past.memory, moment, None, policy)
    return policy.force or memory.asking is not None or not in_session(memory, moment.steady)


def _decide(
    device: Device,
    peer: Peer,
    records: t.Mapping[PublicKey, PeerRecord | None],
    past: Decision | None,
    moment: Moment,
    policy: Policy,
    heard: t.Mapping[PublicKey, float],
    stirred: bool,
    keepalives: t.Mapping[PublicKey, Keepalive],
) -> Decision:
    record = records.get(peer.public_key)
    answer = heard.get(peer.public_key)
    told = peer.public_key in records
    if (
        past is not None
        and answer is None
        and not stirred
        and _stands(past, peer, record, moment)
        # What the client before us has set waits for the directory's word.
        and not (told and past.state is State.UNKNOWN and past.memory.raised)
    ):
        return past
    before = past.memory if past else None
    memory = observe(peer, before, moment, answer, policy)
    if before is None and peer.public_key in keepalives:
        memory = _knowing(memory, peer, keepalives[peer.public_key])
    own = device.public_key if policy.continuous else None
    situation = Situation(
        peer=peer,
        record=record,
        told=told,
        before=before,
        heard=answer,
        stirred=stirred,
        leads=own is not None and own < peer.public_key,
        now=moment.steady,
        policy=policy,
    )
    if memory.doubtful:
        asking = memory.asking or probing.ask(memory, "", moment.steady).asking
        came = peer.rx_bytes - asking.mark if asking and asking.sent else 0
        if answer is not None or came not in (0, INITIATION_BYTES):
            memory = dataclasses.replace(memory, doubtful=False, handshake_at=moment.steady)
        elif asking is not None and moment.steady < asking.since + DOUBT:
            memory = dataclasses.replace(memory, asking=asking)
            return _ask_first(memory, situation)
        memory = dataclasses.replace(memory, doubtful=False, asking=None)
    lost = answer is None and probing.is_lost(memory.asking, peer, moment.steady)
    if in_session(memory, moment.steady) and not lost:
        decision = decide_live(memory, situation)
    else:
        asking = memory.asking
        if lost and past is not None and past.state is State.UNKNOWN:
            # Nothing was tried until now.
            memory = dataclasses.replace(memory, asking=None)
        elif lost:
            memory = give_up(memory)
        decision = decide_connect(memory, situation, own, moment.wall)
        if lost and decision.state is State.UNKNOWN:
            # Nothing can be done that would end the session: it is lost until something comes.
            known = dataclasses.replace(decision.memory, asking=asking)
            decision = dataclasses.replace(decision, memory=known)
    return _count(decision, memory, moment.steady) if decision.change else decision


def _knowing(memory: Memory, peer: Peer, keepalive: Keepalive) -> Memory:
    """Return *memory* with whose the keepalive of *peer* is.

    The operator's counts if the device has none: the client before us has died during a rest.
    """
    chosen = 0 if peer.persistent_keepalive else keepalive.chosen
    return dataclasses.replace(memory, raised=keepalive.raised, chosen=chosen)


def _count(decision: Decision, memory: Memory, now: float) -> Decision:
    """Count the change that *decision* makes; put it off if there were too many.

    Args:
        memory: What was known before the decision.
    """
    again = memory.changes_until - (CHANGES_AT_ONCE - 1) * CHANGE_PAUSE
    if now < again:
        return dataclasses.replace(
            decision,
            change=None,
            probe=False,
            reason=f"changed too often; {again - now:.0f} s from now: {decision.reason}",
            after=decision.before,
            due=again,
            memory=memory,
        )
    until = max(memory.changes_until, now) + CHANGE_PAUSE
    memory = dataclasses.replace(decision.memory, changes_until=until)
    return dataclasses.replace(decision, memory=memory)


def _stands(past: Decision, peer: Peer, record: PeerRecord | None, moment: Moment) -> bool:
    """Whether nothing has happened that could lead to another decision."""
    return (
        past.peer is peer
        and past.record is record
        and past.change is None
        and not past.probe
        and moment.steady < past.due
    )


def _ask_first(memory: Memory, situation: Situation) -> Decision:
    """Leave a peer alone until it is clear that it has no session."""
    peer, now, asking = situation.peer, situation.now, memory.asking
    probe = asking is not None and now >= probing.next_probe(asking)
    if probe:
        memory = probing.sent(memory, peer, now)
    due = probing.next_due(memory.asking, now) if memory.asking else now
    return Decision(
        public_key=peer.public_key,
        state=State.STALE,
        change=None,
        probe=probe,
        reason="its handshake is old by this host's clock; it is asked before it is started over",
        before=peer.endpoint,
        after=peer.endpoint,
        due=min(due, asking.since + DOUBT) if asking else now,
        memory=memory,
        peer=peer,
        record=situation.record,
    )
