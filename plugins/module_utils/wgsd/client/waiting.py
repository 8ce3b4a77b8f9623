# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent waits for: time, its parts' sockets, and the signal to stop."""

from __future__ import annotations

import selectors
import signal
import socket
import time
import types
import typing as t

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Part(t.Protocol):
    """A part of the agent that works while it waits."""

    @property
    def due(self) -> float | None:
        """Monotonic seconds at which `tick` is to be called; None if nothing is to be done."""

    def tick(self) -> None:
        """Do what is due."""


class Waiting:
    """Waits, and lets the parts work meanwhile.

    Attributes:
        selector: For the parts' sockets. The data of each is a function without arguments, to be
            called when the socket is ready.
        stopped: Whether a signal has told us to stop.
    """

    def __init__(self) -> None:
        """Take over SIGTERM and SIGINT."""
        self.selector = selectors.DefaultSelector()
        self.stopped = False
        # A signal that comes just before select() begins must end it as well.
        self._woken, self._wakes = socket.socketpair()
        for sock in (self._woken, self._wakes):
            sock.setblocking(False)
        self.selector.register(self._woken, selectors.EVENT_READ, self._stop)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def close(self) -> None:
        """Give the signals back their usual meaning."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        self.selector.close()
        self._woken.close()
        self._wakes.close()

    def wait(
        self,
        parts: t.Sequence[Part],
        seconds: float,
        is_news: t.Callable[[], bool],
        at_least: float = 0.0,
    ) -> None:
        """Wait until *seconds* are over or *is_news* says that something has happened.

        Args:
            at_least: Seconds for which what happens does not end the waiting.
        """
        begun = time.monotonic()
        while not self.stopped:
            for part in parts:
                part.tick()
            now = time.monotonic()
            left = (min(at_least, seconds) if is_news() else seconds) - (now - begun)
            if left <= 0:
                return
            dues = [part.due for part in parts if part.due is not None]
            for key, _events in self.selector.select(
                max(0.0, min([left, *(d - now for d in dues)]))
            ):
                key.data()

    def _on_signal(self, _number: int, _frame: types.FrameType | None) -> None:
        self.stopped = True

    def _stop(self) -> None:
        self._woken.recv(64)
