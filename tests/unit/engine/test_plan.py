# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decisions about endpoints."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer, PeerRecord
from wgsd.plan import (
    EMPTY_HISTORY,
    FIRST_PAUSE,
    KEEPALIVE_GRACE,
    UNREACHABLE_AFTER,
    Policy,
    State,
    decide,
    holders,
    remember,
    wants_record,
)

pytestmark = pytest.mark.unit

BOB = PublicKey(b"b" * 32)
REGISTRY = PublicKey(b"r" * 32)
HOME = Endpoint("192.0.2.20", 51820)
CAFE = Endpoint("198.51.100.7", 40000)
NOW = 1_800_000_000.0
#: Seconds after which a peer with the usual keepalive counts as silent.
SILENT_AFTER = Policy().keepalive + KEEPALIVE_GRACE


def device_with(*peers: Peer) -> Device:
    return Device("wg0", PublicKey(b"a" * 32), 51820, 0, {peer.public_key: peer for peer in peers})


def bob(**fields) -> Peer:
    return Peer(BOB, **{"allowed_ips": ("10.0.0.2/32",), "preshared_key": b"p" * 32, **fields})


def at(endpoint: Endpoint) -> dict[PublicKey, PeerRecord | None]:
    return {BOB: PeerRecord(BOB, endpoint)}


def decide_one(peer, records, history=EMPTY_HISTORY, now=NOW, policy=Policy()):  # noqa: B008
    (decision,) = decide(device_with(peer), records, history, now, policy)
    return decision


class World:
    """A device that takes what the plan decides, and a clock."""

    def __init__(self, peer: Peer, records, policy=Policy()):  # noqa: B008
        self.peer, self.records, self.policy = peer, records, policy
        self.now, self.history, self.changes = NOW, EMPTY_HISTORY, []

    def look(self):
        decision = decide_one(self.peer, self.records, self.history, self.now, self.policy)
        self.history = remember(device_with(self.peer), [decision], self.history, self.now)
        if decision.change:
            self.changes.append((self.now, decision.change))
            fields = {"endpoint": decision.change.endpoint}
            if decision.change.fresh:
                keepalive = decision.change.persistent_keepalive
                fields |= {"persistent_keepalive": keepalive, "last_handshake": 0.0, "rx_bytes": 0}
            self.peer = dataclasses.replace(self.peer, **fields)
        return decision

    def handshake(self):
        rx = self.peer.rx_bytes + 92
        self.peer = dataclasses.replace(self.peer, last_handshake=self.now, rx_bytes=rx)


def test_a_peer_that_nobody_knows_is_left_alone():
    for records in ({}, {BOB: None}):
        decision = decide_one(bob(), records)
        assert (decision.state, decision.change) == (State.UNKNOWN, None)


def test_a_peer_without_a_session_is_made_anew_with_all_it_had():
    decision = decide_one(bob(), at(HOME), policy=Policy(keepalive=20))
    assert decision.state is State.KNOWN
    assert decision.change.fresh
    assert decision.change.endpoint == HOME
    assert decision.change.allowed_ips == ("10.0.0.2/32",)
    assert decision.change.preshared_key == b"p" * 32
    assert decision.change.persistent_keepalive == 20


def test_a_keepalive_that_the_operator_chose_stays():
    decision = decide_one(bob(persistent_keepalive=15), at(HOME))
    assert decision.change.persistent_keepalive == 15


def test_a_peer_whose_session_has_ended_is_made_anew():
    decision = decide_one(bob(endpoint=CAFE, last_handshake=NOW - 181), at(HOME))
    assert decision.change.fresh
    assert (decision.before, decision.after) == (CAFE, HOME)


def test_a_live_tunnel_keeps_its_endpoint_whatever_the_directory_says():
    decision = decide_one(bob(endpoint=CAFE, last_handshake=NOW - 10), at(HOME))
    assert (decision.state, decision.change) == (State.DIRECT, None)


def test_force_moves_a_live_tunnel_without_ending_its_session():
    live = bob(endpoint=CAFE, last_handshake=NOW - 10)
    decision = decide_one(live, at(HOME), policy=Policy(force=True))
    assert decision.change.endpoint == HOME
    assert not decision.change.fresh


def test_force_does_nothing_where_nothing_differs():
    live = bob(endpoint=HOME, last_handshake=NOW - 10)
    assert decide_one(live, at(HOME), policy=Policy(force=True)).change is None


def test_a_second_single_run_does_nothing():
    world = World(bob(), at(HOME))
    world.look()
    again = decide_one(world.peer, at(HOME))
    assert (again.state, again.change) == (State.PUNCHING, None)


def test_the_registry_is_never_touched_and_others_only_if_asked_for():
    peers = device_with(bob(), Peer(REGISTRY))
    records = at(HOME) | {REGISTRY: PeerRecord(REGISTRY, CAFE)}
    protect = Policy(protected=frozenset([REGISTRY]), force=True)
    assert [d.public_key for d in decide(peers, records, EMPTY_HISTORY, NOW, protect)] == [BOB]
    only = Policy(only=frozenset([REGISTRY]))
    assert [d.public_key for d in decide(peers, records, EMPTY_HISTORY, NOW, only)] == [REGISTRY]


