# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for any bytes and any question."""

from __future__ import annotations

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.zone.asking import ALICE, BOB, CAROL, REGISTRY, SERVICE, ZONE, Asker, content
from wgsd.zone.message import opcode_of

pytestmark = pytest.mark.unit

ASK = Asker(content(ALICE, BOB, CAROL, REGISTRY))
SAMPLES = [
    dns.message.make_query(name, rdtype, use_edns=edns).to_wire()
    for name, rdtype, edns in (
        (f"{ALICE.public_key.label}.{SERVICE}", "SRV", False),
        (SERVICE, "PTR", 0),
        (ZONE, "IXFR", 1),
    )
]

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
)
@hypothesis.settings(max_examples=1000, deadline=None)
def test_no_damage_to_a_good_query_makes_the_responder_stumble(
    sample: bytes, edits: list[tuple[int, int]], length: int
) -> None:
    wire = bytearray(sample)
    for position, value in edits:
        wire[position % len(wire)] = value
    response = ASK.raw(bytes(wire[:length]))
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
