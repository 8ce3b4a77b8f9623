# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When members are looked at, what is remembered of those that were added, what is told."""

from __future__ import annotations

import dataclasses
import errno
import ipaddress

import pytest

from tests.unit.plugins.module_utils.wgsd.client.decisions import BOB, CAROL, HOME
from wgsd.client.discovery import ADDRESS_PERIOD, RECORD_PERIOD, Discovery, Known
from wgsd.config import ClientSettings
from wgsd.errors import DeviceError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Member, Peer, PeerRecord

pytestmark = pytest.mark.unit

US = PublicKey(b"a" * 32)
SETTINGS = ClientSettings("wg0", "example.com.", (Endpoint("10.0.0.254", 53),), discover=True)
OURS = Member(US, ("10.0.0.1/32",), "alice")
CAROLS = Member(CAROL, ("10.0.0.3/32",), "carol")
DAVE = PublicKey(b"d" * 32)
DAVES = Member(DAVE, ("10.0.0.4/32",), "dave")
ABROAD = Member(CAROL, ("192.168.5.0/24",), "carol")


class World:
    """A device, a zone, and the interface's addresses."""

    def __init__(self, known: Known | None = None) -> None:
        self.now = 1000.0
        self.index: int | None = 7
        self.addresses: tuple | Exception = (ipaddress.ip_interface("10.0.0.1/24"),)
        self.address_reads = self.lookups = 0
        self.peers = {BOB: Peer(BOB, allowed_ips=("10.0.0.2/32",))}
        self.allowed: dict = {}
        self.members: dict | None = {US: OURS}
        self.place = HOME
        self.recorded: list = []
        self.fault: OSError | None = None
        self.discovery = Discovery(
            SETTINGS,
            known or Known(),
            record=self._record,
            interface_index=self._interface_index,
            read_addresses=self._read_addresses,
            now=lambda: self.now,
        )

    def _interface_index(self, _name):
        if self.index is None:
            raise OSError
        return self.index

    def _record(self, index, names):
        if self.fault is not None:
            raise self.fault
        # What is on the device at that time.
        self.recorded.append((index, dict(names), set(self.peers)))

    def _read_addresses(self, _name):
        self.address_reads += 1
        if isinstance(self.addresses, Exception):
            raise self.addresses
        return self.addresses

    def _lookup(self, keys):
        self.lookups += 1
        return {key: PeerRecord(key, self.place) if key == CAROL else None for key in keys}

    def look(self, seconds=1.0):
        """Look after some seconds, and carry out what is decided."""
        self.now += seconds
        allowed = {key: peer.allowed_ips for key, peer in self.peers.items()}
        if allowed != self.allowed:
            self.allowed = allowed
        device = Device("wg0", PublicKey(bytes(US)), 51820, 0, dict(self.peers))
        changes = self.discovery.look(device, self.allowed, self.members, self._lookup)
        for change in changes:
            if change.remove:
                del self.peers[change.public_key]
            else:
                peer = self.peers.get(change.public_key, Peer(change.public_key))
                blocks = change.allowed_ips or ()
                self.peers[change.public_key] = dataclasses.replace(peer, allowed_ips=blocks)
        return changes


def test_a_member_comes_and_goes_and_is_told_of_once(caplog):
    caplog.set_level("INFO")
    world = World()
    assert world.look() == []
    world.members = {US: OURS, CAROL: CAROLS}
    (change,) = world.look()
    assert (change.public_key, change.endpoint) == (CAROL, HOME)
    assert world.discovery.names == {CAROL: "carol"}
    world.look()
    world.members = {US: OURS}
    (change,) = world.look()
    assert change.remove
    world.look()
    assert world.discovery.names == {}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith(f"peer carol ({CAROL}): added at {HOME}")
    assert told[1].startswith(f"peer carol ({CAROL}): removed: the registry")


def test_a_member_near_the_registry_is_added_without_an_endpoint():
    world = World()
    world.place = Endpoint("fe80::7", 51820)
    world.members = {US: OURS, CAROL: CAROLS}
    (change,) = world.look()
    assert (change.public_key, change.endpoint) == (CAROL, None)


def test_while_nothing_changes_a_look_costs_nothing():
    world = World()
    world.members = {US: OURS, CAROL: CAROLS}
    for _number in range(3):
        world.look()
    reads, lookups = world.address_reads, world.lookups
    for _number in range(100):
        assert world.look() == []
    assert (world.address_reads, world.lookups) == (reads, lookups)


