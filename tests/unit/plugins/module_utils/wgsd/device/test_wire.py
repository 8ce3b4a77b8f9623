# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard's netlink messages: what changes become, and what dumps are read as."""

from __future__ import annotations

import ipaddress
import socket
import struct
import typing as t

import pytest

from wgsd.device import wire
from wgsd.device.memory import PeerMemory
from wgsd.device.netlink import attribute, attributes, nest
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer, PeerChange

pytestmark = pytest.mark.unit

KEY = PublicKey(bytes(range(32)))
OTHER_KEY = PublicKey(bytes(range(1, 33)))
SECRET = bytes(range(100, 132))
REMOVE, REPLACE, UPDATE = 1, 2, 4

Entry = dict[int, bytes]


def entries(request: wire.Request) -> list[Entry]:
    """Return the peers of a request as the kernel would see them."""
    found = dict(attributes(request.attributes))
    assert found[2] == b"wg0\0"
    return [dict(attributes(entry)) for _kind, entry in attributes(found[8])]


def flags(entry: Entry) -> int:
    return int(struct.unpack("=I", entry[3])[0])


def only_entry(change: PeerChange) -> Entry:
    (request,) = wire.change_requests("wg0", [change])
    (entry,) = entries(request)
    assert entry[1] == change.public_key
    return entry


def blocks(entry: Entry) -> list[str]:
    found = []
    for _kind, item in attributes(entry[9]):
        values = dict(attributes(item))
        address = ipaddress.ip_address(values[2])
        assert struct.unpack("=H", values[1])[0] == (
            socket.AF_INET if address.version == 4 else socket.AF_INET6
        )
        found.append(f"{address}/{values[3][0]}")
    return found


def networks(count: int) -> tuple[str, ...]:
    return tuple(f"2001:db8:{i + 1:x}::/48" for i in range(count))


def test_an_endpoint_only_change_touches_nothing_else() -> None:
    entry = only_entry(PeerChange(KEY, Endpoint.make("192.0.2.1", 51820)))
    assert flags(entry) == UPDATE
    assert set(entry) == {1, 3, 4}
    family = struct.pack("=H", socket.AF_INET)
    assert entry[4] == family + b"\xca\x6c\xc0\x00\x02\x01" + bytes(8)


def test_a_link_local_endpoint_has_its_scope_in_the_hosts_byte_order() -> None:
    entry = only_entry(PeerChange(KEY, Endpoint.make("fe80::1", 7, 5)))
    address = socket.inet_pton(socket.AF_INET6, "fe80::1")
    family = struct.pack("=H", socket.AF_INET6)
    assert entry[4] == family + b"\0\7" + bytes(4) + address + struct.pack("=I", 5)


def test_allowed_ips_are_replaced_only_when_given() -> None:
    assert flags(only_entry(PeerChange(KEY, allowed_ips=()))) == UPDATE | REPLACE
    entry = only_entry(PeerChange(KEY, allowed_ips=("10.0.0.0/24", "fd00::/64"), create=True))
    assert flags(entry) == REPLACE
    assert blocks(entry) == ["10.0.0.0/24", "fd00::/64"]
    assert flags(only_entry(PeerChange(KEY, create=True))) == 0


def test_keepalive_and_preshared_key_are_sent_as_given() -> None:
    entry = only_entry(PeerChange(KEY, persistent_keepalive=25, preshared_key=SECRET))
    assert (entry[5], entry[2]) == (struct.pack("=H", 25), SECRET)


def test_a_removal_says_nothing_but_that() -> None:
    entry = only_entry(PeerChange(KEY, Endpoint.make("192.0.2.1", 7), remove=True))
    assert (set(entry), flags(entry)) == ({1, 3}, REMOVE)


def test_a_fresh_peer_is_removed_and_added_in_one_request() -> None:
    change = PeerChange(KEY, Endpoint.make("192.0.2.1", 7), 25, ("10.0.0.2/32",), fresh=True)
    (request,) = wire.change_requests("wg0", [change])
    removal, addition = entries(request)
    assert removal[1] == addition[1] == KEY
    assert flags(removal) == REMOVE
    assert flags(addition) == REPLACE
    assert set(addition) == {1, 3, 4, 5, 9}
    assert request.peers == (KEY,)


