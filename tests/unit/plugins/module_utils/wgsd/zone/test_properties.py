# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for any bytes and any question."""

from __future__ import annotations

import dataclasses
import hashlib
import struct

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rcode
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
    Asker,
    Ready,
    content,
    many,
)
from tests.unit.plugins.module_utils.wgsd.zone.primary import transfer_query
from wgsd.responder.stats import slot
from wgsd.zone.message import opcode_of
from wgsd.zone.signing import Signer, ZoneKey
from wgsd.zone.version import Content

pytestmark = pytest.mark.unit

ASK = Asker(content(ALICE, BOB, CAROL, REGISTRY))
SAMPLES = [
    dns.message.make_query(name, rdtype, use_edns=edns).to_wire()
    for name, rdtype, edns in (
        (f"{ALICE.public_key.label}.{SERVICE}", "SRV", False),
        (SERVICE, "PTR", 0),
        (ZONE, "IXFR", 1),
    )
] + [transfer_query(serial, use_edns=0).to_wire() for serial in (None, 3, 7)]

labels = st.one_of(
    st.sampled_from(
        [
            b"example",
            b"com",
            b"_udp",
            b"_WireGuard",
            b"_dns-sd",
            b"alice",
            ALICE.public_key.label.encode(),
            BOB.public_key.label.upper().encode(),
            CAROL.public_key.unpadded_label.encode(),
        ]
    ),
    st.binary(min_size=1, max_size=63),
)


@st.composite
def names(draw: st.DrawFn) -> dns.name.Name:
    """Names in the zone more often than not."""
    suffix = draw(
        st.sampled_from([(b"",), (b"Example", b"com", b""), dns.name.from_text(SERVICE).labels])
    )
    try:
        return dns.name.Name([*draw(st.lists(labels, max_size=3)), *suffix])
    except dns.exception.DNSException:
        hypothesis.reject()


@hypothesis.given(wire=st.binary(max_size=600), tcp=st.booleans())
@hypothesis.settings(max_examples=500, deadline=None)
def test_no_bytes_make_the_responder_stumble(wire: bytes, tcp: bool) -> None:
    response = ASK.raw(wire, tcp=tcp)
    assert (response is None) == (len(wire) < 12 or wire[2] >= 0x80)
    assert response is None or response[:2] == wire[:2]


@hypothesis.given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 200),
    tcp=st.booleans(),
)
@hypothesis.settings(max_examples=1000, deadline=None)
def test_no_damage_to_a_good_query_makes_the_responder_stumble(
    sample: bytes, edits: list[tuple[int, int]], length: int, tcp: bool
) -> None:
    wire = bytearray(sample)
    for position, value in edits:
        wire[position % len(wire)] = value
    response = ASK.raw(bytes(wire[:length]), tcp=tcp)
    if response is not None:
        assert response[:2] == wire[:2]
        # dnspython reads a response with another opcode by that opcode's rules.
        if opcode_of(response[2] << 8) == dns.opcode.QUERY:
            dns.message.from_wire(response)


@hypothesis.given(
    name=names(),
    rdtype=st.one_of(st.integers(0, 65535), st.sampled_from([1, 2, 5, 6, 12, 16, 28, 33, 255])),
    ident=st.integers(0, 65535),
    size=st.one_of(st.none(), st.integers(0, 65535)),
    tcp=st.booleans(),
)
@hypothesis.settings(max_examples=1000, deadline=None)
def test_a_response_to_a_good_query_parses_fits_and_echoes_id_and_question(
    name: dns.name.Name, rdtype: int, ident: int, size: int | None, tcp: bool
) -> None:
    query = dns.message.make_query(name, rdtype)
    query.id = ident
    if size is not None:
        query.use_edns(0, payload=size)
    wire = query.to_wire()
    question = wire[12 : 12 + len(name.to_wire()) + 4]

    response = ASK.raw(wire, tcp=tcp)
    assert response is not None
    assert response[:2] == wire[:2]
    assert response[12 : 12 + len(question)] == question
    parsed = dns.message.from_wire(response, one_rr_per_rrset=True)
    assert (parsed.edns == 0) == (size is not None)
    if not tcp:
        assert len(response) <= max(512, min(size or 0, 1232))
    if parsed.rcode() == dns.rcode.NXDOMAIN:
        assert not parsed.answer
        assert parsed.authority


