# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backend remembers of its last read never shows: it reads what one without memory does."""

from __future__ import annotations

import dataclasses
import ipaddress
import pathlib
import socket
import struct
import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from wgsd.device import userspace, wire
from wgsd.device.memory import Counters, PeerMemory
from wgsd.device.netlink import attribute, attributes, nest
from wgsd.device.userspace import UserspaceBackend
from wgsd.errors import DeviceError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer

pytestmark = pytest.mark.unit

KEYS = [PublicKey(bytes([number]) * 32) for number in range(1, 6)]
BLOCKS = ["10.0.0.1/32", "10.0.1.0/24", "0.0.0.0/0", "fd00::1/128", "2001:db8::/32"]
ENDPOINTS = [
    None,
    Endpoint("192.0.2.1", 51820),
    Endpoint("2001:db8::1", 7),
    Endpoint("fe80::1", 7, 1),
]

peers = st.builds(
    Peer,
    public_key=st.sampled_from(KEYS),
    endpoint=st.sampled_from(ENDPOINTS),
    allowed_ips=st.lists(st.sampled_from(BLOCKS), unique=True).map(tuple),
    last_handshake=st.sampled_from([0.0, 1700000000.25]),
    rx_bytes=st.sampled_from([0, 148, 2**40]),
    tx_bytes=st.sampled_from([0, 92]),
    persistent_keepalive=st.sampled_from([0, 25]),
    preshared_key=st.sampled_from([None, bytes(range(32))]),
)
#: The peers of a device at one read, in the order in which it tells them.
states = st.lists(peers, unique_by=lambda peer: peer.public_key, max_size=len(KEYS))
histories = st.lists(states, min_size=2, max_size=6)
#: Bytes to overwrite, by their place.
damage = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3)


class Talking(UserspaceBackend):
    """A userspace device that replies what it is told to."""

    def __init__(self) -> None:
        self._connection = socket.socket()
        super().__init__("wg0", folder=pathlib.Path())

    def _connect(self) -> socket.socket:
        return self._connection

    def told(self, reply: bytes) -> Device:
        """Read *reply*."""
        self._connection, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(reply)
            theirs.shutdown(socket.SHUT_WR)
            return self.read()


def text(state: t.Iterable[Peer]) -> bytes:
    """Write *state* as wireguard-go does."""
    lines = ["listen_port=51820"]
    for peer in state:
        lines.append(f"public_key={peer.public_key.hex()}")
        lines.append(f"preshared_key={(peer.preshared_key or bytes(32)).hex()}")
        if peer.endpoint:
            lines.append(f"endpoint={peer.endpoint}")
        seconds = int(peer.last_handshake)
        lines.append(f"last_handshake_time_sec={seconds}")
        lines.append(f"last_handshake_time_nsec={int((peer.last_handshake - seconds) * 1e9)}")
        lines.append(f"tx_bytes={peer.tx_bytes}")
        lines.append(f"rx_bytes={peer.rx_bytes}")
        lines.append(f"persistent_keepalive_interval={peer.persistent_keepalive}")
        lines += [f"allowed_ip={block}" for block in peer.allowed_ips]
    return "\n".join([*lines, "errno=0", "", ""]).encode()


def sockaddr(endpoint: Endpoint) -> bytes:
    port = struct.pack(">H", endpoint.port)
    if not endpoint.is_ipv6:
        packed = socket.inet_pton(socket.AF_INET, endpoint.address)
        return struct.pack("=H", socket.AF_INET) + port + packed + bytes(8)
    packed = socket.inet_pton(socket.AF_INET6, endpoint.address)
    family = struct.pack("=H", socket.AF_INET6)
    return family + port + bytes(4) + packed + struct.pack("=I", endpoint.scope_id)


def allowed_ips(blocks: t.Iterable[str]) -> bytes:
    items = []
    for block in blocks:
        network = ipaddress.ip_network(block)
        address = attribute(2, network.network_address.packed)
        items.append(nest(0, [attribute(3, bytes([network.prefixlen])), address]))
    return nest(9, items)


def dump(state: t.Iterable[Peer], room: int) -> list[bytes]:
    """Write *state* as the kernel does, with *room* allowed IPs in each message."""
    messages: list[bytes] = []
    entries: list[bytes] = []
    left = room
    for peer in state:
        seconds = int(peer.last_handshake)
        nanoseconds = int((peer.last_handshake - seconds) * 1e9)
        parts = [
            attribute(2, peer.preshared_key or bytes(32)),
            attribute(6, struct.pack("=qq", seconds, nanoseconds)),
            attribute(5, struct.pack("=H", peer.persistent_keepalive)),
            attribute(8, struct.pack("=Q", peer.tx_bytes)),
            attribute(7, struct.pack("=Q", peer.rx_bytes)),
        ]
        if peer.endpoint:
            parts.append(attribute(4, sockaddr(peer.endpoint)))
        blocks = peer.allowed_ips
        while True:
            key = attribute(1, peer.public_key)
            entries.append(nest(0, [key, *parts, allowed_ips(blocks[:left])]))
            if len(blocks) <= left:
                left -= len(blocks)
                break
            messages.append(nest(8, entries))
            entries, parts, blocks, left = [], [], blocks[left:], room
    return [attribute(6, struct.pack("=H", 51820)), *messages, nest(8, entries)]


def read_dump(messages: t.Iterable[bytes], memory: PeerMemory) -> Device:
    snapshot = wire.Snapshot("wg0", memory)
    for message in messages:
        snapshot.add(message)
    return snapshot.device()


