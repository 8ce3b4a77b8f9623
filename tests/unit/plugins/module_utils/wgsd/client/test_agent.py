# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent makes of device, directory and answers to probes."""

from __future__ import annotations

import dataclasses
import ipaddress
import math

import pytest

from wgsd.client.agent import MOVE_SETTLES, NO_TUNNEL_TIMEOUT, RECORD_MAX_AGE, Agent
from wgsd.client.discovery import Discovery
from wgsd.clock import Moment
from wgsd.config import ClientSettings
from wgsd.directory import ZoneVersion
from wgsd.errors import NoDeviceError, ServerError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Member, Peer, PeerRecord
from wgsd.plan import Keepalive, State, keepalive_of

pytestmark = pytest.mark.unit

SERVER = Endpoint("10.0.0.254", 53)
SETTINGS = ClientSettings("wg0", "example.com.", (SERVER,))
REGISTRY = PublicKey(b"r" * 32)
BOB = PublicKey(b"b" * 32)
CAROL = PublicKey(b"c" * 32)
HOME = Endpoint("192.0.2.20", 51820)
CAFE = Endpoint("198.51.100.7", 40000)
US = PublicKey(b"a" * 32)
NOW = 1_800_000_000.0


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
        self.opened = self.reads = 0

    def open(self, _name):
        if self.gone:
            raise NoDeviceError("wg0: no such device")
        self.opened += 1
        return self

    def read(self):
        if self.gone:
            raise NoDeviceError("wg0: no such device")
        device = Device("wg0", US, 51820, 0, dict(self.peers))
        self.reads += 1
        self.on_read()
        return device

    def apply(self, changes):
        self.applied += changes
        for change in changes:
            fields = {}
            if change.endpoint or change.fresh:
                fields["endpoint"] = change.endpoint
            if change.persistent_keepalive is not None:
                fields["persistent_keepalive"] = change.persistent_keepalive
            if change.fresh:
                fields |= {"last_handshake": 0.0, "rx_bytes": 0}
            if change.remove:
                del self.peers[change.public_key]
                continue
            if change.allowed_ips is not None:
                fields["allowed_ips"] = change.allowed_ips
            peer = self.peers.get(change.public_key, Peer(change.public_key))
            self.peers[change.public_key] = dataclasses.replace(peer, **fields)

    def close(self):
        pass

    def handshake(self, key, when):
        self.peers[key] = dataclasses.replace(self.peers[key], last_handshake=when)


class FakeDirectory:
    """A directory in memory that counts what it is asked.

    Attributes:
        is_copy: Whether it is one that costs no query.
    """

    def __init__(self) -> None:
        self.is_copy, self.is_settled = False, True
        self.records: dict = {}
        self.version: ZoneVersion | None = ZoneVersion(SERVER, 1)
        self.failures: dict = {}
        self.serials = 0
        self.looked_up: list = []
        self.timeouts: list = []
        self.on_serial = lambda: None
        self.down = False
        self.member_list: dict | None = None

    def members(self):
        return self.member_list

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


class FakeProber:
    """Tells who was probed; the test says who answers."""

    def __init__(self) -> None:
        self.probed: list = []
        self.answers: dict = {}

    def probe(self, peers):
        self.probed += [peer.public_key for peer in peers]

    def heard(self):
        heard, self.answers = self.answers, {}
        return heard


class World:
    """Attributes:
    agent: Looks once, with no look to come after.
    running: Looks again and again.
    """

    def __init__(self) -> None:
        self.device, self.directory, self.prober = FakeDevice(), FakeDirectory(), FakeProber()
        self.now = NOW
        self.agent, self.running = self.an_agent(None), self.an_agent(self.prober)

    def an_agent(self, prober, discovery=None, keepalives=None):
        return Agent(
            SETTINGS,
            self.directory,
            prober=prober,
            discovery=discovery,
            keepalives=keepalives,
            opener=self.device.open,
            now=lambda: Moment(self.now, self.now - NOW + 1000),
        )

    def have_copy(self, **endpoints):
        """Have a copy of the zone that says where peers are."""
        keys = {"us": US, "bob": BOB, "carol": CAROL}
        self.directory.is_copy = True
        records = {keys[name]: PeerRecord(keys[name], where) for name, where in endpoints.items()}
        self.directory.publish(records=records)

    def look(self, seconds=0.0, **options):
        """Have the running agent look after some seconds; return the peers' decisions by key."""
        self.now += seconds
        look = self.running.look(**options)
        return {decision.public_key: decision for decision in look.decisions}


