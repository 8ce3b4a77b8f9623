# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wire contract with clients in the field, and the duties of an authoritative server."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.update
import pytest

from tests.unit.zone.asking import (
    ALICE,
    BOB,
    REGISTRY,
    SERVICE,
    TUNNEL,
    ZONE,
    Asker,
    content,
    key,
    many,
    texts,
)
from wgsd.config import Access
from wgsd.zone.version import Instance

pytestmark = pytest.mark.unit

ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
ALICE_TXT = (
    f'"txtvers=1" "pub={ALICE.public_key.base64}" "allowed=10.0.0.1/32,192.168.1.0/24" "name=alice"'
)


def extended_error(response: dns.message.Message) -> int | None:
    """The code of RFC 8914 in a response, if there is one."""
    codes = [
        struct.unpack("!H", option.to_wire()[:2])[0]
        for option in response.options
        if option.otype == dns.edns.OptionType.EDE
    ]
    return codes[0] if codes else None


def test_the_old_client_gets_srv_then_address_then_txt_in_512_bytes(ask: Asker) -> None:
    response = ask(f"{ALICE.public_key.label.upper()}.{SERVICE}", "SRV")
    owner = f"{ALICE.public_key.label.upper()}.{SERVICE}"
    assert texts(response.answer) == [f"{owner} SRV 0 0 41414 {ALICE_NAME}"]
    assert texts(response.additional) == [f"{owner} A 203.0.113.1", f"{owner} TXT {ALICE_TXT}"]
    assert not response.flags & dns.flags.TC
    assert response.edns == -1


def test_an_ipv6_endpoint_comes_as_aaaa_right_after_srv(ask: Asker) -> None:
    additional = ask(f"{BOB.public_key.label}.{SERVICE}", "SRV").additional
    assert [rrset.rdtype for rrset in additional] == [dns.rdatatype.AAAA, dns.rdatatype.TXT]


def test_the_target_of_an_srv_record_is_written_out_in_full(ask: Asker) -> None:
    query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
    assert dns.name.from_text(ALICE_NAME).to_wire() in ask.raw(query)[len(query) :]


def test_a_peer_without_endpoint_does_not_exist(ask: Asker) -> None:
    assert ask(f"{key('nobody').label}.{SERVICE}", "SRV").rcode() == dns.rcode.NXDOMAIN


def test_a_label_without_padding_is_answered_under_the_name_that_was_asked(ask: Asker) -> None:
    unpadded = f"{ALICE.public_key.unpadded_label}.{SERVICE}"
    response = ask(unpadded, "SRV")
    assert texts(response.answer) == [f"{unpadded} SRV 0 0 41414 {ALICE_NAME}"]
    assert texts(response.additional)[0] == f"{ALICE_NAME} A 203.0.113.1"
    assert texts(ask(unpadded, "A").answer) == [f"{unpadded} A 203.0.113.1"]
    assert texts(ask(unpadded, "TXT").answer) == [f"{unpadded} TXT {ALICE_TXT}"]


def test_browsing_lists_padded_labels_and_brings_along_what_fits(ask: Asker) -> None:
    few = Asker(content(ALICE, BOB))(SERVICE, "PTR", size=1232)
    assert sorted(rdata.target.to_text() for rdata in few.answer[0]) == sorted(
        f"{peer.public_key.label}.{SERVICE}" for peer in (ALICE, BOB)
    )
    kinds = [dns.rdatatype.to_text(rrset.rdtype) for rrset in few.additional]
    assert sorted(kinds) == ["A", "AAAA", "SRV", "SRV", "TXT", "TXT"]

    response = Asker(content(*many(6)))(SERVICE, "PTR")
    assert len(response.answer[0]) == 6
    assert not response.flags & dns.flags.TC


def test_sixteen_peers_fit_the_udp_size_that_is_the_default_today() -> None:
    response = Asker(content(*many(16)))(SERVICE, "PTR", size=1232)
    assert len(response.answer[0]) == 16
    assert not response.flags & dns.flags.TC


