# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that lie ready: which do, when they are dropped, and how much room they take."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    JOINING,
    REGISTRY,
    SERVICE,
    TUNNEL,
    TUNNEL6,
    ZONE,
    Ready,
    content,
    key,
    many,
    query,
)
from wgsd.config import Access
from wgsd.zone import prepared

pytestmark = pytest.mark.unit

ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
BOB_NAME = f"{BOB.public_key.label}.{SERVICE}"
NOBODY = f"{key('nobody').label}.{SERVICE}"
MOVED = dataclasses.replace(ALICE, address="203.0.113.99")


@pytest.fixture
def ready() -> Ready:
    """The zone of Alice, Bob, Carol and the registry itself, and no answer ready yet."""
    return Ready({ZONE: content(ALICE, BOB, CAROL, REGISTRY)})


def is_ready(ready: Ready, name: str, rdtype: str = "SRV", tcp: bool = False) -> bool:
    """Whether there is an answer that lies ready, which is then the right one."""
    asked = query(name, rdtype)
    found = ready.find(asked, tcp)
    assert found is None or found[0] == ready.complete(asked, tcp)
    return found is not None


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        (ALICE_NAME, "SRV", "NOERROR"),
        (ALICE_NAME, "AAAA", "NOERROR"),
        (ALICE_NAME, "ANY", "NOERROR"),
        (f"{ALICE.public_key.unpadded_label}.{SERVICE}", "TXT", "NOERROR"),
        (f"alice.{SERVICE}", "A", "NOERROR"),
        (f"alice.{SERVICE}", "HTTPS", "NOERROR"),
        (f"{REGISTRY.public_key.label}.{SERVICE}", "SRV", "NOERROR"),
        (SERVICE, "PTR", "NOERROR"),
        (ZONE, "SOA", "NOERROR"),
        (f"ns1.{ZONE}", "A", "NOERROR"),
        (f"_udp.{ZONE}", "TXT", "NOERROR"),
        (NOBODY, "SRV", "NXDOMAIN"),
        (f"nobody.{ZONE}", "MX", "NXDOMAIN"),
    ],
)
@pytest.mark.parametrize("size", [None, 1232, 4096])
@pytest.mark.parametrize("tcp", [False, True])
def test_after_the_first_query_the_answer_lies_ready_for_any_id_and_case(
    ready: Ready, name: str, rdtype: str, rcode: str, size: int | None, tcp: bool
) -> None:
    first = query(name, rdtype, size)
    assert ready.find(first, tcp) is None
    response = ready.ask(first, tcp)
    number = dns.rdatatype.from_text(rdtype)
    assert ready.find(first, tcp) == (response, number, dns.rcode.from_text(rcode))

    other = query(dns.name.from_text(name).to_text().swapcase(), rdtype, size, ident=0xABCD)
    assert ready.find(other, tcp) == (ready.complete(other, tcp), *ready.find(first, tcp)[1:])


def test_the_denial_of_one_name_serves_for_all_of_its_length(ready: Ready) -> None:
    ready.ask(query(NOBODY, "SRV"))
    for number in range(20):
        assert is_ready(ready, f"{key(f'nobody {number}').label}.{SERVICE}")
    assert not is_ready(ready, f"shorter.{SERVICE}")


def test_no_name_that_exists_is_denied_before_it_was_asked_for(ready: Ready) -> None:
    ready.ask(query(NOBODY, "SRV"))
    ready.ask(query(f"carol.{SERVICE}", "SRV"))
    for name in (ALICE_NAME, ALICE_NAME.upper(), f"{REGISTRY.public_key.label}.{SERVICE}"):
        assert not is_ready(ready, name)
    assert not is_ready(ready, f"alice.{SERVICE}")


@pytest.mark.parametrize("label", ["hostmaster", "HostMaster", "ns1"])
def test_names_that_the_soa_mentions_are_not_denied_like_others(label: str) -> None:
    ready = Ready({ZONE: content(addresses=[TUNNEL])})
    ready.ask(query(f"{'x' * len(label)}.{ZONE}", "A"))
    assert not is_ready(ready, f"{label}.{ZONE}", "A")
    ready.ask(query(f"{label}.{ZONE}", "A"))
    assert is_ready(ready, f"{'y' * len(label)}.{ZONE}", "A")


