# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Medians, spread and ratios, printed and as data."""

from __future__ import annotations

import statistics
import typing as t


def summary(values: t.Sequence[float]) -> dict[str, float]:
    """Return count, minimum, median, 99th percentile and maximum."""
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "min": ordered[0],
        "median": statistics.median(ordered),
        # The nearest rank: of fewer than 100 values this is the largest.
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max": ordered[-1],
    }


def report(what: str, values: t.Sequence[float], unit: str, floor: float) -> dict[str, t.Any]:
    """Print a summary and its median's ratio to *floor*; return them with the values."""
    figures = summary(values)
    ratio = figures["median"] / floor
    print(
        f"{what}: median {figures['median']:.1f} {unit}, min {figures['min']:.1f}, "
        f"p99 {figures['p99']:.1f}, max {figures['max']:.1f} ({figures['count']:.0f} runs); "
        f"{ratio:.2f} x the floor of {floor:.1f} {unit}",
        flush=True,
    )
    return {"unit": unit, **figures, "floor": floor, "ratio": ratio, "values": list(values)}
