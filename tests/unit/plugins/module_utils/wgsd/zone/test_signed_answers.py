# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers from a signed zone: whoever asks for proof gets it, and nobody else is told."""

from __future__ import annotations

import dataclasses

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    JOINING,
    NOW,
    REGISTRY,
    SERVICE,
    TUNNEL,
    TUNNEL6,
    ZONE,
    Ready,
    content,
    key,
    many,
)
from tests.unit.plugins.module_utils.wgsd.zone.signed import Validator, zone_key
from wgsd.zone.signing import Signer
from wgsd.zone.version import Content, Delta

pytestmark = pytest.mark.unit

KEY = zone_key()
NEVER_SIGNED = "unsigned.test."
ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
BOB_NAME = f"{BOB.public_key.label}.{SERVICE}"
UNPADDED = f"{ALICE.public_key.unpadded_label}.{SERVICE}"
OWN_NAME = f"{REGISTRY.public_key.label}.{SERVICE}"
NOBODY = f"{key('nobody').label}.{SERVICE}"
SEAL_TYPES = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.DNSKEY}
MOVED = dataclasses.replace(ALICE, address="203.0.113.99")


class Signed(Ready):
    """A signed zone, and what a validating client does with its answers."""

    def __init__(self, one: Content | None, local: str = TUNNEL) -> None:
        self.now = float(NOW)
        signer = Signer(ZONE, [KEY], 7 * 86400, wall=lambda: self.now)
        self.signer = signer
        super().__init__({ZONE: one}, local, signers={ZONE: signer})

    def get(
        self, name: str, rdtype: str, *, proof: bool = True, tcp: bool = False, size: int = 1232
    ) -> dns.message.Message:
        """Ask twice, so that the second answer is the one that lies ready, if there is one."""
        asked = dns.message.make_query(name, rdtype, want_dnssec=proof, payload=size)
        first = self.ask(asked.to_wire(), tcp)
        assert first is not None
        assert self.ask(asked.to_wire(), tcp) == first == self.complete(asked.to_wire(), tcp)
        response = dns.message.from_wire(first)
        assert bool(response.ednsflags & dns.flags.DO) == proof
        return response

    def validated(self, name: str, rdtype: str, **how: bool) -> dns.message.Message:
        """Ask for proof, and check it."""
        response = self.get(name, rdtype, **how)
        assert not response.flags & dns.flags.TC
        Validator(KEY, now=self.now).check_response(response)
        return response


@pytest.fixture
def signed() -> Signed:
    """The zone of Alice, Bob, Carol and the registry itself."""
    return Signed(content(ALICE, BOB, CAROL, REGISTRY))


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [
        (ZONE, "SOA"),
        (ZONE, "NS"),
        (ZONE, "DNSKEY"),
        (ZONE, "NSEC"),
        (ZONE, "ANY"),
        (f"ns1.{ZONE}", "AAAA"),
        (SERVICE, "PTR"),
        (f"b._dns-sd._udp.{ZONE}", "PTR"),
        (ALICE_NAME, "SRV"),
        (UNPADDED, "TXT"),
        (UNPADDED.upper(), "SRV"),
        (OWN_NAME, "A"),
        (f"alice.{SERVICE}", "SRV"),
        (f"alice.{SERVICE}", "CNAME"),
        (f"alice.{SERVICE}", "NSEC"),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_an_answer_comes_with_its_signatures(
    signed: Signed, name: str, rdtype: str, tcp: bool
) -> None:
    response = signed.validated(name, rdtype, tcp=tcp)
    assert response.rcode() == dns.rcode.NOERROR
    assert response.answer
    assert response.flags & dns.flags.AA


def test_the_address_still_comes_first_after_an_srv_record(signed: Signed) -> None:
    response = signed.validated(ALICE_NAME, "SRV")
    assert [(rrset.rdtype, rrset.covers) for rrset in response.additional] == [
        (dns.rdatatype.A, 0),
        (dns.rdatatype.RRSIG, dns.rdatatype.A),
        (dns.rdatatype.TXT, 0),
        (dns.rdatatype.RRSIG, dns.rdatatype.TXT),
    ]


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [
        (ZONE, "DS"),
        (ZONE, "MX"),
        (ALICE_NAME, "AAAA"),
        (f"alice.{SERVICE}", "AAAA"),
        (f"_udp.{ZONE}", "A"),
        (f"_dns-sd._udp.{ZONE}", "TXT"),
        (SERVICE, "SRV"),
    ],
)
def test_that_a_type_is_missing_is_proved(signed: Signed, name: str, rdtype: str) -> None:
    response = signed.validated(name, rdtype)
    assert response.rcode() == dns.rcode.NOERROR
    assert not [rrset for rrset in response.answer if rrset.name.to_text() != name.lower()] or (
        response.answer[0].rdtype == dns.rdatatype.CNAME
    )
    soa = response.get_rrset(response.authority, dns.name.from_text(ZONE), 1, dns.rdatatype.SOA)
    assert soa is not None
    assert soa.ttl == 5


