# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signing: every version is good as a whole, and a step signs no more than it has changed."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

import dns.dnssec
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    REGISTRY,
    TUNNEL,
    TUNNEL6,
    ZONE,
    content,
    many,
    without_endpoint,
)
from tests.unit.plugins.module_utils.wgsd.zone.signed import Validator, zone_key, zone_of
from wgsd.zone import signing
from wgsd.zone.records import EXPIRE
from wgsd.zone.seals import RRSIG
from wgsd.zone.signing import Signer, ZoneKey
from wgsd.zone.version import Content, Delta, Version, unpack

pytestmark = pytest.mark.unit

DAY = 86400
WEEK = 7 * DAY
KEY = zone_key()
MOVED = dataclasses.replace(ALICE, address="203.0.113.99")
PEERS = content(ALICE, BOB, CAROL, REGISTRY)


class Registry:
    """A zone that is signed step by step; counts what each key signs."""

    def __init__(self, *keys: ZoneKey, chance: float = 0.0) -> None:
        self.now = float(NOW)
        self.version = Version(ZONE, 1)
        self.signed: collections.Counter[int] = collections.Counter()
        self._chance = chance
        self.restart(*keys)

    def restart(self, *keys: ZoneKey) -> None:
        """Go on with a signer that knows nothing but the version."""
        self.keys = [key._replace(sign=self._counted(key)) for key in keys]
        self._signer = Signer(
            ZONE, self.keys, WEEK, wall=lambda: self.now, chance=lambda: self._chance
        )

    def _counted(self, key: ZoneKey) -> t.Callable[[bytes], bytes]:
        def sign(data: bytes) -> bytes:
            self.signed[key.tag] += 1
            return key.sign(data)

        return sign

    def become(self, one: Content | None) -> Delta:
        """Step to that content."""
        delta = self.version.delta_to(self.version.serial + 1, one)
        assert delta
        return self._take(delta)

    def refresh(self) -> int:
        """Take the step that is due, if any; returns how many names it gives new seals."""
        assert self.version.content
        seals = self._signer.refresh(self.version)
        if seals:
            number = self.version.serial + 1
            self._take(Delta(ZONE, number, self.version.content.addresses, seals=seals))
        return len(seals)

    def become_refreshed(self, one: Content) -> Delta:
        """Step to that content, with what is due."""
        delta = self.version.delta_to(self.version.serial + 1, one)
        assert delta
        return self._take(dataclasses.replace(delta, seals=self._signer.refresh(self.version)))

    def _take(self, delta: Delta) -> Delta:
        delta = self._signer.seal(self.version, delta)
        self.version = self.version.after(delta)
        return delta

    def check(self) -> None:
        """Validate all of the zone with the keys in it."""
        Validator(*self.keys, now=self.now).check_zone(zone_of(self.version))

    def terms(self) -> set[tuple[int, int]]:
        """From when to when signatures are valid."""
        return {
            (int.from_bytes(record.rdata[12:16], "big"), int.from_bytes(record.rdata[8:12], "big"))
            for seal in self.version.seals.values()
            for record in unpack(seal)
            if record.rdtype == RRSIG
        }


@pytest.fixture
def registry() -> Registry:
    """A registry with Alice, Bob, Carol and itself."""
    registry = Registry(KEY)
    registry.become(PEERS)
    registry.signed.clear()
    return registry


listed_variants = st.builds(
    dataclasses.replace,
    st.sampled_from([ALICE, BOB, CAROL, REGISTRY, *many(3)]),
    address=st.sampled_from([None, "203.0.113.7", "2001:db8::7"]),
    name=st.sampled_from([None, "alice", "zoe"]),
)
variants = listed_variants | listed_variants.map(without_endpoint)


def with_unique_names(one: Content | None) -> bool:
    names = [i.name for i in one.instances.values() if i.name] if one else []
    return len(names) == len(set(names))


contents = st.one_of(
    st.builds(
        lambda instances, addresses: content(*instances, addresses=addresses),
        st.lists(variants, max_size=5),
        st.sampled_from([[], [TUNNEL], [TUNNEL, TUNNEL6]]),
    ),
    st.none(),
).filter(with_unique_names)


@hypothesis.given(steps=st.lists(contents, min_size=1, max_size=5), again=st.booleans())
@hypothesis.settings(max_examples=60, deadline=None)
def test_every_version_is_good_as_a_whole(steps: list[Content | None], again: bool) -> None:
    registry = Registry(KEY)
    for one in steps:
        if one == registry.version.content:
            continue
        if again:
            registry.restart(KEY)
        registry.become(one)
        if one is None:
            assert registry.version.seals == {}
        else:
            registry.check()


def test_a_peer_that_moves_costs_the_signatures_of_its_address_and_the_soa(
    registry: Registry,
) -> None:
    delta = registry.become(content(MOVED, BOB, CAROL, REGISTRY))
    names = {ALICE.public_key.label, ALICE.public_key.unpadded_label}
    assert set(delta.seals) == {"", *(f"{name}._wireguard._udp" for name in names)}
    assert registry.signed[KEY.tag] == 3
    registry.check()


def test_a_peer_that_leaves_costs_the_list_the_soa_and_the_link_of_the_name_before(
    registry: Registry,
) -> None:
    registry.become(content(ALICE, CAROL, REGISTRY))
    assert registry.signed[KEY.tag] == 3
    registry.check()


