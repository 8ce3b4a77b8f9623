# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for a peer whatever its directory, the clocks and the network do.

That no decision is due in the past, and that none follows on another while nothing happens, is
checked at every look of every `World`.
"""

from __future__ import annotations

import math

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.unit.plugins.module_utils.wgsd.plan.world import (
    BOB,
    CAFE,
    HOME,
    PRESHARED_KEY,
    TRAIN,
    World,
    bob,
)
from wgsd.keys import PublicKey
from wgsd.plan import Policy, State
from wgsd.plan.decide import CHANGE_PAUSE, CHANGES_AT_ONCE

pytestmark = pytest.mark.unit

PLACES = st.sampled_from([HOME, CAFE, TRAIN])
RTTS = st.floats(0.0005, 0.3)
#: Short ones more often than the long ones.
SECONDS = st.floats(0.01, 2) | st.floats(0.01, 40) | st.floats(0.01, 400)
JUMPS = st.sampled_from([-1e8, -86400.0, -200.0, -1.0, 1.0, 200.0, 86400.0, 1e8])
MINUTE = 60.0
#: Seconds until a peer that is back has a tunnel: a session may have to end first.
LONGEST_WAIT = 240.0


class Meddling(RuleBasedStateMachine):
    """A peer that comes and goes, a directory that lies, clocks that are set."""

    @initialize(
        answers=st.booleans(),
        calls=st.sampled_from([0, 25]),
        rtt=RTTS,
        chosen=st.sampled_from([0, 15]),
        keepalive=st.sampled_from([0, 25]),
    )
    def begin(self, answers, calls, rtt, chosen, keepalive):
        peer = bob(persistent_keepalive=chosen)
        policy = Policy(keepalive=keepalive, continuous=True)
        self.world = World(peer, answers=answers, calls=calls, rtt=rtt, policy=policy)
        self.chosen = chosen
        self.news = self.restarts = self.comings = 0
        self.clock_is_right = True
        # It starts by a right clock, as in `the_agent_starts_anew`.
        self.world.look()

    @rule(where=st.none() | PLACES)
    def the_directory_says(self, where):
        self.news += 1
        self.world.says(where)
        self.world.look()

    @rule(seconds=SECONDS)
    def time_passes(self, seconds):
        self.world.run(seconds)

    @rule(where=PLACES)
    def the_peer_roams(self, where):
        self.world.roam(where)

    @rule(where=st.none() | PLACES)
    def the_peer_is_elsewhere(self, where):
        self.world.move(where)

    @precondition(lambda self: self.world.place is not None and not self.world.has_session)
    @rule()
    def the_peer_comes_by_itself(self):
        self.comings += 1
        self.world.connect(keepalive=None)

    @rule()
    def this_host_moves(self):
        self.world.stir()
        self.world.look()

    @rule(jump=JUMPS)
    def the_clock_jumps(self, jump):
        self.world.ahead += jump
        self.clock_is_right = False

    @precondition(lambda self: self.world.answers or self.clock_is_right)
    @rule(keepalive=st.none() | st.sampled_from([0, 10, 25]))
    def the_agent_starts_anew(self, keepalive):
        # A single one whose packets nobody answers cannot tell a jump from a long silence.
        self.world.run(10)
        self.restarts += 1
        self.world.restart(keepalive)
        self.world.look()

    def teardown(self):
        """Whatever was: where peer and directory agree, a tunnel comes up before long."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.move(HOME)
        world.says(HOME)
        world.look()
        world.run_until(
            lambda: world.live_since is not None and world.decision.state is State.DIRECT,
            LONGEST_WAIT,
        )

    @invariant()
    def no_live_tunnel_was_touched(self):
        assert self.world.harmed == []

    @invariant()
    def the_endpoint_changes_only_for_a_reason(self):
        kept = [d for _when, d in self.world.changes if d.after != d.before and not d.change.fresh]
        assert len(kept) <= self.news + self.comings + self.world.roamed

    @invariant()
    def changes_are_few(self):
        times = [when for when, _decision in self.world.changes]
        most = (1 + self.restarts) * CHANGES_AT_ONCE + MINUTE / CHANGE_PAUSE
        for when in times:
            assert sum(when <= other < when + MINUTE for other in times) <= most

    @invariant()
    def what_the_operator_chose_is_there(self):
        peer = self.world.peer
        assert peer.preshared_key == PRESHARED_KEY
        assert peer.allowed_ips == ("10.0.0.2/32",)
        rests = self.world.decision and self.world.decision.memory.rest_until is not None
        if self.chosen and not rests:
            assert peer.persistent_keepalive == self.chosen

    @invariant()
    def a_peer_that_nobody_knows_is_not_knocked_at(self):
        decision = self.world.decision
        told = BOB in self.world.records
        if told and decision and decision.state is State.UNKNOWN and decision.due == math.inf:
            assert self.world.peer.persistent_keepalive == self.chosen


TestMeddling = Meddling.TestCase
TestMeddling.settings = hypothesis.settings(max_examples=100, stateful_step_count=30, deadline=None)


@given(RTTS, st.floats(1, 200), st.lists(PLACES, min_size=1, max_size=4))
def test_a_peer_that_answers_is_followed_in_max_150_ms_or_two_and_a_half_round_trips(
    rtt, seconds, places
):
    world = World(rtt=rtt)
    world.says(HOME)
    world.connect()
    for place in places:
        world.run(seconds)
        world.move(place)
        world.says(place)
        world.look()
        took = world.run_until(lambda: world.peer.endpoint == world.place, 20)
        assert took <= max(0.15, 2.55 * rtt) + rtt / 2 + 0.002
        assert world.run_until(lambda: world.decision.state is State.DIRECT, 20) <= rtt + 0.002
    assert all(not decision.change.fresh for _when, decision in world.changes)


@given(RTTS, st.floats(0.01, 200), st.lists(PLACES, min_size=1, max_size=4))
def test_a_peer_that_does_not_answer_is_followed_in_twelve_and_a_half_seconds(rtt, seconds, places):
    world = World(rtt=rtt, answers=False)
    world.says(HOME)
    world.connect()
    for place in places:
        world.run(seconds)
        world.move(place)
        world.says(place)
        world.look()
        assert world.run_until(lambda: world.peer.endpoint == world.place, 20) <= 12.5
        world.run_until(lambda: world.decision.state is State.DIRECT, 20)
    assert all(not decision.change.fresh for _when, decision in world.changes)


@given(st.integers(0, 2**32), st.floats(0, 0.4), RTTS, st.booleans())
def test_on_a_lossy_path_a_peer_that_is_there_is_connected_and_followed(seed, loss, rtt, answers):
    world = World(seed=seed, loss=loss, rtt=rtt, answers=answers)
    for place in (HOME, CAFE):
        world.move(place)
        world.says(place)
        world.look()
        world.run_until(
            lambda: world.live_since is not None and world.decision.state is State.DIRECT, 240
        )


@given(st.floats(0, 4e9), st.booleans())
def test_a_peer_that_cannot_be_reached_is_told_as_such_within_30_seconds(wall, leads):
    world = World(place=None)
    world.ahead = wall
    world.us = world.us if leads else PublicKey(b"z" * 32)
    world.says(HOME)
    world.look()
    world.run_until(lambda: world.decision.state is State.UNREACHABLE, 30)
