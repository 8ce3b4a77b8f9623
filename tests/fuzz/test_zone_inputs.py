# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever servers and followers of a zone say, and the disk, it is taken or refused in our words.

No input may cost more than its bytes: what takes longer than it should, hypothesis would tell by
the time of a whole run.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import struct
import zlib

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.tsig
import dns.zone
import hypothesis
from hypothesis import strategies as st

from tests.fuzz.damage import cuts, damaged, edits, many_examples
from tests.unit.plugins.module_utils.wgsd.zone.asking import ALICE, BOB, SERVICE, TUNNEL, ZONE
from wgsd.config import Remote, TsigKey
from wgsd.directory import signing_key
from wgsd.errors import ServerError
from wgsd.model import Endpoint
from wgsd.replica.contents import Contents
from wgsd.replica.notice import read_notice
from wgsd.replica.transfer import Transfer
from wgsd.responder import state
from wgsd.responder.followers import Follower, Followers
from wgsd.zone import message, notify, tsig
from wgsd.zone.records import build
from wgsd.zone.transfer import Transfers, held_serial
from wgsd.zone.version import Chain, Content, Delta, Record, Version

ORIGIN = dns.name.from_text(ZONE)
TSIG = TsigKey("mesh.example.com.", "hmac-sha256", b"a secret of thirty-two bytes ...")
NOW = 1_800_000_000.0
IXFR = 251


def soa(serial: int) -> bytes:
    """The data of an SOA record."""
    return b"\3ns1\xc0\x0c\1h\xc0\x0c" + struct.pack("!IIIII", serial, 30, 10, 86400, 5)


def record(owner: bytes, rdtype: int, rdata: bytes, rdclass: int = 1, ttl: int = 10) -> bytes:
    """A record on the wire."""
    return owner + struct.pack("!HHIH", rdtype, rdclass, ttl, len(rdata)) + rdata


#: A pointer to the question, which is the zone.
APEX = b"\xc0\x0c"
QUESTION = (ORIGIN.to_wire() or b"") + struct.pack("!HH", IXFR, 1)
ASKED = struct.pack("!HHHHHH", 7, 0, 1, 0, 1, 0) + QUESTION + record(APEX, 6, soa(5))


@many_examples
@hypothesis.given(edits, cuts, st.booleans())
def test_the_version_that_a_query_names_is_read_as_others_read_it(changes, length, more):
    wire = damaged(ASKED, [(len(ASKED) - 1 - at, to) for at, to in changes], length)
    wire += b"\0" * more
    try:
        query = message.parse(wire) if len(wire) >= message.HEADER.size else None
    except message.MalformedQueryError:
        return
    if query is None or query.opcode or query.rdtype != IXFR:
        return
    serial = held_serial(wire, query)
    if serial is not None:
        read = dns.message.from_wire(wire, keyring=False, continue_on_error=True)
        assert read.authority[0][0].serial == serial


@many_examples
@hypothesis.given(
    st.lists(
        st.sampled_from([b"\0", b"\1a", b"\2\xc0\x0c", b"\x3f" + b"x" * 63, b"\x40", b"\xbf"])
        | st.integers(0, 80).map(lambda to: struct.pack("!H", 0xC000 | to)),
        max_size=30,
    ),
    st.integers(0, 200),
)
def test_a_records_name_is_as_long_as_others_find_it(pieces, start):
    wire = b"".join(pieces)
    found = known = None
    with contextlib.suppress(ValueError, IndexError):
        found = message._name_length(wire, start)
    # Which refuses names that lead into themselves as well.
    with contextlib.suppress(dns.exception.DNSException):
        known = dns.name.from_wire(wire, start)[1]
    assert found == known or known is None


ACKNOWLEDGEMENT = dns.message.make_response(dns.message.make_query(ZONE, "SOA"))
ACKNOWLEDGEMENT.set_opcode(dns.opcode.NOTIFY)


@many_examples
@hypothesis.given(edits, cuts, st.binary(max_size=40))
def test_what_follows_a_notify_is_an_acknowledgement_or_nothing(changes, length, more):
    for wire in (damaged(ACKNOWLEDGEMENT.to_wire(), changes, length) + more, more):
        try:
            response = notify.read_response(wire)
        except ValueError:
            continue
        assert wire[:2] == response.id.to_bytes(2, "big")
        assert wire[2] & 0xF8 == 0x80 | notify.OPCODE << 3
        assert wire[3] & 0xF == response.rcode


REQUEST, REQUEST_MAC = tsig.sign_request(
    notify.request(7, ORIGIN, Record(6, 300, b"\0\0" + bytes(20))), TSIG, NOW
)


def signed_response() -> bytes:
    """What a server answers to `REQUEST` that has the key."""
    # dnspython makes signatures of its own clock only.
    response = ACKNOWLEDGEMENT.to_wire()
    _owner, shared = dns.name.from_text(TSIG.name), signing_key(TSIG)
    unsigned = dns.tsig.sign(
        response,
        shared,
        tsig._unsigned(shared.algorithm, response, int(NOW)),
        int(NOW),
        REQUEST_MAC,
    )[0]
    return tsig._with_record(response, shared.name.to_wire() or b"", unsigned)


