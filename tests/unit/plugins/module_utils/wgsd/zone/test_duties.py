# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The duties of an authoritative server, RFC by RFC.

Cookies (RFC 7873, RFC 9018) and signatures (RFC 8945) have files of their own, serials (RFC 1982)
are tested with the versions of a zone, and TCP (RFC 7766) with the worker.
"""

from __future__ import annotations

import itertools
import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.update
import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    REGISTRY,
    SERVICE,
    ZONE,
    Asker,
    content,
    key,
    many,
    texts,
)
from wgsd.zone.version import Instance

pytestmark = pytest.mark.unit

PEERS = (ALICE, BOB, CAROL, REGISTRY)
ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
#: Every name that the zone has, in its padded spelling.
NAMES = (
    ZONE,
    f"ns1.{ZONE}",
    f"_udp.{ZONE}",
    SERVICE,
    f"_dns-sd._udp.{ZONE}",
    *(f"{name}._dns-sd._udp.{ZONE}" for name in ("_services", "b", "db", "lb")),
    *(f"{peer.public_key.label}.{SERVICE}" for peer in PEERS),
    f"alice.{SERVICE}",
)
#: Types as they are asked for, whether or not this zone has them.
TYPES = ("A", "AAAA", "NS", "SOA", "CNAME", "PTR", "TXT", "SRV", "MX", "DS", "HTTPS", "TYPE65280")


def rcode_of(wire: bytes | None) -> int:
    """The lower bits of the rcode of a response."""
    assert wire is not None
    return wire[3] & 0xF


class TestRfc1035Messages:
    """What a query may look like, and what the header of a response says."""

    @pytest.mark.parametrize("rdclass", ["CH", "HS", "ANY", "NONE", "CLASS42"])
    def test_other_classes_are_refused(self, ask: Asker, rdclass: str) -> None:
        response = ask(ALICE_NAME, "TXT", rdclass=rdclass)
        assert response.rcode() == dns.rcode.REFUSED
        assert not response.flags & dns.flags.AA

    @pytest.mark.parametrize("opcode", [opcode for opcode in range(16) if opcode])
    def test_other_kinds_of_message_are_not_implemented(self, ask: Asker, opcode: int) -> None:
        query = dns.message.make_query(ZONE, "SOA").to_wire()
        for rest in (query[4:], query[4:] + b"\0", bytes(8)):
            wire = query[:2] + struct.pack("!H", opcode << 11) + rest
            response = ask.raw(wire)
            assert rcode_of(response) == dns.rcode.NOTIMP
            assert response[2:3] == bytes([0x80 | opcode << 3])

    def test_dynamic_updates_are_not_implemented(self, ask: Asker) -> None:
        update = dns.update.UpdateMessage(ZONE)
        update.add("mallory", 60, "A", "192.0.2.66")
        assert rcode_of(ask.raw(update.to_wire())) == dns.rcode.NOTIMP
        assert ask(f"mallory.{ZONE}", "A").rcode() == dns.rcode.NXDOMAIN

    @pytest.mark.parametrize("flags", [0, 0x0100, 0x0010, 0x0020, 0x0040, 0x0080, 0x0200, 0x0400])
    def test_of_the_flags_of_a_query_only_rd_comes_back(self, ask: Asker, flags: int) -> None:
        """RA is not offered, AD not claimed (RFC 4035 section 3.1.6), Z is zero."""
        query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
        response = ask.raw(query[:2] + struct.pack("!H", flags) + query[4:])
        assert struct.unpack_from("!H", response, 2)[0] == 0x8400 | flags & 0x0100

    @pytest.mark.parametrize("rdtype", [0, 10, 41, 128, 249, 250, 251, 252, 253, 254, 256, 65535])
    def test_types_that_are_no_data_are_never_denied_as_data(self, ask: Asker, rdtype: int) -> None:
        """RFC 6895 section 3.1: 128 to 255 and OPT are of queries and messages, not of zones."""
        expected = {
            41: dns.rcode.FORMERR,
            250: dns.rcode.FORMERR,
            128: dns.rcode.NOTIMP,
            249: dns.rcode.NOTIMP,
            253: dns.rcode.NOTIMP,
            254: dns.rcode.NOTIMP,
            251: dns.rcode.REFUSED,
            252: dns.rcode.REFUSED,
        }.get(rdtype, dns.rcode.NOERROR)
        response = ask(ALICE_NAME, f"TYPE{rdtype}", tcp=True)
        assert response.rcode() == expected
        assert bool(response.authority) == (expected == dns.rcode.NOERROR)

    def test_the_record_that_an_ixfr_brings_along_is_no_format_error(self, ask: Asker) -> None:
        """RFC 1995 section 3: the client's SOA is in the authority section."""
        query = dns.message.make_query(ZONE, "IXFR").to_wire()
        soa = b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 0, 22) + bytes(22)
        wire = query[:6] + struct.pack("!HHH", 0, 1, 0) + query[12:] + soa
        assert rcode_of(ask.raw(wire)) == dns.rcode.NOERROR

    def test_additional_records_that_we_know_nothing_of_change_nothing(self, ask: Asker) -> None:
        query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
        record = b"\xc0\x0c" + struct.pack("!HHIH", 65280, 1, 0, 3) + b"abc"
        wire = query[:10] + struct.pack("!H", 1) + query[12:] + record
        assert ask.raw(wire) == ask.raw(query)

    @pytest.mark.parametrize("questions", [2, 65535])
    def test_several_questions_are_a_format_error(self, ask: Asker, questions: int) -> None:
        """RFC 9619 section 3."""
        query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
        wire = query[:4] + struct.pack("!H", questions) + query[6:] + query[12:]
        assert rcode_of(ask.raw(wire)) == dns.rcode.FORMERR


