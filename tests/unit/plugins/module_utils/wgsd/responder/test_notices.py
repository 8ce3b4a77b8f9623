# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notices: who is told what, at which pace, how often, and when it is given up."""

from __future__ import annotations

import itertools

import pytest

from wgsd.config import Remote
from wgsd.model import Endpoint
from wgsd.responder.followers import Follower, Followers
from wgsd.responder.notices import (
    PORTION,
    PORTION_PERIOD,
    PORTIONS_LATE,
    WAITS,
    Lost,
    Notice,
    Notices,
)

pytestmark = pytest.mark.unit

ZONE = "example.com."
SECONDARY = Follower(ZONE, "192.0.2.53", 53)
CLIENT = Follower(ZONE, "10.0.0.1", 40001, "10.0.0.254")
SERVER = Follower(ZONE, "10.0.0.2", 53, "10.0.0.254")


class Bed:
    """Notices and a clock that moves when it is told to."""

    def __init__(self, *followers: Follower, configured: tuple[Follower, ...] = ()) -> None:
        self.now = 1000.0
        remotes = [Remote(Endpoint(one.address, one.port)) for one in configured]
        self.followers = Followers({ZONE: remotes}, self.now)
        self.notices = Notices(self.followers, itertools.count(1).__next__)
        for follower in followers:
            self.notices.follow(follower, self.now)

    def publish(self, serial: int | None) -> None:
        self.notices.publish(ZONE, serial, self.now)

    def due(self, after: float = 0.0) -> list[Notice]:
        self.now += after
        assert self.notices.expire(self.now) == []
        return self.notices.due(self.now)

    def acknowledge(self, notice: Notice) -> bool:
        sent = self.notices.sent(notice.follower.address, notice.follower.port, notice.id)
        assert sent == notice
        return self.notices.acknowledge(sent)

    def give_up(self) -> list[Lost]:
        """Let one more round pass without an acknowledgement."""
        for wait in WAITS[:-1]:
            assert len(self.due()) == 1
            self.now += wait
        assert len(self.due()) == 1
        self.now += WAITS[-1]
        return self.notices.expire(self.now)


def test_everyone_is_told_of_a_change_once_it_is_acknowledged_no_more() -> None:
    bed = Bed(CLIENT, SERVER, configured=(SECONDARY,))
    bed.publish(7)
    notices = bed.due()
    assert [(n.follower, n.serial) for n in notices] == [
        (SECONDARY, 7),
        (CLIENT, 7),
        (SERVER, 7),
    ]
    for notice in notices:
        assert bed.acknowledge(notice) is False
    assert bed.due(60) == []
    assert bed.notices.wait(bed.now) is None


def test_what_could_not_be_sent_in_time_is_made_up_for() -> None:
    followers = [CLIENT._replace(address=f"10.1.{n // 250}.{n % 250}") for n in range(1000)]
    bed = Bed(*followers)
    bed.publish(7)
    while bed.due():
        pass
    bed.now += PORTIONS_LATE * PORTION_PERIOD
    portions = []
    while portion := bed.due():
        portions.append(len(portion))
    assert portions == [PORTION] * PORTIONS_LATE


def test_many_are_told_in_portions() -> None:
    followers = [CLIENT._replace(address=f"10.1.{n // 250}.{n % 250}") for n in range(1000)]
    bed = Bed(*followers)
    bed.publish(7)
    told = []
    started = bed.now
    while len(told) < 1000:
        wait = bed.notices.wait(bed.now)
        assert wait is not None
        portion = bed.due(wait)
        told += [notice.follower for notice in portion]
        assert 0 < len(portion) <= PORTION
        took = bed.now - started
        assert len(told) <= PORTION * (PORTIONS_LATE + 1 + round(took / PORTION_PERIOD))
    assert set(told) == set(followers)
    assert 0.2 < took < 0.4


def test_who_does_not_acknowledge_is_told_the_same_again_ever_more_rarely() -> None:
    bed = Bed(CLIENT)
    bed.publish(7)
    (first,) = bed.due()
    for wait in WAITS[:-1]:
        assert bed.notices.wait(bed.now) == wait
        assert bed.due(wait / 2) == []
        assert bed.due(wait / 2) == [first]
    assert bed.acknowledge(first) is False


def test_a_client_that_does_not_acknowledge_is_forgotten() -> None:
    bed = Bed(CLIENT)
    bed.publish(7)
    assert bed.give_up() == [Lost(CLIENT, False, False)]
    assert len(bed.followers) == 0
    bed.publish(8)
    assert bed.due() == []


