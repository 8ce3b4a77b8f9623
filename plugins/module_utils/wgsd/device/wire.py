# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard's netlink interface in bytes: changes to requests, dumps to a snapshot. No I/O.

The names are those of linux/wireguard.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import typing as t

from ..errors import UsageError
from ..keys import KEY_BYTES, PublicKey
from ..model import Device, Endpoint, Peer, PeerChange
from . import addresses
from .memory import Counters, PeerMemory
from .netlink import attribute, attributes, nest

FAMILY = "wireguard"
CMD_GET_DEVICE = 0
CMD_SET_DEVICE = 1
#: Bytes of one request. An attribute ends at 64 KiB and the socket's buffer not far above.
REQUEST_MAX = 32 * 1024

_DEVICE_IFNAME = 2
_DEVICE_PRIVATE_KEY = 3
_DEVICE_PUBLIC_KEY = 4
_DEVICE_LISTEN_PORT = 6
_DEVICE_FWMARK = 7
_DEVICE_PEERS = 8

_PEER_PUBLIC_KEY = 1
_PEER_PRESHARED_KEY = 2
_PEER_FLAGS = 3
_PEER_ENDPOINT = 4
_PEER_KEEPALIVE = 5
_PEER_LAST_HANDSHAKE = 6
_PEER_RX_BYTES = 7
_PEER_TX_BYTES = 8
_PEER_ALLOWED_IPS = 9

_F_REMOVE_ME = 0x1
_F_REPLACE_ALLOWED_IPS = 0x2
_F_UPDATE_ONLY = 0x4

_ALLOWED_IP_FAMILY = 1
_ALLOWED_IP_ADDRESS = 2
_ALLOWED_IP_LENGTH = 3

_U8 = struct.Struct("=B")
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_TIME = struct.Struct("=qq")
_PORT = struct.Struct(">H")
_NO_KEY = bytes(KEY_BYTES)
#: Where Linux puts an entry's key: it is the first attribute.
_KEY_HEADER = attribute(_PEER_PUBLIC_KEY, _NO_KEY)[:-KEY_BYTES]
_KEY_FIRST = slice(len(_KEY_HEADER), len(_KEY_HEADER) + KEY_BYTES)
#: How an entry of a dump starts: public and preshared key and the header of the handshake, the
#: handshake, keepalive and the header of the bytes sent, these, the bytes received.
_START = struct.Struct("=76sqq12sQ4sQ")
_START_HEADERS = tuple(
    attribute(kind, bytes(size))[:4]
    for kind, size in (
        (_PEER_PUBLIC_KEY, KEY_BYTES),
        (_PEER_PRESHARED_KEY, KEY_BYTES),
        (_PEER_LAST_HANDSHAKE, _TIME.size),
        (_PEER_KEEPALIVE, _U16.size),
        (_PEER_TX_BYTES, _U64.size),
        (_PEER_RX_BYTES, _U64.size),
    )
)
#: Bytes of the headers of a request that are not its entries'.
_ENVELOPE = 64
#: Allowed IPs in one entry of a peer: even of IPv6 (40 bytes each), half of a request.
_ALLOWED_IPS_PER_ENTRY = REQUEST_MAX // 2 // 40


class Request(t.NamedTuple):
    """The attributes of one WG_CMD_SET_DEVICE, and the peers that it is about."""

    attributes: bytes
    peers: tuple[PublicKey, ...]


def get_request(name: str) -> bytes:
    """Return the attributes of a request for the device *name*."""
    return attribute(_DEVICE_IFNAME, name.encode() + b"\0")


def device_request(
    name: str, private_key: bytes | None, listen_port: int | None, fwmark: int | None
) -> bytes:
    """Return the attributes of a request that changes the interface itself."""
    parts = [get_request(name)]
    if private_key is not None:
        parts.append(attribute(_DEVICE_PRIVATE_KEY, private_key))
    if listen_port is not None:
        parts.append(attribute(_DEVICE_LISTEN_PORT, _U16.pack(listen_port)))
    if fwmark is not None:
        parts.append(attribute(_DEVICE_FWMARK, _U32.pack(fwmark)))
    return b"".join(parts)


def change_requests(
    name: str, changes: t.Iterable[PeerChange], limit: int = REQUEST_MAX
) -> t.Iterator[Request]:
    """Pack *changes* into as few requests of at most *limit* bytes as their order allows.

    A fresh peer is removed and added in one request, with nothing between.
    """
    head = get_request(name)
    room = limit - len(head) - _ENVELOPE
    entries: list[bytes] = []
    peers: list[PublicKey] = []
    size = 0
    for change in changes:
        for group in _entries(change):
            if entries and size + len(group) > room:
                yield Request(head + nest(_DEVICE_PEERS, entries), tuple(peers))
                entries, peers, size = [], [], 0
            entries.append(group)
            if change.public_key not in peers[-1:]:
                peers.append(change.public_key)
            size += len(group)
    if entries:
        yield Request(head + nest(_DEVICE_PEERS, entries), tuple(peers))


