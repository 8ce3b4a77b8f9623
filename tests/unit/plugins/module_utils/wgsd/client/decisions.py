# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions about a peer as the plan makes them, for tests of what is told of them."""

from __future__ import annotations

import math
import types
import typing as t

from wgsd.client.agent import Look
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer, PeerChange, PeerRecord
from wgsd.plan import Decision, Memory, State

BOB = PublicKey(b"b" * 32)
CAROL = PublicKey(b"c" * 32)
HOME = Endpoint("192.0.2.20", 51820)
AWAY = Endpoint("192.0.2.21", 40000)
NONE: t.Mapping[PublicKey, str] = types.MappingProxyType({})


def decision(
    state: State,
    *,
    key: PublicKey = BOB,
    reason: str = "so it is",
    change: PeerChange | None = None,
    before: Endpoint | None = None,
    target: Endpoint | None = HOME,
    due: float = math.inf,
    handshake: float = 0.0,
    **memory: object,
) -> Decision:
    """Make a decision; *memory* has what it is to remember.

    Args:
        target: Where the directory has the peer.
    """
    return Decision(
        public_key=key,
        state=state,
        change=change,
        probe=False,
        reason=reason,
        before=before,
        after=change.endpoint if change and change.endpoint else before,
        due=due,
        memory=Memory(target=target, **memory),
        peer=Peer(key, before, ("10.0.0.2/32",), last_handshake=handshake),
        record=PeerRecord(key, target, name="bob" if key == BOB else None) if target else None,
    )


def a_try(endpoint: Endpoint = HOME, *, key: PublicKey = BOB, **more: object) -> Decision:
    """Make the decision to start a session."""
    change = PeerChange.anew(Peer(key), endpoint, persistent_keepalive=25)
    return decision(
        State.KNOWN, key=key, change=change, reason=f"no session; set {endpoint}", **more
    )


def look(*decisions: Decision, failures: t.Mapping[PublicKey, str] = NONE) -> Look:
    """Make what a look came to."""
    return Look(decisions, failures)
