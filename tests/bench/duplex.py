# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets through a tunnel, of both ends' own accord, and when each way was open."""

from __future__ import annotations

import bisect
import contextlib
import select
import socket
import struct
import threading
import time
import types

from tests.lab.netns import Node

#: Seconds between two packets of an end.
INTERVAL = 0.01
#: Seconds after which a packet that has not arrived is lost.
LATE = 1.0
_PORT = 7070
_PACKET = struct.Struct("!I")


class Way:
    """One direction: what was sent when, and what of it arrived when, in monotonic seconds."""

    def __init__(self, source: socket.socket, target: socket.socket, to: str) -> None:
        self.target = target
        self._source = source
        self._to = (to, _PORT)
        self._sent: list[float] = []
        self._arrived: dict[int, float] = {}

    def send(self, now: float) -> None:
        """Send the next packet; one that cannot be sent is as lost as one that does not arrive."""
        with contextlib.suppress(OSError):
            self._source.sendto(_PACKET.pack(len(self._sent)), self._to)
        self._sent.append(now)

    def take(self) -> None:
        """Take one packet that has arrived."""
        # An ICMP error, from before the other end's socket was there, is none.
        with contextlib.suppress(OSError):
            (number,) = _PACKET.unpack(self.target.recv(_PACKET.size))
            self._arrived[number] = time.monotonic()

    def longest_gap(self, begin: float, end: float) -> float:
        """Return the longest time between *begin* and *end* in which nothing arrived."""
        inside = sorted(at for at in self._arrived.copy().values() if begin < at < end)
        moments = [begin, *inside, end]
        return max(after - before for before, after in zip(moments, moments[1:], strict=False))

    def lost(self, begin: float, end: float) -> int:
        """Return how many packets sent between *begin* and *end* have not arrived."""
        first, behind = bisect.bisect_left(self._sent, begin), bisect.bisect_right(self._sent, end)
        return sum(number not in self._arrived for number in range(first, behind))

    def is_steady(self, seconds: float) -> bool:
        """Whether nine of ten packets sent in the *seconds* before the last 0.1 have arrived."""
        end = time.monotonic() - 0.1
        return self.lost(end - seconds, end) <= 0.1 * seconds / INTERVAL


class Duplex:
    """Two hosts that send one another numbered packets; a context manager.

    Attributes:
        ways: From the first host to the second, and back.
        late: The longest time in seconds by which a packet left too late: how much this machine
            had to do.

    Args:
        ends: Each host with its tunnel address.
    """

    def __init__(self, *ends: tuple[Node, str]) -> None:
        self.late = 0.0
        (_node, address), (_other_node, other_address) = ends
        self._sockets = [_socket(*end) for end in ends]
        here, there = self._sockets
        self.ways = (Way(here, there, other_address), Way(there, here, address))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Duplex:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def is_steady(self, seconds: float) -> bool:
        """Whether both ways were open for the last *seconds*."""
        return all(way.is_steady(seconds) for way in self.ways)

    def lost(self, begin: float, end: float) -> int:
        """Wait until all that was sent by *end* has had its time, and count what was lost."""
        time.sleep(max(0.0, end + LATE - time.monotonic()))
        return sum(way.lost(begin, end) for way in self.ways)

    def _run(self) -> None:
        arrivals = {way.target: way for way in self.ways}
        due = time.monotonic()
        while not self._ended.is_set():
            now = time.monotonic()
            if now >= due:
                self.late = max(self.late, now - due)
                for way in self.ways:
                    way.send(now)
                # What could not be sent in time is not sent later, all at once.
                due = max(due + INTERVAL, now)
            for ready in select.select(self._sockets, [], [], max(0.0, due - now))[0]:
                arrivals[ready].take()


def _socket(node: Node, address: str) -> socket.socket:
    with node.network():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, _PORT))
    made.setblocking(False)
    return made
