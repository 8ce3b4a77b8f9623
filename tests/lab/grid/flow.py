# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets to and fro through a tunnel, every 20 ms, and what they tell about it."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
import typing as t
from types import TracebackType

from tests.lab.netns import Node

INTERVAL = 0.02
_PORT = 7777
_PACKET = struct.Struct("!Id")
#: Seconds after which a packet that has not come back is lost.
LATE = 1.0


class Answer(t.NamedTuple):
    """A packet that came back; times are monotonic seconds."""

    number: int
    sent: float
    back: float


class Flow:
    """One host sends numbered packets, the other returns each: an answer has gone both ways.

    Only one side sends of its own accord, as in most conversations. A context manager; times are
    monotonic seconds.

    Attributes:
        answers: What came back, in the order of its coming.
        late: The longest time by which a packet left too late, in seconds: how much this machine
            had to do.

    Args:
        near: The host that sends, with its tunnel address.
        far: The host that returns.
    """

    def __init__(self, near: tuple[Node, str], far: tuple[Node, str]) -> None:
        self.answers: list[Answer] = []
        self.late = 0.0
        self._to = (far[1], _PORT)
        self._near, self._far = _socket(*near), _socket(*far)
        self._sent: list[float] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Flow:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._near.close()
        self._far.close()

    def first_after(self, moment: float) -> float | None:
        """Return when the first answer after *moment* came."""
        return next((answer.back for answer in self.answers if answer.back >= moment), None)

    def is_steady(self, seconds: float, share: float = 0.75) -> bool:
        """Whether *share* of the packets that fit into the last *seconds* have come back in them.

        Not all: a machine that is busy sends some too late.
        """
        now = time.monotonic()
        back = sum(now - seconds <= answer.back <= now for answer in self.answers[-1000:])
        return back >= share * seconds / INTERVAL

    def longest_gap(self, begin: float, end: float) -> float:
        """Return the longest time without an answer between *begin* and *end*, in seconds."""
        return longest_gap([answer.back for answer in self.answers], begin, end)

    def lost(self, begin: float, end: float) -> int:
        """Return how many packets sent between *begin* and *end* did not come back.

        The last of them must have had `LATE` seconds for it.
        """
        back = {answer.number for answer in self.answers}
        return sum(
            begin <= sent <= end and number not in back for number, sent in enumerate(self._sent)
        )

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ends.is_set():
            now = time.monotonic()
            if now >= due:
                self.late = max(self.late, now - due)
                self._send(now)
                due = max(due + INTERVAL, now)
            left = max(0.0, due - now)
            ready, _writable, _failed = select.select([self._near, self._far], [], [], left)
            if self._far in ready:
                packet, source = self._far.recvfrom(_PACKET.size)
                _send(self._far, packet, source)
            if self._near in ready:
                number, sent = _PACKET.unpack(self._near.recv(_PACKET.size))
                self.answers.append(Answer(number, sent, time.monotonic()))

    def _send(self, now: float) -> None:
        self._sent.append(now)
        _send(self._near, _PACKET.pack(len(self._sent) - 1, now), self._to)


def longest_gap(moments: t.Iterable[float], begin: float, end: float) -> float:
    """Return the longest time between two moments, or to one, from *begin* to *end*."""
    inside = [begin, *(moment for moment in moments if begin < moment < end), end]
    return max(after - before for before, after in zip(inside, inside[1:]))


def _socket(node: Node, address: str) -> socket.socket:
    with node.network():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, _PORT))
    made.setblocking(False)
    return made


def _send(sock: socket.socket, packet: bytes, to: tuple[str, int]) -> None:
    try:
        sock.sendto(packet, to)
    except OSError:
        # No route, no endpoint, or the peer is being added again: as lost as on the way.
        return
