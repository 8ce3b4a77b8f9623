# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two clocks that decisions need."""

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
