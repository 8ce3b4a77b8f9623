# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent: looks at device and directory, decides, and sets endpoints."""

from __future__ import annotations

import dataclasses
import logging
import math
import typing as t

from .. import clock
from ..clock import Moment
from ..config import ClientSettings
from ..device import open_device
from ..device.base import Backend
from ..directory import Directory, ZoneVersion, unusable
from ..errors import DeviceError, ServerError
from ..keys import PublicKey
from ..model import Device, Endpoint, Member, Peer, PeerChange, PeerRecord
from ..plan import (
    Decision,
    Keepalive,
    Policy,
    State,
    decide,
    has_session,
    holders,
    managed,
    renewals,
    wants_record,
)
from .anchors import Anchors
from .discovery import Discovery
from .pace import WAITING_LOAD
from .poke import Poke

log = logging.getLogger("wgsd.client")

#: Seconds after which records are asked for again although the zone's serial did not move.
RECORD_MAX_AGE = 60.0
#: Seconds to wait for an answer while there is no tunnel to the registry. The query makes WireGuard
#: ask for one, and the device shows when it is there.
NO_TUNNEL_TIMEOUT = 0.1
#: Seconds within which a pair of peers begins at the moment at which its other end does as well.
PUNCTUAL_SECONDS = 1.0
#: Seconds for which another endpoint of our own in the directory is no news after a move.
MOVE_SETTLES = 1.0


class ReadableDirectory(t.Protocol):
    """What the agent needs of a `Directory` or a `View`."""

    failures: dict[PublicKey, str]

    @property
    def is_copy(self) -> bool:
        """Whether looking up costs neither time nor a query."""

    @property
    def version(self) -> ZoneVersion | None:
        """The version of the copy; None if there is none."""

    @property
    def is_settled(self) -> bool:
        """Whether there is somebody to ask."""

    def lookup(self, keys: t.Iterable[PublicKey]) -> dict[PublicKey, PeerRecord | None]:
        """Look up peers by SRV."""

    def serial(self, timeout: float | None = None) -> ZoneVersion | None:
        """Return the version of the zone; *timeout* in seconds, if not the usual one."""

    def members(self) -> t.Mapping[PublicKey, Member] | None:
        """Return the members of the zone; None while no server vouches for a copy of it."""


class Probing(t.Protocol):
    """What the agent needs of a `Prober`."""

    def probe(self, peers: t.Iterable[Peer]) -> None:
        """Send a probe to each."""

    def heard(self) -> dict[PublicKey, float]:
        """Return who has answered since the last call, and the seconds that it took."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What one look at device and directory came to.

    Attributes:
        failures: Why the directory's answer about a peer is of no use.
        trouble: Why the directory could not be asked; None if it could.
        poke_due: Steady seconds at which the registries are to hear from us again after a move.
        members_due: Steady seconds at which time alone may lead to other peers on the device.
    """

    decisions: t.Sequence[Decision]
    failures: t.Mapping[PublicKey, str]
    trouble: ServerError | None = None
    poke_due: float = math.inf
    members_due: float = math.inf

    @property
    def due(self) -> float:
        """Steady seconds at which time alone may lead to something else."""
        return self.due_with(0.0)

    def due_with(self, leisure: float) -> float:
        """Return the same where unreachable peers can wait for *leisure* seconds.

        But the moment at which both ends of a pair begin anew is kept to `PUNCTUAL_SECONDS`.
        """
        wait, begin = leisure, max(0.0, leisure - PUNCTUAL_SECONDS)
        dues = [
            (
                d.due
                if d.state is not State.UNREACHABLE
                else d.due + (wait if d.memory.rest_until is None else begin)
            )
            for d in self.decisions
        ]
        return min([self.poke_due, self.members_due, *dues])


