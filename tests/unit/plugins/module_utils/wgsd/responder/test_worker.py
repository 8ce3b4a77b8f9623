# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker on real sockets: UDP, and TCP with clients good and bad (RFC 7766)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import socket
import struct
import threading
import time
import typing as t

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.responder.test_sockets import free_port
from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    REGISTRY,
    SERVICE,
    ZONE,
    content,
    key,
    many,
)
from tests.unit.plugins.module_utils.wgsd.zone.test_properties import beside, ordinary_queries
from wgsd.config import Access, ResponderSettings, TsigKey, ZoneSettings
from wgsd.model import Endpoint
from wgsd.responder import frames, stats
from wgsd.responder import streams as streams_module
from wgsd.responder import worker as module
from wgsd.responder.sockets import Listener, listen
from wgsd.zone.answers import Authority
from wgsd.zone.records import build
from wgsd.zone.served import Context
from wgsd.zone.version import Chain, Instance, Version

pytestmark = pytest.mark.unit

ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
BOB_NAME = f"{BOB.public_key.label}.{SERVICE}"
LOOPBACK = "127.0.0.1"


def settings(guarded: bool, rate_limit: int = 0) -> ResponderSettings:
    """Those of a zone whose tunnel addresses are those of loopback."""
    access = Access(networks=("127.0.0.0/16",)) if guarded else None
    zone = ZoneSettings(ZONE, "wgsd-none", allow_query=access)
    return ResponderSettings((zone,), rate_limit=rate_limit)


class Bed:
    """A worker in a thread, listening on loopback."""

    def __init__(self, listener: Listener, configured: ResponderSettings) -> None:
        self.listener = listener
        self.port = listener.endpoint.port
        self.board = stats.Board.create([ZONE], 1)
        self.control, theirs = socket.socketpair()
        self.control.settimeout(5)
        self._version = Version(ZONE, 0)
        self._theirs = theirs
        self.followers, self._tell = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        recorder = self.board.worker(0)
        worker = module.Worker(
            theirs, [listener], configured, [Chain(self._version)], recorder, bytes(16), self._tell
        )
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
        for end in (self._theirs, self.followers, self._tell):
            end.close()


@contextlib.contextmanager
def serving(guarded: bool, rate_limit: int = 0, keys: t.Sequence[TsigKey] = ()) -> t.Iterator[Bed]:
    """A worker on a listener of that kind."""
    listener = dataclasses.replace(listen(Endpoint(LOOPBACK, free_port())), guarded=guarded)
    configured = settings(guarded, rate_limit)
    one = Bed(listener, dataclasses.replace(configured, keys={key.name: key for key in keys}))
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


def with_edns_version(version: int) -> bytes:
    """A query of somebody from the future."""
    query = dns.message.make_query(ALICE_NAME, "SRV")
    query.use_edns(version)
    return query.to_wire()


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


def test_a_second_query_of_a_kind_is_answered_by_the_fast_path_and_alike(bed: Bed) -> None:
    bed.hand(ALICE, BOB, REGISTRY)
    nobody = f"{key('nobody').label}.{SERVICE}"
    asked = [(ALICE_NAME, "SRV"), (nobody, "TXT"), (BOB_NAME, "A"), (ALICE_NAME.upper(), "SRV")]
    first = [bed.udp(name, rdtype) for name, rdtype in asked]
    again = [bed.udp(name, rdtype) for name, rdtype in asked]
    for one, other in zip(first, again):
        other.id = one.id
        assert one.to_wire() == other.to_wire()
    assert bed.counted(stats.slot(33, 0, fast=True), 3) == 3
    assert bed.counted(stats.slot(33, 0, fast=False), 1) == 1
    assert bed.counted(stats.slot(16, 3, fast=True), 1) == 1
    assert bed.counted(stats.slot(16, 3, fast=False), 1) == 1
    assert bed.counted(stats.slot(1, 0, fast=True), 1) == 1


