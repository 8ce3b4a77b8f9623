# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which members of the zone come to a device, and which of its peers go."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.plan.world import HOME, US, device_with
from wgsd.keys import PublicKey
from wgsd.model import Device, Member, Peer
from wgsd.plan import Added, Membership, decide_members
from wgsd.plan import members as module

pytestmark = pytest.mark.unit

BOB, CAROL, DAVE, MALLORY = (PublicKey(letter * 32) for letter in (b"b", b"c", b"d", b"m"))
TUNNEL = ipaddress.ip_interface("10.0.0.1/24")
TUNNEL6 = ipaddress.ip_interface("fd00::1/64")
LINK_LOCAL = ipaddress.ip_interface("fe80::1/64")
OURS = Member(US, ("10.0.0.1/32",), "alice")
BOBS = Peer(BOB, allowed_ips=("10.0.0.2/32",))
CAROLS = Member(CAROL, ("10.0.0.3/32",), "carol")


def members_of(*members: Member) -> dict[PublicKey, Member]:
    """A zone that has this host and Bob as members, and these."""
    usual = (OURS, Member(BOB, BOBS.allowed_ips, "bob"))
    return {member.public_key: member for member in (*usual, *members)}


def decided(
    device: Device,
    *members: Member,
    added: t.Mapping[PublicKey, Added] | None = None,
    now: float = 1000.0,
    zone: t.Mapping[PublicKey, Member] | None = None,
    interfaces: t.Sequence[t.Any] = (TUNNEL, TUNNEL6, LINK_LOCAL),
    where: t.Mapping[PublicKey, t.Any] | None = None,
) -> Membership:
    return decide_members(
        device,
        members_of(*members) if zone is None else zone,
        interfaces,
        added or {},
        where or {},
        now,
        keepalive=25,
    )


def applied(device: Device, decision: Membership) -> Device:
    """What WireGuard makes of the changes: a network belongs to whoever got it last."""
    peers = dict(device.peers)
    for change, _name, _reason in decision.changes:
        key = change.public_key
        if change.remove:
            del peers[key]
            continue
        assert change.create == (key not in peers)
        peer = peers.get(key, Peer(key))
        if change.allowed_ips is not None:
            for other, one in peers.items():
                left = tuple(b for b in one.allowed_ips if b not in change.allowed_ips)
                peers[other] = dataclasses.replace(one, allowed_ips=left)
            peer = dataclasses.replace(peer, allowed_ips=change.allowed_ips)
        if change.endpoint is not None:
            peer = dataclasses.replace(peer, endpoint=change.endpoint)
        if change.persistent_keepalive is not None:
            peer = dataclasses.replace(peer, persistent_keepalive=change.persistent_keepalive)
        peers[key] = peer
    return dataclasses.replace(device, peers=peers)


def test_a_member_with_an_endpoint_is_added_so_that_its_handshake_begins_at_once():
    decision = decided(device_with(BOBS), CAROLS, where={CAROL: HOME})
    ((change, name, reason),) = decision.changes
    assert (change.public_key, change.create, change.fresh) == (CAROL, True, False)
    assert change.allowed_ips == ("10.0.0.3/32",)
    assert (change.endpoint, change.persistent_keepalive) == (HOME, 25)
    assert name == "carol"
    assert str(HOME) in reason
    assert decision.added[CAROL].there


def test_a_member_without_an_endpoint_is_added_without_a_keepalive():
    ((change, _name, _reason),) = decided(device_with(BOBS), CAROLS).changes
    assert (change.endpoint, change.persistent_keepalive) == (None, None)


