# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When two ends that cannot talk try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.keys import PublicKey
from wgsd.plan.rendezvous import LAG, REST_EVERY, REST_MIN, SLOT, next_meeting

pytestmark = pytest.mark.unit

KEYS = st.binary(min_size=32, max_size=32).map(PublicKey)
PAIRS = st.tuples(KEYS, KEYS).filter(lambda pair: pair[0] != pair[1])
WALLS = st.floats(0, 4e9)


@given(PAIRS, WALLS)
def test_both_ends_begin_together_but_for_the_lag_of_one_of_them(pair, wall):
    one, other = next_meeting(*pair, wall, REST_MIN), next_meeting(*pair[::-1], wall, REST_MIN)
    assert abs(one.begin - other.begin) == pytest.approx(LAG)
    assert one.rest == pytest.approx(other.rest)
    first = min(one.begin, other.begin)
    assert first + 1e-6 >= REST_MIN
    assert first <= REST_MIN + SLOT
    assert one.rest >= first + SLOT - 1e-6


@given(PAIRS, WALLS)
def test_a_pair_that_rests_together_takes_turns_in_being_first(pair, wall):
    firsts = []
    for _number in range(6):
        one, other = next_meeting(*pair, wall, REST_MIN), next_meeting(*pair[::-1], wall, REST_MIN)
        firsts.append(one.begin < other.begin)
        wall += one.rest
    assert all(before is not after for before, after in zip(firsts, firsts[1:]))


@given(PAIRS, WALLS, st.floats(0, REST_EVERY * SLOT))
def test_whenever_they_give_up_the_ends_are_silent_together_before_long(pair, wall, later):
    """By their second rest at the latest, for longer than a router remembers."""
    one = next_meeting(*pair, wall, REST_MIN)
    other = next_meeting(*pair[::-1], wall + later, REST_MIN)
    rests = [wall + one.rest, wall + later + other.rest]
    while abs(rests[0] - rests[1]) > 1:
        earlier = rests.index(min(rests))
        meeting = next_meeting(*pair, rests[earlier], REST_MIN)
        rests[earlier] += meeting.rest
    assert max(rests) - wall <= 3 * REST_EVERY * SLOT
    begins = [rest + next_meeting(*pair, rest, REST_MIN).begin for rest in rests]
    assert min(begins) - max(rests) > 30
    assert max(begins) - min(begins) <= LAG + 1e-3
