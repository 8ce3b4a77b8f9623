# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signed queries (RFC 8945), with dnspython's client as the other side."""

from __future__ import annotations

import hashlib
import hmac
import struct
import typing as t

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    NOW,
    SERVICE,
    TUNNEL,
    Asker,
    content,
    many,
)
from wgsd.config import Access, TsigKey
from wgsd.zone.tsig import check_response, sign_request

pytestmark = pytest.mark.unit

OPS = TsigKey("ops.example.com.", "hmac-sha256", bytes(range(32)))
ALGORITHMS = ["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]
ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
OUTSIDE: dict[str, t.Any] = {"source": "198.51.100.7", "local": "203.0.113.4", "ingress": 2}
TSIG = 250
NOTAUTH = 9
BADSIG, BADKEY, BADTIME, BADTRUNC = 16, 17, 18, 22


@pytest.fixture
def ask() -> Asker:
    """Ask a zone that only those may ask who hold the key."""
    return Asker(content(ALICE), allow_query=Access(keys=(OPS.name,)), keys=[OPS])


def signed(
    key: TsigKey = OPS, name: str = ALICE_NAME, rdtype: str = "SRV", **options: t.Any
) -> dns.message.Message:
    """A query that is signed when its bytes are taken."""
    query = dns.message.make_query(name, rdtype, **options)
    query.use_tsig(dns.tsig.Key(key.name, key.secret, key.algorithm))
    return query


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dnspython's clock show what the registry's shows."""
    monkeypatch.setattr("time.time", lambda: float(NOW))


def understood(query: dns.message.Message, wire: bytes) -> dns.message.Message:
    """What the client makes of the response: it must be signed, and well."""
    response = dns.message.from_wire(wire, keyring=query.keyring, request_mac=query.mac)
    assert response.had_tsig
    assert query.is_response(response)
    return response


class Tail(t.NamedTuple):
    """The TSIG record at the end of a response, without a look at its MAC."""

    rcode: int
    error: int
    mac: bytes
    time: int
    other: bytes


def tail_of(wire: bytes) -> Tail:
    """Read it by hand: dnspython would rather raise."""
    ident, flags, _questions, _answers, _authorities, additionals = struct.unpack_from(
        "!HHHHHH", wire
    )
    assert additionals >= 1
    start = wire.rindex(struct.pack("!HHI", TSIG, 255, 0))
    data = wire[start + 10 :]
    assert struct.unpack_from("!H", wire, start + 8)[0] == len(data)
    _algorithm, length = dns.name.from_wire(data, 0)
    high, low, _fudge, size = struct.unpack_from("!HIHH", data, length)
    mac = data[length + 10 : length + 10 + size]
    original, error, more = struct.unpack_from("!HHH", data, length + 10 + size)
    assert original == ident
    other = data[length + 16 + size :]
    assert len(other) == more
    return Tail(flags & 0xF, error, mac, high << 32 | low, other)


def test_whoever_signs_with_the_key_may_ask_from_anywhere(ask: Asker) -> None:
    query = signed()
    reply = ask.reply(query.to_wire(), **OUTSIDE)
    assert understood(query, reply.wire).answer
    assert reply.proven


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_that_can_be_configured_works(algorithm: str) -> None:
    key = TsigKey("ops.example.com.", algorithm, bytes(64))
    ask = Asker(content(ALICE), allow_query=Access(keys=(key.name,)), keys=[key])
    query = signed(key)
    assert understood(query, ask.raw(query.to_wire())).answer


def test_whoever_does_not_sign_is_refused(ask: Asker) -> None:
    response = ask(ALICE_NAME, "SRV", **OUTSIDE)
    assert response.rcode() == dns.rcode.REFUSED
    assert not response.had_tsig


def test_a_key_that_the_zone_does_not_name_is_refused_with_a_signature() -> None:
    other = TsigKey("other.example.com.", "hmac-sha256", bytes(32))
    ask = Asker(content(ALICE), allow_query=Access(keys=(OPS.name,)), keys=[OPS, other])
    query = signed(other)
    reply = ask.reply(query.to_wire())
    assert understood(query, reply.wire).rcode() == dns.rcode.REFUSED
    assert reply.proven


def test_a_network_may_ask_without_the_key_beside_those_who_have_it() -> None:
    access = Access(("10.0.0.0/24",), (OPS.name,))
    ask = Asker(content(ALICE), allow_query=access, keys=[OPS])
    assert ask(ALICE_NAME, "SRV", source="10.0.0.9").answer
    query = signed()
    assert understood(query, ask.raw(query.to_wire(), **OUTSIDE)).answer


def test_a_signature_opens_no_zone_that_names_no_key() -> None:
    ask = Asker(content(ALICE), keys=[OPS])
    query = signed()
    assert understood(query, ask.raw(query.to_wire(), **OUTSIDE)).rcode() == dns.rcode.REFUSED
    query = signed()
    assert understood(query, ask.raw(query.to_wire())).answer


def test_the_name_of_a_key_matches_in_any_case(ask: Asker) -> None:
    query = signed(TsigKey("OPS.Example.COM.", OPS.algorithm, OPS.secret))
    assert understood(query, ask.raw(query.to_wire())).answer


@pytest.mark.parametrize(
    "stranger",
    [
        TsigKey("nobody.example.com.", OPS.algorithm, OPS.secret),
        TsigKey(OPS.name, "hmac-sha512", OPS.secret),
        TsigKey(OPS.name, "hmac-sha1", OPS.secret),
    ],
    ids=["another name", "another algorithm", "an algorithm that nobody has"],
)
def test_an_unknown_key_is_told_as_badkey_without_a_signature(
    ask: Asker, stranger: TsigKey
) -> None:
    reply = ask.reply(signed(stranger).to_wire())
    assert tail_of(reply.wire)[:3] == (NOTAUTH, BADKEY, b"")
    assert not reply.proven


def test_without_any_key_configured_every_signature_is_of_an_unknown_key() -> None:
    ask = Asker(content(ALICE))
    assert tail_of(ask.raw(signed().to_wire()))[:3] == (NOTAUTH, BADKEY, b"")


def test_a_wrong_secret_is_told_as_badsig_without_a_signature(ask: Asker) -> None:
    reply = ask.reply(signed(TsigKey(OPS.name, OPS.algorithm, bytes(32))).to_wire())
    assert tail_of(reply.wire)[:3] == (NOTAUTH, BADSIG, b"")
    assert not reply.proven


def test_a_query_that_was_changed_on_its_way_is_told_as_badsig(ask: Asker) -> None:
    wire = bytearray(signed().to_wire())
    wire[13] ^= 1
    assert tail_of(ask.raw(bytes(wire)))[:3] == (NOTAUTH, BADSIG, b"")


def test_a_query_that_a_forwarder_gave_another_id_is_still_signed(ask: Asker) -> None:
    query = signed()
    wire = bytearray(query.to_wire())
    wire[0] ^= 0xFF
    reply = ask.raw(bytes(wire))
    assert reply[:2] == wire[:2]
    assert dns.message.from_wire(reply, keyring=query.keyring, request_mac=query.mac).answer


@pytest.mark.parametrize("late", [301, -301, 10**9])
def test_a_wrong_time_is_told_as_badtime_with_ours_and_signed(ask: Asker, late: int) -> None:
    ask.now = float(NOW + late)
    query = signed()
    wire = ask.raw(query.to_wire())
    tail = tail_of(wire)
    assert (tail.rcode, tail.error, tail.time) == (NOTAUTH, BADTIME, NOW)
    assert int.from_bytes(tail.other, "big") == NOW + late
    assert len(tail.other) == 6
    with pytest.raises(dns.tsig.PeerBadTime):
        understood(query, wire)

    # What RFC 8945 section 4.3.3 says is signed, put together by hand.
    start = wire.rindex(dns.name.from_text(OPS.name).to_wire() + struct.pack("!HH", TSIG, 255))
    variables = struct.pack("!HIH", NOW >> 32, NOW & 0xFFFFFFFF, 300)
    text = b"".join(
        (
            struct.pack("!H", len(query.mac)) + query.mac,
            wire[:10] + struct.pack("!H", 0) + wire[12:start],
            dns.name.from_text(OPS.name).to_wire() + struct.pack("!HI", 255, 0),
            dns.name.from_text(OPS.algorithm).to_wire() + variables,
            struct.pack("!HH", BADTIME, 6) + tail.other,
        )
    )
    assert tail.mac == hmac.new(OPS.secret, text, hashlib.sha256).digest()


@pytest.mark.parametrize("late", [300, -300])
def test_clocks_may_differ_by_the_fudge(ask: Asker, late: int) -> None:
    ask.now = float(NOW + late)
    query = signed()
    assert ask.reply(query.to_wire()).proven


def test_a_wrong_secret_and_a_wrong_time_are_told_as_badsig(ask: Asker) -> None:
    """Who holds no key learns nothing that is signed."""
    ask.now = float(NOW + 5000)
    wire = signed(TsigKey(OPS.name, OPS.algorithm, bytes(32))).to_wire()
    assert tail_of(ask.raw(wire))[:3] == (NOTAUTH, BADSIG, b"")


def with_mac(query: dns.message.Message, change: t.Callable[[bytes], bytes]) -> bytes:
    """The bytes of a signed query with another MAC in it."""
    wire = query.to_wire()
    mac = query.mac
    new = change(mac)
    start = wire.rindex(mac)
    owner = wire.rindex(struct.pack("!HHI", TSIG, 255, 0))
    length = struct.unpack_from("!H", wire, owner + 8)[0] - len(mac) + len(new)
    return b"".join(
        (
            wire[: owner + 8],
            struct.pack("!H", length),
            wire[owner + 10 : start - 2],
            struct.pack("!H", len(new)) + new,
            wire[start + len(mac) :],
        )
    )


@pytest.mark.parametrize("length", [16, 31])
def test_a_cut_mac_is_told_as_badtrunc_with_a_signature(ask: Asker, length: int) -> None:
    reply = ask.reply(with_mac(signed(), lambda mac: mac[:length]))
    tail = tail_of(reply.wire)
    assert (tail.rcode, tail.error, len(tail.mac)) == (NOTAUTH, BADTRUNC, 32)
    assert not reply.proven


def test_a_cut_mac_that_is_wrong_as_well_is_told_as_badsig(ask: Asker) -> None:
    wire = with_mac(signed(), lambda mac: bytes(16))
    assert tail_of(ask.raw(wire))[:3] == (NOTAUTH, BADSIG, b"")


@pytest.mark.parametrize("length", [0, 1, 9, 15, 33, 64])
def test_a_mac_of_a_length_that_none_has_is_a_format_error(ask: Asker, length: int) -> None:
    response = ask.raw(with_mac(signed(), lambda mac: (mac * 2)[:length]))
    assert response[3] & 0xF == dns.rcode.FORMERR


RECORD = b"\0" + struct.pack("!HHIH", 16, 1, 0, 2) + b"\1x"


def with_more(wire: bytes, record: bytes) -> bytes:
    """Put one more record at the end of a message."""
    *counts, additionals = struct.unpack_from("!HHHHHH", wire)
    return struct.pack("!HHHHHH", *counts, additionals + 1) + wire[12:] + record


def test_a_signature_that_is_not_the_last_record_is_a_format_error(ask: Asker) -> None:
    wire = signed().to_wire()
    response = ask.raw(with_more(wire, RECORD))
    assert response[3] & 0xF == dns.rcode.FORMERR


def test_two_signatures_are_a_format_error(ask: Asker) -> None:
    wire = signed().to_wire()
    start = wire.rindex(struct.pack("!HHI", TSIG, 255, 0))
    again = dns.name.from_text(OPS.name).to_wire() + wire[start:]
    response = ask.raw(with_more(wire, again))
    assert response[3] & 0xF == dns.rcode.FORMERR


@pytest.mark.parametrize("section", [3, 4])
def test_a_signature_in_another_section_is_a_format_error(ask: Asker, section: int) -> None:
    wire = signed(rdtype="IXFR").to_wire()
    counts = list(struct.unpack_from("!HHHHHH", wire))
    counts[section], counts[5] = counts[5], counts[section]
    response = ask.raw(struct.pack("!HHHHHH", *counts) + wire[12:])
    assert response[3] & 0xF == dns.rcode.FORMERR


@pytest.mark.parametrize(
    ("at", "value"),
    [
        pytest.param(2, struct.pack("!H", 1), id="of class IN"),
        pytest.param(4, struct.pack("!I", 1), id="with a TTL"),
        pytest.param(8, struct.pack("!H", 20), id="with data that ends too early"),
    ],
)
def test_a_signature_that_cannot_be_one_is_a_format_error(
    ask: Asker, at: int, value: bytes
) -> None:
    wire = signed().to_wire()
    start = wire.rindex(struct.pack("!HHI", TSIG, 255, 0)) + at
    response = ask.raw(wire[:start] + value + wire[start + len(value) :])
    assert response[3] & 0xF == dns.rcode.FORMERR


@pytest.mark.parametrize("size", [None, 512, 1232])
@pytest.mark.parametrize("number", range(1, 17))
def test_a_signed_answer_is_cut_in_time_for_its_signature(size: int | None, number: int) -> None:
    ask = Asker(content(*many(number)), allow_query=Access(keys=(OPS.name,)), keys=[OPS])
    query = signed(name=SERVICE, rdtype="PTR", use_edns=0 if size else False, payload=size or 0)
    wire = ask.raw(query.to_wire())
    response = understood(query, wire)
    assert len(wire) <= (size or 512)
    if response.flags & dns.flags.TC:
        assert not response.answer
        assert not response.additional
    else:
        assert len(response.answer[0]) == number


def test_a_list_over_tcp_leaves_room_for_its_signature() -> None:
    ask = Asker(content(*many(1000)), allow_query=Access(keys=(OPS.name,)), keys=[OPS])
    query = signed(name=SERVICE, rdtype="PTR")
    wire = ask.raw(query.to_wire(), tcp=True)
    response = understood(query, wire)
    assert response.flags & dns.flags.TC
    assert 65535 - 100 < len(wire) <= 65535


@pytest.mark.parametrize(
    ("change", "rcode"),
    [
        (lambda query: query.set_opcode(2), dns.rcode.NOTIMP),
        (lambda query: query.use_edns(1), dns.rcode.BADVERS),
    ],
    ids=["another opcode", "another EDNS version"],
)
def test_errors_are_signed_as_well(ask: Asker, change: t.Any, rcode: int) -> None:
    query = signed()
    change(query)
    wire = ask.raw(query.to_wire())
    response = dns.message.from_wire(wire, keyring=query.keyring, request_mac=query.mac)
    assert response.had_tsig
    assert response.rcode() == rcode


def test_opt_comes_before_the_signature(ask: Asker) -> None:
    query = signed(use_edns=0, payload=1232)
    response = understood(query, ask.raw(query.to_wire(), local=TUNNEL))
    assert (response.edns, response.payload) == (0, 1232)


class Conversation:
    """A request of ours and the response that dnspython's server side would give."""

    def __init__(self, key: TsigKey = OPS, theirs: TsigKey = OPS) -> None:
        self.key = key
        self._theirs = dns.tsig.Key(theirs.name, theirs.secret, theirs.algorithm)
        plain = dns.message.make_query("example.com.", "SOA").to_wire()
        self.wire, self.mac = sign_request(plain, key, NOW)

    def response(self, **changes: t.Any) -> bytes:
        """The server's response, signed for this request unless *changes* say otherwise."""
        request = dns.message.from_wire(self.wire, keyring=self._theirs)
        response = dns.message.make_response(request)
        for name, value in changes.items():
            setattr(response, name, value)
        return response.to_wire()

    def check(self, response: bytes, now: float = NOW) -> None:
        """What we make of it."""
        check_response(response, self.key, self.mac, now)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_of_ours_is_signed_so_that_others_know_the_key(algorithm: str) -> None:
    key = TsigKey(OPS.name, algorithm, OPS.secret)
    talk = Conversation(key, key)
    request = dns.message.from_wire(
        talk.wire, keyring=dns.tsig.Key(OPS.name, OPS.secret, algorithm)
    )
    assert request.had_tsig
    assert request.mac == talk.mac
    talk.check(talk.response())


def test_a_request_of_ours_is_understood_by_our_own_responder(ask: Asker) -> None:
    query = dns.message.make_query(ALICE_NAME, "SRV").to_wire()
    wire, mac = sign_request(query, OPS, NOW)
    response = ask.raw(wire, **OUTSIDE)
    assert dns.message.from_wire(response, continue_on_error=True).answer
    check_response(response, OPS, mac, NOW)


def test_a_response_to_another_request_is_not_taken() -> None:
    with pytest.raises(ValueError, match="signature of the response is wrong"):
        Conversation().check(Conversation().response(request_mac=bytes(32)))


def test_a_response_that_was_changed_on_its_way_is_not_taken() -> None:
    talk = Conversation()
    response = bytearray(talk.response())
    response[3] ^= 5
    with pytest.raises(ValueError, match="signature of the response is wrong"):
        talk.check(bytes(response))


@pytest.mark.parametrize("wire", [b"", bytes(12), b"\0" * 11 + b"\1", b"\0" * 11 + b"\1\0" * 9])
def test_a_response_without_a_signature_is_not_taken(wire: bytes) -> None:
    with pytest.raises(ValueError, match="not"):
        Conversation().check(wire)


def test_a_response_that_is_signed_with_another_key_is_not_taken() -> None:
    other = TsigKey("other.example.com.", OPS.algorithm, OPS.secret)
    talk = Conversation(other, other)
    talk.key = OPS
    with pytest.raises(ValueError, match="another key"):
        talk.check(talk.response())


def test_a_response_that_is_too_old_is_not_taken() -> None:
    talk = Conversation()
    with pytest.raises(ValueError, match="clock"):
        talk.check(talk.response(), NOW + 301)


@pytest.mark.parametrize(
    ("key", "ahead", "reason"),
    [
        (TsigKey(OPS.name, OPS.algorithm, bytes(32)), 0, "another secret"),
        (TsigKey("other.example.com.", OPS.algorithm, OPS.secret), 0, "does not know the key"),
        (OPS, 1000, "its clock and ours"),
    ],
)
def test_it_is_told_what_the_server_has_against_a_request(
    ask: Asker, key: TsigKey, ahead: int, reason: str
) -> None:
    ask.now += ahead
    wire, mac = sign_request(dns.message.make_query(ALICE_NAME, "SRV").to_wire(), key, NOW)
    with pytest.raises(ValueError, match=reason):
        check_response(ask.raw(wire, **OUTSIDE), key, mac, NOW)
