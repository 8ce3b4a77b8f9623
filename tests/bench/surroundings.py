# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What figures of clients depend on besides the code: whose WireGuard it is, how busy all is."""

from __future__ import annotations

import os
import pathlib

from tests.lab.wireguard import kind


def notes(load_before: float) -> list[str]:
    """Return what a reader of figures should know, now that they were measured.

    Args:
        load_before: The machine's load when that began.
    """
    told = [f"{kind()} WireGuard"]
    if "time-travel" in pathlib.Path("/proc/cmdline").read_text(encoding="ascii"):
        told.append("time stood still while anything ran, so the figures are about waiting only")
    else:
        told.append(f"load {load_before:.1f} at first, {os.getloadavg()[0]:.1f} at last")
    return ["; ".join(told)]