@pytest.mark.parametrize("child", [f"child.{ZONE}", f"child._udp.{ZONE}", f"child.{SERVICE}"])
@pytest.mark.parametrize("known", [False, True])
def test_a_zone_does_not_deny_what_a_zone_below_it_has(child: str, known: bool) -> None:
    contents = {ZONE: content(ALICE), child: content(BOB) if known else None}
    ready = Ready(contents)
    ready.ask(query(f"other{child[5:]}", "A"))
    ready.ask(query(f"ns2.{child}", "A"))
    for name in (child, f"nothing.{child}", f"ns1.{child}"):
        for _time in range(2):
            response = ready.ask(query(name, "A"))
            assert response == ready.complete(query(name, "A"))


@pytest.mark.parametrize(
    ("flags", "rdtype", "size"),
    [(0x4000, "SRV", None), (0x0002, "SRV", None), (0, "TYPE4711", None), (0, "SRV", 1111)],
)
def test_what_is_out_of_the_ordinary_never_lies_ready(
    ready: Ready, flags: int, rdtype: str, size: int | None
) -> None:
    asked = bytearray(query(ALICE_NAME, rdtype, size))
    asked[2] |= flags >> 8
    asked[3] |= flags & 0xFF
    ready.ask(bytes(asked))
    assert ready.find(bytes(asked)) is None


def test_what_is_truncated_is_told_anew_each_time() -> None:
    ready = Ready({ZONE: content(*many(30))})
    for tcp in (False, True):
        ready.ask(query(SERVICE, "PTR"), tcp)
    assert not is_ready(ready, SERVICE, "PTR")
    assert is_ready(ready, SERVICE, "PTR", tcp=True)


def test_a_changed_peer_takes_only_its_own_answers_along(ready: Ready) -> None:
    asked = [ALICE_NAME, f"{ALICE.public_key.unpadded_label}.{SERVICE}", f"alice.{SERVICE}"]
    for name in (*asked, BOB_NAME):
        ready.ask(query(name, "SRV"))
    ready.step(content(MOVED, BOB, CAROL, REGISTRY))
    assert not any(is_ready(ready, name) for name in asked)
    assert is_ready(ready, BOB_NAME)


def test_what_tells_the_serial_is_dropped_with_every_step(ready: Ready) -> None:
    asked = [(NOBODY, "SRV"), (BOB_NAME, "A"), (f"alice.{SERVICE}", "AAAA"), (ZONE, "SOA")]
    for name, rdtype in asked:
        ready.ask(query(name, rdtype))
        assert is_ready(ready, name, rdtype)
    ready.step(content(MOVED, BOB, CAROL, REGISTRY))
    assert not any(is_ready(ready, name, rdtype) for name, rdtype in asked)


def test_a_list_that_only_has_names_stays_until_these_change() -> None:
    peers = many(300)
    ready = Ready({ZONE: content(*peers[1:])})
    ready.ask(query(SERVICE, "PTR"), tcp=True)
    moved = [dataclasses.replace(peer, port=1) for peer in peers]
    ready.step(content(*moved[1:]))
    # With so many peers there is room for more than the names of them.
    assert not is_ready(ready, SERVICE, "PTR", tcp=True)

    peers = many(1000)
    ready = Ready({ZONE: content(*peers[1:])})
    ready.ask(query(SERVICE, "PTR"), tcp=True)
    ready.step(content(dataclasses.replace(peers[1], port=1), *peers[2:]))
    assert is_ready(ready, SERVICE, "PTR", tcp=True)
    ready.step(content(*peers))
    assert not is_ready(ready, SERVICE, "PTR", tcp=True)


