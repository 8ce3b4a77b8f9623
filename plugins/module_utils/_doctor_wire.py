# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard's packets as they pass this host's network interfaces, whatever a firewall does.

A packet socket sees what comes in before netfilter does, and what goes out after it (packet(7)). So
what is seen here and not counted by WireGuard was dropped in between.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import hmac
import socket
import struct
import threading
import typing as t

from .wgsd.keys import PublicKey

_ETH_P_ALL = 3
_PACKET_HOST, _PACKET_OUTGOING = 0, 4
_SO_ATTACH_FILTER = 26
_SNAP = 256
#: Seconds after which the reader looks whether it is to end.
_PATIENCE = 0.2

#: Message types (WireGuard's protocol, section 5.4) and their lengths; data has no certain one.
_KINDS = {1: ("initiation", 148), 2: ("response", 92), 3: ("cookie", 64), 4: ("data", None)}
_DATA_MIN = 32
_MAC1 = {"initiation": slice(116, 132), "response": slice(60, 76)}
_LABEL_MAC1 = b"mac1----"


class Datagram(t.NamedTuple):
    """One UDP datagram, or the beginning of one."""

    source: str
    source_port: int
    target: str
    target_port: int
    payload: bytes
    length: int


def is_made_for(key: PublicKey | None, kind: str, payload: bytes) -> bool | None:
    """Whether a handshake message is made for the host with *key*; None if that does not show.

    Anybody who knows a public key can tell by ``mac1`` (protocol section 5.4.4), and WireGuard
    drops what is made for another one.
    """
    where = _MAC1.get(kind)
    if key is None or where is None:
        return None
    secret = hashlib.blake2s(_LABEL_MAC1 + bytes(key)).digest()
    wanted = hashlib.blake2s(payload[: where.start], key=secret, digest_size=16).digest()
    return hmac.compare_digest(wanted, payload[where])


def kind_of(payload: bytes, length: int) -> str:
    """Return what a datagram is to WireGuard; ``other`` if it is none of its messages."""
    name, size = _KINDS.get(payload[0] if payload else 0, ("", None))
    if not name or payload[1:4] != b"\0\0\0":
        return "other"
    return name if length == size or (size is None and length >= _DATA_MIN) else "other"


def parse(packet: bytes) -> Datagram | None:
    """Return the UDP datagram in an IP packet; None for anything else, and for later fragments."""
    try:
        if packet[0] >> 4 == 4:
            header = (packet[0] & 15) * 4
            (fragment,) = struct.unpack_from("!H", packet, 6)
            if packet[9] != socket.IPPROTO_UDP or fragment & 0x1FFF:
                return None
            source = socket.inet_ntop(socket.AF_INET, packet[12:16])
            target = socket.inet_ntop(socket.AF_INET, packet[16:20])
        elif packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_UDP:
            header = 40
            source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
            target = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        else:
            return None
        sport, dport, length = struct.unpack_from("!HHH", packet, header)
    except (IndexError, struct.error, ValueError):
        return None
    return Datagram(source, sport, target, dport, packet[header + 8 :], max(0, length - 8))


