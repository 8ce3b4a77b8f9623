# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain-text tables and durations for people."""

from __future__ import annotations

import typing as t


def render(header: t.Sequence[str], rows: t.Iterable[t.Sequence[str]]) -> str:
    """Return left-aligned columns under *header*, two spaces apart, a line per row."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def age(seconds: float) -> str:
    """Return a duration in its two largest units, such as ``2 m 5 s``."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def ago(then: float, now: float) -> str:
    """Return how long ago something was, such as ``5 s ago``. Both are seconds since the epoch."""
    return f"{age(now - then)} ago"


def milliseconds(seconds: float) -> str:
    """Return a short time such as ``0.41 ms`` or ``31 ms``."""
    value = seconds * 1000
    digits = 2 if value < 1 else 1 if value < 10 else 0
    return f"{value:.{digits}f} ms"
