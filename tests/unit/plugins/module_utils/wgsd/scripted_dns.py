# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A DNS server on loopback that answers as a test tells it to, UDP and TCP on one port."""

from __future__ import annotations

import selectors
import socket
import threading
import typing as t

import dns.message
import dns.rrset

from wgsd.model import Endpoint

#: Gets the query; returns the bytes to answer with, or None for silence.
Script = t.Callable[[dns.message.Message, bool], t.Optional[bytes]]


class ScriptedServer:
    """Use as a context manager; `endpoint` is where it listens, `asked` what it was asked."""

    def __init__(self, script: Script, keyring: t.Any = None) -> None:
        self._script = script
        self._keyring = keyring
        self._udp, self._tcp = _bound_pair()
        self.endpoint = Endpoint("127.0.0.1", self._udp.getsockname()[1])
        self._stop_r, self._stop_w = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self.asked: list[str] = []

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop_w.send(b"x")
        self._thread.join()
        for sock in (self._udp, self._tcp, self._stop_r, self._stop_w):
            sock.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._udp, self._tcp, self._stop_r):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _events in selector.select()]
                if self._stop_r in ready:
                    return
                if self._udp in ready:
                    wire, client = self._udp.recvfrom(65535)
                    answer = self._answer(wire, False)
                    if answer is not None:
                        self._udp.sendto(answer, client)
                if self._tcp in ready:
                    self._serve_tcp()

    def _serve_tcp(self) -> None:
        connection, _client = self._tcp.accept()
        with connection, connection.makefile("rb") as stream:
            wire = stream.read(int.from_bytes(stream.read(2), "big"))
            answer = self._answer(wire, True)
            if answer is not None:
                connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, wire: bytes, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire, keyring=self._keyring)
        self.asked.append(query.question[0].to_text())
        return self._script(query, tcp)


def _bound_pair() -> tuple[socket.socket, socket.socket]:
    """UDP and TCP on one port; the one that the kernel picks for UDP may be taken for TCP."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()


def respond(
    query: dns.message.Message,
    answer: t.Sequence[tuple[str, str, str]] = (),
    additional: t.Sequence[tuple[str, str, str]] = (),
    rcode: int = 0,
    flags: int = 0,
    max_size: int = 0,
) -> bytes:
    """Render a response; records are (owner, type, rdata).

    It has *max_size* bytes at most; without it, as many as the query allows.
    """
    response = dns.message.make_response(query)
    response.flags |= flags
    response.set_rcode(rcode)
    for section, records in ((response.answer, answer), (response.additional, additional)):
        for owner, rdtype, rdata in records:
            section.append(dns.rrset.from_text(owner, 30, "IN", rdtype, rdata))
    return response.to_wire(max_size=max_size)