@pytest.mark.parametrize("rdtype", ["SRV", "TXT", "A"])
def test_a_friendly_name_leads_to_the_key_and_its_records(ask: Asker, rdtype: str) -> None:
    friendly = f"alice.{SERVICE}"
    cname, chased = ask(friendly, rdtype, size=1232).answer
    assert texts([cname]) == [f"{friendly} CNAME {ALICE_NAME}"]
    assert texts([chased]) == texts(ask(ALICE_NAME, rdtype).answer)


def test_a_friendly_name_without_the_type_asked_for_is_cname_and_nodata(ask: Asker) -> None:
    response = ask(f"alice.{SERVICE}", "AAAA")
    assert [rrset.rdtype for rrset in response.answer] == [dns.rdatatype.CNAME]
    assert [rrset.rdtype for rrset in response.authority] == [dns.rdatatype.SOA]


def test_the_cname_itself_can_be_asked_for(ask: Asker) -> None:
    response = ask(f"ALICE.{SERVICE}", "CNAME")
    assert texts(response.answer) == [f"ALICE.{SERVICE} CNAME {ALICE_NAME}"]


@pytest.mark.parametrize("name", [ZONE, SERVICE, ALICE_NAME, f"alice.{SERVICE}"])
def test_any_gets_one_rrset(ask: Asker, name: str) -> None:
    response = ask(name, "ANY", tcp=True)
    assert len(response.answer) == 1
    assert not response.additional


def test_any_at_an_empty_non_terminal_is_nodata(ask: Asker) -> None:
    response = ask(f"_udp.{ZONE}", "ANY")
    assert response.rcode() == dns.rcode.NOERROR
    assert not response.answer


def test_an_opt_record_is_answered_with_ours(ask: Asker) -> None:
    response = ask(ALICE_NAME, "SRV", size=4096)
    assert (response.edns, response.payload) == (0, 1232)


def test_the_dnssec_ok_bit_is_copied(ask: Asker) -> None:
    query = dns.message.make_query(ALICE_NAME, "SRV", want_dnssec=True)
    response = dns.message.from_wire(ask.raw(query.to_wire()))
    assert response.ednsflags == dns.flags.DO


def test_another_edns_version_is_answered_with_badvers(ask: Asker) -> None:
    query = dns.message.make_query(ALICE_NAME, "SRV", use_edns=1)
    response = dns.message.from_wire(ask.raw(query.to_wire()))
    assert (response.rcode(), response.edns) == (dns.rcode.BADVERS, 0)
    assert not response.answer


def test_unknown_edns_options_change_nothing(ask: Asker) -> None:
    options = [dns.edns.GenericOption(65001, b"x" * 10)]
    query = dns.message.make_query(ALICE_NAME, "SRV", use_edns=0, options=options)
    response = dns.message.from_wire(ask.raw(query.to_wire()))
    assert response.rcode() == dns.rcode.NOERROR
    assert not response.options


OPT_RECORD = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


@pytest.mark.parametrize(
    ("counts", "records"),
    [
        pytest.param((0, 0, 2), OPT_RECORD * 2, id="two of them"),
        pytest.param((1, 0, 0), OPT_RECORD, id="in the answer section"),
        pytest.param((0, 0, 1), b"\1x" + OPT_RECORD, id="under a name"),
        pytest.param(
            (0, 0, 1),
            b"\0" + struct.pack("!HHIHHH", 41, 1232, 0, 4, 3, 9),
            id="an option longer than the record",
        ),
    ],
)
def test_a_wrong_opt_record_is_a_format_error(
    ask: Asker, counts: tuple[int, int, int], records: bytes
) -> None:
    question = dns.message.make_query(ALICE_NAME, "SRV").to_wire()[12:]
    wire = struct.pack("!HHHHHH", 1, 0, 1, *counts) + question + records
    assert ask.raw(wire)[3] & 0xF == dns.rcode.FORMERR


def test_additionals_are_dropped_before_an_answer_is_called_cut() -> None:
    peers = many(6)
    response = Asker(content(*peers))(SERVICE, "PTR", size=512)
    assert len(response.answer[0]) == 6
    assert not response.additional
    assert not response.flags & dns.flags.TC


