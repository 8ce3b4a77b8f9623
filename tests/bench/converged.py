# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of site.yml costs on hosts of the lab on which nothing is left to do.

What each row means is told in docs/performance.md.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import tempfile
import time
import typing as t

from tests.lab import Nat, Site
from tests.lab.errors import LabError
from tests.lab.systemd import SystemdLab
from tests.lab.topology import MAX_SITES, REGISTRY

from .ansible_run import Cost, Runner
from .responder import machine
from .stats import Goal, render, row

PREFIX = "wgbv"
#: Hosts, the registry among them, and how often each of the runs is measured.
SIZES = {5: 5, 20: 5, 50: 3}
QUICK_SIZES = {5: 2}
#: Hosts that are worked on at a time.
FORKS = 20
#: Seconds for the new peers to find each other.
_SETTLE = 20.0


def measure(quick: bool) -> dict[str, t.Any]:
    """Measure, print, and return all figures."""
    load = os.getloadavg()[0]
    rows: list[dict[str, t.Any]] = []
    for size, rounds in (QUICK_SIZES if quick else SIZES).items():
        rows += _measure(size, rounds)
    print(render(rows), flush=True)
    notes = [f"forks={FORKS}; load {load:.1f} at first, {os.getloadavg()[0]:.1f} at last"]
    return {"machine": machine(), "notes": notes, "rows": rows}


def sites(peers: int) -> list[Site]:
    """Return where the peers are: as many sites as there can be, with as few hosts each."""
    names = [f"host{number:02}" for number in range(1, peers + 1)]
    places = min(peers, MAX_SITES)
    # Two behind one router reach each other by its mappings.
    nat = Nat(hairpin=True)
    return [Site(f"site{place}", nat, hosts=tuple(names[place::places])) for place in range(places)]


def _measure(size: int, rounds: int) -> list[dict[str, t.Any]]:
    """Return the rows about a mesh of so many hosts."""
    with (
        SystemdLab(PREFIX, sites=sites(size - 1)) as lab,
        tempfile.TemporaryDirectory(prefix="wgsd-bench-") as name,
    ):
        runner = Runner(pathlib.Path(name), lab.inventory, FORKS)
        print(f"  {size} hosts: the first run", flush=True)
        first = runner.site()
        print(f"  {first.seconds:.1f} s", flush=True)
        time.sleep(_SETTLE)
        runs: list[Cost] = []
        single: list[float] = []
        plays: list[float] = []
        for turn in range(rounds):
            cost = runner.site()
            if cost.changed:
                raise LabError(f"a second run has changed {', '.join(cost.changed)}")
            tasks = round(statistics.median(cost.remote.values()))
            runs.append(cost)
            single.append(tasks * runner.ping().seconds)
            plays.append(runner.pings(tasks).seconds)
            print(
                f"  round {turn + 1}: {cost.seconds:.1f} s; {tasks} times ping {single[-1]:.1f} s,"
                f" in one play {plays[-1]:.1f} s",
                flush=True,
            )
    print("\n".join(runs[-1].dearest(5)), flush=True)
    seconds = [cost.seconds for cost in runs]
    remote = runs[-1].remote
    peers = [count for host, count in remote.items() if host != REGISTRY]
    return [
        row(
            f"converged run, {size} hosts",
            seconds,
            "s",
            against=single,
            note=f"ansible -m ping, times {tasks}",
        ),
        row(
            "... against one play",
            seconds,
            "s",
            against=plays,
            note=f"one play of {tasks} pings",
        ),
        row("... remote tasks of a peer", peers, "", goal=Goal("max", "<=", 8)),
        row("... of the registry", [remote[REGISTRY]], "", goal=Goal("max", "<=", 10)),
    ]