@pytest.mark.parametrize(
    "name",
    [
        NOBODY,
        f"nobody.{ZONE}",
        f"a.b.c.nobody.{ZONE}",
        f"below.{ALICE_NAME}",
        f"below.alice.{SERVICE}",
        f"*.{ZONE}",
        f"\\000.{ZONE}",
        f"\\000\\001.{SERVICE}",
        f"\\255.{ZONE}",
        f"zz._dns-sd._udp.{ZONE}",
    ],
)
def test_that_a_name_is_missing_is_proved(signed: Signed, name: str) -> None:
    response = signed.validated(name, "A")
    assert response.rcode() == dns.rcode.NXDOMAIN


names = st.lists(
    st.one_of(
        st.sampled_from([b"_udp", b"_wireguard", b"alice", b"*", ALICE_NAME[:56].encode()]),
        st.binary(min_size=1, max_size=4),
    ),
    max_size=3,
).map(lambda labels: dns.name.Name([*labels, *dns.name.from_text(ZONE).labels]).to_text())
ANYBODY = Signed(content(ALICE, BOB, CAROL, REGISTRY))


@hypothesis.given(
    name=names,
    rdtype=st.sampled_from(["A", "PTR", "SRV", "DS", "ANY", "RRSIG", "NSEC", "DNSKEY"]),
    tcp=st.booleans(),
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_whatever_is_asked_the_answer_is_proved(name: str, rdtype: str, tcp: bool) -> None:
    ANYBODY.validated(name, rdtype, tcp=tcp)


@pytest.mark.parametrize("rdtype", ["SRV", "AAAA", "ANY"])
@pytest.mark.parametrize("name", [ALICE_NAME, NOBODY, ZONE, f"alice.{SERVICE}", f"_udp.{ZONE}"])
def test_nobody_gets_proof_who_does_not_ask_for_it(signed: Signed, name: str, rdtype: str) -> None:
    signed.get(name, rdtype)
    response = signed.get(name, rdtype, proof=False)
    sections = (*response.answer, *response.authority, *response.additional)
    assert not SEAL_TYPES & {rrset.rdtype for rrset in sections}


@pytest.mark.parametrize("rdtype", ["RRSIG", "NSEC", "DNSKEY"])
def test_proof_that_is_asked_for_by_its_type_comes_without_the_flag(
    signed: Signed, rdtype: str
) -> None:
    response = signed.get(ZONE, rdtype, proof=False)
    assert {rrset.rdtype for rrset in response.answer} == {dns.rdatatype.from_text(rdtype)}
    assert not response.authority


@pytest.mark.parametrize("rdtype", ["RRSIG", "NSEC", "DNSKEY"])
def test_a_zone_that_is_not_signed_has_no_proof_to_ask_for(rdtype: str) -> None:
    plain = Ready({ZONE: content(ALICE)})
    wire = plain.complete(dns.message.make_query(ZONE, rdtype, want_dnssec=True).to_wire())
    assert wire is not None
    response = dns.message.from_wire(wire)
    assert not response.answer
    assert [rrset.rdtype for rrset in response.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize("local", [TUNNEL, TUNNEL6])
def test_the_registrys_own_address_is_the_same_however_a_query_comes_in(local: str) -> None:
    signed = Signed(content(ALICE, REGISTRY), local)
    response = signed.validated(OWN_NAME, "SRV")
    assert [r.to_text() for r in response.additional[0]] == [TUNNEL]


def test_without_peers_the_service_is_a_name_that_is_missing() -> None:
    assert Signed(content()).validated(SERVICE, "PTR").rcode() == dns.rcode.NXDOMAIN


def test_without_a_peer_that_has_an_endpoint_the_service_is_a_name_without_records() -> None:
    signed = Signed(content(JOINING))
    assert signed.validated(SERVICE, "PTR").rcode() == dns.rcode.NOERROR
    assert signed.validated(f"{JOINING.public_key.label}.{SERVICE}", "TXT").answer
    assert signed.validated(NOBODY, "SRV").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("rdtype", ["SRV", "A", "AAAA"])
def test_that_a_member_has_no_endpoint_is_proved(rdtype: str) -> None:
    signed = Signed(content(ALICE, JOINING))
    response = signed.validated(f"{JOINING.public_key.unpadded_label}.{SERVICE}", rdtype)
    assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])


