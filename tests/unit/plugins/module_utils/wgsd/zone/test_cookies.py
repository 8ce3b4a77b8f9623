# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DNS cookies: the RFCs' own examples, and what a client gets for each kind of cookie."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import ALICE, NOW, SERVICE, TUNNEL, Asker
from wgsd.zone.cookies import Cookies, siphash24

pytestmark = pytest.mark.unit

ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE}"
CLIENT_COOKIE = bytes.fromhex("2464c4abcf10c957")
BADCOOKIE = 23


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "310e0edd47db6f72"),
        (1, "fd67dc93c539f874"),
        (7, "37d1018bf50002ab"),
        (8, "6224939a79f5f593"),
        (15, "e545be4961ca29a1"),
    ],
)
def test_siphash_gives_what_its_authors_say(length: int, expected: str) -> None:
    assert siphash24(bytes(range(16)), bytes(range(length))).hex() == expected


@pytest.mark.parametrize(
    ("secret", "source", "time", "held", "expected"),
    [
        pytest.param(
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "198.51.100.100",
            1559731985,
            "2464c4abcf10c957",
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            id="A.1 a new cookie",
        ),
        pytest.param(
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "198.51.100.100",
            1559734385,
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
            id="A.2 a renewed cookie",
        ),
        pytest.param(
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "203.0.113.203",
            1559734700,
            "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
            id="A.3 reserved bits in an old cookie",
        ),
        pytest.param(
            "445536bcd2513298075a5d379663c962",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            1559741961,
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
            id="A.4 IPv6 and another secret",
        ),
    ],
)
def test_cookies_are_those_of_rfc_9018(
    secret: str, source: str, time: int, held: str, expected: str
) -> None:
    cookies = Cookies(bytes.fromhex(secret))
    assert cookies.answer(bytes.fromhex(held), source, time)[0].hex() == expected


def test_reserved_bits_are_part_of_what_is_checked() -> None:
    cookies = Cookies(bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf"))
    held = bytes.fromhex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5")
    assert cookies.answer(held, "203.0.113.203", 0x5CF78F71) == (held, True)
    assert cookies.answer(held.replace(b"\xab", b"\xaa"), "203.0.113.203", 0x5CF78F71)[1] is False


def option_of(response: dns.message.Message) -> bytes | None:
    """The content of the COOKIE option, which must come once at most."""
    found = [o.to_wire() for o in response.options if o.otype == dns.edns.OptionType.COOKIE]
    assert len(found) <= 1
    return found[0] if found else None


def query_with(*cookies: bytes) -> bytes:
    """A query for Alice with that many COOKIE options."""
    options = [dns.edns.GenericOption(dns.edns.OptionType.COOKIE, cookie) for cookie in cookies]
    return dns.message.make_query(ALICE_NAME, "SRV", use_edns=0, options=options).to_wire()


def learn(ask: Asker, source: str = "10.0.0.1") -> bytes:
    """The option that a client gets to hold."""
    cookie = option_of(dns.message.from_wire(ask.raw(query_with(CLIENT_COOKIE), source=source)))
    assert cookie is not None
    return cookie


def test_who_sends_a_client_cookie_gets_the_answer_and_a_server_cookie(ask: Asker) -> None:
    reply = ask.reply(query_with(CLIENT_COOKIE))
    response = dns.message.from_wire(reply.wire)
    assert response.answer
    cookie = option_of(response)
    assert (cookie[:8], len(cookie)) == (CLIENT_COOKIE, 24)
    assert not reply.proven


def test_who_sends_none_gets_none(ask: Asker) -> None:
    assert option_of(ask(ALICE_NAME, "SRV", size=1232)) is None


def test_a_server_cookie_of_ours_proves_the_address(ask: Asker) -> None:
    cookie = learn(ask)
    reply = ask.reply(query_with(cookie))
    assert reply.proven
    assert option_of(dns.message.from_wire(reply.wire)) == cookie


@pytest.mark.parametrize(
    ("age", "proven"), [(3600, True), (3601, False), (-300, True), (-301, False)]
)
def test_a_server_cookie_is_good_for_an_hour(ask: Asker, age: int, proven: bool) -> None:
    cookie = learn(ask)
    ask.now = NOW + age
    reply = ask.reply(query_with(cookie))
    assert reply.proven is proven
    assert dns.message.from_wire(reply.wire).answer


def test_a_server_cookie_is_renewed_before_it_is_too_old(ask: Asker) -> None:
    cookie = learn(ask)
    ask.now = NOW + 1799
    assert option_of(dns.message.from_wire(ask.raw(query_with(cookie)))) == cookie
    ask.now = NOW + 1800
    renewed = option_of(dns.message.from_wire(ask.raw(query_with(cookie))))
    assert renewed != cookie
    ask.now = NOW + 5000
    assert ask.reply(query_with(renewed)).proven


def damaged(cookie: bytes, at: int) -> bytes:
    return cookie[:at] + bytes([cookie[at] ^ 1]) + cookie[at + 1 :]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda cookie: damaged(cookie, 0), id="of another client cookie"),
        pytest.param(lambda cookie: damaged(cookie, 8), id="of another version"),
        pytest.param(lambda cookie: damaged(cookie, 15), id="of another time"),
        pytest.param(lambda cookie: damaged(cookie, 23), id="with another hash"),
        pytest.param(lambda cookie: cookie[:16], id="of another length"),
        pytest.param(lambda cookie: cookie + bytes(16), id="of the greatest length"),
    ],
)
def test_a_server_cookie_that_is_not_ours_counts_as_none(ask: Asker, change) -> None:
    held = change(learn(ask))
    reply = ask.reply(query_with(held))
    response = dns.message.from_wire(reply.wire)
    assert response.answer
    assert not reply.proven
    assert option_of(response)[:8] == held[:8]
    assert ask.reply(query_with(option_of(response))).proven


