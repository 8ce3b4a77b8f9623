# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker on real sockets: UDP, and TCP with clients good and bad (RFC 7766)."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
import time
import typing as t

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.unit.responder.test_sockets import free_port
from tests.unit.zone.asking import ALICE, BOB, REGISTRY, SERVICE, ZONE, content, key, many
from wgsd.config import Access, ResponderSettings, ZoneSettings
from wgsd.model import Endpoint
from wgsd.responder import frames, stats
from wgsd.responder import streams as streams_module
from wgsd.responder import worker as module
from wgsd.responder.sockets import Listener, listen
from wgsd.zone.answers import Authority
from wgsd.zone.version import Content, Delta, Instance, Version

pytestmark = pytest.mark.unit

ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
LOOPBACK = "127.0.0.1"


def settings(guarded: bool, rate_limit: int = 0) -> ResponderSettings:
    """Those of a zone whose tunnel addresses are those of loopback."""
    access = Access(networks=("127.0.0.0/8",)) if guarded else None
    zone = ZoneSettings(ZONE, "wgsd-none", allow_query=access)
    return ResponderSettings((zone,), rate_limit=rate_limit)


class Bed:
    """A worker in a thread, listening on loopback."""

    def __init__(self, listener: Listener, configured: ResponderSettings) -> None:
        self.port = listener.endpoint.port
        self.board = stats.Board.create([ZONE], 1)
        self.control, theirs = socket.socketpair()
        self.control.settimeout(5)
        self._version = Version(ZONE, 0)
        self._theirs = theirs
        recorder = self.board.worker(0)
        worker = module.Worker(theirs, [listener], configured, [self._version], recorder, bytes(16))
        self._thread = threading.Thread(target=worker.run)
        self._thread.start()
        assert self.control.recv(1) == b"."

    def hand(self, *instances: Instance, known: bool = True) -> None:
        """Hand over what leads to these instances and wait until they are served."""
        one = content(*instances, addresses=[LOOPBACK]) if known else None
        delta = self._version.delta_to(self._version.serial + 1, one)
        assert delta is not None
        self._version = self._version.after(delta)
        self.control.sendall(frames.frame(delta.encode()))
        assert self.control.recv(1) == b"."

    def udp(self, name: str = ALICE_NAME, rdtype: str = "SRV") -> dns.message.Message:
        query = dns.message.make_query(name, rdtype)
        return dns.query.udp(query, LOOPBACK, port=self.port, timeout=5)

    def connect(self) -> socket.socket:
        client = socket.create_connection((LOOPBACK, self.port), timeout=5)
        client.settimeout(5)
        return client

    def counted(self, slot: int, at_least: int) -> int:
        """The figure once it is published, and is that high or does not get there in time."""
        deadline = time.monotonic() + 2
        while self.board.totals()[slot] < at_least and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.board.totals()[slot]

    def stop(self) -> None:
        """End the worker as its supervisor does."""
        self.control.close()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._theirs.close()


@contextlib.contextmanager
def serving(guarded: bool, rate_limit: int = 0) -> t.Iterator[Bed]:
    """A worker on a listener of that kind."""
    listener = dataclasses.replace(listen(Endpoint(LOOPBACK, free_port())), guarded=guarded)
    one = Bed(listener, settings(guarded, rate_limit))
    try:
        yield one
    finally:
        one.stop()
        listener.close()


@pytest.fixture(params=[False, True], ids=["tunnel", "guarded"])
def bed(request: pytest.FixtureRequest) -> t.Iterator[Bed]:
    with serving(request.param) as one:
        yield one


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
    bed.hand(ALICE)
    assert bed.udp().answer
    bed.hand(known=False)
    assert bed.udp().rcode() == dns.rcode.SERVFAIL


def test_it_serves_the_newest_version(bed: Bed) -> None:
    for serial in (1, 2, 3):
        bed.hand(*many(serial))
        assert bed.udp(ZONE, "SOA").answer[0][0].serial == serial


def test_garbage_over_udp_does_not_stop_it(bed: Bed) -> None:
    bed.hand(ALICE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for length in range(40):
            client.sendto(b"\x12\x34" + b"\x01" * length, ("127.0.0.1", bed.port))
        client.sendto(b"", ("127.0.0.1", bed.port))
    assert bed.udp().answer


def test_queries_sent_in_a_row_are_answered_in_that_order(bed: Bed) -> None:
    bed.hand(ALICE)
    with bed.connect() as client:
        client.sendall(b"".join(framed(ident=ident) for ident in range(200)))
        stream = client.makefile("rb")
        for ident in range(200):
            (length,) = struct.unpack("!H", stream.read(2))
            assert dns.message.from_wire(stream.read(length)).id == ident


def test_a_query_that_comes_byte_by_byte_is_answered(bed: Bed) -> None:
    bed.hand(ALICE)
    with bed.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in framed():
            client.sendall(bytes([byte]))
        assert receive(client).answer


def test_a_client_that_says_no_more_still_gets_its_answers(bed: Bed) -> None:
    bed.hand(*many(900))
    with bed.connect() as client:
        client.sendall(framed("PTR", SERVICE) * 20)
        client.shutdown(socket.SHUT_WR)
        received = client.makefile("rb").read()
    assert len(received) > 20 * 60_000


def test_a_client_that_does_not_read_holds_up_nobody(bed: Bed) -> None:
    bed.hand(ALICE, *many(900))
    with bed.connect() as lazy, bed.connect() as other:
        lazy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lazy.send(framed("PTR", SERVICE) * 10_000)
        other.sendall(framed())
        assert receive(other).answer
        assert bed.udp().answer


def test_a_client_that_reads_late_gets_all_it_asked_for(bed: Bed) -> None:
    bed.hand(*many(900))
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
    monkeypatch.setattr(streams_module, "IDLE", 0.2)
    with bed.connect() as client:
        client.sendall(sent)
        start = time.monotonic()
        assert is_closed(client)
        assert 0.1 < time.monotonic() - start < 2


def test_dripping_bytes_do_not_keep_a_connection_open(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "IDLE", 0.3)
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
    monkeypatch.setattr(streams_module, "CONNECTIONS", 3)
    bed.hand(ALICE)
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
    bed.hand(ALICE)

    def broken(*_: object) -> bytes:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch, bed.connect() as client:
        patch.setattr(Authority, "respond", broken)
        client.sendall(framed() * 5)
        deadline = time.monotonic() + 5
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    assert bed.udp().answer
    assert len(caplog.records) == 1
