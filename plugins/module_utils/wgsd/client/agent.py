# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent: keeps asking, deciding and setting endpoints until it is told to stop."""

from __future__ import annotations

import dataclasses
import logging
import time
import typing as t

from .. import systemd
from ..config import ClientSettings
from ..device import open_device
from ..device.base import Backend
from ..directory import Directory, ZoneVersion
from ..errors import DeviceError, ServerError
from ..keys import PublicKey
from ..model import Device, Peer, PeerRecord
from ..plan import (
    EMPTY_HISTORY,
    Decision,
    History,
    Policy,
    State,
    decide,
    has_session,
    holders,
    managed,
    remember,
    wants_record,
)
from ..replica import Replica
from .pace import Pace
from .report import Report
from .view import View
from .waiting import Waiting

log = logging.getLogger("wgsd.client")

#: Seconds after which records are asked for again although the zone's serial did not move.
RECORD_MAX_AGE = 60.0
#: Seconds between two looks at the registry's handshake while the registry is out of reach.
WATCH_INTERVAL = 0.05
#: Seconds to wait for an answer while there is no tunnel to the registry. The query makes WireGuard
#: ask for one, and the device shows when it is there.
NO_TUNNEL_TIMEOUT = 0.1
#: Seconds to wait for a copy of the zone before asking for each peer.
SETTLE_PATIENCE = 0.5


class ReadableDirectory(t.Protocol):
    """What the agent needs of a `Directory` or a `View`."""

    failures: dict[PublicKey, str]

    def lookup(self, keys: t.Iterable[PublicKey]) -> dict[PublicKey, PeerRecord | None]:
        """Look up peers by SRV."""

    def serial(self, timeout: float | None = None) -> ZoneVersion | None:
        """Return the version of the zone; *timeout* in seconds, if not the usual one."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What one look at device and directory came to.

    Attributes:
        failures: Why the directory's answer about a peer is of no use.
    """

    decisions: t.Sequence[Decision]
    failures: t.Mapping[PublicKey, str]