@hypothesis.given(queries=st.lists(ordinary_queries() | st.binary(max_size=30), max_size=20))
@hypothesis.settings(max_examples=150, deadline=None)
def test_the_inner_loop_says_what_the_complete_path_says(queries: list[bytes]) -> None:
    one = content(ALICE, BOB, REGISTRY, addresses=[LOOPBACK])
    configured = settings(guarded=False)
    authority = Authority(configured, bytes(16), wall=lambda: 0.0)
    authority.serve(dns.name.from_text(ZONE), build(ZONE, 1, one))
    # All of them come in other words and for other names as well, when their answers lie ready.
    queries = [again for query in queries for again in (query, query.swapcase(), beside(query))] * 2
    replies = [authority.respond(query, Context(LOOPBACK, LOOPBACK)) for query in queries]

    listener = dataclasses.replace(listen(Endpoint(LOOPBACK, free_port())), guarded=False)
    control, theirs = socket.socketpair()
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with control, theirs, client, contextlib.closing(listener):
        recorder = stats.Board.create([ZONE], 1).worker(0)
        chains = [Chain(Version(ZONE, 1, one))]
        worker = module.Worker(theirs, [], configured, chains, recorder, bytes(16))
        worker._authority = authority
        drain = worker._drain_open(listener)
        for query in queries:
            client.sendto(query, (LOOPBACK, listener.endpoint.port))
        while sum(recorder.counts[: stats.TRUNCATED]) < len(queries):
            drain()
        client.settimeout(5)
        for reply in filter(None, replies):
            assert client.recv(2048) == reply.wire


def test_what_lies_ready_needs_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(guarded=False) as bed:
        bed.hand(ALICE)
        asked = [(ALICE_NAME, "SRV"), (f"{key('nobody').label}.{SERVICE}", "SRV")]
        first = [bed.udp(name, rdtype).rcode() for name, rdtype in asked]

        def must_not_be_called(*_: object) -> t.NoReturn:
            raise AssertionError

        monkeypatch.setattr(module.Worker, "_answer", must_not_be_called)
        asked[1] = (f"{key('stranger').label}.{SERVICE}", "SRV")
        assert [bed.udp(name, rdtype).rcode() for name, rdtype in asked] == first


def test_a_changed_endpoint_is_served_as_soon_as_it_is_acknowledged(bed: Bed) -> None:
    for number in range(1, 20):
        bed.hand(dataclasses.replace(ALICE, port=number), BOB)
        assert bed.udp().answer[0][0].port == number
        assert bed.udp(BOB_NAME).answer[0][0].port == BOB.port


def test_a_message_without_content_is_acknowledged(bed: Bed) -> None:
    bed.control.sendall(frames.frame(b"") * 3)
    acknowledged = b""
    while len(acknowledged) < 3:
        acknowledged += bed.control.recv(3)
    assert acknowledged == b"..."


