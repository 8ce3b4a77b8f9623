# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A WireGuard device with one peer, as far as the plan can see either, and clocks that tests move.

The peer has one place at a time, where all packets reach it. What it sends reaches us, and makes
our device follow it. A packet takes half a round trip.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
import typing as t

from wgsd.client.pace import PUNCHING_INTERVAL, QUIET_INTERVAL, UNSETTLED
from wgsd.clock import Moment
from wgsd.keys import PublicKey
from wgsd.model import REJECT_AFTER_TIME, Device, Endpoint, Peer, PeerRecord
from wgsd.plan import Decision, Keepalive, Policy, decide, keepalive_of

US = PublicKey(b"a" * 32)
BOB = PublicKey(b"b" * 32)
HOME = Endpoint("192.0.2.20", 51820)
CAFE = Endpoint("198.51.100.7", 40000)
TRAIN = Endpoint("2001:db8::7", 40001)
PRESHARED_KEY = b"p" * 32

#: WireGuard's own (protocol section 6.1), in seconds.
REKEY_TIMEOUT = 5.0
REKEY_AFTER_TIME = 120.0
KEEPALIVE_TIMEOUT = 10.0
#: Bytes of messages: initiation, response, keepalive, probe, and the answer to one.
INITIATION, RESPONSE, KEEPALIVE, PROBE, ANSWER = 148, 92, 32, 64, 96
#: Seconds after which a tunnel that has lived all the time has shown so.
SURE_AFTER = 13.0
#: Linux answers so many probes in a row, and then one a second (icmp_ratelimit).
ANSWERS_IN_A_ROW = 6


def device_with(*peers: Peer, public_key: PublicKey | None = US) -> Device:
    return Device("wg0", public_key, 51820, 0, {peer.public_key: peer for peer in peers})


def bob(**fields: t.Any) -> Peer:
    whole = {"allowed_ips": ("10.0.0.2/32",), "preshared_key": PRESHARED_KEY, **fields}
    return Peer(BOB, **whole)


def at(endpoint: Endpoint | None) -> dict[PublicKey, PeerRecord | None]:
    """Return what a directory says that has Bob there, or has no Bob."""
    return {BOB: PeerRecord(BOB, endpoint) if endpoint else None}


