# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When two ends that cannot talk try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.keys import PublicKey
from wgsd.plan.rendezvous import EAGER, LAG, REST_EVERY, REST_MIN, SLOT, WAYS, next_meeting

pytestmark = pytest.mark.unit

KEYS = st.binary(min_size=32, max_size=32).map(PublicKey)
PAIRS = st.tuples(KEYS, KEYS).filter(lambda pair: pair[0] != pair[1])
WALLS = st.floats(0, 4e9)


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
    assert one.rest >= first + SLOT - 1e-6


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


@given(PAIRS, WALLS)
def test_each_way_was_tried_once_within_seven_minutes(pair, wall):
    after = 0.0
    for earlier in range(EAGER):
        meeting = both(pair, wall + after, earlier)[0]
        begins, after = after + meeting.begin, after + meeting.rest
    assert begins + LAG < 420


@given(PAIRS, WALLS, st.floats(0, REST_EVERY * SLOT))
def test_whenever_they_give_up_the_ends_are_silent_together_before_long(pair, wall, later):
    """By their fourth rest at the latest, for longer than a router remembers."""
    ways = (pair, pair[::-1])
    rests, met = [wall, wall + later], [0, 0]
    while met[0] < EAGER or met[1] < EAGER or abs(rests[0] - rests[1]) > 1:
        one = rests.index(min(rests)) if min(met) >= EAGER else met.index(min(met))
        meeting = next_meeting(*ways[one], rests[one], REST_MIN, met[one])
        rests[one] += meeting.rest
        met[one] += 1
    assert max(rests) - wall <= 5 * REST_EVERY * SLOT
    begins = [
        rest + next_meeting(*way, rest, REST_MIN, EAGER).begin for way, rest in zip(ways, rests)
    ]
    assert min(begins) - max(rests) > 30
    assert max(begins) - min(begins) <= LAG + 1e-3
