# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processor time that the engine takes for one read of a device, again and again.

Run by itself with the engine in its path: ``python3 device_read.py DEVICE TIMES PAUSE``; it prints
a JSON list of seconds. The first reads, which find everything new, are left out: the watcher goes
on for weeks.
"""

from __future__ import annotations

import json
import sys
import time

from wgsd.device import open_device

_FIRST = 3


def main() -> int:
    """Read the device."""
    name, times, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    took = []
    with open_device(name) as device:
        for _number in range(_FIRST + times):
            time.sleep(pause)
            started = time.process_time()
            device.read()
            took.append(time.process_time() - started)
    print(json.dumps(took[_FIRST:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