class Agent:
    """Holds what is known between two looks: records, history, the states last logged."""

    def __init__(
        self,
        settings: ClientSettings,
        directory: ReadableDirectory,
        *,
        opener: t.Callable[[str], Backend] = open_device,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._opener = opener
        self._clock = clock
        self._addresses = [server.address for server in settings.registries]
        self._backend: Backend | None = None
        self._registries: dict[PublicKey, Peer] = {}
        self._version: ZoneVersion | None = None
        self._records: dict[PublicKey, PeerRecord | None] = {}
        self._asked: dict[PublicKey, float] = {}
        self._failures: dict[PublicKey, str] = {}
        self._history: History = EMPTY_HISTORY
        self._states: dict[PublicKey, State] = {}

    @property
    def registry_handshakes(self) -> dict[PublicKey, float]:
        """The last handshakes with the registry's peer entries, as the last read showed them."""
        return {key: peer.last_handshake for key, peer in self._registries.items()}

    def look(self) -> Look:
        """Look once: read the device, ask the directory, decide, set.

        Raises:
            DeviceError: the device is out of reach.
            ServerError: the directory is out of reach. Nothing was changed.
        """
        try:
            return self._look(self._opened())
        except DeviceError:
            self.close()
            raise

    def registry_is_new(self) -> bool:
        """Whether the registry's peer entries show another handshake than at the last look.

        False while the device is out of reach.
        """
        before = self.registry_handshakes
        try:
            self._read(self._opened())
        except DeviceError:
            self.close()
            return False
        return self.registry_handshakes != before

    def _opened(self) -> Backend:
        if self._backend is None:
            self._backend = self._opener(self._settings.interface)
        return self._backend

    def _read(self, backend: Backend) -> Device:
        """Take a snapshot and find the registry's peers in it, once for all that need them."""
        device = backend.read()
        self._registries = {key: device.peers[key] for key in holders(device, self._addresses)}
        return device

    def close(self) -> None:
        """Close the device."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _look(self, backend: Backend) -> Look:
        device = self._read(backend)
        asked = self._refresh(device)
        now, decisions = self._decide(device)
        if asked and any(decision.change for decision in decisions):
            # The directory took its time, and a tunnel that came up meanwhile must not be started
            # over: what the device says now decides.
            device = self._read(backend)
            now, decisions = self._decide(device)
        changes = [decision.change for decision in decisions if decision.change]
        if changes:
            backend.apply(changes)
        self._log(decisions)
        self._history = remember(device, decisions, self._history, now)
        return Look(decisions, dict(self._failures))

    def _decide(self, device: Device) -> tuple[float, list[Decision]]:
        now = self._clock()
        return now, decide(device, self._records, self._history, now, self._policy())

    def _policy(self) -> Policy:
        return Policy(keepalive=self._settings.keepalive, protected=frozenset(self._registries))

    def _refresh(self, device: Device) -> bool:
        """Ask for what could change a decision; return whether anything was asked."""
        now = self._clock()
        policy = self._policy()
        wanted = [
            peer.public_key
            for peer in managed(device, policy)
            if wants_record(peer, self._history, now, policy)
        ]
        if not wanted:
            return False
        tunnels = [has_session(peer, now) for peer in self._registries.values()]
        no_tunnel = bool(tunnels) and not any(tunnels)
        version = self._directory.serial(NO_TUNNEL_TIMEOUT if no_tunnel else None)
        if version is None or version != self._version:
            self._asked.clear()
        self._version = version
        keys = [key for key in wanted if not 0 <= now - self._asked.get(key, 0.0) < RECORD_MAX_AGE]
        if keys:
            self._take(keys, self._directory.lookup(keys), now)
        return True

    def _take(
        self,
        keys: t.Sequence[PublicKey],
        found: t.Mapping[PublicKey, PeerRecord | None],
        now: float,
    ) -> None:
        """Keep what the directory said of *keys*; an answer of no use changes nothing."""
        for key in keys:
            self._asked[key] = now
            failure = self._directory.failures.get(key)
            if failure is None:
                self._records[key] = found.get(key)
                self._failures.pop(key, None)
            else:
                if self._failures.get(key) != failure:
                    log.warning("peer %s: %s", self._title(key), failure)
                self._failures[key] = failure

    def _log(self, decisions: t.Sequence[Decision]) -> None:
        for decision in decisions:
            before = self._states.get(decision.public_key)
            if decision.change or before is not decision.state:
                was = f"{before.value} -> " if before and before is not decision.state else ""
                state = f"{was}{decision.state.value}"
                title = self._title(decision.public_key)
                log.info("peer %s: %s: %s", title, state, decision.reason)
            self._states[decision.public_key] = decision.state

    def _title(self, key: PublicKey) -> str:
        """Return how messages call a peer: by its name too, if the directory has told it."""
        record = self._records.get(key)
        return f"{record.name} ({key})" if record and record.name else str(key)


def run(settings: ClientSettings) -> int:
    """Run until SIGTERM or SIGINT. Faults are logged and outlived; returns 0."""
    waiting = Waiting()
    zone, registries, key = settings.zone, settings.registries, settings.key
    servers = ", ".join(str(server) for server in registries)
    log.info("interface %s, zone %s, registries %s", settings.interface, zone, servers)
    replica = Replica(zone, registries, key, selector=waiting.selector)
    # No retries: the next look is one, and it comes the sooner.
    view = View(Directory(zone, registries, retries=0, key=key), replica)
    agent = Agent(settings, view)
    systemd.notify("READY=1", "STATUS=starting")
    try:
        waiting.settle(replica, SETTLE_PATIENCE)
        _keep_looking(agent, view, replica, waiting, Report(settings))
    finally:
        agent.close()
        replica.close()
        waiting.close()
    return 0


def _keep_looking(
    agent: Agent, view: View, replica: Replica, waiting: Waiting, report: Report
) -> None:
    pace = Pace()
    trouble = ""
    while not waiting.stopped:
        met = agent.registry_handshakes
        try:
            look = agent.look()
        except (DeviceError, ServerError) as exc:
            if str(exc) != trouble:
                log.error("%s", exc)
                systemd.notify(f"STATUS={exc}")
            trouble = str(exc)
            _wait_for_registry(agent, replica, waiting, pace.after_fault())
            continue
        if trouble:
            log.info("device and directory are in reach again")
            trouble = ""
        if agent.registry_handshakes != met:
            replica.hurry()
        version = replica.version
        report.publish(look.decisions, version.server if version else None)
        states = [decision.state for decision in look.decisions]
        changed = any(decision.change for decision in look.decisions)
        pause = pace.after_look(states, changed, time.monotonic(), view.cost)
        waiting.wait(replica, pause, at_least=pace.shortest)
    systemd.notify("STOPPING=1")


def _wait_for_registry(agent: Agent, replica: Replica, waiting: Waiting, pause: float) -> None:
    """Wait for *pause* seconds, a new handshake with the registry, or a copy of the zone."""
    until = time.monotonic() + pause
    version = replica.version
    while not waiting.stopped and replica.version == version:
        if agent.registry_is_new():
            replica.hurry()
            waiting.settle(replica, SETTLE_PATIENCE)
            return
        left = until - time.monotonic()
        if left <= 0:
            return
        waiting.wait(replica, min(WATCH_INTERVAL, left))


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
