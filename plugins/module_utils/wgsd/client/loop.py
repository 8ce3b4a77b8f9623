# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's loop: looks whenever something happens, and now and then, until it is stopped."""

from __future__ import annotations

import logging
import math
import time
import typing as t

from .. import clock, systemd
from ..config import ClientSettings
from ..directory import Directory
from ..errors import DeviceError, WgsdError
from ..keys import PublicKey
from ..plan import State
from ..replica import Replica
from .agent import Agent, Look
from .anchors import Anchors
from .discovery import Discovery
from .lock import alone
from .metrics import Metrics
from .pace import Pace
from .path import PathWatcher
from .prober import Prober
from .report import Report, Surroundings, known_of, report_path
from .resolver import Resolver
from .rights import Rights
from .view import View
from .waiting import Part, Waiting

log = logging.getLogger("wgsd.client")


def run(settings: ClientSettings) -> int:
    """Run until SIGTERM or SIGINT. Faults are logged and outlived; returns 0.

    Raises:
        UsageError: another client looks after the interface already.
    """
    with alone(settings.interface):
        servers = ", ".join(str(server) for server in settings.registries)
        log.info("interface %s, zone %s, registries %s", settings.interface, settings.zone, servers)
        loop = Loop(settings)
        systemd.notify("READY=1", "STATUS=starting")
        try:
            loop.run()
        finally:
            loop.close()
    return 0


