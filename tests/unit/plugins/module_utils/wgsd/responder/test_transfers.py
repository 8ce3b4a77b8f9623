# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone transfers from a worker on real sockets, with clients good and bad."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import select
import socket
import struct
import threading
import time
import typing as t

import dns.edns
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from tests.unit.plugins.module_utils.wgsd.responder.test_worker import (
    LOOPBACK,
    Bed,
    bed,
    framed,
    is_closed,
    receive,
    serving,
)
from tests.unit.plugins.module_utils.wgsd.zone.asking import ALICE, BOB, ZONE, content, many
from tests.unit.plugins.module_utils.wgsd.zone.primary import (
    ORIGIN,
    lines,
    lines_of,
    transfer_query,
)
from wgsd.config import TsigKey
from wgsd.responder import stats, telling
from wgsd.responder import streams as streams_module
from wgsd.responder import worker as module
from wgsd.zone.answers import Authority
from wgsd.zone.records import build
from wgsd.zone.version import Instance

pytestmark = pytest.mark.unit

__all__ = ["bed"]

OPS = TsigKey("ops.example.com.", "hmac-sha256", bytes(range(32)))
OPS_THERE = dns.tsig.Key(OPS.name, OPS.secret, OPS.algorithm)
#: More than the buffers of both ends hold.
MANY = many(4000)


def bring(
    bed: Bed, copy: dns.zone.Zone, key: dns.tsig.Key | None = None, udp: bool = False
) -> None:
    """Have dnspython bring its copy up to date: all of it if it has nothing yet."""
    query, _serial = dns.xfr.make_query(copy, use_edns=0, keyring=key)
    mode = dns.query.UDPMode.ONLY if udp else dns.query.UDPMode.NEVER
    dns.query.inbound_xfr(LOOPBACK, copy, query, port=bed.port, lifetime=30, udp_mode=mode)


def expected(*instances: Instance, serial: int) -> set[t.Any]:
    """The records of the zone with these instances."""
    return lines(build(ZONE, serial, content(*instances, addresses=[LOOPBACK])))


def frame(query: dns.message.Message) -> bytes:
    wire = query.to_wire()
    return struct.pack("!H", len(wire)) + wire


def begin(bed: Bed) -> socket.socket:
    """A client that has asked for the zone, gets the start of it, and reads no more."""
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect((LOOPBACK, bed.port))
    client.sendall(frame(transfer_query()))
    assert client.recv(2)
    return client


def rest_of(client: socket.socket) -> bytes:
    """All that is still to come, from a server that is told that nothing more is asked for."""
    client.shutdown(socket.SHUT_WR)
    return client.makefile("rb").read()


@pytest.mark.parametrize("number", [0, 10, 500])
def test_a_secondary_gets_all_of_a_zone(bed: Bed, number: int) -> None:
    bed.hand(ALICE, *many(number))
    copy = dns.zone.Zone(ORIGIN)
    bring(bed, copy)
    assert lines_of(copy) == expected(ALICE, *many(number), serial=1)


@pytest.mark.parametrize("udp", [False, True])
def test_a_secondary_follows_from_version_to_version(bed: Bed, udp: bool) -> None:
    bed.hand(ALICE)
    copy = dns.zone.Zone(ORIGIN)
    bring(bed, copy)
    for port in range(1, 6):
        bob = dataclasses.replace(BOB, port=port)
        bed.hand(ALICE, bob)
        bring(bed, copy, udp=udp)
        assert lines_of(copy) == expected(ALICE, bob, serial=1 + port)
    assert bed.counted(stats.slot(251, 0, fast=False), 5) == 5


def test_a_secondary_checks_the_signature_of_each_message() -> None:
    with serving(guarded=True, keys=[OPS]) as bed:
        bed.hand(*many(500))
        copy = dns.zone.Zone(ORIGIN)
        bring(bed, copy, OPS_THERE)
        bed.hand(*many(499))
        bring(bed, copy, OPS_THERE)
        assert lines_of(copy) == expected(*many(499), serial=2)


def test_whom_no_network_lets_in_is_refused_and_counted() -> None:
    with serving(guarded=True) as bed:
        bed.hand(ALICE)
        with socket.create_connection(
            (LOOPBACK, bed.port), 5, source_address=("127.1.0.1", 0)
        ) as client:
            client.sendall(frame(transfer_query()))
            assert receive(client).rcode() == dns.rcode.REFUSED
        assert bed.counted(stats.slot(252, 5, fast=False), 1) == 1
        assert not select.select([bed.followers], [], [], 0)[0]


def test_queries_are_answered_while_clients_leave_a_zone_half_read(bed: Bed) -> None:
    bed.hand(ALICE, *MANY)
    with contextlib.ExitStack() as stack:
        for _time in range(8):
            stack.enter_context(begin(bed))
        other = stack.enter_context(bed.connect())
        other.sendall(framed())
        assert receive(other).answer
        assert bed.udp().answer


def test_queries_are_answered_while_zones_are_being_made(bed: Bed) -> None:
    bed.hand(ALICE, *MANY)
    clients = [begin(bed) for _time in range(3)]
    received: list[bytes] = []
    readers = [
        threading.Thread(target=lambda client=client: received.append(rest_of(client)))
        for client in clients
    ]
    for reader in readers:
        reader.start()
    answered = 0
    while any(reader.is_alive() for reader in readers):
        assert bed.udp().answer
        answered += 1
    # Without turns there would be about as many as transfers.
    assert answered > 30
    for client, reader in zip(clients, readers):
        reader.join()
        client.close()
    assert [len(zone) > 500 * len(MANY) for zone in received] == [True] * 3


