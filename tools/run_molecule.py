# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run molecule's scenarios, two at a time: half of the time of each is waiting.

Each has a lab and a log of its own (.cache/molecule). The log of one that fails is shown whole.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import re
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LOGS = PROJECT / ".cache" / "molecule"
#: What `make test` has time for, and the others, the longest first.
QUICK = ("default",)
OTHERS = ("rotate", "limit", "remove", "dualstack", "adopt", "debian13")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STEP = re.compile(r"➜ (\w+): Executing$")


@dataclasses.dataclass
class Done:
    """What became of a scenario: exit status, and the seconds that it and each step took."""

    scenario: str
    status: int
    seconds: float
    steps: list[tuple[str, float]]

    def line(self) -> str:
        """Return a line for the summary."""
        result = "ok" if self.status == 0 else "FAILED"
        steps = ", ".join(f"{step} {seconds:.0f}" for step, seconds in self.steps)
        return f"{self.scenario:<10} {result:<7} {self.seconds:4.0f} s: {steps}"


def run(scenario: str) -> Done:
    """Run one scenario; its output goes to its log, and out if it fails."""
    begun = time.monotonic()
    log = LOGS / f"{scenario}.log"
    steps: list[tuple[str, float]] = []
    with (
        subprocess.Popen(
            ["molecule", "test", "--scenario-name", scenario],
            cwd=PROJECT,
            env={
                **os.environ,
                "PATH": f"{PROJECT}/.venv/bin:{os.environ['PATH']}",
                "MOLECULE_COMMAND_BORDERS": "false",  # they break lines at 80 characters
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
        log.open("w", encoding="utf-8") as file,
    ):
        for line in process.stdout or ():
            file.write(line)
            file.flush()
            if step := _STEP.search(_COLOUR.sub("", line).rstrip()):
                steps.append((step[1], time.monotonic()))
    end = time.monotonic()
    ends = [begin for _step, begin in steps[1:]] + [end]
    lasted = [(step, after - begin) for (step, begin), after in zip(steps, ends)]
    done = Done(scenario, process.returncode, end - begun, lasted)
    shown = log.read_text(encoding="utf-8") if done.status else ""
    print(shown + done.line(), flush=True)
    return done


def main() -> int:
    """Run what was asked for; 1 if any of it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(QUICK + OTHERS))
    parser.add_argument("--all", action="store_true", help="all of them, not the quick ones alone")
    parser.add_argument("--beside", type=int, default=2, help="how many at a time (%(default)s)")
    arguments = parser.parse_args()
    scenarios = arguments.scenarios or (QUICK + OTHERS if arguments.all else QUICK)
    LOGS.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.beside) as pool:
        all_done = list(pool.map(run, scenarios))
    print("\nmolecule: seconds of each scenario and its steps")
    print("\n".join(done.line() for done in all_done))
    print(f"all of them {time.monotonic() - begun:.0f} s")
    return int(any(done.status for done in all_done))


if __name__ == "__main__":
    sys.exit(main())