def test_without_a_copy_that_somebody_vouches_for_nothing_is_done():
    world = World(Known(7, {CAROL: "carol"}))
    world.peers[CAROL] = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    world.members = None
    assert world.look() == []
    assert world.discovery.names == {CAROL: "carol"}
    world.members = {US: OURS}
    assert [change.remove for change in world.look()] == [True]


def test_what_the_one_before_has_added_to_another_interface_is_not_ours():
    world = World(Known(6, {CAROL: "carol"}))
    world.peers[CAROL] = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    assert world.look() == []
    assert world.discovery.names == {}


def test_an_interface_that_is_made_anew_gets_members_again_at_once_and_the_rest_is_its_own():
    world = World()
    world.members = {US: OURS, CAROL: CAROLS}
    world.look()
    del world.peers[CAROL]
    world.index = 8
    assert [change.public_key for change in world.look(0.1)] == [CAROL]
    world.index = 9
    world.look(0.1)
    world.members = {US: OURS}
    assert world.look() == []
    assert CAROL in world.peers


def test_an_interface_that_is_gone_is_left_alone():
    world = World()
    world.members = {US: OURS, CAROL: CAROLS}
    world.index = None
    assert world.look() == []


def test_who_is_refused_is_told_of_once_and_added_once_the_interface_has_the_network(caplog):
    world = World()
    world.members = {US: OURS, CAROL: ABROAD}
    for _number in range(100):
        assert world.look() == []
    (told,) = [record.getMessage() for record in caplog.records]
    assert "member carol" in told
    assert "run the playbook for this host" in told
    assert world.discovery.refused[CAROL].name == "carol"
    assert world.address_reads <= 2 + 100 / ADDRESS_PERIOD
    assert world.discovery.due <= world.now + ADDRESS_PERIOD
    world.addresses = (*world.addresses, ipaddress.ip_interface("192.168.5.1/16"))
    world.members = {US: OURS, CAROL: dataclasses.replace(ABROAD, allowed_ips=("192.168.6.0/24",))}
    assert world.look()
    assert world.discovery.refused == {}


def test_addresses_that_cannot_be_read_add_nobody(caplog):
    world = World()
    world.addresses = DeviceError("the kernel refuses")
    world.members = {US: OURS, CAROL: CAROLS}
    assert world.look() == []
    assert "no member is added: the kernel refuses" in caplog.text
    world.addresses = (ipaddress.ip_interface("10.0.0.1/24"),)
    assert world.look(ADDRESS_PERIOD)


def test_a_zone_without_this_host_is_told_of_once(caplog):
    world = World()
    world.members = {CAROL: CAROLS}
    for _number in range(3):
        assert world.look() == []
    assert caplog.text.count("does not have this host as a member") == 1


def test_who_is_added_is_written_down_before_and_who_goes_stays_written_down_until_it_is_gone():
    world = World(Known(7, {CAROL: "carol"}))
    world.peers[CAROL] = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    world.members = {US: OURS, DAVE: DAVES}
    changes = world.look()
    assert [(change.public_key, change.remove) for change in changes] == [
        (CAROL, True),
        (DAVE, False),
    ]
    assert world.recorded == [(7, {CAROL: "carol", DAVE: "dave"}, {BOB, CAROL})]
    world.look()
    assert world.discovery.names == {DAVE: "dave"}


def test_while_nothing_can_be_written_down_nobody_is_added_and_it_says_why(caplog):
    world = World(Known(7, {CAROL: "carol"}))
    world.peers[CAROL] = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    world.fault = OSError(errno.ENOSPC, "No space left on device", "/run/wgsd/client-wg0.json")
    world.members = {US: OURS, DAVE: DAVES}
    assert [change.remove for change in world.look()] == [True], "who is expelled goes all the same"
    lookups = world.lookups
    for _number in range(10):
        assert world.look(RECORD_PERIOD / 10) == []
    assert world.lookups <= lookups + 1, "it is not tried again and again"
    assert world.discovery.names == {}
    assert "No space left on device" in world.discovery.refused[DAVE].reason
    told = [text for text in caplog.messages if "No space left on device" in text]
    assert told == [
        "no member is added: /run/wgsd/client-wg0.json: No space left on device; what is added must"
        " be known to the next client"
    ]
    world.fault = None
    (change,) = world.look(RECORD_PERIOD)
    assert change.public_key == DAVE
    world.look()
    assert world.discovery.refused == {}
    assert world.discovery.names == {DAVE: "dave"}
