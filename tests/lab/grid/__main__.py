# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python3 -m tests.lab.grid``: measures the grid, or a part of it, and writes the report."""

from __future__ import annotations

import argparse
import pathlib
import sys
import typing as t

from tests.lab import machine
from tests.lab.errors import LabError
from tests.lab.signals import signals_raise

from . import page, report, runner
from .events import Event
from .rows import ROWS

ROOT = pathlib.Path(__file__).resolve().parents[3]


def main(argv: t.Sequence[str] | None = None) -> int:
    """Measure; 0 if all cells are as they should be, 1 if not, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab.grid", description=__doc__)
    rows = {row.name: row for row in ROWS}
    events = {event.value: event for event in Event}
    parser.add_argument("--row", action="append", choices=rows, help="may be repeated")
    parser.add_argument("--event", action="append", choices=events, help="may be repeated")
    parser.add_argument("--workers", type=int, default=4, help="cells at a time")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / ".cache" / "grid")
    parser.add_argument("--prefix", default="grid", help="of the labs")
    parser.add_argument("--page", action="store_true", help="write the table to docs/nat-grid.md")
    arguments = parser.parse_args(argv)
    cells = [
        (rows[row], events[event])
        for row in arguments.row or rows
        for event in arguments.event or events
    ]
    machine.become_operator()
    try:
        with signals_raise():
            results = runner.run(cells, arguments.workers, arguments.prefix, _tell)
            report.write(results, arguments.out)
            if arguments.page:
                page.write(results)
    except LabError as error:
        print(f"grid: {error}", file=sys.stderr)
        return 1
    print(report.as_text(results))
    print(f"written: {arguments.out}/grid.html, .txt, .json, .md")
    return 0 if all(result.is_right for result in results) else 1


def _tell(result: runner.Result) -> None:
    told = report.measured_in_words(result)
    should = report.expected_in_words(result.expected)
    print(f"{result.row.name}, {result.event.value}: {told} ({should})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
