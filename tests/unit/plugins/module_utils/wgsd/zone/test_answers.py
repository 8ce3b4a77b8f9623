# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wire contract with clients in the field, friendly names, and who may ask."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    INTERFACES,
    JOINING,
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
from wgsd.config import Access
from wgsd.names import TxtRecord, parse_txt
from wgsd.zone.message import truncated
from wgsd.zone.served import Context
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


@pytest.mark.parametrize("label", [JOINING.public_key.label, JOINING.public_key.unpadded_label])
def test_a_member_without_endpoint_has_a_txt_record_and_nothing_else(label: str) -> None:
    ask = Asker(content(ALICE, JOINING))
    owner = f"{label}.{SERVICE}"
    (txt,) = ask(owner, "TXT").answer[0]
    told = TxtRecord(JOINING.public_key, JOINING.allowed_ips, "joining")
    assert parse_txt(txt.strings) == told
    for rdtype in ("SRV", "A", "AAAA"):
        response = ask(owner, rdtype)
        assert response.rcode() == dns.rcode.NOERROR
        assert not response.answer
        assert not response.additional
        assert [rrset.rdtype for rrset in response.authority] == [dns.rdatatype.SOA]
    assert [rrset.rdtype for rrset in ask(owner, "ANY").answer] == [dns.rdatatype.TXT]


def test_a_member_without_endpoint_is_not_listed_and_has_its_friendly_name() -> None:
    ask = Asker(content(ALICE, JOINING))
    assert [rdata.target.to_text() for rdata in ask(SERVICE, "PTR").answer[0]] == [ALICE_NAME]
    cname, txt = ask(f"joining.{SERVICE}", "TXT").answer
    assert (cname.rdtype, txt.rdtype) == (dns.rdatatype.CNAME, dns.rdatatype.TXT)
    alone = Asker(content(JOINING))(SERVICE, "PTR")
    assert (alone.rcode(), alone.answer) == (dns.rcode.NOERROR, [])


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


def test_with_nested_zones_the_longest_match_answers(ask: Asker) -> None:
    inner = f"lab.{ZONE}"
    dave = Instance(key("dave"), "203.0.113.9", 9999)
    ask.serve(inner, content(dave), serial=99)
    assert ask(inner, "SOA").answer[0][0].serial == 99
    assert ask(f"{dave.public_key.label}._wireguard._udp.{inner}", "SRV").answer
    assert ask(ALICE_NAME, "SRV").answer
    assert ask(f"x.{inner}", "A").authority[0].name.to_text() == inner


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


INSIDE: tuple[int | None, ...] = (None, INTERFACES["lo"], INTERFACES["wg0"])


@pytest.mark.parametrize("ingress", INSIDE)
def test_whoever_comes_to_a_tunnel_address_through_the_tunnel_may_ask(
    ask: Asker, ingress: int | None
) -> None:
    for source, local in (("10.0.0.1", TUNNEL), ("fd00::1", TUNNEL6)):
        assert ask(ALICE_NAME, "SRV", source=source, local=local, ingress=ingress).answer


@pytest.mark.parametrize(
    ("local", "ingress"),
    [
        pytest.param(TUNNEL, "eth0", id="the tunnel address, but not through the tunnel"),
        pytest.param(TUNNEL, "wg1", id="the tunnel address, through another tunnel"),
        pytest.param("203.0.113.4", "eth0", id="the public address"),
        pytest.param("203.0.113.4", "wg0", id="the public address, through the tunnel"),
        pytest.param("203.0.113.4", None, id="an address that the kernel does not guard"),
    ],
)
def test_whoever_comes_another_way_is_refused_and_told_why(
    ask: Asker, local: str, ingress: str | None
) -> None:
    index = INTERFACES[ingress] if ingress else None
    response = ask(ALICE_NAME, "SRV", size=1232, local=local, ingress=index)
    assert response.rcode() == dns.rcode.REFUSED
    assert extended_error(response) == 18
    assert not response.flags & dns.flags.AA
    assert not ask.authority.lets_in(Context("10.0.0.1", local, ingress=index))


def test_nobody_comes_through_a_device_that_is_gone() -> None:
    ask = Asker()
    ask.serve(ZONE, content(ALICE), device="wg9")
    assert ask(ALICE_NAME, "SRV", ingress=3).rcode() == dns.rcode.REFUSED
    assert ask(ALICE_NAME, "SRV", ingress=INTERFACES["lo"]).answer


