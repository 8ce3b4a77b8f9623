# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a registry is lost, and what is done to find it again."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer
from wgsd.plan.registry import CHANGES_MAX, KEEPALIVE_BYTES, decide_registry

pytestmark = pytest.mark.unit

OLD = Endpoint("203.0.113.4", 51820)
NEW = Endpoint("203.0.113.9", 51820)
THIRD = Endpoint("2001:db8::4", 51820)
REGISTRY = Peer(
    PublicKey(b"r" * 32),
    endpoint=OLD,
    allowed_ips=("10.0.0.254/32",),
    last_handshake=1_800_000_000.0,
    rx_bytes=5000,
    tx_bytes=5000,
    persistent_keepalive=25,
    preshared_key=b"p" * 32,
)
QUERY = 144
STEP = 0.5


class World:
    """A device that takes what is decided, a registry or none, and a clock."""

    def __init__(self, *wanted: Endpoint, peer: Peer = REGISTRY) -> None:
        self.peer = peer
        self.wanted = wanted
        self.now = 1000.0
        self.trouble = False
        self.changes: list[tuple[float, str, Endpoint | None]] = []
        self.resolved_at: list[float] = []
        self.memory = None
        self._begun = self.now
        self.look()

    def look(self) -> None:
        decision = decide_registry(self.peer, self.wanted, self.memory, self.now, self.trouble)
        self.memory = decision.memory
        self.reason = decision.reason
        self.due = decision.due
        if decision.resolve:
            self.resolved_at.append(self.now - self._begun)
        if decision.change is not None:
            how = "fresh" if decision.change.fresh else "kept"
            self.changes.append((self.now - self._begun, how, decision.change.endpoint))
            self.peer = dataclasses.replace(self.peer, endpoint=decision.change.endpoint)
            if decision.change.fresh:
                self.peer = dataclasses.replace(
                    self.peer, last_handshake=0.0, rx_bytes=0, tx_bytes=0
                )

    def traffic(self, sent: int = 0, came: int = 0) -> None:
        self.peer = dataclasses.replace(
            self.peer,
            tx_bytes=self.peer.tx_bytes + sent,
            rx_bytes=self.peer.rx_bytes + came,
        )

    def silence(self, seconds: float) -> None:
        """Queries leave, and nothing comes in."""
        if not self.trouble:
            self.trouble, self._begun = True, self.now + STEP
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            self.traffic(sent=QUERY)
            self.look()


def test_a_registry_that_answers_is_left_alone_wherever_it_is():
    world = World(NEW)
    for _number in range(100):
        world.now += 10
        world.traffic(sent=QUERY, came=QUERY)
        world.look()
    assert world.changes == world.resolved_at == []
    assert world.reason == "it answers"


def test_a_registry_without_a_name_is_started_over_where_it_was_in_growing_intervals():
    world = World()
    world.silence(200)
    assert world.changes == [
        (after, "fresh", OLD) for after in (4.0, 9.0, 19.0, 39.0, 79.0, 139.0, 199.0)
    ]


def test_a_fresh_entry_has_all_that_the_old_one_had():
    world = World()
    world.silence(3)
    world.traffic(sent=QUERY)
    world.now += 2
    change = decide_registry(world.peer, (), world.memory, world.now, True).change
    assert change.create
    assert change.allowed_ips == REGISTRY.allowed_ips
    assert change.preshared_key == REGISTRY.preshared_key
    assert change.persistent_keepalive == REGISTRY.persistent_keepalive


def test_a_registry_that_may_have_moved_keeps_its_session_for_two_seconds():
    world = World(NEW)
    world.silence(15)
    assert world.changes == [(4.0, "kept", NEW), (6.0, "fresh", NEW), (11.0, "fresh", NEW)]


def test_a_registry_that_answers_where_it_moved_keeps_its_session():
    world = World(NEW)
    world.silence(5)
    world.traffic(came=QUERY)
    world.trouble = False
    for _number in range(20):
        world.now += 10
        world.look()
    assert world.changes == [(4.0, "kept", NEW)]


def test_an_address_that_the_name_gets_later_is_gone_to_at_once():
    world = World(OLD)
    world.silence(12)
    world.wanted = (NEW,)
    world.silence(1)
    assert world.changes == [(4.0, "fresh", OLD), (9.0, "fresh", OLD), (12.0, "fresh", NEW)]


