# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Medians, spread, ratios and goals: printed, as data, and as a page's table."""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a row is to reach.

    Attributes:
        of: ``ratio``, ``median``, ``p99`` or ``max``.
        relation: ``>=`` or ``<=``.
    """

    of: str
    relation: str
    value: float

    def is_met(self, row: t.Mapping[str, t.Any]) -> bool:
        """Whether *row*, which `row` has made, reaches it."""
        if self.relation == ">=":
            return bool(row[self.of] >= self.value)
        return bool(row[self.of] <= self.value)

    def __str__(self) -> str:
        sign = {">=": "≥", "<=": "≤"}[self.relation]
        return f"{self.of} {sign} {self.value:g}"


def row(
    what: str,
    values: t.Sequence[float],
    unit: str,
    *,
    against: t.Sequence[float] = (),
    goal: Goal | None = None,
    note: str = "",
) -> dict[str, t.Any]:
    """Return a row of a table of figures.

    Args:
        against: What the same rounds measured for something else, for a ratio; one value stands
            for all rounds. The ratio is the median of the rounds' ratios.
        note: What *against* is, and what else a reader should know.
    """
    figures = summary(values)
    made: dict[str, t.Any] = {
        "what": what,
        "unit": unit,
        **figures,
        "against": statistics.median(against) if against else None,
        "ratio": None,
        "note": note,
        "goal": None,
        "met": None,
        "values": list(values),
    }
    if against:
        others = list(against) * len(values) if len(against) == 1 else list(against)
        made["ratio"] = statistics.median(a / b for a, b in zip(values, others, strict=True))
    if goal:
        made["goal"] = str(goal)
        made["met"] = goal.is_met(made)
    return made


HEADINGS = ("", "median", "min", "max", "runs", "against", "ratio", "goal", "met")


def cells(made: t.Mapping[str, t.Any]) -> list[str]:
    """Return what a table shows of a row, in the order of `HEADINGS`."""
    return [
        made["what"],
        f"{number(made['median'])} {made['unit']}",
        number(made["min"]),
        number(made["max"]),
        f"{made['count']:.0f}",
        "" if made["against"] is None else number(made["against"]),
        "" if made["ratio"] is None else f"{made['ratio']:.2f}",
        made["goal"] or "",
        "" if made["met"] is None else "yes" if made["met"] else "NO",
    ]


def number(value: float) -> str:
    """Return a figure with three digits or so, as people read it."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def render(rows: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return rows as a table for a terminal."""
    table = [list(HEADINGS), *map(cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    lines = []
    for line in table:
        aligned = [
            text.ljust(width) if column in (0, 7, 8) else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def markdown(rows: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return rows as a table for a page, each with what its other figure is."""
    headings = [*HEADINGS, "against what"]
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines += [f"| {' | '.join([*cells(made), made['note']])} |" for made in rows]
    return "\n".join(lines)