def test_a_client_that_reads_late_gets_the_zone_as_it_was(bed: Bed) -> None:
    bed.hand(*MANY)
    with begin(bed) as late:
        bed.hand(ALICE)
        received = rest_of(late)
    # Of each peer both names, and a large zone is about 600 bytes a peer.
    assert len(received) > 500 * len(MANY)
    assert received.endswith(struct.pack("!IIIII", 1, 30, 10, 86400, 5))


def test_queries_behind_a_transfer_are_answered_after_it(bed: Bed) -> None:
    bed.hand(ALICE, *many(300))
    with bed.connect() as client:
        client.sendall(frame(transfer_query()) + framed(ident=77) + frame(transfer_query()))
        stream = client.makefile("rb")
        kinds = []
        while len(kinds) < 2 or kinds[-1] != 252 or kinds.count(252) < 2:
            (length,) = struct.unpack("!H", stream.read(2))
            message = dns.message.from_wire(stream.read(length))
            if message.question:
                kinds.append(int(message.question[0].rdtype))
    assert kinds == [252, 33, 252]


def test_a_client_that_takes_nothing_is_closed_in_time(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "IDLE", 0.3)
    bed.hand(*MANY)
    with begin(bed):
        time.sleep(0.5)
        # What is counted is published when there is something to do.
        bed.udp()
        assert bed.counted(stats.TCP_IDLE, 1) == 1


def test_a_transfer_is_not_given_up_for_a_new_connection(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "CONNECTIONS", 2)
    bed.hand(*MANY)
    with begin(bed) as first, bed.connect() as idle, begin(bed) as second:
        assert is_closed(idle)
        with bed.connect() as another:
            assert is_closed(another)
        for client in (first, second):
            assert len(rest_of(client)) > 500 * len(MANY)


def test_a_defect_in_the_middle_of_a_transfer_ends_that_connection_only(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bed.hand(ALICE, *many(300))

    def broken(*_: object) -> t.Iterator[bytes]:
        yield b"not a message"
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch, bed.connect() as client:
        patch.setattr(Authority, "_rest", broken)
        client.sendall(frame(transfer_query()))
        received = client.makefile("rb").read()
    (length,) = struct.unpack_from("!H", received)
    assert dns.message.from_wire(received[2 : 2 + length]).answer
    assert received[2 + length :] == b"\0\x0dnot a message"
    assert bed.udp().answer
    assert len(caplog.records) == 1


def test_a_transfer_is_finished_when_the_worker_has_to_end() -> None:
    with serving(guarded=False) as bed:
        bed.hand(*MANY)
        with begin(bed) as client:
            bed.control.close()
            start = time.monotonic()
            assert len(rest_of(client)) > 500 * len(MANY)
        bed.stop()
        assert time.monotonic() - start < module.FINISH


class TestWhoFollows:
    """What is told to the notifier."""

    def told(self, bed: Bed) -> list[dict[str, t.Any]]:
        """All that was told by now."""
        found = []
        while select.select([bed.followers], [], [], 0.1)[0]:
            found.append(json.loads(bed.followers.recv(4096)))
        return found

    def test_by_tcp_it_is_a_server_at_port_53(self, bed: Bed) -> None:
        bed.hand(ALICE)
        bring(bed, dns.zone.Zone(ORIGIN))
        follower = {"zone": ZONE, "address": LOOPBACK, "port": 53, "local": LOOPBACK, "key": None}
        assert self.told(bed) == [follower]

    def test_by_udp_it_is_who_has_asked_where_it_asked_from(self, bed: Bed) -> None:
        bed.hand(ALICE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect((LOOPBACK, bed.port))
            client.send(transfer_query(1).to_wire())
            assert dns.message.from_wire(client.recv(2048)).answer
            port = client.getsockname()[1]
        (follower,) = self.told(bed)
        assert (follower["address"], follower["port"]) == (LOOPBACK, port)

    def test_the_key_is_told(self) -> None:
        with serving(guarded=True, keys=[OPS]) as bed:
            bed.hand(ALICE)
            bring(bed, dns.zone.Zone(ORIGIN), OPS_THERE)
            assert [follower["key"] for follower in self.told(bed)] == [OPS.name]

    def test_it_is_told_once_in_a_while(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        bed.hand(ALICE)
        for _time in range(3):
            bring(bed, dns.zone.Zone(ORIGIN))
        assert len(self.told(bed)) == 1
        monkeypatch.setattr(telling, "TELL_PERIOD", 0.0)
        bring(bed, dns.zone.Zone(ORIGIN))
        assert len(self.told(bed)) == 1

    def test_ordinary_queries_and_refused_transfers_make_no_follower(self, bed: Bed) -> None:
        bed.hand(ALICE)
        bed.udp()
        bed.udp(ZONE, "SOA")
        bed.udp(ZONE, "AXFR")
        assert self.told(bed) == []

    def test_an_address_outside_that_may_be_forged_makes_no_follower(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LOOPBACK", -1)
        with serving(guarded=True) as bed:
            bed.hand(ALICE)
            cookie = dns.edns.GenericOption(10, b"c" * 8)
            query = transfer_query(1, use_edns=0, options=[cookie])
            first = dns.query.udp(query, LOOPBACK, port=bed.port, timeout=5)
            assert first.answer
            assert self.told(bed) == []
            query.use_edns(0, options=list(first.options))
            assert dns.query.udp(query, LOOPBACK, port=bed.port, timeout=5).answer
            assert len(self.told(bed)) == 1

    def test_nobody_waits_for_a_notifier_that_does_not_listen(
        self, bed: Bed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(telling, "TELL_PERIOD", 0.0)
        bed.hand(ALICE)
        for _time in range(1000):
            query = transfer_query(1)
            assert dns.query.udp(query, LOOPBACK, port=bed.port, timeout=5).answer
