# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workers as their supervisor sees them: started, handed versions, replaced when they die."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import selectors
import signal
import socket
import time
import typing as t

from ..config import ZoneSettings
from ..zone.version import Version
from . import frames, privileges
from .sockets import Listener
from .worker import Worker, load_record_types

log = logging.getLogger(__name__)

#: Seconds that a worker must have lived to be replaced at once.
GOOD_LIFE = 1.0
#: Seconds that workers have to end by themselves.
PATIENCE = 2.0


class Member:
    """One worker process and the versions that are on their way to it."""

    def __init__(self, pid: int, control: socket.socket, born: float) -> None:
        self.pid = pid
        self.control = control
        self.born = born
        self._waiting: dict[str, Version] = {}
        self._outgoing = bytearray()
        # The first byte says that the worker is set up.
        self._unacknowledged = 1

    @property
    def is_behind(self) -> bool:
        """Whether the worker does not serve the newest versions yet."""
        return bool(self._unacknowledged or self.wants_to_send)

    @property
    def wants_to_send(self) -> bool:
        """Whether something waits for the worker to take it."""
        return bool(self._outgoing or self._waiting)

    def hand(self, version: Version) -> None:
        """Put *version* in line; one of the same zone that is still in line is out of date."""
        self._waiting[version.zone] = version

    def send(self) -> None:
        """Send as much as the worker takes now."""
        while self.wants_to_send:
            if not self._outgoing:
                version = self._waiting.pop(next(iter(self._waiting)))
                self._outgoing += frames.frame(version.encode())
                self._unacknowledged += 1
            try:
                sent = self.control.send(self._outgoing)
            except OSError:
                # Full, or the worker is dead: the next event on the socket tells which.
                return
            del self._outgoing[:sent]

    def receive(self) -> bool:
        """Take acknowledgements; False if the worker has ended."""
        try:
            acknowledged = self.control.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._unacknowledged -= len(acknowledged)
        return bool(acknowledged)


class Crew:
    """A number of workers on the same sockets."""

    def __init__(
        self,
        size: int,
        zones: t.Sequence[ZoneSettings],
        selector: selectors.BaseSelector,
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty crew, which `start` fills.

        Args:
            selector: Gets the members' control sockets, with a `Member` as their data.
        """
        self._size = size
        self._zones = zones
        self._selector = selector
        self._monotonic = monotonic
        self._members: list[Member] = []
        self._versions: dict[str, Version] = {}
        self._listeners: t.Sequence[Listener] = ()
        self._next_start = 0.0

    @property
    def is_current(self) -> bool:
        """Whether all workers are there and serve the newest versions."""
        complete = len(self._members) == (self._size if self._listeners else 0)
        return complete and not any(member.is_behind for member in self._members)

    def publish(self, version: Version) -> None:
        """Hand *version* to every worker, those that are yet to come included."""
        self._versions[version.zone] = version
        for member in self._members:
            member.hand(version)
            self._send(member)

    def serve_on(self, listeners: t.Sequence[Listener]) -> None:
        """Replace all workers by new ones that serve on *listeners*."""
        self.stop()
        self._listeners = listeners
        self.fill()

    def fill(self) -> float | None:
        """Start the workers that are missing.

        Returns:
            Seconds until it has to be called again, None if all workers are there.
        """
        while self._listeners and len(self._members) < self._size:
            wait = self._next_start - self._monotonic()
            if wait > 0:
                return wait
            self._start()
        return None

    def handle(self, member: Member, mask: int) -> None:
        """React to an event on the control socket of *member*."""
        if mask & selectors.EVENT_READ and not member.receive():
            self._bury(member)
        else:
            self._send(member)

    def stop(self) -> None:
        """End all workers: those that do not end by themselves are killed."""
        for member in self._members:
            self._selector.unregister(member.control)
            member.control.close()
        deadline = self._monotonic() + PATIENCE
        for member in self._members:
            while os.waitpid(member.pid, os.WNOHANG)[0] == 0:
                if self._monotonic() > deadline:
                    os.kill(member.pid, signal.SIGKILL)
                time.sleep(0.005)
        self._members.clear()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            _be_a_worker(theirs, self._listeners, self._zones, self._versions.values())
        theirs.close()
        ours.setblocking(False)
        member = Member(pid, ours, self._monotonic())
        self._members.append(member)
        self._selector.register(ours, selectors.EVENT_READ, member)

    def _send(self, member: Member) -> None:
        member.send()
        events = selectors.EVENT_READ
        if member.wants_to_send:
            events |= selectors.EVENT_WRITE
        self._selector.modify(member.control, events, member)

    def _bury(self, member: Member) -> None:
        self._selector.unregister(member.control)
        member.control.close()
        self._members.remove(member)
        # A worker that closed its side is not to answer any more queries.
        os.kill(member.pid, signal.SIGKILL)
        _pid, status = os.waitpid(member.pid, 0)
        now = self._monotonic()
        if now - member.born < GOOD_LIFE:
            self._next_start = now + GOOD_LIFE
        log.error("worker %d ended unasked (%s); starting another", member.pid, _describe(status))


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}"


def _be_a_worker(
    control: socket.socket,
    listeners: t.Sequence[Listener],
    zones: t.Sequence[ZoneSettings],
    versions: t.Iterable[Version],
) -> t.NoReturn:
    """Serve in a forked process, and never return into what the supervisor was doing."""
    code = 1
    try:
        # Its supervisor tells a worker when to end, by closing the control socket.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        keep = {0, 1, 2, control.fileno()}
        for listener in listeners:
            keep |= {listener.udp.fileno(), listener.tcp.fileno()}
        _let_go_of_files(keep)
        load_record_types()
        privileges.drop()
        Worker(control, listeners, zones, versions).run()
        code = 0
    except Exception:
        log.exception("worker failed")
    finally:
        os._exit(code)


def _let_go_of_files(keep: t.Collection[int]) -> None:
    """Make the supervisor's other files useless here: the device's, and other workers' controls.

    Their numbers stay taken, since objects from before the fork still believe to own them.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for entry in list(pathlib.Path("/proc/self/fd").iterdir()):
        number = int(entry.name)
        if number not in keep and number != nothing:
            with contextlib.suppress(OSError):
                os.dup2(nothing, number)
