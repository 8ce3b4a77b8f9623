# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone transfers as messages (RFC 5936, RFC 1995), with dnspython as the other side."""

from __future__ import annotations

import dataclasses
import struct
import typing as t

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.zone
import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    REGISTRY,
    SERVICE,
    TUNNEL,
    TUNNEL6,
    ZONE,
    content,
    many,
    without_endpoint,
)
from tests.unit.plugins.module_utils.wgsd.zone.primary import (
    ORIGIN,
    Primary,
    lines,
    lines_of,
    messages_of,
    primary,
    take,
    transfer_query,
)
from tests.unit.plugins.module_utils.wgsd.zone.signed import Validator, zone_key
from wgsd.config import Access, TsigKey
from wgsd.zone import history, transfer
from wgsd.zone.answers import Transferred
from wgsd.zone.seals import RRSIG, RRSIG_HEAD
from wgsd.zone.signing import Signer
from wgsd.zone.version import Instance, Record, pack

pytestmark = pytest.mark.unit

PEERS = (ALICE, BOB, CAROL, REGISTRY)
ALICE_NAME = f"{ALICE.public_key.label}.{SERVICE[: -len(ZONE) - 1]}"
OPS = TsigKey("ops.example.com.", "hmac-sha256", bytes(range(32)))
OUTSIDE: dict[str, t.Any] = {"source": "198.51.100.7", "local": "203.0.113.4", "ingress": 2}


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dnspython's clock show what the registry's shows."""
    monkeypatch.setattr("time.time", lambda: float(NOW))


def seal(text: bytes) -> bytes:
    """What DNSSEC could add somewhere: a signature that nobody checks here."""
    head = RRSIG_HEAD.pack(1, 13, 2, 10, 2, 1, 7)
    return pack([Record(RRSIG, 10, head + ORIGIN.to_wire() + text)]) if text else b""


def moved(instance: Instance, port: int) -> Instance:
    """The same peer elsewhere, at port 9 nowhere; with one of two names, now and then."""
    name = {0: instance.name, 1: f"name-of-{instance.port}"}.get(port % 3)
    there = without_endpoint(instance) if port == 9 else dataclasses.replace(instance, port=port)
    return dataclasses.replace(there, name=name)


steps = st.fixed_dictionaries(
    {
        "moved": st.dictionaries(st.sampled_from(PEERS), st.integers(1, 9), max_size=3),
        "removed": st.sets(st.sampled_from([peer.public_key for peer in PEERS]), max_size=2),
        "addresses": st.sampled_from([(TUNNEL, TUNNEL6), (TUNNEL6,), ("10.0.0.9",), (TUNNEL,)]),
        "seals": st.dictionaries(
            st.sampled_from(["", "ns1", ALICE_NAME]), st.binary(max_size=2).map(seal), max_size=2
        ),
    }
)


def follow(one: Primary, step: dict[str, t.Any]) -> None:
    """Have a primary take that step, as a watcher would make it: a seal is of what is there."""
    changed = tuple(moved(peer, port) for peer, port in step["moved"].items())
    gone = step["removed"] - {peer.public_key for peer in step["moved"]}
    there = one.zone.instance(ALICE.public_key) or ALICE in step["moved"]
    seals = dict(step["seals"])
    if not there or ALICE.public_key in gone:
        seals[ALICE_NAME] = b""
    seals = {o: text for o, text in seals.items() if text != one.zone.seals.get(o, b"")}
    one.step(*changed, removed=tuple(gone), addresses=step["addresses"], seals=seals)


class TestWholeZone:
    """AXFR (RFC 5936)."""

    @hypothesis.given(
        peers=st.sets(st.sampled_from(PEERS)), number=st.integers(0, 150), sealed=st.booleans()
    )
    @hypothesis.settings(max_examples=20, deadline=None)
    def test_a_secondary_gets_all_records_and_no_others(
        self, peers: set[Instance], number: int, sealed: bool
    ) -> None:
        one = primary(*peers, *many(number))
        if sealed:
            one.step(seals={"": seal(b"apex"), "ns1": seal(b"server")})
        assert lines_of(one.transfer()) == lines(one.zone)

    def test_it_begins_and_ends_with_the_soa_record(self) -> None:
        query = transfer_query()
        records = [
            rrset
            for message in messages_of(query, primary(*many(300)).ask(query.to_wire()))
            for rrset in message.answer
        ]
        at = [i for i, rrset in enumerate(records) if rrset.rdtype == dns.rdatatype.SOA]
        assert at == [0, len(records) - 1]

    def test_its_messages_are_as_full_as_compression_reaches(self) -> None:
        reply = primary(*many(300)).ask(transfer_query().to_wire())
        sizes = [len(reply.wire), *map(len, reply.rest)]
        assert len(sizes) > 5
        assert all(transfer.MESSAGE_BYTES - 300 < size <= 16384 for size in sizes[:-1])

    def test_a_name_is_written_once_in_a_message(self) -> None:
        reply = primary(*many(300)).ask(transfer_query().to_wire())
        for wire in (reply.wire, *reply.rest):
            # An SRV record has its target in full (RFC 2782).
            suffix = wire.count(dns.name.from_text(SERVICE).to_wire())
            assert suffix <= wire.count(struct.pack("!HHI", 33, 1, 10)) + 1

    def test_only_the_first_message_has_the_question_and_options(self) -> None:
        query = transfer_query(use_edns=0, options=[dns.edns.GenericOption(10, bytes(8))])
        first, *others = messages_of(query, primary(*many(300)).ask(query.to_wire()))
        assert [question.name for question in first.question] == [dns.name.empty]
        assert first.edns == 0
        assert others
        for message in others:
            assert not message.question
            assert message.edns == -1
        for message in (first, *others):
            assert message.id == query.id
            assert message.flags & dns.flags.AA

    def test_it_is_the_zone_of_the_moment_at_which_it_was_asked_for(self) -> None:
        one = primary(*many(300))
        query = transfer_query()
        reply, then = one.ask(query.to_wire()), lines(one.zone)
        one.step(*(moved(peer, 1) for peer in many(300)))
        copy = dns.zone.Zone(ORIGIN)
        take(copy, query, reply)
        assert lines_of(copy) == then

    def test_by_udp_there_is_none(self) -> None:
        reply = primary(ALICE).ask(transfer_query().to_wire(), tcp=False)
        assert dns.message.from_wire(reply.wire).rcode() == dns.rcode.FORMERR
        assert reply.transferred is None


class TestDifference:
    """IXFR (RFC 1995)."""

    @hypothesis.given(taken=st.lists(steps, min_size=1, max_size=6), restarted=st.booleans())
    @hypothesis.settings(max_examples=60, deadline=None)
    def test_from_every_version_it_leads_to_what_a_transfer_of_all_gives(
        self, taken: list[dict[str, t.Any]], restarted: bool
    ) -> None:
        one = primary(ALICE, BOB)
        copies = {100: one.transfer()}
        for step in taken:
            follow(one, step)
            copies[one.zone.serial] = one.transfer()
        if restarted:
            one.restart()
        newest = lines(one.zone)
        assert lines_of(copies[one.zone.serial]) == newest
        for serial, copy in copies.items():
            assert lines_of(one.transfer(copy, serial)) == newest

    @hypothesis.given(taken=st.lists(steps, min_size=1, max_size=4))
    @hypothesis.settings(max_examples=15, deadline=None)
    def test_a_secondary_that_follows_a_signed_zone_can_prove_all_of_it(
        self, taken: list[dict[str, t.Any]]
    ) -> None:
        key = zone_key()
        one = primary(ALICE, BOB, signer=Signer(ZONE, [key], 7 * 86400, wall=lambda: NOW))
        copies = {100: one.transfer()}
        for step in taken:
            follow(one, {**step, "seals": {}})
            copies[one.zone.serial] = one.transfer()
        Validator(key, now=NOW).check_zone(one.zone)
        for serial, copy in copies.items():
            assert lines_of(one.transfer(copy, serial)) == lines(one.zone)

    def test_it_has_what_was_deleted_and_what_was_added_between_soa_records(self) -> None:
        one = primary(ALICE, BOB)
        one.step(dataclasses.replace(BOB, port=1))
        query = transfer_query(100)
        (message,) = messages_of(query, one.ask(query.to_wire()))
        kinds = [
            rrset[0].serial if rrset.rdtype == dns.rdatatype.SOA else rrset[0].port
            for rrset in message.answer
        ]
        assert kinds == [101, 100, 51821, 51821, 101, 1, 1, 101]

    def test_what_was_changed_back_meanwhile_is_not_in_it(self) -> None:
        one = primary(ALICE, BOB)
        one.step(dataclasses.replace(BOB, port=1))
        one.step(BOB)
        query = transfer_query(100)
        (message,) = messages_of(query, one.ask(query.to_wire()))
        assert [rrset[0].serial for rrset in message.answer] == [102, 100, 102, 102]

    @pytest.mark.parametrize("serial", [101, 102, 0x80000064])
    @pytest.mark.parametrize("tcp", [False, True])
    def test_who_is_up_to_date_gets_the_soa_record_alone(self, serial: int, tcp: bool) -> None:
        one = primary(ALICE)
        one.step(BOB)
        query = transfer_query(serial)
        (message,) = messages_of(query, one.ask(query.to_wire(), tcp=tcp))
        assert [rrset[0].serial for rrset in message.answer] == [101]

    @pytest.mark.parametrize("serial", [5, 99])
    def test_from_a_version_that_is_not_known_it_is_the_whole_zone(self, serial: int) -> None:
        one = primary(ALICE)
        one.step(BOB)
        old = primary().transfer()
        assert lines_of(one.transfer(old, serial)) == lines(one.zone)

    def test_after_a_whole_delta_it_is_the_whole_zone(self) -> None:
        one = primary(ALICE)
        copy = one.transfer()
        one.step(BOB, whole=True)
        one.step(CAROL)
        query = transfer_query(100)
        messages = messages_of(query, one.ask(query.to_wire()))
        assert messages[0].answer[1].rdtype != dns.rdatatype.SOA
        assert lines_of(one.transfer(copy, 100)) == lines(one.zone)

    @pytest.mark.parametrize(
        "bound", [("STEPS_MAX", 3), ("CHANGES_MAX", 8)], ids=["steps", "changes"]
    )
    def test_it_goes_back_only_so_far(
        self, bound: tuple[str, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(history, *bound)
        one = primary(ALICE, BOB)
        for port in range(1, 10):
            one.step(dataclasses.replace(BOB, port=port))
        assert one.history.difference(one.zone, 109 - 4) is None or bound[0] == "CHANGES_MAX"
        assert one.history.difference(one.zone, 109 - 5) is None
        assert one.history.difference(one.zone, 109 - 3) is not None

    def test_a_large_one_takes_as_many_messages_as_it_needs(self) -> None:
        one = primary(*many(400))
        copy = one.transfer()
        one.step(*(dataclasses.replace(peer, port=1) for peer in many(400)))
        query = transfer_query(100)
        reply = one.ask(query.to_wire())
        messages = messages_of(query, reply)
        assert len(messages) > 5
        assert [message.answer[1].rdtype for message in messages[:1]] == [dns.rdatatype.SOA]
        assert lines_of(one.transfer(copy, 100)) == lines(one.zone)

    def test_where_too_much_has_changed_it_is_the_whole_zone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transfer, "TCP_CHANGES", 20)
        one = primary(*many(40))
        for changes, whole in ((20, False), (21, True)):
            serial, copy = one.zone.serial, one.transfer()
            one.step(*(dataclasses.replace(peer, port=changes) for peer in many(changes)))
            query = transfer_query(serial)
            first = messages_of(query, one.ask(query.to_wire()))[0]
            assert (first.answer[1].rdtype != dns.rdatatype.SOA) == whole
            assert lines_of(one.transfer(copy, serial)) == lines(one.zone)

    def test_what_differs_for_a_registry_whose_address_is_the_tunnels_is_in_it(self) -> None:
        one = primary(REGISTRY)
        copy = one.transfer()
        one.step(addresses=("10.9.9.9",))
        assert lines_of(one.transfer(copy, 100)) == lines(one.zone)

    def test_all_who_ask_for_the_same_one_get_the_same_records_under_their_own_question(
        self,
    ) -> None:
        one = primary(ALICE, BOB)
        one.step(dataclasses.replace(BOB, port=1))
        first = transfer_query(100).to_wire()
        # Another ID, and another spelling of the name.
        other = b"\x12\x34" + first[2:].replace(b"example", b"eXAMPle")
        one_reply, other_reply = one.ask(first), one.ask(other)
        length = 12 + len(ORIGIN.to_wire()) + 4
        assert other_reply.wire[:2] + other_reply.wire[12:length] == other[:2] + other[12:length]
        assert one_reply.wire[length:] == other_reply.wire[length:]

    def test_a_client_of_ten_thousand_gets_one_change_in_a_kilobyte(self) -> None:
        one = primary(*many(10_000))
        peer = many(9000)[-1]
        one.step(dataclasses.replace(peer, address="192.0.2.77", port=4711))
        reply = one.ask(transfer_query(100, use_edns=0).to_wire(), tcp=False)
        assert 500 < len(reply.wire) <= 1024


class TestDifferenceByUdp:
    """RFC 1995 section 2: what does not fit is the newest SOA record alone."""

    @pytest.mark.parametrize(("size", "records"), [(1232, 8), (512, 1), (None, 1)])
    def test_it_comes_if_it_fits(self, size: int | None, records: int) -> None:
        one = primary(ALICE, BOB)
        one.step(dataclasses.replace(BOB, port=1))
        options = {"use_edns": 0, "payload": size} if size else {}
        query = transfer_query(100, **options)
        reply = one.ask(query.to_wire(), tcp=False)
        (message,) = messages_of(query, reply)
        assert len(message.answer) == records
        assert message.answer[0][0].serial == 101
        assert not message.flags & dns.flags.TC
        assert len(reply.wire) <= (size or 512)

    def test_dnspython_takes_it(self) -> None:
        one = primary(ALICE, BOB)
        copy = one.transfer()
        one.step(dataclasses.replace(BOB, port=1))
        query = transfer_query(100, use_edns=0)
        take(copy, query, one.ask(query.to_wire(), tcp=False), 100, udp=True)
        assert lines_of(copy) == lines(one.zone)

    @pytest.mark.parametrize("changes", [10, 100, 400])
    def test_many_changes_do_not_fit(self, changes: int) -> None:
        one = primary(*many(400))
        one.step(*(dataclasses.replace(peer, port=1) for peer in many(changes)))
        query = transfer_query(100, use_edns=0)
        (message,) = messages_of(query, one.ask(query.to_wire(), tcp=False))
        assert [rrset[0].serial for rrset in message.answer] == [101]

    def test_a_version_that_is_not_known_does_not_fit(self) -> None:
        one = primary(ALICE)
        one.step(BOB)
        query = transfer_query(7, use_edns=0)
        (message,) = messages_of(query, one.ask(query.to_wire(), tcp=False))
        assert [rrset[0].serial for rrset in message.answer] == [101]

    def test_a_signature_counts(self) -> None:
        one = primary(ALICE, BOB, keys=[OPS])
        one.step(dataclasses.replace(BOB, port=1))
        size = len(one.ask(transfer_query(100, use_edns=0).to_wire(), tcp=False).wire)
        for room, records in ((size, 1), (1232, 8)):
            query = signed(transfer_query(100, use_edns=0, payload=room))
            (message,) = messages_of(query, one.ask(query.to_wire(), tcp=False))
            assert len(message.answer) == records


def signed(query: dns.message.Message, key: TsigKey = OPS) -> dns.message.Message:
    query.use_tsig(dns.tsig.Key(key.name, key.secret, key.algorithm))
    return query


class TestSigned:
    """RFC 8945 section 5.3.1: the signatures of a transfer's messages are a chain."""

    @pytest.mark.parametrize("algorithm", ["hmac-sha224", "hmac-sha256", "hmac-sha512"])
    def test_each_message_is_signed_and_depends_on_the_one_before(self, algorithm: str) -> None:
        key = TsigKey(OPS.name, algorithm, OPS.secret)
        one = primary(*many(300), keys=[key])
        query = signed(transfer_query(), key)
        messages = messages_of(query, one.ask(query.to_wire()))
        assert len(messages) > 5
        assert all(message.had_tsig for message in messages)

    def test_a_message_that_is_left_out_is_noticed(self) -> None:
        query = signed(transfer_query())
        reply = primary(*many(300), keys=[OPS]).ask(query.to_wire())
        next(reply.rest)
        with pytest.raises(dns.tsig.BadSignature):
            messages_of(query, reply)

    def test_a_transfer_that_takes_hours_is_signed_with_the_time_at_each_message(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = primary(*many(300), keys=[OPS])
        query = signed(transfer_query())
        reply = one.ask(query.to_wire())

        def hourly() -> t.Iterator[bytes]:
            for wire in reply.rest:
                monkeypatch.setattr("time.time", lambda: one.now)
                yield wire
                one.now += 3600

        copy = dns.zone.Zone(ORIGIN)
        take(copy, query, reply._replace(rest=hourly()))
        assert lines_of(copy) == lines(one.zone)

    def test_differences_are_signed_as_well(self) -> None:
        one = primary(ALICE, BOB, keys=[OPS])
        copy = one.transfer()
        one.step(CAROL)
        query = signed(transfer_query(100))
        take(copy, query, one.ask(query.to_wire()), 100)
        assert lines_of(copy) == lines(one.zone)


class TestWhoMay:
    """`allow_transfer`, and what it lets a secondary ask besides."""

    @pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
    def test_by_default_the_tunnel_may_and_nobody_else(self, rdtype: str) -> None:
        one = primary(ALICE)
        query = transfer_query(None if rdtype == "AXFR" else 100, use_edns=0).to_wire()
        assert one.ask(query, ingress=3).transferred == Transferred(ZONE, None)
        for context in (OUTSIDE, {**OUTSIDE, "local": TUNNEL}):
            reply = one.ask(query, **context)
            response = dns.message.from_wire(reply.wire)
            assert response.rcode() == dns.rcode.REFUSED
            assert [option.code for option in response.options] == [18]
            assert reply.transferred is None
            assert reply.rest is None

    def test_a_named_network_may_also_ask_for_the_serial(self) -> None:
        one = primary(ALICE, allow_transfer=Access(networks=("198.51.100.0/24",)))
        assert one.ask(transfer_query().to_wire(), **OUTSIDE).transferred
        soa = dns.message.from_wire(
            one.ask(dns.message.make_query(ZONE, "SOA").to_wire(), **OUTSIDE).wire
        )
        assert soa.answer
        assert one.ask(transfer_query().to_wire()).transferred is None

    def test_a_named_key_may_also_ask_for_the_serial_and_is_told_of(self) -> None:
        one = primary(ALICE, keys=[OPS], allow_transfer=Access(keys=(OPS.name,)))
        query = signed(transfer_query())
        assert one.ask(query.to_wire(), **OUTSIDE).transferred == Transferred(ZONE, OPS.name)
        soa = signed(dns.message.make_query(ZONE, "SOA"))
        reply = one.ask(soa.to_wire(), **OUTSIDE)
        assert dns.message.from_wire(reply.wire, keyring=soa.keyring, request_mac=soa.mac).answer
        assert one.ask(transfer_query().to_wire(), **OUTSIDE).transferred is None

    def test_the_tunnel_alone_is_not_enough_where_it_is_not_for_queries(self) -> None:
        one = primary(ALICE, keys=[OPS], allow_query=Access(keys=(OPS.name,)))
        assert one.ask(transfer_query().to_wire()).transferred is None
        assert one.ask(signed(transfer_query()).to_wire()).transferred
        assert one.ask(signed(transfer_query()).to_wire(), **OUTSIDE).transferred is None

    def test_the_tunnel_can_be_named_beside_others(self) -> None:
        both = Access(networks=("198.51.100.0/24",), tunnel=True)
        one = primary(ALICE, allow_query=both, allow_transfer=both)
        for rdtype in ("SOA", "AXFR"):
            query = dns.message.make_query(ZONE, rdtype).to_wire()
            assert one.ask(query, ingress=3).wire[3] & 0xF == dns.rcode.NOERROR
            assert one.ask(query, **OUTSIDE).wire[3] & 0xF == dns.rcode.NOERROR
            stranger = {**OUTSIDE, "source": "192.0.2.1"}
            assert one.ask(query, **stranger).wire[3] & 0xF == dns.rcode.REFUSED

    def test_nobody_may_where_nobody_is_named(self) -> None:
        one = primary(ALICE, allow_transfer=Access())
        assert one.ask(transfer_query().to_wire()).transferred is None
        assert one.ask(dns.message.make_query(ZONE, "SOA").to_wire()).wire[3] & 0xF == 0

    def test_a_wrong_signature_opens_nothing(self) -> None:
        one = primary(ALICE, keys=[OPS])
        query = signed(transfer_query(), TsigKey(OPS.name, OPS.algorithm, bytes(32)))
        reply = one.ask(query.to_wire())
        assert reply.wire[3] & 0xF == 9
        assert reply.transferred is None


class TestWhatIsNotAnswered:
    """Queries that ask for something else, or do not say what."""

    @pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
    @pytest.mark.parametrize("name", [f"alice.{SERVICE}", SERVICE, f"x.{ZONE}"])
    def test_a_name_below_the_apex_is_no_zone(self, name: str, rdtype: str) -> None:
        query = dns.message.make_query(name, rdtype, use_edns=0)
        response = dns.message.from_wire(primary(ALICE).ask(query.to_wire()).wire)
        assert response.rcode() == dns.rcode.REFUSED
        assert [option.code for option in response.options] == [20]

    @pytest.mark.parametrize("tcp", [False, True])
    @pytest.mark.parametrize(
        ("count", "records"),
        [
            (0, b""),
            (1, b"\xc0\x0c" + struct.pack("!HHIH", 2, 1, 0, 22) + bytes(22)),
            (1, b"\xc0\x0c" + struct.pack("!HHIH", 6, 3, 0, 22) + bytes(22)),
            (1, b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 0, 21) + bytes(21)),
            (1, b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 0, 23) + bytes(23)),
            (1, b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 0, 22) + b"\x80" + bytes(21)),
            (1, b"\0" + struct.pack("!HHIH", 6, 1, 0, 22) + bytes(22)),
            (2, (b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 0, 22) + bytes(22)) * 2),
        ],
        ids=[
            "none",
            "another type",
            "another class",
            "short",
            "long",
            "no name",
            "another zone",
            "two",
        ],
    )
    def test_who_does_not_say_which_version_it_has_is_told_so(
        self, count: int, records: bytes, tcp: bool
    ) -> None:
        query = dns.message.make_query(ZONE, "IXFR").to_wire()
        wire = query[:8] + struct.pack("!H", count) + query[10:] + records
        reply = primary(ALICE).ask(wire, tcp=tcp)
        assert reply.wire[3] & 0xF == dns.rcode.FORMERR
        assert reply.transferred is None

    def test_while_nothing_is_known_it_fails(self) -> None:
        one = primary(ALICE)
        one.authority.serve(ORIGIN, None)
        reply = one.ask(transfer_query().to_wire())
        assert reply.wire[3] & 0xF == dns.rcode.SERVFAIL
        assert reply.transferred is None


def test_a_zone_without_history_gives_all_to_who_asks_for_a_difference() -> None:
    one = primary(ALICE)
    one.authority.serve(ORIGIN, one.zone)
    query = transfer_query(99)
    messages = messages_of(query, one.ask(query.to_wire()))
    assert messages[0].answer[1].rdtype != dns.rdatatype.SOA
    (message,) = messages_of(query, one.ask(query.to_wire(), tcp=False))
    assert len(message.answer) == 1


def test_a_step_of_a_large_zone_costs_what_it_changes() -> None:
    """Of ten thousand peers the history looks at the one that a step changes."""
    one = primary(*many(10_000))
    asked = []

    class Watched:
        def __init__(self) -> None:
            self.seals = one.zone.seals

        def instance(self, public_key: t.Any) -> Instance | None:
            asked.append(public_key)
            return one.zone.instance(public_key)

    one.history.step(Watched(), one.chain.newest.delta_to(101, content(*many(9_999))))
    assert asked == [many(10_000)[-1].public_key]
