# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker's word to the notifier: who follows a zone from now on."""

from __future__ import annotations

import contextlib
import socket
import typing as t

from ..zone.answers import Transferred
from ..zone.served import Context
from .followers import Follower, encode

#: Seconds in which the same is said once.
TELL_PERIOD = 5.0
#: Followers of which it is kept when they were told of.
FOLLOWERS = 4096


class Teller:
    """Tells of followers and never waits: what cannot be told now is told the next time."""

    def __init__(self, sock: socket.socket | None, monotonic: t.Callable[[], float]) -> None:
        """Make a teller.

        Args:
            sock: Of datagrams, for `followers.decode` to read; None if nobody wants to know.
            monotonic: Seconds.
        """
        self._sock = sock
        self._monotonic = monotonic
        self._told: dict[Follower, float] = {}

    def tell(self, transferred: Transferred, context: Context, port: int) -> None:
        """Tell who has got a zone, or its changes.

        Args:
            context: How it asked, from an address that is not forged.
            port: Where it is to be notified.
        """
        if self._sock is None:
            return
        zone, key = transferred
        follower = Follower(zone, context.source, port, context.local, key)
        now = self._monotonic()
        if now - self._told.get(follower, now - TELL_PERIOD) < TELL_PERIOD:
            return
        if len(self._told) >= FOLLOWERS:
            self._told.clear()
        with contextlib.suppress(OSError):
            self._sock.send(encode(follower), socket.MSG_DONTWAIT)
            self._told[follower] = now
