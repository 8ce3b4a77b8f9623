# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workers as their supervisor sees them: started, handed deltas, replaced when they die."""

from __future__ import annotations

import collections
import contextlib
import logging
import selectors
import socket
import time
import typing as t

from ..zone.version import Delta
from . import children, frames
from .sockets import Listener

log = logging.getLogger(__name__)

#: Seconds that a worker must have lived to be replaced at once.
GOOD_LIFE = 1.0
#: Seconds that a worker has to end by itself, once it is told to.
PATIENCE = 3.0
#: Seconds between two questions to a worker whether it still works.
PING_PERIOD = 5.0
#: Seconds after which a worker that has not acknowledged what it was handed hangs.
SILENCE_MAX = 20.0
#: A message without content, which is acknowledged like any other.
PING = b""

#: Makes the task of the worker with that index.
MakeTask = t.Callable[[int, t.Sequence[Listener]], children.Task]


class Member:
    """One worker process and the deltas that are on their way to it."""

    def __init__(self, index: int, pid: int, control: socket.socket, now: float) -> None:
        self.index = index
        self.pid = pid
        self.control = control
        self.born = now
        self._outgoing = bytearray()
        # When each message was handed over that is not acknowledged yet. The first
        # acknowledgement says that the worker is set up.
        self._handed = collections.deque([now])

    @property
    def is_behind(self) -> bool:
        """Whether the worker does not serve the newest versions yet."""
        return bool(self._handed)

    @property
    def wants_to_send(self) -> bool:
        """Whether something waits for the worker to take it."""
        return bool(self._outgoing)

    def waits_since(self, now: float) -> float:
        """Return for how many seconds the oldest message has not been acknowledged."""
        return now - self._handed[0] if self._handed else 0.0

    def hand(self, message: bytes, now: float) -> None:
        """Put a message in line."""
        self._outgoing += frames.frame(message)
        self._handed.append(now)

    def send(self) -> None:
        """Send as much as the worker takes now."""
        # Full, or the worker is dead: the next event on the socket tells which.
        with contextlib.suppress(OSError):
            while self._outgoing:
                del self._outgoing[: self.control.send(self._outgoing)]

    def receive(self) -> bool:
        """Take acknowledgements; False if the worker has ended."""
        try:
            acknowledged = self.control.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for _byte in acknowledged[: len(self._handed)]:
            self._handed.popleft()
        return bool(acknowledged)


