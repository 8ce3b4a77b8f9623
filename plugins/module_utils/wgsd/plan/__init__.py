# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides what to do about each peer's endpoint, and why. Pure.

The rules, in words:

* A tunnel that lives is left alone: its device follows the peer by itself and knows better than
  the directory. A peer that has moved away is asked before it is followed (`live`).
* A peer without a session is connected by removing and adding it in one operation (`connect`), at
  moments that both ends arrive at (`rendezvous`).
* Which peers there are is decided apart from where they are (`members`).
* The same state gives no action, so running twice is the same as running once.
"""

from __future__ import annotations

from .decide import NONE_YET, Decisions, decide, wants_record
from .members import Added, Membership, Refusal, decide_members
from .observe import has_session, in_session
from .peers import holders, keepalive_of, managed, renewals
from .states import Decision, Keepalive, Memory, Policy, State

__all__ = [
    "NONE_YET",
    "Added",
    "Decision",
    "Decisions",
    "Keepalive",
    "Membership",
    "Memory",
    "Policy",
    "Refusal",
    "State",
    "decide",
    "decide_members",
    "has_session",
    "holders",
    "in_session",
    "keepalive_of",
    "managed",
    "renewals",
    "wants_record",
]
