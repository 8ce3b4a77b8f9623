# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's loop over device and directory, and its pace."""

from __future__ import annotations

import dataclasses
import json

import pytest

from wgsd.client import pace, report
from wgsd.client.agent import NO_TUNNEL_TIMEOUT, RECORD_MAX_AGE, Agent
from wgsd.config import ClientSettings
from wgsd.directory import ZoneVersion
from wgsd.errors import NoDeviceError, ServerError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer, PeerRecord
from wgsd.plan import State

pytestmark = pytest.mark.unit

SERVER = Endpoint("10.0.0.254", 53)
SETTINGS = ClientSettings("wg0", "example.com.", (SERVER,))
REGISTRY = PublicKey(b"r" * 32)
BOB = PublicKey(b"b" * 32)
CAROL = PublicKey(b"c" * 32)
HOME = Endpoint("192.0.2.20", 51820)
NOW = 1_800_000_000.0
QUERY = pace.Cost.QUERY


class FakeDevice:
    """A device in memory; counts reads, and can be made to vanish."""

    kind = "fake"

    def __init__(self) -> None:
        self.peers = {
            REGISTRY: Peer(REGISTRY, allowed_ips=("10.0.0.254/32",)),
            BOB: Peer(BOB, allowed_ips=("10.0.0.2/32",)),
        }
        self.gone = False
        self.applied: list = []
        self.on_read = lambda: None
        self.opened = 0

    def open(self, _name):
        if self.gone:
            raise NoDeviceError("wg0: no such device")
        self.opened += 1
        return self

    def read(self):
        if self.gone:
            raise NoDeviceError("wg0: no such device")
        device = Device("wg0", None, 51820, 0, dict(self.peers))
        self.on_read()
        return device

    def apply(self, changes):
        self.applied += changes
        for change in changes:
            peer = dataclasses.replace(self.peers[change.public_key], endpoint=change.endpoint)
            if change.fresh:
                keepalive = change.persistent_keepalive
                peer = dataclasses.replace(peer, last_handshake=0.0, persistent_keepalive=keepalive)
            self.peers[change.public_key] = peer

    def close(self):
        pass

    def handshake(self, key, when):
        self.peers[key] = dataclasses.replace(self.peers[key], last_handshake=when)


class FakeDirectory:
    """A directory in memory that counts what it is asked."""

    def __init__(self) -> None:
        self.records: dict = {}
        self.version: ZoneVersion | None = ZoneVersion(SERVER, 1)
        self.failures: dict = {}
        self.serials = 0
        self.looked_up: list = []
        self.timeouts: list = []
        self.on_serial = lambda: None
        self.down = False

    def serial(self, timeout=None):
        self.timeouts.append(timeout)
        self.on_serial()
        if self.down:
            raise ServerError("no answer")
        self.serials += 1
        return self.version

    def lookup(self, keys):
        keys = list(keys)
        self.looked_up.append(keys)
        return {key: self.records.get(key) for key in keys if key not in self.failures}

    def publish(self, **records):
        self.records = {BOB: None, CAROL: None} | records.get("records", {})
        self.version = dataclasses.replace(self.version, serial=self.version.serial + 1)


@pytest.fixture
def world():
    class World:
        device = FakeDevice()
        directory = FakeDirectory()
        now = NOW

    world = World()
    world.agent = Agent(
        SETTINGS, world.directory, opener=world.device.open, clock=lambda: world.now
    )
    return world


def test_a_new_version_of_the_zone_sets_the_endpoint_and_an_old_one_asks_for_nothing(world):
    world.agent.look()
    world.agent.look()
    assert world.directory.looked_up == [[BOB]]
    world.directory.publish(records={BOB: PeerRecord(BOB, HOME)})
    world.agent.look()
    assert [change.endpoint for change in world.device.applied] == [HOME]
    assert world.directory.looked_up == [[BOB], [BOB]]


def test_the_registry_is_neither_asked_for_nor_touched(world):
    world.directory.records = {REGISTRY: PeerRecord(REGISTRY, HOME)}
    world.agent.look()
    assert world.directory.looked_up == [[BOB]]
    assert world.device.applied == []


def test_a_connected_mesh_asks_nothing(world):
    world.device.handshake(BOB, NOW)
    look = world.agent.look()
    assert [decision.state for decision in look.decisions] == [State.DIRECT]
    assert world.directory.serials == 0


def test_a_tunnel_that_comes_up_during_the_lookup_is_not_started_over(world):
    world.directory.records = {BOB: PeerRecord(BOB, HOME)}
    world.device.on_read = lambda: world.device.handshake(BOB, NOW)
    look = world.agent.look()
    assert world.device.applied == []
    assert [decision.state for decision in look.decisions] == [State.DIRECT]


def test_an_answer_of_no_use_keeps_the_last_good_one_and_is_asked_for_again_later(world):
    world.directory.records = {BOB: PeerRecord(BOB, HOME)}
    world.agent.look()
    world.directory.failures = {BOB: "port 0"}
    world.directory.publish()
    assert world.agent.look().failures == {BOB: "port 0"}
    world.agent.look()
    assert world.directory.looked_up == [[BOB], [BOB]], "not again and again"
    assert world.device.peers[BOB].endpoint == HOME
    world.now += RECORD_MAX_AGE + 1
    world.directory.failures = {}
    assert world.agent.look().failures == {}


def test_a_server_without_serials_is_asked_for_the_peers_every_time(world):
    world.directory.version = None
    world.agent.look()
    world.agent.look()
    assert world.directory.looked_up == [[BOB], [BOB]]


