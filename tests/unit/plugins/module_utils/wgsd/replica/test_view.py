# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent sees: the copy while there is one, else what queries tell."""

from __future__ import annotations

import pytest

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE
from wgsd.client.pace import Cost
from wgsd.client.view import FIRST_PAUSE, LONGEST_PAUSE, View
from wgsd.directory import ZoneVersion
from wgsd.errors import ServerError
from wgsd.model import Endpoint, PeerRecord

pytestmark = pytest.mark.unit

ELSEWHERE = Endpoint("192.0.2.53", 53)
HOME = Endpoint("192.0.2.20", 1000)


class AskedDirectory:
    """A directory in memory that counts what it is asked."""

    def __init__(self) -> None:
        self.failures = {}
        self.version = ZoneVersion(ELSEWHERE, 1)
        self.asked = []
        self.down = False

    def serial(self, timeout=None):
        self.asked.append(timeout)
        if self.down:
            raise ServerError("no answer")
        return self.version

    def lookup(self, keys):
        self.asked.append(keys)
        return {key: PeerRecord(key, HOME) for key in keys}


@pytest.fixture
def primary(world, bob):
    primary = world.primary()
    primary.publish({bob: 1000})
    return primary


def test_without_a_copy_all_is_asked_for(world, bob):
    directory = AskedDirectory()
    view = View(directory, world.replica(Endpoint("127.0.0.1", 1)))
    assert view.cost is Cost.QUERY_PER_PEER
    assert view.serial(0.1) == directory.version
    assert view.cost is Cost.QUERY
    assert view.lookup([bob])[bob].endpoint == HOME
    assert directory.asked == [0.1, [bob]]
    directory.version = None
    assert view.serial() is None
    assert view.cost is Cost.QUERY_PER_PEER


def test_with_a_copy_nothing_is_asked_for_and_without_notify_the_copy_is_checked(
    world, primary, bob, carol
):
    directory, replica = AskedDirectory(), world.replica(primary)
    view = View(directory, replica)
    world.pass_time(replica, 1)
    assert view.cost is Cost.QUERY
    assert view.serial().serial == primary.serial
    assert view.lookup([bob, carol])[bob].allowed_ips == ("10.0.0.2/32",)
    assert view.lookup([carol]) == {carol: None}
    assert directory.asked == []
    primary.publish({carol: 7})
    primary.asked.clear()
    view.serial()
    world.calm(replica)
    assert primary.asked == ["IXFR udp"]
    assert view.lookup([carol])[carol].endpoint.port == 7
    primary.notify()
    world.calm(replica)
    assert view.cost is Cost.NOTHING
    primary.asked.clear()
    view.serial()
    world.calm(replica)
    assert primary.asked == []


def test_a_peer_whose_records_are_of_no_use_fails_alone(world, primary, bob, carol):
    primary.publish({bob: 0, carol: 7})
    replica = world.replica(primary)
    view = View(AskedDirectory(), replica)
    world.pass_time(replica, 1)
    assert set(view.lookup([bob, carol])) == {carol}
    assert "port 0" in view.failures[bob]
    assert [record.public_key for record in replica.contents.browse()] == [carol]
    primary.publish({bob: 8, carol: 7})
    primary.notify()
    world.calm(replica)
    assert view.lookup([bob])[bob].endpoint.port == 8
    assert view.failures == {}
    assert ZONE in str(replica.contents.zone.origin)


def test_servers_without_an_answer_are_not_waited_for_again_and_again(world):
    directory, now = AskedDirectory(), [0.0]
    view = View(directory, world.replica(Endpoint("127.0.0.1", 1)), clock=lambda: now[0])
    directory.down = True
    for _number in range(int(60 / 0.1)):
        with pytest.raises(ServerError):
            view.serial()
        now[0] += 0.1
    waited = len(directory.asked)
    assert waited <= 60 / LONGEST_PAUSE + 5
    directory.down = False
    now[0] += LONGEST_PAUSE
    assert view.serial() == directory.version


def test_a_way_that_has_just_opened_is_tried_at_once(world):
    directory = AskedDirectory()
    view = View(directory, world.replica(Endpoint("127.0.0.1", 1)), clock=lambda: 0.0)
    directory.down = True
    with pytest.raises(ServerError):
        view.serial()
    directory.down = False
    with pytest.raises(ServerError):
        view.serial()
    assert len(directory.asked) == 1, f"nobody asks again within {FIRST_PAUSE} s"
    view.hurry()
    assert view.serial() == directory.version
