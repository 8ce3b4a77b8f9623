# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The name of an interface, where it goes into rules and into names of units.

Private to this collection.
"""

from __future__ import annotations

import re

from .wgsd.errors import UsageError

#: Without what firewalls take for a pattern ('*', '+') and what systemd would escape ('=').
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")


def check_interface(name: str) -> str:
    """Return *name* if everybody takes it for one interface.

    Raises:
        UsageError: somebody does not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"interface: {name!r} cannot be used", "give 1 to 15 letters, digits, '_', '.' and '-'"
        )
    return name
