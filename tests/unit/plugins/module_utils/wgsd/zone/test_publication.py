# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates of another server's zone lead from whatever is there to what our zone says."""

from __future__ import annotations

import dataclasses
import typing as t

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
import dns.zone
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    JOINING,
    REGISTRY,
    content,
    many,
    without_endpoint,
)
from wgsd.names import SERVICE
from wgsd.zone import publication
from wgsd.zone.version import Content, Record

pytestmark = pytest.mark.unit

ZONE = "corp.example."
MOVED = dataclasses.replace(ALICE, port=1)
RENAMED = dataclasses.replace(ALICE, name="alicia")
HEIRESS = dataclasses.replace(BOB, name="alice")
LEFT = without_endpoint(ALICE)

contents = st.lists(
    st.sampled_from([ALICE, MOVED, RENAMED, LEFT, BOB, HEIRESS, CAROL, REGISTRY, JOINING]),
    unique_by=(lambda one: one.public_key, lambda one: one.name or one.public_key),
).flatmap(
    lambda chosen: st.sampled_from([("10.0.0.254",), ("fd00::254",)]).map(
        lambda addresses: content(*chosen, addresses=addresses)
    )
)


def wanted_of(one: Content) -> dict[str, t.AbstractSet[Record]]:
    """All that is to be there, the list included if there is one."""
    listed = publication.list_of(ZONE, one)
    return {**publication.names_of(ZONE, one), **({SERVICE: listed} if listed else {})}


class Elsewhere:
    """A zone that obeys updates as RFC 2136 section 3.4.2 wants it."""

    def __init__(self, *lines: str) -> None:
        self.zone = dns.zone.from_text(
            "\n".join(["@ 60 SOA ns admin 1 60 60 60 60", "@ 60 NS ns", *lines]), ZONE
        )

    def obey(self, wire: bytes) -> None:
        update = dns.message.from_wire(wire)
        assert isinstance(update, dns.update.UpdateMessage)
        assert [str(rrset.name) for rrset in update.zone] == [ZONE]
        for rrset in update.update:
            name = rrset.name.relativize(self.zone.origin)
            if rrset.deleting == dns.rdataclass.ANY:
                assert rrset.rdtype == dns.rdatatype.ANY
                self.zone.nodes.pop(name, None)
            elif rrset.deleting == dns.rdataclass.NONE:
                there = self.zone.get_rdataset(name, rrset.rdtype)
                if there:
                    there.discard(rrset[0])
                if not there:
                    self.zone.delete_rdataset(name, rrset.rdtype)
            else:
                there = self.zone.find_rdataset(name, rrset.rdtype, create=True)
                there.update_ttl(rrset.ttl)
                there.add(rrset[0])

    def bring(self, todo: t.Iterable[publication.Change]) -> int:
        """Make changes and return how many messages that took."""
        number = 0
        for batch in publication.batches(todo):
            self.obey(publication.update(ZONE, batch).to_wire())
            number += 1
        return number

    def transferred(self) -> dns.message.Message:
        """All of it, as a transfer brings it."""
        message = dns.message.make_response(dns.message.make_query(ZONE, "AXFR"))
        for name, rdataset in self.zone.iterate_rdatasets():
            rrset = message.find_rrset(
                message.answer,
                name.derelativize(self.zone.origin),
                rdataset.rdclass,
                rdataset.rdtype,
                create=True,
            )
            rrset.update(rdataset)
        return message

    @property
    def ours(self) -> publication.Names:
        return publication.names_in(ZONE, [self.transferred()])


def test_names_of_a_peer_are_its_instances_its_alias_and_the_list() -> None:
    label = ALICE.public_key.label
    names = wanted_of(content(ALICE))
    assert set(names) == {
        SERVICE,
        f"{label}.{SERVICE}",
        f"{ALICE.public_key.unpadded_label}.{SERVICE}",
        f"alice.{SERVICE}",
    }
    assert all(len(records) == 1 for name, records in names.items() if label[:52] not in name)


@hypothesis.given(contents, contents)
def test_a_step_leads_to_what_the_next_content_says(before: Content, after: Content) -> None:
    elsewhere = Elsewhere()
    elsewhere.bring(publication.changes({}, wanted_of(before)))
    assert elsewhere.ours == wanted_of(before)
    old, new = publication.differing(before, after)
    elsewhere.bring(
        publication.changes(
            {**wanted_of(old), SERVICE: publication.list_of(ZONE, before)},
            {**wanted_of(new), SERVICE: publication.list_of(ZONE, after)},
        )
    )
    assert elsewhere.ours == wanted_of(after)


