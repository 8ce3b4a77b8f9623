# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone transfers as fast as they come: the bytes, without a look at what is in them."""

from __future__ import annotations

import socket
import struct

from tests.lab.errors import LabError

from . import wire
from .background import Background
from .process import DNS_PORT
from .registry import Device, Registry

#: Of all queries here: there is one at a time.
ID = b"\0\1"
_LENGTH = struct.Struct("!H")


class Transferring(Background):
    """Transfers the whole zone, one time after the other."""

    def __init__(self, registry: Registry, device: Device, timers: bytes) -> None:
        super().__init__(100)
        self._registry = registry
        self._device = device
        self._timers = timers

    def step(self) -> None:
        """Transfer it."""
        axfr(self._registry, self._device, self._timers)


def axfr(registry: Registry, device: Device, timers: bytes, port: int = DNS_PORT) -> bytes:
    """Return the bytes of a whole transfer; it ends with the SOA record that it began with."""
    with registry.host.network():
        sock = socket.socket()
    asked = ID + wire.query(wire.ZONE, wire.AXFR)
    received = bytearray()
    with sock:
        sock.settimeout(60)
        sock.connect((device.address, port))
        sock.sendall(_LENGTH.pack(len(asked)) + asked)
        # The first message has the record at its beginning, and there is more than one.
        while not received.endswith(timers):
            chunk = sock.recv(1 << 20)
            if not chunk:
                raise LabError(f"a transfer ended after {len(received)} bytes")
            received += chunk
    return bytes(received)


def serial_of(sock: socket.socket) -> int:
    """Ask for the zone's serial."""
    return int.from_bytes(timers_of(sock)[:4], "big")


def timers_of(sock: socket.socket) -> bytes:
    """Ask for the SOA record and return its end: serial, refresh, retry, expire and minimum."""
    question = wire.query(wire.ZONE, wire.SOA)
    sock.send(ID + question)
    return wire.soa_numbers(sock.recv(65535), question)
