# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's view of a zone, against servers good and bad."""

from __future__ import annotations

import time

import dns.flags
import dns.message
import dns.rcode
import dns.tsig
import pytest

from tests.unit.plugins.module_utils.wgsd.scripted_dns import ScriptedServer, respond
from wgsd.config import TsigKey
from wgsd.directory import Directory, SignatureError, ZoneVersion, signing_key, unusable
from wgsd.errors import ServerError, UsageError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, PeerRecord
from wgsd.names import instance_name, txt_strings

pytestmark = pytest.mark.unit

ZONE = "example.com."
BOB = PublicKey(b"b" * 32)
CAROL = PublicKey(b"c" * 32)
BOB_NAME = instance_name(BOB, ZONE)
HOME = Endpoint("192.0.2.20", 51820)
TXT = " ".join(f'"{s}"' for s in txt_strings(BOB, ["10.0.0.2/32"], "bob"))
SRV = (BOB_NAME, "SRV", f"0 0 51820 {BOB_NAME}")
A = (BOB_NAME, "A", "192.0.2.20")
BOB_RECORD = PeerRecord(BOB, HOME, ("10.0.0.2/32",), "bob")


def directory(*servers: ScriptedServer | Endpoint, **options) -> Directory:
    endpoints = [s.endpoint if isinstance(s, ScriptedServer) else s for s in servers]
    return Directory(ZONE, endpoints, **{"timeout": 0.3, "retries": 1, **options})


def good(query, _tcp):
    return respond(query, [SRV], [A, (BOB_NAME, "TXT", TXT)])


def test_one_query_gives_a_peers_whole_record():
    with ScriptedServer(good) as server:
        assert directory(server).lookup([BOB]) == {BOB: BOB_RECORD}
    assert server.asked == [f"{BOB_NAME} IN SRV"]


def test_what_is_missing_in_the_additional_section_is_asked_for():
    records = {"SRV": [SRV], "A": [A], "TXT": [(BOB_NAME, "TXT", TXT)]}

    def script(query, _tcp):
        return respond(query, records.get(query.question[0].to_text().split()[-1], []))

    with ScriptedServer(script) as server:
        assert directory(server).lookup([BOB]) == {BOB: BOB_RECORD}


def test_an_ipv6_endpoint_is_read():
    def script(query, _tcp):
        return respond(query, [SRV], [(BOB_NAME, "AAAA", "2001:db8::20"), (BOB_NAME, "TXT", TXT)])

    with ScriptedServer(script) as server:
        assert directory(server).lookup([BOB])[BOB].endpoint == Endpoint("2001:db8::20", 51820)


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
def test_a_peer_that_the_zone_does_not_have_is_none(rcode):
    with ScriptedServer(lambda query, _tcp: respond(query, rcode=rcode)) as server:
        found = directory(server)
        assert found.lookup([BOB]) == {BOB: None}
        assert found.failures == {}


@pytest.mark.parametrize(
    ("answer", "additional", "problem"),
    [
        ([(BOB_NAME, "SRV", f"0 0 0 {BOB_NAME}")], [A], "port 0"),
        ([SRV], [(BOB_NAME, "A", "0.0.0.0")], "0.0.0.0"),
        ([SRV], [(BOB_NAME, "AAAA", "::")], "::"),
        ([SRV], [A, (BOB_NAME, "TXT", TXT.replace(BOB.base64, CAROL.base64))], "another key"),
        ([SRV], [A, (BOB_NAME, "TXT", '"txtvers=1"')], "pub="),
        ([SRV], [A, (BOB_NAME, "TXT", '"pub=garbage"')], "garbage"),
    ],
)
def test_an_answer_of_no_use_fails_that_peer_alone(answer, additional, problem):
    def script(query, tcp):
        if instance_name(CAROL, ZONE) in query.question[0].to_text():
            return respond(query, rcode=dns.rcode.NXDOMAIN)
        return respond(query, answer, additional)

    with ScriptedServer(script) as server:
        found = directory(server)
        assert found.lookup([BOB, CAROL]) == {CAROL: None}
    assert list(found.failures) == [BOB]
    assert problem in found.failures[BOB]


