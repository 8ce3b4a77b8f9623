# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How this host is: its peers by the device and the client's report, the responder by its own."""

from __future__ import annotations

from .peers import collect, names_of, out_of_reach
from .places import Places, find_places
from .registry import render_responder, responder
from .text import render

__all__ = [
    "Places",
    "collect",
    "find_places",
    "names_of",
    "out_of_reach",
    "render",
    "render_responder",
    "responder",
]
