# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options with which modules ask a zone; ``doc_fragments/asking.py`` documents them.

Private to this collection.
"""

from __future__ import annotations

import typing as t

from .wgsd.config import DEFAULT_TSIG_ALGORITHM, TSIG_ALGORITHMS

#: The servers of the zone, and how long to wait for them.
SERVERS: dict[str, dict[str, t.Any]] = {
    "servers": {"type": "list", "elements": "str", "required": True},
    "timeout": {"type": "float", "default": 1.0},
}


def key(*, secret_required: bool) -> dict[str, t.Any]:
    """Return the specification of a TSIG key, whose secret the host may have already."""
    options = {
        "name": {"type": "str", "required": True},
        "algorithm": {
            "type": "str",
            "choices": list(TSIG_ALGORITHMS),
            "default": DEFAULT_TSIG_ALGORITHM,
        },
        "secret": {"type": "str", "required": secret_required, "no_log": True},
    }
    return {"type": "dict", "options": options, "no_log": False}