@pytest.fixture
def world():
    return World()


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


def test_a_running_agent_goes_on_with_what_it_knows_while_the_registry_is_down(world):
    world.directory.records = {BOB: PeerRecord(BOB, HOME)}
    assert world.look()[BOB].state is State.KNOWN
    world.directory.down = True
    world.device.handshake(REGISTRY, NOW)
    look = world.running.look()
    assert isinstance(look.trouble, ServerError)
    assert [decision.state for decision in look.decisions] == [State.PUNCHING]
    assert world.running.registries[REGISTRY].last_handshake == NOW, "the loop asks anew for it"
    world.now += 3
    world.running.look()
    assert [change.endpoint for change in world.device.applied] == [HOME, HOME]


def test_a_copy_of_the_zone_is_read_when_it_is_new_or_a_peer_is(world):
    world.have_copy(bob=HOME)
    for _number in range(3):
        world.look()
    assert world.directory.looked_up == [[BOB, US]]
    world.device.peers[CAROL] = Peer(CAROL, allowed_ips=("10.0.0.3/32",))
    world.look()
    assert world.directory.looked_up[1:] == [[BOB, CAROL, US]]
    world.have_copy(bob=CAFE, carol=HOME)
    decisions = world.look(5)
    assert [decisions[key].after for key in (BOB, CAROL)] == [CAFE, HOME]
    assert world.directory.looked_up[2:] == [[BOB, CAROL, US]]


def test_peers_that_are_gone_are_forgotten(world):
    world.have_copy(bob=HOME)
    for _number in range(25):
        world.look(1)
    assert world.look()[BOB].state is State.UNREACHABLE
    added = dataclasses.replace(world.device.peers.pop(BOB))
    assert world.look() == {}
    world.device.peers[BOB] = added
    assert world.look()[BOB].state is State.KNOWN


def live(world):
    """Have a tunnel with Bob that is known to answer probes."""
    world.have_copy(us=HOME, bob=HOME)
    world.device.peers[BOB] = dataclasses.replace(
        world.device.peers[BOB], endpoint=HOME, persistent_keepalive=25
    )
    world.device.handshake(BOB, NOW)
    world.device.handshake(REGISTRY, NOW)
    world.look()
    world.prober.answers = {BOB: 0.01}
    assert world.look(0.02)[BOB].due > world.now - NOW + 1000 + 10
    world.prober.probed.clear()


def test_a_host_that_moved_makes_itself_heard_by_the_registry_first_and_by_live_peers(world):
    live(world)
    assert world.look(1, moved=True)[BOB].state is State.DIRECT
    assert world.prober.probed == [REGISTRY, BOB]
    assert world.device.applied == [], "this device needs no help with it"


def test_a_userspace_device_is_given_its_endpoints_anew_when_the_host_moved(world):
    live(world)
    world.device.kind = "userspace"
    world.look(1, moved=True)
    assert [(c.public_key, c.endpoint, c.fresh) for c in world.device.applied] == [
        (BOB, HOME, False)
    ]


def test_a_host_has_also_moved_if_the_registry_sees_it_elsewhere(world):
    live(world)
    world.have_copy(us=CAFE, bob=HOME)
    world.look(2)
    assert world.prober.probed == [REGISTRY, BOB]
    world.look(0.02)
    assert world.prober.probed[2:] == [], "told once"


def test_what_the_registry_sees_just_after_a_move_is_no_news(world):
    live(world)
    world.look(1, moved=True)
    world.have_copy(us=CAFE, bob=HOME)
    world.prober.probed.clear()
    world.look(MOVE_SETTLES / 100)
    assert world.prober.probed == []
    world.have_copy(us=HOME, bob=HOME)
    world.look(MOVE_SETTLES)
    assert REGISTRY in world.prober.probed


