# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done about a peer with a session: as good as nothing."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.plugins.module_utils.wgsd.plan.world import (
    BOB,
    CAFE,
    HOME,
    PROBE,
    TRAIN,
    World,
    at,
    bob,
    device_with,
)
from wgsd.clock import Moment
from wgsd.plan import NONE_YET, Decision, Policy, State, decide
from wgsd.plan.live import KEEPALIVE_GRACE

pytestmark = pytest.mark.unit

NOW = Moment(1_800_000_000.0, 1000.0)
#: Seconds after which a peer with the usual keepalive counts as silent.
SILENT_AFTER = Policy().keepalive + KEEPALIVE_GRACE


def tunnel(**fields) -> World:
    """Return a world with a tunnel that has lived for half a minute at the directory's endpoint."""
    world = World(**fields)
    world.connect()
    world.says(HOME)
    world.run(30)
    assert (world.decision.state, world.changes) == (State.DIRECT, [])
    return world


def decide_once(peer, policy=Policy()):  # noqa: B008
    (decision,) = decide(device_with(peer), at(HOME), NONE_YET, NOW, policy)
    return decision


def test_a_live_tunnel_keeps_its_endpoint_whatever_the_directory_says():
    decision = decide_once(bob(endpoint=CAFE, last_handshake=NOW.wall - 10))
    assert (decision.state, decision.change) == (State.DIRECT, None)


def test_force_moves_a_live_tunnel_without_ending_its_session():
    live = bob(endpoint=CAFE, last_handshake=NOW.wall - 10)
    decision = decide_once(live, Policy(force=True))
    assert decision.change.endpoint == HOME
    assert not decision.change.fresh


def test_force_does_nothing_where_nothing_differs():
    live = bob(endpoint=HOME, last_handshake=NOW.wall - 10)
    assert decide_once(live, Policy(force=True)).change is None


@pytest.mark.parametrize("rtt", [0.0005, 0.02, 0.1, 0.3])
def test_a_peer_that_answers_is_followed_as_soon_as_it_is_clear_that_it_has_left(rtt):
    world = tunnel(rtt=rtt)
    world.move(CAFE)
    world.says(CAFE)
    world.look()
    took = world.run_until(lambda: world.peer.endpoint == CAFE, 20)
    assert took <= max(0.15, 2.55 * rtt) + 0.002
    assert world.changes[-1][1].state is State.STALE
    assert world.has_session, "its session still holds"
    world.run(2 * rtt)
    assert world.decision.state is State.DIRECT
    assert len(world.changes) == 1


def test_a_peer_that_does_not_answer_is_followed_after_it_had_to_send_something():
    world = tunnel(answers=False)
    world.move(CAFE)
    world.says(CAFE)
    world.look()
    took = world.run_until(lambda: world.peer.endpoint == CAFE, 20)
    assert took <= 12.5
    assert world.has_session
    world.run(15)
    assert world.decision.state is State.DIRECT
    assert len(world.changes) == 1


@pytest.mark.parametrize("answers", [True, False])
def test_a_peer_that_lives_elsewhere_refutes_the_directory_for_good(answers):
    world = tunnel(answers=answers)
    world.says(CAFE)
    world.look()
    world.run(300)
    probes = len(world.probes)
    world.run(100)
    assert (world.decision.state, world.changes) == (State.DIRECT, [])
    assert len(world.probes) - probes <= 4


@pytest.mark.parametrize("answers", [True, False])
def test_a_peer_that_roamed_to_us_by_itself_is_not_dragged_back(answers):
    world = tunnel(answers=answers)
    world.roam(TRAIN)
    world.run(300)
    assert (world.peer.endpoint, world.changes) == (TRAIN, [])


def test_a_peer_that_is_gone_is_asked_ever_more_rarely_until_its_session_ends():
    world = tunnel()
    world.move(None)
    probes = len(world.probes)
    world.run(SILENT_AFTER + 1)
    assert world.decision.state is State.STALE
    world.run(100)
    assert 15 < len(world.probes) - probes < 40
    assert world.changes == []


def test_a_peer_that_is_known_to_be_gone_is_followed_at_once():
    world = tunnel(answers=False)
    world.move(None)
    world.run(50)
    assert world.decision.state is State.STALE
    world.move(CAFE)
    world.says(CAFE)
    decision = world.look()
    assert (decision.after, decision.change.fresh) == (CAFE, False)


def test_a_host_that_moved_asks_at_once_and_changes_nothing():
    world = tunnel()
    probes = len(world.probes)
    world.stir()
    world.look()
    assert len(world.probes) == probes + 1
    world.run(1)
    assert (world.decision.state, world.changes) == (State.DIRECT, [])


def test_what_was_refuted_from_another_network_is_tried_from_this_one():
    world = tunnel()
    world.roam(TRAIN)
    world.run(1)
    world.restart()
    world.run(1)
    assert world.decision.memory.refuted == HOME
    # From here the peer cannot be reached where it was, and only by what the directory says.
    world.move(HOME)
    world.stir()
    world.look()
    world.run(1)
    assert (world.decision.state, world.peer.endpoint) == (State.DIRECT, HOME)


def test_an_answer_to_what_was_asked_before_the_news_refutes_nothing():
    world = tunnel(rtt=0.3)
    world.stir()
    world.look()
    world.run(0.16)
    # Its answer to the probe is on its way when it moves, and the news comes faster.
    world.move(CAFE)
    world.says(CAFE)
    world.look()
    world.run(1.5)
    assert world.peer.endpoint == CAFE


