# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is malformed, forged or unsigned changes nothing, and is not answered."""

from __future__ import annotations

import socket

import dns.flags
import dns.message
import dns.opcode
import dns.xfr
import pytest

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE, rendered, split
from wgsd.config import TsigKey
from wgsd.replica.subscription import FAULT_PAUSE, POLL_INTERVAL, UDP_PATIENCE

pytestmark = pytest.mark.unit

KEY = TsigKey("mesh.example.com.", "hmac-sha512", b"a secret of thirty-two bytes ...")
OTHER = TsigKey("mesh.example.com.", "hmac-sha512", b"another one of thirty-two bytes.")


@pytest.fixture(params=[None, KEY], ids=["unsigned", "signed"])
def key(request):
    return request.param


@pytest.fixture
def primary(world, bob, key):
    primary = world.primary(key)
    primary.publish({bob: 1000})
    return primary


@pytest.fixture
def replica(world, primary, key):
    replica = world.replica(primary, key=key)
    world.pass_time(replica, 1)
    primary.asked.clear()
    return replica


def port(replica, key):
    return replica.contents.lookup([key])[key].endpoint.port


def test_what_is_in_order_is_taken(world, primary, replica, bob):
    primary.misbehave = lambda _query, due: split(due[0]) if over_tcp(primary) else due
    for number, fits in enumerate((True, False)):
        primary.fits_a_datagram = fits
        primary.publish({bob: 2000 + number})
        primary.notify()
        world.pass_time(replica, 1)
        assert port(replica, bob) == 2000 + number
    assert all(reply.had_tsig == bool(primary._key) for reply in primary.acknowledged)
    assert all(reply.flags & dns.flags.AA for reply in primary.acknowledged)


def over_tcp(primary) -> bool:
    return primary.asked[-1].endswith("tcp")


def test_an_answer_to_another_question_is_passed_over(world, primary, replica, bob):
    def forge(_query, due):
        forged = bytearray(rendered(due[0]))
        forged[0] ^= 0xFF
        return [bytes(forged), *due]

    primary.misbehave = forge
    primary.publish({bob: 1001})
    primary.notify()
    world.calm(replica)
    assert port(replica, bob) == 1001
    assert len(primary.asked) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9"])