def test_an_answer_to_a_probe_costs_no_read_of_the_device(world):
    live(world)
    world.look(1, moved=True)
    reads = world.device.reads
    world.now += 0.02
    world.prober.answers = {BOB: 0.01}
    look = world.running.listen()
    assert [decision.memory.asking for decision in look.decisions] == [None]
    assert world.device.reads == reads


def test_an_answer_does_not_count_with_a_read_from_before_a_change(world):
    live(world)
    world.now += 200
    world.have_copy(us=HOME, bob=CAFE)
    assert world.look()[BOB].change.fresh
    world.prober.answers = {BOB: 0.01}
    assert world.running.listen() is None
    assert world.look()[BOB].state is State.PUNCHING


def test_who_goes_leaves_no_peer_at_rest(world):
    world.have_copy(bob=HOME)
    world.device.peers[BOB] = dataclasses.replace(world.device.peers[BOB], persistent_keepalive=15)
    for _number in range(30):
        world.look(1)
    resting = world.device.peers[BOB]
    assert (resting.endpoint, resting.persistent_keepalive) == (None, 0)
    world.running.leave()
    left = world.device.peers[BOB]
    assert (left.endpoint, left.persistent_keepalive) == (HOME, 15)


def test_who_goes_leaves_a_peer_alone_that_has_come_by_itself_and_says_of_whom_it_did_not(world):
    world.have_copy(bob=HOME, carol=HOME)
    world.device.peers[CAROL] = Peer(CAROL, allowed_ips=("10.0.0.3/32",))
    for _number in range(30):
        world.look(1)
    world.device.peers[BOB] = dataclasses.replace(world.device.peers[BOB], endpoint=CAFE)
    assert world.running.leave() == {CAROL}
    assert world.device.peers[BOB].endpoint == CAFE
    world.device.gone = True
    assert world.running.leave() == frozenset()


@pytest.mark.parametrize("record", [PeerRecord(BOB, CAFE), None])
def test_a_keepalive_of_the_agent_before_is_not_the_operators(world, record):
    world.device.peers[BOB] = dataclasses.replace(
        world.device.peers[BOB], endpoint=HOME, persistent_keepalive=20
    )
    world.running = world.an_agent(world.prober, keepalives={BOB: Keepalive(20, 0)})
    world.directory.is_settled = False
    world.look()
    assert world.device.applied == [], "the directory has not been heard yet"
    world.have_copy()
    world.directory.failures = {BOB: "port 0"}
    world.look(1)
    assert world.device.applied == [], "nor has it said anything of use"
    world.directory.failures = {}
    world.directory.publish(records={BOB: record})
    decision = world.look(1)[BOB]
    assert world.device.peers[BOB].persistent_keepalive == (25 if record else 0)
    assert keepalive_of(decision) == Keepalive(25 if record else 0, 0)


def test_a_server_whose_copy_says_all_that_is_needed_is_not_asked(world):
    world.have_copy(bob=HOME)
    world.look()
    world.device.handshake(BOB, NOW)
    world.look(0.1)
    asked = world.directory.serials
    world.look(5)
    world.look(5)
    assert world.directory.serials == asked, "all is direct"
    world.directory.publish(records={BOB: PeerRecord(BOB, CAFE)})
    world.look(5)
    assert world.running.version == world.directory.version, "what comes by itself is taken"


def test_a_host_that_has_just_started_asks_at_once(world):
    agent = Agent(
        SETTINGS,
        world.directory,
        prober=world.prober,
        opener=world.device.open,
        now=lambda: Moment(NOW, 5.0),
    )
    agent.look()
    assert world.directory.looked_up == [[BOB]]


NEAR = Endpoint("fe80::7", 51820)


@pytest.mark.parametrize("is_copy", [False, True])
def test_an_endpoint_that_only_hosts_near_the_registry_could_use_replaces_none(world, is_copy):
    world.device.peers[BOB] = dataclasses.replace(world.device.peers[BOB], endpoint=HOME)
    world.directory.is_copy = is_copy
    world.directory.publish(records={BOB: PeerRecord(BOB, NEAR)})
    for _number in range(100):
        look = world.running.look()
        world.now += 1
    assert "fe80::7" in look.failures[BOB]
    assert all(change.endpoint != NEAR for change in world.device.applied)
    assert world.device.peers[BOB].endpoint == HOME