def test_a_name_that_also_stands_for_the_present_address_moves_nothing_at_first():
    world = World(NEW, OLD, THIRD)
    world.silence(5)
    assert world.changes == [(4.0, "fresh", OLD)]


def test_all_addresses_of_a_name_have_their_turn():
    world = World(NEW, OLD, THIRD)
    world.silence(45)
    assert [endpoint for _at, _how, endpoint in world.changes] == [OLD, THIRD, NEW, OLD]


def test_a_name_is_resolved_anew_after_two_seconds_and_then_more_and_more_rarely():
    world = World()
    world.silence(200)
    assert world.resolved_at == [2.0, 12.0, 32.0, 72.0, 132.0, 192.0]


def test_a_peer_that_has_no_endpoint_gets_the_first_one_that_is_known():
    world = World(peer=dataclasses.replace(REGISTRY, endpoint=None, last_handshake=0.0))
    world.trouble = True
    for _number in range(10):
        world.now += 1
        world.look()
    assert world.changes == []
    assert "no endpoint is known" in world.reason
    world.wanted = (NEW,)
    world.now += 1
    world.look()
    assert [change[1:] for change in world.changes] == [("fresh", NEW)]


def test_keepalives_that_nobody_answers_are_no_silence():
    world = World(NEW)
    world.trouble = True
    for _number in range(4):
        world.now += 10
        world.traffic(sent=KEEPALIVE_BYTES)
        world.look()
    assert world.changes == []


def test_a_registry_that_nothing_can_be_sent_to_is_looked_for_elsewhere_in_the_end():
    """As on a host that has lost its IPv6 and knew the registry by that."""
    world = World(THIRD, NEW, peer=dataclasses.replace(REGISTRY, endpoint=THIRD))
    world.trouble = True
    for _number in range(55):
        world.now += 1
        world.look()
    assert world.changes == [(44.0, "fresh", THIRD), (49.0, "fresh", NEW)]


def test_a_look_is_due_when_something_is():
    world = World(NEW)
    world.silence(STEP)
    assert world.due == world.now + 2
    world.now = world.due
    world.look()
    assert len(world.resolved_at) == 1
    world.now = world.due
    world.look()
    assert len(world.changes) == 1
    assert world.due == world.now + 2


def test_a_registry_that_is_found_and_answers_no_queries_has_15_seconds_to_acknowledge_them():
    """As WireGuard does by itself, where a firewall on the registry says nothing."""
    world = World()
    world.silence(5)
    for _number in range(20):
        world.traffic(came=92)
        world.silence(14)
    assert world.changes == [(4.0, "fresh", OLD)]


steps = st.lists(
    st.tuples(
        st.floats(0.01, 30), st.booleans(), st.sampled_from([(), (OLD,), (NEW,), (THIRD, NEW)])
    ),
    max_size=150,
)


@given(steps, st.integers(1, 100_000))
def test_a_registry_from_which_bytes_come_is_never_touched(timeline, came):
    world = World()
    for pause, trouble, wanted in timeline:
        world.now += pause
        world.trouble, world.wanted = trouble, wanted
        world.traffic(sent=QUERY, came=came)
        world.look()
    assert world.changes == []


@given(steps)
def test_a_registry_whose_answers_are_seen_a_look_later_is_never_touched(timeline):
    world = World()
    for pause, trouble, wanted in timeline:
        world.now += pause
        world.trouble, world.wanted = trouble, wanted
        world.traffic(sent=QUERY)
        world.look()
        world.now += 0.1
        world.traffic(came=QUERY)
        world.look()
    assert world.changes == []


@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 10),
            st.booleans(),
            st.sampled_from([0, 0, 0, 0, QUERY]),
            st.sampled_from([(), (OLD,), (NEW,), (THIRD, NEW)]),
        ),
        max_size=300,
    )
)
def test_changes_are_few_whatever_the_name_and_the_network_do(timeline):
    world = World()
    for pause, trouble, came, wanted in timeline:
        world.now += pause
        world.trouble, world.wanted = trouble, wanted
        world.traffic(sent=QUERY, came=came)
        world.look()
    times = [at for at, _how, _endpoint in world.changes]
    for first, seventh in zip(times, times[CHANGES_MAX:]):
        assert seventh - first >= 60
