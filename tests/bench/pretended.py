# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A userspace device that only pretends: so many peers, all of them direct and quiet.

Run by itself: ``python3 pretended.py NAME FILE``; the file holds the description that `Mesh`-like
callers make: the first peer is the registry, the others live at their endpoints. Their counters
move as those of quiet tunnels do, and their kernels answer probes. It prints the number of reads
so far whenever it is sent a line.
"""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import selectors
import socket
import struct
import sys
import time
import typing as t

#: Seconds between two keepalives, and between two handshakes, which one end begins.
KEEPALIVE = 25.0
REKEY = 120.0
_KEEPALIVE_BYTES = 32
_HANDSHAKE_BYTES = 148
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_ICMP_UNREACHABLE, _PORT_UNREACHABLE = 3, 3
_ICMP, _UDP = 1, 17


class Peer:
    """One quiet tunnel; its traffic is a function of the time."""

    def __init__(self, key: str, endpoint: str, allowed_ip: str, phase: float) -> None:
        """Prepare it.

        Args:
            key: In hex.
            phase: From 0 to 1: when within their periods things happen.
        """
        self._head = f"public_key={key}\npreshared_key={'0' * 64}\nprotocol_version=1\n"
        self._endpoint = endpoint
        self._allowed_ip = allowed_ip
        self._phase = phase
        self._answers = 0

    def answer(self) -> None:
        """Count an answer to a probe."""
        self._answers += 1

    def text(self, now: float) -> str:
        """Return what the device says of it."""
        handshakes = int(now / REKEY + self._phase)
        keepalives = int(now / KEEPALIVE + self._phase)
        shaken = (handshakes - self._phase) * REKEY
        received = keepalives * _KEEPALIVE_BYTES + handshakes * _HANDSHAKE_BYTES
        sent = int(now / KEEPALIVE + 1 - self._phase) * _KEEPALIVE_BYTES
        received += 96 * self._answers
        return (
            f"{self._head}endpoint={self._endpoint}\n"
            f"last_handshake_time_sec={int(shaken)}\n"
            f"last_handshake_time_nsec={int(shaken % 1 * 1e9)}\n"
            f"tx_bytes={sent + 64 * self._answers}\nrx_bytes={received}\n"
            f"persistent_keepalive_interval={KEEPALIVE:.0f}\nallowed_ip={self._allowed_ip}\n"
        )


class Device:
    """The interface, its socket, and its peers."""

    def __init__(self, name: str, private_key: str, peers: t.Sequence[t.Mapping[str, str]]) -> None:
        self.reads = 0
        self._private_key = private_key
        self._peers: dict[bytes, Peer] = {}
        for number, peer in enumerate(peers):
            address = socket.inet_aton(peer["allowed_ip"].partition("/")[0])
            self._peers[address] = Peer(**peer, phase=number / len(peers))
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(
            self._tun, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI)
        )
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"/run/wireguard/{name}.sock")
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._tun, selectors.EVENT_READ, self._on_packet)
        self._selector.register(self._listener, selectors.EVENT_READ, self._on_connection)
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._on_question)

    def run(self) -> None:
        """Serve until standard input ends."""
        while True:
            for key, _events in self._selector.select():
                key.data()

    def _on_question(self) -> None:
        if not os.read(0, 4096):
            raise SystemExit
        print(self.reads, flush=True)

    def _on_connection(self) -> None:
        connection, _address = self._listener.accept()
        with connection:
            request = b""
            while not request.endswith(b"\n\n"):
                chunk = connection.recv(1 << 16)
                if not chunk:
                    return
                request += chunk
            reply = ""
            if request.startswith(b"get=1"):
                self.reads += 1
                now = time.time()
                reply = f"private_key={self._private_key}\nlisten_port=51821\n"
                reply += "".join(peer.text(now) for peer in self._peers.values())
            connection.sendall(f"{reply}errno=0\n\n".encode())

    def _on_packet(self) -> None:
        packet = os.read(self._tun, 65536)
        peer = self._peers.get(packet[16:20])
        if packet[0] != 0x45 or packet[9] != _UDP or peer is None:
            return
        peer.answer()
        icmp = struct.pack("!BBHI", _ICMP_UNREACHABLE, _PORT_UNREACHABLE, 0, 0) + packet
        icmp = icmp[:2] + _checksum(icmp) + icmp[4:]
        ip = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(icmp), 0, 64, _ICMP, 0)
        ip += packet[16:20] + packet[12:16]
        os.write(self._tun, ip[:10] + _checksum(ip) + ip[12:] + icmp)


def _checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def main() -> None:
    """Pretend."""
    name, path = sys.argv[1:]
    with pathlib.Path(path).open(encoding="utf-8") as file:
        described = json.load(file)
    Device(name, described["private_key"], described["peers"]).run()


if __name__ == "__main__":
    main()