def test_what_was_done_is_not_done_again():
    device = device_with(BOBS)
    decision = decided(device, CAROLS)
    again = decided(applied(device, decision), CAROLS, added=decision.added)
    assert again.changes == ()
    assert again.due == math.inf


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        (("10.0.0.3/32", "192.168.5.0/24"), "192.168.5.0/24 is outside of the tunnel's own"),
        (("0.0.0.0/0",), "outside of the tunnel's own"),
        (("10.0.0.0/8",), "outside of the tunnel's own"),
        (("::/0",), "outside of the tunnel's own"),
        (("fe80::3/128",), "outside of the tunnel's own"),
        (("10.0.0.1/32",), "this host's own address 10.0.0.1"),
        (("10.0.0.0/24",), "this host's own address 10.0.0.1"),
        (("fd00::1/128",), "this host's own address fd00::1"),
        (("10.0.0.2/32",), "overlaps 10.0.0.2/32 of bob"),
        (("10.0.0.3/32", "10.0.0.2/31"), "overlaps 10.0.0.2/32 of bob"),
    ],
)
def test_a_member_that_claims_what_is_not_its_own_is_not_added(blocks, reason):
    decision = decided(device_with(BOBS), Member(MALLORY, blocks, "mallory"))
    assert decision.changes == ()
    assert reason in decision.refused[MALLORY].reason
    assert MALLORY not in decision.added


def test_who_lies_in_a_network_of_a_peer_is_not_added():
    bob = Peer(BOB, allowed_ips=("10.0.0.2/32", "10.0.0.128/25"))
    decision = decided(device_with(bob), Member(CAROL, ("10.0.0.200/32",), "carol"))
    assert decision.changes == ()
    assert "overlaps 10.0.0.128/25 of bob" in decision.refused[CAROL].reason


def test_who_lies_in_a_network_behind_this_host_is_not_added():
    ours = Member(US, ("10.0.0.1/32", "10.0.0.64/26"), "alice")
    zone = {US: ours, CAROL: Member(CAROL, ("10.0.0.65/32",), "carol")}
    decision = decided(device_with(BOBS), zone=zone)
    assert "overlaps 10.0.0.64/26 of this host" in decision.refused[CAROL].reason


def test_of_two_members_that_claim_the_same_the_one_that_claims_less_is_added():
    mallory = Member(MALLORY, ("10.0.0.0/28",), "mallory")
    greedy = Member(MALLORY, ("10.0.0.8/29",), "mallory")
    nine = Member(DAVE, ("10.0.0.9/32",), "dave")
    for zone, refused in ([(mallory, CAROLS), MALLORY], [(greedy, nine), MALLORY]):
        decision = decided(device_with(BOBS), *zone)
        assert [change.public_key for change, _n, _r in decision.changes] == [zone[1].public_key]
        assert set(decision.refused) == {refused}
    same = [Member(key, ("10.0.0.9/32",)) for key in (DAVE, MALLORY)]
    assert set(decided(device_with(BOBS), *same).refused) == {DAVE, MALLORY}


def test_this_host_itself_is_not_added():
    assert decided(device_with(BOBS)).changes == ()


def test_without_an_address_of_the_interface_nobody_is_added():
    decision = decided(device_with(BOBS), CAROLS, interfaces=(LINK_LOCAL,))
    assert decision.changes == ()
    assert CAROL in decision.refused


@pytest.mark.parametrize("handshake", [0.0, 1234.5])
def test_a_peer_that_was_added_goes_when_it_is_no_member_any_more(handshake):
    carol = Peer(CAROL, allowed_ips=CAROLS.allowed_ips, last_handshake=handshake)
    decision = decided(device_with(BOBS, carol), added={CAROL: Added("carol")})
    ((change, name, reason),) = decision.changes
    assert (change.public_key, change.remove, name) == (CAROL, True, "carol")
    assert ("its session ends" in reason) == bool(handshake)
    assert decided(applied(device_with(BOBS, carol), decision), added=decision.added).added == {}


def test_a_peer_that_was_not_added_stays_whatever_the_zone_says():
    carol = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    assert decided(device_with(BOBS, carol)).changes == ()
    moved = Member(CAROL, ("10.0.0.33/32",), "carol")
    assert decided(device_with(BOBS, carol), moved).changes == ()


