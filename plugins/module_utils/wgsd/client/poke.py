# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows the registries where this host is after a move: packets, until something comes back."""

from __future__ import annotations

import math
import typing as t

from ..keys import PublicKey
from ..model import Peer

#: Seconds from the move until each of the packets: the first ones after it are often lost.
TIMES = (0.0, 0.1, 0.3, 0.7, 1.5)


class Poke:
    """Says to whom a packet is due. All times are steady seconds.

    Attributes:
        due: When the next packet is due; infinite if none is.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self._moved_at = 0.0
        self._sent = 0
        #: What had come from each registry by the time of the move.
        self._marks: dict[PublicKey, int] = {}

    def begin(self, registries: t.Mapping[PublicKey, Peer], now: float) -> None:
        """Take note of a move."""
        self._marks = {key: peer.rx_bytes for key, peer in registries.items()}
        self._moved_at = self.due = now
        self._sent = 0

    def targets(self, registries: t.Mapping[PublicKey, Peer], now: float) -> list[Peer]:
        """Return to whom to send a packet now, as the device has them."""
        if now < self.due:
            return []
        deaf = [
            peer
            for key, peer in registries.items()
            if key in self._marks and peer.rx_bytes == self._marks[key]
        ]
        self._sent += 1
        more = bool(deaf) and self._sent < len(TIMES)
        self.due = self._moved_at + TIMES[self._sent] if more else math.inf
        return deaf
