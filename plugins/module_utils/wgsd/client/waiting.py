# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent waits for: time, a change of the zone, and the signal to stop."""

from __future__ import annotations

import selectors
import signal
import socket
import time
import types

from ..replica import Replica

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Waiting:
    """Waits, and lets the replica work meanwhile.

    Attributes:
        selector: For the replica's sockets.
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

    def wait(self, replica: Replica, seconds: float, at_least: float = 0.0) -> None:
        """Wait until *seconds* are over or the replica has another version.

        Args:
            at_least: Seconds for which a change does not end the waiting.
        """
        before = replica.version
        begun = time.monotonic()
        while not self.stopped:
            passed = time.monotonic() - begun
            changed = replica.version != before
            left = (min(at_least, seconds) if changed else seconds) - passed
            if left <= 0:
                return
            self._work(replica, left)

    def settle(self, replica: Replica, seconds: float) -> None:
        """Wait until it is known whether a server can be followed, but no longer than *seconds*."""
        until = time.monotonic() + seconds
        while not (self.stopped or replica.settled):
            left = until - time.monotonic()
            if left <= 0:
                return
            self._work(replica, left)

    def _work(self, replica: Replica, seconds: float) -> None:
        replica.tick()
        for key, _events in self.selector.select(min(seconds, replica.seconds_left())):
            key.data()

    def _on_signal(self, _number: int, _frame: types.FrameType | None) -> None:
        self.stopped = True

    def _stop(self) -> None:
        self._woken.recv(64)
