# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NOTIFY messages: read by dnspython, and made by it."""

from __future__ import annotations

import contextlib

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.zone import notify
from wgsd.zone.records import build
from wgsd.zone.version import Content

pytestmark = pytest.mark.unit

ZONE = dns.name.from_text("example.com.")


def request() -> dns.message.Message:
    soa = build("example.com.", 4711, Content((), {})).records_at("")[0]
    return dns.message.from_wire(notify.request(0xBEEF, ZONE, soa))


def test_a_request_tells_the_new_soa_of_the_zone() -> None:
    message = request()
    assert message.opcode() == dns.opcode.NOTIFY
    assert message.id == 0xBEEF
    assert message.flags & dns.flags.AA
    assert not message.flags & dns.flags.QR
    (question,) = message.question
    assert (question.name, question.rdtype) == (ZONE, dns.rdatatype.SOA)
    (answer,) = message.answer
    assert (answer.name, answer.rdtype, answer[0].serial) == (ZONE, dns.rdatatype.SOA, 4711)


def test_a_response_is_read() -> None:
    response = dns.message.make_response(request())
    response.set_rcode(dns.rcode.NOTAUTH)
    assert notify.read_response(response.to_wire()) == (0xBEEF, ZONE, dns.rcode.NOTAUTH)


def test_the_zone_is_the_same_one_in_any_case() -> None:
    response = dns.message.make_response(request())
    response.question[0].name = dns.name.from_text("eXample.COM.")
    assert notify.read_response(response.to_wire()).zone == ZONE


def other(rdtype: str, opcode: int) -> bytes:
    query = dns.message.make_query(ZONE, rdtype)
    query.set_opcode(opcode)
    return dns.message.make_response(query).to_wire()


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xbe\xef\xa0\x00" + bytes(8), id="no question"),
        pytest.param(b"\xbe\xef\xa0\x00\x00\x01" + bytes(6) + b"\x07exam", id="a broken name"),
        pytest.param(request().to_wire(), id="a request"),
        pytest.param(other("SOA", dns.opcode.QUERY), id="another kind of response"),
        pytest.param(other("A", dns.opcode.NOTIFY), id="another type"),
    ],
)
def test_what_is_no_response_to_a_notify_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a "):
        notify.read_response(wire)


@given(st.binary(max_size=64), st.integers(0, 40))
def test_no_bytes_do_more_than_being_refused(noise: bytes, kept: int) -> None:
    whole = dns.message.make_response(request()).to_wire()
    with contextlib.suppress(ValueError):
        assert notify.read_response(whole[:kept] + noise).rcode in range(16)
