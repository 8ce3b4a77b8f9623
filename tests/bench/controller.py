# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of site.yml costs the controller alone, on hosts that only pretend, by their number.

What each row means is told in docs/performance.md.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import tempfile
import typing as t

from . import answers
from .ansible_run import Cost, Runner
from .responder import machine
from .stats import Goal, render, row

SIZES = (100, 1_000)
QUICK_SIZES = (30, 100)
ROUNDS = 3
REGISTRY = "registry"
#: Lines of the list of the dearest tasks.
_DEAREST = 8


def measure(quick: bool) -> dict[str, t.Any]:
    """Measure, print, and return all figures.

    The small inventory is measured several times around the large one, which takes minutes.
    """
    few, many = QUICK_SIZES if quick else SIZES
    forks = len(os.sched_getaffinity(0))
    costs: dict[int, list[Cost]] = {few: [], many: []}
    floors: dict[int, list[Cost]] = {few: [], many: []}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="wgsd-bench-") as name:
        folder = pathlib.Path(name)
        prepared = answers.prepare()
        for size in (few, many, *[few] * (0 if quick else ROUNDS - 1)):
            path = folder / f"{size}.json"
            path.write_text(json.dumps(inventory(size)), encoding="utf-8")
            runner = Runner(folder, path, forks, prepared, tells_progress=True)
            print(f"  site.yml, {size:,} hosts", flush=True)
            cost = runner.site()
            print("\n".join([_told(cost), *cost.dearest(_DEAREST)]), flush=True)
            tasks = round(statistics.median(cost.remote.values()))
            print(f"  {tasks} pings each, {size:,} hosts", flush=True)
            floor = runner.pings(tasks)
            print(_told(floor), flush=True)
            costs[size].append(cost)
            floors[size].append(floor)
    rows = [
        *_rows(few, costs, floors),
        *_rows(many, costs, floors, small=few),
    ]
    print(render(rows), flush=True)
    notes = [
        f"forks={forks}; load {load:.1f} at first, {os.getloadavg()[0]:.1f} at last",
        f"the dearest tasks with {many:,} hosts, processor time per host: "
        + "; ".join(" ".join(line.split()) for line in costs[many][0].dearest(4)),
    ]
    return {"machine": machine(), "notes": notes, "rows": rows}


def inventory(size: int) -> dict[str, t.Any]:
    """Return an inventory of one registry and the other hosts, none of which is there."""
    peers = {
        f"host{number:04}": {"wgsd_address": f"10.0.{number // 250}.{number % 250 + 1}/16"}
        for number in range(1, size)
    }
    registry = {"wgsd_address": "10.0.255.254/16", "wgsd_endpoint": "203.0.113.4:51820"}
    variables = {
        "ansible_connection": "pretended",
        "ansible_python_interpreter": "/usr/bin/python3",
        "wgsd_zone": "example.com.",
    }
    return {
        "all": {
            "vars": variables,
            "children": {
                "wgsd_registry": {"hosts": {REGISTRY: registry}},
                "wgsd_peers": {"hosts": peers},
            },
        }
    }


def _rows(
    size: int,
    costs: t.Mapping[int, t.Sequence[Cost]],
    floors: t.Mapping[int, t.Sequence[Cost]],
    small: int = 0,
) -> list[dict[str, t.Any]]:
    """Return the rows about one size, also against the one that is *small*."""
    runs, pings = costs[size], floors[size]
    cpu = [cost.cpu_ms for cost in runs]
    rows = [
        row(
            f"processor time per host, {size:,} hosts",
            cpu,
            "ms",
            against=[cost.cpu_ms for cost in pings],
            note="as many pings in one play",
        )
    ]
    for what, figures in (("processor time", "cpu_ms"), ("time", "wall_ms")) if small else ():
        less = statistics.median(getattr(cost, figures) for cost in costs[small])
        rows.append(
            row(
                f"... {what} per host against {small:,} hosts",
                [getattr(cost, figures) for cost in runs],
                "ms",
                against=[less],
                goal=Goal("ratio", "<=", 1.3),
                note=f"the same with {small:,} hosts",
            )
        )
    if small:
        less = statistics.median(cost.cpu_ms for cost in floors[small])
        rows.append(
            row(
                "... and pings alone",
                [cost.cpu_ms for cost in pings],
                "ms",
                against=[less],
                note=f"the same with {small:,} hosts",
            )
        )
    rows.append(row(f"time per host, {size:,} hosts", [cost.wall_ms for cost in runs], "ms"))
    rows.append(
        row(f"memory of the main process, {size:,} hosts", [cost.peak_mb for cost in runs], "MB")
    )
    return rows


def _told(cost: Cost) -> str:
    return (
        f"  {cost.seconds:.1f} s; per host {cost.wall_ms:.0f} ms by the clock, "
        f"{cost.cpu_ms:.0f} ms of processor time"
    )
