# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pings through the tunnel, of a size that is asked for, and never in fragments.

Private to this collection.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
import typing as t

_SO_BINDTODEVICE = 25
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
_ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
_PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
_HEADER = {socket.AF_INET: 20, socket.AF_INET6: 40}
_ICMP = struct.Struct("!BBHHH")
#: Bytes of an ordinary ping, all headers of the tunnel's inside counted.
SMALL = 84


class Pinger:
    """Sends echo requests by one interface and hears the answers; nothing here raises.

    Attributes:
        answers: By number of a ping, the seconds until its answer.
    """

    def __init__(self, interface: str) -> None:
        self.answers: dict[int, float] = {}
        self._interface = interface
        self._identity = int.from_bytes(os.urandom(2), "big")
        self._sent: dict[int, float] = {}
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._selector.close()

    def send(self, address: str, size: int = SMALL) -> tuple[int, str]:
        """Send one ping, a packet of *size* bytes; return its number, and why it was not sent.

        Args:
            address: A tunnel address.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        number = len(self._sent) + 1
        self._sent[number] = time.monotonic()
        try:
            self._socket(family).sendto(self._packet(family, number, size), (address, 0))
        except OSError as exc:
            return number, exc.strerror or str(exc)
        return number, ""

    def wait(self, seconds: float) -> None:
        """Take what comes in within *seconds*."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self._sockets:
                time.sleep(left)
                return
            for key, _events in self._selector.select(left):
                self._take(t.cast(socket.socket, key.fileobj), key.data)

    def passes(self, address: str, size: int, patience: float) -> bool:
        """Whether one of two pings of *size* bytes is answered within *patience* seconds each."""
        for _try in range(2):
            number, error = self.send(address, size)
            deadline = time.monotonic() + patience
            while not error and number not in self.answers and time.monotonic() < deadline:
                self.wait(0.02)
            if number in self.answers:
                return True
        return False

    def largest(self, address: str, low: int, high: int, patience: float) -> int:
        """Return the largest size that passes, between one that does and one that does not."""
        while high - low > 4:
            middle = (low + high) // 2
            if self.passes(address, middle, patience):
                low = middle
            else:
                high = middle
        return low

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        if family not in self._sockets:
            sock = socket.socket(family, socket.SOCK_RAW, _PROTOCOL[family])
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, self._interface.encode())
                if family == socket.AF_INET:
                    sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
                else:
                    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
                sock.setblocking(False)
            except OSError:
                sock.close()
                raise
            self._sockets[family] = sock
            self._selector.register(sock, selectors.EVENT_READ, family)
        return self._sockets[family]

    def _packet(self, family: socket.AddressFamily, number: int, size: int) -> bytes:
        payload = bytes(max(0, size - _HEADER[family] - _ICMP.size))
        request = _ECHO[family][0]
        head = _ICMP.pack(request, 0, 0, self._identity, number)
        # The kernel computes that of ICMPv6 itself (RFC 3542 section 3.1).
        checksum = _checksum(head + payload) if family == socket.AF_INET else 0
        return _ICMP.pack(request, 0, checksum, self._identity, number) + payload

    def _take(self, sock: socket.socket, family: socket.AddressFamily) -> None:
        try:
            packet = sock.recv(65535)
        except OSError:
            return
        if family == socket.AF_INET:
            packet = packet[(packet[0] & 15) * 4 :]
        if len(packet) < _ICMP.size:
            return
        kind, _code, _sum, identity, number = _ICMP.unpack_from(packet)
        if kind == _ECHO[family][1] and identity == self._identity and number in self._sent:
            self.answers.setdefault(number, time.monotonic() - self._sent[number])


def _checksum(data: bytes) -> int:
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