def test_what_does_not_fit_is_asked_for_again_by_tcp(signed: Signed) -> None:
    response = signed.get(ALICE_NAME, "SRV", size=512)
    assert response.answer
    signed.step(content(*many(40)))
    response = signed.get(SERVICE, "PTR")
    assert response.flags & dns.flags.TC
    assert not response.answer
    assert signed.validated(SERVICE, "PTR", tcp=True).answer


def test_a_list_that_fits_no_message_comes_in_part_and_says_so() -> None:
    response = Signed(content(*many(1000))).get(SERVICE, "PTR", tcp=True)
    assert response.flags & dns.flags.TC
    assert 900 < len(response.answer[0]) < 1000


def test_answers_that_lie_ready_follow_the_seals(signed: Signed) -> None:
    """A step that changes no record but only signatures, as before these expire."""
    asked = [
        (name, rdtype)
        for name in (ALICE_NAME, UNPADDED, BOB_NAME, f"alice.{SERVICE}", SERVICE, ZONE, NOBODY)
        for rdtype in ("SRV", "PTR", "SOA", "AAAA")
    ]
    for one in asked:
        signed.validated(*one)
    signed.now += 5 * 86400
    seals = signed.signer.refresh(signed.version())
    assert seals
    version = signed.version()
    assert version.content
    signed.take(Delta(ZONE, version.serial + 1, version.content.addresses, seals=seals))
    signed.now += 4 * 86400
    for one in asked:
        signed.validated(*one)


def test_answers_that_lie_ready_follow_the_peers(signed: Signed) -> None:
    for one in (content(ALICE, BOB), content(MOVED, BOB), content(MOVED, CAROL), content(MOVED)):
        signed.step(one)
        for name in (ALICE_NAME, UNPADDED, BOB_NAME, f"alice.{SERVICE}", NOBODY):
            for rdtype in ("SRV", "A", "NSEC"):
                signed.validated(name, rdtype)
        signed.validated(SERVICE, "PTR")


@pytest.mark.parametrize("name", [ALICE_NAME, UNPADDED, f"alice.{SERVICE}", SERVICE])
def test_an_answer_with_its_signatures_lies_ready(signed: Signed, name: str) -> None:
    asked = dns.message.make_query(name, "SRV", want_dnssec=True, payload=1232).to_wire()
    assert signed.find(asked) is None
    signed.ask(asked)
    assert signed.find(asked) is not None


def test_the_proof_that_one_name_is_missing_is_not_given_for_another(signed: Signed) -> None:
    for number in range(4):
        signed.validated(f"{key(f'nobody {number}').label}.{SERVICE}", "SRV")


def test_when_a_zone_is_signed_or_not_any_more_all_answers_follow() -> None:
    signed = Signed(content(ALICE))
    signed.validated(ALICE_NAME, "SRV")
    plain = signed.version()
    signers, signed.signers = signed.signers, {}
    signed.take(dataclasses.replace(plain, serial=plain.serial + 1, seals={}).whole())
    assert signed.get(ALICE_NAME, "SRV").additional[-1].rdtype == dns.rdatatype.TXT
    signed.signers = signers
    before = signed.version()
    signed.take(dataclasses.replace(before, serial=before.serial + 1).whole())
    signed.validated(ALICE_NAME, "SRV")