def test_where_the_registry_sees_this_host_may_be_near_it(world):
    world.have_copy(us=NEAR, bob=HOME)
    look = world.running.look()
    assert world.running.seen_at == NEAR
    assert look.failures == {}


class TestDiscovery:
    """Members that the device lacks."""

    @pytest.fixture
    def world(self, world):
        def read_addresses(_name):
            world.on_addresses()
            return (ipaddress.ip_interface("10.0.0.1/24"),)

        world.on_addresses = lambda: None
        discovery = Discovery(
            dataclasses.replace(SETTINGS, discover=True),
            interface_index=lambda _name: 7,
            read_addresses=read_addresses,
            now=lambda: world.now - NOW + 1000,
        )
        world.running = world.an_agent(world.prober, discovery)
        world.have_copy(us=CAFE, carol=HOME)
        blocks = {US: "10.0.0.1/32", BOB: "10.0.0.2/32"}
        world.directory.member_list = {key: Member(key, (ip,)) for key, ip in blocks.items()}
        world.look()
        assert world.device.applied == []
        return world

    def join(self, world):
        world.directory.member_list = {
            **world.directory.member_list,
            CAROL: Member(CAROL, ("10.0.0.3/32",), "carol"),
        }
        world.directory.publish(records=world.directory.records)

    def test_a_member_that_joins_is_added_and_decided_about_in_the_same_look(self, world):
        self.join(world)
        decisions = world.look(0.1)
        (change,) = world.device.applied
        assert (change.public_key, change.create, change.endpoint) == (CAROL, True, HOME)
        assert decisions[CAROL].state is State.PUNCHING
        assert decisions[CAROL].record.endpoint == HOME
        assert world.look(0.1)[CAROL].change is None
        assert keepalive_of(decisions[CAROL]) == Keepalive(25, 0)

    def test_a_member_without_an_endpoint_is_tried_once_it_has_one(self, world):
        del world.directory.records[CAROL]
        self.join(world)
        assert world.look(0.1)[CAROL].state is State.UNKNOWN
        assert world.device.peers[CAROL].persistent_keepalive == 0
        world.have_copy(us=CAFE, carol=HOME)
        assert world.look(0.1)[CAROL].state is State.KNOWN
        assert world.device.applied[-1].fresh

    def test_a_member_that_leaves_is_gone_in_the_same_look(self, world):
        self.join(world)
        world.look(0.1)
        world.device.handshake(CAROL, world.now)
        assert world.look(1)[CAROL].state is State.DIRECT
        members = dict(world.directory.member_list)
        del members[CAROL]
        world.directory.member_list = members
        decisions = world.look(0.1)
        assert CAROL not in decisions
        assert CAROL not in world.device.peers
        assert BOB in world.device.peers

    def test_a_tunnel_that_comes_up_during_a_read_of_the_addresses_is_not_started_over(self, world):
        world.have_copy(us=CAFE, bob=HOME)
        world.directory.member_list = dict(world.directory.member_list)
        world.on_addresses = lambda: world.device.handshake(BOB, world.now)
        assert world.look(0.1)[BOB].state is State.DIRECT
        assert not any(change.fresh for change in world.device.applied)

    def test_without_a_copy_nobody_leaves(self, world):
        self.join(world)
        world.look(0.1)
        world.directory.is_copy, world.directory.member_list = False, None
        world.directory.down = True
        for _number in range(3):
            world.look(10)
        assert CAROL in world.device.peers

    def test_more_than_goes_into_a_look_calls_for_the_next_at_once(self, world):
        members = {
            PublicKey(bytes([number, 1]) * 16): f"10.0.0.{number}/32" for number in range(10, 110)
        }
        world.directory.member_list = {
            **world.directory.member_list,
            **{key: Member(key, (ip,)) for key, ip in members.items()},
        }
        look = world.running.look()
        assert look.due <= world.now - NOW + 1000
        look = world.running.look()
        assert look.members_due == math.inf
        assert len(world.device.peers) == 102