def port_filter(ports: t.Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Return a classic BPF program that lets UDP from or to *ports* through, over IPv4 and IPv6.

    The host may have to carry a lot of other packets, and Python is slow.
    """
    checks = [(0x15, port) for port in ports]  # jeq
    count = len(checks)

    def ports_at(load: int, source: int, target: int) -> list[tuple[int, int, int, int]]:
        # Each comparison that holds jumps to the last instruction, which accepts.
        program: list[tuple[int, int, int, int]] = []
        for offset in (source, target):
            program.append((load, 0, 0, offset))
            program += [(code, -1, 0, port) for code, port in checks]
        return program

    v4 = [
        (0x30, 0, 0, 9),  # ldb protocol
        (0x15, 0, -2, 17),
        (0x28, 0, 0, 6),  # ldh fragment offset
        (0x45, -2, 0, 0x1FFF),
        (0xB1, 0, 0, 0),  # ldx 4*([0]&15)
        *ports_at(0x48, 0, 2),
        (0x06, 0, 0, 0),
    ]
    v6 = [
        (0x30, 0, 0, 6),
        (0x15, 0, -2, 17),
        *ports_at(0x28, 40, 42),
        (0x06, 0, 0, 0),
    ]
    start = [
        (0x30, 0, 0, 0),
        (0x54, 0, 0, 0xF0),
        (0x15, 1, 0, 0x40),
        (0x15, len(v4), -2, 0x60),
    ]
    program = [*start, *v4, *v6, (0x06, 0, 0, 0), (0x06, 0, 0, _SNAP)]
    drop, accept = len(program) - 2, len(program) - 1

    def aim(at: int, jump: int) -> int:
        return {-1: accept - at - 1, -2: drop - at - 1}.get(jump, jump)

    if count > 20:
        raise ValueError("jumps of BPF are short")
    return [(code, aim(at, yes), aim(at, no), k) for at, (code, yes, no, k) in enumerate(program)]


class Wire:
    """Listens while a block runs, and groups what it has seen.

    Attributes:
        error: Why nothing was seen; empty if we could listen.
        probes: The datagrams that begin with the nonce: the name in each, where it came from, and
            the port that it came to.
    """

    def __init__(
        self, port: int, key: PublicKey | None, *, skip: str, nonce: bytes, watched: t.Sequence[int]
    ) -> None:
        """Prepare.

        Args:
            port: WireGuard's.
            key: This host's own.
            skip: The WireGuard interface: what is in the tunnel is none of WireGuard's packets.
            nonce: What NAT probes begin with; empty for none.
            watched: Other ports that NAT probes come to.
        """
        self.error = ""
        self.probes: set[tuple[str, str, int]] = set()
        self._port = port
        self._key = key
        self._skip = {skip, "lo"}
        self._nonce = nonce
        self._watched = frozenset({port, *watched})
        self._seen: dict[tuple[str, str, str, str, bool | None], list[int]] = {}
        self._socket: socket.socket | None = None
        self._bound: list[socket.socket] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Wire:
        for port in self._watched - {self._port}:
            # So that our kernel does not refuse the probes, which a NAT may take amiss.
            with contextlib.suppress(OSError):
                one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                self._bound.append(one)
                one.bind(("::", port))
        try:
            # What comes before the filter is there is sorted out later.
            protocol = socket.htons(_ETH_P_ALL)
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, protocol)
            _attach(self._socket, port_filter(sorted(self._watched)))
            self._socket.settimeout(_PATIENCE)
        except OSError as exc:
            self.error = f"network interfaces cannot be watched: {exc.strerror}"
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        for one in [*self._bound, self._socket]:
            if one is not None:
                one.close()

    def seen(self) -> list[dict[str, t.Any]]:
        """Return what was seen: a packet that passes two interfaces of this host counts once."""
        best: dict[tuple[str, str, str, bool | None], tuple[int, int]] = {}
        for (_interface, *what), (count, size) in self._seen.items():
            group = t.cast("tuple[str, str, str, bool | None]", tuple(what))
            best[group] = max(best.get(group, (0, 0)), (count, size))
        return [
            {
                "direction": direction,
                "remote": remote,
                "kind": kind,
                "ours": ours,
                "count": count,
                "bytes": size,
            }
            for (direction, remote, kind, ours), (count, size) in sorted(
                best.items(), key=lambda item: (item[0][0], item[0][1], item[0][2], str(item[0][3]))
            )
        ]

    def _read(self) -> None:
        if self._socket is None:
            return
        while not self._ended.is_set():
            try:
                packet, (interface, _protocol, way, *_rest) = self._socket.recvfrom(_SNAP)
            except socket.timeout:
                continue
            except OSError:
                # An interface went away.
                continue
            if interface not in self._skip and way in (_PACKET_HOST, _PACKET_OUTGOING):
                datagram = parse(packet)
                if datagram is not None:
                    self._take(interface, way == _PACKET_HOST, datagram)

    def _take(self, interface: str, comes_in: bool, seen: Datagram) -> None:
        if comes_in and self._nonce and seen.payload.startswith(self._nonce):
            name = seen.payload[len(self._nonce) :].decode("utf-8", "replace")
            self.probes.add((name, _endpoint(seen.source, seen.source_port), seen.target_port))
            return
        near = seen.target_port if comes_in else seen.source_port
        if near != self._port:
            return
        remote = (
            _endpoint(seen.source, seen.source_port)
            if comes_in
            else _endpoint(seen.target, seen.target_port)
        )
        kind = kind_of(seen.payload, seen.length)
        ours = is_made_for(self._key, kind, seen.payload) if comes_in else None
        count = self._seen.setdefault(
            (interface, "in" if comes_in else "out", remote, kind, ours), [0, 0]
        )
        count[0] += 1
        count[1] += seen.length


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _attach(sock: socket.socket, program: t.Sequence[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    filter_ = struct.pack("HL", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