def _entries(change: PeerChange) -> t.Iterator[bytes]:
    """Yield the entries of one peer; bytes that come together must stay together."""
    key = attribute(_PEER_PUBLIC_KEY, change.public_key)
    remove = _entry(key, _F_REMOVE_ME)
    if change.remove:
        yield remove
        return
    flags = 0 if change.create or change.fresh else _F_UPDATE_ONLY
    parts: list[bytes] = []
    if change.preshared_key is not None:
        parts.append(attribute(_PEER_PRESHARED_KEY, change.preshared_key))
    if change.endpoint is not None:
        parts.append(attribute(_PEER_ENDPOINT, _pack_endpoint(change.endpoint)))
    if change.persistent_keepalive is not None:
        parts.append(attribute(_PEER_KEEPALIVE, _U16.pack(change.persistent_keepalive)))
    blocks = change.allowed_ips or ()
    if change.allowed_ips is not None:
        flags |= _F_REPLACE_ALLOWED_IPS
        parts.append(_pack_allowed_ips(blocks[:_ALLOWED_IPS_PER_ENTRY]))
    yield (remove if change.fresh else b"") + _entry(key, flags, *parts)
    # The rest of a long list is added to what the first entry has set.
    for start in range(_ALLOWED_IPS_PER_ENTRY, len(blocks), _ALLOWED_IPS_PER_ENTRY):
        more = _pack_allowed_ips(blocks[start : start + _ALLOWED_IPS_PER_ENTRY])
        yield _entry(key, _F_UPDATE_ONLY, more)


def _entry(key: bytes, flags: int, *parts: bytes) -> bytes:
    return nest(0, (key, attribute(_PEER_FLAGS, _U32.pack(flags)), *parts))


def _pack_allowed_ips(blocks: t.Iterable[str]) -> bytes:
    return nest(_PEER_ALLOWED_IPS, map(_pack_allowed_ip, blocks))


def _pack_allowed_ip(block: str) -> bytes:
    network = ipaddress.ip_network(block)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    return nest(
        0,
        (
            attribute(_ALLOWED_IP_FAMILY, _U16.pack(family)),
            attribute(_ALLOWED_IP_ADDRESS, network.network_address.packed),
            attribute(_ALLOWED_IP_LENGTH, _U8.pack(network.prefixlen)),
        ),
    )


def _pack_endpoint(endpoint: Endpoint) -> bytes:
    """Lay out a sockaddr_in or sockaddr_in6: family and scope in the host's byte order."""
    port = _PORT.pack(endpoint.port)
    if not endpoint.is_ipv6:
        packed = socket.inet_pton(socket.AF_INET, endpoint.address)
        return _U16.pack(socket.AF_INET) + port + packed + bytes(8)
    packed = socket.inet_pton(socket.AF_INET6, endpoint.address)
    flow = bytes(4)
    return _U16.pack(socket.AF_INET6) + port + flow + packed + _U32.pack(endpoint.scope_id)


class Snapshot:
    """A device put together from the messages of one dump.

    The private key, which each dump holds, is skipped.

    Args:
        name: The device's name.
        memory: Knows the peers of the last dump; made with `parse_peer` and `counters`.
    """

    def __init__(self, name: str, memory: PeerMemory) -> None:
        self._name = name
        self._memory = memory
        self._public_key: PublicKey | None = None
        self._listen_port = 0
        self._fwmark = 0
        # The entries of each peer, by its key: one, as a rule.
        self._first: dict[bytes, bytes] = {}
        self._more: dict[bytes, list[bytes]] = {}

    def add(self, message: bytes) -> None:
        """Take the attributes of one message in.

        Raises:
            ValueError: they are not those of a WireGuard device.
        """
        try:
            for kind, value in attributes(message):
                if kind == _DEVICE_PEERS:
                    self._add_entries(value)
                elif kind == _DEVICE_PUBLIC_KEY:
                    self._public_key = PublicKey(value) if value != _NO_KEY else None
                elif kind == _DEVICE_LISTEN_PORT:
                    (self._listen_port,) = _U16.unpack(value)
                elif kind == _DEVICE_FWMARK:
                    (self._fwmark,) = _U32.unpack(value)
        except (struct.error, UsageError) as exc:
            raise _bad_length(exc) from None

    def _add_entries(self, entries: bytes) -> None:
        first = self._first
        for _index, entry in attributes(entries):
            key = entry[_KEY_FIRST]
            if entry[: _KEY_FIRST.start] != _KEY_HEADER:
                key = PublicKey(dict(attributes(entry)).get(_PEER_PUBLIC_KEY, b""))
            if key not in first:
                first[key] = entry
            else:
                # A peer that overflows a message comes again in the next with its other
                # allowed IPs.
                self._more.setdefault(key, []).append(entry)

    def device(self) -> Device:
        """Return what the messages told.

        Raises:
            ValueError: a peer's attributes are not those of a WireGuard peer.
        """
        for key, entries in self._more.items():
            self._first[key] = b"".join((self._first[key], *entries))
        self._more = {}
        return Device(
            name=self._name,
            public_key=self._public_key,
            listen_port=self._listen_port,
            fwmark=self._fwmark,
            peers=self._memory.peers(self._first),
        )


