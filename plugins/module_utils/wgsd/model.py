# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine knows of the world: endpoints, peers, device snapshots, directory records."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from .errors import UsageError
from .keys import PublicKey

PORT_MAX = 65535
#: WireGuard gives a session up 180 s after its handshake (REJECT_AFTER_TIME, protocol section 6.1).
REJECT_AFTER_TIME = 180.0
#: A label of a host name (RFC 1123 section 2.1).
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
#: The longest host name as text, without the dot at its end (RFC 1035 section 2.3.4).
HOST_NAME_MAX = 253
#: How canonical addresses begin that are loopback or link-local (RFC 6890).
_NEAR = re.compile(r"127\.|169\.254\.|::1$|fe[89ab][0-9a-f]:")


@dataclasses.dataclass(frozen=True, order=True)
class Endpoint:
    """A UDP address: literal IP address, port, and scope (interface index) if link-local."""

    address: str
    port: int
    scope_id: int = 0

    @classmethod
    def make(cls, address: str, port: int, scope_id: int = 0) -> Endpoint:
        """Check the parts and make an endpoint that packets can be sent to.

        Raises:
            UsageError: the address is not a unicast literal or the port is not 1..65535.
        """
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            raise UsageError(
                f"{address!r} is not an IP address", "give a literal IPv4 or IPv6 address"
            ) from None
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if ip.is_unspecified or ip.is_multicast or str(ip) == "255.255.255.255":
            raise UsageError(f"{address} is not an address that packets can be sent to")
        return cls(str(ip), _in_range(port), scope_id)

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Endpoint:
        """Parse ``192.0.2.1:51820`` or ``[2001:db8::1]:51820``.

        Args:
            text: The endpoint; with *default_port* the port may be left out, and then an IPv6
                address may stand without brackets.
            default_port: The port of an endpoint that names none.

        Raises:
            UsageError: *text* is not an endpoint.
        """
        address, port_text = _split_host_port(text.strip())
        if port_text is None:
            if default_port is None:
                raise UsageError(f"{text!r} has no port", "write it as ADDRESS:PORT")
            return cls.make(address, default_port)
        return cls.make(address, _number(text, port_text))

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is IPv6."""
        return ":" in self.address

    @property
    def is_near(self) -> bool:
        """Whether it means something on one host or one link only."""
        return is_near(self.address)

    @property
    def host(self) -> str:
        """The address with its scope (``fe80::1%2``) if it has one."""
        return f"{self.address}%{self.scope_id}" if self.scope_id else self.address

    def overlaps(self, other: Endpoint) -> bool:
        """Whether who is bound to the one keeps others from the other: ``0.0.0.0`` stands for all.

        IPv4 and IPv6 are apart, as they are for sockets with IPV6_V6ONLY.
        """
        if self.port != other.port or self.is_ipv6 != other.is_ipv6:
            return False
        return self.host == other.host or any(
            ipaddress.ip_address(one.address).is_unspecified for one in (self, other)
        )

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


@dataclasses.dataclass(frozen=True, order=True)
class HostPort:
    """A UDP port of a host whose address may change: the host is a name, or else an address.

    Attributes:
        host: As written if it is a name, canonical if it is an IPv4 or IPv6 address.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Parse ``registry.example.com:51820``, ``192.0.2.1:51820`` or ``[2001:db8::1]:51820``.

        Raises:
            UsageError: *text* is neither.
        """
        host, port_text = _split_host_port(text.strip())
        if _is_address(host):
            endpoint = Endpoint.parse(text)
            return cls(endpoint.address, endpoint.port)
        if not _is_host_name(host):
            raise UsageError(
                f"{host!r} is neither a host name nor an IP address",
                "write it as HOST:PORT, ADDRESS:PORT or [ADDRESS]:PORT",
            )
        if port_text is None:
            raise UsageError(f"{text!r} has no port", "write it as HOST:PORT")
        return cls(host, _in_range(_number(text, port_text)))

    @property
    def endpoint(self) -> Endpoint | None:
        """What it stands for without being resolved; None for a name."""
        return Endpoint(self.host, self.port) if _is_address(self.host) else None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_near(address: str) -> bool:
    """Whether a canonical address means something on one host or one link only."""
    return _NEAR.match(address) is not None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    name = text[:-1] if text.endswith(".") else text
    labels = name.split(".")
    # The last label of an address is a number, that of a name never is (RFC 1123 section 2.1).
    return (
        len(name) <= HOST_NAME_MAX
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
    )


def _number(text: str, port_text: str) -> int:
    if not (port_text.isascii() and port_text.isdigit()):
        raise UsageError(f"{text!r}: {port_text!r} is not a port number")
    return int(port_text)


def _in_range(port: int) -> int:
    if not 1 <= port <= PORT_MAX:
        raise UsageError(f"port {port} is out of range", f"give a port from 1 to {PORT_MAX}")
    return port


def _split_host_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"{text!r} is not an endpoint", "write IPv6 as [ADDRESS]:PORT")
        return address, rest[1:] if rest else None
    if text.count(":") == 1:
        address, _colon, port = text.partition(":")
        return address, port
    return text, None


def parse_network(text: str) -> str:
    """Return *text* as a canonical CIDR block (``10.0.0.1`` becomes ``10.0.0.1/32``).

    Raises:
        UsageError: not an address or block, or one with host bits set.
    """
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as exc:
        raise UsageError(
            f"{text!r} is not a network ({exc})", "write it as ADDRESS/LENGTH"
        ) from None


@dataclasses.dataclass(frozen=True)
class Peer:
    """One peer of a device as the device reports it.

    Attributes:
        last_handshake: Seconds since the epoch, 0.0 if there never was one.
        rx_bytes: Bytes received in all, as the device counts them.
        tx_bytes: Bytes sent in all.
        persistent_keepalive: Seconds between keepalives, 0 for none.
        preshared_key: 32 bytes, or None; never printed.
    """

    public_key: PublicKey
    endpoint: Endpoint | None = None
    allowed_ips: tuple[str, ...] = ()
    last_handshake: float = 0.0
    rx_bytes: int = 0
    tx_bytes: int = 0
    persistent_keepalive: int = 0
    preshared_key: bytes | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Device:
    """A snapshot of a WireGuard device, taken in one read.

    Attributes:
        public_key: None while the device has no private key.
        fwmark: 0 for none.
    """

    name: str
    public_key: PublicKey | None
    listen_port: int
    fwmark: int
    peers: t.Mapping[PublicKey, Peer]


@dataclasses.dataclass(frozen=True)
class PeerChange:
    """A change of one peer. A field that is None is left as the device has it.

    Attributes:
        remove: Remove the peer; the other fields are not used.
        fresh: Remove the peer and add it again in the same operation. Its session and its
            handshake timers go with it, so the device sends an initiation at once. The other
            fields must then describe the whole peer.
        create: Add the peer if the device does not have it; else such a change is ignored.
        preshared_key: 32 bytes; 32 zero bytes take the key away. Never printed.
    """

    public_key: PublicKey
    endpoint: Endpoint | None = None
    persistent_keepalive: int | None = None
    allowed_ips: tuple[str, ...] | None = None
    preshared_key: bytes | None = dataclasses.field(default=None, repr=False)
    remove: bool = False
    fresh: bool = False
    create: bool = False

    @classmethod
    def anew(cls, peer: Peer, endpoint: Endpoint | None, **changes: t.Any) -> PeerChange:
        """Make the change that removes *peer* and adds it again with all it has.

        Only for a peer without a session: its session would end. It is the only way to an
        initiation at once.

        Args:
            peer: As the device has it.
            endpoint: Its new endpoint; None for none at all.
            changes: Other fields that are to differ from what the device has.
        """
        whole: dict[str, t.Any] = {
            "allowed_ips": peer.allowed_ips,
            "persistent_keepalive": peer.persistent_keepalive,
            "preshared_key": peer.preshared_key,
            **changes,
        }
        return cls(peer.public_key, endpoint=endpoint, fresh=True, create=True, **whole)


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of the mesh as the zone names it, wherever it is and whether it is on or off.

    Attributes:
        allowed_ips: At least one.
        name: The friendly name, if the zone tells one.
    """

    public_key: PublicKey
    allowed_ips: tuple[str, ...]
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class PeerRecord:
    """One peer as the directory (the zone) describes it.

    Attributes:
        name: The friendly name, if the zone tells one.
    """

    public_key: PublicKey
    endpoint: Endpoint
    allowed_ips: tuple[str, ...] = ()
    name: str | None = None