class Crew:
    """A number of workers on the same sockets.

    Attributes:
        restarts: Workers that had to be replaced.
    """

    def __init__(
        self,
        size: int,
        make_task: MakeTask,
        selector: selectors.BaseSelector,
        keep: t.Collection[int] = (),
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty crew, which `serve_on` fills.

        Args:
            make_task: Is called in the supervisor, when a worker is started; what it returns is
                to serve the versions of that moment.
            selector: Gets the members' control sockets, with a `Member` as their data.
            keep: Descriptors that all members use, besides their listeners'.
        """
        self._size = size
        self._make_task = make_task
        self._selector = selector
        self._keep = keep
        self._monotonic = monotonic
        self._members: list[Member] = []
        #: Workers that answer until those that take their place do, by process.
        self._relieved: dict[int, socket.socket] = {}
        #: Workers that were told to end, and when they are killed.
        self._leaving: dict[int, float] = {}
        self._listeners: t.Sequence[Listener] = ()
        self._next_start = 0.0
        self._ping_due = 0.0
        self.restarts = 0

    @property
    def is_current(self) -> bool:
        """Whether all workers are there and serve the newest versions."""
        complete = len(self._members) == (self._size if self._listeners else 0)
        return complete and not any(member.is_behind for member in self._members)

    @property
    def is_settled(self) -> bool:
        """Whether, besides, no worker of before answers any more."""
        return self.is_current and not self._relieved and not self._leaving

    @property
    def pids(self) -> list[int]:
        """The workers' processes."""
        return [member.pid for member in self._members]

    def controls(self) -> dict[int, socket.socket]:
        """Return the control sockets of all workers that answer, by process, to hand them over."""
        return {**self._relieved, **{member.pid: member.control for member in self._members}}

    def adopt(self, workers: t.Mapping[int, socket.socket]) -> None:
        """Take over workers of a run before, which answer until the crew's own do."""
        self._relieved.update(workers)

    def publish(self, delta: Delta) -> None:
        """Hand *delta* to every worker; those that are yet to come start with it."""
        self._hand_all(delta.encode())

    def serve_on(self, listeners: t.Sequence[Listener]) -> None:
        """Replace all workers by new ones that serve on *listeners*, without a gap."""
        for member in self._members:
            self._selector.unregister(member.control)
            self._relieved[member.pid] = member.control
        self._members.clear()
        self._listeners = listeners

    def keep(self) -> float:
        """Start the workers that are missing, replace those that hang, see off those that leave.

        Returns:
            Seconds until it has to be called again.
        """
        now = self._monotonic()
        for member in list(self._members):
            if member.waits_since(now) > SILENCE_MAX:
                self._bury(member, f"no answer for {SILENCE_MAX:.0f} s")
        if now >= self._ping_due:
            self._hand_all(PING)
            self._ping_due = now + PING_PERIOD
        wait = self._ping_due - now
        while self._listeners and len(self._members) < self._size:
            if now < self._next_start:
                wait = min(wait, self._next_start - now)
                break
            self._start(now)
        if self._relieved and self._members and self.is_current:
            self._dismiss(self._relieved, now)
        self._see_off(now)
        return min(wait, 0.1) if self._leaving else wait

    def handle(self, member: Member, mask: int) -> None:
        """React to an event on the control socket of *member*."""
        if mask & selectors.EVENT_READ and not member.receive():
            self._bury(member, "")
        else:
            self._send(member)

    def stop(self) -> None:
        """End all workers: those that do not end by themselves are killed."""
        self.serve_on(())
        self._dismiss(self._relieved, self._monotonic())
        # One that the kernel keeps is left to who comes next.
        end = self._monotonic() + 2 * PATIENCE
        while self._leaving and self._monotonic() < end:
            self._see_off(self._monotonic())
            time.sleep(0.005)

    def _start(self, now: float) -> None:
        taken = {member.index for member in self._members}
        index = next(number for number in range(self._size) if number not in taken)
        listened = [number for one in self._listeners for number in one.descriptors]
        task = self._make_task(index, self._listeners)
        pid, control = children.fork("worker", task, [*self._keep, *listened])
        control.setblocking(False)
        member = Member(index, pid, control, now)
        self._members.append(member)
        self._selector.register(control, selectors.EVENT_READ, member)

    def _hand_all(self, message: bytes) -> None:
        for member in self._members:
            member.hand(message, self._monotonic())
            self._send(member)

    def _send(self, member: Member) -> None:
        member.send()
        events = selectors.EVENT_READ
        if member.wants_to_send:
            events |= selectors.EVENT_WRITE
        self._selector.modify(member.control, events, member)

    def _bury(self, member: Member, reason: str) -> None:
        self._selector.unregister(member.control)
        member.control.close()
        self._members.remove(member)
        # A worker that closed its side is not to answer any more queries.
        ended = children.kill(member.pid)
        now = self._monotonic()
        if ended is None:
            self._leaving[member.pid] = now + PATIENCE
        if now - member.born < GOOD_LIFE:
            self._next_start = now + GOOD_LIFE
        self.restarts += 1
        log.error(
            "worker %d ended unasked (%s); starting another",
            member.pid,
            reason or ended or "killed",
        )

    def _dismiss(self, workers: dict[int, socket.socket], now: float) -> None:
        for pid, control in workers.items():
            control.close()
            self._leaving[pid] = now + PATIENCE
        workers.clear()

    def _see_off(self, now: float) -> None:
        for pid, deadline in list(self._leaving.items()):
            if children.has_ended(pid) is not None:
                del self._leaving[pid]
            elif now > deadline:
                if children.kill(pid) is None:
                    self._leaving[pid] = now + PATIENCE
                else:
                    del self._leaving[pid]
