# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for all decisions: they are made once, and clocks that are set harm nobody."""

from __future__ import annotations

import pytest

from tests.unit.plugins.module_utils.wgsd.plan.world import (
    BOB,
    CAFE,
    HOME,
    World,
    at,
    bob,
    device_with,
)
from wgsd.clock import Moment
from wgsd.plan import NONE_YET, Policy, State, decide, has_session, wants_record
from wgsd.plan.decide import CHANGE_PAUSE, CHANGES_AT_ONCE, DOUBT

pytestmark = pytest.mark.unit

NOW = Moment(1_800_000_000.0, 1000.0)
CONTINUOUS = Policy(continuous=True)


def test_a_second_single_run_does_nothing():
    world = World(place=None, policy=Policy())
    world.says(HOME)
    assert world.look().change is not None
    world.restart()
    again = world.look()
    assert (again.state, again.change) == (State.PUNCHING, None)


def test_nothing_is_decided_anew_while_nothing_happens():
    device, records = device_with(bob()), at(HOME)
    (first,) = decide(device, records, NONE_YET, NOW, CONTINUOUS)
    device = device_with(bob(endpoint=first.after, persistent_keepalive=25))
    (second,) = decide(device, records, {BOB: first}, NOW, CONTINUOUS)
    (third,) = decide(device, records, {BOB: second}, NOW, CONTINUOUS)
    assert third is second


def test_a_record_is_wanted_only_where_it_could_matter():
    live = bob(last_handshake=NOW.wall - 1)
    assert wants_record(bob(), None, NOW, Policy())
    assert not wants_record(live, None, NOW, Policy())
    assert wants_record(live, None, NOW, Policy(force=True))
    world = World()
    world.connect()
    world.run(40)
    assert not wants_record(world.peer, world.decision, Moment(world.wall, world.now), CONTINUOUS)
    world.move(None)
    world.run(40)
    assert world.decision.state is State.STALE
    assert wants_record(world.peer, world.decision, Moment(world.wall, world.now), CONTINUOUS)


def test_a_handshake_from_the_future_is_one_of_a_live_session():
    assert has_session(bob(last_handshake=NOW.wall + 86400), NOW.wall)


@pytest.mark.parametrize("jump", [-86400, 200, 86400])
@pytest.mark.parametrize("endpoint", [HOME, CAFE])
def test_an_agent_that_starts_after_the_clock_was_set_harms_no_tunnel_that_answers(jump, endpoint):
    world = World()
    world.connect()
    world.ahead += jump
    world.says(endpoint)
    world.run(400)
    assert (world.decision.state, world.changes) == (State.DIRECT, [])


def test_packets_other_than_answers_count_as_well_then_unless_they_ask_for_a_session():
    for came, harmed in ((0, True), (148, True), (1452, False)):
        world = World(answers=False)
        world.connect()
        world.ahead += 86400
        world.says(HOME)
        world.run(DOUBT / 2)
        world.set(rx_bytes=world.peer.rx_bytes + came)
        world.run(5)
        assert bool(world.changes) is harmed


def test_a_peer_that_died_before_the_agent_started_is_asked_for_a_second_at_most():
    world = World(bob(endpoint=HOME, last_handshake=NOW.wall - 1000), place=None)
    world.says(CAFE)
    begun = world.now
    assert world.look().state is State.STALE
    world.run(DOUBT + 0.1)
    assert [when - begun for when, _decision in world.changes[:1]] == [pytest.approx(DOUBT)]


def test_whatever_the_directory_says_and_however_often_changes_are_few():
    world = World(place=None)
    for step in range(3000):
        world.says((HOME, CAFE, None)[step % 3])
        world.look()
        world.run(0.04)
    assert len(world.changes) <= CHANGES_AT_ONCE + 120 / CHANGE_PAUSE
    world.says(HOME)
    world.move(HOME)
    world.run(CHANGE_PAUSE + 1)
    assert world.decision.state is State.DIRECT, "and it goes on once it has made up its mind"