def test_many_changes_are_split_and_no_fresh_peer_with_them() -> None:
    changes = [
        PeerChange(
            PublicKey(number.to_bytes(32, "big")),
            Endpoint.make("192.0.2.1", 7),
            25,
            ("10.0.0.2/32",),
            fresh=True,
        )
        for number in range(1000)
    ]
    requests = list(wire.change_requests("wg0", changes))
    assert 1 < len(requests) < 10
    seen: list[bytes] = []
    for request in requests:
        assert len(request.attributes) <= wire.REQUEST_MAX
        pairs = entries(request)
        assert [flags(entry) for entry in pairs] == [REMOVE, REPLACE] * (len(pairs) // 2)
        assert [entry[1] for entry in pairs[::2]] == [entry[1] for entry in pairs[1::2]]
        assert [entry[1] for entry in pairs[::2]] == list(request.peers)
        seen += request.peers
    assert seen == [change.public_key for change in changes]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_long_list_of_allowed_ips_is_replaced_first_and_then_added_to(fresh: bool) -> None:
    wanted = networks(3000)
    change = PeerChange(KEY, allowed_ips=wanted, create=not fresh, fresh=fresh)
    after = PeerChange(OTHER_KEY, allowed_ips=("10.0.0.0/24",), create=True)
    requests = list(wire.change_requests("wg0", [change, after]))
    assert all(len(request.attributes) <= wire.REQUEST_MAX for request in requests)
    parts = [entry for request in requests for entry in entries(request)]
    if fresh:
        assert flags(parts.pop(0)) == REMOVE
    last = parts.pop()
    assert (last[1], blocks(last)) == (OTHER_KEY, ["10.0.0.0/24"])
    assert [flags(entry) for entry in parts] == [REPLACE] + [UPDATE] * (len(parts) - 1)
    assert tuple(block for entry in parts for block in blocks(entry)) == wanted
    assert requests[-1].peers == (KEY, OTHER_KEY)


def test_the_interface_itself_is_changed_only_where_asked() -> None:
    found = dict(attributes(wire.device_request("wg0", None, 51820, 0)))
    assert found == {2: b"wg0\0", 6: struct.pack("=H", 51820), 7: bytes(4)}
    assert dict(attributes(wire.device_request("wg0", SECRET, None, None)))[3] == SECRET


def sockaddr(address: str, port: int, scope_id: int = 0) -> bytes:
    if ":" not in address:
        packed = socket.inet_pton(socket.AF_INET, address)
        return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + packed + bytes(8)
    packed = socket.inet_pton(socket.AF_INET6, address)
    head = struct.pack("=H", socket.AF_INET6) + struct.pack(">H", port) + bytes(4)
    return head + packed + struct.pack("=I", scope_id)


def allowed(*wanted: str) -> bytes:
    items = []
    for block in wanted:
        network = ipaddress.ip_network(block)
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        items.append(
            nest(
                0,
                (
                    attribute(3, bytes([network.prefixlen])),
                    attribute(1, struct.pack("=H", family)),
                    attribute(2, network.network_address.packed),
                ),
            )
        )
    return nest(9, items)


def peer(key: bytes, *parts: bytes) -> bytes:
    return nest(0, (attribute(1, key), *parts))


FULL_PEER = (
    attribute(2, SECRET),
    attribute(4, sockaddr("192.0.2.1", 51820)),
    attribute(5, struct.pack("=H", 25)),
    attribute(6, struct.pack("=qq", 1700000000, 250000000)),
    attribute(7, struct.pack("=Q", 2**40)),
    attribute(8, struct.pack("=Q", 11)),
    attribute(10, struct.pack("=I", 1)),
)


def empty_snapshot() -> wire.Snapshot:
    return wire.Snapshot("wg0", PeerMemory(wire.parse_peer, wire.counters))


def read(*messages: bytes) -> t.Mapping[PublicKey, Peer]:
    snapshot = empty_snapshot()
    for message in messages:
        snapshot.add(message)
    return snapshot.device().peers


def test_a_dump_is_read_field_by_field() -> None:
    snapshot = empty_snapshot()
    snapshot.add(
        attribute(1, struct.pack("=I", 3))
        + attribute(2, b"wg0\0")
        + attribute(3, SECRET)
        + attribute(4, OTHER_KEY)
        + attribute(6, struct.pack("=H", 51820))
        + attribute(7, struct.pack("=I", 9))
        + nest(8, [peer(KEY, *FULL_PEER, allowed("10.0.0.0/24", "2001:db8::/32"))])
    )
    device = snapshot.device()
    assert (device.name, device.public_key) == ("wg0", OTHER_KEY)
    assert (device.listen_port, device.fwmark) == (51820, 9)
    assert device.peers == {
        KEY: Peer(
            KEY,
            Endpoint("192.0.2.1", 51820),
            ("10.0.0.0/24", "2001:db8::/32"),
            1700000000.25,
            2**40,
            11,
            25,
            SECRET,
        )
    }
    assert SECRET not in vars(snapshot).values()


def test_a_peer_that_spans_messages_is_one_peer() -> None:
    peers = read(
        nest(8, [peer(KEY, *FULL_PEER, allowed("10.0.0.0/24"))]),
        nest(8, [peer(KEY, allowed("10.0.1.0/24", "10.0.2.0/24")), peer(OTHER_KEY, *FULL_PEER)]),
    )
    assert list(peers) == [KEY, OTHER_KEY]
    assert peers[KEY].allowed_ips == ("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
    assert peers[KEY].endpoint == Endpoint("192.0.2.1", 51820)
    assert peers[KEY].preshared_key == SECRET
    assert peers[OTHER_KEY].allowed_ips == ()


def test_a_peers_key_may_come_after_its_other_attributes() -> None:
    entry = nest(0, [*FULL_PEER, allowed("10.0.0.0/24"), attribute(1, KEY)])
    assert read(nest(8, [entry])) == read(nest(8, [peer(KEY, *FULL_PEER, allowed("10.0.0.0/24"))]))


def test_a_peer_without_anything_has_empty_fields() -> None:
    zero_key = attribute(2, bytes(32))
    assert read(nest(8, [peer(KEY, zero_key)])) == {KEY: Peer(KEY)}


def test_a_device_without_a_key_has_none() -> None:
    snapshot = empty_snapshot()
    snapshot.add(attribute(4, bytes(32)))
    assert snapshot.device().public_key is None


@pytest.mark.parametrize(
    ("raw", "endpoint"),
    [
        (sockaddr("fe80::1", 7, 5), Endpoint("fe80::1", 7, 5)),
        (sockaddr("::ffff:192.0.2.1", 7), Endpoint("192.0.2.1", 7)),
        (sockaddr("::5:6", 7), Endpoint("::5:6", 7)),
    ],
)
def test_endpoints_come_in_one_spelling(raw: bytes, endpoint: Endpoint) -> None:
    assert read(nest(8, [peer(KEY, attribute(4, raw))]))[KEY].endpoint == endpoint


@pytest.mark.parametrize(
    "block", ["0.0.0.0/0", "::/0", "::ffff:192.0.2.0/120", "::192.0.2.0/120", "2001:db8:0:1::/64"]
)
def test_allowed_ips_are_spelled_as_the_ipaddress_module_does(block: str) -> None:
    canonical = str(ipaddress.ip_network(block))
    assert read(nest(8, [peer(KEY, allowed(block))]))[KEY].allowed_ips == (canonical,)


@pytest.mark.parametrize(
    "message",
    [
        nest(8, [nest(0, FULL_PEER)]),
        nest(8, [peer(bytes(31))]),
        nest(8, [peer(KEY, attribute(4, b"\2\0"))]),
        nest(8, [peer(KEY, attribute(4, b""))]),
        nest(8, [peer(KEY, attribute(5, b"\1"))]),
        nest(8, [peer(KEY, attribute(6, b"\1"))]),
        nest(8, [peer(KEY, nest(9, [nest(0, [attribute(2, b"\1\2\3")])]))]),
        nest(8, [peer(KEY, nest(9, [nest(0, [attribute(2, b"\1\2\3\4")])]))]),
        attribute(4, b"short"),
        attribute(6, b"\1\2\3"),
        attribute(8, b"\xff\xff\0\0"),
        b"\1",
    ],
)
def test_a_message_that_is_not_wireguards_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(message)
