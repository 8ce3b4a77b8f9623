# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides when a registry is lost, and what to do about its peer entry. Pure.

As long as its DNS server answers, or anything at all comes in from it, a registry is left alone:
WireGuard follows it. One that is silent has moved, has restarted, or is down, and nobody can tell
which; so in turn it is looked for at another address, with the session kept in case that only its
address has changed, and started over, which has WireGuard send an initiation at once: by itself it
would do so 15 s after the first packet without an answer, and then every 5 s.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ..model import Endpoint, Peer, PeerChange

#: Seconds of silence after which the registry's name is resolved anew; silence is noticed when the
#: first query has waited for a second.
RESOLVE_AFTER = 2.0
#: Seconds until it is again; they double up to the longest pause.
RESOLVE_PAUSE = 10.0
#: Seconds of silence after which the registry counts as lost.
LOST_AFTER = 4.0
#: The same for one that was found again and still owes answers: a WireGuard whose host says nothing
#: acknowledges a packet after 10 s (KEEPALIVE_TIMEOUT, protocol section 6.5).
FOUND_PATIENCE = 15.0
#: Seconds until the next look at a registry that owes answers, but from which something comes in.
WATCH = 2.0
#: Seconds between two tries; they double up to the longest pause.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0
#: Seconds in which a registry that has only moved would have answered.
KEPT_SESSION_PATIENCE = 2.0
#: Changes in a minute at the most, whatever the name's addresses do.
CHANGES_MAX = 6
MINUTE = 60.0
#: Seconds after which silence counts although nothing was sent: longer than a client lets pass
#: between two queries. A host that has lost its IPv6 cannot send to an endpoint of that family.
UNSENT_PATIENCE = 40.0
#: Bytes that WireGuard counts for a keepalive, which nobody answers.
KEEPALIVE_BYTES = 32


@dataclasses.dataclass(frozen=True)
class RegistryMemory:
    """What is remembered of a registry's peer entry. Times are steady seconds.

    Attributes:
        rx_bytes: The device's counter.
        tx_bytes: The device's counter.
        quiet_since: When something last came in, or was not missed.
        silent_since: When the first packet left that nothing has come in after; None if there is
            none.
        resolutions: How often the name was to be resolved since the trouble began.
        resolve_at: When it may be next.
        found: Whether something came in after a try, though queries still have no answer.
        tries: How often the registry was looked for where it is looked for now.
        tried_at: When the last of these tries was made.
        kept: Whether that one has kept the session.
        changed_at: The changes of the last minute.
    """

    rx_bytes: int
    tx_bytes: int
    quiet_since: float
    silent_since: float | None = None
    resolutions: int = 0
    resolve_at: float = -math.inf
    found: bool = False
    tries: int = 0
    tried_at: float = -math.inf
    kept: bool = False
    changed_at: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class RegistryDecision:
    """What is to be done about a registry's peer entry.

    Attributes:
        change: None if it is to be left alone.
        reason: In words.
        resolve: Whether to resolve the registry's name anew.
        due: Steady seconds at which time alone may lead to another decision.
        memory: What to remember once this was carried out.
    """

    change: PeerChange | None
    reason: str
    resolve: bool
    due: float
    memory: RegistryMemory