class Loop:
    """Puts the parts together, and waits for what they have to tell."""

    def __init__(self, settings: ClientSettings) -> None:
        self._waiting = Waiting()
        selector = self._waiting.selector
        zone, registries, key = settings.zone, settings.registries, settings.key
        self._replica = Replica(zone, registries, key, selector=selector)
        self._prober = Prober(settings.interface, selector, time.monotonic)
        self._paths = PathWatcher(selector, clock=time.monotonic)
        # No retries: the next look is one, and it comes the sooner.
        directory = Directory(zone, registries, timeout=0.5, retries=0, key=key)
        self._view = View(directory, self._replica)
        self._anchors = Anchors(settings, Resolver(selector))
        self._report = Report(settings)
        # Who does not discover hands on what is on the device of those before.
        self._known = known_of(report_path(settings.interface))
        self._discovery = (
            Discovery(settings, self._known, record=self._report.record)
            if settings.discover
            else None
        )
        self._agent = Agent(
            settings,
            self._view,
            prober=self._prober,
            anchors=self._anchors,
            discovery=self._discovery,
            keepalives=self._report.keepalives(self._known.names),
        )
        self._metrics: Metrics | None = None
        self._parts: tuple[Part, ...] = (self._replica, self._paths, self._report)
        if settings.metrics_file is not None:
            self._metrics = Metrics(settings.metrics_file, settings.interface)
            self._parts += (self._metrics,)
        self._pace = Pace()
        self._trouble = ""
        self._look: Look | None = None
        self._servers = frozenset(registries)
        self._seen = self._signs()
        self._moved = False
        self._sleep = clock.Sleep()
        self._watchdog = systemd.watchdog_period()
        self._told_alive = -math.inf
        self._rights = Rights()
        #: Who was at rest at the end, and is left to WireGuard.
        self._left: frozenset[PublicKey] = frozenset()

    def run(self) -> None:
        """Run until a signal says stop."""
        try:
            while not self._waiting.stopped:
                pause = self._turn()
                self._tell_alive()
                self._wait(pause)
        finally:
            systemd.notify("STOPPING=1")
            self._left = self._agent.leave()

    def close(self) -> None:
        """Close everything."""
        self._report.stop(self._left)
        if self._metrics is not None:
            self._metrics.close()
        self._agent.close()
        self._anchors.close()
        self._paths.close()
        self._prober.close()
        self._replica.close()
        self._waiting.close()

    def _tell_alive(self) -> None:
        """Keep the service manager from taking us for hung."""
        now = time.monotonic()
        if self._watchdog is not None and now - self._told_alive >= self._watchdog / 4:
            self._told_alive = now
            systemd.notify("WATCHDOG=1")

    def _turn(self) -> float:
        """Look at what there is to look at; return the longest pause until the next turn."""
        if self._look is not None and self._prober.has_heard and not self._is_due():
            look = self._agent.listen()
            if look is not None:
                self._publish(look)
                return self._pace.left(time.monotonic())
        handshakes = self._handshakes()
        # Whoever slept may have been carried elsewhere, and routers have forgotten it.
        moved = self._sleep.is_over() or self._paths.moved() or self._moved
        self._moved = False
        self._seen = self._signs()
        in_trouble = self._look is not None and self._look.trouble is not None
        silent = self._servers if in_trouble else self._replica.silent
        try:
            look = self._agent.look(moved=moved, silent=silent)
        except DeviceError as exc:
            if self._rights.may_lack(exc):
                # A userspace device may have come in its place. The service manager starts us anew.
                raise
            self._look, self._moved = None, moved
            self._tell(exc)
            return self._pace.after_fault(time.monotonic())
        self._tell(look.trouble)
        self._rights.suit(self._agent.kind)
        device = self._agent.device
        if device is not None:
            endpoints = [peer.endpoint for peer in self._agent.registries.values()]
            self._paths.watch([e.address for e in endpoints if e is not None], device.fwmark)
        if moved:
            self._view.hurry()
            self._replica.poll()
        shaken = any(at > handshakes.get(key, 0.0) for key, at in self._handshakes().items())
        if shaken or self._anchors.acted:
            self._view.hurry()
        self._publish(look)
        changed = {decision.state for decision in look.decisions if decision.change}
        return self._pace.after_look(
            [decision.state for decision in look.decisions],
            bool(changed - {State.UNREACHABLE}),
            time.monotonic(),
            self._view.cost,
            retried=State.UNREACHABLE in changed,
        )

    def _wait(self, seconds: float) -> None:
        """Wait for *seconds*, for a decision to be due, or for news."""
        # Without a device news are of no use.
        shortest = self._pace.shortest if self._look is not None else seconds
        if self._look is not None:
            # One read of the device for all that is due soon after one another.
            seconds = min(seconds, max(shortest, self._due(self._look) - clock.steady()))
        self._waiting.wait(self._parts, seconds, self._is_news, at_least=shortest)

    def _is_news(self) -> bool:
        self._moved = self._moved or self._paths.moved()
        return self._moved or self._prober.has_heard or self._signs() != self._seen

    def _signs(self) -> tuple[object, ...]:
        """Return what calls for a look when it changes."""
        return self._replica.version, self._replica.silent, self._anchors.resolved

    def _is_due(self) -> bool:
        """Whether more than an answer to a probe calls for a turn."""
        return (
            self._look is None
            or self._moved
            or self._signs() != self._seen
            or self._due(self._look) <= clock.steady()
            or self._pace.left(time.monotonic()) <= 0
        )

    def _due(self, look: Look) -> float:
        return min(look.due_with(self._pace.leisure), self._anchors.due)

    def _handshakes(self) -> dict[t.Any, float]:
        return {key: peer.last_handshake for key, peer in self._agent.registries.items()}

    def _publish(self, look: Look) -> None:
        self._look = look
        around = Surroundings(
            registries=self._anchors.reasons,
            version=self._agent.version,
            copied=self._replica.version is not None,
            notified_at=self._replica.notified_at,
            silent=self._replica.silent,
            trouble=self._trouble,
            seen_at=self._agent.seen_at,
            moved=self._agent.moved,
            index=self._discovery.index if self._discovery else self._known.index,
            discovered=self._discovery.names if self._discovery else self._known.names,
            refused=self._discovery.refused if self._discovery else {},
        )
        self._report.publish(look, around)
        if self._metrics is not None:
            counts = {
                "probes_sent_total": self._prober.sent,
                "probes_answered_total": self._prober.answered,
                "device_reads_total": self._agent.reads,
            }
            self._metrics.take(look, around, counts)

    def _tell(self, trouble: WgsdError | None) -> None:
        """Log trouble once, and that it is over."""
        text = str(trouble) if trouble else ""
        if text and text != self._trouble:
            log.error("%s", text)
            self._report.tell_manager(text)
        elif self._trouble and not text:
            log.info("device and directory are in reach again")
        self._trouble = text
