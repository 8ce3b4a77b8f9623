# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone serials: 32 bits that only ever go forward, in the arithmetic of RFC 1982."""

from __future__ import annotations

MODULUS = 1 << 32
HALF = 1 << 31

#: How often a second the serial that the clock gives goes up. A zone must not have more versions
#: than that: then its serial never overtakes the clock, which can go on where all else that knew
#: the serial is lost.
RATE = 10


def is_newer(serial: int, than: int) -> bool:
    """Whether *serial* comes after *than* (RFC 1982 section 3.2)."""
    return 0 < (serial - than) % MODULUS < HALF


def following(serial: int) -> int:
    """Return the serial after *serial*."""
    return (serial + 1) % MODULUS


def by_clock(now: float) -> int:
    """Return the serial that belongs to a time.

    Args:
        now: Seconds since the epoch.
    """
    return int(now * RATE) % MODULUS


def first_of_run(now: float, last: int | None) -> int:
    """Return the serial of the first version that a run makes.

    The clock alone carries a registry over the loss of its state, the last serial alone over a
    clock that was set back: of the two, the newer one.

    Args:
        now: Seconds since the epoch.
        last: The last serial before, if it is known.
    """
    clock = by_clock(now)
    if last is None or is_newer(clock, last):
        return clock
    return following(last)
