# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of names in a signed zone, against dnspython's."""

from __future__ import annotations

import dns.name
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.signed import ORIGIN, name_of
from wgsd.zone.seals import Ring, Seal
from wgsd.zone.version import Record, pack

pytestmark = pytest.mark.unit

letters = st.text("abz09_-=", min_size=1, max_size=4)
owners = st.one_of(st.just(""), st.lists(letters, min_size=1, max_size=3).map(".".join))
rings = st.lists(owners, min_size=1, max_size=12, unique=True)
queried = st.lists(
    st.one_of(letters.map(str.encode), st.binary(min_size=1, max_size=3).map(bytes.lower)),
    max_size=4,
)


@hypothesis.given(names=rings)
def test_names_follow_one_another_in_canonical_order(names: list[str]) -> None:
    ring = Ring(names)
    ordered = sorted(names, key=name_of)
    assert [ring.next(owner) for owner in ordered] == [*ordered[1:], ordered[0]]
    assert [ring.previous(owner) for owner in ordered] == [ordered[-1], *ordered[:-1]]


@hypothesis.given(names=rings, labels=queried)
def test_any_name_is_covered_by_the_one_before_it(names: list[str], labels: list[bytes]) -> None:
    asked = dns.name.Name([*labels, *ORIGIN.labels])
    ordered = sorted(names, key=name_of)
    before = [owner for owner in ordered if name_of(owner) <= asked]
    assert Ring(names).covering(labels) == (before or ordered)[-1]


@hypothesis.given(before=rings, after=rings)
def test_a_ring_that_names_join_and_leave_is_the_one_that_is_made_at_once(
    before: list[str], after: list[str]
) -> None:
    ring = Ring(before)
    stepped = ring.after(set(after) - set(before), set(before) - set(after))
    assert [stepped.next(owner) for owner in after] == [Ring(after).next(owner) for owner in after]
    assert len(stepped) == len(after)
    assert len(ring) == len(before)


def test_a_seal_is_read_by_type_and_by_the_type_that_a_signature_covers() -> None:
    nsec, of_srv, of_nsec = (
        Record(47, 5, b"next"),
        Record(46, 10, b"\0\x21 and more"),
        Record(46, 5, b"\0\x2f and more"),
    )
    seal = Seal(pack([nsec, of_srv, of_nsec]))
    assert seal.records == {47: [nsec], 46: [of_srv, of_nsec]}
    assert seal.signatures == {33: [of_srv], 47: [of_nsec]}
