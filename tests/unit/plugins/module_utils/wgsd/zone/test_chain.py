# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that led to a version: kept, folded when they grow too many, and handed on."""

from __future__ import annotations

import typing as t

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    REGISTRY,
    ZONE,
    content,
)
from wgsd.names import SERVICE
from wgsd.zone import version as module
from wgsd.zone.records import Zone, build
from wgsd.zone.version import Chain, Content, Delta, Instance, Record, Version, pack, unpack

pytestmark = pytest.mark.unit

PEERS = (ALICE, BOB, CAROL, REGISTRY)
ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"


def moved(instance: Instance, port: int) -> Instance:
    return Instance(
        instance.public_key, instance.address, port, instance.allowed_ips, instance.name
    )


def step(serial: int, *changed: Instance, **more: t.Any) -> Delta:
    return Delta(ZONE, serial, content().addresses, changed, **more)


deltas = st.lists(
    st.builds(
        lambda changed, removed, seal: {
            "changed": tuple(moved(PEERS[i], port) for i, port in changed.items()),
            "removed": tuple(PEERS[i].public_key for i in removed if i not in changed),
            "seals": seal,
        },
        st.dictionaries(st.integers(0, 3), st.integers(1, 9), max_size=3),
        st.sets(st.integers(0, 3), max_size=2),
        st.dictionaries(st.sampled_from(["", "ns1", ALICE_NAME]), st.binary(max_size=3)),
    ),
    max_size=12,
)


@given(deltas)
def test_many_steps_at_once_lead_where_single_ones_do(fields: list[dict[str, t.Any]]) -> None:
    start = Version(ZONE, 1, content(ALICE, BOB))
    steps = [Delta(ZONE, 2 + i, ("10.0.0.254",), **one) for i, one in enumerate(fields)]
    one_by_one = start
    for delta in steps:
        one_by_one = one_by_one.after(delta)
    assert start.after(*steps) == one_by_one
    assert Chain(start, steps).newest == one_by_one


@given(deltas)
def test_a_delta_with_all_that_it_can_have_survives_its_way(
    fields: list[dict[str, t.Any]],
) -> None:
    for one in fields:
        delta = Delta(ZONE, 4294967295, ("10.0.0.254", "fd00::254"), **one)
        assert Delta.decode(delta.encode()) == delta


def test_a_chain_keeps_the_steps_that_led_to_the_newest_version() -> None:
    chain = Chain(Version(ZONE, 1, content(ALICE)))
    steps = [step(2, BOB), step(3, moved(ALICE, 9)), step(4, removed=(BOB.public_key,))]
    for delta in steps:
        chain.step(delta)
    assert list(chain.steps) == steps
    assert chain.base == Version(ZONE, 1, content(ALICE))
    assert chain.newest == Version(ZONE, 4, content(moved(ALICE, 9)))


@pytest.mark.parametrize(
    "delta",
    [Delta(ZONE, 3, None), Delta(ZONE, 3, ("10.0.0.254",), (BOB,), whole=True)],
    ids=["nothing known any more", "whole"],
)
def test_what_says_all_there_is_leaves_nothing_before_it(delta: Delta) -> None:
    chain = Chain(Version(ZONE, 1, content(ALICE)))
    chain.step(step(2, CAROL))
    chain.step(delta)
    assert not chain.steps
    assert chain.base == chain.newest == Version(ZONE, 1).after(delta)


@pytest.mark.parametrize("bound", ["STEPS_MAX", "CHANGES_MAX"])
def test_a_long_chain_forgets_its_older_half(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, bound, 10)
    chain = Chain(Version(ZONE, 0, content(ALICE)))
    lengths = []
    for number in range(1, 100):
        chain.step(step(number, moved(ALICE, number)))
        lengths.append(len(chain.steps))
        assert chain.newest == Version(ZONE, number, content(moved(ALICE, number)))
        assert chain.base.after(*chain.steps) == chain.newest
        assert chain.base.serial == number - len(chain.steps)
    assert max(lengths) <= 10
    assert min(lengths[5:]) >= 2


def test_seals_are_replaced_by_owner_and_go_when_they_are_empty() -> None:
    start = Version(ZONE, 1, content(ALICE), {"": b"soa", ALICE_NAME: b"srv", "ns1": b"a"})
    after = start.after(step(2, seals={"": b"new", ALICE_NAME: b""}))
    assert after.seals == {"": b"new", "ns1": b"a"}
    assert after.whole().seals == after.seals
    assert after.after(Delta(ZONE, 3, ("10.0.0.254",), whole=True)).seals == {}


@given(
    st.lists(
        st.builds(Record, st.integers(0, 65535), st.integers(0, 2**31 - 1), st.binary(max_size=300))
    )
)
def test_packed_records_are_unpacked_as_they_were(records: list[Record]) -> None:
    assert unpack(pack(records)) == records


def all_records(zone: Zone) -> dict[str, list[Record]]:
    return {owner: zone.records_at(owner) for owner in zone.owners()}


def test_the_records_at_a_name_are_those_that_answers_are_made_of() -> None:
    zone = build(ZONE, 5, content(ALICE, BOB, CAROL))
    for owner, records in all_records(zone).items():
        name = dns.name.from_text(owner, zone.origin) if owner else zone.origin
        node = zone.find(name, "10.0.0.254") or {}
        expected = [
            Record(int(rdataset.rdtype), rdataset.ttl, rdata.to_wire())
            for rdataset in node.values()
            for rdata in rdataset
        ]
        assert sorted(records) == sorted(expected), owner


def test_a_copy_of_the_zone_says_the_tunnel_address_for_the_registry_itself() -> None:
    zone = build(ZONE, 5, content(REGISTRY))
    records = zone.records_at(f"{REGISTRY.public_key.label}.{SERVICE}")
    assert Record(1, 10, bytes([10, 0, 0, 254])) in records


def test_a_zone_after_a_step_has_the_records_of_one_that_is_made_anew() -> None:
    seals = {"": pack([Record(46, 300, b"x")]), ALICE_NAME: pack([Record(46, 10, b"y")])}
    before = build(ZONE, 5, content(ALICE, BOB), seals)
    delta = step(6, CAROL, removed=(ALICE.public_key,), seals={ALICE_NAME: b"", "": seals[""]})
    anew = build(
        ZONE, 6, Content(content().addresses, content(BOB, CAROL).instances), {"": seals[""]}
    )
    assert all_records(before.after(delta)) == all_records(anew)