def test_tries_are_spaced_ever_wider_and_end_as_unreachable():
    world = World(bob(), at(HOME))
    states = []
    while world.now < NOW + 600:
        states.append(world.look().state)
        world.now += 0.05
    times = [when - NOW for when, _change in world.changes]
    assert times[:4] == pytest.approx([0, 2, 6, 14], abs=0.2)
    assert max(b - a for a, b in zip(times, times[1:])) <= 61
    assert len(times) < 20
    assert states[int((UNREACHABLE_AFTER - 1) / 0.05)] is State.PUNCHING
    assert states[int((UNREACHABLE_AFTER + 1) / 0.05)] is State.UNREACHABLE


def test_a_handshake_ends_the_tries_and_forgets_them():
    world = World(bob(), at(HOME))
    world.look()
    world.now += 0.05
    world.handshake()
    assert world.look().state is State.DIRECT
    world.now += 200
    world.look()
    assert len(world.changes) == 1, "the endpoint is still right: WireGuard itself tries first"


def test_a_peer_that_left_the_directorys_endpoint_is_followed_once_it_is_silent():
    world = World(bob(), at(HOME))
    world.look()
    world.handshake()
    world.look()
    world.records = at(CAFE)
    world.now += SILENT_AFTER / 2
    assert world.look().state is State.DIRECT, "it may still be alive there"
    world.now += SILENT_AFTER / 2 + 1
    decision = world.look()
    assert (decision.state, decision.after) == (State.STALE, CAFE)
    assert not decision.change.fresh, "its session still holds"


def test_a_silent_peer_that_roamed_to_us_by_itself_is_not_dragged_back():
    world = World(bob(), at(HOME))
    world.look()
    world.handshake()
    world.peer = dataclasses.replace(world.peer, endpoint=Endpoint("192.168.1.9", 51820))
    world.look()
    world.now += 2 * SILENT_AFTER
    assert world.look().state is State.DIRECT


def test_a_directory_that_flaps_does_not_make_us_start_over_and_over():
    world = World(bob(), at(HOME))
    for step in range(200):
        world.records = at(CAFE if step % 2 else HOME)
        world.look()
        world.now += 0.05
    assert len(world.changes) <= 10 / FIRST_PAUSE + 1


def test_a_clock_that_jumps_back_harms_no_tunnel():
    world = World(bob(), at(HOME))
    world.look()
    world.handshake()
    world.now -= 86400
    world.records = at(CAFE)
    assert world.look().state is State.DIRECT


def test_a_record_is_wanted_only_where_it_could_matter():
    live = bob(last_handshake=NOW - 1)
    assert wants_record(bob(), EMPTY_HISTORY, NOW, Policy())
    assert not wants_record(live, EMPTY_HISTORY, NOW, Policy())
    assert wants_record(live, EMPTY_HISTORY, NOW, Policy(force=True))
    world = World(bob(), at(HOME))
    world.handshake()
    world.look()
    later = NOW + SILENT_AFTER + 1
    assert wants_record(world.peer, world.history, later, Policy())
    assert not wants_record(world.peer, world.history, later, Policy(keepalive=0)), "nobody calls"


def test_peers_that_are_gone_are_forgotten():
    history = remember(device_with(), [], {BOB: object()}, NOW)
    assert history == {}


def test_the_registry_is_the_peer_with_the_longest_matching_prefix():
    gateway = Peer(BOB, allowed_ips=("0.0.0.0/0", "::/0"))
    registry = Peer(REGISTRY, allowed_ips=("10.0.0.254/32",))
    assert holders(device_with(gateway, registry), ["10.0.0.254"]) == {REGISTRY}
    assert holders(device_with(gateway, registry), ["10.0.0.1"]) == {BOB}
    assert holders(device_with(registry), ["10.0.0.1", "fd00::1"]) == frozenset()


ENDPOINTS = st.sampled_from([HOME, CAFE, Endpoint("2001:db8::1", 1)])
PEERS = st.builds(
    bob,
    endpoint=st.none() | ENDPOINTS,
    last_handshake=st.just(0.0) | st.floats(NOW - 400, NOW + 60),
    rx_bytes=st.integers(0, 1000),
    persistent_keepalive=st.integers(0, 60),
)
RECORDS = st.just({}) | st.just({BOB: None}) | ENDPOINTS.map(at)
STEPS = st.lists(
    st.tuples(RECORDS, st.floats(0.01, 100), st.booleans(), st.none() | ENDPOINTS), max_size=40
)


@given(PEERS, STEPS)
def test_whatever_happens_a_session_is_never_removed_and_nothing_is_done_twice(peer, steps):
    world = World(peer, {})
    for records, pause, handshake, roam in steps:
        world.records = records
        world.now += pause
        if handshake:
            world.handshake()
        if roam and world.peer.last_handshake:
            world.peer = dataclasses.replace(world.peer, endpoint=roam)
        had_session = world.peer.last_handshake > 0 and world.now - world.peer.last_handshake < 180
        decision = world.look()
        if had_session and decision.change:
            assert not decision.change.fresh
            assert decision.state is State.STALE
        assert world.look().change is None, "the same state gives no second action"
