# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Netlink in raw messages: conversations with a generic family, dumps of rtnetlink.

pyroute2 takes some 5 s to decode a device with 10,000 peers, and 13 MB of memory to be there.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import typing as t

#: Seconds that the kernel has for one datagram; it answers at once.
TIMEOUT = 10.0

_NETLINK_ROUTE = 0
_NETLINK_GENERIC = 16
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLM_F_DUMP_INTR = 0x10
_NLM_F_DUMP = 0x300
_NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF
_GENL_VERSION = 1
#: The family that knows the numbers of the others (linux/genetlink.h).
_CONTROL = 16
_CONTROL_GET_FAMILY = 3
_FAMILY_ID = 1
_FAMILY_NAME = 2
#: Twice what the kernel puts into one datagram of a dump.
_RECEIVE_BYTES = 1 << 16

_HEADER = struct.Struct("=IHHII")
_GENL_HEADER = struct.Struct("=BBxx")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_U16 = struct.Struct("=H")


class DumpInterrupted(Exception):  # noqa: N818 - netlink's own word (NLM_F_DUMP_INTR), no fault
    """The dumped object changed while it was being read: what was read may not fit together."""


class Message(t.NamedTuple):
    """One netlink message without its header."""

    type: int
    flags: int
    sequence: int
    body: bytes


class GenericSocket:
    """A socket bound to one family of generic netlink.

    Raises:
        OSError: with the kernel's error number; ENOENT if the kernel does not have the family.
    """

    def __init__(self, family: str) -> None:
        self._type = _CONTROL
        self._socket = _open()
        self._sequence = itertools.count(1)
        try:
            self._socket.settimeout(TIMEOUT)
            # Error messages shall not repeat the request, which may hold keys.
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            self._type = self._number_of(family)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, command: int, attributes: bytes) -> None:
        """Send one command and wait for the kernel to acknowledge it.

        Raises:
            OSError: the kernel refuses.
            ValueError: the answer is not netlink.
        """
        sequence = self._send(command, _NLM_F_ACK, attributes)
        while True:
            for message in self._receive(sequence):
                if message.type == _NLMSG_ERROR:
                    _raise_error(message)
                    return

    def dump(self, command: int, attributes: bytes) -> t.Iterator[bytes]:
        """Send one command and yield the attributes of each message of the answer.

        Leave the socket alone once the iterator is given up before its end.

        Raises:
            DumpInterrupted: start again.
            OSError: the kernel refuses.
            ValueError: the answer is not netlink.
        """
        sequence = self._send(command, _NLM_F_DUMP, attributes)
        for message in _dumped(lambda: self._receive(sequence)):
            if message.type == self._type:
                yield message.body[_GENL_HEADER.size :]

    def _number_of(self, family: str) -> int:
        name = attribute(_FAMILY_NAME, family.encode() + b"\0")
        sequence = self._send(_CONTROL_GET_FAMILY, 0, name)
        for message in self._receive(sequence):
            if message.type == _NLMSG_ERROR:
                _raise_error(message)
            for kind, value in attributes(message.body[_GENL_HEADER.size :]):
                if kind == _FAMILY_ID:
                    return int(_U16.unpack(value)[0])
        raise ValueError(f"the number of the family {family} is missing")

    def _send(self, command: int, flags: int, attributes: bytes) -> int:
        sequence = next(self._sequence)
        body = _GENL_HEADER.pack(command, _GENL_VERSION) + attributes
        header = _HEADER.pack(
            _HEADER.size + len(body), self._type, _NLM_F_REQUEST | flags, sequence, 0
        )
        self._socket.sendto(header + body, (0, 0))
        return sequence

    def _receive(self, sequence: int) -> t.Iterator[Message]:
        datagram = self._socket.recv(_RECEIVE_BYTES)
        return (message for message in messages(datagram) if message.sequence == sequence)


def dump_route(command: int, request: bytes) -> t.Iterator[bytes]:
    """Ask rtnetlink for all objects of a sort and yield the body of each message of the answer.

    Raises:
        DumpInterrupted: start again.
        OSError: the kernel refuses.
        ValueError: the answer is not netlink.
    """
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    with _open(_NETLINK_ROUTE) as sock:
        sock.settimeout(TIMEOUT)
        header = _HEADER.pack(_HEADER.size + len(request), command, flags, 1, 0)
        sock.sendto(header + request, (0, 0))
        for message in _dumped(lambda: messages(sock.recv(_RECEIVE_BYTES))):
            yield message.body


def _open(protocol: int = _NETLINK_GENERIC) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    sock.bind((0, 0))
    return sock


def _dumped(receive: t.Callable[[], t.Iterable[Message]]) -> t.Iterator[Message]:
    """Yield the messages of a dump up to its end."""
    while True:
        for message in receive():
            if message.flags & _NLM_F_DUMP_INTR:
                raise DumpInterrupted
            if message.type in (_NLMSG_ERROR, _NLMSG_DONE):
                _raise_error(message)
                return
            yield message


def _raise_error(message: Message) -> None:
    (code,) = _ERROR.unpack_from(message.body)
    if code:
        raise OSError(-code, os.strerror(-code))


def messages(datagram: bytes) -> t.Iterator[Message]:
    """Split a datagram into netlink messages.

    Raises:
        ValueError: it is cut off or not netlink.
    """
    offset = 0
    while offset < len(datagram):
        try:
            length, kind, flags, sequence, _port = _HEADER.unpack_from(datagram, offset)
        except struct.error:
            raise ValueError("a netlink header is cut off") from None
        if length < _HEADER.size or offset + length > len(datagram):
            raise ValueError(f"a netlink message of {length} bytes is cut off")
        yield Message(kind, flags, sequence, datagram[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def attributes(data: bytes) -> t.Iterator[tuple[int, bytes]]:
    """Split *data* into attributes: their types, without flags, and their values.

    Raises:
        ValueError: an attribute is cut off.
    """
    offset, end = 0, len(data)
    while offset < end:
        try:
            length, kind = _ATTRIBUTE.unpack_from(data, offset)
        except struct.error:
            raise ValueError("a netlink attribute is cut off") from None
        if length < _ATTRIBUTE.size or offset + length > end:
            raise ValueError(f"a netlink attribute of {length} bytes is cut off")
        yield kind & _NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Make one attribute, padded to 4 bytes."""
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def nest(kind: int, parts: t.Iterable[bytes]) -> bytes:
    """Make one attribute of other attributes."""
    return attribute(kind | _NLA_F_NESTED, b"".join(parts))