def check_kept(before: t.Mapping[PublicKey, Peer], after: t.Mapping[PublicKey, Peer]) -> None:
    """Check that what is equal in two reads, one after the other, is the same object."""
    for key in before.keys() & after.keys():
        old, new = before[key], after[key]
        assert (old is new) == (old == new)
        assert (old.endpoint is new.endpoint) == (old.endpoint == new.endpoint)
        assert (old.allowed_ips is new.allowed_ips) == (old.allowed_ips == new.allowed_ips)


def test_only_what_differs_is_parsed_and_only_the_last_read_is_kept() -> None:
    parsed = []

    def parse(description: bytes) -> Peer:
        parsed.append(description)
        return Peer(PublicKey(description[:1] * 32), rx_bytes=description[1])

    memory = PeerMemory(parse, lambda _description, _earlier: None)

    def read(*descriptions: bytes) -> list[bytes]:
        parsed.clear()
        memory.peers({description[:1] * 32: description for description in descriptions})
        return parsed

    assert read(b"a\0", b"b\0", b"c\0") == [b"a\0", b"b\0", b"c\0"]
    assert read(b"c\0", b"a\1") == [b"a\1"]
    assert read(b"c\0", b"b\0") == [b"b\0"]
    unchanged = memory.peers({b"c" * 32: b"c\0", b"b" * 32: b"b\0"})
    assert unchanged is memory.peers({b"b" * 32: b"b\0", b"c" * 32: b"c\0"})
    assert read(b"c\0") == []
    assert len(unchanged) == 2, "a snapshot that was handed out has changed"
    memory.forget()
    assert read(b"c\0") == [b"c\0"]


FULL = Peer(KEYS[0], ENDPOINTS[1], tuple(BLOCKS), 1700000000.25, 148, 92, 25, bytes(range(32)))
COUNTED = dataclasses.replace(FULL, last_handshake=1700000120.5, rx_bytes=2**40, tx_bytes=93)


def description(peer: Peer) -> bytes:
    """Return what a userspace device writes of *peer*."""
    return text([peer]).partition(b"public_key=")[2].removesuffix(b"\nerrno=0\n\n")


def entry(peer: Peer) -> bytes:
    """Return what the kernel writes of *peer*."""
    ((_kind, entries),) = attributes(dump([peer], len(BLOCKS))[-1])
    ((_index, found),) = attributes(entries)
    return found


@pytest.mark.parametrize(
    ("write", "counters"), [(description, userspace.counters), (entry, wire.counters)]
)
@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": KEYS[1]},
        {"preshared_key": None},
        {"persistent_keepalive": 26},
        {"endpoint": ENDPOINTS[2]},
        {"endpoint": None},
        {"allowed_ips": BLOCKS[1:]},
        {"allowed_ips": ()},
    ],
)
def test_counters_are_told_apart_from_every_other_change(
    write: t.Callable[[Peer], bytes],
    counters: t.Callable[[bytes, bytes], Counters | None],
    changes: dict[str, t.Any],
) -> None:
    assert counters(write(COUNTED), write(FULL)) == Counters(1700000120.5, 2**40, 93)
    assert counters(write(dataclasses.replace(COUNTED, **changes)), write(FULL)) is None
    assert counters(write(FULL)[:100], write(FULL)) is None


@hypothesis.given(histories)
def test_a_userspace_device_is_read_as_if_for_the_first_time(history: list[list[Peer]]) -> None:
    backend = Talking()
    before: t.Mapping[PublicKey, Peer] = {}
    for state in history:
        after = backend.told(text(state)).peers
        assert after == {peer.public_key: peer for peer in state}
        check_kept(before, after)
        before = after


@hypothesis.given(histories, st.data())
def test_a_kernels_dump_is_read_as_if_for_the_first_time(
    history: list[list[Peer]], data: st.DataObject
) -> None:
    memory = PeerMemory(wire.parse_peer, wire.counters)
    before: t.Mapping[PublicKey, Peer] = {}
    for state in history:
        # Where a peer is cut in two depends on what comes before it.
        room = data.draw(st.integers(1, 12))
        after = read_dump(dump(state, room), memory).peers
        assert after == {peer.public_key: peer for peer in state}
        check_kept(before, after)
        before = after


def outcome(read: t.Callable[[], Device], refusal: type[Exception]) -> Device | str:
    try:
        return read()
    except refusal as exc:
        return str(exc)


def damaged(raw: bytes, changes: t.Iterable[tuple[int, int]]) -> bytes:
    data = bytearray(raw)
    for place, value in changes:
        data[place % len(data)] = value
    return bytes(data)


@hypothesis.given(st.lists(st.tuples(states, damage), min_size=2, max_size=6))
def test_a_damaged_reply_means_the_same_with_and_without_memory(
    history: list[tuple[list[Peer], list[tuple[int, int]]]],
) -> None:
    backend = Talking()
    for state, changes in history:
        reply = damaged(text(state), changes)
        fresh = outcome(lambda reply=reply: Talking().told(reply), DeviceError)
        assert outcome(lambda reply=reply: backend.told(reply), DeviceError) == fresh


@hypothesis.given(st.lists(st.tuples(states, damage), min_size=2, max_size=6))
def test_a_damaged_dump_means_the_same_with_and_without_memory(
    history: list[tuple[list[Peer], list[tuple[int, int]]]],
) -> None:
    memory = PeerMemory(wire.parse_peer, wire.counters)
    for state, changes in history:
        messages = [damaged(message, changes) for message in dump(state, 3)]
        anew = PeerMemory(wire.parse_peer, wire.counters)
        fresh = outcome(lambda anew=anew, raw=messages: read_dump(raw, anew), ValueError)
        assert outcome(lambda raw=messages: read_dump(raw, memory), ValueError) == fresh