def parse_peer(entries: bytes) -> Peer:
    """Make a peer of its entry in a dump, or of several of its entries one after the other.

    Raises:
        ValueError: they are not those of a WireGuard peer.
    """
    values: dict[int, bytes] = {}
    blocks: list[str] = []
    try:
        for kind, value in attributes(entries):
            if kind == _PEER_ALLOWED_IPS:
                blocks += [_unpack_allowed_ip(item) for _index, item in attributes(value)]
            else:
                values[kind] = value
        endpoint = values.get(_PEER_ENDPOINT)
        preshared_key = values.get(_PEER_PRESHARED_KEY, _NO_KEY)
        seconds, nanoseconds = _TIME.unpack(values.get(_PEER_LAST_HANDSHAKE, bytes(_TIME.size)))
        return Peer(
            public_key=PublicKey(values.get(_PEER_PUBLIC_KEY, b"")),
            endpoint=None if endpoint is None else _unpack_endpoint(endpoint),
            allowed_ips=tuple(blocks),
            last_handshake=seconds + nanoseconds / 1e9,
            rx_bytes=_U64.unpack(values.get(_PEER_RX_BYTES, bytes(8)))[0],
            tx_bytes=_U64.unpack(values.get(_PEER_TX_BYTES, bytes(8)))[0],
            persistent_keepalive=_U16.unpack(values.get(_PEER_KEEPALIVE, bytes(2)))[0],
            preshared_key=preshared_key if preshared_key != _NO_KEY else None,
        )
    except (struct.error, UsageError) as exc:
        raise _bad_length(exc) from None


def counters(entries: bytes, earlier: bytes) -> Counters | None:
    """Return the counters of *entries* if they and *earlier* differ in nothing else.

    Only for entries that start as Linux lays them out, on processors that read unaligned numbers.
    """
    if min(len(entries), len(earlier)) < _START.size:
        return None
    keys, seconds, nanoseconds, keepalive, tx_bytes, rx_header, rx_bytes = _START.unpack_from(
        entries
    )
    headers = (keys[:4], keys[36:40], keys[72:], keepalive[:4], keepalive[8:], rx_header)
    old_keys, _seconds, _nanoseconds, old_keepalive, _tx, old_rx_header, _rx = _START.unpack_from(
        earlier
    )
    if (
        headers != _START_HEADERS
        or (keys, keepalive, rx_header) != (old_keys, old_keepalive, old_rx_header)
        or entries[_START.size :] != earlier[_START.size :]
    ):
        return None
    return Counters(seconds + nanoseconds / 1e9, rx_bytes, tx_bytes)


def _bad_length(exc: Exception) -> ValueError:
    return ValueError(f"an attribute has a wrong length: {exc}")


def _unpack_endpoint(sockaddr: bytes) -> Endpoint:
    (port,) = _PORT.unpack(sockaddr[2:4])
    if _U16.unpack(sockaddr[:2])[0] == socket.AF_INET:
        return addresses.endpoint(sockaddr[4:8], port)
    (scope_id,) = _U32.unpack(sockaddr[24:28])
    return addresses.endpoint(sockaddr[8:24], port, scope_id)


def _unpack_allowed_ip(item: bytes) -> str:
    values = dict(attributes(item))
    packed = values.get(_ALLOWED_IP_ADDRESS, b"")
    if len(packed) not in (4, 16):
        raise ValueError("an allowed IP has no address")
    return addresses.network(packed, _U8.unpack(values.get(_ALLOWED_IP_LENGTH, b""))[0])
