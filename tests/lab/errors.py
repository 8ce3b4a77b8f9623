# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lab raises when it cannot go on."""

from __future__ import annotations


class LabError(Exception):
    """Says what was wrong, where, and what to do next; the command line prints it and exits 1."""
