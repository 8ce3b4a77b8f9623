# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two hosts behind a router each, and a plan on both: who gets through to whom, and when.

The routers are Linux's with masquerade (FIELD-NOTES): a packet from inside keeps its port, unless a
packet that came uninvited has taken the port for that sender. One that drops such packets forgets
them at once; one that does not keeps them in mind for as long as they go on coming.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import typing as t

from tests.unit.plugins.module_utils.wgsd.plan.world import (
    ANSWER,
    INITIATION,
    KEEPALIVE,
    PROBE,
    REKEY_TIMEOUT,
    RESPONSE,
    device_with,
)
from wgsd.clock import Moment
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer, PeerRecord
from wgsd.plan import Decision, Policy, State, decide

PORT = 51820
#: Seconds for which routers remember (nf_conntrack_udp_timeout, _stream).
UNREPLIED, STREAM = 30.0, 120.0


class Router:
    """Masquerades one host.

    Attributes:
        endpoint: Where the registry sees the host.
        drops: Whether packets that nobody asked for are dropped before they are remembered.
    """

    def __init__(self, address: str, *, drops: bool) -> None:
        self.endpoint = Endpoint(address, PORT)
        self.drops = drops
        self._ports: dict[Endpoint, int] = {}
        self._until: dict[tuple[Endpoint, int], float] = {}
        self._strays: dict[tuple[Endpoint, int], float] = {}
        self._other_ports = itertools.count(1024)

    def outgoing(self, to: Endpoint, now: float) -> Endpoint:
        """Return where a packet of the host seems to come from."""
        port = self._ports.get(to, PORT)
        if self._until.get((to, port), 0.0) <= now:
            taken = self._strays.get((to, PORT), 0.0) > now
            port = self._ports[to] = next(self._other_ports) if taken else PORT
            self._until[to, port] = now + UNREPLIED
        self._until[to, port] = max(self._until[to, port], now + UNREPLIED)
        return Endpoint(self.endpoint.address, port)

    def lets_in(self, source: Endpoint, port: int, now: float) -> bool:
        """Whether a packet to *port* reaches the host."""
        if self._until.get((source, port), 0.0) > now:
            self._until[source, port] = now + STREAM
            return True
        if not self.drops:
            self._strays[source, port] = now + UNREPLIED
        return False


class Message(t.NamedTuple):
    """A packet.

    Attributes:
        size: Bytes, which tell what it is.
        known: What only who has the session, or has asked for it, can know.
        begun: When the probe was sent that it is or answers.
    """

    size: int
    known: t.Any
    begun: float = 0.0


class Pair:
    """Two hosts, one clock, and what is under way between them."""

    def __init__(self, drops: tuple[bool, bool], *, latency: float, ahead: float) -> None:
        self.now, self.latency = 1000.0, latency
        self._events: list[tuple[float, int, t.Callable[[], None]]] = []
        self._number = itertools.count()
        keys = PublicKey(b"a" * 32), PublicKey(b"b" * 32)
        self.hosts = [
            Host(self, key, Router(f"192.0.2.{number}", drops=drop), ahead)
            for number, (key, drop) in enumerate(zip(keys, drops), 1)
        ]
        for host, other in zip(self.hosts, self.hosts[::-1]):
            host.other = other
            host.peer = Peer(other.key, allowed_ips=("10.0.0.2/32",))

    def after(self, seconds: float, happen: t.Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._number), happen))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        passed: list[bool] = []
        self.after(seconds, lambda: passed.append(True))
        self.run_until(lambda: bool(passed), seconds + 1)

    def run_until(self, condition: t.Callable[[], bool], at_most: float) -> float:
        """Let time pass until something holds; return the seconds that it took."""
        begun = self.now
        while not condition():
            self.now, _number, happen = heapq.heappop(self._events)
            assert self.now - begun < at_most, f"not within {at_most} s"
            happen()
        return self.now - begun

    @property
    def is_direct(self) -> bool:
        """Whether both ends have a session that the other knows, and take it for that."""
        return all(
            host.state is State.DIRECT
            and host.session is not None
            and host.session in host.other.sessions
            for host in self.hosts
        )