@pytest.mark.parametrize("zone", [{}, {CAROL: CAROLS}], ids=["empty", "without us"])
def test_a_zone_without_this_host_is_no_list_of_members(zone):
    dave = Peer(DAVE, allowed_ips=("10.0.0.4/32",))
    decision = decided(device_with(BOBS, dave), zone=zone, added={DAVE: Added("dave")})
    assert decision.changes == ()
    assert set(decision.added) == {DAVE}


def test_a_device_without_a_key_is_left_alone():
    assert decided(device_with(BOBS, public_key=None), CAROLS).changes == ()


def test_a_network_passes_from_who_leaves_to_who_comes_in_one_operation():
    old = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    heir = Member(DAVE, CAROLS.allowed_ips, "carol")
    decision = decided(device_with(BOBS, old), heir, added={CAROL: Added("carol")})
    assert [(c.public_key, c.remove) for c, _n, _r in decision.changes] == [
        (CAROL, True),
        (DAVE, False),
    ]


def test_networks_that_change_in_the_zone_change_on_the_device():
    carol = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    moved = Member(CAROL, ("10.0.0.33/32", "fd00::33/128"), "carol")
    decision = decided(device_with(BOBS, carol), moved, added={CAROL: Added("carol")})
    ((change, _name, _reason),) = decision.changes
    assert (change.allowed_ips, change.create, change.fresh) == (moved.allowed_ips, False, False)


def test_who_claims_too_much_later_keeps_what_it_has_and_still_claims():
    carol = Peer(CAROL, allowed_ips=("10.0.0.3/32", "10.0.0.4/32"))
    greedy = Member(CAROL, ("10.0.0.3/32", "10.0.0.2/32"), "carol")
    device, added = device_with(BOBS, carol), {CAROL: Added("carol")}
    decision = decided(device, greedy, added=added)
    ((change, _name, _reason),) = decision.changes
    assert change.allowed_ips == ("10.0.0.3/32",)
    after = decided(applied(device, decision), greedy, added=decision.added)
    assert after.changes == ()
    assert "overlaps 10.0.0.2/32 of bob" in after.refused[CAROL].reason


def test_two_members_that_swap_their_networks_have_them_after_two_looks():
    peers = [Peer(CAROL, allowed_ips=("10.0.0.3/32",)), Peer(DAVE, allowed_ips=("10.0.0.4/32",))]
    swapped = [Member(CAROL, ("10.0.0.4/32",)), Member(DAVE, ("10.0.0.3/32",))]
    device, added = device_with(BOBS, *peers), {CAROL: Added(), DAVE: Added()}
    for _look in range(2):
        decision = decided(device, *swapped, added=added)
        assert decision.due == 1000.0
        device, added = applied(device, decision), decision.added
    assert device.peers[CAROL].allowed_ips == ("10.0.0.4/32",)
    assert device.peers[DAVE].allowed_ips == ("10.0.0.3/32",)


def test_what_somebody_has_taken_away_comes_again_and_what_he_has_put_back_is_his():
    device = device_with(BOBS)
    decision = decided(device, CAROLS, now=1000.0)
    waiting = decided(device, CAROLS, added=decision.added, now=1001.0)
    assert waiting.changes == ()
    assert waiting.due == 1002.0
    assert decided(device, CAROLS, added=waiting.added, now=1002.0).changes
    carol = Peer(CAROL, allowed_ips=CAROLS.allowed_ips)
    assert decided(device_with(BOBS, carol), added=waiting.added, now=1002.0).changes == ()


def test_whoever_takes_a_peer_away_again_and_again_has_it_added_more_and_more_rarely():
    device, added, now, times = device_with(BOBS), {}, 0.0, []
    while now < 600.0:
        decision = decided(device, CAROLS, added=added, now=now)
        if decision.changes:
            times.append(now)
        added = decision.added
        now = max(now + 0.5, decision.due if decision.due < math.inf else 0.0)
    assert len(times) <= 16
    assert times[-1] - times[-2] >= module.SETTLED


