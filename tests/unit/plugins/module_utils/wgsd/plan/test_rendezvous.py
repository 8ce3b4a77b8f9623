# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When two ends that cannot talk try again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.keys import PublicKey
from wgsd.plan.rendezvous import EAGER, LAG, REST_EVERY, REST_MIN, SLOT, TRY_FOR, WAYS, next_meeting

pytestmark = pytest.mark.unit

KEYS = st.binary(min_size=32, max_size=32).map(PublicKey)
PAIRS = st.tuples(KEYS, KEYS).filter(lambda pair: pair[0] != pair[1])
WALLS = st.floats(0, 4e9)
#: Seconds after which Linux forgets a packet without a reply.
FORGETS = 30.0


def both(pair, wall, earlier=EAGER):
    """Return when each end begins next."""
    return [next_meeting(own, other, wall, REST_MIN, earlier) for own, other in (pair, pair[::-1])]


@given(PAIRS, WALLS, st.integers(0, 9))
def test_both_ends_begin_together_but_for_the_lag_of_one_of_them(pair, wall, earlier):
    one, other = both(pair, wall, earlier)
    lag = abs(one.begin - other.begin)
    assert lag == pytest.approx(LAG) or lag == pytest.approx(0, abs=1e-6)
    assert one.rest == pytest.approx(other.rest)
    first = min(one.begin, other.begin)
    assert first + 1e-6 >= REST_MIN
    assert first <= REST_MIN + SLOT
    assert one.rest - first + 1e-6 >= TRY_FOR


@given(PAIRS, WALLS)
def test_a_pair_that_rests_together_begins_in_each_way_in_turn(pair, wall):
    ways = []
    for earlier in range(4 * EAGER):
        one, other = both(pair, wall, earlier)
        ways.append(round((one.begin - other.begin) / LAG))
        wall += one.rest
    assert set(ways) == {-1, 0, 1}
    for series in (ways[:EAGER], ways[EAGER:]):
        assert all(len(set(three)) == WAYS for three in zip(series, series[1:], series[2:]))


def meetings(own, other, wall, number):
    """Yield when an end that gives up now falls silent and begins again, so many times."""
    silent = wall
    for earlier in range(number):
        meeting = next_meeting(own, other, silent, REST_MIN, earlier)
        yield silent, silent + meeting.begin
        silent += meeting.rest


def common(pair, wall, later, number):
    """Return when both ends begin after a silence of both, and by how much the one is later.

    Args:
        later: Seconds by which the other one gives up later.
    """
    ones, others = meetings(*pair, wall, number), meetings(*pair[::-1], wall + later, number)
    return [
        (max(one, other) - wall, round((one - other) / LAG))
        for (fell, one), (other_fell, other) in itertools.product(ones, list(others))
        if abs(one - other) < LAG + 1e-3 and min(one, other) - max(fell, other_fell) > FORGETS
    ]


@given(PAIRS, WALLS, st.floats(0, SLOT))
def test_ends_that_give_up_within_a_minute_try_each_way_within_five(pair, wall, later):
    met = [way for after, way in common(pair, wall, later, EAGER) if after - later < 300]
    assert set(met) == {-1, 0, 1}


@given(PAIRS, WALLS, st.floats(0, 2000))
def test_ends_that_give_up_at_any_time_fall_in_step_before_long(pair, wall, later):
    met = common(pair, wall, later, EAGER + 6)
    assert min(after for after, _way in met) - later <= 2 * REST_EVERY * SLOT
