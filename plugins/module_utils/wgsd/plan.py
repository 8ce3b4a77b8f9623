# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides what to do about each peer's endpoint. Pure: no I/O, no clock of its own.

The rules, in words:

* A tunnel that lives is left alone: its device follows the peer by itself and knows better than
  the directory. The one exception is a peer that has left the very endpoint the directory gave
  us: the directory has another one now, and nothing has come in for longer than any keepalive.
* A peer without a session is connected by removing and adding it in one operation. WireGuard
  sends at most one initiation per peer in 5 s, and a peer that has been trying without an
  endpoint has spent it; a new entry has not. There is no session that could be lost.
* The same state gives no action, so running twice is the same as running once.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import ipaddress
import typing as t

from .keys import PublicKey
from .model import REJECT_AFTER_TIME, Device, Endpoint, Peer, PeerChange, PeerRecord

#: Seconds by which a peer's keepalive may be late before the peer counts as silent. Moving a tunnel
#: that was merely late does little harm: its next packet moves it back.
KEEPALIVE_GRACE = 5.0
#: Seconds after which a peer that was tried without a handshake is called unreachable.
UNREACHABLE_AFTER = 30.0
#: Seconds between the first two tries to connect; each further pause is twice as long.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class State(enum.Enum):
    """How things stand between this host and a peer."""

    UNKNOWN = "unknown"  #: no session, and the directory has no endpoint
    KNOWN = "known"  #: no session; the directory has an endpoint that is not set yet
    PUNCHING = "punching"  #: the endpoint is set, the handshake is to come
    UNREACHABLE = "unreachable"  #: the same, for a long time
    DIRECT = "direct"  #: a session, and no sign that it is dead
    STALE = "stale"  #: a session whose peer has moved away


@dataclasses.dataclass(frozen=True)
class PeerHistory:
    """What a continuous client remembers of a peer. Times are seconds since the epoch.

    Attributes:
        rx_bytes: The device's counter when it was last read.
        rx_at: When the counter was last seen to move.
        followed: The endpoint that we last set, from the directory.
        first_try: When the tries for the present lack of a session began; None if there is one.
        last_try: When the last of them was made.
        tries: How many there were.
    """

    rx_bytes: int = 0
    rx_at: float = 0.0
    followed: Endpoint | None = None
    first_try: float | None = None
    last_try: float = 0.0
    tries: int = 0


History = t.Mapping[PublicKey, PeerHistory]
EMPTY_HISTORY: History = {}


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the operator wants.

    Attributes:
        keepalive: Seconds, for peers that get connected and have none; 0 for none.
        force: Set the directory's endpoint even on a tunnel that lives.
        only: Look at these peers only; None for all.
        protected: Never touch these: the registry, whose endpoint is configuration.
    """

    keepalive: int = 25
    force: bool = False
    only: frozenset[PublicKey] | None = None
    protected: frozenset[PublicKey] = frozenset()


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is to be done about one peer, and why.

    Attributes:
        change: None if the peer is to be left alone.
        before: The endpoint that the device has.
        after: The endpoint that it has once the change is made.
    """

    public_key: PublicKey
    state: State
    change: PeerChange | None
    reason: str
    before: Endpoint | None
    after: Endpoint | None


def has_session(peer: Peer, now: float) -> bool:
    """Whether WireGuard may still hold session keys for *peer*.

    The comparison is open to clocks that differ a little or jump: a handshake from the future
    counts as a session, since a live tunnel must not be harmed by a clock.
    """
    return peer.last_handshake > 0 and now - peer.last_handshake < REJECT_AFTER_TIME


def wants_record(peer: Peer, history: History, now: float, policy: Policy) -> bool:
    """Whether a decision about *peer* could depend on what the directory says."""
    return not has_session(peer, now) or _is_silent(peer, history, now, policy) or policy.force


def managed(device: Device, policy: Policy) -> t.Iterator[Peer]:
    """Yield the peers that the policy puts in our hands."""
    for key, peer in device.peers.items():
        if key not in policy.protected and (policy.only is None or key in policy.only):
            yield peer


def decide(
    device: Device,
    records: t.Mapping[PublicKey, PeerRecord | None],
    history: History,
    now: float,
    policy: Policy,
) -> list[Decision]:
    """Decide about every managed peer of *device*.

    Args:
        device: A snapshot taken just before.
        records: What the directory says; None or missing for peers that it does not have.
        history: What `remember` returned last time; `EMPTY_HISTORY` for a single run.
        now: Seconds since the epoch.
        policy: What the operator wants.
    """
    return [
        _decide(peer, records.get(peer.public_key), history, now, policy)
        for peer in managed(device, policy)
    ]