class World:
    """Attributes:
    now: Steady seconds.
    ahead: Seconds by which the wall clock is ahead of the steady one.
    peer: The device's entry.
    place: Where the peer is; None if it is off.
    answers: Whether it answers probes.
    calls: Seconds between the keepalives that it sends; 0 for none.
    hears: Whether our probes get onto the wire.
    us: The device's own key.
    live_since: Since when packets have been going both ways; None if they do not.
    harmed: Decisions that touched a tunnel that had been alive for long.
    roamed: How often packets of the peer made the device follow it.
    """

    def __init__(
        self,
        peer: Peer | None = None,
        *,
        place: Endpoint | None = HOME,
        rtt: float = 0.02,
        answers: bool = True,
        calls: int = 25,
        loss: float = 0.0,
        seed: int = 0,
        policy: Policy = Policy(continuous=True),  # noqa: B008
    ) -> None:
        self.now, self.ahead = 1000.0, 1_800_000_000.0
        self.peer = peer or bob()
        self.place, self.rtt, self.answers, self.calls = place, rtt, answers, calls
        self.hears = True
        self.us: PublicKey | None = US
        self.policy = policy
        self.records: dict[PublicKey, PeerRecord | None] = {}
        self.last: dict[PublicKey, Decision] = {}
        #: What the agent before this one has left.
        self.keepalives: dict[PublicKey, Keepalive] = {}
        self.decision: Decision | None = None
        self.changes: list[tuple[float, Decision]] = []
        self.probes: list[float] = []
        self.harmed: list[Decision] = []
        self.roamed = 0
        self.live_since: float | None = None
        self._loss, self._random = loss, random.Random(seed)
        self._heard: dict[PublicKey, float] = {}
        self._stirred = False
        self._looked_at = self.now
        self._events: list[tuple[float, int, t.Callable[[], None]]] = []
        self._number = itertools.count()
        #: Changes whenever the device forgets the peer's session and handshakes.
        self._entry = 0
        self._session_at: float | None = None
        self._initiated_at = -math.inf
        #: The keepalive that the peer owes us for a packet of ours (Keepalive-Timeout).
        self._owed: object | None = None
        self._owes_another = False
        self._refused: list[float] = []

    # What tests do and ask

    @property
    def wall(self) -> float:
        return self.now + self.ahead

    @property
    def has_session(self) -> bool:
        return self._session_at is not None and self.now - self._session_at < REJECT_AFTER_TIME

    @property
    def lives_for(self) -> float:
        """Seconds for which the tunnel has been alive."""
        return 0.0 if self.live_since is None else self.now - self.live_since

    def connect(self, *, keepalive: int | None = 25) -> None:
        """Have a tunnel that lives, whoever has set it up."""
        self.peer = dataclasses.replace(self.peer, endpoint=self.place)
        if keepalive is not None:
            self.peer = dataclasses.replace(self.peer, persistent_keepalive=keepalive)
        self._establish(self._entry)
        self._check()

    def says(self, endpoint: Endpoint | None) -> None:
        """Have the directory say where the peer is, or that it does not know it."""
        self.records = at(endpoint)

    def move(self, place: Endpoint | None) -> None:
        self.place = place
        self._check()

    def roam(self, place: Endpoint) -> None:
        """Have the peer move, and tell us by a packet of its own."""
        self.move(place)
        if self.has_session:
            self._far_sends(KEEPALIVE)

    def stir(self) -> None:
        """Have this host move."""
        self._stirred = True

    def restart(self, keepalive: int | None = None) -> None:
        """Have the agent start anew, with what the one before has left.

        Args:
            keepalive: What the operator has configured meanwhile.
        """
        if self.decision is not None:
            self.keepalives = {BOB: keepalive_of(self.decision)}
        if keepalive is not None:
            self.policy = dataclasses.replace(self.policy, keepalive=keepalive)
        self.last, self.decision = {}, None

    def add_anew(self, **fields: t.Any) -> None:
        """Have somebody else remove the peer and add it again."""
        self._forget()
        self.peer = dataclasses.replace(bob(), **fields)
        self._send_initiation()
        self._check()

    def set(self, **fields: t.Any) -> None:
        """Have somebody else change settings of the peer's entry."""
        self.peer = dataclasses.replace(self.peer, **fields)

    def run(self, seconds: float) -> None:
        """Let time pass, and look whenever the agent would."""
        end = self.now + seconds
        while self.now < end:
            self._step(end)

    def run_until(self, condition: t.Callable[[], bool], at_most: float) -> float:
        """Let time pass until something holds; return the seconds that it took."""
        begun = self.now
        while not condition():
            assert self.now - begun < at_most, f"not within {at_most} s: {self.decision}"
            self._step(begun + at_most)
        return self.now - begun

    def _step(self, end: float) -> None:
        """Let time pass until something happens, until *end* at the latest."""
        due = self.decision.due if self.decision else self.now
        look_at = max(self.now, min(due, self._looked_at + self._pause()))
        upto = min(look_at, end)
        if self._events and self._events[0][0] <= upto:
            self.now, _number, happen = heapq.heappop(self._events)
            happen()
            if self._heard:
                self.look()
            return
        self.now = upto
        if upto == look_at:
            self.look()

    def look(self) -> Decision:
        """Decide, and carry it out."""
        heard, self._heard = self._heard, {}
        stirred, self._stirred = self._stirred, False
        decision = self._decide(heard, stirred)
        self._looked_at = self.now
        assert decision.due > self.now, f"{decision} would make the agent spin"
        self.last, self.decision = {BOB: decision}, decision
        if decision.change:
            self.changes.append((self.now, decision))
            if _touches(decision) and self.lives_for >= SURE_AFTER:
                self.harmed.append(decision)
            self._apply(decision)
        if decision.probe:
            self.probes.append(self.now)
            self._send_probe()
        again = self._decide({}, False)
        assert again.change is None, f"{decision} is followed by {again}"
        assert not again.probe, f"{decision} is followed by {again}"
        return decision

    def moves(self) -> list[Endpoint | None]:
        """Return the endpoints that were set, in order."""
        return [d.change.endpoint for _now, d in self.changes if d.change and _touches(d)]

    def _pause(self) -> float:
        """Return the seconds until the next look at the latest, as the agent's pace has it."""
        if self.changes and self.now - self.changes[-1][0] < 1.0:
            return 0.05
        unsettled = self.decision and self.decision.state in UNSETTLED
        return PUNCHING_INTERVAL if unsettled else QUIET_INTERVAL

    # The device

    def _decide(self, heard: dict[PublicKey, float], stirred: bool) -> Decision:
        (decision,) = decide(
            device_with(self.peer, public_key=self.us),
            self.records,
            self.last,
            Moment(self.wall, self.now),
            self.policy,
            heard=heard,
            stirred=stirred,
            keepalives=self.keepalives,
        )
        return decision

    def _apply(self, decision: Decision) -> None:
        change = decision.change
        assert change is not None
        fields: dict[str, t.Any] = {}
        if change.fresh:
            self._forget()
            self.peer = Peer(BOB)
            fields["preshared_key"] = change.preshared_key
        if change.endpoint is not None:
            fields["endpoint"] = change.endpoint
        if change.allowed_ips is not None:
            fields["allowed_ips"] = change.allowed_ips
        begins = bool(change.persistent_keepalive) and not self.peer.persistent_keepalive
        if change.persistent_keepalive is not None:
            fields["persistent_keepalive"] = change.persistent_keepalive
        self.peer = dataclasses.replace(self.peer, **fields)
        self._check()
        if begins and not self.has_session:
            self._send_initiation()

    def _forget(self) -> None:
        self._entry += 1
        self._session_at = None
        self._initiated_at = -math.inf

    def _count(self, *, sent: int = 0, came: int = 0) -> None:
        self.peer = dataclasses.replace(
            self.peer, tx_bytes=self.peer.tx_bytes + sent, rx_bytes=self.peer.rx_bytes + came
        )

    def _check(self) -> None:
        """Note whether packets go both ways from now on."""
        flows = self.has_session and self.place is not None and self.peer.endpoint == self.place
        if not flows:
            self.live_since = None
        elif self.live_since is None:
            self.live_since = self.now

    # What goes over the wire

    def _after(self, seconds: float, happen: t.Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._number), happen))

    def _send(self, size: int, arrive: t.Callable[[], None]) -> None:
        """Send a packet of ours to where the device has the peer."""
        to = self.peer.endpoint
        if to is None:
            return
        self._count(sent=size)
        if self._random.random() >= self._loss:
            self._after(self.rtt / 2, lambda: arrive() if to == self.place else None)

    def _far_sends(self, size: int, then: t.Callable[[], None] = lambda: None) -> None:
        """Have the peer send us a packet within our session."""
        entry, place = self._entry, self.place

        def arrive() -> None:
            if entry == self._entry and self.has_session:
                self._count(came=size)
                self.roamed += self.peer.endpoint != place
                self.peer = dataclasses.replace(self.peer, endpoint=place)
                self._check()
                then()

        self._owed = None
        if place is not None and self._random.random() >= self._loss:
            self._after(self.rtt / 2, arrive)

    def _send_initiation(self) -> None:
        if self.now - self._initiated_at < REKEY_TIMEOUT or self.peer.endpoint is None:
            return
        self._initiated_at = self.now
        entry, begun = self._entry, self.now
        self._send(INITIATION, lambda: self._after(self.rtt / 2, lambda: self._establish(entry)))

        def again() -> None:
            if entry == self._entry and self._initiated_at == begun and not self._is_young():
                self._initiated_at = -math.inf
                self._send_initiation()

        self._after(REKEY_TIMEOUT, again)

    def _is_young(self) -> bool:
        return self._session_at is not None and self.now - self._session_at < REKEY_AFTER_TIME

    def _establish(self, entry: int) -> None:
        """Complete a handshake of ours, unless the device knows nothing of it any more."""
        if entry != self._entry or self.place is None:
            return
        self._session_at = self.now
        self._owed = None
        self._count(came=RESPONSE)
        self.peer = dataclasses.replace(self.peer, last_handshake=self.wall, endpoint=self.place)
        self._check()
        session = self.now
        if self.calls:
            self._after(self.calls, lambda: self._far_keepalive(session))
        self._after(REKEY_AFTER_TIME, lambda: self._rekey(entry, session))
        self._after(REJECT_AFTER_TIME, self._check)

    def _far_keepalive(self, session: float) -> None:
        if self._session_at == session:
            self._far_sends(KEEPALIVE)
            self._after(self.calls, lambda: self._far_keepalive(session))

    def _rekey(self, entry: int, session: float) -> None:
        if entry == self._entry and self._session_at == session:
            self._send_initiation()

    def _send_probe(self) -> None:
        if not self.hears:
            return
        if not self.has_session:
            self._send_initiation()
            return
        begun, entry = self.now, self._entry
        self._send(PROBE, lambda: self._far_probed(begun, entry))

    def _far_probed(self, begun: float, entry: int) -> None:
        if entry != self._entry:
            return
        if self.answers and self._may_refuse():
            self._far_sends(ANSWER, lambda: self._heard.update({BOB: self.now - begun}))
        elif self._owed is None:
            self._owe(entry)
        else:
            self._owes_another = True

    def _owe(self, entry: int) -> None:
        """Have the peer send a keepalive before long, if it sends nothing else."""
        owed = self._owed = object()
        self._owes_another = False

        def pay() -> None:
            if self._owed is owed:
                another = self._owes_another and entry == self._entry
                self._far_sends(KEEPALIVE)
                if another:
                    self._owe(entry)

        self._after(KEEPALIVE_TIMEOUT, pay)

    def _may_refuse(self) -> bool:
        tokens = float(ANSWERS_IN_A_ROW)
        before = -math.inf
        for when in self._refused:
            tokens = min(ANSWERS_IN_A_ROW, tokens + when - before) - 1
            before = when
        if min(ANSWERS_IN_A_ROW, tokens + self.now - before) < 1:
            return False
        self._refused = [*self._refused[-30:], self.now]
        return True


def _touches(decision: Decision) -> bool:
    """Whether a decision does more than to set a keepalive."""
    change = decision.change
    return change is not None and (change.fresh or change.endpoint is not None)
