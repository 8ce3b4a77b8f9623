# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder's first process: watches the devices, keeps the workers, obeys signals."""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import time
import types
import typing as t

from ..config import DNS_PORT, ResponderSettings
from ..device import Backend
from ..errors import UsageError
from ..model import Endpoint
from ..systemd import notify
from ..zone.version import Interface
from .crew import Crew, Member
from .sockets import Listener, listen
from .state import SerialFiles
from .watcher import Watcher

log = logging.getLogger(__name__)

#: Workers: with two, one that is being replaced leaves no gap.
WORKERS = 2


class Supervisor:
    """Runs a responder. Only this process has rights, and only its watchers touch a device."""

    def __init__(
        self,
        settings: ResponderSettings,
        *,
        open_device: t.Callable[[str], Backend],
        read_addresses: t.Callable[[str], t.Sequence[Interface]],
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._selector = selectors.DefaultSelector()
        self._crew = Crew(WORKERS, settings.zones, self._selector)
        serials = SerialFiles(settings.state_dir)
        self._watchers = [
            Watcher(
                device,
                [zone for zone in settings.zones if zone.device == device],
                open_device=open_device,
                read_addresses=read_addresses,
                serials=serials,
            )
            for device in dict.fromkeys(zone.device for zone in settings.zones)
        ]
        self._listeners: dict[Endpoint, Listener] = {}
        self._listen_trouble = ""
        self._stopping = False
        self._status = ""

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            UsageError: an address of the configuration cannot be listened on.
        """
        woken, wakes = socket.socketpair()
        for end in (woken, wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        self._selector.register(woken, selectors.EVENT_READ)
        try:
            while not self._stopping:
                self._look()
                self._follow_addresses()
                refill = self._crew.fill()
                self._report()
                for key, mask in self._selector.select(self._patience(refill)):
                    if isinstance(key.data, Member):
                        self._crew.handle(key.data, mask)
                    else:
                        woken.recv(4096)
        finally:
            notify("STOPPING=1")
            self._crew.stop()
            for watcher in self._watchers:
                watcher.close()
            for listener in self._listeners.values():
                listener.close()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            woken.close()
            wakes.close()

    def _stop(self, number: int, _frame: types.FrameType | None) -> None:
        self._stopping = True

    def _look(self) -> None:
        """Read the devices whose time has come and hand on what changed."""
        for watcher in self._watchers:
            if watcher.due <= self._monotonic():
                for version in watcher.poll():
                    self._crew.publish(version)

    def _follow_addresses(self) -> None:
        """Listen as configured, else on the tunnel addresses, the last ones if there are none."""
        wanted = self._settings.listen or tuple(
            Endpoint(address, DNS_PORT)
            for address in dict.fromkeys(a for w in self._watchers for a in w.addresses)
        )
        if not wanted or set(wanted) == set(self._listeners):
            return
        try:
            self._listen_on(wanted)
        except UsageError as exc:
            if self._settings.listen:
                raise
            if str(exc) != self._listen_trouble:
                log.error("%s; trying again", exc)
            self._listen_trouble = str(exc)

    def _listen_on(self, wanted: t.Sequence[Endpoint]) -> None:
        opened: dict[Endpoint, Listener] = {}
        try:
            for endpoint in wanted:
                opened[endpoint] = self._listeners.get(endpoint) or listen(endpoint)
        except UsageError:
            for endpoint, listener in opened.items():
                if endpoint not in self._listeners:
                    listener.close()
            raise
        for endpoint, listener in self._listeners.items():
            if endpoint not in opened:
                listener.close()
        self._listeners = opened
        self._listen_trouble = ""
        log.info("listening on %s", ", ".join(map(str, wanted)))
        self._crew.serve_on(tuple(opened.values()))

    def _patience(self, refill: float | None) -> float:
        """Return the seconds until something has to be done unasked."""
        waits = [watcher.due - self._monotonic() for watcher in self._watchers]
        if refill is not None:
            waits.append(refill)
        return max(0.0, min(waits))

    def _report(self) -> None:
        """Tell the service manager once it can be asked, and later whenever that changes."""
        troubles = [text for text in (w.trouble for w in self._watchers) if text]
        if not self._listeners:
            troubles.append(self._listen_trouble or "no tunnel address to listen on yet")
        status = "; ".join(troubles) or "serving"
        if status != self._status and (troubles or self._crew.is_current):
            self._status = status
            notify("READY=1", f"STATUS={status}")
