# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which peers decisions are about, which lead to the registry, and what a host that moved sets."""

from __future__ import annotations

import pytest

from tests.unit.plugins.module_utils.wgsd.plan.world import BOB, CAFE, HOME, at, bob, device_with
from wgsd.clock import Moment
from wgsd.keys import PublicKey
from wgsd.model import Peer, PeerChange, PeerRecord
from wgsd.plan import NONE_YET, Policy, decide, holders, renewals

pytestmark = pytest.mark.unit

REGISTRY = PublicKey(b"r" * 32)
NOW = Moment(1_800_000_000.0, 1000.0)


def test_the_registry_is_never_touched_and_others_only_if_asked_for():
    peers = device_with(bob(), Peer(REGISTRY, allowed_ips=("10.0.0.254/32",)))
    records = at(HOME) | {REGISTRY: PeerRecord(REGISTRY, CAFE)}
    protect = Policy(protected=frozenset([REGISTRY]), force=True)
    assert [d.public_key for d in decide(peers, records, NONE_YET, NOW, protect)] == [BOB]
    only = Policy(only=frozenset([REGISTRY]))
    assert [d.public_key for d in decide(peers, records, NONE_YET, NOW, only)] == [REGISTRY]


def test_the_next_key_of_a_peer_is_left_alone_until_something_is_reached_by_it():
    announced = Peer(REGISTRY, endpoint=CAFE, rx_bytes=148)
    records = at(HOME) | {REGISTRY: PeerRecord(REGISTRY, HOME)}
    policy = Policy(continuous=True)
    decided = decide(device_with(bob(), announced), records, NONE_YET, NOW, policy)
    assert [d.public_key for d in decided] == [BOB]


def test_the_registry_is_the_peer_with_the_longest_matching_prefix():
    gateway = Peer(BOB, allowed_ips=("0.0.0.0/0", "::/0"))
    registry = Peer(REGISTRY, allowed_ips=("10.0.0.254/32",))
    assert holders(device_with(gateway, registry), ["10.0.0.254"]) == {REGISTRY}
    assert holders(device_with(gateway, registry), ["10.0.0.1"]) == {BOB}
    assert holders(device_with(registry), ["10.0.0.1", "fd00::1"]) == frozenset()


def test_a_host_that_moved_sets_the_endpoints_that_are_there_and_nothing_else():
    device = device_with(bob(endpoint=HOME), Peer(REGISTRY))
    assert renewals(device) == [PeerChange(BOB, endpoint=HOME)]
