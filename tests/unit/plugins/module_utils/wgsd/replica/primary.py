# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A primary server on loopback whose zone a test writes, and that can be made to misbehave."""

from __future__ import annotations

import selectors
import socket
import typing as t

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.xfr

from wgsd.keys import PublicKey
from wgsd.model import Endpoint
from wgsd.names import instance_name, service_name, txt_strings

ZONE = "example.com."
Line = tuple[str, str, str]
#: Messages of an answer; the bytes of one that dnspython would not write.
Answer = list[t.Union[dns.message.Message, bytes]]


class Primary:
    """Serves AXFR over TCP and IXFR over both; works whenever the selector's owner lets it.

    Attributes:
        asked: What it was asked, such as ``IXFR udp``.
        subscriber: Where the last question over UDP came from.
        acknowledged: The responses to our NOTIFYs.
        misbehave: Gets a query and the answer that is due, and returns what to send instead.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        address: str = "127.0.0.1",
        key: dns.tsig.Key | None = None,
    ) -> None:
        self._selector = selector
        self._key = key
        self._versions: dict[int, set[Line]] = {}
        #: Of our NOTIFYs: what signs their acknowledgements depends on them.
        self._macs: dict[int, bytes] = {}
        self._udp, self._tcp = _bound_pair(address)
        self.serial = 100
        self.endpoint = Endpoint(*self._udp.getsockname())
        self.asked: list[str] = []
        self.subscriber: t.Any = None
        self.acknowledged: list[dns.message.Message] = []
        self.misbehave: t.Callable[[dns.message.Message, Answer], Answer] = lambda _query, due: due
        self.fits_a_datagram = True
        self._open()

    def _open(self) -> None:
        self._selector.register(self._udp, selectors.EVENT_READ, self._on_udp)
        self._selector.register(self._tcp, selectors.EVENT_READ, self._on_tcp)

    def publish(self, peers: dict[PublicKey, int | None], serial: int | None = None) -> None:
        """Make the next version, of peers with these ports; a serial given starts all over."""
        if serial is not None:
            self._versions.clear()
        self.serial = self.serial + 1 if serial is None else serial
        self._versions[self.serial] = {
            line for key, port in peers.items() for line in lines_of(key, port)
        }

    def notify(self, serial: int | None = None, sock: socket.socket | None = None) -> int:
        """Tell the subscriber of a version, from any socket; return the message's id."""
        message = dns.message.make_query(ZONE, "SOA")
        message.flags = dns.flags.AA
        message.set_opcode(dns.opcode.NOTIFY)
        message.answer.append(self._soa(self.serial if serial is None else serial))
        if self._key:
            message.use_tsig(self._key)
        (sock or self._udp).sendto(message.to_wire(), self.subscriber)
        self._macs[message.id] = message.mac or b""
        return message.id

    def send(self, wire: bytes, sock: socket.socket | None = None) -> None:
        """Send the subscriber anything."""
        (sock or self._udp).sendto(wire, self.subscriber)

    def close(self) -> None:
        """Vanish."""
        for sock in (self._udp, self._tcp):
            self._selector.unregister(sock)
            sock.close()

    def reopen(self) -> None:
        """Come back at the same address and port."""
        address, port = self.endpoint.address, self.endpoint.port
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, port))
        self._tcp = socket.create_server((address, port))
        self._open()

    def _soa(self, serial: int) -> dns.rrset.RRset:
        return dns.rrset.from_text(
            ZONE, 300, "IN", "SOA", f"ns1.{ZONE} hostmaster.{ZONE} {serial} 60 60 600 5"
        )

    def _whole(self) -> list[dns.rrset.RRset]:
        return [
            self._soa(self.serial),
            *map(_rrset, sorted(self._versions[self.serial])),
            self._soa(self.serial),
        ]

    def _answer(self, query: dns.message.Message, over_udp: bool) -> Answer:
        rdtype = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append(f"{rdtype} {'udp' if over_udp else 'tcp'}")
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        since = dns.xfr.extract_serial_from_query(query)
        # One record after another: the order of a difference is what it says.
        response.answer = self._whole() if since is None else self._difference(since, over_udp)
        return self.misbehave(query, [response])

    def _difference(self, since: int, over_udp: bool) -> list[dns.rrset.RRset]:
        if since == self.serial or (over_udp and not self.fits_a_datagram):
            return [self._soa(self.serial)]
        if since not in self._versions:
            return self._whole() if not over_udp else [self._soa(self.serial)]
        before, after = self._versions[since], self._versions[self.serial]
        return [
            self._soa(self.serial),
            self._soa(since),
            *map(_rrset, sorted(before - after)),
            self._soa(self.serial),
            *map(_rrset, sorted(after - before)),
            self._soa(self.serial),
        ]

    def _on_udp(self) -> None:
        wire, source = self._udp.recvfrom(65535)
        mac = self._macs.get(int.from_bytes(wire[:2], "big"), b"")
        message = dns.message.from_wire(wire, keyring=self._key, request_mac=mac)
        if message.flags & dns.flags.QR:
            self.acknowledged.append(message)
            return
        self.subscriber = source
        for answer in self._answer(message, True):
            self._udp.sendto(rendered(answer), source)

    def _on_tcp(self) -> None:
        connection, _client = self._tcp.accept()
        # What asks may be in the same thread, and has not sent its query yet.
        self._selector.register(
            connection, selectors.EVENT_READ, lambda: self._on_connection(connection)
        )

    def _on_connection(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        with connection, connection.makefile("rb") as stream:
            wire = stream.read(int.from_bytes(stream.read(2), "big"))
            if not wire:
                return
            query = dns.message.from_wire(wire, keyring=self._key)
            context = None
            for answer in self._answer(query, False):
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                    continue
                data = answer.to_wire(multi=True, tsig_ctx=context, max_size=65535)
                context = answer.tsig_ctx
                connection.sendall(len(data).to_bytes(2, "big") + data)


def rendered(answer: dns.message.Message | bytes) -> bytes:
    """A message as it goes out."""
    return answer if isinstance(answer, bytes) else answer.to_wire(max_size=65535)


def split(message: dns.message.Message) -> Answer:
    """The same answer in two messages."""
    first, second = message, dns.message.Message(id=message.id)
    second.flags = message.flags
    half = len(message.answer) // 2
    second.answer, first.answer = first.answer[half:], first.answer[:half]
    if message.had_tsig:
        second.use_tsig(message.keyring, message.keyname, algorithm=message.keyalgorithm)
        second.request_mac = message.request_mac
    return [first, second]


def lines_of(key: PublicKey, port: int | None) -> list[Line]:
    """The records of a peer; without a port, of a member that has no endpoint."""
    name = instance_name(key, ZONE)
    strings = " ".join(f'"{s}"' for s in txt_strings(key, ["10.0.0.2/32"], "bob"))
    if port is None:
        return [(name, "TXT", strings)]
    return [
        (service_name(ZONE), "PTR", name),
        (name, "SRV", f"0 0 {port} {name}"),
        (name, "A", "192.0.2.20"),
        (name, "TXT", strings),
    ]


def _rrset(line: Line) -> dns.rrset.RRset:
    owner, rdtype, rdata = line
    return dns.rrset.from_text(owner, 10, "IN", rdtype, rdata)


def _bound_pair(address: str) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP on one port; the one that the kernel picks for UDP may be taken for TCP."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()
