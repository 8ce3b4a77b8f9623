# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done about a peer without a session."""

from __future__ import annotations

import pytest

from tests.unit.plugins.module_utils.wgsd.plan.world import (
    BOB,
    CAFE,
    HOME,
    INITIATION,
    PRESHARED_KEY,
    World,
    at,
    bob,
    device_with,
)
from wgsd.clock import Moment
from wgsd.keys import PublicKey
from wgsd.plan import NONE_YET, Policy, State, decide
from wgsd.plan.connect import CROSSED, UNDER_WAY, UNREACHABLE_AFTER
from wgsd.plan.rendezvous import REST_MIN

pytestmark = pytest.mark.unit

CONTINUOUS = Policy(continuous=True)


def strangers(**fields) -> World:
    """Return a world whose peer is off, and known to the directory."""
    world = World(place=None, **fields)
    world.says(HOME)
    return world


def test_a_peer_that_nobody_knows_is_left_alone():
    for records in ({}, {BOB: None}):
        world = World()
        world.records = records
        decision = world.look()
        assert (decision.state, decision.change) == (State.UNKNOWN, None)


def test_a_peer_without_a_session_is_made_anew_with_all_it_had():
    world = strangers(policy=Policy(keepalive=20, continuous=True))
    decision = world.look()
    assert decision.state is State.KNOWN
    assert decision.change.fresh
    assert decision.change.endpoint == HOME
    assert decision.change.allowed_ips == ("10.0.0.2/32",)
    assert decision.change.preshared_key == PRESHARED_KEY
    assert decision.change.persistent_keepalive == 20


def test_a_peer_that_goes_on_by_its_next_key_is_not_disturbed_in_its_handshake():
    device = device_with(bob(endpoint=CAFE, rx_bytes=INITIATION, persistent_keepalive=25))
    now = Moment(1_800_000_000.0, 1000.0)
    (first,) = decide(device, at(HOME), NONE_YET, now, CONTINUOUS)
    assert (first.change, first.due) == (None, now.steady + UNDER_WAY)
    later = Moment(now.wall + UNDER_WAY, first.due)
    (then,) = decide(device, at(HOME), {BOB: first}, later, CONTINUOUS)
    assert then.change.endpoint == HOME
    # A single look has no later one.
    (once,) = decide(device, at(HOME), NONE_YET, now, Policy())
    assert once.change.endpoint == HOME


def test_a_keepalive_that_the_operator_chose_stays():
    world = strangers(peer=bob(persistent_keepalive=15))
    assert world.look().change.persistent_keepalive == 15


def test_without_any_keepalive_a_probe_makes_wireguard_begin():
    world = World(policy=Policy(keepalive=0, continuous=True))
    world.says(HOME)
    decision = world.look()
    assert (decision.change.persistent_keepalive, decision.probe) == (0, True)
    world.run(0.1)
    assert (world.decision.state, world.has_session) == (State.DIRECT, True)


def test_a_peer_whose_session_has_ended_is_made_anew_at_the_directorys_endpoint():
    world = World()
    world.connect()
    world.run(1)
    world.move(None)
    world.run(200)
    world.says(CAFE)
    decision = world.look()
    assert decision.change.fresh
    assert (decision.before, decision.after) == (HOME, CAFE)


def test_where_the_endpoint_is_right_wireguard_itself_tries_first():
    world = World()
    world.says(HOME)
    world.connect()
    world.move(None)
    world.run(179)
    assert world.changes == []
    world.run(1.5)
    assert (world.decision.state, world.changes) == (State.PUNCHING, [])
    world.run(1)
    assert world.changes[0][1].change.fresh


@pytest.mark.parametrize(("us", "times"), [(b"a", [0, 1, 3, 7]), (b"z", [0, 2, 5])])
def test_tries_are_spaced_ever_wider_and_end_in_silence_that_is_told_as_unreachable(us, times):
    """The end that leads goes on earlier than the other, so that their tries do not cross."""
    world = strangers()
    world.us = PublicKey(us * 32)
    begun = world.now
    world.run(UNREACHABLE_AFTER - 0.1)
    assert [when - begun for when, _decision in world.changes] == pytest.approx(times)
    assert world.decision.state is State.PUNCHING
    world.run(0.2)
    assert world.decision.state is State.UNREACHABLE
    assert "can the NATs in between be punched" in world.changes[-1][1].reason
    assert (world.peer.endpoint, world.peer.persistent_keepalive) == (None, 0)
    rest_begun, tries = world.now, len(world.changes)
    world.run_until(lambda: len(world.changes) > tries, 110)
    assert world.now - rest_begun > REST_MIN - 1
    assert world.changes[-1][1].after == HOME
    assert world.peer.persistent_keepalive == CONTINUOUS.keepalive


