# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a command takes, by the clock and by the processor, run again and again.

Run by itself where the command is to run: ``python3 spawn.py TIMES PAUSE COMMAND …``; it prints a
JSON list of pairs of seconds. ``{}`` in the command stands for the number of the run.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    """Run the command; 1 if it ever failed."""
    times, pause, words = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    took = []
    for run in range(times):
        time.sleep(pause)
        argv = [word.replace("{}", str(10_000 + run)) for word in words]
        started = time.monotonic()
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=quiet)
        _pid, status, usage = os.wait4(pid, 0)
        if status:
            return 1
        took.append((time.monotonic() - started, usage.ru_utime + usage.ru_stime))
    print(json.dumps(took))
    return 0


if __name__ == "__main__":
    sys.exit(main())
