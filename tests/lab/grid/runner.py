# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures many cells, several at a time, each in a process and a lab of its own."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.queues
import os
import typing as t

from .cell import measure
from .events import Event
from .expectations import MEETING_WITHIN, Expectation, Verdict, expect
from .measured import Measured, agrees
from .rows import Row

Cell = tuple[Row, Event]
#: Seconds by which packets leave late on a machine that has too much to do.
BUSY = 0.1


class Result(t.NamedTuple):
    """A cell that was measured."""

    row: Row
    event: Event
    expected: Expectation
    measured: Measured

    @property
    def is_right(self) -> bool:
        """Whether it is as it should be."""
        return agrees(self.expected, self.measured)


def run(
    cells: t.Iterable[Cell], workers: int, prefix: str, tell: t.Callable[[Result], None]
) -> list[Result]:
    """Measure cells and return what came of each, in their order.

    A cell that is not as it should be, on a machine that was too busy to say so, is measured once
    more when all others are done.

    Args:
        workers: How many at a time.
        prefix: What the labs' prefixes begin with; each worker has one of its own.
        tell: Called with each result as it comes.
    """
    cells = list(cells)
    context = multiprocessing.get_context("spawn")
    prefixes: multiprocessing.queues.Queue[str] = context.Queue()
    for number in range(workers):
        prefixes.put(f"{prefix}{number}")
    found: dict[Cell, Result] = {}
    with concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (prefixes,)) as pool:
        try:
            futures = {
                pool.submit(_measure, row, event): (row, event)
                for row, event in sorted(cells, key=_takes, reverse=True)
            }
            for future in concurrent.futures.as_completed(futures):
                cell = futures[future]
                found[cell] = _result(cell, future.result())
                tell(found[cell])
            for cell in [cell for cell, result in found.items() if _says_little(result)]:
                found[cell] = _result(cell, pool.submit(_measure, *cell).result())
                tell(found[cell])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # its lab goes as it ends
            raise
    return [found[cell] for cell in cells]


def _result(cell: Cell, measured: Measured) -> Result:
    return Result(*cell, expect(*cell), measured)


def _says_little(result: Result) -> bool:
    """Whether a result that should be another may be the machine's."""
    return not result.is_right and result.measured.late > BUSY


_prefix = ""


def _begin(prefixes: multiprocessing.queues.Queue[str]) -> None:
    """Take a prefix for this process."""
    global _prefix
    _prefix = prefixes.get()


def _measure(row: Row, event: Event) -> Measured:
    if expect(row, event).verdict is Verdict.NOTHING:
        return Measured()
    try:
        return measure(row, event, _prefix)
    except (KeyboardInterrupt, SystemExit):
        # Its lab is gone. A process that lived on would begin with the next cell.
        os._exit(1)


def _takes(cell: Cell) -> float:
    """Return about how long a cell takes in seconds: the long ones go first."""
    expected, event = expect(*cell), cell[1]
    if event is Event.OUTAGE or expected.verdict is Verdict.NOTHING:
        return expected.within
    if expected.verdict is Verdict.MEETING:
        return MEETING_WITHIN
    told = 20.0 * (expected.verdict in (Verdict.UNPUNCHABLE, Verdict.RACE))
    return told * (1 if event.is_start else 2) + 5.0