@hypothesis.given(contents, contents)
def test_a_transfer_shows_all_that_is_stale(before: Content, after: Content) -> None:
    elsewhere = Elsewhere(f"left.over.{SERVICE} 60 TXT x")
    elsewhere.bring(publication.changes({}, wanted_of(before)))
    wanted = wanted_of(after)
    elsewhere.bring(publication.changes(elsewhere.ours, wanted))
    assert elsewhere.ours == wanted


@hypothesis.given(contents, contents)
def test_the_list_alone_shows_all_that_is_stale_but_aliases_and_who_is_not_listed(
    before: Content, after: Content
) -> None:
    elsewhere = Elsewhere()
    elsewhere.bring(publication.changes({}, wanted_of(before)))
    wanted = wanted_of(after)
    listed = publication.names_listed(ZONE, elsewhere.transferred())
    elsewhere.bring(publication.changes(listed, wanted))
    left = {name: records for name, records in elsewhere.ours.items() if name not in wanted}
    assert {name: elsewhere.ours[name] for name in wanted} == wanted
    unlisted = {
        label
        for key, instance in before.instances.items()
        if instance.port is None
        for label in (key.label, key.unpadded_label)
    }
    aliases = {"alice", "alicia", "joining"}
    assert {name.partition(".")[0] for name in left} <= aliases | unlisted


def test_nothing_is_changed_where_all_is_as_it_should_be() -> None:
    there = wanted_of(content(ALICE, BOB))
    assert publication.changes(there, wanted_of(content(BOB, ALICE))) == []


def test_records_of_others_are_left_alone() -> None:
    elsewhere = Elsewhere("www 60 A 192.0.2.1", f"{SERVICE} 60 TXT hello", f"x{SERVICE} 60 TXT x")
    elsewhere.bring(publication.changes(elsewhere.ours, wanted_of(content(BOB))))
    elsewhere.bring(publication.changes(elsewhere.ours, {}))
    kept = {
        str(name): dns.rdatatype.to_text(r.rdtype) for name, r in elsewhere.zone.iterate_rdatasets()
    }
    assert kept == {"@": "NS", "www": "A", SERVICE: "TXT", f"x{SERVICE}": "TXT"}


def test_a_thousand_peers_go_in_few_messages_of_which_each_can_be_signed() -> None:
    key = dns.tsig.Key(f"{'k' * 63}.{'e' * 63}.{'y' * 63}.", bytes(64), "hmac-sha512")
    largest = dataclasses.replace(
        CAROL, allowed_ips=tuple(f"10.{i >> 8}.{i & 255}.0/24" for i in range(4000))
    )
    wanted = wanted_of(content(largest, *many(1000)))
    sizes = []
    for batch in publication.batches(publication.changes({}, wanted)):
        message = publication.update(ZONE, batch)
        message.use_tsig(key)
        sizes.append(len(message.to_wire()))
        assert sizes[-1] <= 65535
    assert len(sizes) < 30


def test_differing_has_only_what_differs() -> None:
    old, new = publication.differing(content(ALICE, BOB, CAROL), content(MOVED, CAROL))
    assert set(old.instances.values()) == {ALICE, BOB}
    assert set(new.instances.values()) == {MOVED}


def test_a_registry_without_an_endpoint_differs_when_its_address_does() -> None:
    old, new = publication.differing(
        content(REGISTRY, BOB), content(REGISTRY, BOB, addresses=("10.0.0.253",))
    )
    assert list(old.instances.values()) == list(new.instances.values()) == [REGISTRY]


def test_all_are_listed_as_long_as_the_list_is_one_that_servers_can_do_with() -> None:
    assert len(publication.list_of(ZONE, content(*many(700)))) == 700
    assert len(publication.names_of(ZONE, content(*many(1000)))) == 2 * 1000
    listed = publication.list_of(ZONE, content(*many(1000)))
    assert 700 < len(listed) < 750
    assert sum(len(record.rdata) + 4 for record in listed) <= 65535


def test_the_list_stays_nearly_the_same_when_one_peer_comes() -> None:
    before, after = (publication.list_of(ZONE, content(*many(n))) for n in (1000, 1001))
    assert len(before ^ after) <= 2
