# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the agent waits between two looks."""

from __future__ import annotations

import pytest

from wgsd.client import pace
from wgsd.plan import State

pytestmark = pytest.mark.unit

QUERY = pace.Cost.QUERY
NOTHING = pace.Cost.NOTHING


@pytest.fixture
def clock() -> pace.Pace:
    return pace.Pace(jitter=lambda: 0.0)


def test_it_is_quick_after_a_change_then_slower_and_slowest_when_all_is_direct(clock):
    waiting = [State.UNKNOWN]
    assert clock.after_look(waiting, False, 0.0, QUERY) == pace.BUSY_INTERVAL
    assert clock.after_look(waiting, False, pace.BUSY_FOR - 0.1, QUERY) == pace.BUSY_INTERVAL
    late = [clock.after_look(waiting, False, pace.BUSY_FOR + n, QUERY) for n in range(20)]
    assert late == sorted(late)
    assert late[-1] == pace.WAITING_INTERVAL
    assert clock.after_look(waiting, True, 100.0, QUERY) == pace.BUSY_INTERVAL
    quiet = [clock.after_look([State.DIRECT], False, 200.0 + n, QUERY) for n in range(40)]
    assert quiet[-1] == pace.QUIET_INTERVAL


def test_the_clients_of_a_large_mesh_together_load_the_registry_no_more_than_of_a_small_one(clock):
    many = [State.UNKNOWN] * 1000
    assert clock.after_look(many, False, 0.0, QUERY) == 1000 / pace.BUSY_LOAD
    late = [clock.after_look(many, False, pace.BUSY_FOR + n, QUERY) for n in range(40)]
    assert late[-1] == 1000 / pace.WAITING_LOAD


@pytest.mark.parametrize(
    ("state", "longest"),
    [
        (State.KNOWN, pace.PUNCHING_INTERVAL),
        (State.PUNCHING, pace.PUNCHING_INTERVAL),
        (State.STALE, pace.PUNCHING_INTERVAL),
        (State.UNKNOWN, pace.QUIET_INTERVAL),
        (State.UNREACHABLE, pace.QUIET_INTERVAL),
    ],
)
def test_where_servers_tell_of_changes_it_slows_down_at_once_the_more_so_if_nothing_is_to_come(
    clock, state, longest
):
    states = [State.DIRECT, state]
    pauses = [clock.after_look(states, False, float(n), NOTHING) for n in range(40)]
    assert pauses[0] == pace.BUSY_INTERVAL * pace.GROWTH
    assert pauses == sorted(pauses)
    assert pauses[-1] == longest
    assert clock.after_look(states, True, 100.0, NOTHING) == pauses[0]


@pytest.mark.parametrize("peers", [100, 10_000])
def test_looks_come_as_often_as_the_device_is_cheap_to_read(clock, peers):
    pause = clock.after_look([State.UNKNOWN] * peers, False, 0.0, NOTHING)
    assert pause == max(pace.BUSY_INTERVAL * pace.GROWTH, peers / pace.READ_LOAD)
    assert clock.shortest == peers / pace.READ_LOAD


@pytest.mark.parametrize(("peers", "pause"), [(2, pace.BUSY_INTERVAL), (1_000, 1.0)])
def test_tries_of_unreachable_peers_hurry_it_the_less_the_more_peers_there_are(clock, peers, pause):
    states = [State.UNREACHABLE] * peers
    for number in range(40):
        clock.after_look(states, False, float(number), NOTHING)
    assert clock.leisure == peers / pace.LEISURE_LOAD
    retried = clock.after_look(states, False, 100.0, NOTHING, retried=True)
    assert retried == pytest.approx(pause * pace.GROWTH)


def test_a_server_that_a_look_costs_much_is_not_asked_in_a_hurry(clock):
    cost = pace.Cost.QUERY_PER_PEER
    pauses = [clock.after_look([State.UNKNOWN], False, n / 10, cost) for n in range(40)]
    assert pauses[-1] == pace.NO_SERIAL_WAITING_INTERVAL
    assert sum(pauses) > 30


def test_faults_slow_it_and_their_end_makes_it_quick_again(clock):
    pauses = [clock.after_fault(float(n)) for n in range(40)]
    assert pauses[-1] == pace.FAULT_INTERVAL
    assert clock.after_look([State.UNKNOWN], False, 0.0, QUERY) == pace.BUSY_INTERVAL


def test_it_knows_how_much_of_a_pause_is_left(clock):
    pause = clock.after_look([State.DIRECT], False, 10.0, QUERY)
    assert clock.left(10.0) == pytest.approx(pause)
    assert clock.left(10.0 + pause / 2) == pytest.approx(pause / 2)
    assert clock.left(10.0 + 2 * pause) == 0.0
