# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever comes from outside, the engine takes it or refuses it in its own words."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import tempfile

import dns.message
import dns.name
import dns.rrset
import hypothesis
from hypothesis import strategies as st

from tests.fuzz.damage import damaged, edits, many_examples
from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    REGISTRY,
    SERVICE,
    ZONE,
    Asker,
    content,
)
from wgsd.device import wire
from wgsd.device.memory import PeerMemory
from wgsd.device.userspace import UserspaceBackend
from wgsd.directory import Answer, Directory
from wgsd.errors import WgsdError
from wgsd.model import Device, Endpoint, PeerChange, PeerRecord
from wgsd.names import instance_name, txt_strings

ASK = Asker(content(ALICE, BOB, CAROL, REGISTRY))
KEY = ALICE.public_key
SERVER = Endpoint("10.0.0.254", 53)
QUERY = dns.message.make_query(f"{KEY.label}.{SERVICE}", "SRV", use_edns=0).to_wire()
UAPI = (
    f"private_key={'11' * 32}\nlisten_port=51820\nfwmark=1\npublic_key={KEY.hex()}\n"
    f"preshared_key={'22' * 32}\nendpoint=192.0.2.1:51820\nlast_handshake_time_sec=1800000000\n"
    "last_handshake_time_nsec=5\nrx_bytes=9\ntx_bytes=8\npersistent_keepalive_interval=25\n"
    "allowed_ip=10.0.0.1/32\nallowed_ip=fd00::1/128\nprotocol_version=1"
).encode()
NETLINK = b"".join(
    request.attributes
    for request in wire.change_requests(
        "wg0", [PeerChange(KEY, endpoint=SERVER, allowed_ips=("10.0.0.1/32", "fd00::/64"))]
    )
)

texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@many_examples
@hypothesis.given(st.binary(max_size=600), edits, st.none() | st.integers(0, 200), st.booleans())
def test_the_responder_answers_or_stays_silent(noise, changes, length, tcp):
    for packet in (noise, damaged(QUERY, changes, length), damaged(QUERY, changes, None) + noise):
        response = ASK.raw(packet, tcp=tcp)
        assert response is None or response[:2] == packet[:2]


KERNEL_MEMORY = PeerMemory(wire.parse_peer, wire.counters)


def dumped(memory: PeerMemory, message: bytes) -> Device | None:
    """What a dump of one message says, None if it is refused."""
    snapshot = wire.Snapshot("wg0", memory)
    try:
        snapshot.add(message)
        return snapshot.device()
    except ValueError:
        return None


@many_examples
@hypothesis.given(edits, st.none() | st.integers(0, 1000))
def test_a_kernels_dump_is_read_or_refused_whatever_was_read_before(changes, length):
    message = damaged(NETLINK, changes, length)
    anew = dumped(PeerMemory(wire.parse_peer, wire.counters), message)
    assert dumped(KERNEL_MEMORY, message) == anew
    assert anew is None or anew.name == "wg0"


class TalkingBackend(UserspaceBackend):
    """A userspace device that replies what it is told to."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{folder}/wg0.sock")
            server.listen()
            super().__init__("wg0", folder=pathlib.Path(folder))
        self.reply = ""

    def _exchange(self, _request: str) -> bytes:
        return f"\n{self.reply}".encode()

    def device(self) -> Device | str:
        """What the reply says, or why it is refused."""
        try:
            return self.read()
        except WgsdError as exc:
            return str(exc)


KNOWING = TalkingBackend()
NEW = TalkingBackend()


@many_examples
@hypothesis.given(edits, st.none() | st.integers(0, 1000), texts)
def test_a_userspace_devices_reply_is_read_or_refused_whatever_was_read_before(
    changes, length, more
):
    KNOWING.reply = NEW.reply = damaged(UAPI, changes, length).decode("latin-1") + more
    NEW.close()
    device, anew = KNOWING.device(), NEW.device()
    if isinstance(anew, str):
        assert "11" * 32 not in anew, "a private key in an error"
        assert isinstance(device, str)
    else:
        assert device == anew


class TalkingDirectory(Directory):
    """A directory whose server gives one and the same answer to everything."""

    def __init__(self, message: dns.message.Message) -> None:
        super().__init__(ZONE, [SERVER])
        self._message = message

    async def _ask(self, _name: str, _rdtype: str) -> Answer:
        return Answer(SERVER, self._message)

    def record(self) -> PeerRecord | None:
        """What it makes of the answer."""
        return asyncio.run(self._peer(KEY))


@many_examples
@hypothesis.given(
    st.integers(0, 65535),
    st.ip_addresses(),
    st.lists(st.sampled_from(txt_strings(KEY, ["10.0.0.1/32"], "alice")) | texts, max_size=5),
    st.booleans(),
)
def test_a_servers_answer_is_an_endpoint_to_send_to_or_refused(port, address, strings, own_target):
    name = dns.name.from_text(instance_name(KEY, ZONE))
    message = dns.message.make_response(dns.message.make_query(name, "SRV"))
    target = name if own_target else dns.name.from_text("elsewhere.example.")
    rdtype = "A" if address.version == 4 else "AAAA"
    quoted = " ".join('"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"' for s in strings)
    message.answer.append(dns.rrset.from_text(name, 1, "IN", "SRV", f"0 0 {port} {target}"))
    message.additional.append(dns.rrset.from_text(target, 1, "IN", rdtype, str(address)))
    if strings:
        message.additional.append(dns.rrset.from_text(name, 1, "IN", "TXT", quoted))
    try:
        record = TalkingDirectory(message).record()
    except WgsdError:
        return
    assert record is not None
    assert record.endpoint == Endpoint.make(str(address), port)