def test_a_server_is_forgotten_only_if_it_never_acknowledged_anything() -> None:
    bed = Bed(SERVER)
    bed.publish(7)
    assert bed.give_up() == [Lost(SERVER, False, False)]
    assert len(bed.followers) == 0

    bed = Bed(SERVER)
    bed.publish(7)
    bed.acknowledge(bed.due()[0])
    bed.publish(8)
    bed.now += 1
    assert bed.give_up() == [Lost(SERVER, False, False)]
    assert len(bed.followers) == 1


def test_a_configured_secondary_stays_and_it_is_known_whether_it_was_lost_before() -> None:
    bed = Bed(configured=(SECONDARY,))
    bed.publish(7)
    assert bed.give_up() == [Lost(SECONDARY, True, False)]
    bed.publish(8)
    assert bed.give_up() == [Lost(SECONDARY, True, True)]
    bed.publish(9)
    (notice,) = bed.due()
    assert bed.acknowledge(notice) is True
    bed.publish(10)
    (notice,) = bed.due(1)
    assert bed.acknowledge(notice) is False


def test_changes_that_come_before_an_acknowledgement_are_told_after_it_all_at_once() -> None:
    bed = Bed(CLIENT)
    bed.publish(7)
    (first,) = bed.due()
    bed.publish(8)
    bed.publish(9)
    assert bed.due(0.1) == []
    bed.acknowledge(first)
    (second,) = bed.due()
    assert second.serial == 9
    assert second.id != first.id
    bed.acknowledge(second)
    assert bed.due(60) == []


def test_changes_that_come_while_a_follower_is_away_do_not_make_it_be_told_more_often() -> None:
    bed = Bed(CLIENT)
    bed.publish(7)
    sent = bed.due()
    for serial in range(8, 200):
        bed.publish(serial)
        bed.now += 0.1
        if bed.notices.expire(bed.now):
            break
        sent += bed.notices.due(bed.now)
    assert len(sent) == len(WAITS)
    assert [notice.serial for notice in sent] == [7, 12, 22, 42, 82]
    assert len(bed.followers) == 0


def test_an_acknowledgement_of_something_older_ends_nothing() -> None:
    bed = Bed(CLIENT)
    bed.publish(7)
    (first,) = bed.due()
    bed.publish(8)
    (second,) = bed.due(WAITS[0])
    assert second.serial == 8
    assert bed.notices.sent(CLIENT.address, CLIENT.port, first.id) is None
    bed.acknowledge(second)


def test_only_the_follower_itself_can_acknowledge() -> None:
    bed = Bed(CLIENT)
    bed.publish(7)
    (notice,) = bed.due()
    assert bed.notices.sent("10.0.0.9", CLIENT.port, notice.id) is None
    assert bed.notices.sent(CLIENT.address, CLIENT.port + 1, notice.id) is None
    assert bed.notices.sent(CLIENT.address, CLIENT.port, notice.id + 1) is None
    assert bed.notices.sent(CLIENT.address, CLIENT.port, notice.id) == notice


def test_who_refuses_is_not_asked_again() -> None:
    bed = Bed(CLIENT, configured=(SECONDARY,))
    bed.publish(7)
    to_secondary, to_client = bed.due()
    assert bed.notices.refuse(to_secondary) == Lost(SECONDARY, True, False)
    assert bed.notices.refuse(to_client) == Lost(CLIENT, False, False)
    assert bed.due(60) == []
    assert bed.followers.of(ZONE) == [SECONDARY.key]


def test_a_new_follower_is_told_only_what_may_have_overtaken_its_transfer() -> None:
    bed = Bed()
    bed.publish(7)
    bed.now += 0.1
    bed.notices.follow(CLIENT, bed.now)
    (notice,) = bed.due()
    assert notice.serial == 7
    bed.acknowledge(notice)
    bed.now += 60
    bed.notices.follow(SERVER, bed.now)
    assert bed.due() == []
    bed.publish(8)
    assert len(bed.due()) == 2


def test_nothing_is_told_of_a_zone_that_is_not_served() -> None:
    bed = Bed(CLIENT)
    bed.publish(7)
    bed.publish(None)
    assert bed.due() == []
    bed.publish(8)
    (notice,) = bed.due()
    bed.publish(None)
    assert bed.due(WAITS[0]) == []
    bed.publish(9)
    (later,) = bed.due()
    assert (later.serial, later.id) != (notice.serial, notice.id)


def test_a_follower_that_is_forgotten_is_not_told_any_more() -> None:
    bed = Bed(CLIENT, SERVER)
    bed.publish(7)
    bed.followers.remove(CLIENT.key)
    (notice,) = bed.due()
    assert notice.follower == SERVER
    bed.followers.remove(SERVER.key)
    assert bed.notices.acknowledge(notice) is False
    assert bed.due(60) == []
