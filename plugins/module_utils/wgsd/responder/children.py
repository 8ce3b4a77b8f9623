# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that the supervisor forks: each has one task and ends with its control socket."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pathlib
import selectors
import signal
import socket
import time
import typing as t

from . import frames

log = logging.getLogger(__name__)

#: Seconds between two starts of a process that goes on ending.
RESTART_PERIOD = 5.0
#: Seconds for which one that was killed is waited for: who waits for a disk may take for ever.
KILL_PATIENCE = 0.5
#: Bytes read from a control socket at a time.
CONTROL_BYTES = 1 << 20
#: Signals that mean something to the supervisor.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Task = t.Callable[[socket.socket], None]


def set_name(name: str) -> None:
    """Have lists of processes show this one as ``wgsd-`` and *name*: 10 characters at most."""
    pathlib.Path("/proc/self/comm").write_text(f"wgsd-{name}", encoding="ascii")


def fork(name: str, task: Task, keep: t.Iterable[int] = ()) -> tuple[int, socket.socket]:
    """Run *task* in a new process.

    Args:
        name: See `set_name`.
        task: Gets the process's end of a stream; it is to return when the other end is closed.
        keep: Descriptors that the process goes on using; all others are of no use to it.

    Returns:
        The process's number and our end of the stream.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _be_a_child(name, task, theirs, {0, 1, 2, theirs.fileno(), *keep})
    theirs.close()
    return pid, ours


class Kept:
    """One process that is started again whenever it ends by itself.

    What is sent to it waits until it takes it. One that is started anew knows what has been sent
    before its start in another way.

    Attributes:
        restarts: How often that was.
    """

    def __init__(
        self,
        name: str,
        start: t.Callable[[], tuple[int, socket.socket]],
        selector: selectors.BaseSelector,
        monotonic: t.Callable[[], float] = time.monotonic,
        hear: t.Callable[[bytes], None] | None = None,
    ) -> None:
        """Make it; `keep` starts the process.

        Args:
            name: What to call it in the log.
            start: Starts the process, as `fork` does.
            selector: Gets the control socket, with this object as its data.
            hear: Takes each message of the process, which comes in a frame; None: there are none.
        """
        self._name = name
        self._start = start
        self._selector = selector
        self._monotonic = monotonic
        self._hear = hear
        self._running: tuple[int, socket.socket] | None = None
        #: One that was killed and has not ended yet.
        self._dying: int | None = None
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._next_start = 0.0
        self.restarts = 0

    def keep(self) -> float:
        """Start the process if it is not there.

        Returns:
            Seconds until it has to be called again.
        """
        now = self._monotonic()
        if self._running:
            return RESTART_PERIOD
        if self._dying and has_ended(self._dying) is None:
            return 1.0
        self._dying = None
        if now < self._next_start:
            return self._next_start - now
        self._next_start = now + RESTART_PERIOD
        self._running = self._start()
        self._running[1].setblocking(False)
        self._selector.register(self._running[1], selectors.EVENT_READ, self)
        return RESTART_PERIOD

    def send(self, message: bytes) -> None:
        """Send *message* in a frame, if there is a process to take it."""
        if self._running:
            self._outgoing += frames.frame(message)
            self._flush(self._running[1])

    def handle(self, mask: int) -> None:
        """React to an event on the control socket."""
        if self._running and not mask & selectors.EVENT_READ:
            self._flush(self._running[1])
            return
        if self._running and self._hear and self._listen(self._running[1], self._hear):
            return
        pid = self._running[0] if self._running else 0
        ended = self.stop()
        self.restarts += 1
        log.error("%s %d ended unasked (%s); starting another", self._name, pid, ended)

    def stop(self) -> str:
        """End the process and return how it ended."""
        if not self._running:
            return "it had not started"
        (pid, control), self._running = self._running, None
        self._selector.unregister(control)
        control.close()
        self._outgoing.clear()
        self._incoming.clear()
        ended = kill(pid)
        if ended is None:
            self._dying = pid
        return ended or "killed"

    def _listen(self, control: socket.socket, hear: t.Callable[[bytes], None]) -> bool:
        """Take what the process says; False if it has ended."""
        chunk = b""
        with contextlib.suppress(ConnectionError):
            chunk = control.recv(CONTROL_BYTES)
        self._incoming += chunk
        while (message := frames.take(self._incoming)) is not None:
            hear(message)
        return bool(chunk)

    def _flush(self, control: socket.socket) -> None:
        # Full, or the process is dead: the next event on the socket tells which.
        with contextlib.suppress(OSError):
            while self._outgoing:
                del self._outgoing[: control.send(self._outgoing)]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        self._selector.modify(control, events, self)


def has_ended(pid: int) -> str | None:
    """Return how a child ended, in words; None while it runs. A child may be asked for once."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return _describe(status) if ended else None


def kill(pid: int) -> str | None:
    """End a child at once and return how it ended, which may have been before.

    Returns:
        None if it has not ended yet, since the kernel keeps it; `has_ended` is then to be asked.
    """
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + KILL_PATIENCE
    while (ended := has_ended(pid)) is None and time.monotonic() < deadline:
        time.sleep(0.001)
    return ended


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}"


def _be_a_child(
    name: str, task: Task, control: socket.socket, keep: t.Collection[int]
) -> t.NoReturn:
    """Run *task* and never return into what the supervisor was doing."""
    code = 1
    try:
        set_name(name)
        # The control socket says when to end. Signals are for the supervisor, which decides.
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _let_go_of_files(keep)
        # What the supervisor made stays shared with it, and is not looked through again.
        gc.freeze()
        task(control)
        code = 0
    except Exception:
        log.exception("a process of the responder failed")
    finally:
        os._exit(code)


def _let_go_of_files(keep: t.Collection[int]) -> None:
    """Make the supervisor's other files useless here: the device's, and other children's controls.

    Their numbers stay taken, since objects from before the fork still believe to own them.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for entry in list(pathlib.Path("/proc/self/fd").iterdir()):
        number = int(entry.name)
        if number not in keep and number != nothing:
            with contextlib.suppress(OSError):
                os.dup2(nothing, number)
