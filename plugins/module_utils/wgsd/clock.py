# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two clocks that decisions need, and whether the host has slept."""

from __future__ import annotations

import time
import typing as t


class Moment(t.NamedTuple):
    """One point in time by two clocks.

    Attributes:
        wall: Seconds since the epoch: what handshakes are dated with. Someone may set this clock.
        steady: Seconds of a clock that nobody sets and that goes on while the host sleeps.
    """

    wall: float
    steady: float


def steady() -> float:
    """Return the seconds of CLOCK_BOOTTIME, by which the kernel's WireGuard ages its sessions."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def moment() -> Moment:
    """Return the present."""
    return Moment(time.time(), steady())


class Sleep:
    """Notices that the host was suspended: its steady clock went on, and the monotonic one did not.

    Args:
        steady: Returns seconds of a clock that goes on in suspend.
        awake: Returns seconds of one that does not.
    """

    #: Seconds that count as sleep; less is what passes between two clocks' being read.
    SHORTEST = 1.0

    def __init__(
        self,
        steady: t.Callable[[], float] = steady,
        awake: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._steady = steady
        self._awake = awake
        self._slept = steady() - awake()

    def is_over(self) -> bool:
        """Return whether the host has slept since the last call."""
        before, self._slept = self._slept, self._steady() - self._awake()
        return self._slept - before > self.SHORTEST
