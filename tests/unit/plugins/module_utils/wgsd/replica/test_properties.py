# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever a server sends is taken, or refused with the exceptions that callers expect."""

from __future__ import annotations

import selectors

import dns.message
import dns.name
import dns.opcode
import dns.zone
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE, Primary
from wgsd.config import TsigKey
from wgsd.directory import signing_key
from wgsd.errors import ServerError
from wgsd.keys import PublicKey
from wgsd.replica.notice import read_notice
from wgsd.replica.transfer import Transfer

pytestmark = pytest.mark.unit

ORIGIN = dns.name.from_text(ZONE)
KEY = signing_key(TsigKey("mesh.example.com.", "hmac-sha256", b"a secret of thirty-two bytes ..."))
BOB, CAROL = PublicKey(b"b" * 32), PublicKey(b"c" * 32)
#: Bytes to write over others, by their places; and where to cut.
spoilings = st.tuples(
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=4),
    st.none() | st.integers(0, 600),
)
many = hypothesis.settings(max_examples=400, deadline=None)


def spoiled(wire: bytes, spoiling) -> bytes:
    changes, cut = spoiling
    data = bytearray(wire)
    for place, value in changes:
        data[place % len(data)] = value
    return bytes(data[:cut])


@pytest.fixture(scope="module")
def primary():
    with selectors.DefaultSelector() as selector:
        primary = Primary(selector, key=KEY)
        primary.publish({BOB: 1})
        primary.publish({BOB: 2, CAROL: 3})
        yield primary
        primary.close()


def whole_zone(primary) -> dns.zone.Zone:
    """The version before the newest."""
    zone = dns.zone.Zone(ZONE, relativize=False)
    newest = primary.serial
    primary.serial -= 1
    try:
        transfer = Transfer(zone, None)
        assert transfer.feed(answer_to(primary, transfer, False))
    finally:
        primary.serial = newest
    return zone


def answer_to(primary, transfer, over_udp) -> bytes:
    query = dns.message.from_wire(transfer.wire, keyring=KEY)
    (response,) = primary._answer(query, over_udp)
    return response.to_wire(max_size=65535)


@many
@hypothesis.given(spoilings, st.booleans(), st.booleans(), st.sampled_from([None, KEY]))
def test_a_spoiled_transfer_is_refused_or_taken_whole(primary, spoiling, over_udp, begun, key):
    zone = whole_zone(primary) if begun or over_udp else dns.zone.Zone(ZONE, relativize=False)
    before = dict(zone.nodes)
    transfer = Transfer(zone, key, over_udp=over_udp)
    wire = answer_to(primary, transfer, over_udp)
    try:
        done = transfer.feed(spoiled(wire, spoiling))
    except ServerError:
        done = False
    transfer.abort()
    assert done or dict(zone.nodes) == before
    if done and key is not None:
        again = dns.zone.Zone(ZONE, relativize=False)
        whole = Transfer(again, key)
        assert whole.feed(answer_to(primary, whole, False))
        assert dict(zone.nodes) == dict(again.nodes), "what is signed is what was sent"


@many
@hypothesis.given(spoilings, st.sampled_from([None, KEY]))
def test_a_spoiled_notify_is_refused_or_answered(spoiling, key):
    message = dns.message.make_query(ZONE, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    if key is not None:
        message.use_tsig(key)
    wire = spoiled(message.to_wire(), spoiling)
    try:
        notice = read_notice(wire, ORIGIN, key)
    except ValueError:
        return
    assert notice.reply[:2] == wire[:2]


@many
@hypothesis.given(st.binary(max_size=300))
def test_garbage_is_refused(primary, garbage):
    transfer = Transfer(dns.zone.Zone(ZONE, relativize=False), None)
    for wire in (garbage, transfer.wire[:2] + b"\x84\0" + garbage):
        with pytest.raises(ServerError):
            transfer.feed(wire)
        with pytest.raises(ValueError, match=r"."):
            read_notice(wire, ORIGIN, None)
