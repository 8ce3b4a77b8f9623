# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What decisions are made of: the states of a peer, what is remembered of it, what is wanted."""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from ..keys import PublicKey
from ..model import Endpoint, Peer, PeerChange, PeerRecord


class State(enum.Enum):
    """How things stand between this host and a peer."""

    UNKNOWN = "unknown"  #: no session, and the directory has no endpoint
    KNOWN = "known"  #: no session; the directory has an endpoint that was not set until now
    PUNCHING = "punching"  #: the endpoint is set, the handshake is to come
    UNREACHABLE = "unreachable"  #: the same, for a long time
    DIRECT = "direct"  #: a session, and no sign that it is dead
    STALE = "stale"  #: a session, but nothing comes from the peer any more


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the operator wants.

    Attributes:
        keepalive: Seconds, for peers that are in the directory and have none; 0 for none.
        force: Set the directory's endpoint even on a tunnel that lives.
        only: Look at these peers only; None for all.
        protected: Never touch these: the registry, whose endpoint is configuration.
        continuous: Whether decisions follow one another, so that a peer can be asked before it is
            judged, and what fails now can be tried again.
    """

    keepalive: int = 25
    force: bool = False
    only: frozenset[PublicKey] | None = None
    protected: frozenset[PublicKey] = frozenset()
    continuous: bool = False


@dataclasses.dataclass(frozen=True)
class Asking:
    """Probes that a peer was sent and has not answered. Times are steady seconds.

    Attributes:
        since: When the first one was due.
        why: What made us ask, in words.
        gap: Seconds between the first of them.
        patience: Seconds after which silence says enough.
        sent: How many were sent.
        last: When the last of them was.
        mark: The device's count of received bytes at that time.
        sent_mark: The device's count of sent bytes before the first.
        dead: Whether it has been concluded that nothing comes from the peer.
        moved: Whether a move made us ask: ours, or the peer's.
        learning: Whether only whether it answers is to be found out.
        confirming: Whether it is not sure yet that both ends have the session.
    """

    since: float
    why: str
    gap: float
    patience: float
    sent: int = 0
    last: float = 0.0
    mark: int = 0
    sent_mark: int = 0
    dead: bool = False
    moved: bool = False
    learning: bool = False
    confirming: bool = False


class Keepalive(t.NamedTuple):
    """Whose a peer's keepalive is: what the next client must know to leave it so.

    Attributes:
        raised: The one that we have set where the operator had none; 0 if we have not.
        chosen: The operator's; 0 if there is none.
    """

    raised: int = 0
    chosen: int = 0


@dataclasses.dataclass(frozen=True)
class Memory:
    """What is remembered of a peer from one decision to the next. Times are steady seconds.

    Attributes:
        handshake: The last handshake, as the device dates it.
        handshake_at: When that was.
        rx_bytes: The device's counter.
        alive_at: When something last came in.
        answers: Whether the peer answers probes; None while that is not known.
        rtt: Seconds that the last answer took.
        asking: What it is being asked just now.
        doubtful: Whether the handshake is too old by the wall clock alone, which may be wrong.
        target: The directory's endpoint at the last decision.
        refuted: An endpoint of the directory at which the peer turned out not to be.
        first_try: When the tries for the present lack of a session began; None if there is none.
        last_try: When the last of them was made.
        tries: How many there were since a try was due to both ends at once.
        rest_until: Until when nothing is sent, so that routers forget; None while tries go on.
        hold_until: From when on there is such a rest again.
        meetings: How many such rests there were.
        started_over: Whether a session that nothing came by was started over once.
        changes_until: When the changes made so far count no more, at one in some seconds.
        raised: The keepalive that we have set where the operator had none; 0 if we have not.
        chosen: The operator's keepalive while there is a rest; 0 if there was none.
    """

    handshake: float = 0.0
    handshake_at: float = 0.0
    rx_bytes: int = 0
    alive_at: float = 0.0
    answers: bool | None = None
    rtt: float = 0.0
    asking: Asking | None = None
    doubtful: bool = False
    target: Endpoint | None = None
    refuted: Endpoint | None = None
    first_try: float | None = None
    last_try: float = 0.0
    tries: int = 0
    rest_until: float | None = None
    hold_until: float = 0.0
    meetings: int = 0
    started_over: bool = False
    changes_until: float = 0.0
    raised: int = 0
    chosen: int = 0


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is to be done about one peer, and why.

    Attributes:
        change: None if the peer is to be left alone.
        probe: Whether to send a probe, after the change.
        before: The endpoint that the device has.
        after: The endpoint that it has once the change is made.
        due: Steady seconds at which time alone may lead to another decision.
        memory: What to remember once this was carried out.
        peer: What was decided about, as the device had it.
        record: The same, as the directory had it.
    """

    public_key: PublicKey
    state: State
    change: PeerChange | None
    probe: bool
    reason: str
    before: Endpoint | None
    after: Endpoint | None
    due: float
    memory: Memory
    peer: Peer
    record: PeerRecord | None