def test_whoever_sets_other_networks_again_and_again_makes_few_changes():
    carol = Peer(CAROL, allowed_ips=("10.0.0.9/32",))
    added, now, times = {CAROL: Added("carol")}, 0.0, []
    while now < 600.0:
        decision = decided(device_with(BOBS, carol), CAROLS, added=added, now=now)
        if decision.changes:
            times.append(now)
        added = decision.added
        now += 0.1
    assert len(times) <= module.AT_ONCE + 600.0 / module.SETTLED


def test_after_a_minute_a_peer_that_is_gone_is_added_at_once():
    decision = decided(device_with(BOBS), CAROLS, now=1000.0)
    assert decided(device_with(BOBS), CAROLS, added=decision.added, now=1060.0).changes


def test_a_large_mesh_comes_in_portions():
    many = [
        Member(PublicKey(number.to_bytes(32, "big")), (f"10.0.{number // 250}.{number % 250}/32",))
        for number in range(500, 800)
    ]
    device, added = device_with(BOBS), {}
    interfaces = (ipaddress.ip_interface("10.0.0.1/16"),)
    looks = 0
    while True:
        decision = decided(device, *many, added=added, interfaces=interfaces)
        assert len(decision.changes) <= module.CHANGES_MAX
        if not decision.changes:
            break
        device, added = applied(device, decision), decision.added
        looks += 1
    assert looks == math.ceil(300 / module.CHANGES_MAX)
    assert len(device.peers) == 301


KEYS = [PublicKey(bytes([number]) * 32) for number in range(1, 7)]
BLOCKS = st.sampled_from(
    [f"10.0.0.{number}/32" for number in range(1, 8)]
    + ["10.0.0.0/24", "10.0.0.0/30", "10.0.0.4/31", "0.0.0.0/0", "192.168.1.0/24"]
    + ["fd00::1/128", "fd00::5/128", "fd00::/64", "::/0"]
)
CLAIMS = st.lists(BLOCKS, min_size=1, max_size=3, unique=True).map(tuple)
ZONES = st.dictionaries(st.sampled_from(KEYS), CLAIMS, max_size=6)
FILES = st.dictionaries(st.sampled_from(KEYS[:3]), CLAIMS, max_size=3)


def overlap(one: str, other: str) -> bool:
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return first.version == second.version and first.overlaps(second)


@given(FILES, st.lists(st.tuples(ZONES, st.booleans()), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_whatever_the_registry_says_nothing_is_taken_from_anybody(file, zones):
    """Peers of the file stay as they are, and all that was added is apart and in the tunnel."""
    taken: set[str] = set()
    theirs = {}
    for key, blocks in file.items():
        # As on a real device, no two peers have the same network.
        theirs[key] = Peer(key, allowed_ips=tuple(b for b in blocks if b not in taken))
        taken.update(blocks)
    device, added = device_with(*theirs.values()), {}
    for number, (claims, has_us) in enumerate(zones):
        zone = {key: Member(key, blocks) for key, blocks in claims.items()}
        zone |= {US: OURS} if has_us else {}
        now = 1000.0 * number
        rests = False
        for _look in range(6):
            decision = decided(device, zone=zone, added=added, now=now)
            before = device
            device, added = applied(device, decision), decision.added
            assert has_us or device == before
            rests = not decision.changes
        assert rests, "it does not come to rest"
        assert {key: device.peers[key] for key in theirs} == theirs
        assert US not in device.peers
        extra = {key: peer for key, peer in device.peers.items() if key not in theirs}
        assert extra.keys() == added.keys()
        for key, peer in extra.items():
            for block in peer.allowed_ips:
                network = ipaddress.ip_network(block)
                ours = TUNNEL if network.version == 4 else TUNNEL6
                assert network.subnet_of(ours.network)
                assert ours.ip not in network
                others = [p for k, p in device.peers.items() if k != key]
                assert not any(overlap(block, b) for other in others for b in other.allowed_ips)
            if has_us:
                assert set(peer.allowed_ips) <= set(zone[key].allowed_ips)
        if has_us:
            assert extra.keys() <= zone.keys()