class TestRfc2308And8020Denials:
    """NODATA and NXDOMAIN, and that a denied name has nothing below it."""

    @pytest.mark.parametrize("name", NAMES)
    def test_a_name_that_exists_is_never_denied(self, ask: Asker, name: str) -> None:
        for rdtype in TYPES:
            response = ask(name, rdtype, tcp=True)
            assert response.rcode() == dns.rcode.NOERROR
            assert response.answer or response.authority

    def test_every_ancestor_of_a_name_that_exists_does_exist(self, ask: Asker) -> None:
        for text in NAMES:
            name = dns.name.from_text(text)
            while name != dns.name.from_text(ZONE):
                assert ask(name.to_text(), "A").rcode() == dns.rcode.NOERROR
                name = name.parent()

    @pytest.mark.parametrize("name", NAMES)
    def test_below_a_denied_name_all_is_denied(self, ask: Asker, name: str) -> None:
        for missing in (f"x-y.{name}", f"alice.x-y.{name}"):
            response = ask(missing, "SRV")
            assert response.rcode() == dns.rcode.NXDOMAIN
            assert response.flags & dns.flags.AA

    @pytest.mark.parametrize(
        ("name", "rdtype", "rcode"),
        [
            (f"_udp.{ZONE}", "A", dns.rcode.NOERROR),
            (ALICE_NAME, "AAAA", dns.rcode.NOERROR),
            (f"x.{SERVICE}", "SRV", dns.rcode.NXDOMAIN),
        ],
    )
    def test_a_denial_brings_the_soa_to_be_cached_as_long_as_it_says(
        self, ask: Asker, name: str, rdtype: str, rcode: int
    ) -> None:
        response = ask(name, rdtype)
        assert response.rcode() == rcode
        assert not response.answer
        (rrset,) = response.authority
        assert (rrset.name.to_text(), rrset.rdtype) == (ZONE, dns.rdatatype.SOA)
        assert rrset.ttl == rrset[0].minimum > 0

    def test_an_empty_non_terminal_is_no_error_also_without_any_peer(self) -> None:
        ask = Asker(content())
        for name in (f"_udp.{ZONE}", SERVICE, f"_dns-sd._udp.{ZONE}"):
            response = ask(name, "PTR")
            assert response.rcode() == dns.rcode.NOERROR
            assert not response.answer

    def test_a_registry_without_address_has_no_name_server_address_and_still_a_zone(self) -> None:
        access_all = Asker(content(ALICE, addresses=["fd00::254"]))
        response = access_all(f"ns1.{ZONE}", "A", local="fd00::254")
        assert response.rcode() == dns.rcode.NOERROR
        assert not response.answer


class TestRfc4343Case:
    """Names match in any case; the case of the question comes back (0x20)."""

    @pytest.mark.parametrize("name", NAMES)
    def test_every_name_matches_in_any_case_and_comes_back_in_the_one_asked(
        self, ask: Asker, name: str
    ) -> None:
        for rdtype in TYPES:
            mixed = "".join(c.upper() if i % 2 else c for i, c in enumerate(name))
            plain, other = ask(name, rdtype, tcp=True), ask(mixed, rdtype, tcp=True)
            assert other.question[0].name.to_text() == mixed
            assert other.rcode() == plain.rcode()
            assert [r.to_text().lower() for r in other.answer + other.authority] == [
                r.to_text().lower() for r in plain.answer + plain.authority
            ]
            if other.answer:
                assert other.answer[0].name.to_text() == mixed