def _decide(
    peer: Peer, record: PeerRecord | None, history: History, now: float, policy: Policy
) -> Decision:
    leave = functools.partial(_leave, peer)
    session = has_session(peer, now)
    if record is None:
        if session:
            return leave(State.DIRECT, "the tunnel lives")
        return leave(State.UNKNOWN, "the directory has no endpoint for it")
    target = record.endpoint
    if session:
        if peer.endpoint == target:
            return leave(State.DIRECT, "the tunnel lives, at the directory's endpoint")
        if policy.force:
            return _move(peer, target, State.DIRECT, "forced onto a tunnel that lives")
        past = history.get(peer.public_key, PeerHistory())
        followed = past.followed is not None and past.followed == peer.endpoint
        if followed and _is_silent(peer, history, now, policy):
            silence = now - past.rx_at
            reason = f"it left {peer.endpoint}, nothing came from there for {silence:.0f} s"
            return _move(peer, target, State.STALE, reason)
        return leave(State.DIRECT, "the tunnel lives, where its own packets come from")
    return _connect(peer, target, history, now, policy)


def _connect(
    peer: Peer, target: Endpoint, history: History, now: float, policy: Policy
) -> Decision:
    past = history.get(peer.public_key, PeerHistory())
    keepalive = peer.persistent_keepalive or policy.keepalive
    if peer.endpoint != target or peer.persistent_keepalive != keepalive:
        # A directory that cannot make up its mind must not make us start over and over.
        if past.tries and 0 <= now - past.last_try < FIRST_PAUSE:
            return _leave(peer, State.PUNCHING, f"just tried {peer.endpoint}; {target} comes next")
        was = f"instead of {peer.endpoint}" if peer.endpoint else "where it had none"
        return _fresh(peer, target, keepalive, State.KNOWN, f"no session; set {target} {was}")
    if past.first_try is None:
        return _leave(peer, State.PUNCHING, "the endpoint is set, no handshake yet")
    waited = now - past.first_try
    state = State.UNREACHABLE if waited >= UNREACHABLE_AFTER else State.PUNCHING
    pause = min(FIRST_PAUSE * 2 ** min(past.tries, 10), LONGEST_PAUSE)
    if 0 <= now - past.last_try < pause:
        return _leave(peer, state, f"no handshake since {waited:.0f} s")
    return _fresh(peer, target, keepalive, state, f"no handshake since {waited:.0f} s; try again")


def _leave(peer: Peer, state: State, reason: str) -> Decision:
    return Decision(peer.public_key, state, None, reason, peer.endpoint, peer.endpoint)


def _move(peer: Peer, target: Endpoint, state: State, reason: str) -> Decision:
    change = PeerChange(peer.public_key, endpoint=target)
    return Decision(peer.public_key, state, change, reason, peer.endpoint, target)


def _fresh(peer: Peer, target: Endpoint, keepalive: int, state: State, reason: str) -> Decision:
    change = PeerChange.anew(peer, target, persistent_keepalive=keepalive)
    return Decision(peer.public_key, state, change, reason, peer.endpoint, target)


def _is_silent(peer: Peer, history: History, now: float, policy: Policy) -> bool:
    """Whether *peer*, whose client keeps the same policy, has missed a keepalive."""
    past = history.get(peer.public_key)
    if past is None or past.rx_bytes != peer.rx_bytes or not policy.keepalive:
        return False
    return now - past.rx_at > policy.keepalive + KEEPALIVE_GRACE


def remember(
    device: Device, decisions: t.Iterable[Decision], history: History, now: float
) -> dict[PublicKey, PeerHistory]:
    """Return the history after *decisions* were carried out; peers that are gone are forgotten."""
    after: dict[PublicKey, PeerHistory] = {}
    for decision in decisions:
        peer = device.peers[decision.public_key]
        past = history.get(decision.public_key)
        if past is None or past.rx_bytes != peer.rx_bytes or now < past.rx_at:
            past = dataclasses.replace(past or PeerHistory(), rx_bytes=peer.rx_bytes, rx_at=now)
        if has_session(peer, now):
            past = dataclasses.replace(past, first_try=None, tries=0)
        if decision.change:
            past = dataclasses.replace(past, followed=decision.after)
            if decision.change.fresh:
                # The device counts a new entry from zero.
                past = dataclasses.replace(
                    past,
                    rx_bytes=0,
                    first_try=now if past.first_try is None else past.first_try,
                    last_try=now,
                    tries=past.tries + 1,
                )
        elif decision.state is State.PUNCHING and past.first_try is None:
            past = dataclasses.replace(past, first_try=now, last_try=now)
        after[decision.public_key] = past
    return after


def holders(device: Device, addresses: t.Iterable[str]) -> frozenset[PublicKey]:
    """Return the peers to which *device* routes *addresses*, as WireGuard does: longest prefix."""
    found: set[PublicKey] = set()
    for text in addresses:
        address = ipaddress.ip_address(text)
        best: tuple[int, PublicKey] | None = None
        for peer in device.peers.values():
            for block in peer.allowed_ips:
                network = _network(block)
                if (
                    network.version == address.version
                    and address in network
                    and (best is None or network.prefixlen > best[0])
                ):
                    best = (network.prefixlen, peer.public_key)
        if best:
            found.add(best[1])
    return frozenset(found)


@functools.lru_cache(maxsize=65536)
def _network(block: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(block)
