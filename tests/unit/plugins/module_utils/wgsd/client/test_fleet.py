# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client whose device has a thousand peers: how often it touches the device."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.plugins.module_utils.wgsd.client.test_agent import (
    SERVER,
    SETTINGS,
    FakeDevice,
    FakeDirectory,
    FakeProber,
)
from wgsd.client.agent import Agent
from wgsd.client.pace import LEISURE_LOAD, QUIET_INTERVAL, WAITING_LOAD, Cost, Pace
from wgsd.clock import Moment
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer, PeerRecord
from wgsd.plan import State

pytestmark = pytest.mark.unit

PEERS = 1_000
KEYS = [PublicKey(number.to_bytes(32, "big")) for number in range(PEERS)]
NOW = 1_800_000_000.0


class CountingDevice(FakeDevice):
    """Counts its operations."""

    def __init__(self) -> None:
        super().__init__()
        self.applies = 0
        registry = next(iter(self.peers))
        self.peers = {registry: self.peers[registry]}
        for number, key in enumerate(KEYS):
            allowed = f"10.1.{number // 250}.{number % 250}/32"
            self.peers[key] = Peer(key, allowed_ips=(allowed,))

    def apply(self, changes):
        self.applies += bool(changes)
        super().apply(changes)


class Fleet:
    """An agent at its own pace, whose directory knows where all peers are."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0
        self.device, self.directory = CountingDevice(), FakeDirectory()
        self.directory.is_copy = True
        self.directory.records = {
            key: PeerRecord(key, Endpoint(f"198.18.0.{number % 250 + 1}", 1024 + number))
            for number, key in enumerate(KEYS)
        }
        self.pace = Pace(jitter=lambda: 0.0)
        self.agent = Agent(
            SETTINGS,
            self.directory,
            prober=FakeProber(),
            opener=self.device.open,
            now=lambda: Moment(NOW + self.now, 1000.0 + self.now),
        )

    def run(self, seconds: float) -> None:
        """Look and wait as the client's loop does."""
        until = self.now + seconds
        while self.now < until:
            look = self.agent.look()
            self.looks += 1
            changed = {decision.state for decision in look.decisions if decision.change}
            pause = self.pace.after_look(
                [decision.state for decision in look.decisions],
                bool(changed - {State.UNREACHABLE}),
                self.now,
                Cost.NOTHING,
                retried=State.UNREACHABLE in changed,
            )
            due = look.due_with(self.pace.leisure) - 1000.0 - self.now
            self.now += min(pause, max(self.pace.shortest, due))

    def count(self) -> tuple[int, int, int]:
        return self.looks, self.agent.reads, self.device.applies


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_a_thousand_endpoints_are_set_by_one_read_and_one_operation(fleet):
    fleet.agent.look()
    assert fleet.agent.reads == fleet.device.applies == 1
    assert all(fleet.device.peers[key].endpoint for key in KEYS)


def test_a_thousand_peers_that_are_off_are_tried_together_and_not_one_by_one(fleet):
    fleet.run(65.0)
    before = fleet.count()
    fleet.run(60.0)
    looks, reads, applies = (after - then for after, then in zip(fleet.count(), before))
    assert len(fleet.device.applied) > 2 * PEERS
    assert applies <= looks
    assert reads == looks
    assert looks <= 60 * LEISURE_LOAD / PEERS


def test_a_thousand_clients_that_miss_peers_ask_a_server_no_more_than_it_bears(fleet):
    """It may be one that does not notify them; each of the thousand asks as often as this one."""
    fleet.run(65.0)
    before = fleet.directory.serials
    fleet.run(60.0)
    assert 0 < (fleet.directory.serials - before) * PEERS <= 60 * WAITING_LOAD


def test_ends_of_a_pair_begin_together_however_many_others_are_off(fleet):
    fleet.run(30.0)
    lags = []
    for _number in range(100):
        resting = {
            decision.public_key: decision.memory.rest_until
            for decision in fleet.agent._last.values()
            if decision.memory.rest_until is not None
        }
        fleet.run(0.1)
        for key, begin in resting.items():
            decision = fleet.agent._last[key]
            if decision.change and decision.memory.rest_until is None:
                lags.append(decision.memory.last_try - begin)
    assert len(lags) > 100
    assert max(lags) < 0.2


def test_a_thousand_quiet_tunnels_are_looked_at_now_and_then(fleet):
    for number, key in enumerate(KEYS):
        peer = fleet.device.peers[key]
        endpoint = fleet.directory.records[key].endpoint
        fleet.device.peers[key] = dataclasses.replace(
            peer, endpoint=endpoint, last_handshake=NOW - number / 10, persistent_keepalive=25
        )
    fleet.agent.look()
    # Their kernels refuse the probes of the beginning.
    fleet.agent._prober.answers = dict.fromkeys(KEYS, 0.01)
    fleet.run(25.0)
    before = fleet.agent.reads
    for key in KEYS:
        # A keepalive.
        peer = fleet.device.peers[key]
        fleet.device.peers[key] = dataclasses.replace(peer, rx_bytes=peer.rx_bytes + 32)
    fleet.run(25.0)
    assert fleet.agent.reads - before <= 25 / QUIET_INTERVAL + 1
    assert not fleet.device.applied


def test_the_peer_that_leads_to_the_registry_is_found_anew_when_allowed_ips_change(fleet):
    fleet.agent.look()
    assert KEYS[0] not in fleet.agent.registries
    peer = fleet.device.peers[KEYS[0]]
    registry = next(iter(fleet.agent.registries))
    fleet.device.peers[KEYS[0]] = dataclasses.replace(
        peer, allowed_ips=(*peer.allowed_ips, f"{SERVER.address}/32")
    )
    del fleet.device.peers[registry]
    fleet.agent.look()
    assert list(fleet.agent.registries) == [KEYS[0]]
