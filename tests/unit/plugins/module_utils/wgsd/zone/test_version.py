# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a device goes into the zone, and how versions and serials go on."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    JOINING,
    REGISTRY,
    ZONE,
    content,
    key,
)
from wgsd.config import SelfSettings, ZoneSettings
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer
from wgsd.zone import serial
from wgsd.zone.version import Content, Delta, Instance, Version, content_of, tunnel_addresses

pytestmark = pytest.mark.unit

OWN = key("registry")


def device(*peers: Peer, public_key: PublicKey | None = OWN, listen_port: int = 51820) -> Device:
    """A snapshot of wg0."""
    return Device("wg0", public_key, listen_port, 0, {peer.public_key: peer for peer in peers})


def served(found: Content) -> tuple[Instance, ...]:
    """All instances of a content."""
    assert all(key == instance.public_key for key, instance in found.instances.items())
    return tuple(found.instances.values())


def test_peers_with_an_endpoint_or_allowed_ips_are_served() -> None:
    peers = [Peer(key(f"peer {i}"), Endpoint("192.0.2.1", 1000 + i)) for i in range(20)]
    joining = Peer(key("joining"), allowed_ips=("10.0.0.5/32",))
    announced = Peer(key("announced"))
    settings = ZoneSettings(ZONE, "wg0", names={joining.public_key: "joining"})
    found = content_of(settings, device(*peers, joining, announced), ())
    assert set(found.instances) == {peer.public_key for peer in (*peers, joining)}
    assert found.instances[joining.public_key] == JOINING
    assert found.listed == 20


def test_a_link_local_endpoint_loses_its_scope() -> None:
    peer = Peer(key("near"), Endpoint("fe80::1", 51820, scope_id=3))
    found = content_of(ZoneSettings(ZONE, "wg0"), device(peer), ())
    assert served(found) == (Instance(peer.public_key, "fe80::1", 51820),)


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
    assert served(content_of(settings, device(), ())) == expected


def test_a_device_without_key_or_port_has_no_self_to_serve() -> None:
    settings = ZoneSettings(ZONE, "wg0", own=SelfSettings())
    assert content_of(settings, device(public_key=None), ()).instances == {}
    assert content_of(settings, device(listen_port=0), ()).instances == {}


def test_tunnel_addresses_come_without_link_local_ones_and_ipv4_first() -> None:
    interfaces = [ipaddress.ip_interface(a) for a in ("fe80::1/64", "fd00::1/64", "10.0.0.1/24")]
    assert tunnel_addresses(interfaces) == ("10.0.0.1", "fd00::1")


PEERS = [key(f"peer {number}") for number in range(5)]


def contents() -> st.SearchStrategy[Content | None]:
    """A few instances that differ in port and allowed IPs, at one address or two."""
    instances = st.builds(
        lambda ports, networks: {
            key: Instance(key, "192.0.2.1" if port % 2 else None, port or None, networks, None)
            for key, port in ports.items()
        },
        st.dictionaries(st.sampled_from(PEERS), st.integers(0, 3)),
        st.sampled_from([(), ("10.0.0.1/32", "fd00::/64")]),
    )
    addresses = st.sampled_from([("10.0.0.254",), ("10.0.0.254", "fd00::254"), ()])
    return st.none() | st.builds(Content, addresses, instances)


@given(contents(), contents())
def test_a_delta_leads_from_one_version_to_the_next_after_it_was_handed_on(
    before: Content | None, after: Content | None
) -> None:
    version = Version(ZONE, 42, before)
    delta = version.delta_to(43, after)
    if delta is None:
        assert before == after
    else:
        assert version.after(Delta.decode(delta.encode())) == Version(ZONE, 43, after)


@given(contents(), contents())
def test_a_whole_delta_leads_to_its_version_from_anything(
    one: Content | None, other: Content | None
) -> None:
    version = Version(ZONE, 42, one)
    assert Version(ZONE, 7, other).after(Delta.decode(version.whole().encode())) == version


def test_a_delta_has_what_changed_and_nothing_else() -> None:
    moved = dataclasses.replace(ALICE, port=1)
    version = Version(ZONE, 1, content(ALICE, BOB, REGISTRY))
    assert version.delta_to(2, content(moved, REGISTRY)) == Delta(
        ZONE, 2, content().addresses, (moved,), (BOB.public_key,)
    )
    changes = {moved.public_key: moved, BOB.public_key: None, key("never seen"): None}
    assert version.delta_by(2, changes) == version.delta_to(2, content(moved, REGISTRY))
    assert version.delta_by(2, {ALICE.public_key: ALICE}) is None


def test_serials_are_compared_around_the_end_of_their_range() -> None:
    assert serial.is_newer(1, 0)
    assert serial.is_newer(0, 2**32 - 1)
    assert not serial.is_newer(5, 5)
    assert not serial.is_newer(2**32 - 1, 0)
    assert serial.following(2**32 - 1) == 0


def test_a_run_starts_with_the_clock_unless_the_last_run_was_ahead_of_it() -> None:
    clock = serial.by_clock(1_700_000_000)
    assert serial.first_of_run(1_700_000_000, None) == clock
    assert serial.first_of_run(1_700_000_000, clock - 100) == clock
    assert serial.first_of_run(1_700_000_000, clock) == clock + 1
    assert serial.first_of_run(1_600_000_000, clock) == clock + 1


def test_the_clock_gives_ten_serials_a_second_and_begins_again_after_the_last() -> None:
    assert serial.by_clock(12.39) == 123
    assert serial.by_clock(2**32 / 10 + 1) == 10