def test_an_srv_record_without_any_address_fails_that_peer():
    def script(query, _tcp):
        return respond(query, [SRV] if "SRV" in query.question[0].to_text() else [])

    with ScriptedServer(script) as server:
        found = directory(server)
        assert found.lookup([BOB]) == {}
    assert "without an address" in found.failures[BOB]
    assert "dig SRV" in found.failures[BOB]


def test_the_lowest_priority_counts_in_whatever_order_records_come():
    def script(query, _tcp):
        services = [
            f"{p} {w} {port} {BOB_NAME}" for p, w, port in [(9, 0, 9), (1, 1, 3), (1, 5, 2)]
        ]
        rows = [(BOB_NAME, "SRV", rdata) for rdata in services]
        return respond(query, rows, [A, (BOB_NAME, "TXT", TXT)])

    with ScriptedServer(script) as server:
        assert directory(server).lookup([BOB])[BOB].endpoint.port == 2


def test_a_truncated_answer_is_fetched_by_tcp():
    def script(query, tcp):
        return good(query, tcp) if tcp else respond(query, flags=dns.flags.TC)

    with ScriptedServer(script) as server:
        assert directory(server).lookup([BOB]) == {BOB: BOB_RECORD}
    assert len(server.asked) == 2


def test_tcp_from_the_start_sends_no_datagram():
    with ScriptedServer(lambda query, tcp: good(query, tcp) if tcp else None) as server:
        assert directory(server, tcp=True).lookup([BOB]) == {BOB: BOB_RECORD}


def another_question(query, _tcp):
    other = dns.message.make_query("other.example.", "SRV")
    other.id = query.id
    return respond(other, [("other.example.", "SRV", "0 0 1 other.example.")])


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (lambda query, tcp: respond(query, rcode=dns.rcode.REFUSED), "REFUSED"),
        (lambda query, tcp: respond(query, rcode=dns.rcode.SERVFAIL), "SERVFAIL"),
        (lambda query, tcp: b"garbage", "malformed"),
        (lambda query, tcp: good(query, tcp)[:-7], "malformed"),
        (another_question, "another question"),
    ],
)
def test_a_bad_server_is_named_and_the_next_one_asked(script, problem):
    with ScriptedServer(script) as bad, ScriptedServer(good) as spare:
        alone = directory(bad)
        alone.lookup([BOB])
        assert str(bad.endpoint) in alone.failures[BOB]
        assert problem in alone.failures[BOB]
        assert directory(bad, spare).lookup([BOB]) == {BOB: BOB_RECORD}


def test_a_lost_datagram_is_sent_again():
    lost = []

    def script(query, tcp):
        if not lost:
            lost.append(query)
            return None
        return good(query, tcp)

    with ScriptedServer(script) as server:
        assert directory(server).lookup([BOB]) == {BOB: BOB_RECORD}


def test_a_dead_server_costs_one_timeout_and_not_one_for_each_of_300_peers():
    keys = [PublicKey(number.to_bytes(32, "big")) for number in range(300)]
    with ScriptedServer(lambda query, tcp: None) as server:
        start = time.monotonic()
        with pytest.raises(ServerError, match=r"no answer within 0\.3 s") as caught:
            directory(server).lookup(keys)
        assert time.monotonic() - start < 5
    assert "responder" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_a_closed_port_is_told_at_once():
    with ScriptedServer(good) as server:
        closed = server.endpoint
    with pytest.raises(ServerError, match=r"127\.0\.0\.1"):
        directory(closed).serial()


def test_the_serial_is_the_soas():
    soa = (ZONE, "SOA", "ns1.example.com. hostmaster.example.com. 42 3600 600 604800 5")
    with ScriptedServer(lambda query, tcp: respond(query, [soa])) as server:
        assert directory(server).serial() == ZoneVersion(server.endpoint, 42)


def test_a_server_without_an_soa_has_no_serial():
    with ScriptedServer(lambda query, tcp: respond(query, rcode=dns.rcode.NXDOMAIN)) as server:
        assert directory(server).serial() is None


