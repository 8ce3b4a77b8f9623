# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs benchmarks, one after the other, and writes what they measured to a JSON file."""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import typing as t

from tests.lab import wireguard

from . import controller, converged, fleet, handshake, page, responder, roaming, soak, zone

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "tests" / "output" / "bench.json"
#: What runs if nothing is named, in this order.
SPEED = {
    "handshake": handshake.measure,
    "roaming": roaming.measure,
    "fleet": fleet.measure,
    "responder": responder.measure,
    "zone": zone.measure,
}
#: What a run of site.yml costs; `make bench-fleet` names them.
RUNS = {"converged": converged.measure, "controller": controller.measure}
MEASURED = {**SPEED, **RUNS}
NAMES = (*MEASURED, "soak", "page")


def main() -> int:
    """Run what the command line names; 1 if a soak did not end well, 0 if all ran."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(NAMES)}; by default {', '.join(SPEED)}. 'page' measures nothing: it"
        " writes the last figures into docs/performance.md",
    )
    parser.add_argument("--quick", action="store_true", help="few and short runs")
    arguments = parser.parse_args()
    names = arguments.names or list(SPEED)
    for name in names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
    is_good = True
    for name in names:
        print(f"== {name}", flush=True)
        if name == "page":
            page.write(json.loads(OUTPUT.read_text(encoding="utf-8")))
            continue
        if name in MEASURED:
            found = MEASURED[name](arguments.quick)
        else:
            found = soak.run()
            is_good = is_good and not found["faults"]
        _keep(page.title(name, wireguard.kind()), found)
    return 0 if is_good else 1


def _keep(name: str, found: dict[str, t.Any]) -> None:
    """Put the figures of one benchmark into the file, next to the last ones of the others."""
    results = json.loads(OUTPUT.read_text(encoding="utf-8")) if OUTPUT.exists() else {}
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout.strip()
    when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    results[name] = {"when": when, "commit": commit, **found}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written: {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