@pytest.mark.parametrize(
    ("wire", "slot"),
    [
        (b"", stats.SILENT),
        (b"\x12\x34\x81\x80" + bytes(8), stats.SILENT),
        (b"\x12\x34\x01\x00\x00\x01" + bytes(6), stats.slot(0, 1, fast=False)),
        (
            with_edns_version(3),
            stats.slot(33, 16, fast=False),
        ),
        (dns.message.make_query("foreign.example.", "NS").to_wire(), stats.slot(2, 5, fast=False)),
    ],
    ids=["empty", "response", "no question", "badvers", "refused"],
)
def test_what_is_out_of_the_ordinary_is_counted_as_what_it_is(
    bed: Bed, wire: bytes, slot: int
) -> None:
    bed.hand(ALICE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(wire, (LOOPBACK, bed.port))
    assert bed.counted(slot, 1) == 1


def test_what_does_not_fit_is_counted(bed: Bed) -> None:
    bed.hand(*many(1000))
    assert bed.udp(SERVICE, "PTR").flags & dns.flags.TC
    with bed.connect() as client:
        for _time in range(2):
            client.sendall(framed("PTR", SERVICE))
            assert receive(client).flags & dns.flags.TC
    assert bed.counted(stats.TRUNCATED, 3) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may forge a source port")
@pytest.mark.parametrize("guarded", [False, True])
def test_responses_that_cannot_be_sent_are_counted_and_lost(guarded: bool) -> None:
    with serving(guarded) as bed:
        bed.hand(ALICE)
        query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
            for _time in range(3):
                # There is no way back to port 0.
                header = struct.pack("!4H", 0, bed.port, 8 + len(query), 0)
                raw.sendto(header + query, (LOOPBACK, 0))
                assert bed.udp().answer
        assert bed.counted(stats.UDP_SEND_FAILED, 3) == 3


def test_whom_no_network_lets_in_is_refused_however_ready_the_answer_is() -> None:
    with serving(guarded=True) as bed:
        bed.hand(ALICE)
        for _time in range(2):
            assert bed.udp().answer
        query = dns.message.make_query(ALICE_NAME, "SRV")
        refused = dns.query.udp(query, LOOPBACK, port=bed.port, source="127.1.0.1", timeout=5)
        assert refused.rcode() == dns.rcode.REFUSED


def test_responses_to_addresses_outside_are_limited_unless_these_are_proven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOPBACK", -1)
    cookie = dns.edns.GenericOption(10, b"c" * 8)
    with serving(guarded=True, rate_limit=5) as bed:
        bed.hand(ALICE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect((LOOPBACK, bed.port))
            for _time in range(40):
                client.send(dns.message.make_query(ALICE_NAME, "SRV").to_wire())
            limited = bed.counted(stats.LIMITED_SLIPPED, 17) + bed.counted(
                stats.LIMITED_DROPPED, 17
            )
            assert 30 <= limited <= 35
            received = [dns.message.from_wire(client.recv(2048)) for _time in range(5)]
            assert all(response.answer for response in received)
            assert client.recv(2048)[2] & 0x02

            query = dns.message.make_query(ALICE_NAME, "SRV", options=[cookie])
            with bed.connect() as stream:
                wire = query.to_wire()
                stream.sendall(struct.pack("!H", len(wire)) + wire)
                full = receive(stream).options[0]
            query.use_edns(0, options=[full])
            while select.select([client], [], [], 0)[0]:
                client.recv(2048)
            for _time in range(40):
                client.send(query.to_wire())
                assert dns.message.from_wire(client.recv(2048)).answer


def test_what_came_over_tcp_is_still_answered_when_the_worker_has_to_end() -> None:
    with serving(guarded=False) as bed:
        bed.hand(*many(900))
        with bed.connect() as asking, bed.connect() as idle:
            asking.sendall(framed("PTR", SERVICE) * 20)
            stream = asking.makefile("rb")
            stream.read(2)
            bed.control.close()
            assert is_closed(idle)
            assert len(stream.read()) > 20 * 60_000


def test_a_supervisor_that_dies_with_a_delta_on_its_way_leaves_no_answer_out() -> None:
    with serving(guarded=False) as bed:
        bed.hand(ALICE)
        with bed.connect() as client:
            client.sendall(framed())
            # Closed with something unread, the other end cannot acknowledge.
            bed.control.sendall(frames.frame(b"") * 100)
            bed.control.close()
            assert receive(client).answer
            assert is_closed(client)


def test_a_client_that_does_not_read_delays_the_end_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FINISH", 0.3)
    with serving(guarded=False) as bed:
        bed.hand(*many(900))
        with bed.connect() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.sendall(framed("PTR", SERVICE) * 200)
            time.sleep(0.2)
            start = time.monotonic()
            bed.stop()
            assert time.monotonic() - start < 2


def test_datagrams_that_come_after_the_end_are_left_for_other_workers() -> None:
    with serving(guarded=False) as bed:
        bed.stop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"for another", (LOOPBACK, bed.port))
            assert bed.listener.udp.recv(100) == b"for another"


def test_one_client_has_only_so_many_connections(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "CONNECTIONS_OF_CLIENT", 2)
    bed.hand(ALICE)
    other = socket.create_connection((LOOPBACK, bed.port), 5, source_address=("127.0.0.9", 0))
    clients = [bed.connect() for _time in range(3)]
    assert is_closed(clients[0])
    for client in (other, *clients[1:]):
        client.sendall(framed())
        assert receive(client).answer
    assert bed.counted(stats.TCP_ACCEPTED, 4) == 4
    assert bed.counted(stats.TCP_EVICTED, 1) == 1
    assert bed.counted(stats.TCP_OPEN, 3) == 3
    for client in (other, *clients):
        client.close()
    deadline = time.monotonic() + 5
    while bed.board.totals()[stats.TCP_OPEN] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bed.board.totals()[stats.TCP_OPEN] == 0