class Host:
    """A WireGuard device, an agent, and a router in front of both."""

    other: Host
    peer: Peer

    def __init__(self, pair: Pair, key: PublicKey, router: Router, ahead: float) -> None:
        self.key, self.router = key, router
        self.state: State | None = None
        self.told_at = math.inf
        self._pair, self._ahead = pair, ahead
        self._records: dict[PublicKey, PeerRecord | None] = {}
        self._last: dict[PublicKey, Decision] = {}
        self._heard: dict[PublicKey, float] = {}
        self._stirred = False
        self._changed_at = -math.inf
        self._look_at = math.inf
        self._forget()

    @property
    def asks(self) -> bool:
        """Whether a sign of life is awaited."""
        return any(decision.memory.asking is not None for decision in self._last.values())

    def learn(self) -> None:
        """Learn from the directory where the other is."""
        self._records = {self.other.key: PeerRecord(self.other.key, self.other.router.endpoint)}
        self.look()

    def move(self, router: Router) -> None:
        """Go behind another router, and have the other hear of it by the registry."""
        self.router = router
        self._stirred = True
        self.look()
        self._pair.after(4 * self._pair.latency, self.other.learn)

    def look(self) -> None:
        now = self._pair.now
        heard, self._heard = self._heard, {}
        stirred, self._stirred = self._stirred, False
        (decision,) = decide(
            device_with(self.peer, public_key=self.key),
            self._records,
            self._last,
            Moment(now + 1_800_000_000.0 + self._ahead, now),
            Policy(continuous=True),
            heard=heard,
            stirred=stirred,
        )
        self._last, self.state = {self.other.key: decision}, decision.state
        if decision.state is State.UNREACHABLE:
            self.told_at = min(self.told_at, now)
        if decision.change:
            self._changed_at = now
            self._apply(decision)
        if decision.probe:
            self._send_data(PROBE, now)
        pause = 0.05 if now - self._changed_at < 1 else 1.0
        at = self._look_at = max(min(decision.due, now + pause), now)
        self._pair.after(at - now, lambda: self.look() if self._look_at == at else None)

    # WireGuard

    def _apply(self, decision: Decision) -> None:
        change = decision.change
        assert change is not None
        if change.fresh:
            self._forget()
            self.peer = Peer(self.other.key, change.endpoint, allowed_ips=self.peer.allowed_ips)
        elif change.endpoint is not None:
            self.peer = dataclasses.replace(self.peer, endpoint=change.endpoint)
        keepalive = change.persistent_keepalive
        if keepalive is not None:
            begins = keepalive and not self.peer.persistent_keepalive
            self.peer = dataclasses.replace(self.peer, persistent_keepalive=keepalive)
            if begins:
                self._keep_alive(self._entry)

    def _forget(self) -> None:
        self._entry = object()
        self.session: object | None = None
        self.sessions: list[object] = []
        self._offered: list[object] = []
        self._asked: object | None = None
        self._asked_at = -math.inf

    def _keep_alive(self, entry: object) -> None:
        if entry is self._entry:
            self._send_data(KEEPALIVE)
            self._pair.after(self.peer.persistent_keepalive, lambda: self._keep_alive(entry))

    def _initiate(self) -> None:
        if self._pair.now - self._asked_at < REKEY_TIMEOUT or self.peer.endpoint is None:
            return
        asked = self._asked = object()
        self._asked_at = self._pair.now
        self._send(Message(INITIATION, asked))
        self._pair.after(REKEY_TIMEOUT, lambda: self._retry(asked))

    def _retry(self, asked: object) -> None:
        if asked is self._asked:
            self._asked_at = -math.inf
            self._initiate()

    def _begin(self, session: object) -> None:
        self.session = session
        wall = self._pair.now + 1_800_000_000.0 + self._ahead
        self.peer = dataclasses.replace(self.peer, last_handshake=wall)

    def _send_data(self, size: int, begun: float = 0.0) -> None:
        if self.session is None:
            self._initiate()
        else:
            self._send(Message(size, self.session, begun))

    def _send(self, message: Message) -> None:
        to = self.peer.endpoint
        if to is not None:
            source = self.router.outgoing(to, self._pair.now)
            self.peer = dataclasses.replace(self.peer, tx_bytes=self.peer.tx_bytes + message.size)
            self._pair.after(self._pair.latency, lambda: self.other.receive(message, source, to))

    def receive(self, message: Message, source: Endpoint, to: Endpoint) -> None:
        """Take a packet that has come to *to*, if that is ours, and if it is for us."""
        size, known = message.size, message.known
        mine = to.address == self.router.endpoint.address
        if not mine or not self.router.lets_in(source, to.port, self._pair.now):
            return
        if size == RESPONSE and known[0] is not self._asked:
            return
        if size not in (INITIATION, RESPONSE) and known not in self.sessions:
            return
        rx_bytes = self.peer.rx_bytes + size
        self.peer = dataclasses.replace(self.peer, rx_bytes=rx_bytes, endpoint=source)
        if size == INITIATION:
            offered = (known, object())
            self.sessions.append(offered)
            self._offered.append(offered)
            self._send(Message(RESPONSE, offered))
        elif size == RESPONSE:
            self._asked = None
            self.sessions.append(known)
            self._begin(known)
            self._send_data(KEEPALIVE)
        elif known in self._offered:
            # The responder has a session once data has come by it.
            self._offered.clear()
            self._begin(known)
        if size == PROBE:
            self._send_data(ANSWER, message.begun)
        elif size == ANSWER:
            self._heard[self.other.key] = self._pair.now - message.begun
            self.look()