def decide_registry(
    peer: Peer,
    wanted: t.Sequence[Endpoint],
    memory: RegistryMemory | None,
    now: float,
    trouble: bool,
) -> RegistryDecision:
    """Decide about a registry's peer entry.

    Args:
        peer: As the device has it just now.
        wanted: Where the registry may be, the best first; empty for where it was last.
        memory: That of the decision before; None if there was none.
        now: Steady seconds.
        trouble: Whether the DNS servers behind the peer owe us answers.
    """
    memory = _observe(peer, memory, now, trouble)
    since = memory.silent_since
    if since is None:
        if trouble:
            return RegistryDecision(None, "something comes in", False, now + WATCH, memory)
        return RegistryDecision(None, "it answers", False, math.inf, memory)
    resolve_at = max(since + RESOLVE_AFTER, memory.resolve_at)
    resolve = now >= resolve_at
    if resolve:
        resolve_at = now + _pause(RESOLVE_PAUSE, memory.resolutions)
        memory = dataclasses.replace(
            memory, resolutions=memory.resolutions + 1, resolve_at=resolve_at
        )
    reason = f"nothing came from {peer.endpoint} for {now - since:.0f} s"
    target = _target(peer, wanted, memory)
    if target is None:
        return RegistryDecision(
            None, f"{reason}; no endpoint is known", resolve, resolve_at, memory
        )
    try_at = _try_at(peer, wanted, memory, since)
    if now < try_at:
        return RegistryDecision(None, reason, resolve, min(resolve_at, try_at), memory)
    change, what = _change(peer, target)
    tries = 1 if _is_elsewhere(peer, wanted) else memory.tries + (not memory.kept)
    memory = dataclasses.replace(
        memory,
        tries=tries,
        tried_at=now,
        kept=not change.fresh,
        changed_at=(*memory.changed_at[1 - CHANGES_MAX :], now),
        # The device counts a new entry from zero.
        rx_bytes=0 if change.fresh else memory.rx_bytes,
        tx_bytes=0 if change.fresh else memory.tx_bytes,
    )
    after = dataclasses.replace(peer, endpoint=target)
    due = min(resolve_at, _try_at(after, wanted, memory, now))
    return RegistryDecision(change, f"{reason}; {what}", resolve, due, memory)


def _observe(
    peer: Peer, memory: RegistryMemory | None, now: float, trouble: bool
) -> RegistryMemory:
    """Return what is known now; silence begins with a packet that ought to be answered."""
    if memory is None:
        return RegistryMemory(peer.rx_bytes, peer.tx_bytes, now)
    came = _moved(memory.rx_bytes, peer.rx_bytes)
    sent = _moved(memory.tx_bytes, peer.tx_bytes)
    if not trouble:
        return RegistryMemory(peer.rx_bytes, peer.tx_bytes, now, changed_at=memory.changed_at)
    memory = dataclasses.replace(memory, rx_bytes=peer.rx_bytes, tx_bytes=peer.tx_bytes)
    if came:
        found = memory.found or memory.tries > 0
        return dataclasses.replace(
            memory, quiet_since=now, silent_since=None, found=found, tries=0, kept=False
        )
    unanswered = sent > KEEPALIVE_BYTES or peer.endpoint is None
    if memory.silent_since is None and (unanswered or now - memory.quiet_since >= UNSENT_PATIENCE):
        return dataclasses.replace(memory, silent_since=now)
    return memory


def _moved(before: int, after: int) -> int:
    """Return by how much a counter has moved; one that went back has begun from zero."""
    return after - before if after >= before else after


def _target(peer: Peer, wanted: t.Sequence[Endpoint], memory: RegistryMemory) -> Endpoint | None:
    """Return where to look for the registry now."""
    if _is_elsewhere(peer, wanted):
        return wanted[0]
    if not wanted or not memory.tries or memory.kept:
        return peer.endpoint
    return wanted[(wanted.index(peer.endpoint) + 1) % len(wanted)]


def _is_elsewhere(peer: Peer, wanted: t.Sequence[Endpoint]) -> bool:
    """Whether the registry is nowhere near the endpoint that the device has."""
    return bool(wanted) and peer.endpoint not in wanted


def _try_at(
    peer: Peer, wanted: t.Sequence[Endpoint], memory: RegistryMemory, since: float
) -> float:
    """Return when the next try is due, in steady seconds."""
    # Where it is elsewhere by now, what was tried before does not count.
    if not memory.tries or _is_elsewhere(peer, wanted):
        due = since + (FOUND_PATIENCE if memory.found else LOST_AFTER)
    elif memory.kept:
        due = memory.tried_at + KEPT_SESSION_PATIENCE
    else:
        due = memory.tried_at + _pause(FIRST_PAUSE, memory.tries - 1)
    if len(memory.changed_at) == CHANGES_MAX:
        due = max(due, memory.changed_at[0] + MINUTE)
    return due


def _pause(first: float, number: int) -> float:
    return min(first * 2.0 ** min(number, 10), LONGEST_PAUSE)


def _change(peer: Peer, target: Endpoint) -> tuple[PeerChange, str]:
    """Return the change that looks for the registry at *target*, and what it does in words."""
    if peer.endpoint == target:
        return PeerChange.anew(peer, target), "start over"
    if peer.last_handshake:
        return PeerChange(peer.public_key, endpoint=target), f"it may have moved to {target}"
    return PeerChange.anew(peer, target), f"start over at {target}"