def test_an_answer_from_elsewhere_is_passed_over(world, primary, replica, bob, address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind((address, 0))

        def divert(_query, due):
            elsewhere.sendto(rendered(due[0]), primary.subscriber)
            return []

        primary.misbehave = divert
        primary.publish({bob: 1001})
        primary.notify()
        world.calm(replica)
        assert port(replica, bob) == 1000


def test_a_notify_from_elsewhere_is_neither_answered_nor_followed(world, primary, replica, bob):
    primary.publish({bob: 1001})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.9", 0))
        elsewhere.setblocking(False)
        primary.notify(sock=elsewhere)
        world.calm(replica)
        with pytest.raises(BlockingIOError):
            elsewhere.recv(1)
    assert primary.asked == []


def test_a_notify_from_another_port_of_the_server_is_followed(world, primary, replica, bob):
    primary.publish({bob: 1001})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.settimeout(5)
        primary.notify(sock=elsewhere)
        world.calm(replica)
        assert elsewhere.recv(1000)
    assert port(replica, bob) == 1001


def of_another_zone(message):
    message.question = dns.message.make_query("example.org.", "SOA").question


def of_another_type(message):
    message.question = dns.message.make_query(ZONE, "NS").question


def an_update(message):
    message.set_opcode(dns.opcode.UPDATE)


def a_response(message):
    message.flags |= dns.flags.QR


@pytest.mark.parametrize("spoil", [of_another_zone, of_another_type, an_update, a_response])
def test_what_is_no_notify_of_our_zone_is_not_answered(world, primary, replica, spoil):
    message = dns.message.make_query(ZONE, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    spoil(message)
    primary.send(message.to_wire())
    for garbage in (b"", b"x", b"\0" * 11, bytes(range(256)) * 5):
        primary.send(garbage)
    world.calm(replica)
    assert primary.acknowledged == []
    assert primary.asked == []
    assert replica.version


@pytest.mark.parametrize("key", [KEY], indirect=True)
@pytest.mark.parametrize("forger", [None, OTHER])
def test_a_notify_that_is_not_signed_as_it_must_be_is_not_answered(world, primary, replica, forger):
    message = dns.message.make_query(ZONE, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    if forger:
        message.use_tsig(dns.tsig.Key(forger.name, forger.secret, forger.algorithm))
    primary.send(message.to_wire())
    world.calm(replica)
    assert primary.acknowledged == []
    assert primary.asked == []


def unsigned(_query, due):
    due[0].tsig = None
    due[0].keyring = None
    return due


def unsigned_at_the_end(_query, due):
    first, second = split(due[0])
    second.tsig = None
    second.keyring = None
    wire = second.to_wire(max_size=65535)
    return [first, len(wire).to_bytes(2, "big") + wire]


def unsigned_at_the_beginning(_query, due):
    first, second = split(due[0])
    first.tsig = None
    first.keyring = None
    wire = first.to_wire(max_size=65535)
    return [len(wire).to_bytes(2, "big") + wire, second]


def changed_on_the_way(_query, due):
    wire = bytearray(due[0].to_wire(max_size=65535))
    wire[2] ^= dns.flags.RD >> 8
    return [bytes(len(wire).to_bytes(2, "big") + wire)]


@pytest.mark.parametrize("key", [KEY], indirect=True)
@pytest.mark.parametrize(
    "forge", [unsigned, unsigned_at_the_end, unsigned_at_the_beginning, changed_on_the_way]
)
@pytest.mark.parametrize("whole", [True, False], ids=["AXFR", "IXFR"])
def test_a_transfer_is_signed_from_beginning_to_end_or_does_not_count(
    world, primary, key, bob, forge, whole
):
    replica = world.replica(primary, key=key)
    if not whole:
        world.pass_time(replica, 1)
        primary.fits_a_datagram = False
        primary.publish({bob: 1001})
    primary.misbehave = lambda query, due: forge(query, due) if over_tcp(primary) else due
    world.pass_time(replica, POLL_INTERVAL + 1)
    assert replica.version is None or port(replica, bob) == 1000
    primary.misbehave = lambda _query, due: due
    world.pass_time(replica, FAULT_PAUSE + POLL_INTERVAL + 1)
    assert port(replica, bob) == 1001 - whole


@pytest.mark.parametrize("key", [KEY], indirect=True)
def test_a_difference_by_udp_that_is_not_signed_is_not_taken(world, primary, replica, bob):
    primary.publish({bob: 1001})
    primary.misbehave = lambda query, due: unsigned(query, due) if not over_tcp(primary) else []
    world.pass_time(replica, 2 * POLL_INTERVAL)
    assert replica.version is None or port(replica, bob) == 1000


@pytest.mark.parametrize("key", [KEY], indirect=True)
def test_another_key_than_the_servers_gives_no_copy_and_is_told_of(world, primary, caplog):
    def bad_key(_query, due):
        due[0].answer = []
        due[0].set_rcode(dns.rcode.NOTAUTH)
        return due

    caplog.set_level("INFO")
    primary.misbehave = bad_key
    replica = world.replica(primary, key=KEY)
    world.pass_time(replica, 10)
    assert replica.version is None
    assert "notauth" in caplog.text


def cut_off(_query, due):
    return [split(due[0])[0]]


def cut_within_a_message(_query, due):
    wire = due[0].to_wire(max_size=65535)
    return [len(wire).to_bytes(2, "big") + wire[:100]]


def nothing(_query, _due):
    return []


def garbage(_query, due):
    return [b"\0\x20" + due[0].id.to_bytes(2, "big") + b"\xff" * 30]


@pytest.mark.parametrize("spoil", [cut_off, cut_within_a_message, nothing, garbage])
@pytest.mark.parametrize("whole", [True, False], ids=["AXFR", "IXFR"])
def test_a_transfer_without_a_good_end_changes_nothing_and_is_begun_again(
    world, primary, key, bob, spoil, whole
):
    replica = world.replica(primary, key=key)
    if not whole:
        world.pass_time(replica, 1)
        primary.fits_a_datagram = False
        primary.publish({bob: 1001})
        primary.notify()
    primary.misbehave = lambda query, due: spoil(query, due) if over_tcp(primary) else due
    world.calm(replica)
    assert replica.version is None if whole else port(replica, bob) == 1000
    primary.misbehave = lambda _query, due: due
    world.pass_time(replica, FAULT_PAUSE)
    assert port(replica, bob) == 1001 - whole


def test_a_datagram_that_was_cut_sends_us_to_tcp(world, primary, replica, bob):
    def cut(_query, due):
        if not over_tcp(primary):
            due[0].answer = due[0].answer[:1]
            due[0].flags |= dns.flags.TC
        return due

    primary.misbehave = cut
    primary.publish({bob: 1001})
    primary.notify()
    world.pass_time(replica, UDP_PATIENCE)
    assert port(replica, bob) == 1001
    assert primary.asked[:2] == ["IXFR udp", "IXFR tcp"]