def test_a_peer_that_came_by_itself_gets_a_keepalive_once_if_the_directory_has_it():
    world = World()
    world.connect(keepalive=None)
    assert world.look().change is None
    world.says(HOME)
    world.run(200)
    changes = [decision.change for _when, decision in world.changes]
    assert [change.persistent_keepalive for change in changes] == [25]
    assert (changes[0].endpoint, changes[0].fresh) == (None, False)


def test_a_keepalive_that_the_operator_sets_instead_of_ours_stays():
    world = World()
    world.connect(keepalive=None)
    world.says(HOME)
    world.run(10)
    world.set(persistent_keepalive=15)
    world.run(10)
    world.says(None)
    world.move(None)
    world.run(400)
    assert (world.decision.state, world.peer.persistent_keepalive) == (State.UNKNOWN, 15)


@pytest.mark.parametrize("keepalive", [10, 0])
def test_a_live_peers_keepalive_of_the_client_before_becomes_what_is_configured_now(keepalive):
    world = World()
    world.connect(keepalive=None)
    world.says(HOME)
    world.run(10)
    world.restart(keepalive=keepalive)
    world.run(10)
    assert world.peer.persistent_keepalive == keepalive
    assert not any(decision.change.fresh for _when, decision in world.changes)
    assert len(world.changes) == 2
    assert world.harmed == []


@pytest.mark.parametrize("chosen", [0, 15])
def test_a_lost_session_of_a_peer_that_nobody_knows_any_more_is_lost_until_something_comes(chosen):
    world = World(bob(persistent_keepalive=chosen), answers=False)
    world.says(HOME)
    world.run(36)
    world.stir()
    world.look()
    world.says(None)
    world.look()
    world.move(None)
    world.run_until(lambda: world.decision.state is State.UNKNOWN, 60)
    assert world.has_session
    asked = len(world.probes)
    world.run(60)
    assert world.decision.state is State.UNKNOWN
    assert (len(world.probes), world.peer.persistent_keepalive) == (asked, chosen)
    world.says(CAFE)
    world.move(CAFE)
    world.look()
    world.run_until(lambda: world.decision.state is State.DIRECT, 5)


def test_a_clock_that_jumps_harms_no_tunnel():
    for jump in (-86400, -100, 100, 86400):
        world = tunnel()
        world.says(CAFE)
        world.ahead += jump
        world.run(400)
        assert (world.decision.state, world.changes) == (State.DIRECT, [])


@pytest.mark.parametrize("answers", [True, False])
def test_a_tunnel_lives_on_without_probes_that_cannot_be_sent(answers):
    """They may have no address to go to, or a firewall of this host may drop them."""
    world = World(answers=answers)
    world.hears = False
    world.connect()
    world.says(CAFE)
    world.run(400)
    assert (world.decision.state, world.changes) == (State.DIRECT, [])
    world.move(CAFE)
    took = world.run_until(lambda: world.peer.endpoint == CAFE, 60)
    assert took <= SILENT_AFTER + 12.5
    assert world.has_session


def half_a_session(seconds: float, rx_bytes: int, *, forgotten: bool = False) -> list[Decision]:
    """Return the decisions of *seconds* in which nothing follows the handshake.

    Args:
        forgotten: Whether the directory forgets the peer once it has been tried.
    """
    peer, last, decisions = bob(), dict(NONE_YET), []
    for step in range(int(seconds / 0.05)):
        moment = Moment(NOW.wall + step * 0.05, NOW.steady + step * 0.05)
        known = {} if forgotten and decisions else at(HOME)
        (decision,) = decide(device_with(peer), known, last, moment, Policy(continuous=True))
        last = {BOB: decision}
        decisions.append(decision)
        if decision.probe:
            peer = dataclasses.replace(peer, tx_bytes=peer.tx_bytes + PROBE)
        if decision.change and decision.change.fresh:
            peer = bob(
                endpoint=HOME,
                persistent_keepalive=decision.change.persistent_keepalive,
                last_handshake=moment.wall + 0.01,
                rx_bytes=rx_bytes,
            )
    return decisions


def test_a_session_whose_other_end_was_started_over_is_started_over_once():
    tries = [d for d in half_a_session(20, rx_bytes=92) if d.change and d.change.fresh]
    assert len(tries) == 2
    assert "nothing came after the handshake" in tries[1].reason


def test_who_starts_a_session_over_gives_a_peer_that_nobody_knows_no_keepalive():
    changes = [d.change for d in half_a_session(20, rx_bytes=92, forgotten=True) if d.change]
    assert [(change.fresh, change.persistent_keepalive) for change in changes] == [
        (True, 25),
        (True, 0),
    ]


def test_a_session_that_data_came_by_is_not_started_over():
    tries = [d for d in half_a_session(20, rx_bytes=148 + 32) if d.change and d.change.fresh]
    assert len(tries) == 1


def test_a_peer_that_answers_no_probes_and_has_nothing_to_say_is_started_over_once_at_most():
    world = World(answers=False, calls=0)
    world.says(HOME)
    world.run(20)
    assert len(world.changes) == 2
    world.run(300)
    assert (world.decision.state, world.lives_for > 315) == (State.DIRECT, True)
    world.add_anew()
    world.run(3)
    world.says(CAFE)
    world.run(60)
    assert (world.decision.state, len(world.changes)) == (State.DIRECT, 3)


def test_what_a_peer_sent_before_it_left_does_not_show_that_it_lives():
    world = tunnel(rtt=0.3, answers=False)
    world.roam(HOME)
    world.move(CAFE)
    world.says(CAFE)
    world.look()
    assert world.run_until(lambda: world.peer.endpoint == CAFE, 20) <= 12.5