@pytest.mark.parametrize("rdclass", ["CH", "HS", "ANY"])
def test_other_classes_are_refused(ask: Asker, rdclass: str) -> None:
    assert ask(ALICE_NAME, "TXT", rdclass=rdclass).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("opcode", ["IQUERY", "STATUS", "NOTIFY"])
def test_other_kinds_of_query_are_not_implemented(ask: Asker, opcode: str) -> None:
    query = dns.message.make_query(ZONE, "SOA")
    query.set_opcode(dns.opcode.from_text(opcode))
    response = dns.message.from_wire(ask.raw(query.to_wire()))
    assert (response.rcode(), response.opcode()) == (dns.rcode.NOTIMP, query.opcode())


def test_dynamic_updates_are_not_implemented(ask: Asker) -> None:
    update = dns.update.UpdateMessage(ZONE)
    update.add("mallory", 60, "A", "192.0.2.66")
    assert ask.raw(update.to_wire())[3] & 0xF == dns.rcode.NOTIMP


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
def test_transfers_are_refused(ask: Asker, rdtype: str) -> None:
    assert ask(ZONE, rdtype, tcp=True).rcode() == dns.rcode.REFUSED


def test_flags_that_belong_to_the_client_are_copied_and_recursion_is_not_offered(
    ask: Asker,
) -> None:
    query = dns.message.make_query(ALICE_NAME, "SRV")
    query.flags = dns.flags.RD | dns.flags.CD | dns.flags.AD
    response = dns.message.from_wire(ask.raw(query.to_wire()))
    assert response.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.CD


def test_with_nested_zones_the_longest_match_answers(ask: Asker) -> None:
    inner = f"lab.{ZONE}"
    dave = Instance(key("dave"), "203.0.113.9", 9999)
    ask.serve(inner, content(dave), serial=99)
    assert ask(inner, "SOA").answer[0][0].serial == 99
    assert ask(f"{dave.public_key.label}._wireguard._udp.{inner}", "SRV").answer
    assert ask(ALICE_NAME, "SRV").answer
    assert ask(f"x.{inner}", "A").authority[0].name.to_text() == inner


def test_by_default_only_who_asks_a_tunnel_address_is_answered(ask: Asker) -> None:
    response = ask(ALICE_NAME, "SRV", size=1232, local="203.0.113.4")
    assert response.rcode() == dns.rcode.REFUSED
    assert extended_error(response) == 18
    assert ask(ALICE_NAME, "SRV", source="198.51.100.99", local=TUNNEL).answer


def test_allow_query_decides_by_the_source_alone() -> None:
    ask = Asker(content(ALICE), allow_query=Access(("10.0.0.0/24", "fd00::/64")))
    assert ask(ALICE_NAME, "SRV", source="10.0.0.9", local="203.0.113.4").answer
    assert ask(ALICE_NAME, "SRV", source="fd00::9", local="203.0.113.4").answer
    refused = ask(ALICE_NAME, "SRV", source="10.0.1.9", local=TUNNEL)
    assert refused.rcode() == dns.rcode.REFUSED
    assert refused.edns == -1


def test_the_reason_for_refusing_a_foreign_name_is_told(ask: Asker) -> None:
    assert extended_error(ask("example.net.", "A", size=1232)) == 20


def test_a_zone_of_which_nothing_is_known_yet_fails_instead_of_denying() -> None:
    ask = Asker()
    ask.serve(ZONE, None)
    response = ask(ALICE_NAME, "SRV", size=1232)
    assert response.rcode() == dns.rcode.SERVFAIL
    assert extended_error(response) == 14


def test_self_is_found_by_the_same_rules_as_a_peer() -> None:
    own = Instance(REGISTRY.public_key, "203.0.113.4", 51820, ("10.0.0.254/32",), name="registry")
    ask = Asker(content(own))
    name = f"{own.public_key.label}.{SERVICE}"
    assert texts(ask(f"registry.{SERVICE}", "A").answer)[1] == f"{name} A 203.0.113.4"
