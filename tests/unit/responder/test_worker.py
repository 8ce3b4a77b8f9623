# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker on real sockets: UDP, and TCP with clients good and bad (RFC 7766)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import typing as t

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.unit.responder.test_sockets import free_port
from tests.unit.zone.asking import ALICE, SERVICE, ZONE, content, many
from wgsd.config import ZoneSettings
from wgsd.model import Endpoint
from wgsd.responder import frames
from wgsd.responder import worker as module
from wgsd.responder.sockets import Listener, listen
from wgsd.zone.version import Content, Version

pytestmark = pytest.mark.unit

ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
LOOPBACK = ("127.0.0.0/8",)


class Bed:
    """A worker in a thread, listening on loopback."""

    def __init__(self, listener: Listener) -> None:
        self.port = listener.endpoint.port
        self.control, theirs = socket.socketpair()
        self.control.settimeout(5)
        zones = [ZoneSettings(ZONE, "wg0", allow_query=LOOPBACK)]
        self._theirs = theirs
        self._worker = module.Worker(theirs, [listener], zones)
        self._thread = threading.Thread(target=self._worker.run)
        self._thread.start()
        assert self.control.recv(1) == b"."

    def hand(self, one: Content | None, serial: int = 1) -> None:
        """Hand over a version and wait until it is served."""
        self.control.sendall(frames.frame(Version(ZONE, serial, one).encode()))
        assert self.control.recv(1) == b"."

    def udp(self, name: str = ALICE_NAME, rdtype: str = "SRV") -> dns.message.Message:
        query = dns.message.make_query(name, rdtype)
        return dns.query.udp(query, "127.0.0.1", port=self.port, timeout=5)

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        client.settimeout(5)
        return client

    def stop(self) -> None:
        """End the worker as its supervisor does."""
        self.control.close()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._theirs.close()


@pytest.fixture
def bed() -> t.Iterator[Bed]:
    listener = listen(Endpoint("127.0.0.1", free_port()))
    one = Bed(listener)
    try:
        yield one
    finally:
        one.stop()
        listener.close()


def framed(rdtype: str = "SRV", name: str = ALICE_NAME, ident: int = 1) -> bytes:
    """A query as TCP carries it."""
    query = dns.message.make_query(name, rdtype, id=ident).to_wire()
    return struct.pack("!H", len(query)) + query


def receive(client: socket.socket) -> dns.message.Message:
    """The next response of a TCP connection."""
    stream = client.makefile("rb")
    length = struct.unpack("!H", stream.read(2))[0]
    return dns.message.from_wire(stream.read(length))


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection within the patience of the socket."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_fails_queries_until_a_version_has_come_and_after_one_was_withdrawn(bed: Bed) -> None:
    assert bed.udp().rcode() == dns.rcode.SERVFAIL
    bed.hand(content(ALICE))
    assert bed.udp().answer
    bed.hand(None)
    assert bed.udp().rcode() == dns.rcode.SERVFAIL


def test_it_serves_the_newest_version(bed: Bed) -> None:
    for serial in (1, 2, 3):
        bed.hand(content(*many(serial)), serial)
        assert bed.udp(ZONE, "SOA").answer[0][0].serial == serial


def test_garbage_over_udp_does_not_stop_it(bed: Bed) -> None:
    bed.hand(content(ALICE))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for length in range(40):
            client.sendto(b"\x12\x34" + b"\x01" * length, ("127.0.0.1", bed.port))
        client.sendto(b"", ("127.0.0.1", bed.port))
    assert bed.udp().answer


def test_queries_sent_in_a_row_are_answered_in_that_order(bed: Bed) -> None:
    bed.hand(content(ALICE))
    with bed.connect() as client:
        client.sendall(b"".join(framed(ident=ident) for ident in range(200)))
        stream = client.makefile("rb")
        for ident in range(200):
            (length,) = struct.unpack("!H", stream.read(2))
            assert dns.message.from_wire(stream.read(length)).id == ident


def test_a_query_that_comes_byte_by_byte_is_answered(bed: Bed) -> None:
    bed.hand(content(ALICE))
    with bed.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in framed():
            client.sendall(bytes([byte]))
        assert receive(client).answer


def test_a_client_that_says_no_more_still_gets_its_answers(bed: Bed) -> None:
    bed.hand(content(*many(900)))
    with bed.connect() as client:
        client.sendall(framed("PTR", SERVICE) * 20)
        client.shutdown(socket.SHUT_WR)
        received = client.makefile("rb").read()
    assert len(received) > 20 * 60_000


def test_a_client_that_does_not_read_holds_up_nobody(bed: Bed) -> None:
    bed.hand(content(ALICE, *many(900)))
    with bed.connect() as lazy, bed.connect() as other:
        lazy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lazy.send(framed("PTR", SERVICE) * 10_000)
        other.sendall(framed())
        assert receive(other).answer
        assert bed.udp().answer


def test_a_client_that_reads_late_gets_all_it_asked_for(bed: Bed) -> None:
    bed.hand(content(*many(900)))
    with bed.connect() as client:
        client.sendall(framed("PTR", SERVICE) * 100)
        time.sleep(0.3)
        stream = client.makefile("rb")
        for _time in range(100):
            (length,) = struct.unpack("!H", stream.read(2))
            assert len(stream.read(length)) == length > 60_000


@pytest.mark.parametrize("sent", [b"", b"\x00", b"\x00\x40half a query"])
def test_a_connection_without_a_whole_query_is_closed_in_time(
    bed: Bed, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.2)
    with bed.connect() as client:
        client.sendall(sent)
        start = time.monotonic()
        assert is_closed(client)
        assert 0.1 < time.monotonic() - start < 2


def test_dripping_bytes_do_not_keep_a_connection_open(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.3)
    with bed.connect() as client:
        client.settimeout(0.05)
        for _time in range(100):
            client.sendall(b"\x01")
            with contextlib.suppress(socket.timeout):
                assert is_closed(client)
                return
    pytest.fail("the connection stayed open for 5 s")


def test_one_connection_too_many_closes_the_one_idle_longest(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 3)
    bed.hand(content(ALICE))
    clients = [bed.connect() for _time in range(3)]
    for client in (clients[0], clients[2]):
        client.sendall(framed())
        assert receive(client).answer
    clients.append(bed.connect())
    assert is_closed(clients[1])
    for client in (clients[0], clients[2], clients[3]):
        client.sendall(framed())
        assert receive(client).answer
    for client in clients:
        client.close()


def test_a_query_that_finds_a_defect_is_told_once_and_stops_nothing(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bed.hand(content(ALICE))

    def broken(*_: object) -> bytes:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch, bed.connect() as client:
        patch.setattr(module, "respond", broken)
        client.sendall(framed() * 5)
        deadline = time.monotonic() + 5
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    assert bed.udp().answer
    assert len(caplog.records) == 1