@pytest.mark.parametrize(("us", "second"), [(b"a", 0.1 + CROSSED), (b"z", 2.0)])
def test_of_two_ends_whose_initiations_crossed_one_tries_again_at_once(us, second):
    world = strangers()
    world.us = PublicKey(us * 32)
    begun = world.now
    world.run(0.08)
    assert len(world.changes) == 1
    world.set(rx_bytes=INITIATION)
    world.run_until(lambda: len(world.changes) > 1, 3.0)
    assert world.now - begun == pytest.approx(second)


def test_a_look_by_itself_knows_no_rest():
    world = strangers(policy=Policy())
    world.look()
    world.run(600)
    assert None not in world.moves()


def test_a_handshake_ends_the_tries_and_forgets_them():
    world = World(place=None)
    world.says(HOME)
    world.run(5)
    world.move(HOME)
    world.run_until(lambda: world.has_session, 5)
    world.run(1)
    assert world.decision.state is State.DIRECT
    assert world.decision.memory.first_try is None
    tries = len(world.changes)
    world.run(600)
    assert len(world.changes) == tries


def test_a_new_endpoint_ends_the_rest_at_once():
    world = strangers()
    world.run(UNREACHABLE_AFTER + 1)
    assert world.peer.endpoint is None
    world.move(CAFE)
    world.says(CAFE)
    assert world.look().after == CAFE
    world.run(1)
    assert world.decision.state is State.DIRECT


def test_a_move_of_this_host_ends_the_rest_at_once():
    world = strangers()
    world.run(UNREACHABLE_AFTER + 1)
    world.move(HOME)
    world.stir()
    assert world.look().after == HOME
    world.run(1)
    assert world.decision.state is State.DIRECT


def test_a_peer_that_comes_by_itself_ends_the_rest():
    world = strangers(peer=bob(persistent_keepalive=15))
    world.run(UNREACHABLE_AFTER + 1)
    assert world.decision.memory.rest_until is not None
    world.move(CAFE)
    world.connect(keepalive=None)
    decision = world.look()
    assert (decision.state, decision.memory.rest_until) == (State.DIRECT, None)
    assert world.peer.persistent_keepalive == 15, "the operator's is back"


def test_a_keepalive_of_ours_goes_when_the_directory_forgets_the_peer():
    world = strangers()
    world.run(3)
    world.says(None)
    world.look()
    assert (world.decision.state, world.peer.persistent_keepalive) == (State.UNKNOWN, 0)


def test_the_operators_keepalive_outlives_the_directorys_knowledge():
    world = strangers(peer=bob(persistent_keepalive=15))
    world.run(3)
    world.says(None)
    world.look()
    assert world.peer.persistent_keepalive == 15


def test_a_keepalive_of_the_client_before_goes_when_the_directory_says_that_it_has_no_endpoint():
    world = strangers()
    world.run(3)
    world.restart()
    # The directory is down just now, which says nothing about the peer.
    world.records = {}
    world.run(3)
    assert (world.decision.state, world.peer.persistent_keepalive) == (State.UNKNOWN, 25)
    world.says(None)
    world.look()
    assert world.peer.persistent_keepalive == 0


@pytest.mark.parametrize("keepalive", [10, 0])
def test_a_keepalive_of_the_client_before_becomes_what_is_configured_now(keepalive):
    world = strangers()
    world.run(3)
    world.restart(keepalive=keepalive)
    world.run(3)
    assert world.peer.persistent_keepalive == keepalive


def test_the_operators_keepalive_is_back_when_the_client_has_died_during_a_rest():
    world = strangers(peer=bob(persistent_keepalive=15))
    world.run(UNREACHABLE_AFTER + 1)
    assert world.peer.persistent_keepalive == 0
    world.restart()
    assert world.look().change.persistent_keepalive == 15
    world.restart()
    world.says(None)
    world.run(1)
    assert world.peer.persistent_keepalive == 15, "who dies again has still told whose it is"


def test_without_a_key_of_its_own_a_device_is_left_alone_in_the_end():
    """Nobody can agree on anything with it, and the agent must not spin."""
    peer, last, now = bob(), NONE_YET, 1000.0
    for _number in range(100):
        device = device_with(peer, public_key=None)
        (decision,) = decide(device, at(HOME), last, Moment(now + 1e9, now), CONTINUOUS)
        assert decision.due > now
        last, now = {BOB: decision}, min(decision.due, now + 60)
        if decision.change:
            peer = bob(endpoint=decision.after, persistent_keepalive=25)
    assert (decision.state, decision.change) == (State.UNREACHABLE, None)