def test_a_new_signer_goes_on_with_the_signatures_that_there_are(registry: Registry) -> None:
    registry.restart(KEY)
    assert registry.refresh() == 0
    registry.become(content(MOVED, BOB, CAROL, REGISTRY))
    assert registry.signed[KEY.tag] == 3
    registry.check()


def test_signatures_are_valid_from_an_hour_ago_for_as_long_as_is_set(registry: Registry) -> None:
    assert registry.terms() == {(NOW - 3600, NOW + WEEK)}


def test_signatures_of_one_moment_do_not_all_expire_together() -> None:
    registry = Registry(KEY, chance=1.0)
    registry.become(PEERS)
    assert registry.terms() == {(NOW - 3600, NOW + WEEK - int(WEEK * signing.JITTER))}


def test_nothing_is_due_while_two_thirds_of_the_validity_last(registry: Registry) -> None:
    registry.now += WEEK * 2 / 3 - 1
    assert registry.refresh() == 0


def test_what_is_due_is_signed_again_and_lasts_anew(registry: Registry) -> None:
    registry.now += WEEK * 2 / 3 + 1
    assert registry.refresh() == len(registry.version.seals)
    assert registry.terms() == {(int(registry.now) - 3600, int(registry.now) + WEEK)}
    registry.check()
    registry.now += signing.LOOK_PERIOD
    assert registry.refresh() == 0


@pytest.mark.parametrize(
    "peers",
    [
        pytest.param(content(MOVED, BOB, CAROL, REGISTRY), id="one has moved"),
        pytest.param(content(ALICE, CAROL, REGISTRY), id="one has left"),
        pytest.param(content(*PEERS.instances.values(), *many(1)), id="one has joined"),
        pytest.param(content(*PEERS.instances.values(), addresses=[TUNNEL6]), id="an address"),
        pytest.param(content(), id="all have left"),
    ],
)
def test_what_is_due_is_signed_again_with_a_change(registry: Registry, peers: Content) -> None:
    registry.now += WEEK * 2 / 3 + 1
    registry.become_refreshed(peers)
    assert registry.terms() == {(int(registry.now) - 3600, int(registry.now) + WEEK)}
    registry.check()


def test_signatures_outlive_the_copy_of_a_secondary_that_has_lost_touch() -> None:
    signer = Signer(ZONE, [KEY], 2 * DAY, wall=lambda: NOW, chance=lambda: 0.0)
    delta = signer.seal(Version(ZONE, 1), Version(ZONE, 2, PEERS).whole())
    version = Version(ZONE, 1).after(delta)
    late = Signer(ZONE, [KEY], 2 * DAY, wall=lambda: NOW + 2 * DAY - EXPIRE + 1)
    assert set(late.refresh(version)) == set(version.seals)


def test_a_version_replaces_some_hundred_signatures_and_the_next_goes_on(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "REFRESH_MAX", 7)
    registry.now += WEEK * 2 / 3 + 1
    refreshed = []
    while number := registry.refresh():
        assert number <= 7 + 1
        refreshed.append(number)
        registry.check()
    assert sum(refreshed) >= len(registry.version.seals)
    assert len(refreshed) == -(-len(registry.version.seals) // 7)


def test_names_that_were_gone_when_a_zone_came_back_hold_nothing_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "REFRESH_MAX", 5)
    registry.become(content(*PEERS.instances.values(), *many(10)))
    registry.become(None)
    registry.now += DAY
    registry.become(PEERS)
    registry.now += WEEK * 2 / 3 + 1
    while registry.refresh():
        pass
    assert registry.terms() == {(int(registry.now) - 3600, int(registry.now) + WEEK)}
    registry.check()


def test_signatures_that_a_wrong_clock_dated_ahead_are_replaced(registry: Registry) -> None:
    registry.now -= 30 * DAY
    assert registry.refresh() == len(registry.version.seals)
    registry.check()


def test_a_successor_signs_the_keys_and_nothing_else(registry: Registry) -> None:
    successor = zone_key()
    registry.restart(KEY, successor)
    assert registry.refresh() == 1
    assert registry.signed[successor.tag] == 1
    registry.check()
    keys_alone = Validator(successor, now=registry.now)
    with pytest.raises(dns.dnssec.ValidationFailure):
        keys_alone.check_zone(zone_of(registry.version))


def test_a_successor_that_takes_over_signs_all_and_the_key_before_stays_until_its_time(
    registry: Registry,
) -> None:
    successor = zone_key()
    before = len(registry.version.seals)
    old = KEY._replace(until=registry.now + DAY)
    registry.restart(successor, old)
    assert registry.refresh() == before
    registry.check()
    assert len([r for r in unpack(registry.version.seals[""]) if r.rdtype == 48]) == 2
    registry.now += DAY
    assert registry.refresh() == 1
    assert [r.rdata for r in unpack(registry.version.seals[""]) if r.rdtype == 48] == [
        successor.dnskey
    ]
    Validator(successor, now=registry.now).check_zone(zone_of(registry.version))


def test_a_zone_that_fails_has_no_seals_and_gets_all_of_them_when_it_is_back(
    registry: Registry,
) -> None:
    registry.become(None)
    assert registry.version.seals == {}
    registry.become(PEERS)
    registry.check()