class TestRfc6763Browsing:
    """DNS-based service discovery."""

    @pytest.mark.parametrize("peer", PEERS)
    def test_an_instance_has_one_txt_record_that_starts_with_its_version(
        self, ask: Asker, peer: Instance
    ) -> None:
        (txt,) = ask(f"{peer.public_key.label}.{SERVICE}", "TXT", tcp=True).answer[0]
        assert txt.strings[0] == b"txtvers=1"
        assert all(0 < len(string) <= 255 for string in txt.strings)

    def test_an_instance_without_allowed_ips_has_the_record_too(self) -> None:
        nobody = Instance(key("bare"), "192.0.2.9", 1)
        (txt,) = Asker(content(nobody))(f"{nobody.public_key.label}.{SERVICE}", "TXT").answer[0]
        assert txt.strings == (
            b"txtvers=1",
            f"pub={nobody.public_key.base64}".encode(),
            b"allowed=",
        )

    def test_a_list_brings_along_srv_txt_and_addresses_of_each_instance(self) -> None:
        ask = Asker(content(ALICE, BOB))
        response = ask(SERVICE, "PTR", tcp=True)
        listed = [rdata.target.to_text() for rdata in response.answer[0]]
        brought = [
            (rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype))
            for rrset in response.additional
        ]
        address = {f"{ALICE.public_key.label}.{SERVICE}": "A"}
        expected = [[(n, "SRV"), (n, "TXT"), (n, address.get(n, "AAAA"))] for n in listed]
        assert brought == list(itertools.chain(*expected))

    def test_what_a_list_brings_along_is_what_its_own_query_answers(self, ask: Asker) -> None:
        for rrset in ask(SERVICE, "PTR", tcp=True).additional:
            rdtype = dns.rdatatype.to_text(rrset.rdtype)
            assert ask(rrset.name.to_text(), rdtype, tcp=True).answer == [rrset]

    def test_additionals_are_dropped_before_an_answer_is_called_cut(self) -> None:
        response = Asker(content(*many(6)))(SERVICE, "PTR", size=512)
        assert len(response.answer[0]) == 6
        assert not response.additional
        assert not response.flags & dns.flags.TC

    def test_what_is_brought_along_never_has_half_an_rrset(self) -> None:
        """RFC 2181 section 9; tried with lists of all lengths that fit."""
        for number in range(1, 17):
            ask = Asker(content(*many(number)))
            for rrset in ask(SERVICE, "PTR", size=1232).additional:
                rdtype = dns.rdatatype.to_text(rrset.rdtype)
                assert ask(rrset.name.to_text(), rdtype, tcp=True).answer == [rrset]

    def test_the_order_is_the_same_every_time(self) -> None:
        answers = [
            Asker(content(*order))(SERVICE, "PTR", tcp=True)
            for order in (many(20), many(20)[::-1], [*many(20)[7:], *many(20)[:7]])
        ]
        assert answers[0].answer == answers[1].answer == answers[2].answer
        assert texts(answers[0].additional) == texts(answers[1].additional)
        assert texts(answers[0].additional) == texts(answers[2].additional)


class TestRfc2782Targets:
    """SRV."""

    @pytest.mark.parametrize("peer", PEERS)
    @pytest.mark.parametrize("spelling", ["label", "unpadded_label"])
    def test_the_target_is_no_alias_and_has_the_address(
        self, ask: Asker, peer: Instance, spelling: str
    ) -> None:
        name = f"{getattr(peer.public_key, spelling)}.{SERVICE}"
        (srv,) = ask(name, "SRV", size=1232).answer[0]
        target = srv.target.to_text()
        address = "AAAA" if ":" in (peer.address or "") else "A"
        (rrset,) = ask(target, address).answer
        assert (rrset.name.to_text(), rrset.rdtype) == (target, dns.rdatatype.from_text(address))
        assert not [r for r in ask(target, "CNAME").answer if r.rdtype == dns.rdatatype.CNAME]

    def test_the_target_is_not_compressed(self, ask: Asker) -> None:
        """For this friendly name the same name stands right before it."""
        query = dns.message.make_query(f"alice.{SERVICE}", "SRV", use_edns=0).to_wire()
        assert dns.name.from_text(ALICE_NAME).to_wire() in ask.raw(query)[len(query) :]


