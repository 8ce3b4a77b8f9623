# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a device goes into the zone, and how versions and serials go on."""

from __future__ import annotations

import ipaddress

import pytest

from tests.unit.zone.asking import ALICE, BOB, REGISTRY, ZONE, content, key
from wgsd.config import SelfSettings, ZoneSettings
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer
from wgsd.zone import serial
from wgsd.zone.records import build
from wgsd.zone.version import Content, Instance, Version, content_of, tunnel_addresses

pytestmark = pytest.mark.unit

OWN = key("registry")


def device(*peers: Peer, public_key: PublicKey | None = OWN, listen_port: int = 51820) -> Device:
    """A snapshot of wg0."""
    return Device("wg0", public_key, listen_port, 0, {peer.public_key: peer for peer in peers})


def test_only_peers_with_an_endpoint_are_served_in_the_order_of_their_labels() -> None:
    peers = [Peer(key(f"peer {i}"), Endpoint("192.0.2.1", 1000 + i)) for i in range(20)]
    found = content_of(ZoneSettings(ZONE, "wg0"), device(*peers, Peer(key("silent"))), ())
    labels = [instance.public_key.label for instance in found.instances]
    assert labels == sorted(peer.public_key.label for peer in peers)


def test_a_link_local_endpoint_loses_its_scope() -> None:
    peer = Peer(key("near"), Endpoint("fe80::1", 51820, scope_id=3))
    found = content_of(ZoneSettings(ZONE, "wg0"), device(peer), ())
    assert found.instances == (Instance(peer.public_key, "fe80::1", 51820),)


def test_what_a_device_counts_does_not_change_the_zone() -> None:
    quiet = Peer(key("alice"), Endpoint("192.0.2.1", 1))
    busy = Peer(key("alice"), Endpoint("192.0.2.1", 1), last_handshake=5.0, rx_bytes=9, tx_bytes=9)
    settings = ZoneSettings(ZONE, "wg0")
    assert content_of(settings, device(quiet), ()) == content_of(settings, device(busy), ())


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, ()),
        (SelfSettings(), (Instance(OWN, None, 51820),)),
        (
            SelfSettings(Endpoint("203.0.113.4", 4444), ("10.0.0.254/32",)),
            (Instance(OWN, "203.0.113.4", 4444, ("10.0.0.254/32",)),),
        ),
    ],
)
def test_the_registry_itself_is_served_as_configured(
    own: SelfSettings | None, expected: tuple[Instance, ...]
) -> None:
    settings = ZoneSettings(ZONE, "wg0", own=own)
    assert content_of(settings, device(), ()).instances == expected


def test_a_device_without_key_or_port_has_no_self_to_serve() -> None:
    settings = ZoneSettings(ZONE, "wg0", own=SelfSettings())
    assert content_of(settings, device(public_key=None), ()).instances == ()
    assert content_of(settings, device(listen_port=0), ()).instances == ()


def test_tunnel_addresses_come_without_link_local_ones_and_ipv4_first() -> None:
    interfaces = [ipaddress.ip_interface(a) for a in ("fe80::1/64", "fd00::1/64", "10.0.0.1/24")]
    assert tunnel_addresses(interfaces) == ("10.0.0.1", "fd00::1")


@pytest.mark.parametrize("one", [None, content(), content(ALICE, BOB, REGISTRY)])
def test_a_version_is_the_same_after_it_was_handed_on(one: Content | None) -> None:
    version = Version(ZONE, 42, one)
    assert Version.decode(version.encode()) == version


def test_a_zone_lists_each_name_that_it_has_once_and_no_other() -> None:
    zone = build(ZONE, 1, content(ALICE, BOB, REGISTRY))
    names = list(zone.nodes)
    assert len(names) == len(set(names)) == len(zone.nodes) == 8 + 1 + 1 + 3 * 2
    assert all(zone.nodes[name] is not None for name in names)
    assert names == list(build(ZONE, 1, content(REGISTRY, BOB, ALICE)).nodes)


def test_serials_are_compared_around_the_end_of_their_range() -> None:
    assert serial.is_newer(1, 0)
    assert serial.is_newer(0, 2**32 - 1)
    assert not serial.is_newer(5, 5)
    assert not serial.is_newer(2**32 - 1, 0)
    assert serial.following(2**32 - 1) == 0


def test_a_run_starts_with_the_clock_unless_the_last_run_was_ahead_of_it() -> None:
    assert serial.first_of_run(1_700_000_000.9, None) == 1_700_000_000
    assert serial.first_of_run(1_700_000_000, 1_600_000_000) == 1_700_000_000
    assert serial.first_of_run(0, 1_700_000_000) == 1_700_000_001
    assert serial.first_of_run(1_700_000_000, 1_700_000_000) == 1_700_000_001
