# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two plans that know nothing of each other bring their hosts together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.plan.pair import Pair, Router
from wgsd.plan import State

pytestmark = pytest.mark.unit

LATENCIES = st.floats(0.0005, 0.15)
#: Seconds by which one end hears of the other before that hears of it.
SKEWS = st.floats(-0.1, 0.1) | st.floats(-3, 3)
AHEAD = st.floats(0, 1000)


def met(drops, latency, skew, ahead) -> Pair:
    """Return a pair whose ends hear of each other *skew* seconds apart."""
    pair = Pair(drops, latency=latency, ahead=ahead)
    one, other = pair.hosts
    pair.after(max(0.0, -skew), one.learn)
    pair.after(max(0.0, skew), other.learn)
    return pair


@given(LATENCIES, SKEWS, AHEAD)
def test_behind_routers_that_drop_what_is_uninvited_they_meet_at_once(latency, skew, ahead):
    pair = met((True, True), latency, skew, ahead)
    # The one that was told first tries again, or WireGuard does.
    assert pair.run_until(lambda: pair.is_direct, 30) <= abs(skew) + 5 + 8 * latency


@given(st.booleans(), LATENCIES, SKEWS, AHEAD)
@settings(deadline=None)
def test_behind_one_that_does_not_they_meet_once_its_end_is_first(first, latency, skew, ahead):
    pair = met((first, not first), latency, skew, ahead)
    pair.run_until(lambda: pair.is_direct, 200)


@given(LATENCIES, SKEWS, AHEAD)
@settings(deadline=None)
def test_behind_two_that_do_not_they_meet_once_they_begin_together(latency, skew, ahead):
    pair = met((False, False), latency, skew, ahead)
    pair.run_until(lambda: pair.is_direct, 260)


@given(LATENCIES, st.floats(0, 0.9), AHEAD)
def test_behind_two_that_do_not_they_meet_if_they_hear_of_each_other_at_once(latency, part, ahead):
    pair = met((False, False), latency, part * latency, ahead)
    assert pair.run_until(lambda: pair.is_direct, 30) <= 5 + 8 * latency


@given(LATENCIES, AHEAD)
@settings(deadline=None)
def test_who_cannot_meet_is_told_as_unreachable_within_30_seconds(latency, ahead):
    pair = met((False, False), latency, 3.0, ahead)
    begun = pair.now
    pair.run_until(lambda: all(h.state is State.UNREACHABLE for h in pair.hosts), 60)
    assert all(host.told_at - begun <= 30 for host in pair.hosts)


def moved(drops, new_drops, latency, ahead) -> tuple[float, bool]:
    """Have one of a pair go behind another router.

    Returns:
        How many seconds the other needed to hear it there, and whether the session is the same.
    """
    pair = met(drops, latency, 0.0, ahead)
    pair.run_until(lambda: pair.is_direct, 30)
    pair.run(20)
    mover, other = pair.hosts
    sessions = [*other.sessions]
    mover.move(Router("203.0.113.9", drops=new_drops))
    took = pair.run_until(
        lambda: (
            other.peer.endpoint == mover.router.endpoint
            and other.state is State.DIRECT
            and not other.asks
        ),
        240,
    )
    return took, other.sessions == sessions


@given(st.booleans(), LATENCIES, AHEAD)
def test_a_host_that_moves_is_followed_with_its_session(new_drops, latency, ahead):
    took, kept = moved((True, True), new_drops, latency, ahead)
    rtt = 2 * latency
    # The registry tells the other end after two round trips, which then asks before it follows.
    assert took <= 2 * rtt + max(0.15, 2.55 * rtt) + rtt + 0.05
    assert kept


@given(st.booleans(), LATENCIES, AHEAD)
@settings(deadline=None)
def test_a_host_that_moves_meets_one_whose_router_remembers_its_first_packet(
    new_drops, latency, ahead
):
    moved((True, False), new_drops, latency, ahead)