class TestRfc1034Aliases:
    """Friendly names are CNAMEs."""

    @pytest.mark.parametrize("rdtype", [t for t in TYPES if t != "CNAME"])
    def test_an_alias_and_what_its_target_has_or_has_not_come_in_one_answer(
        self, ask: Asker, rdtype: str
    ) -> None:
        alias = f"alice.{SERVICE}"
        response = ask(alias, rdtype, tcp=True)
        at_target = ask(ALICE_NAME, rdtype, tcp=True)
        assert texts(response.answer[:1]) == [f"{alias} CNAME {ALICE_NAME}"]
        assert response.answer[1:] == at_target.answer
        assert response.authority == at_target.authority
        assert response.additional == at_target.additional

    def test_an_alias_has_no_other_record(self, ask: Asker) -> None:
        for rdtype in ("CNAME", "ANY"):
            (rrset,) = ask(f"alice.{SERVICE}", rdtype).answer
            assert rrset.rdtype == dns.rdatatype.CNAME


OPT_RECORD = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


class TestRfc6891Edns:
    """EDNS(0)."""

    def test_an_opt_record_is_answered_with_ours_and_none_with_none(self, ask: Asker) -> None:
        response = ask(ALICE_NAME, "SRV", size=4096)
        assert (response.edns, response.payload) == (0, 1232)
        assert ask(ALICE_NAME, "SRV").edns == -1

    @pytest.mark.parametrize(
        ("name", "rdtype"), [(f"x.{ZONE}", "A"), ("example.net.", "A"), (ZONE, "AXFR")]
    )
    def test_errors_have_it_as_well(self, ask: Asker, name: str, rdtype: str) -> None:
        assert ask(name, rdtype, size=1232).edns == 0

    @pytest.mark.parametrize("dnssec_ok", [False, True])
    def test_the_dnssec_ok_bit_is_copied_and_no_other(self, ask: Asker, dnssec_ok: bool) -> None:
        query = dns.message.make_query(ALICE_NAME, "SRV")
        query.use_edns(0, ednsflags=0xFFFF if dnssec_ok else 0x7FFF)
        response = dns.message.from_wire(ask.raw(query.to_wire()))
        assert response.ednsflags == (dns.flags.DO if dnssec_ok else 0)

    @pytest.mark.parametrize("version", [1, 255])
    def test_another_version_is_answered_with_badvers_and_ours(
        self, ask: Asker, version: int
    ) -> None:
        """Whatever its options look like: only that version says."""
        query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
        for options in (b"", b"\0\x0a\0\1x", b"x"):
            opt = struct.pack("!HHBBHH", 41, 1232, 0, version, 0, len(options)) + options
            wire = query[:10] + struct.pack("!H", 1) + query[12:] + b"\0" + opt
            response = dns.message.from_wire(ask.raw(wire))
            assert (response.rcode(), response.edns) == (dns.rcode.BADVERS, 0)
            assert response.question
            assert not response.answer

    def test_unknown_options_change_nothing(self, ask: Asker) -> None:
        options = [dns.edns.GenericOption(code, b"x" * 10) for code in (3, 8, 11, 12, 65001)]
        query = dns.message.make_query(ALICE_NAME, "SRV", use_edns=0, options=options)
        response = dns.message.from_wire(ask.raw(query.to_wire()))
        assert texts(response.answer) == texts(ask(ALICE_NAME, "SRV").answer)
        assert not response.options

    @pytest.mark.parametrize("size", [0, 1, 511, 512])
    def test_a_size_below_512_counts_as_512(self, ask: Asker, size: int) -> None:
        query = dns.message.make_query(SERVICE, "PTR")
        query.use_edns(0, payload=size)
        response = dns.message.from_wire(Asker(content(*many(6))).raw(query.to_wire()))
        assert len(response.answer[0]) == 6

    @pytest.mark.parametrize(("size", "limit"), [(512, 512), (900, 900), (1232, 1232)])
    def test_the_size_of_the_client_is_kept_to(self, size: int, limit: int) -> None:
        longest = 0
        for number in range(1, 20):
            query = dns.message.make_query(SERVICE, "PTR", use_edns=0, payload=size)
            longest = max(longest, len(Asker(content(*many(number))).raw(query.to_wire())))
        assert limit - 100 < longest <= limit

    @pytest.mark.parametrize("size", [1233, 4096, 65535])
    def test_nothing_that_could_be_fragmented_is_sent_however_much_is_asked_for(
        self, size: int
    ) -> None:
        for number in (16, 17, 100):
            query = dns.message.make_query(SERVICE, "PTR", use_edns=0, payload=size)
            wire = Asker(content(*many(number))).raw(query.to_wire())
            assert len(wire) <= 1232
            assert bool(wire[2] & 0x02) == (number > 16)

    @pytest.mark.parametrize(
        ("counts", "records"),
        [
            pytest.param((0, 0, 2), OPT_RECORD * 2, id="two of them"),
            pytest.param((1, 0, 0), OPT_RECORD, id="in the answer section"),
            pytest.param((0, 1, 0), OPT_RECORD, id="in the authority section"),
            pytest.param((0, 0, 1), b"\1x" + OPT_RECORD, id="under a name"),
            pytest.param(
                (0, 0, 1),
                b"\0" + struct.pack("!HHIHHH", 41, 1232, 0, 4, 3, 9),
                id="an option longer than the record",
            ),
            pytest.param(
                (0, 0, 1),
                b"\0" + struct.pack("!HHIHH", 41, 1232, 0, 2, 3),
                id="an option without length",
            ),
        ],
    )
    @pytest.mark.parametrize("rdtype", ["SRV", "IXFR"])
    def test_a_wrong_opt_record_is_a_format_error(
        self, ask: Asker, counts: tuple[int, int, int], records: bytes, rdtype: str
    ) -> None:
        question = dns.message.make_query(ALICE_NAME, rdtype).to_wire()[12:]
        wire = struct.pack("!HHHHHH", 1, 0, 1, *counts) + question + records
        response = ask.raw(wire)
        assert rcode_of(response) == dns.rcode.FORMERR
        assert response[12 : 12 + len(question)] == question