TYPES = (1, 2, 5, 6, 12, 16, 28, 33, 33, 33, 41, 65, 97, 250, 255, 257)
#: RD, AD and CD.
ORDINARY_FLAGS = (0, 0x0100, 0x0100, 0x0120, 0x0010, 0x0130)
FIRST_LABELS = [
    [],
    *(
        [label]
        for label in (
            *(b"ns1", b"hostmaster", b"_services", b"b", b"alice", b"bob", b"registry", b"nobody"),
            *(peer.public_key.label.encode() for peer in (ALICE, BOB, CAROL, REGISTRY)),
            *(peer.public_key.unpadded_label.encode() for peer in (ALICE, REGISTRY)),
            b"a" * 52,
            b"a" * 52 + b"====",
        )
    ),
]
#: Nobody validates here, and this is quick.
KEY = ZoneKey(b"key", 1, lambda data: hashlib.sha512(data).digest())
#: What the zones go through, in any order.
MOVED = dataclasses.replace(ALICE, address="2001:db8::a", name="bob")
CONTENTS = [
    content(ALICE, BOB, CAROL, REGISTRY),
    content(MOVED, dataclasses.replace(BOB, name="alice"), REGISTRY),
    content(dataclasses.replace(REGISTRY, address="203.0.113.9", name="registry")),
    content(ALICE, *many(30), REGISTRY),
    content(*many(3), addresses=[TUNNEL]),
    content(*many(1000)),
    content(addresses=[TUNNEL6]),
    None,
]
NESTED = f"sub.{ZONE}"
DEEP = f"zone.{SERVICE}"


@st.composite
def ordinary_queries(draw: st.DrawFn) -> bytes:
    """Queries most of which have an answer that may lie ready, in any case."""
    below = draw(
        st.sampled_from(
            [ZONE, SERVICE, SERVICE, NESTED, DEEP, f"_dns-sd._udp.{ZONE}", f"_udp.{ZONE}", "."]
        )
    )
    first = draw(
        st.one_of(
            st.sampled_from(FIRST_LABELS),
            st.lists(labels, max_size=2),
            st.integers(1, 63).map(lambda length: [b"x" * length]),
        )
    )
    try:
        name = dns.name.Name([*first, *dns.name.from_text(below).labels])
    except dns.exception.DNSException:
        hypothesis.reject()
    wire = bytearray(name.to_wire())
    if draw(st.booleans()):
        upper = draw(st.lists(st.booleans(), min_size=len(wire), max_size=len(wire)))
        wire = bytearray(
            byte ^ 0x20 if up and 0x61 <= byte <= 0x7A else byte for byte, up in zip(wire, upper)
        )
    rdtype = draw(st.one_of(st.sampled_from(TYPES), st.integers(0, 65535)))
    rdclass = draw(st.sampled_from([1, 1, 1, 1, 3, 255, 0x41]))
    wire += struct.pack("!HH", rdtype, rdclass)
    opt = draw(st.booleans())
    if opt:
        size = draw(st.one_of(st.sampled_from([512, 1232, 4096, 0x4178]), st.integers(0, 65535)))
        ttl = draw(st.sampled_from([0, 0, 0, 0x8000, 0x8000, 0x4000, 0x10000, 0x41000000]))
        options = draw(st.sampled_from([b"", b"", b"", b"\0\3\0\0", b"\0\x0a\0\x08CCCCCCCC"]))
        wire += b"\0" + struct.pack("!HHIH", 41, size, ttl, len(options)) + options
    flags = draw(st.sampled_from(ORDINARY_FLAGS) | st.integers(0, 0xFFFF))
    header = struct.pack("!6H", draw(st.integers(0, 0xFFFF)), flags, 1, 0, 0, opt)
    return header + bytes(wire) + draw(st.sampled_from([b"", b"", b"", b"", b"\0"]))


def beside(wire: bytes) -> bytes:
    """The same query for a neighbour of the name."""
    length = wire[12] if len(wire) > 12 else 0
    return wire[:13] + b"y" * length + wire[13 + length :]


def asked_type(wire: bytes) -> int:
    """The type in a query's question."""
    position = 12
    while wire[position]:
        position += 1 + wire[position]
    return int(struct.unpack_from("!H", wire, position + 1)[0])


@hypothesis.given(
    actions=st.lists(
        st.one_of(
            ordinary_queries(),
            ordinary_queries(),
            ordinary_queries(),
            st.tuples(st.sampled_from([ZONE, NESTED, DEEP]), st.sampled_from(CONTENTS)),
        ),
        min_size=1,
        max_size=40,
    ),
    tcp=st.booleans(),
    signed=st.sets(st.sampled_from([ZONE, NESTED])),
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_what_lies_ready_is_what_the_complete_path_says(
    actions: list[bytes | tuple[str, Content | None]], tcp: bool, signed: set[str]
) -> None:
    signers = {zone: Signer(zone, [KEY], 7 * 86400) for zone in signed}
    ready = Ready({ZONE: CONTENTS[0], NESTED: content(BOB), DEEP: None}, signers=signers)
    for action in actions:
        if isinstance(action, tuple):
            ready.step(action[1], action[0])
            continue
        ready.ask(beside(action), tcp)
        other = bytes([action[0] ^ 1, action[1]]) + action[2:12] + action[12:].swapcase()
        for again in (action, other, beside(other)):
            if again is other:
                ready.ask(action, tcp)
            found = ready.find(again, tcp)
            if found is not None:
                response, rdtype, rcode = found
                assert response == ready.complete(again, tcp)
                assert rcode == response[3] & 0xF
                # Types that nobody has records of are counted as one.
                assert slot(rdtype, rcode, True) == slot(asked_type(again), rcode, True)