SIGNED = signed_response()
BODY = len(ACKNOWLEDGEMENT.to_wire())


@many_examples
@hypothesis.given(edits, cuts, st.binary(max_size=20))
def test_only_what_was_signed_is_taken_for_a_signed_response(changes, length, more):
    tsig.check_response(SIGNED, TSIG, REQUEST_MAC, NOW)
    wire = damaged(SIGNED, changes, length) + more
    try:
        tsig.check_response(wire, TSIG, REQUEST_MAC, NOW)
    except ValueError:
        return
    # The ID is signed as it was before any forwarder.
    assert wire[2:BODY] == SIGNED[2:BODY]


#: Names that point to the zone, its peers, what is not in it, and what is no name.
owners = st.sampled_from(
    [
        APEX,
        b"\3ns1\xc0\x0c",
        b"\3NS1\xc0\x0c",
        b"\1*\xc0\x0c",
        dns.name.from_text(SERVICE).to_wire(),
        dns.name.from_text(f"{ALICE.public_key.label}.{SERVICE}").to_wire(),
        dns.name.from_text(f"alice.{SERVICE}").to_wire(),
        dns.name.from_text("elsewhere.example.").to_wire(),
        b"\0",
        b"\xc0\x0d",
        b"\x40",
    ]
)
datas = st.sampled_from(
    [
        *((6, soa(serial)) for serial in (4, 5, 6, 6, 6, 1 << 31)),
        (2, b"\3ns1\xc0\x0c"),
        (5, b"\xc0\x0c"),
        (12, dns.name.from_text(f"{ALICE.public_key.label}.{SERVICE}").to_wire()),
        (12, b"\xc0\x0c"),
        (1, b"\xc0\0\2\1"),
        (28, bytes(15) + b"\1"),
        (33, struct.pack("!HHH", 0, 0, 51820) + b"\xc0\x0c"),
        (33, struct.pack("!HHH", 0, 0, 0) + b"\0"),
        (16, b"\7txtvers"),
        (16, b"\0"),
        (16, b"\xff\x80"),
        (46, struct.pack("!HBBIIIH", 1, 13, 3, 10, 9, 1, 7) + b"\0" + bytes(64)),
        (47, b"\0\0\6\x40\0\0\0\0\3"),
        (48, struct.pack("!HBB", 257, 3, 13) + bytes(64)),
        (41, b""),
        (250, b""),
        (65535, b"?"),
        (255, b""),
        (0, b""),
    ]
)
records = st.builds(
    lambda owner, data, rdclass, ttl: record(owner, *data, rdclass, ttl),
    owners,
    datas,
    st.sampled_from([1] * 8 + [3, 254, 255]),
    st.sampled_from([0, 10, 10, 10, 0x80000000]),
)
apex_soas = st.sampled_from([record(APEX, 6, soa(serial)) for serial in (4, 5, 6, 6, 6)])
#: What a server may send: flags, what it repeats of the question, and records.
replies = st.tuples(
    st.sampled_from([0x8400] * 8 + [0x8600, 0x8405, 0x8402, 0xA400, 0xAC00, 0x0400, 0xFFFF]),
    st.sampled_from([QUESTION] * 4 + [b"", b"\0\0\6\0\1", QUESTION * 2]),
    st.lists(apex_soas | records, max_size=8),
    st.sampled_from([b""] * 3 + [record(b"\0", 41, b"", 1232, 0), record(APEX, 1, b"\1\2\3\4")]),
)


def written(ident: bytes, reply) -> bytes:
    flags, question, answers, more = reply
    counts = struct.pack(
        "!5H", flags, len(question) // len(QUESTION), len(answers), 0, 1 if more else 0
    )
    return b"".join((ident, counts, question, *answers, more))


def a_copy() -> Contents:
    """A copy of the zone at serial 5, with Alice."""
    contents = Contents(ZONE)
    zone = build(ZONE, 5, Content((TUNNEL,), {ALICE.public_key: ALICE}))
    transfer = Transfer(contents.zone, None)
    body, count = next(Transfers(zone).whole())
    question = (ORIGIN.to_wire() or b"") + struct.pack("!HH", 252, 1)
    header = struct.pack("!5H", 0x8400, 1, count, 0, 0)
    assert transfer.feed(transfer.wire[:2] + header + question + body)
    return contents


def said(contents: Contents) -> list[tuple[str, str]]:
    """All records of a copy."""
    return sorted((str(name), node.to_text(name)) for name, node in contents.zone.nodes.items())