class Agent:
    """Holds what is known between two looks: records, decisions, what the registry sees of us.

    Attributes:
        reads: How often the device was read.
        moved: When this host has moved last, in seconds since the epoch, and how that showed.
    """

    def __init__(
        self,
        settings: ClientSettings,
        directory: ReadableDirectory,
        *,
        prober: Probing | None = None,
        anchors: Anchors | None = None,
        discovery: Discovery | None = None,
        keepalives: t.Mapping[PublicKey, Keepalive] | None = None,
        opener: t.Callable[[str], Backend] = open_device,
        now: t.Callable[[], Moment] = clock.moment,
    ) -> None:
        """Prepare, without touching anything.

        Args:
            prober: Asks peers for a sign of life; None for a single look, which cannot wait for it.
            anchors: Looks after the registries' peer entries; None for leaving them alone.
            discovery: Adds members that the device lacks; None for the peers that it has.
            keepalives: Whose those of peers are, as the agent before has left it.
        """
        self._settings = settings
        self._directory = directory
        self._prober = prober
        self._anchors = anchors
        self._discovery = discovery
        self._opener = opener
        self._now = now
        self._addresses = [server.address for server in settings.registries]
        self.reads = 0
        self.moved: tuple[float, str] | None = None
        self._backend: Backend | None = None
        self._device: Device | None = None
        self._registries: dict[PublicKey, Peer] = {}
        #: The allowed IPs of the device's peers that these were found by.
        self._allowed: dict[PublicKey, tuple[str, ...]] = {}
        self._holders: frozenset[PublicKey] = frozenset()
        self._version: ZoneVersion | None = None
        self._records: dict[PublicKey, PeerRecord | None] = {}
        self._asked: dict[PublicKey, float] = {}
        self._failures: dict[PublicKey, str] = {}
        #: Whether these are all that a copy of the zone has of the peers.
        self._copied = False
        self._last: dict[PublicKey, Decision] = {}
        #: Of peers that nothing was decided about yet.
        self._keepalives = dict(keepalives or {})
        #: Answers to probes that no decision has taken into account.
        self._heard: dict[PublicKey, float] = {}
        self._seen_at: Endpoint | None = None
        self._moved_at = self._news_asked_at = -math.inf
        self._poke = Poke()

    @property
    def registries(self) -> t.Mapping[PublicKey, Peer]:
        """The peers that lead to the registries, as the last read showed them."""
        return self._registries

    @property
    def device(self) -> Device | None:
        """What the last read showed."""
        return self._device

    @property
    def kind(self) -> str | None:
        """Whose device it is, as of a `Backend`; None while it is closed."""
        return self._backend.kind if self._backend else None

    @property
    def seen_at(self) -> Endpoint | None:
        """Where the registry sees this host; None while that is not known."""
        return self._seen_at

    @property
    def version(self) -> ZoneVersion | None:
        """The version of the zone that the last decisions are based on; None if there is none."""
        return self._version

    def look(self, *, moved: bool = False, silent: t.Collection[Endpoint] = ()) -> Look:
        """Look once: read the device, ask the directory, decide, set.

        Args:
            moved: Whether this host has moved since the last look.
            silent: The DNS servers that owe us an answer.

        Raises:
            DeviceError: the device is out of reach.
        """
        try:
            return self._look(self._opened(), moved, silent)
        except DeviceError:
            self._device = None
            self.close()
            raise

    def listen(self) -> Look | None:
        """Take the answers to probes, without reading the device.

        Returns:
            None if a look is needed: something is to be changed, or the device was never read.
        """
        device = self._device
        if device is None or self._prober is None:
            return None
        self._heard.update(self._prober.heard())
        last = [self._last.get(key) for key in self._heard]
        if any(decision is None or decision.change for decision in last):
            # What was read is no longer so.
            return None
        decisions = self._decide(device, moved=False, only=frozenset(self._heard))
        if any(decision.change or decision.probe for decision in decisions):
            return None
        self._heard = {}
        self._keep(decisions)
        return Look(
            list(self._last.values()),
            dict(self._failures),
            poke_due=self._poke.due,
            members_due=self._members_due,
        )

    @property
    def _members_due(self) -> float:
        return self._discovery.due if self._discovery else math.inf

    def close(self) -> None:
        """Close the device."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def leave(self) -> frozenset[PublicKey]:
        """Give peers that are at rest their endpoints, so that WireGuard goes on alone.

        Returns:
            Who has got one.
        """
        resting = [d for d in self._last.values() if d.memory.rest_until is not None]
        if not resting:
            return frozenset()
        try:
            backend = self._opened()
            peers = backend.read().peers
            changes = [
                PeerChange(
                    decision.public_key,
                    endpoint=decision.memory.target,
                    persistent_keepalive=decision.memory.chosen or self._settings.keepalive,
                )
                for decision in resting
                # One that has come by itself has an endpoint.
                if decision.public_key in peers and peers[decision.public_key].endpoint is None
            ]
            if changes:
                backend.apply(changes)
        except DeviceError:
            return frozenset()
        return frozenset(change.public_key for change in changes)

    def _opened(self) -> Backend:
        if self._backend is None:
            self._backend = self._opener(self._settings.interface)
        return self._backend

    def _read(self, backend: Backend) -> Device:
        """Take a snapshot and find the registry's peers in it, once for all that need them."""
        device = backend.read()
        self.reads += 1
        allowed = {key: peer.allowed_ips for key, peer in device.peers.items()}
        if allowed != self._allowed:
            self._allowed, self._holders = allowed, holders(device, self._addresses)
        self._registries = {key: device.peers[key] for key in self._holders}
        self._device = device
        return device

    def _look(self, backend: Backend, moved: bool, silent: t.Collection[Endpoint]) -> Look:
        device = self._read(backend)
        if moved and backend.kind == "userspace":
            backend.apply(renewals(device))
        if self._anchors:
            backend.apply(self._anchors.look(device, self._registries, silent))
        trouble: ServerError | None = None
        waited = False
        try:
            waited = self._refresh(device)
        except ServerError as exc:
            if self._prober is None:
                raise
            # What was known before is still the best there is.
            trouble, waited = exc, True
        device, took = self._discover(backend, device)
        waited = waited or took
        if self._prober:
            self._heard.update(self._prober.heard())
        moved = self._has_moved(device, moved)
        decisions = self._decide(device, moved)
        if waited and any(decision.change for decision in decisions):
            # Somebody took his time, and a tunnel that came up meanwhile must not be started over:
            # what the device says now decides.
            device = self._read(backend)
            decisions = self._decide(device, moved)
        changes = [decision.change for decision in decisions if decision.change]
        if changes:
            backend.apply(changes)
        self._heard = {}
        self._last = {d.public_key: d for d in self._last.values() if d.public_key in device.peers}
        self._keep(decisions)
        if self._prober:
            now = self._now().steady
            if moved:
                self._poke.begin(self._registries, now)
            # The registry first: it tells the others.
            probed = self._poke.targets(self._registries, now)
            self._prober.probe([*probed, *(d.peer for d in decisions if d.probe)])
        return Look(decisions, dict(self._failures), trouble, self._poke.due, self._members_due)

    def _discover(self, backend: Backend, device: Device) -> tuple[Device, bool]:
        """Bring the peers of the device in line with the members of the zone.

        Returns:
            The device as it is then, and whether it may have changed since it was read.
        """
        if self._discovery is None:
            return device, False
        changes = self._discovery.look(
            device, self._allowed, self._directory.members(), self._directory.lookup
        )
        if not changes:
            return device, self._discovery.took_time
        backend.apply(changes)
        for change in changes:
            if change.create:
                self._keepalives[change.public_key] = Keepalive(change.persistent_keepalive or 0)
        device = self._read(backend)
        # Of those that are new nothing has been asked yet, and a copy answers at once.
        self._refresh(device)
        return device, False

    def _decide(
        self, device: Device, moved: bool, only: frozenset[PublicKey] | None = None
    ) -> list[Decision]:
        policy = dataclasses.replace(self._policy(), only=only)
        return decide(
            device,
            self._records,
            self._last,
            self._now(),
            policy,
            heard=self._heard,
            stirred=moved,
            keepalives=self._keepalives,
        )

    def _policy(self) -> Policy:
        return Policy(
            keepalive=self._settings.keepalive,
            protected=frozenset(self._registries),
            continuous=self._prober is not None,
        )

    def _keep(self, decisions: t.Sequence[Decision]) -> None:
        """Remember decisions that were carried out, and log what is new about them."""
        for decision in decisions:
            before = self._last.get(decision.public_key)
            if before is not decision:
                self._log(decision, before)
                self._last[decision.public_key] = decision
        if self._keepalives:
            # What decisions remember counts from now on.
            self._keepalives = {
                key: one for key, one in self._keepalives.items() if key not in self._last
            }

    def _log(self, decision: Decision, last: Decision | None) -> None:
        before, state = last.state if last else None, decision.state
        if decision.change or before is not state:
            was = f"{before.value} -> " if before and before is not state else ""
            took = self._took(decision, last) if state is State.DIRECT and last else ""
            title = self._title(decision.public_key)
            # What is repeated for hours is told at its beginning.
            level = logging.DEBUG if before is state is State.UNREACHABLE else logging.INFO
            log.log(level, "peer %s: %s%s: %s%s", title, was, state.value, decision.reason, took)

    def _took(self, decision: Decision, last: Decision) -> str:
        """Return how long it took from the last try to the handshake, by the wall clock."""
        if last.memory.first_try is None or not last.memory.tries:
            return ""
        moment = self._now()
        tried = moment.wall - (moment.steady - last.memory.last_try)
        seconds = decision.peer.last_handshake - tried
        if seconds < 0:
            # Someone has set the clock.
            return ""
        text = f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
        return f"; handshake {text} after the last try"

    def _has_moved(self, device: Device, told: bool) -> bool:
        """Whether this host has moved: by its own account, or by what the registry sees."""
        now = self._now().steady
        own = self._records.get(device.public_key) if device.public_key else None
        before, self._seen_at = self._seen_at, own.endpoint if own else self._seen_at
        seen = before is not None and before != self._seen_at
        if told:
            how = "packets leave it in another way"
        elif seen and now - self._moved_at >= MOVE_SETTLES:
            how = f"the registry sees it at {self._seen_at}, no longer at {before}"
        else:
            return False
        log.info("this host has moved: %s", how)
        self._moved_at, self.moved = now, (self._now().wall, how)
        return True

    def _refresh(self, device: Device) -> bool:
        """Ask for what could change a decision; return whether that took time."""
        moment, policy = self._now(), self._policy()
        if self._directory.is_copy:
            keys = [peer.public_key for peer in managed(device, policy)]
            if device.public_key:
                keys.append(device.public_key)
            version = self._directory.version
            if self._asks_for_news(len(keys), moment.steady):
                self._news_asked_at = moment.steady
                version = self._directory.serial()
            told = all(key in self._records or key in self._failures for key in keys)
            if version != self._version or not self._copied or not told:
                self._records = {key: self._records[key] for key in keys if key in self._records}
                self._failures = {k: self._failures[k] for k in keys if k in self._failures}
                self._take(keys, self._directory.lookup(keys), moment.steady)
            self._version, self._copied = version, True
            return False
        self._copied = False
        wanted = [
            peer.public_key
            for peer in managed(device, policy)
            if wants_record(peer, self._last.get(peer.public_key), moment, policy)
        ]
        if not wanted or not self._directory.is_settled:
            return False
        tunnels = [has_session(peer, moment.wall) for peer in self._registries.values()]
        no_tunnel = bool(tunnels) and not any(tunnels)
        version = self._directory.serial(NO_TUNNEL_TIMEOUT if no_tunnel else None)
        if version is None or version != self._version:
            self._asked.clear()
        self._version = version
        now = moment.steady
        keys = [key for key in wanted if now - self._asked.get(key, -math.inf) >= RECORD_MAX_AGE]
        if keys:
            self._take(keys, self._directory.lookup(keys), now)
        return True

    def _asks_for_news(self, peers: int, now: float) -> bool:
        """Whether to ask a server that may not notify us of changes if there is one.

        Only where there is something to gain; and peers that are off, of which a large mesh always
        has some, make their mesh ask no more often than `WAITING_LOAD`.
        """
        states = {decision.state for decision in self._last.values()} or {State.UNKNOWN}
        if State.UNREACHABLE in states and states <= {State.DIRECT, State.UNREACHABLE}:
            return now >= self._news_asked_at + peers / WAITING_LOAD
        return states != {State.DIRECT}

    def _take(
        self,
        keys: t.Sequence[PublicKey],
        found: t.Mapping[PublicKey, PeerRecord | None],
        now: float,
    ) -> None:
        """Keep what the directory said of *keys*; an answer of no use changes nothing."""
        own = self._device.public_key if self._device else None
        for key in keys:
            self._asked[key] = now
            record = found.get(key)
            failure = self._directory.failures.get(key)
            if failure is None and key != own:
                failure = unusable(record) or None
            if failure is None:
                self._records[key] = record
                self._failures.pop(key, None)
            else:
                if self._failures.get(key) != failure:
                    log.warning("peer %s: %s", self._title(key), failure)
                self._failures[key] = failure

    def _title(self, key: PublicKey) -> str:
        """Return how messages call a peer: by its name too, if the directory has told it."""
        record = self._records.get(key)
        return f"{record.name} ({key})" if record and record.name else str(key)


def run_once(settings: ClientSettings) -> Look:
    """Look once and return what was decided and done.

    Raises:
        DeviceError: the device is out of reach.
        ServerError: the directory is out of reach. Nothing was changed.
    """
    agent = Agent(settings, Directory(settings.zone, settings.registries, key=settings.key))
    try:
        return agent.look()
    finally:
        agent.close()