class TestRfc2181Truncation:
    """What does not fit a datagram."""

    @pytest.mark.parametrize("number", [7, 17, 5000])
    def test_a_cut_answer_says_so_and_is_empty_so_that_nobody_takes_it_for_all(
        self, number: int
    ) -> None:
        response = Asker(content(*many(number)))(SERVICE, "PTR", size=1232 if number > 7 else None)
        assert response.flags & dns.flags.TC
        assert response.rcode() == dns.rcode.NOERROR
        assert response.question
        assert not (response.answer + response.authority + response.additional)

    def test_the_same_question_by_tcp_has_the_answer(self) -> None:
        ask = Asker(content(*many(100)))
        assert ask(SERVICE, "PTR").flags & dns.flags.TC
        response = ask(SERVICE, "PTR", tcp=True)
        assert not response.flags & dns.flags.TC
        assert len(response.answer[0]) == 100

    def test_a_txt_record_too_long_for_512_bytes_is_cut_as_a_whole(self, ask: Asker) -> None:
        name = f"{CAROL.public_key.label}.{SERVICE}"
        response = ask(name, "TXT")
        assert response.flags & dns.flags.TC
        assert not response.answer
        assert ask(name, "TXT", size=1232).answer


class TestRfc8482Any:
    """A query for all types."""

    @pytest.mark.parametrize("name", [ZONE, SERVICE, ALICE_NAME, f"alice.{SERVICE}", f"ns1.{ZONE}"])
    @pytest.mark.parametrize("tcp", [False, True])
    def test_any_gets_one_rrset_and_nothing_with_it(self, ask: Asker, name: str, tcp: bool) -> None:
        response = ask(name, "ANY", tcp=tcp, size=1232)
        assert len(response.answer) == 1
        assert not response.additional
        assert response.answer == ask(name, "ANY", tcp=tcp, size=1232).answer

    def test_any_at_an_empty_non_terminal_is_nodata(self, ask: Asker) -> None:
        response = ask(f"_udp.{ZONE}", "ANY")
        assert response.rcode() == dns.rcode.NOERROR
        assert not response.answer
        assert response.authority

    def test_any_at_a_missing_name_is_denied(self, ask: Asker) -> None:
        assert ask(f"x.{ZONE}", "ANY").rcode() == dns.rcode.NXDOMAIN


class TestAddresses:
    """IPv6 throughout."""

    def test_a_link_local_endpoint_is_served_as_its_address(self) -> None:
        near = Instance(key("near"), "fe80::1", 51820)
        name = f"{near.public_key.label}.{SERVICE}"
        response = Asker(content(near))(name, "SRV")
        assert texts(response.additional)[0] == f"{name} AAAA fe80::1"
        assert texts(Asker(content(near))(name, "AAAA").answer) == [f"{name} AAAA fe80::1"]

    def test_a_zone_that_is_reached_by_ipv6_only_has_an_ipv6_name_server(self) -> None:
        ask = Asker(content(BOB, addresses=["fd00::254"]))
        response = ask(ZONE, "NS", source="fd00::1", local="fd00::254")
        assert texts(response.additional) == [f"ns1.{ZONE} AAAA fd00::254"]