@many_examples
@hypothesis.given(
    st.lists(replies, min_size=1, max_size=3), edits, st.sampled_from(["AXFR", "IXFR", "UDP"])
)
def test_a_copy_of_the_zone_outlives_whatever_a_server_sends(sent, changes, way):
    contents = Contents(ZONE) if way == "AXFR" else a_copy()
    before, nodes = said(contents), contents.zone.nodes
    transfer = Transfer(contents.zone, None, over_udp=way == "UDP")
    done = False
    for number, reply in enumerate(sent):
        wire = written(transfer.wire[:2], reply)
        try:
            done = transfer.feed(damaged(wire, changes if number else [], None))
        except ServerError:
            done = False
            break
        if done:
            break
    transfer.abort()
    if not done:
        assert contents.zone.nodes is nodes
        assert said(contents) == before
    # Whatever is in the copy now, our own side reads it without an accident.
    assert isinstance(contents.serial, int) or not done
    for peer in contents.browse():
        assert peer.public_key not in contents.failures
    assert contents.lookup([ALICE.public_key, BOB.public_key]).keys() <= {
        ALICE.public_key,
        BOB.public_key,
    }


@many_examples
@hypothesis.given(replies, edits, st.booleans(), st.booleans())
def test_a_notify_is_answered_or_refused(reply, changes, keyed, notifying):
    flags, question, answers, more = reply
    if notifying:
        flags = notify.OPCODE << 11 | message.AA
        question = question.replace(struct.pack("!HH", IXFR, 1), struct.pack("!HH", 6, 1))
    wire = damaged(written(b"id", (flags, question, answers, more)), changes, None)
    try:
        notice = read_notice(wire, ORIGIN, signing_key(TSIG) if keyed else None)
    except ValueError:
        return
    assert not keyed
    assert notice.reply[:2] == wire[:2]
    assert notice.reply[2] & 0xF8 == 0x80 | notify.OPCODE << 3


def journal() -> bytes:
    """What a run with three steps leaves."""
    chain = Chain(Version(ZONE, 7, Content((TUNNEL,), {ALICE.public_key: ALICE}), {"": b"\1"}))
    chain.step(Delta(ZONE, 8, (TUNNEL,), (BOB,)))
    chain.step(Delta(ZONE, 9, (TUNNEL,), removed=(BOB.public_key,), seals={"": b""}))
    return b"\n".join([state.HEADING, *(delta.encode() for delta in chain.deltas())]) + b"\n"


PLAIN_JOURNAL = journal()


def with_checksums(text: bytes) -> bytes:
    """What the program would have written if these were its lines."""
    heading, *lines = text.split(b"\n")
    checksum = zlib.crc32(state.HEADING)
    out = [heading]
    for line in lines[:-1]:
        checksum = zlib.crc32(line, checksum)
        out.append(b"%08x %s" % (checksum, line))
    return b"\n".join([*out, *lines[-1:]])


@many_examples
@hypothesis.given(edits, cuts, st.booleans())
def test_a_journal_is_read_or_found_damaged(changes, length, good_checksums):
    if good_checksums:
        text = with_checksums(damaged(PLAIN_JOURNAL, changes, length))
    else:
        text = damaged(with_checksums(PLAIN_JOURNAL), changes, length)
    try:
        chain = state.parse(text, ZONE)
    except state.DamagedError:
        return
    assert chain.newest.zone == ZONE
    if not good_checksums:
        whole = state.parse(with_checksums(PLAIN_JOURNAL), ZONE).deltas()
        assert chain.deltas() == whole[: len(chain.deltas())]


FOLLOWERS = [
    Follower(ZONE, "10.0.0.1", 50000, TUNNEL, TSIG.name),
    Follower(ZONE, "2001:db8::1", 53),
]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.just(10**400)
    | st.text(max_size=5)
    | st.sampled_from([ZONE, "10.0.0.1", "fd00::1", "localhost", TSIG.name, 53, 0, 70000]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=20,
)


@many_examples
@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 6), anything), max_size=3), anything, edits, cuts
)
def test_followers_of_a_run_before_are_such_that_can_be_told_or_none(fields, other, changes, cut):
    known = Followers({ZONE: ()}, 0.0)
    for follower in FOLLOWERS:
        known.follow(follower, 0.0)
    dumped = known.dump(0.0, NOW)
    rows = json.loads(dumped)
    for place, value in fields:
        rows[0][place] = value
    for kept in (json.dumps(rows), json.dumps(other), damaged(dumped, changes, cut)):
        after = Followers({ZONE: (Remote(Endpoint("192.0.2.1", 53)),)}, 5.0)
        with contextlib.suppress(ValueError):
            after.restore(kept if isinstance(kept, bytes) else kept.encode(), 5.0, NOW, {TSIG.name})
        for key in after.of(ZONE):
            entry = after.get(key)
            assert entry
            ipaddress.ip_address(entry.follower.address)
            assert 0 < entry.follower.port < 65536
            assert entry.follower.tsig in (None, TSIG.name)
            assert not entry.is_stale(5.0)
        after.dump(5.0, NOW)
        after.forget(10.0)
