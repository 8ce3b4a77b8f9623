# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a lab may be called."""

from __future__ import annotations

import re

from .errors import LabError

_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,14}")


def check_prefix(prefix: str) -> str:
    """``prefix``, if it can be part of the names of processes, cgroups and sockets.

    :raises LabError: if it cannot
    """
    if not _PREFIX.fullmatch(prefix):
        raise LabError(
            f"bad prefix {prefix!r}: 1 to 15 lower-case letters, digits and hyphens, a letter first"
        )
    return prefix