def test_browsing_lists_peers_sorted_and_skips_strangers():
    service = f"_wireguard._udp.{ZONE}"
    carol = instance_name(CAROL, ZONE)

    def script(query, _tcp):
        question = query.question[0].to_text()
        if "PTR" in question:
            names = [carol, BOB_NAME, f"printer.{service}", "elsewhere.example."]
            return respond(query, [(service, "PTR", name) for name in names])
        if BOB_NAME in question:
            return good(query, _tcp)
        address = (carol, "A", "192.0.2.30")
        return respond(
            query, [(carol, "SRV", f"0 0 7 {carol}")] if "SRV" in question else [], [address]
        )

    with ScriptedServer(script) as server:
        assert directory(server).browse() == [
            BOB_RECORD,
            PeerRecord(CAROL, Endpoint("192.0.2.30", 7)),
        ]


def test_no_server_at_all_is_a_usage_error():
    with pytest.raises(UsageError, match="no DNS server"):
        Directory(ZONE, [])


KEY = TsigKey("mesh.example.com.", "hmac-sha512", b"a secret of thirty-two bytes ...")
OTHER = TsigKey("mesh.example.com.", "hmac-sha512", b"another one of thirty-two bytes.")


def test_a_query_is_signed_and_so_must_its_answer_be():
    signed = []

    def script(query, tcp):
        signed.append(query.had_tsig)
        return good(query, tcp)

    with ScriptedServer(script, keyring=signing_key(KEY)) as server:
        assert directory(server, key=KEY).lookup([BOB]) == {BOB: BOB_RECORD}
    assert signed == [True]


def rejected(error):
    def script(query, _tcp):
        response = dns.message.make_response(query, tsig_error=error)
        response.set_rcode(dns.rcode.NOTAUTH)
        return response.to_wire()

    return script


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (dns.rcode.BADKEY, "know the key"),
        (dns.rcode.BADSIG, "signature"),
        (dns.rcode.BADTIME, "time"),
    ],
)
def test_a_server_that_rejects_our_signature_is_told_from_one_that_refuses(error, words):
    with ScriptedServer(rejected(error), signing_key(KEY)) as server:
        with pytest.raises(SignatureError, match=words):
            directory(server, key=KEY).serial()
        assert len(server.asked) == 1


def unsigned(query):
    response = dns.message.make_response(query)
    response.tsig = None
    return response.to_wire()


def signed_by_another(query):
    response = dns.message.make_response(query)
    response.use_tsig(signing_key(OTHER))
    response.request_mac = query.mac
    return response.to_wire()


@pytest.mark.parametrize(
    # A newer dnspython says it in its own words.
    ("answer", "problem"),
    [(unsigned, "not signed|requires a TSIG"), (signed_by_another, "check the key")],
)
def test_an_answer_that_is_not_signed_with_our_key_does_not_count(answer, problem):
    with ScriptedServer(lambda query, _tcp: answer(query), signing_key(KEY)) as server:
        found = directory(server, key=KEY)
        with pytest.raises(ServerError, match=problem):
            found.serial()


@pytest.mark.parametrize("near", ["127.0.0.1", "fe80::7"])
def test_of_a_peers_addresses_one_that_all_can_send_to_comes_first(near):
    kind = "AAAA" if ":" in near else "A"
    for others in ([("A", "192.0.2.20")], [("AAAA", "2001:db8::1")]):
        records = [(BOB_NAME, rdtype, text) for rdtype, text in [(kind, near), *others]]

        def script(query, _tcp, records=records):
            return respond(query, [SRV], [*records, (BOB_NAME, "TXT", TXT)])

        with ScriptedServer(script) as server:
            assert directory(server).lookup([BOB])[BOB].endpoint.address == others[0][1]


@pytest.mark.parametrize("near", ["127.0.0.1", "::1", "fe80::7"])
def test_an_endpoint_near_the_registry_is_what_the_zone_says_and_of_no_use_to_others(near):
    record = PeerRecord(BOB, Endpoint(near, 51820))
    assert near in unusable(record)
    assert unusable(BOB_RECORD) == unusable(None) == ""
