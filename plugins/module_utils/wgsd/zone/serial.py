# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone serials: 32 bits that only ever go forward, in the arithmetic of RFC 1982."""

from __future__ import annotations

MODULUS = 1 << 32
HALF = 1 << 31


def is_newer(serial: int, than: int) -> bool:
    """Whether *serial* comes after *than* (RFC 1982 section 3.2)."""
    return 0 < (serial - than) % MODULUS < HALF


def following(serial: int) -> int:
    """Return the serial after *serial*."""
    return (serial + 1) % MODULUS


def first_of_run(now: float, last: int | None) -> int:
    """Return the serial that a responder starts with.

    The clock alone carries a registry over the loss of its state, the last serial alone over a
    clock that was set back: of the two, the newer one.

    Args:
        now: Seconds since the epoch.
        last: The last serial of the run before, if it is known.
    """
    by_clock = int(now) % MODULUS
    if last is None or is_newer(by_clock, last):
        return by_clock
    return following(last)