def test_while_the_registry_is_down_nothing_changes_and_then_it_goes_on(world):
    world.directory.down = True
    with pytest.raises(ServerError):
        world.agent.look()
    assert world.device.applied == []
    world.directory.down = False
    world.directory.records = {BOB: PeerRecord(BOB, HOME)}
    world.agent.look()
    assert len(world.device.applied) == 1


def test_a_device_that_went_away_is_opened_anew_when_it_is_back(world):
    world.agent.look()
    world.device.gone = True
    for _number in range(2):
        with pytest.raises(NoDeviceError):
            world.agent.look()
    world.device.gone = False
    world.agent.look()
    assert world.device.opened == 2


def test_a_handshake_with_the_registry_ends_the_waiting_for_it(world):
    world.directory.down = True
    # It may come up while the query is under way, which is then lost all the same.
    world.directory.on_serial = lambda: world.device.handshake(REGISTRY, NOW)
    with pytest.raises(ServerError):
        world.agent.look()
    assert world.agent.registry_is_new()
    assert not world.agent.registry_is_new(), "told once"
    world.device.handshake(BOB, NOW)
    assert not world.agent.registry_is_new(), "another peer's is none of the registry's"
    world.device.gone = True
    assert not world.agent.registry_is_new()


def test_without_a_tunnel_to_the_registry_nobody_waits_long_for_its_answer(world):
    world.agent.look()
    world.device.handshake(REGISTRY, NOW)
    world.agent.look()
    assert world.directory.timeouts == [NO_TUNNEL_TIMEOUT, None]


def test_a_state_is_logged_when_it_changes_and_only_then(world, caplog):
    caplog.set_level("INFO")
    world.directory.records = {BOB: PeerRecord(BOB, HOME, name="bob")}
    for _number in range(5):
        world.agent.look()
    world.device.handshake(BOB, world.now)
    for _number in range(5):
        world.agent.look()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert f"peer bob ({BOB}): known: no session; set {HOME}" in lines[0]
    assert "known -> punching" in lines[1]
    assert "punching -> direct: the tunnel lives" in lines[2]


def test_the_pace_is_quick_after_a_change_then_slower_and_slowest_when_all_is_direct():
    clock = pace.Pace(jitter=lambda: 0.0)
    waiting = [State.UNKNOWN]
    assert clock.after_look(waiting, False, 0.0, QUERY) == pace.BUSY_INTERVAL
    assert clock.after_look(waiting, False, pace.BUSY_FOR - 0.1, QUERY) == pace.BUSY_INTERVAL
    late = [clock.after_look(waiting, False, pace.BUSY_FOR + n, QUERY) for n in range(20)]
    assert late == sorted(late)
    assert late[-1] == pace.WAITING_INTERVAL
    assert clock.after_look(waiting, True, 100.0, QUERY) == pace.BUSY_INTERVAL
    quiet = [clock.after_look([State.DIRECT], False, 200.0 + n, QUERY) for n in range(40)]
    assert quiet[-1] == pace.QUIET_INTERVAL


def test_the_clients_of_a_large_mesh_together_load_the_registry_no_more_than_of_a_small_one():
    clock = pace.Pace(jitter=lambda: 0.0)
    many = [State.UNKNOWN] * 1000
    assert clock.after_look(many, False, 0.0, QUERY) == 1000 / pace.BUSY_LOAD
    late = [clock.after_look(many, False, pace.BUSY_FOR + n, QUERY) for n in range(40)]
    assert late[-1] == 1000 / pace.WAITING_LOAD


def test_looks_that_cost_no_server_anything_come_as_often_as_the_device_is_cheap_to_read():
    clock = pace.Pace(jitter=lambda: 0.0)
    for peers, pause in ((100, pace.BUSY_INTERVAL), (10_000, 10_000 / pace.READ_LOAD)):
        states = [State.UNKNOWN] * peers
        assert clock.after_look(states, False, 0.0, pace.Cost.NOTHING) == pause
        assert clock.shortest == peers / pace.READ_LOAD


def test_a_server_that_a_look_costs_much_is_not_asked_in_a_hurry():
    clock = pace.Pace(jitter=lambda: 0.0)
    cost = pace.Cost.QUERY_PER_PEER
    pauses = [clock.after_look([State.UNKNOWN], False, n / 10, cost) for n in range(40)]
    assert pauses[-1] == pace.NO_SERIAL_WAITING_INTERVAL
    assert sum(pauses) > 30


def test_faults_slow_the_pace_and_their_end_makes_it_quick_again():
    clock = pace.Pace(jitter=lambda: 0.0)
    pauses = [clock.after_fault() for _number in range(40)]
    assert pauses[-1] == pace.FAULT_INTERVAL
    assert clock.after_look([State.UNKNOWN], False, 0.0, QUERY) == pace.BUSY_INTERVAL


def test_the_report_tells_each_peers_state_and_the_reason_of_the_last_action(
    world, tmp_path, monkeypatch
):
    monkeypatch.setattr(report, "RUNTIME_DIR", tmp_path / "wgsd")
    world.directory.records = {BOB: PeerRecord(BOB, HOME)}
    published = report.Report(SETTINGS)
    for _number in range(2):
        published.publish(world.agent.look().decisions, None)
    entry = json.loads(report.report_path("wg0").read_text())["peers"][BOB.base64]
    assert entry["state"] == "punching"
    assert entry["endpoint_set"] == str(HOME)
    assert entry["reason"].startswith("no session; set")
    assert [path.name for path in (tmp_path / "wgsd").iterdir()] == ["client-wg0.json"]


def test_the_report_tells_whose_copy_of_the_zone_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RUNTIME_DIR", tmp_path)
    published = report.Report(SETTINGS)
    for follows in (None, SERVER, None):
        published.publish([], follows)
        told = json.loads(report.report_path("wg0").read_text())["follows"]
        assert told == (follows and str(follows))
