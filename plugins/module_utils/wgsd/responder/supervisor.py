# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder's first process: keeps the watcher and the workers, hands on what they need."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import secrets
import selectors
import signal
import socket
import time
import types
import typing as t

from .. import privileges, systemd
from ..config import ResponderSettings
from ..device import Backend
from ..errors import UsageError
from ..zone.version import Chain, Delta, Interface
from . import children, exporter, keys, report
from .crew import Crew, Member
from .handover import Handover
from .listening import Listening
from .lookout import Lookout
from .membership import catalog_of
from .notification import Notification
from .publishing import Publishing
from .reload import Bound, Check, command_line
from .sockets import Listener, inherited, listen_tcp
from .state import Journal, new_chain
from .stats import Board, Main, ZoneFigure
from .watcher import Watcher
from .worker import Worker, load_record_types

log = logging.getLogger(__name__)

#: Added to the niceness of workers: however much is asked, the tunnels come first.
WORKER_NICENESS = 10
#: Seconds between two reports.
REPORT_PERIOD = 1.0
#: Seconds after which workers that are not all up are trouble: a service manager that waits for the
#: end of a reload is not to wait for ever.
SETTLE_MAX = 10.0


class Supervisor:
    """Runs a responder. It neither reads a device nor answers a query: its children do."""

    def __init__(
        self,
        settings: ResponderSettings,
        *,
        open_device: t.Callable[[str], Backend],
        read_addresses: t.Callable[[str], t.Sequence[Interface]],
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._open_device = open_device
        self._read_addresses = read_addresses
        self._monotonic = monotonic
        self._journals = {
            zone.zone: Journal(settings.state_dir, zone.zone) for zone in settings.zones
        }
        self._devices = list(dict.fromkeys(zone.device for zone in settings.zones))
        self._chains: dict[str, Chain] = {}
        self._cookie_secret = secrets.token_bytes(16)
        self._stopping = self._reload_wanted = False
        self._check: Check | None = None
        self._status = ""
        self._unsettled_since = monotonic()
        self._told_at = -REPORT_PERIOD
        self._last_report: dict[str, t.Any] | None = None
        self._exporter: children.Kept | None = None
        #: Why there is none, although one is wished for.
        self._unexported: UsageError | None = None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP makes it become the program on the disk.

        Raises:
            UsageError: an address of the configuration cannot be listened on, and none was before.
        """
        # After a reload the interpreter's name would be shown.
        children.set_name("responder")
        self._selector = selectors.DefaultSelector()
        workers = self._take_over()
        serials = {zone: c.newest.serial for zone, c in self._chains.items() if c.newest.content}
        # While this program runs, its zones are the same ones.
        self._catalog = catalog_of(self._settings, time.time())
        if self._settings.catalog and self._catalog:
            serials[self._settings.catalog.zone] = self._catalog.serial
        self._notification = Notification(
            self._settings,
            serials,
            self._board.notifier,
            self._selector,
            _yield_to_others,
            self._monotonic,
        )
        self._crew = Crew(
            self._settings.workers,
            self._worker,
            self._selector,
            keep=[self._notification.told.fileno()],
            monotonic=self._monotonic,
        )
        self._crew.adopt(workers)
        self._lookout = Lookout(self._watchers, self._selector, self._publish, self._monotonic)
        self._publishing = Publishing(
            self._settings, self._chains, self._selector, _yield_to_others, self._monotonic
        )
        woken, wakes = socket.socketpair()
        for end in (woken, wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._heed) for number in children.SIGNALS}
        # What came while this program was becoming another has waited until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, children.SIGNALS)
        self._selector.register(woken, selectors.EVENT_READ)
        try:
            self._export()
            if self._unexported and not self._goes_on:
                raise self._unexported
            while not self._stopping:
                if self._listening.follow(self._lookout.sightings):
                    self._crew.serve_on(self._listening.listeners)
                waits = [self._lookout.keep(), self._crew.keep(), self._report()]
                serving = self._crew.is_current and bool(self._listening.listeners)
                waits.append(self._notification.keep(serving))
                waits.append(self._publishing.keep())
                self._export()
                if self._exporter:
                    waits.append(self._exporter.keep())
                for key, mask in self._selector.select(max(0.0, min(waits))):
                    if isinstance(key.data, Member):
                        self._crew.handle(key.data, mask)
                    elif isinstance(key.data, (Lookout, children.Kept)):
                        key.data.handle(mask)
                    elif isinstance(key.data, Check):
                        self._finish_reload(key.data)
                    else:
                        woken.recv(4096)
                if self._reload_wanted and not self._check:
                    self._begin_reload()
        finally:
            systemd.notify("STOPPING=1")
            self._lookout.stop()
            self._notification.stop()
            self._publishing.stop()
            self._stop_exporter()
            self._crew.stop()
            self._notification.close()
            self._listening.close()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            for end in (woken, wakes):
                end.close()

    def _heed(self, number: int, _frame: types.FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
        else:
            self._stopping = True

    def _take_over(self) -> t.Mapping[int, socket.socket]:
        """Go on from what this process has left to itself, or the service manager has kept."""
        zones = [zone.zone for zone in self._settings.zones]
        handover = Handover.take()
        if handover is None:
            spare = inherited(systemd.take_passed_descriptors())
            self._board = Board.create(zones, self._settings.workers, self._devices)
        else:
            spare = inherited(handover.sockets)
            self._board = Board.inherit(
                handover.board, zones, self._settings.workers, self._devices
            )
            self._board.supervisor.add(Main.RELOADS)
            self._chains.update(
                (chain.newest.zone, chain)
                for chain in handover.chains
                if chain.newest.zone in zones
            )
        for name in zones:
            if name not in self._chains:
                self._chains[name] = self._journals[name].load() or new_chain(name, time.time())
        #: A service that was there before does not end by an address that it cannot have.
        self._goes_on = bool(spare)
        self._listening = Listening(self._settings, spare, shared=handover is not None)
        board = self._board.supervisor
        self._restarts_before = board.get(Main.WORKER_RESTARTS), board.get(Main.WATCHER_RESTARTS)
        board.set(Main.STARTED_NS, time.time_ns())
        for name in zones:
            self._record_zone(name)
        return handover.workers if handover else {}

    def _watchers(self, alive: t.Callable[[], None]) -> list[Watcher]:
        """Make the watchers, in the process that runs them: only there the keys are read."""
        signers = keys.signers(self._settings, alive)
        return [
            Watcher(
                device,
                [zone for zone in self._settings.zones if zone.device == device],
                self._chains,
                open_device=self._open_device,
                read_addresses=self._read_addresses,
                interface_index=socket.if_nametoindex,
                journals=self._journals,
                account=self._board.devices[device],
                signers=signers,
            )
            for device in self._devices
        ]

    def _worker(self, index: int, listeners: t.Sequence[Listener]) -> children.Task:
        chains = list(self._chains.values())

        def serve(control: socket.socket) -> None:
            _yield_to_others()
            load_record_types()
            privileges.drop()
            recorder = self._board.worker(index)
            Worker(
                control,
                listeners,
                self._settings,
                chains,
                recorder,
                self._cookie_secret,
                tell_follower=self._notification.told,
                catalog=self._catalog,
            ).run()

        return serve

    def _publish(self, delta: Delta) -> None:
        if delta.zone in self._chains:
            self._chains[delta.zone].step(delta)
            self._record_zone(delta.zone)
            self._crew.publish(delta)
            known = delta.addresses is not None
            self._notification.publish(delta.zone, delta.serial if known else None)
            self._publishing.hand(delta)

    def _record_zone(self, zone: str) -> None:
        version, block = self._chains[zone].newest, self._board.zones[zone]
        block.set(ZoneFigure.SERIAL, version.serial)
        block.set(ZoneFigure.KNOWN, version.content is not None)
        block.set(ZoneFigure.INSTANCES, version.content.listed if version.content else 0)

    def _export(self) -> None:
        """Start the process that shows the figures to Prometheus, if one is wished for."""
        metrics = self._settings.metrics
        if metrics is None or self._exporter:
            return
        try:
            listening = listen_tcp(metrics, "metrics")
        except UsageError as exc:
            if str(exc) != str(self._unexported):
                log.error("%s; trying again", exc)
            self._unexported = exc
            return
        self._unexported = None

        def start() -> tuple[int, socket.socket]:
            return children.fork(
                "exporter",
                lambda control: self._serve_figures(listening, control),
                [listening.fileno()],
            )

        self._exporter = children.Kept("exporter", start, self._selector, self._monotonic)
        log.info("metrics on http://%s/metrics", metrics)

    def _serve_figures(self, sock: socket.socket, control: socket.socket) -> None:
        _yield_to_others()
        exporter.prepare()
        privileges.drop()
        exporter.serve(self._board, sock, control)

    def _stop_exporter(self) -> None:
        if self._exporter:
            self._exporter.stop()
        self._exporter = None

    def _begin_reload(self) -> None:
        self._reload_wanted = False
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._check = Check(command_line(), self._bound())
        except OSError as exc:
            self._refuse_reload([str(exc)])
            return
        self._selector.register(self._check.ended, selectors.EVENT_READ, self._check)

    def _bound(self) -> Bound:
        metrics = self._settings.metrics
        exported = (metrics,) if metrics and self._exporter else ()
        return Bound(tuple(self._listening.endpoints()), exported)

    def _finish_reload(self, check: Check) -> None:
        self._selector.unregister(check.ended)
        objections = check.objections()
        self._check = None
        if objections:
            self._refuse_reload(objections)
            return
        if not self._lookout.stop():
            # The next program would start another beside it.
            self._refuse_reload([self._lookout.trouble])
            return
        log.info("reloading")
        self._count()
        self._notification.stop()
        self._publishing.stop()
        self._stop_exporter()
        Handover(
            self._listening.descriptors(),
            self._crew.controls(),
            list(self._chains.values()),
            self._board.fileno(),
        ).leave()
        command = command_line()
        # What comes from now on is for the program that this one becomes.
        signal.pthread_sigmask(signal.SIG_BLOCK, children.SIGNALS)
        try:
            os.execv(command[0], command)
        except OSError as exc:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, children.SIGNALS)
            self._refuse_reload([str(exc)])
            self._export()

    def _refuse_reload(self, objections: t.Iterable[str]) -> None:
        for line in objections:
            log.error("not reloaded: %s", line)
        log.error("not reloaded: the responder goes on as it was")
        systemd.notify("READY=1")

    def _troubles(self) -> list[str]:
        troubles = [seen.trouble for seen in self._lookout.sightings.values() if seen.trouble]
        troubles += [self._lookout.trouble] if self._lookout.trouble else []
        troubles += [self._listening.trouble] if self._listening.trouble else []
        troubles += [str(self._unexported)] if self._unexported else []
        if not self._listening.listeners:
            if not self._listening.trouble:
                troubles.append("no tunnel address to listen on yet")
        elif not self._crew.is_settled and self._monotonic() - self._unsettled_since > SETTLE_MAX:
            troubles.append("the workers do not come up; see the log above")
        return troubles

    def _report(self) -> float:
        """Tell the service manager how it is, and write the report.

        Returns:
            Seconds until it has to be called again.
        """
        now = self._monotonic()
        if self._crew.is_settled:
            self._unsettled_since = now
        troubles = self._troubles()
        # Nothing is known before the watcher's first word. After a reload the workers of before may
        # still give the old answers.
        can_tell = self._lookout.sightings and (troubles or self._crew.is_settled)
        troubles += self._publishing.troubles
        status = "; ".join(troubles) or "serving"
        if status != self._status and can_tell and not self._check:
            self._status = status
            self._told_at = -REPORT_PERIOD
            systemd.notify("READY=1", f"STATUS={status}")
        watchdog = systemd.watchdog_period()
        period = min(REPORT_PERIOD, watchdog / 2) if watchdog else REPORT_PERIOD
        if now - self._told_at >= period:
            self._told_at = now
            if watchdog:
                systemd.notify("WATCHDOG=1")
            self._count()
            self._last_report = report.snapshot(
                self._board,
                self._settings,
                [listener.endpoint for listener in self._listening.listeners],
                troubles,
                time.time(),
                self._last_report,
            )
            report.write(report.path(), self._last_report)
        return self._told_at + period - now

    def _count(self) -> None:
        board = self._board.supervisor
        board.set(Main.WORKERS, len(self._crew.pids))
        board.set(Main.WORKER_RESTARTS, self._restarts_before[0] + self._crew.restarts)
        board.set(Main.WATCHER_RESTARTS, self._restarts_before[1] + self._lookout.restarts)
        board.set(Main.SOCKET_DROPS, self._listening.drops())


def _yield_to_others() -> None:
    """Have this process stand back for any other that wakes up, the device's first of all."""
    # Where tasks are grouped by session (sched(7)) or by unit (CPUWeight=), the group's weight
    # keeps it from starving; its policy says only that it never lets another one wait.
    os.setsid()
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text(str(WORKER_NICENESS), encoding="ascii")
    os.nice(WORKER_NICENESS)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