def test_a_server_cookie_is_no_good_from_another_address(ask: Asker) -> None:
    assert not ask.reply(query_with(learn(ask)), source="10.0.0.2").proven


def test_cookies_work_over_ipv6(ask: Asker) -> None:
    assert ask.reply(query_with(learn(ask, "fd00::1")), source="fd00::1").proven


def test_of_several_cookie_options_the_first_counts(ask: Asker) -> None:
    cookie = learn(ask)
    assert ask.reply(query_with(cookie, b"")).proven
    assert not ask.reply(query_with(CLIENT_COOKIE, cookie)).proven


@pytest.mark.parametrize("length", [0, 1, 7, 9, 15, 41])
def test_a_cookie_of_a_length_that_none_has_is_a_format_error(ask: Asker, length: int) -> None:
    response = dns.message.from_wire(ask.raw(query_with(bytes(length))))
    assert (response.rcode(), response.edns) == (dns.rcode.FORMERR, 0)
    assert response.question
    assert option_of(response) is None


def cookie_query(cookie: bytes, opcode: int = 0) -> bytes:
    """A query for nothing but a cookie (RFC 7873 section 5.4)."""
    option = struct.pack("!HH", 10, len(cookie)) + cookie
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(option)) + option
    return struct.pack("!HHHHHH", 4711, opcode << 11, 0, 0, 0, 1) + opt


def test_a_query_without_question_gets_a_cookie(ask: Asker) -> None:
    response = dns.message.from_wire(ask.raw(cookie_query(CLIENT_COOKIE), local="203.0.113.4"))
    assert (response.id, response.rcode()) == (4711, dns.rcode.NOERROR)
    assert not response.question
    assert not response.answer
    assert not response.flags & dns.flags.AA
    reply = ask.reply(cookie_query(option_of(response)))
    assert reply.proven
    assert dns.message.from_wire(reply.wire).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize("tcp", [False, True])
def test_a_query_without_question_is_told_that_its_server_cookie_is_bad(
    ask: Asker, tcp: bool
) -> None:
    reply = ask.reply(cookie_query(damaged(learn(ask), 23)), tcp=tcp)
    response = dns.message.from_wire(reply.wire)
    assert (response.rcode(), reply.proven) == (BADCOOKIE, tcp)
    assert ask.reply(cookie_query(option_of(response))).proven


def test_a_query_without_question_and_cookie_is_a_format_error(ask: Asker) -> None:
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    wire = struct.pack("!HHHHHH", 4711, 0, 0, 0, 0, 1) + opt
    response = dns.message.from_wire(ask.raw(wire))
    assert (response.rcode(), response.edns) == (dns.rcode.FORMERR, 0)


def test_a_cookie_costs_the_answer_none_of_its_records(ask: Asker) -> None:
    with_cookie = dns.message.from_wire(ask.raw(query_with(CLIENT_COOKIE), local=TUNNEL))
    without = ask(ALICE_NAME, "SRV", size=1232)
    assert with_cookie.answer == without.answer
    assert with_cookie.additional == without.additional
