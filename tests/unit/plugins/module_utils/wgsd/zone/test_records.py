# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A zone that goes step by step is the zone that is built at once."""

from __future__ import annotations

import dataclasses
import itertools
import random

import dns.name
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    REGISTRY,
    SERVICE,
    TUNNEL,
    TUNNEL6,
    ZONE,
    content,
    many,
    without_endpoint,
)
from wgsd.zone import records
from wgsd.zone.message import TCP_MAX, lowered
from wgsd.zone.records import PTR, Zone, build
from wgsd.zone.version import Content, Version

pytestmark = pytest.mark.unit

SERVICE_NAME = dns.name.from_text(SERVICE)


def listed(zone: Zone) -> list[bytes]:
    """The labels of the PTR records, in their order."""
    node = zone.find(SERVICE_NAME, TUNNEL) or {}
    return [rdata.target.labels[0] for rdata in node.get(PTR, ())]


def told(zone: Zone, name: dns.name.Name) -> dict[int, tuple[int, list[str]]] | None:
    """All records at a name with their TTLs."""
    node = zone.find(name, TUNNEL)
    if node is None:
        return None
    return {rdtype: (rrset.ttl, [str(rdata) for rdata in rrset]) for rdtype, rrset in node.items()}


listed_variants = st.builds(
    dataclasses.replace,
    st.sampled_from([ALICE, BOB, CAROL, REGISTRY, *many(3)]),
    address=st.sampled_from([None, "203.0.113.7", "2001:db8::7"]),
    name=st.sampled_from([None, "alice", "bob", "carol", "a" * 52]),
)
variants = listed_variants | listed_variants.map(without_endpoint)


def with_unique_names(one: Content) -> bool:
    names = [instance.name for instance in one.instances.values() if instance.name]
    return len(names) == len(set(names))


contents = st.builds(
    lambda instances, addresses: content(*instances, addresses=addresses),
    st.lists(variants, max_size=7),
    st.sampled_from([[], [TUNNEL], [TUNNEL, TUNNEL6]]),
).filter(with_unique_names)


@hypothesis.given(steps=st.lists(contents, min_size=1, max_size=6))
@hypothesis.settings(max_examples=200, deadline=None)
def test_stepping_leads_to_what_building_does(steps: list[Content]) -> None:
    version = Version(ZONE, 1, steps[0])
    stepped = build(ZONE, 1, steps[0])
    for serial, one in enumerate(steps[1:], 2):
        delta = version.delta_to(serial, one)
        if delta is not None:
            version, stepped = version.after(delta), stepped.after(delta)
    built = build(ZONE, version.serial, steps[-1])

    instances = [instance for one in steps for instance in one.instances.values()]
    labels = {instance.public_key.label.encode() for instance in instances}
    labels |= {label[:52] for label in labels}
    labels |= {instance.name.encode() for instance in instances if instance.name}
    service = lowered(SERVICE_NAME)
    for name in (ZONE, SERVICE, f"ns1.{ZONE}", f"_udp.{ZONE}", f"x.{ZONE}"):
        assert told(stepped, dns.name.from_text(name)) == told(built, dns.name.from_text(name))
    for label in labels:
        name = dns.name.Name((label, *SERVICE_NAME.labels))
        assert told(stepped, name) == told(built, name)
        assert stepped.instance_of(lowered(name)) == built.instance_of(lowered(name))
        for zone in (stepped, built):
            known = label in (zone.labels_below(service, len(label)) or ())
            assert known == (told(zone, name) is not None)
    assert (stepped.serial, stepped.addresses) == (built.serial, built.addresses)


def test_the_order_of_peers_is_that_of_their_labels_whatever_came_first() -> None:
    peers = many(50)
    labels = sorted(peer.public_key.label.encode() for peer in peers)
    for seed in range(3):
        shuffled = random.Random(seed).sample(peers, len(peers))
        assert listed(build(ZONE, 1, content(*shuffled))) == labels
        version = Version(ZONE, 1, content(*shuffled[:20]))
        delta = version.delta_to(2, content(*shuffled))
        assert delta is not None
        assert listed(build(ZONE, 1, content(*shuffled[:20])).after(delta)) == labels


def test_a_version_stays_as_it_was_when_another_is_made_from_it() -> None:
    version = Version(ZONE, 1, content(ALICE, BOB))
    zone = build(ZONE, 1, content(ALICE, BOB))
    name = dns.name.from_text(f"{ALICE.public_key.label}.{SERVICE}")
    before = told(zone, name)
    moved = dataclasses.replace(ALICE, address="203.0.113.99")
    for one in (content(moved, BOB, CAROL), content(BOB)):
        delta = version.delta_to(2, one)
        assert delta is not None
        assert told(zone.after(delta), name) != before
        assert told(zone, name) == before
        assert len(listed(zone)) == 2


def test_no_more_peers_are_listed_than_go_into_the_largest_message() -> None:
    zone = build(ZONE, 1, content(*many(2000)))
    smallest = 2 + 10 + 57 + 2
    assert TCP_MAX // smallest < len(listed(zone)) < TCP_MAX // smallest + 5


def test_a_list_is_made_no_further_than_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = build(ZONE, 1, content(*many(500)))
    made = []
    make = records._rdata
    monkeypatch.setattr(records, "_rdata", lambda *a: made.append(a) or make(*a))
    node = zone.find(SERVICE_NAME, TUNNEL)
    assert node is not None
    first = list(itertools.islice(node[PTR], 20))
    assert len(made) == len(first) == 20
    assert list(itertools.islice(node[PTR], 20)) == first
    assert len(made) == 20


def test_an_endpoint_that_changes_makes_no_record_of_another_peer_anew() -> None:
    peers = many(100)
    version = Version(ZONE, 1, content(*peers))
    zone = build(ZONE, 1, content(*peers))
    delta = version.delta_to(2, content(dataclasses.replace(peers[0], port=1), *peers[1:]))
    assert delta is not None
    after = zone.after(delta)
    names = [dns.name.from_text(f"{peer.public_key.label}.{SERVICE}") for peer in peers]
    nodes = [zone.find(name, TUNNEL) for name in names]
    same = [after.find(name, TUNNEL) is node for name, node in zip(names, nodes)]
    assert same == [False] + [True] * 99
    assert after.lists_the_same(zone)


def test_records_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_MADE_MAX", 10)
    zone = build(ZONE, 1, content(*many(50)))
    for peer in many(50):
        assert zone.find(dns.name.from_text(f"{peer.public_key.label}.{SERVICE}"), TUNNEL)
    assert len(zone._maker._nodes) <= 10
    assert len(listed(zone)) == 50
    assert len(zone._maker._pointers) <= 10
