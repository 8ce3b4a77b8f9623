# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a look at the device tells of a peer, compared with what is remembered of it."""

from __future__ import annotations

import dataclasses

from ..clock import Moment
from ..model import REJECT_AFTER_TIME, Peer
from .states import Memory, Policy


def has_session(peer: Peer, wall: float) -> bool:
    """Whether WireGuard may still hold session keys for *peer*, by the wall clock alone.

    The comparison is open to clocks that differ a little or jump: a handshake from the future
    counts as a session, since a live tunnel must not be harmed by a clock.
    """
    return peer.last_handshake > 0 and wall - peer.last_handshake < REJECT_AFTER_TIME


def in_session(memory: Memory, now: float) -> bool:
    """Whether WireGuard may still hold session keys for a peer, by the steady clock."""
    return memory.handshake > 0 and now < memory.handshake_at + REJECT_AFTER_TIME


def observe(
    peer: Peer, memory: Memory | None, moment: Moment, heard: float | None, policy: Policy
) -> Memory:
    """Return what is known of *peer* now.

    Args:
        memory: What was known at the last look; None for a peer that is new to us.
        heard: Seconds that the answer to a probe took that came since then.
    """
    now = moment.steady
    if memory is None:
        age = max(0.0, moment.wall - peer.last_handshake)
        memory = Memory(
            handshake=peer.last_handshake,
            handshake_at=now - age,
            rx_bytes=peer.rx_bytes,
            alive_at=now,
            # Someone may have set the clock since the handshake: the peer is asked.
            doubtful=policy.continuous and peer.last_handshake > 0 and age >= REJECT_AFTER_TIME,
        )
    if peer.last_handshake != memory.handshake:
        memory = dataclasses.replace(
            memory, handshake=peer.last_handshake, handshake_at=now, doubtful=False
        )
    if peer.rx_bytes != memory.rx_bytes:
        memory = dataclasses.replace(memory, rx_bytes=peer.rx_bytes, alive_at=now)
    if heard is not None:
        memory = dataclasses.replace(memory, alive_at=now, answers=True, rtt=heard)
    return memory
