# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the original wgsd server got wrong, number by number as in its list of defects.

Defect 1 (a device read for every query) is in the lab's tests, where there is a device.
"""

from __future__ import annotations

import pathlib
import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

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
    content,
    key,
    many,
    texts,
)
from wgsd.config import load_responder
from wgsd.errors import UsageError
from wgsd.names import TxtRecord, parse_txt
from wgsd.zone.version import Instance

pytestmark = pytest.mark.unit

ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
BOB_NAME = f"{BOB.public_key.label}.{SERVICE}"
CAROL_NAME = f"{CAROL.public_key.label}.{SERVICE}"


def test_defect_2_a_peer_with_thirty_allowed_ips_gets_a_whole_txt_record(ask: Asker) -> None:
    response = ask(CAROL_NAME, "TXT", size=1232)
    (txt,) = response.answer[0]
    assert all(len(string) <= 255 for string in txt.strings)
    assert parse_txt(txt.strings) == TxtRecord(CAROL.public_key, CAROL.allowed_ips, None)


def test_defect_2_an_old_client_gets_at_least_the_address_of_such_a_peer(ask: Asker) -> None:
    response = ask(CAROL_NAME, "SRV")
    assert not response.flags & dns.flags.TC
    assert texts(response.additional) == [f"{CAROL_NAME} A 203.0.113.3"]


def test_defect_2_in_the_extreme_a_peer_with_thousands_of_allowed_ips_is_answered() -> None:
    blocks = tuple(f"10.{number // 256}.{number % 256}.0/24" for number in range(9_000))
    one = Instance(key("whole of 10"), "203.0.113.9", 9, blocks)
    name = f"{one.public_key.label}.{SERVICE}"
    asker = Asker(content(one))
    assert texts(asker(name, "SRV").additional) == [f"{name} A 203.0.113.9"]
    assert asker(name, "TXT").flags & dns.flags.TC
    (txt,) = asker(name, "TXT", tcp=True).answer[0]
    told = parse_txt(txt.strings).allowed_ips
    assert len(told) > 3_000
    assert told == blocks[: len(told)]


@pytest.mark.parametrize("number", [6, 16, 200, 900])
def test_defect_3_browsing_lists_every_peer_over_tcp_in_one_fixed_order(number: int) -> None:
    peers = many(number)
    answers = [
        texts(Asker(content(*order))(SERVICE, "PTR", tcp=True).answer)
        for order in (peers, peers[::-1])
    ]
    assert answers[0] == answers[1]
    assert answers[0] == [
        f"{SERVICE} PTR {label}.{SERVICE}" for label in sorted(p.public_key.label for p in peers)
    ]


def test_defect_3_a_list_beyond_what_tcp_can_carry_says_that_it_is_cut() -> None:
    response = Asker(content(*many(1000)))(SERVICE, "PTR", tcp=True)
    assert response.flags & dns.flags.TC
    assert len(response.answer[0]) > 900


@pytest.mark.parametrize("size", [None, 512, 1232, 4096, 65535])
def test_defect_3_a_list_too_long_for_udp_says_so_whatever_size_the_client_advertises(
    size: int | None,
) -> None:
    response = Asker(content(*many(100)))(SERVICE, "PTR", size=size)
    assert response.flags & dns.flags.TC
    assert not response.answer
    assert not response.additional


@pytest.mark.parametrize(
    ("name", "has", "has_not", "address"),
    [
        (ALICE_NAME, "A", "AAAA", "203.0.113.1"),
        (BOB_NAME, "AAAA", "A", "2001:db8::b"),
    ],
)
def test_defect_4_an_address_query_is_answered_with_its_own_type_only(
    ask: Asker, name: str, has: str, has_not: str, address: str
) -> None:
    assert texts(ask(name, has).answer) == [f"{name} {has} {address}"]
    response = ask(name, has_not)
    assert response.rcode() == dns.rcode.NOERROR
    assert not response.answer
    assert response.authority[0].rdtype == dns.rdatatype.SOA


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [
        (ZONE, "TXT"),
        (f"_udp.{ZONE}", "PTR"),
        (f"_udp.{ZONE}", "A"),
        (f"_dns-sd._udp.{ZONE}", "PTR"),
        (SERVICE, "A"),
        (ALICE_NAME, "PTR"),
        (ALICE_NAME, "MX"),
        (f"ns1.{ZONE}", "TXT"),
    ],
)
def test_defect_5_a_name_that_exists_without_the_type_is_nodata(
    ask: Asker, name: str, rdtype: str
) -> None:
    response = ask(name, rdtype)
    assert response.rcode() == dns.rcode.NOERROR
    assert not response.answer
    assert response.flags & dns.flags.AA
    (soa,) = response.authority
    assert (soa.name.to_text(), soa.rdtype, soa.ttl) == (ZONE, dns.rdatatype.SOA, 5)


def test_defect_5_the_service_exists_also_while_nobody_is_there() -> None:
    assert Asker(content())(SERVICE, "PTR").rcode() == dns.rcode.NOERROR


def test_defect_6_the_apex_has_soa_and_ns_and_the_name_server_has_an_address(ask: Asker) -> None:
    assert texts(ask(ZONE, "SOA").answer) == [
        f"{ZONE} SOA ns1.{ZONE} hostmaster.{ZONE} 7 30 10 86400 5"
    ]
    response = ask(ZONE, "NS")
    glue = [f"ns1.{ZONE} A {TUNNEL}", f"ns1.{ZONE} AAAA {TUNNEL6}"]
    assert texts(response.answer) == [f"{ZONE} NS ns1.{ZONE}"]
    assert texts(response.additional) == glue
    assert texts(ask(f"ns1.{ZONE}", "A").answer) == glue[:1]


@pytest.mark.parametrize(
    "name",
    [
        f"{ALICE.public_key.label}._wireguard._tcp.{ZONE}",
        f"{ALICE.public_key.label}._other._udp.{ZONE}",
        f"{ALICE.public_key.label}.{ZONE}",
        f"x.{ALICE_NAME}",
        f"{'a' * 56}.{SERVICE}",
        f"{'a' * 63}.{SERVICE}",
        f"_tcp.{ZONE}",
    ],
)
def test_defect_7_only_the_exact_name_of_an_instance_is_answered(ask: Asker, name: str) -> None:
    response = ask(name, "SRV")
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert response.authority[0].rdtype == dns.rdatatype.SOA


def test_defect_8_answers_echo_the_case_of_the_question(ask: Asker) -> None:
    mixed = "".join(c.upper() if i % 2 else c for i, c in enumerate(ALICE_NAME))
    response = ask(mixed, "SRV")
    assert response.question[0].name.to_text() == mixed
    assert response.answer[0].name.to_text() == mixed


def test_defect_8_everything_may_be_cached_for_a_moment(ask: Asker) -> None:
    for name, rdtype in ((ALICE_NAME, "SRV"), (SERVICE, "PTR"), (ZONE, "SOA")):
        response = ask(name, rdtype)
        assert all(rrset.ttl > 0 for rrset in response.answer + response.additional)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("_services", SERVICE),
        ("b", ZONE),
        ("db", ZONE),
        ("lb", ZONE),
    ],
)
def test_defect_8_the_dns_sd_meta_queries_are_answered(ask: Asker, name: str, target: str) -> None:
    owner = f"{name}._dns-sd._udp.{ZONE}"
    assert texts(ask(owner, "PTR").answer) == [f"{owner} PTR {target}"]


def test_defect_8_names_of_others_are_refused(ask: Asker) -> None:
    response = ask("example.net.", "SOA")
    assert response.rcode() == dns.rcode.REFUSED
    assert not response.flags & dns.flags.AA


@pytest.mark.parametrize(("local", "rdtype"), [(TUNNEL, "A"), (TUNNEL6, "AAAA")])
def test_defect_9_self_without_endpoint_is_the_address_that_the_query_came_in_on(
    ask: Asker, local: str, rdtype: str
) -> None:
    name = f"{REGISTRY.public_key.label}.{SERVICE}"
    response = ask(name, "SRV", local=local)
    assert texts(response.answer) == [f"{name} SRV 0 0 51820 {name}"]
    assert texts(response.additional)[0] == f"{name} {rdtype} {local}"
    assert texts(ask(name, rdtype, local=local).answer) == [f"{name} {rdtype} {local}"]


@pytest.mark.parametrize("endpoint", ["203.0.113.4:99999", "203.0.113.4:0", "[::]:51820"])
def test_defect_9_an_endpoint_that_nobody_could_send_to_is_refused(
    tmp_path: pathlib.Path, endpoint: str
) -> None:
    path = tmp_path / "responder.yml"
    path.write_text(f"zones: [{{zone: a.b, device: wg0, self: {{endpoint: '{endpoint}'}}}}]")
    with pytest.raises(UsageError, match=r"field zones\[0\]\.self\.endpoint"):
        load_responder(path)


HEADER = struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 0)
QUESTION = dns.message.make_query(ALICE_NAME, "SRV").to_wire()[12:]
RECORD = b"\0" + struct.pack("!HHIH", 16, 1, 0, 2) + b"\1x"
#: A record whose data are pointers, each to the one before it; and where its data starts.
CHAIN_START = 12 + len(QUESTION) + 11
CHAIN = RECORD[:-4] + struct.pack(
    "!18H", 34, 0xC00C, *(0xC000 | CHAIN_START + 2 * i for i in range(16))
)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(HEADER, id="a header only"),
        pytest.param(HEADER + QUESTION[:-4], id="a name without type"),
        pytest.param(HEADER + QUESTION[:-2], id="a type without class"),
        pytest.param(HEADER + QUESTION[:20], id="a cut name"),
        pytest.param(HEADER + b"\xc0\x0c\0\x21\0\x01", id="a name that points at itself"),
        pytest.param(HEADER + b"\xc0\x04\0\x21\0\x01", id="a name that points into the header"),
        pytest.param(HEADER + b"\1x\xc0\x0c\0\x21\0\x01", id="a name that ends in a pointer"),
        pytest.param(HEADER + b"\x80" + QUESTION, id="an unknown kind of label"),
        pytest.param(HEADER + (b"\x3f" + b"x" * 63) * 4 + QUESTION, id="a name beyond 255 bytes"),
        pytest.param(
            struct.pack("!HHHHHH", 4711, 0x0100, 2, 0, 0, 0) + QUESTION * 2, id="two questions"
        ),
        pytest.param(struct.pack("!HHHHHH", 4711, 0x0100, 0, 0, 0, 0), id="no question"),
    ],
)
def test_defect_10_a_query_whose_question_cannot_be_read_gets_a_format_error(
    ask: Asker, wire: bytes
) -> None:
    assert ask.raw(wire) == struct.pack("!HHHHHH", 4711, 0x8101, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(HEADER + QUESTION + b"\0", id="a byte after the end"),
        pytest.param(HEADER + QUESTION * 2, id="another question that is not counted"),
        pytest.param(
            struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 1) + QUESTION, id="a missing record"
        ),
        pytest.param(
            struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 1) + QUESTION + b"\0\0\x10\0\1\0",
            id="a cut record",
        ),
        pytest.param(
            struct.pack("!HHHHHH", 4711, 0x0100, 1, 1, 0, 0) + QUESTION + RECORD, id="an answer"
        ),
        pytest.param(
            struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 1, 0) + QUESTION + RECORD, id="an authority"
        ),
        pytest.param(
            struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 2)
            + (QUESTION + CHAIN)
            + struct.pack("!H", 0xC000 | CHAIN_START + 32)
            + RECORD[1:],
            id="a record's name over many pointers",
        ),
        *(
            pytest.param(
                struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 1) + QUESTION + name + RECORD[1:],
                id=f"a record's name {what}",
            )
            for name, what in [
                (b"\x80", "of an unknown kind"),
                (struct.pack("!H", 0xC000 | 12 + len(QUESTION)), "that points at itself"),
                (b"\1x" + struct.pack("!H", 0xC000 | 12 + len(QUESTION)), "in a circle"),
                ((b"\x3f" + b"x" * 63) * 4 + b"\0", "beyond 255 bytes"),
                ((b"\x3f" + b"x" * 63) * 3 + b"\xc0\x0c", "beyond 255 bytes by a pointer"),
            ]
        ),
    ],
)
def test_defect_10_a_query_with_damage_after_the_question_gets_it_back_with_a_format_error(
    ask: Asker, wire: bytes
) -> None:
    assert ask.raw(wire) == struct.pack("!HHHHHH", 4711, 0x8101, 1, 0, 0, 0) + QUESTION


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEADER[:11], id="part of a header"),
        pytest.param(struct.pack("!HHHHHH", 1, 0x8000, 1, 0, 0, 0) + QUESTION, id="a response"),
    ],
)
def test_defect_10_what_cannot_be_answered_gets_silence(ask: Asker, wire: bytes) -> None:
    assert ask.raw(wire) is None
