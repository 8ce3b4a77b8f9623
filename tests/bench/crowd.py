# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A crowd that follows a zone, each from an address of its own, and the moments at which it hears.

Run by itself: ``python3 -m tests.bench.crowd SERVER NETWORK COUNT``. Everyone asks by IXFR over UDP
(RFC 1995), acknowledges a NOTIFY (RFC 1996) and asks again, as a client does. A line on standard
output says that all have the first version; then there is one of JSON for each version that the
last of them has got: its serial, when each was first notified of it and when each had it, in
nanoseconds since the epoch, and the number of NOTIFYs that came in all.
"""

from __future__ import annotations

import ipaddress
import json
import selectors
import socket
import struct
import sys
import time

from . import wire

_NOTIFY = 4
_OPCODE = 0x7800
_RESPONSE = 0x8000
_HEADER = struct.Struct("!HHHHHH")
#: Seconds between two who ask for the first time: they are not to be a flood.
_PACE = 0.002
_PATIENCE = 1.0


class Member:
    """One follower, and what it has heard of the newest version."""

    def __init__(self, server: str, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((address, 0))
        self._server = (server, 53)
        self._question = wire.query(wire.ZONE, wire.IXFR)
        self.serial = 0
        self.asked = 0.0
        self.notices = 0
        self.notified_at = self.had_at = 0

    def ask(self) -> None:
        """Ask for what is new."""
        self.asked = time.monotonic()
        self.socket.sendto(b"\0\1" + wire.ixfr(self.serial), self._server)

    def take(self) -> None:
        """Take the datagrams that wait."""
        while True:
            try:
                data, source = self.socket.recvfrom(65535)
            except BlockingIOError:
                return
            flags = _HEADER.unpack_from(data)[1]
            if flags & _RESPONSE:
                self._take_version(data)
                continue
            if flags & _OPCODE == _NOTIFY << 11:
                self.notices += 1
                self.notified_at = self.notified_at or time.time_ns()
                reply = _HEADER.pack(*_HEADER.unpack_from(data)[:1], flags | _RESPONSE, 1, 0, 0, 0)
                question = data[12 : 12 + len(self._question) - 10]
                self.socket.sendto(reply + question, source)
                self.ask()

    def _take_version(self, data: bytes) -> None:
        serial = int.from_bytes(wire.soa_numbers(data, self._question)[:4], "big")
        if serial != self.serial:
            # Who has no version yet gets none over UDP either, only its serial: as good, here.
            self.serial, self.had_at = serial, time.time_ns()


def main() -> None:
    """Follow until it is killed."""
    server, network, count = sys.argv[1], ipaddress.ip_network(sys.argv[2]), int(sys.argv[3])
    members = [Member(server, str(network[1 + index])) for index in range(count)]
    selector = selectors.DefaultSelector()
    for member in members:
        selector.register(member.socket, selectors.EVENT_READ, member)
        member.ask()
        time.sleep(_PACE)
    told = 0
    while True:
        for key, _mask in selector.select(_PATIENCE / 2):
            key.data.take()
        newest = max(member.serial for member in members)
        behind = [member for member in members if member.serial != newest]
        if not told:
            # A datagram may have been lost. Later it is for the notifier to try again.
            for member in behind:
                if member.asked < time.monotonic() - _PATIENCE:
                    member.ask()
        if behind or newest == told:
            continue
        told = newest
        print(
            json.dumps(
                {
                    "serial": newest,
                    "notified": [member.notified_at for member in members],
                    "had": [member.had_at for member in members],
                    "notices": sum(member.notices for member in members),
                }
            ),
            flush=True,
        )
        for member in members:
            member.notified_at = member.notices = 0


if __name__ == "__main__":
    main()
