# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients that a soak adds to dnsperf and the prober: one over TCP, and one that talks nonsense."""

from __future__ import annotations

import random
import socket
import struct
import time
import typing as t

from tests.lab.netns import Node

from . import wire
from .background import Background

_LENGTH = struct.Struct("!H")
_TIMEOUT = 5.0


class TcpClient(Background):
    """Asks for a peer over a connection of its own each time, several queries in a row.

    Attributes:
        asked: Queries.
        broken: When a connection ended before its last answer, in nanoseconds since the epoch.
        wrong: When there was an answer without a port: none, if the device has just been started.
    """

    PIPELINED = 3

    def __init__(self, node: Node, server: str, names: t.Sequence[str], rate: float) -> None:
        super().__init__(rate)
        self._node = node
        self._server = (server, 53)
        self._names = names
        self._random = random.Random()
        self.asked = 0
        self.wrong: list[int] = []
        self.broken: list[int] = []

    def step(self) -> None:
        """Connect, ask and take the answers, in the order of the queries (RFC 7766)."""
        questions = [
            wire.query(self._random.choice(self._names)) for _number in range(self.PIPELINED)
        ]
        with self._node.network():
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.asked += len(questions)
        with sock:
            sock.settimeout(_TIMEOUT)
            try:
                sock.connect(self._server)
                for number, question in enumerate(questions):
                    sock.sendall(_LENGTH.pack(len(question) + 2) + _LENGTH.pack(number) + question)
                for number, question in enumerate(questions):
                    self._take(sock, number, question)
            except OSError:
                self.broken.append(time.time_ns())

    def _take(self, sock: socket.socket, number: int, question: bytes) -> None:
        length = _LENGTH.unpack(_receive(sock, _LENGTH.size))[0]
        response = _receive(sock, length)
        try:
            _rcode, port = wire.read_answer(response, question)
        except (ValueError, struct.error):
            port = 0
        if not port or response[:2] != _LENGTH.pack(number):
            self.wrong.append(time.time_ns())


class Babbler(Background):
    """Sends packets that are no queries, or hardly any.

    Attributes:
        sent: Packets.
    """

    #: In one step.
    BATCH = 10

    def __init__(self, node: Node, server: str, names: t.Sequence[str], rate: float) -> None:
        super().__init__(rate / self.BATCH)
        self._server = (server, 53)
        self._names = names
        self._random = random.Random()
        self.sent = 0
        with node.network():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def step(self) -> None:
        """Send some, and throw away what comes back."""
        for _number in range(self.BATCH):
            self._socket.sendto(self._packet(), self._server)
            self.sent += 1
        while self._has_reply():
            pass

    def _has_reply(self) -> bool:
        try:
            self._socket.recv(4096)
        except OSError:
            return False
        return True

    def _packet(self) -> bytes:
        chance = self._random
        query = b"\0\0" + wire.query(chance.choice(self._names))
        flipped = bytearray(query)
        for _number in range(chance.randint(1, 8)):
            flipped[chance.randrange(2, len(flipped))] = chance.randrange(256)
        return chance.choice(
            [
                chance.randbytes(chance.randint(0, 600)),
                query[: chance.randrange(len(query))],
                bytes(flipped),
                query + chance.randbytes(chance.randint(1, 100)),
                # A name that points to itself, and more records than there are.
                query[:12] + b"\xc0\x0c" + query[-4:],
                query[:4] + chance.randbytes(8) + query[12:],
                # A response.
                query[:2] + b"\x80" + query[3:],
            ]
        )


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ConnectionError("closed before the answer")
        data += chunk
    return data