def test_answers_that_lie_ready_follow_a_member_that_gets_an_endpoint() -> None:
    joined = dataclasses.replace(JOINING, address="203.0.113.5", port=5)
    name = f"{JOINING.public_key.label}.{SERVICE}"
    asked = [(name, "SRV"), (name, "A"), (name, "TXT"), (f"joining.{SERVICE}", "SRV")]
    peers = many(1000)
    ready = Ready({ZONE: content(*peers, JOINING)})
    for one in (joined, JOINING, joined):
        for rdtype in ("PTR", "TXT"):
            ready.ask(query(SERVICE, rdtype), tcp=True)
        for question in asked:
            ready.ask(query(*question))
        ready.step(content(*peers, one))
        # Whatever still lies ready is the right answer.
        for rdtype in ("PTR", "TXT"):
            is_ready(ready, SERVICE, rdtype, tcp=True)
        assert not any(is_ready(ready, *question) for question in asked)


def test_friendly_names_that_are_swapped_lead_to_the_other_peer(ready: Ready) -> None:
    bob = dataclasses.replace(BOB, name="bob")
    ready.step(content(ALICE, bob))
    before = [ready.ask(query(f"{name}.{SERVICE}", "CNAME")) for name in ("alice", "bob")]
    alice, bob = dataclasses.replace(ALICE, name="bob"), dataclasses.replace(bob, name="alice")
    ready.step(content(alice, bob))
    after = [ready.ask(query(f"{name}.{SERVICE}", "CNAME")) for name in ("alice", "bob")]
    targets = [
        [dns.message.from_wire(wire).answer[0][0].target for wire in one] for one in (before, after)
    ]
    assert targets[0] == targets[1][::-1]


@pytest.mark.parametrize("after", [None, content(ALICE, addresses=[TUNNEL6])])
def test_nothing_lies_ready_once_the_zone_or_its_address_is_gone(ready: Ready, after) -> None:
    ready.ask(query(ALICE_NAME, "SRV"))
    ready.step(after)
    assert not is_ready(ready, ALICE_NAME)
    ready.ask(query(ALICE_NAME, "SRV"))
    assert not is_ready(ready, ALICE_NAME)


def test_what_only_some_may_ask_does_not_lie_ready_for_all() -> None:
    ready = Ready({ZONE: content(ALICE)}, allow_query=Access(networks=("10.0.0.1/32",)))
    response = ready.ask(query(ALICE_NAME, "SRV"))
    assert response is not None
    assert dns.message.from_wire(response).answer
    assert not is_ready(ready, ALICE_NAME)


def test_the_registry_is_served_under_the_address_that_was_asked() -> None:
    name = f"{REGISTRY.public_key.label}.{SERVICE}"
    for local in (TUNNEL, "10.0.0.253"):
        ready = Ready({ZONE: content(REGISTRY, addresses=[TUNNEL, "10.0.0.253"])}, local)
        for _time in range(2):
            response = dns.message.from_wire(ready.ask(query(name, "A")))
            assert response.answer[0][0].address == local


def test_answers_take_bounded_room_whatever_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    room = 200_000
    monkeypatch.setattr(prepared, "ROOM", room)
    ready = Ready({ZONE: content(*many(50))})
    names = [f"{peer.public_key.label}.{SERVICE}" for peer in many(50)]
    names += [f"{'x' * length}.{SERVICE}" for length in range(1, 63)]
    tracemalloc.start()
    try:
        for name, size in itertools.product(names, (None, 512, 1232, 1400, 4096, 65535)):
            for rdtype in ("SRV", "A", "AAAA", "TXT", "HTTPS"):
                ready.ask(query(name, rdtype, size))
                assert ready.size <= room + 2000
        taken = sum(
            line.size
            for line in tracemalloc.take_snapshot().statistics("lineno")
            if line.traceback[0].filename == prepared.__file__
        )
    finally:
        tracemalloc.stop()
    assert taken < 1.5 * room


def test_the_room_of_dropped_answers_is_given_back(ready: Ready) -> None:
    asked = [(ALICE_NAME, "SRV"), (NOBODY, "SRV"), (ZONE, "SOA"), (SERVICE, "PTR")]
    ports = itertools.count(1)
    sizes = set()
    for _time in range(5):
        ready.step(content(dataclasses.replace(ALICE, port=next(ports)), BOB))
        for name, rdtype in asked:
            ready.ask(query(name, rdtype))
        sizes.add(ready.size)
    assert len(sizes) == 1
