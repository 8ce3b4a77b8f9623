# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Response rate limiting, by a clock that stands where it is put."""

from __future__ import annotations

import collections

import pytest

from wgsd.responder import limits
from wgsd.responder.limits import Limiter, Verdict

pytestmark = pytest.mark.unit

CLIENT = "198.51.100.7"


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def verdicts(limiter: Limiter, number: int, source: str = CLIENT) -> collections.Counter[Verdict]:
    """Ask for that many verdicts at once."""
    return collections.Counter(limiter.verdict(source) for _time in range(number))


def test_a_networks_responses_of_a_second_are_sent_and_half_of_the_rest_are_cut(clock):
    limiter = Limiter(50, clock)
    assert verdicts(limiter, 50) == {Verdict.SEND: 50}
    assert verdicts(limiter, 100) == {Verdict.DROP: 50, Verdict.SLIP: 50}


def test_the_responses_come_back_with_time_and_never_more_than_those_of_a_second(clock):
    limiter = Limiter(50, clock)
    verdicts(limiter, 60)
    clock.now += 0.1
    assert verdicts(limiter, 20)[Verdict.SEND] == 5
    clock.now += 3600
    assert verdicts(limiter, 100)[Verdict.SEND] == 50


def test_a_steady_flood_gets_the_rate_however_the_tables_turn(clock):
    limiter = Limiter(50, clock)
    sent = 0
    for _step in range(1000):
        clock.now += 0.01
        sent += verdicts(limiter, 10)[Verdict.SEND]
    assert sent == pytest.approx(50 + 10 * 50, abs=2)


@pytest.mark.parametrize(
    ("neighbour", "stranger"),
    [("198.51.100.250", "198.51.101.7"), ("2001:db8:0:1ff::9", "2001:db8:0:200::7")],
)
def test_a_network_counts_as_one_client_and_no_other_suffers_from_it(clock, neighbour, stranger):
    limiter = Limiter(10, clock)
    client = CLIENT if "." in neighbour else "2001:db8:0:100::7"
    verdicts(limiter, 10, client)
    assert verdicts(limiter, 1, neighbour) == {Verdict.DROP: 1}
    assert verdicts(limiter, 10, stranger) == {Verdict.SEND: 10}


def test_a_rate_of_zero_limits_nothing(clock):
    assert verdicts(Limiter(0, clock), 10_000) == {Verdict.SEND: 10_000}


def test_memory_is_bounded_whatever_sources_are_made_up(clock):
    limiter = Limiter(5, clock)
    for number in range(3 * limits.NETWORKS):
        limiter.verdict(f"{10 + number // 65536}.{number // 256 % 256}.{number % 256}.1")
    assert len(limiter._recent) + len(limiter._before) <= 2 * limits.NETWORKS


def test_a_network_that_goes_on_is_not_forgotten_among_made_up_ones(clock):
    limiter = Limiter(5, clock)
    sent = collections.Counter()
    for number in range(3 * limits.NETWORKS):
        limiter.verdict(f"{10 + number // 65536}.{number // 256 % 256}.{number % 256}.1")
        sent[limiter.verdict(CLIENT)] += 1
    assert sent[Verdict.SEND] == 5
