# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All peers of a zone at once: from whom, in which way, and what is said if nobody tells."""

from __future__ import annotations

import typing as t

import dns.message
import dns.rcode
import pytest

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE, Line, lines_of
from tests.unit.plugins.module_utils.wgsd.scripted_dns import Script, ScriptedServer, respond
from wgsd.config import TsigKey
from wgsd.directory import signing_key
from wgsd.errors import ServerError, UsageError
from wgsd.keys import PublicKey
from wgsd.names import service_name
from wgsd.replica import list_peers

pytestmark = pytest.mark.unit

BOB, CAROL = PublicKey(b"b" * 32), PublicKey(b"c" * 32)
KEY = TsigKey("mesh.example.com.", "hmac-sha256", bytes(32))
SOA = (ZONE, "SOA", f"ns1.{ZONE} hostmaster.{ZONE} 7 60 60 600 5")


def refusing(query: dns.message.Message, _tcp: bool) -> bytes:
    """A server that lets us ask for nothing."""
    return respond(query, rcode=dns.rcode.REFUSED)


def silent(_query: dns.message.Message, _tcp: bool) -> None:
    """A server that never answers."""


def serving(
    *records: Line, transfers: bool = True, rcodes: t.Mapping[str, int] | None = None
) -> Script:
    """A server of the zone, with these records besides those of Bob."""
    zone = [SOA, *lines_of(BOB, 51820), *records]

    def answer(query, tcp):
        name, _class, rdtype = query.question[0].to_text().split()
        if rdtype == "AXFR":
            if not transfers:
                return respond(query, rcode=dns.rcode.REFUSED)
            assert tcp
            return respond(query, [*zone, SOA])
        found = [line for line in zone if line[:2] == (name, rdtype)]
        return respond(query, found, rcode=(rcodes or {}).get(rdtype, 0))

    return answer


def test_one_transfer_tells_it_all():
    with ScriptedServer(serving()) as server:
        listing = list_peers("Example.com", [server.endpoint])
    assert (listing.zone, listing.serial, listing.server) == (ZONE, 7, server.endpoint)
    assert [record.name for record in listing.records] == ["bob"]
    assert server.asked == [f"{ZONE} IN AXFR"]


def test_a_server_that_does_not_transfer_is_browsed_and_tells_the_serial_first():
    with ScriptedServer(serving(transfers=False)) as server:
        listing = list_peers(ZONE, [server.endpoint])
    assert (listing.serial, listing.server) == (7, server.endpoint)
    assert [record.public_key for record in listing.records] == [BOB]
    assert server.asked[:2] == [f"{ZONE} IN AXFR", f"{ZONE} IN SOA"]


def test_a_server_that_fails_to_tell_its_serial_still_tells_its_peers():
    script = serving(transfers=False, rcodes={"SOA": dns.rcode.SERVFAIL})
    with ScriptedServer(script) as server:
        listing = list_peers(ZONE, [server.endpoint])
    assert listing.serial is None
    assert [record.public_key for record in listing.records] == [BOB]


@pytest.mark.parametrize("transfers", [True, False])
def test_a_peer_whose_records_are_of_no_use_is_a_failure(transfers):
    script = serving(*lines_of(CAROL, 0), transfers=transfers)
    with ScriptedServer(script) as server:
        listing = list_peers(ZONE, [server.endpoint])
    assert [record.public_key for record in listing.records] == [BOB]
    assert listing.failures.keys() == {CAROL}
    assert "port 0" in listing.failures[CAROL]


@pytest.mark.parametrize("first", [refusing, silent])
def test_the_next_server_is_asked_if_one_does_not_tell(first):
    with ScriptedServer(first) as bad, ScriptedServer(serving()) as good:
        listing = list_peers(ZONE, [bad.endpoint, good.endpoint], timeout=0.1)
    assert listing.server == good.endpoint
    assert len(listing.records) == 1


def test_the_first_server_that_tells_is_the_only_one_asked():
    with ScriptedServer(serving()) as first, ScriptedServer(serving()) as second:
        list_peers(ZONE, [first.endpoint, second.endpoint])
    assert second.asked == []


