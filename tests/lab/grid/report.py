# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The grid as a report: text, a page of HTML that needs nothing else, JSON, and Markdown."""

from __future__ import annotations

import dataclasses
import html
import json
import pathlib
import typing as t

from .events import KEEPALIVE, Event
from .expectations import MEETING_WITHIN, Expectation, Verdict
from .measured import in_words
from .rows import Row
from .runner import Result

Table = t.Mapping[tuple[Row, Event], Result]
#: What a cell begins with that is not as it should be: to be found without colours.
WRONG = "WRONG: "


def expected_in_words(expected: Expectation) -> str:
    """Return what should happen, as short as a cell."""
    return {
        Verdict.DIRECT: f"≤ {expected.within:g} s",
        Verdict.UNPUNCHABLE: f"told ≤ {expected.within:g} s",
        Verdict.RACE: f"≤ {expected.within:g} s or told",
        Verdict.MEETING: f"≤ {expected.within:g} s, or told and ≤ {MEETING_WITHIN:g} s",
        Verdict.UNHARMED: "0 lost",
        Verdict.NOTHING: "-",
    }[expected.verdict]


def measured_in_words(result: Result) -> str:
    """Return what happened, as short as a cell."""
    if result.expected.verdict is Verdict.NOTHING:
        return "-"
    return ("" if result.is_right else WRONG) + in_words(result.measured)


def as_text(results: t.Sequence[Result]) -> str:
    """Return the grid as a table for a terminal; what should happen is below what did."""
    rows, events, table = _index(results)
    lines = [["", *(event.value for event in events)]]
    for row in rows:
        cells = [table.get((row, event)) for event in events]
        lines.append([row.name, *(measured_in_words(cell) if cell else "" for cell in cells)])
        lines.append(["", *(f"  {expected_in_words(c.expected)}" if c else "" for c in cells)])
    widths = [max(len(line[number]) for line in lines) for number in range(len(lines[0]))]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )
    return f"{text}\n\n{summary(results)}\n{faults(results)}"


def as_markdown(results: t.Sequence[Result]) -> str:
    """Return the grid as a table for the documentation."""
    rows, events, table = _index(results)
    lines = [["", *(event.value for event in events)], ["---"] * (len(events) + 1)]
    for row in rows:
        cells = []
        for event in events:
            result = table.get((row, event))
            same = result and measured_in_words(result) == expected_in_words(result.expected)
            if result is None:
                cells.append("")
            elif same:
                cells.append(measured_in_words(result))
            else:
                cells.append(f"{measured_in_words(result)} ({expected_in_words(result.expected)})")
        lines.append([row.name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{summary(results)}\n"


def summary(results: t.Sequence[Result]) -> str:
    """Return how many cells are as they should be, and how busy the machine was."""
    seen = [result for result in results if result.expected.verdict is not Verdict.NOTHING]
    right = sum(result.is_right for result in seen)
    late = max((result.measured.late for result in seen), default=0.0)
    load = max((result.measured.load for result in seen), default=0.0)
    return (
        f"{right} of {len(seen)} cells are as they should be. Keepalive {KEEPALIVE} s. The machine:"
        f" load up to {load:.1f}, packets left up to {late * 1000:.0f} ms late."
    )


def faults(results: t.Sequence[Result]) -> str:
    """Return what is the matter with each cell that is not as it should be."""
    return "\n".join(
        f"{result.row.name}, {result.event.value}: {_explain(result)}"
        for result in results
        if not result.is_right
    )


def as_json(results: t.Sequence[Result]) -> str:
    """Return everything; what clients have written where a cell is not as it should be."""
    cells = []
    for result in results:
        measured = dataclasses.asdict(result.measured)
        if result.is_right:
            del measured["logs"]
        cells.append(
            {
                "row": result.row.name,
                "event": result.event.value,
                "expected": {
                    "verdict": result.expected.verdict.value,
                    "within": result.expected.within,
                    "reason": result.expected.reason,
                },
                "measured": measured,
                "right": result.is_right,
            }
        )
    return json.dumps({"keepalive": KEEPALIVE, "cells": cells}, indent=1)


def as_html(results: t.Sequence[Result]) -> str:
    """Return a page with the grid; each cell says what should happen, why, and what did."""
    rows, events, table = _index(results)
    head = "".join(f'<th scope="col">{html.escape(event.value)}</th>' for event in events)
    body = []
    for row in rows:
        cells = "".join(_html_cell(table.get((row, event))) for event in events)
        body.append(f'<tr><th scope="row">{html.escape(row.name)}</th>{cells}</tr>')
    return _PAGE.format(summary=html.escape(summary(results)), head=head, body="\n".join(body))


def write(results: t.Sequence[Result], folder: pathlib.Path) -> None:
    """Write the report into a folder: ``grid.txt``, ``grid.html``, ``grid.json``, ``grid.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (
        ("grid.txt", as_text),
        ("grid.html", as_html),
        ("grid.json", as_json),
        ("grid.md", as_markdown),
    ):
        (folder / name).write_text(make(results), encoding="utf-8")


def _index(results: t.Sequence[Result]) -> tuple[list[Row], list[Event], Table]:
    rows = list(dict.fromkeys(result.row for result in results))
    present = {result.event for result in results}
    events = [event for event in Event if event in present]
    return rows, events, {(result.row, result.event): result for result in results}


def _explain(result: Result) -> str:
    """Return in words what should have happened and what did."""
    measured, expected = result.measured, result.expected
    parts = [
        f"{expected.verdict.value} expected within {expected.within:g} s, since {expected.reason}",
        f"measured {in_words(measured)}",
        *(f"{name} uses {endpoint}" for name, endpoint in measured.endpoints.items() if endpoint),
        *(f"{name} says: {why}" for name, why in measured.why.items()),
    ]
    if measured.registry is not None:
        parts.append(f"registry found after {measured.registry:.0f} s")
    if measured.fault:
        parts.append(measured.fault.splitlines()[0])
    return "; ".join(parts)


def _html_cell(result: Result | None) -> str:
    if result is None:
        return "<td></td>"
    if result.expected.verdict is Verdict.NOTHING:
        return f'<td title="{html.escape(result.expected.reason)}">-</td>'
    measured, expected = result.measured, result.expected
    kind = "right" if result.is_right else "wrong"
    details = [expected.reason]
    details += [f"{name} uses {endpoint}" for name, endpoint in measured.endpoints.items()]
    details += [f"{name} says: {why}" for name, why in measured.why.items()]
    if measured.registry is not None:
        details.append(f"registry found after {measured.registry:.1f} s")
    if measured.fault:
        details.append(measured.fault)
    more = "".join(f"<li>{html.escape(detail)}</li>" for detail in details)
    return (
        f'<td class="{kind}"><b>{html.escape(measured_in_words(result))}</b>'
        f"<br>should: {html.escape(expected_in_words(expected))}"
        f"<details><summary>why</summary><ul>{more}</ul></details></td>"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>NAT grid</title>
<style>
body {{ font-family: sans-serif; font-size: 14px; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid #888; padding: 4px 6px; text-align: left; vertical-align: top; }}
thead th {{ position: sticky; top: 0; background: #eee; }}
.right {{ background: #e6f4e6; }}
.wrong {{ background: #fbdcdc; }}
details {{ max-width: 20em; color: #444; }}
</style>
</head>
<body>
<h1>NAT grid</h1>
<p>{summary}</p>
<table>
<thead><tr><th scope="col">A x B</th>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</body>
</html>
"""
