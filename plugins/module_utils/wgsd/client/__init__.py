# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent on a peer: asks the directory, decides, sets endpoints."""

from __future__ import annotations

from .agent import run_once
from .loop import run
from .report import report_path

__all__ = ["report_path", "run", "run_once"]