def test_if_nobody_tells_each_server_is_named_with_its_reason_and_a_remedy():
    with (
        ScriptedServer(refusing) as one,
        ScriptedServer(silent) as other,
        pytest.raises(ServerError) as caught,
    ):
        list_peers(ZONE, [one.endpoint, other.endpoint], timeout=0.1)
    assert f"{one.endpoint}: {service_name(ZONE)} IN PTR: REFUSED" in caught.value.message
    assert f"{other.endpoint}: {ZONE} IN SOA: no answer within 0.1 s" in caught.value.message
    assert "check the tunnel" in caught.value.remedy
    assert "allow_query" in caught.value.remedy


def test_the_only_server_that_does_not_answer_is_its_own_error():
    said = r"no answer within 0\.1 s; check the tunnel"
    with ScriptedServer(silent) as server, pytest.raises(ServerError, match=said):
        list_peers(ZONE, [server.endpoint], timeout=0.1)
    # A server that is silent about the SOA is not asked for the peers as well.
    assert {line.split()[-1] for line in server.asked} == {"AXFR", "SOA"}


def test_with_a_key_all_is_signed_both_ways():
    keyring = {signing_key(KEY).name: signing_key(KEY)}
    scripts = [serving(), serving(transfers=False)]
    for script in scripts:
        with ScriptedServer(script, keyring=keyring) as server:
            assert len(list_peers(ZONE, [server.endpoint], KEY).records) == 1


def test_with_a_key_an_answer_that_is_not_signed_is_none():
    def unsigned(query: dns.message.Message, _tcp: bool) -> bytes:
        plain = dns.message.make_query(query.question[0].name, query.question[0].rdtype)
        plain.id = query.id
        return serving()(plain, _tcp)

    keyring = {signing_key(KEY).name: signing_key(KEY)}
    with (
        ScriptedServer(unsigned, keyring=keyring) as server,
        pytest.raises(ServerError, match=f"{server.endpoint}: .*(TSIG|not signed)"),
    ):
        list_peers(ZONE, [server.endpoint], KEY)


def test_a_transfer_tells_members_without_an_endpoint_too():
    with ScriptedServer(serving(*lines_of(CAROL, None))) as server:
        listing = list_peers(ZONE, [server.endpoint])
    assert [record.public_key for record in listing.records] == [BOB]
    assert listing.members
    assert {key: member.allowed_ips for key, member in listing.members.items()} == {
        BOB: ("10.0.0.2/32",),
        CAROL: ("10.0.0.2/32",),
    }


def test_browsing_tells_of_no_members():
    with ScriptedServer(serving(*lines_of(CAROL, None), transfers=False)) as server:
        assert list_peers(ZONE, [server.endpoint]).members is None


def test_servers_that_are_silent_are_all_asked_again_before_one_is_given_up():
    late = serving(transfers=False)
    asked = []

    def awake_at_the_second_time(query, tcp):
        asked.append(query.question[0].to_text())
        return late(query, tcp) if asked.count(f"{ZONE} IN SOA") > 1 else None

    with ScriptedServer(silent) as first, ScriptedServer(awake_at_the_second_time) as second:
        listing = list_peers(ZONE, [first.endpoint, second.endpoint], timeout=0.2, retries=1)
    assert listing.server == second.endpoint
    # Once each: a transfer that was not had will not be had a moment later.
    assert first.asked == [f"{ZONE} IN AXFR", *[f"{ZONE} IN SOA"] * 2]


def test_a_server_that_refuses_is_not_asked_again():
    with (
        ScriptedServer(refusing) as one,
        ScriptedServer(silent) as other,
        pytest.raises(ServerError),
    ):
        list_peers(ZONE, [one.endpoint, other.endpoint], timeout=0.1, retries=3)
    assert one.asked == [f"{ZONE} IN AXFR", f"{ZONE} IN SOA", f"{service_name(ZONE)} IN PTR"]
    assert other.asked.count(f"{ZONE} IN SOA") == 4


def test_by_tcp_nothing_is_asked_over_udp():
    script = serving(transfers=False)
    with ScriptedServer(lambda query, tcp: script(query, tcp) if tcp else None) as server:
        listing = list_peers(ZONE, [server.endpoint], timeout=1, retries=0, tcp=True)
    assert [record.public_key for record in listing.records] == [BOB]


@pytest.mark.parametrize(
    ("zone", "servers", "problem"), [(ZONE, [], "no DNS server"), ("a..b", [], "bad label")]
)
def test_names_what_cannot_be_asked(zone, servers, problem):
    with pytest.raises(UsageError, match=problem):
        list_peers(zone, servers)
