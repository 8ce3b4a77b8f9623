# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What wgsd_examine makes of packets, rulesets and keys, without a host."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import struct
import typing as t

import dns.message
import dns.rcode
import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _doctor_probe as probe
from ansible_collections.wgsd.mesh.plugins.module_utils import _doctor_survey as survey
from ansible_collections.wgsd.mesh.plugins.module_utils import _doctor_wire as wire
from ansible_collections.wgsd.mesh.plugins.module_utils._doctor_probe import _Counters
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import Instance, TsigKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.directory import signing_key
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Device, Endpoint, Peer

from tests.unit.plugins.module_utils.wgsd.scripted_dns import ScriptedServer

pytestmark = pytest.mark.unit

KEY, OTHER = PublicKey(bytes(range(32))), PublicKey(bytes(32))
INITIATION = b"\1\0\0\0" + bytes(112)


def packet(
    payload: bytes,
    source: str = "192.0.2.7",
    target: str = "203.0.113.4",
    ports: tuple[int, int] = (4000, 51820),
    *,
    protocol: int = 17,
    fragment: int = 0,
    options: int = 0,
) -> bytes:
    """Return an IP packet with a UDP datagram."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(udp), protocol, 64) + addresses + udp
    head = struct.pack("!BBHHHBBH", 0x45 + options, 0, 0, 0, fragment, 64, protocol, 0)
    return head + addresses + bytes(4 * options) + udp


def runs(program: list[tuple[int, int, int, int]], data: bytes) -> bool:
    """Run a classic BPF program, as far as ours goes; whether it accepts."""
    accumulator = index = at = 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        if code == 0x06:
            return k > 0
        if code == 0x15:
            at += yes if accumulator == k else no
        elif code == 0x45:
            at += yes if accumulator & k else no
        elif code == 0x54:
            accumulator &= k
        elif code == 0xB1:
            index = 4 * (data[k] & 15)
        else:
            size, offset = {0x30: (1, k), 0x28: (2, k), 0x48: (2, k + index)}[code]
            if offset + size > len(data):
                return False
            accumulator = int.from_bytes(data[offset : offset + size], "big")


@pytest.mark.parametrize(
    ("data", "passes"),
    [
        (packet(b"x"), True),
        (packet(b"x", ports=(51820, 9)), True),
        (packet(b"x", ports=(9, 51821)), True),
        (packet(b"x", ports=(9, 9)), False),
        (packet(b"x", options=3), True),
        (packet(b"x", protocol=6), False),
        (packet(b"x", fragment=5), False),
        (packet(b"x", "2001:db8::1", "2001:db8::2"), True),
        (packet(b"x", "2001:db8::1", "2001:db8::2", ports=(9, 9)), False),
        (packet(b"x", "2001:db8::1", "2001:db8::2", protocol=6), False),
        (b"\x00" * 60, False),
        (b"E", False),
    ],
)
def test_the_kernel_passes_on_udp_of_these_ports_alone(data: bytes, passes: bool) -> None:
    assert runs(wire.port_filter([51820, 51821]), data) == passes


def test_reads_datagrams_of_both_families() -> None:
    seen = wire.parse(packet(b"abc", options=2))
    assert seen == wire.Datagram("192.0.2.7", 4000, "203.0.113.4", 51820, b"abc", 3)
    seen = wire.parse(packet(b"abc", "2001:db8::1", "2001:db8::2"))
    assert seen == wire.Datagram("2001:db8::1", 4000, "2001:db8::2", 51820, b"abc", 3)


@pytest.mark.parametrize("length", range(31))
def test_what_is_cut_off_or_no_packet_is_nothing(length: int) -> None:
    wire.parse(os.urandom(length))
    cut = wire.parse(packet(b"abc")[:length])
    assert cut is None or cut.payload == packet(b"abc")[28:length]


@pytest.mark.parametrize(
    ("payload", "length", "kind"),
    [
        (b"\1\0\0\0", 148, "initiation"),
        (b"\1\0\0\0", 149, "other"),
        (b"\2\0\0\0", 92, "response"),
        (b"\3\0\0\0", 64, "cookie"),
        (b"\4\0\0\0", 32, "data"),
        (b"\4\0\0\0", 1452, "data"),
        (b"\4\0\0\0", 31, "other"),
        (b"\1\0\0\1", 148, "other"),
        (b"wgsd", 148, "other"),
        (b"", 0, "other"),
    ],
)
def test_tells_wireguards_messages_by_type_and_length(
    payload: bytes, length: int, kind: str
) -> None:
    assert wire.kind_of(payload, length) == kind


def test_tells_for_whom_a_handshake_is_made() -> None:
    secret = hashlib.blake2s(b"mac1----" + bytes(KEY)).digest()
    mac = hashlib.blake2s(INITIATION, key=secret, digest_size=16).digest()
    message = INITIATION + mac + bytes(16)
    assert wire.is_made_for(KEY, "initiation", message) is True
    assert wire.is_made_for(OTHER, "initiation", message) is False
    assert wire.is_made_for(None, "initiation", message) is None
    assert wire.is_made_for(KEY, "data", message) is None


def test_digests_of_preshared_keys_are_alike_if_the_keys_are_and_differ_between_runs() -> None:
    key = os.urandom(32)
    assert survey.digest(key, b"one") == survey.digest(key, b"one")
    assert survey.digest(key, b"one") != survey.digest(key, b"two")
    assert survey.digest(key, b"one") != survey.digest(os.urandom(32), b"one")
    assert survey.digest(None, b"one") is None
    assert len(survey.digest(key, b"s" * 100) or "") == 16


def test_tells_what_a_client_makes_of_the_peers_that_were_asked_for() -> None:
    bob = {"state": "unreachable", "reason": "silent", "due": 1.5, "rtt": None, "action": "set"}
    told = {"bob": bob, "carol": {"state": "direct"}, "dave": "no report of ours"}
    assert survey.views({"peers": told}, ["bob", "dave", "erin"]) == {
        "bob": {"state": "unreachable", "reason": "silent", "due": 1.5}
    }
    assert survey.views({}, ["bob"]) == {}
    assert survey.views({"peers": []}, ["bob"]) == {}


RULESET = """\
table inet filter {
    set blocked {
        type ipv4_addr
    }

    chain input {
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        udp dport 51820 counter drop
    }

    chain forward {
        type filter hook forward priority filter; policy drop;
    }

    chain output {
        type filter hook output priority filter; policy accept;
        ip daddr 192.0.2.0/24 reject
    }

    chain helper {
        drop
    }
}
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
    }
}
""".replace("    ", "\t")


def test_lists_what_a_ruleset_drops_of_the_hosts_own_packets() -> None:
    assert survey.dropping(RULESET) == [
        "inet filter input: policy drop",
        "inet filter input: udp dport 51820 counter drop",
        "inet filter output: ip daddr 192.0.2.0/24 reject",
    ]
    assert survey.dropping("") == []


def device(rx: int, tx: int) -> Device:
    return Device("wg0", OTHER, 51820, 0, {KEY: Peer(KEY, rx_bytes=rx, tx_bytes=tx)})


def test_counts_on_when_a_client_has_started_a_peer_over() -> None:
    counters = _Counters("wg0", device(1000, 500))
    for rx, tx in ((1100, 500), (0, 148), (148, 148), (148, 296)):
        counters.take(device(rx, tx))
    assert counters.grown(Peer(KEY)) == {"rx": 248, "tx": 296}
    assert counters.grown(None) == {"rx": None, "tx": None}


def asked(server: ScriptedServer) -> dict[str, t.Any]:
    """Return what became of asking for the zone."""
    plan = probe.Plan(
        name="alice",
        interface="wg0",
        seconds=1,
        targets=[],
        large=False,
        zone="example.com.",
        servers=[Endpoint("127.0.0.1", server.endpoint.port)],
        send_to=[],
        watch=[],
        nonce=b"",
        instance=Instance("client"),
        salt=b"salt",
    )
    question = probe._Question(plan)
    question.start()
    question.wait()
    assert question.answer is not None
    return question.answer


def test_a_key_that_the_registry_does_not_take_is_told_from_a_firewall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = TsigKey("mesh.example.com.", "hmac-sha256", b"a secret of thirty-two bytes ...")
    monkeypatch.setattr(probe, "_signing_key", lambda _instance: key)

    def reject(query: t.Any, _tcp: bool) -> bytes:
        response = dns.message.make_response(query, tsig_error=dns.rcode.BADKEY)
        response.set_rcode(dns.rcode.NOTAUTH)
        wire: bytes = response.to_wire()
        return wire

    with ScriptedServer(reject, signing_key(key)) as server:
        told = asked(server)
    assert told["status"] == "signature"
    assert told["said"] == "The peer didn't know the key we used"


def test_an_error_of_the_responder_is_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_signing_key", lambda _instance: None)

    def fail(query: t.Any, _tcp: bool) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        wire: bytes = response.to_wire()
        return wire

    with ScriptedServer(fail) as server:
        told = asked(server)
    assert (told["status"], told["said"]) == ("SERVFAIL", None)
