# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datagrams by the batch: two system calls for many queries and their responses.

A system call for each of them is what bounds a server like this one, in Python more than elsewhere:
before and after each, addresses are made into text and back. Linux has recvmmsg(2) and sendmmsg(2)
for that, Python has not.
"""

from __future__ import annotations

import ctypes
import mmap
import socket

#: Datagrams of one socket in a row, before others get their turn.
BATCH = 64
#: Bytes for each: more than any UDP message of ours, and than the queries that we say we take. An
#: odd number of cache lines, since with an even one the starts of all would compete for few places.
SLOT = 25 * 64


class _Vector(ctypes.Structure):
    """The struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """The struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("number", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """The struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


class _Table:
    """The messages of a batch as the kernel takes them, all with one vector.

    Attributes:
        address: For the kernel.
        lengths: For it to say how long each message is that came.
        sizes: How many bytes each vector has.
    """

    def __init__(self, area: int, names: int, name_bytes: int) -> None:
        self._messages = bytearray(BATCH * ctypes.sizeof(_Message))
        self._vectors = bytearray(BATCH * ctypes.sizeof(_Vector))
        messages = (_Message * BATCH).from_buffer(self._messages)
        vectors = (_Vector * BATCH).from_buffer(self._vectors)
        for number in range(BATCH):
            vectors[number].base = area + number * SLOT
            vectors[number].length = SLOT
            header = messages[number].header
            header.name = names + number * name_bytes
            header.name_length = name_bytes
            header.vectors = ctypes.addressof(vectors[number])
            header.number = 1
        self.address = ctypes.addressof(messages)
        first = _Message.length.offset // ctypes.sizeof(ctypes.c_uint)
        step = ctypes.sizeof(_Message) // ctypes.sizeof(ctypes.c_uint)
        self.lengths = memoryview(self._messages).cast("I")[first::step]
        # On Linux an unsigned long is as long as a size_t and a pointer.
        self.sizes = memoryview(self._vectors).cast("L")[1::2]


class Batch:
    """The datagrams that came to a UDP socket, each to be made into its response where it lies.

    Attributes:
        area: Datagram *n* starts at ``n * SLOT``.
        sizes: To be told how long each response is.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Make room for a batch.

        Args:
            sock: Of IPv4 or IPv6; must not block, and must outlive this object.
        """
        self.area = mmap.mmap(-1, BATCH * SLOT)
        self._family = sock.family
        # A struct sockaddr_in or sockaddr_in6.
        self._name_bytes = 16 if sock.family == socket.AF_INET else 28
        self._names = bytearray(BATCH * self._name_bytes)
        area = ctypes.addressof(ctypes.c_char.from_buffer(self.area))
        names = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        self._incoming = _Table(area, names, self._name_bytes)
        self._outgoing = _Table(area, names, self._name_bytes)
        self.sizes = self._outgoing.sizes
        self._file = sock.fileno()
        library = ctypes.CDLL(None)
        self._receive, self._send = library.recvmmsg, library.sendmmsg
        numbers = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
        self._receive.argtypes = (*numbers, ctypes.c_void_p)
        self._send.argtypes = numbers

    def receive(self) -> list[int]:
        """Take what has come, at most `BATCH` datagrams, and return their lengths.

        What is longer than `SLOT` is cut.
        """
        count = self._receive(self._file, self._incoming.address, BATCH, socket.MSG_DONTWAIT, None)
        return self._incoming.lengths[: max(count, 0)].tolist()

    def source(self, number: int) -> str:
        """Return the literal address, without scope, from which a datagram came."""
        start = number * self._name_bytes
        if self._family == socket.AF_INET:
            return socket.inet_ntop(self._family, self._names[start + 4 : start + 8])
        return socket.inet_ntop(self._family, self._names[start + 8 : start + 24])

    def port(self, number: int) -> int:
        """Return the port from which a datagram came."""
        start = number * self._name_bytes + 2
        return int.from_bytes(self._names[start : start + 2], "big")

    def send(self, first: int, end: int) -> int:
        """Send the responses to the datagrams from number *first* on, up to *end* exclusively.

        Returns:
            How many could not be sent. They are lost, as they may be on their way.
        """
        failed = 0
        while first < end:
            address = self._outgoing.address + first * ctypes.sizeof(_Message)
            sent = self._send(self._file, address, end - first, socket.MSG_DONTWAIT)
            if sent <= 0:
                failed += 1
                sent = 1
            first += sent
        return failed
