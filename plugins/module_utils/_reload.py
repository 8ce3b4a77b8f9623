# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reload of a daemon of the engine, until it runs on what it has read since.

Private to this collection.
"""

from __future__ import annotations

import json
import pathlib
import time

from ._systemd import Systemd, UnitState
from .wgsd.errors import WgsdError

#: Seconds between two looks at a daemon that is reloading.
_PAUSE = 0.1


def running_since(unit: UnitState, report: pathlib.Path | None) -> float | None:
    """Return since when a daemon runs on what it has read; None if it does not say so.

    Args:
        report: Where it reports of itself, if it does.

    Returns:
        Seconds since the epoch.
    """
    if report is None:
        return None
    try:
        content = json.loads(report.read_bytes())
        return float(content["started"]) if content["pid"] == unit.main_pid else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def reload(systemd: Systemd, name: str, report: pathlib.Path | None, timeout: float) -> None:
    """Reload the unit *name*, which is up, and wait for its end.

    Args:
        timeout: Seconds that it may take.

    Raises:
        WgsdError: it has not reloaded, and goes on as before, or it ended.
    """
    before = systemd.unit(name)
    begun, deadline = time.time(), time.monotonic() + timeout
    systemd.reload(name, timeout)
    while True:
        now = systemd.unit(name)
        if not now.is_up or now.main_pid != before.main_pid:
            problem = f"{name} did not survive its reload (it is {now.active})"
            break
        since = running_since(now, report)
        # It settles when the new workers answer.
        if now.is_active and since is not None and since >= begun:
            return
        if time.monotonic() >= deadline:
            problem = f"{name} has not reloaded within {timeout:g} s: what ran before goes on"
            break
        time.sleep(_PAUSE)
    raise WgsdError(
        f"{problem}\nThe last lines of its journal:\n{systemd.journal(name)}\n",
        f"mend what it says there, or see 'journalctl -u {name}'",
    )
