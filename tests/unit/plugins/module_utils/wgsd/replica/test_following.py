# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Following a zone: what is asked when, and what becomes of the copy."""

from __future__ import annotations

import dns.rcode
import dns.rdatatype
import pytest

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE
from wgsd.errors import ServerError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint
from wgsd.replica import subscription
from wgsd.replica.subscription import (
    FAULT_PAUSE,
    NOTICE_GRACE,
    POLL_INTERVAL,
    POLL_SHORTEST,
    REFUSED_PAUSE,
    UDP_PATIENCE,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def primary(world, bob):
    primary = world.primary()
    primary.publish({bob: 1000})
    return primary


@pytest.fixture
def replica(world, primary):
    """One that has the zone, and has told the primary where it listens."""
    replica = world.replica(primary)
    world.pass_time(replica, 1)
    assert primary.asked == ["AXFR tcp", "IXFR udp"]
    primary.asked.clear()
    return replica


def port(replica, key):
    record = replica.contents.lookup([key])[key]
    return record and record.endpoint.port


def test_a_change_that_is_notified_is_fetched_at_once_as_a_difference(
    world, primary, replica, bob, carol
):
    primary.publish({bob: 1001, carol: 3})
    asked_from = primary.subscriber
    message = primary.notify()
    world.calm(replica)
    assert (port(replica, bob), port(replica, carol)) == (1001, 3)
    assert replica.version.serial == primary.serial
    assert primary.asked == ["IXFR udp"]
    assert primary.subscriber == asked_from, "the socket that asks is the one that listens"
    (reply,) = primary.acknowledged
    assert reply.id == message
    primary.publish({carol: 3})
    primary.notify()
    world.pass_time(replica, 1)
    assert port(replica, bob) is None


def test_a_difference_that_fits_no_datagram_comes_over_tcp(world, primary, replica, bob):
    primary.fits_a_datagram = False
    primary.publish({bob: 1001})
    primary.notify()
    world.calm(replica)
    assert port(replica, bob) == 1001
    assert primary.asked[:2] == ["IXFR udp", "IXFR tcp"]


@pytest.mark.parametrize(("peers", "seconds"), [(1, POLL_SHORTEST), (20, 20), (100, POLL_INTERVAL)])
def test_a_quiet_client_asks_the_more_rarely_the_more_there_may_be(
    world, peers, seconds, monkeypatch
):
    monkeypatch.setattr(subscription, "POLL_LOAD", 1)
    primary = world.primary()
    primary.publish({PublicKey(number.to_bytes(32, "big")): 1 for number in range(1, peers + 1)})
    replica = world.replica(primary)
    world.pass_time(replica, 1)
    primary.asked.clear()
    world.pass_time(replica, 20 * seconds)
    assert primary.asked == ["IXFR udp"] * 20


def test_a_version_that_nobody_notified_is_found_by_asking(world, primary, replica, bob):
    primary.publish({bob: 1001})
    world.pass_time(replica, POLL_INTERVAL)
    assert port(replica, bob) == 1001


def test_a_storm_of_notifies_costs_few_questions(world, primary, replica, bob):
    primary.publish({bob: 1001})
    for number in range(200):
        primary.notify(primary.serial + number)
    world.pass_time(replica, 1)
    assert len(primary.acknowledged) == 200
    assert len(primary.asked) <= 200 * 2 / 64
    assert port(replica, bob) == 1001


def test_a_notify_of_the_version_that_we_have_costs_no_question(world, primary, replica):
    primary.notify()
    world.calm(replica)
    assert len(primary.acknowledged) == 1
    assert primary.asked == []


@pytest.mark.parametrize("serial", [5, 0xFFFFFFFF])
def test_a_zone_whose_serial_went_back_is_transferred_as_a_whole(
    world, primary, replica, bob, carol, serial
):
    primary.publish({carol: 3}, serial=serial)
    primary.notify()
    world.calm(replica)
    assert (port(replica, bob), port(replica, carol)) == (None, 3)
    assert "AXFR tcp" in primary.asked


def test_serials_go_on_from_zero_after_the_largest(world, bob):
    primary = world.primary()
    primary.publish({bob: 1}, serial=0xFFFFFFFF)
    replica = world.replica(primary)
    world.pass_time(replica, 1)
    for number in (0, 1):
        primary._versions[number] = set(primary._versions[primary.serial])
        primary.serial = number
        primary.notify()
        world.pass_time(replica, 1)
        assert replica.version.serial == number
    assert primary.asked.count("AXFR tcp") == 1


def test_many_peers_that_leave_and_come_at_once_are_one_difference(world, primary, replica, bob):
    crowd = [PublicKey(number.to_bytes(32, "big")) for number in range(1, 101)]
    primary.publish({bob: 1, **dict.fromkeys(crowd[:60], 2)})
    primary.fits_a_datagram = False
    primary.notify()
    world.pass_time(replica, 1)
    primary.publish({bob: 1, **dict.fromkeys(crowd[40:], 3)})
    primary.notify()
    world.pass_time(replica, 1)
    assert [record.public_key for record in replica.contents.browse()] == sorted([bob, *crowd[40:]])
    assert {record.endpoint.port for record in replica.contents.browse()} == {1, 3}
    assert "AXFR tcp" not in primary.asked


def test_a_history_that_is_gone_is_answered_with_the_whole_zone(world, primary, replica, carol):
    primary.publish({carol: 3}, serial=primary.serial + 5)
    primary.notify()
    world.calm(replica)
    assert port(replica, carol) == 3
    assert primary.asked[:2] == ["IXFR udp", "IXFR tcp"]


def test_a_difference_that_does_not_fit_our_copy_makes_us_take_the_whole_zone(
    world, primary, replica, bob, carol
):
    primary._versions[primary.serial] |= {(f"x.{ZONE}", "A", "192.0.2.1")}
    primary.publish({carol: 3})
    primary.notify()
    world.calm(replica)
    assert (port(replica, bob), port(replica, carol)) == (None, 3)
    assert "AXFR tcp" in primary.asked


def test_a_server_whose_differences_never_fit_is_not_asked_for_everything_all_the_time(
    world, primary, replica
):
    def older(query, due):
        if query.question[0].rdtype == dns.rdatatype.IXFR:
            due[0].answer = [primary._soa(primary.serial - 1)]
        return due

    primary.misbehave = older
    world.pass_time(replica, POLL_INTERVAL + 60)
    assert replica.version.serial == primary.serial
    assert 2 < primary.asked.count("AXFR tcp") <= 7


@pytest.mark.parametrize(
    "rcode", ["REFUSED", "NOTIMP", "FORMERR", "NXDOMAIN", "NOTAUTH", "NOERROR"]
)
def test_a_server_that_transfers_nothing_is_left_alone_for_long(world, primary, rcode):
    def refuse(_query, due):
        due[0].answer = []
        due[0].set_rcode(dns.rcode.from_text(rcode))
        return due

    primary.misbehave = refuse
    replica = world.replica(primary)
    world.pass_time(replica, REFUSED_PAUSE - 1)
    assert replica.settled
    assert replica.version is None
    replica.hurry()
    world.calm(replica)
    assert primary.asked == ["AXFR tcp"]
    primary.misbehave = lambda _query, due: due
    world.pass_time(replica, 2)
    assert replica.version.serial == primary.serial


def test_a_copy_is_given_up_when_its_server_refuses_from_now_on(world, primary, replica):
    def refuse(_query, due):
        due[0].answer = []
        due[0].set_rcode(dns.rcode.REFUSED)
        return due

    primary.misbehave = refuse
    world.pass_time(replica, POLL_INTERVAL + 1)
    assert replica.version is None
    with pytest.raises(ServerError):
        _contents = replica.contents


def test_a_server_that_fails_is_tried_again_soon(world, primary):
    def fail(_query, due):
        due[0].answer = []
        due[0].set_rcode(dns.rcode.SERVFAIL)
        return due

    primary.misbehave = fail
    replica = world.replica(primary)
    world.pass_time(replica, 200)
    assert 10 < len(primary.asked) < 25
    primary.misbehave = lambda _query, due: due
    world.pass_time(replica, FAULT_PAUSE + 1)
    assert replica.version


def test_a_lost_packet_is_asked_for_again_and_the_copy_stays(world, primary, replica, bob):
    primary.misbehave = lambda _query, _due: []
    primary.publish({bob: 1001})
    primary.notify()
    world.calm(replica)
    primary.misbehave = lambda _query, due: due
    assert replica.version
    world.pass_time(replica, UDP_PATIENCE)
    assert port(replica, bob) == 1001


def test_a_server_that_is_gone_no_longer_vouches_and_later_goes_on_with_a_difference(
    world, primary, replica, bob
):
    primary.close()
    world.pass_time(replica, POLL_INTERVAL + 3 * UDP_PATIENCE + 1)
    assert replica.version is None
    primary.publish({bob: 1001})
    primary.reopen()
    world.pass_time(replica, FAULT_PAUSE + 1)
    assert port(replica, bob) == 1001
    assert "AXFR tcp" not in primary.asked


def test_a_server_is_silent_from_its_first_missing_answer_to_its_next_answer(
    world, primary, replica, bob
):
    primary.misbehave = lambda _query, _due: []
    primary.publish({bob: 1001})
    primary.notify()
    world.calm(replica)
    assert replica.silent == frozenset()
    world.pass_time(replica, 1)
    assert replica.silent == {primary.endpoint}
    replica.hurry()
    assert replica.silent == {primary.endpoint}
    primary.misbehave = lambda _query, due: due
    world.pass_time(replica, 2)
    assert replica.silent == frozenset()


def test_whoever_hurries_does_not_wait_for_the_end_of_the_pause(world, primary, replica):
    primary.close()
    world.pass_time(replica, POLL_INTERVAL + 120)
    primary.reopen()
    replica.hurry()
    world.calm(replica)
    assert replica.version
    primary.asked.clear()
    replica.hurry()
    world.calm(replica)
    assert primary.asked == [], "what was just heard is fresh"


def test_the_second_servers_copy_counts_while_the_first_is_away(world, primary, bob):
    first, second = world.primary(), primary
    first.publish({bob: 7}, serial=4_000_000_000)
    replica = world.replica(first, second)
    world.pass_time(replica, 1)
    assert port(replica, bob) == 7
    first.close()
    world.pass_time(replica, POLL_INTERVAL + 3 * UDP_PATIENCE + 1)
    assert (replica.version.server, port(replica, bob)) == (second.endpoint, 1000)
    first.reopen()
    world.pass_time(replica, FAULT_PAUSE + 1)
    assert (replica.version.server, port(replica, bob)) == (first.endpoint, 7)


def test_notify_is_relied_on_once_it_came_and_no_longer_once_it_did_not(
    world, primary, replica, bob
):
    assert not replica.notified
    primary.publish({bob: 1})
    primary.notify()
    world.pass_time(replica, 100)
    assert replica.notified
    primary.publish({bob: 2})
    replica.poll()
    world.pass_time(replica, NOTICE_GRACE - 1)
    assert replica.notified, "it may be on its way"
    world.pass_time(replica, 2)
    assert not replica.notified
    primary.notify()
    world.calm(replica)
    assert replica.notified


def test_a_server_that_cannot_be_reached_settles_the_matter(world):
    replica = world.replica(Endpoint("127.0.0.1", 1))
    assert not replica.settled
    world.pass_time(replica, 1)
    assert replica.settled
    assert replica.version is None