def test_the_tunnel_of_one_zone_leads_to_no_other(ask: Asker) -> None:
    ask.serve("example.net.", content(BOB, addresses=["10.9.9.9"]), device="wg1")
    assert ask("example.net.", "SOA").rcode() == dns.rcode.REFUSED
    assert ask("example.net.", "SOA", local="10.9.9.9", ingress=4).answer
    assert ask("example.net.", "SOA", local="10.9.9.9", ingress=3).rcode() == dns.rcode.REFUSED
    assert ask.authority.open_zones(TUNNEL) == [dns.name.from_text(ZONE)]
    assert ask.authority.open_zones("10.9.9.9") == [dns.name.from_text("example.net.")]
    assert not ask.authority.lets_in(Context("10.0.0.1", TUNNEL))


def test_a_zone_is_open_to_its_tunnel_as_long_as_something_is_known_of_it(ask: Asker) -> None:
    origin = dns.name.from_text(ZONE)
    assert ask.authority.open_zones(TUNNEL6) == [origin]
    assert ask.authority.lets_in(Context("10.0.0.1", TUNNEL))
    assert ask.authority.open_zones("203.0.113.4") == []
    ask.authority.serve(origin, None)
    assert ask.authority.open_zones(TUNNEL6) == []
    assert not ask.authority.lets_in(Context("10.0.0.1", TUNNEL))


def test_allow_query_decides_by_the_source_alone() -> None:
    ask = Asker(content(ALICE), allow_query=Access(("10.0.0.0/24", "fd00::/64")))
    for source in ("10.0.0.9", "fd00::9"):
        assert ask(ALICE_NAME, "SRV", source=source, local="203.0.113.4", ingress=2).answer
        assert ask.authority.lets_in(Context(source, "203.0.113.4", ingress=2))
    for source in ("10.0.1.9", "fd00:0:0:1::9"):
        assert ask(ALICE_NAME, "SRV", source=source).rcode() == dns.rcode.REFUSED
        assert not ask.authority.lets_in(Context(source, TUNNEL))
    assert ask.authority.open_zones(TUNNEL) == []


def test_an_empty_allow_query_lets_nobody_ask() -> None:
    ask = Asker(content(ALICE), allow_query=Access())
    assert ask(ALICE_NAME, "SRV").rcode() == dns.rcode.REFUSED


def test_whoever_may_not_ask_does_not_learn_that_nothing_is_known() -> None:
    ask = Asker()
    ask.serve(ZONE, None, allow_query=Access(("10.0.0.0/24",)))
    assert ask(ALICE_NAME, "SRV", source="198.51.100.7").rcode() == dns.rcode.REFUSED
    assert ask(ALICE_NAME, "SRV", source="10.0.0.1").rcode() == dns.rcode.SERVFAIL


def test_an_answer_by_udp_proves_nothing_and_one_by_tcp_the_address(ask: Asker) -> None:
    query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
    for wire in (query, query + b"\0"):
        assert not ask.reply(wire).proven
        assert ask.reply(wire, tcp=True).proven


@pytest.mark.parametrize(
    ("name", "rdtype", "edns"),
    [(ALICE_NAME, "SRV", None), (f"x.{ZONE}", "A", 0), ("example.net.", "A", 0)],
)
def test_a_limited_answer_is_cut_to_its_question_and_its_opt_record(
    ask: Asker, name: str, rdtype: str, edns: int | None
) -> None:
    query = dns.message.make_query(name, rdtype, use_edns=False if edns is None else edns)
    whole = ask.raw(query.to_wire())
    cut = dns.message.from_wire(truncated(whole))
    expected = dns.message.from_wire(whole)
    assert query.is_response(cut)
    assert cut.flags == expected.flags | dns.flags.TC
    assert (cut.rcode(), cut.edns, cut.options) == (
        expected.rcode(),
        expected.edns,
        expected.options,
    )
    assert not (cut.answer + cut.authority + cut.additional)
    assert len(truncated(whole)) <= len(query.to_wire()) + 6


def test_a_limited_error_without_question_is_cut_to_its_header(ask: Asker) -> None:
    whole = ask.raw(bytes(12))
    assert truncated(whole) == whole[:2] + b"\x82" + whole[3:]
