# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder's sockets: bound before their addresses exist, aware of where a packet came in."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import ipaddress
import socket
import struct
import typing as t

from ..errors import UsageError
from ..model import Endpoint

# Linux's numbers; Python's socket module has only some of them, and those not in every version.
_IP_PKTINFO = 8
_IP_PKTOPTIONS = 9
_IP_FREEBIND = 15
_IPV6_2292PKTOPTIONS = 6
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
_IPV6_FREEBIND = 78
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_IN_PKTINFO = struct.Struct("=I4s4s")
_IN6_PKTINFO = struct.Struct("=16sI")
_MEMINFO = struct.Struct("=9I")
_MEMINFO_DROPS = 8
_CMSG_HEADER = struct.Struct("@Nii")
_ANCILLARY_BYTES = 128
_BACKLOG = 128
#: Bytes of the kernel's memory for queries that wait: some 5,000, a second of a busy registry.
_RECEIVE_BUFFER = 4 << 20

# A program for the kernel's socket filter (linux/filter.h): accept what came in by an interface.
_FILTER_STEP = struct.Struct("=HBBI")
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_INGRESS_INDEX = 0xFFFFF000 + 8
_WHOLE_PACKET = 0xFFFFFFFF


if t.TYPE_CHECKING:
    Ancillary = list[tuple[int, int, bytes]]


@dataclasses.dataclass(frozen=True)
class Listener:
    """The UDP and TCP sockets of one address; both do not block.

    Attributes:
        guarded: Whether who asks has to be checked for each query. If not, the kernel lets only
            such packets in as came by the device whose address this is; see `admit_only`.
    """

    endpoint: Endpoint
    udp: socket.socket
    tcp: socket.socket
    guarded: bool = True

    @property
    def descriptors(self) -> tuple[int, int]:
        """The descriptors of both sockets."""
        return self.udp.fileno(), self.tcp.fileno()

    def receive(self, size: int) -> tuple[bytes, tuple[t.Any, ...], str, int | None, Ancillary]:
        """Take one datagram.

        Returns:
            The datagram, its source, the literal address that it came in on, the index of the
            interface that it came in by, and what to give to `send` so that the reply leaves
            from that address.

        Raises:
            BlockingIOError: none is there.
        """
        data, ancillary, _flags, source = self.udp.recvmsg(size, _ANCILLARY_BYTES)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                index, _local, destination = _IN_PKTINFO.unpack(value)
                local = socket.inet_ntop(socket.AF_INET, destination)
                reply = _IN_PKTINFO.pack(0, destination, bytes(4))
                return data, source, local, index, [(level, kind, reply)]
            if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
                destination, index = _IN6_PKTINFO.unpack(value)
                address = ipaddress.IPv6Address(destination)
                reply = _IN6_PKTINFO.pack(destination, index if address.is_link_local else 0)
                return data, source, str(address), index, [(level, kind, reply)]
        return data, source, self.endpoint.address, None, []

    def send(self, data: bytes, to: tuple[t.Any, ...], ancillary: Ancillary) -> bool:
        """Send one datagram; one that cannot be sent is lost, as the network may lose it too.

        Returns:
            Whether the kernel took it.
        """
        try:
            self.udp.sendmsg([data], ancillary, 0, to)
        except OSError:
            return False
        return True

    def ingress_of(self, accepted: socket.socket) -> int | None:
        """Return the index of the interface that a TCP connection came in by, None if unknown."""
        options = (
            (socket.IPPROTO_IPV6, _IPV6_2292PKTOPTIONS, _IPV6_PKTINFO, _IN6_PKTINFO, 1)
            if self.endpoint.is_ipv6
            else (socket.IPPROTO_IP, _IP_PKTOPTIONS, _IP_PKTINFO, _IN_PKTINFO, 0)
        )
        level, option, kind, layout, field = options
        try:
            found = accepted.getsockopt(level, option, _ANCILLARY_BYTES)
        except OSError:
            return None
        if len(found) < _CMSG_HEADER.size + layout.size:
            return None
        if _CMSG_HEADER.unpack_from(found)[1:] != (level, kind):
            return None
        return int(layout.unpack_from(found, _CMSG_HEADER.size)[field])

    def admit_only(self, indexes: t.Collection[int]) -> None:
        """Let only packets in that came by one of these interfaces, of whichever process reads.

        Linux takes a packet for any of its addresses on any interface; what is meant for the
        tunnel must come through it.
        """
        for sock in (self.udp, self.tcp):
            _attach_filter(sock, sorted(indexes))

    def admit_all(self) -> None:
        """Undo `admit_only`."""
        for sock in (self.udp, self.tcp):
            with contextlib.suppress(OSError):  # There was no filter.
                sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def widen(self) -> None:
        """Let more queries wait than the system's limit allows, for who has CAP_NET_ADMIN."""
        with contextlib.suppress(OSError):
            self.udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)

    def drops(self) -> int:
        """Return how many datagrams the kernel threw away: for want of room, or by the filter."""
        found = self.udp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(found)[_MEMINFO_DROPS])

    def close(self) -> None:
        """Close both sockets."""
        self.udp.close()
        self.tcp.close()


def listen(endpoint: Endpoint) -> Listener:
    """Bind *endpoint* for UDP and TCP. The address need not exist on this host yet.

    Raises:
        UsageError: the address is taken, or binding it is not allowed.
    """
    udp = _bound(endpoint, socket.SOCK_DGRAM, "listen")
    try:
        return Listener(endpoint, udp, listen_tcp(endpoint))
    except UsageError:
        udp.close()
        raise


def listen_tcp(endpoint: Endpoint, field: str = "listen") -> socket.socket:
    """Return a TCP socket that listens on *endpoint*, as `listen` does.

    Args:
        field: Where the address stands in the configuration.
    """
    sock = _bound(endpoint, socket.SOCK_STREAM, field)
    sock.listen(_BACKLOG)
    return sock


def _bound(endpoint: Endpoint, kind: socket.SocketKind, field: str) -> socket.socket:
    family = socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        _set_options(sock, family, kind)
        sock.bind((endpoint.address, endpoint.port))
    except OSError as exc:
        sock.close()
        remedies = {
            errno.EADDRINUSE: f"stop the other server there (see 'ss -lntup') or change '{field}'",
            errno.EACCES: "run with CAP_NET_BIND_SERVICE or listen on a port above 1023",
        }
        raise UsageError(
            f"cannot listen on {endpoint}: {exc.strerror}", remedies.get(exc.errno or 0, "")
        ) from None
    return sock


def inherited(descriptors: t.Iterable[int]) -> dict[Endpoint, Listener]:
    """Make listeners of sockets that an earlier run of the responder has bound.

    What does not make a pair of UDP and TCP on one address is closed.
    """
    pairs: dict[Endpoint, dict[int, socket.socket]] = {}
    for descriptor in descriptors:
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError:
            continue  # It is no socket.
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            sock.close()
            continue
        sock.setblocking(False)
        address, port = sock.getsockname()[:2]
        endpoint = Endpoint(address.partition("%")[0], port)
        if pairs.setdefault(endpoint, {}).setdefault(sock.type, sock) is not sock:
            sock.close()
    found = {}
    for endpoint, pair in pairs.items():
        if len(pair) == 2:
            found[endpoint] = Listener(endpoint, pair[socket.SOCK_DGRAM], pair[socket.SOCK_STREAM])
        else:
            for sock in pair.values():
                sock.close()
    return found


def _set_options(sock: socket.socket, family: int, kind: int) -> None:
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    if kind == socket.SOCK_STREAM:
        # A restart must not wait for the last run's connections to be forgotten.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _attach_filter(sock: socket.socket, indexes: t.Sequence[int]) -> None:
    """Attach "load the ingress interface; accept if it is this one, or this one …; drop"."""
    steps = [(_LOAD_WORD, 0, 0, _INGRESS_INDEX)]
    for position, index in enumerate(indexes):
        steps.append((_JUMP_IF_EQUAL, len(indexes) - position, 0, index))
    steps += [(_RETURN, 0, 0, 0), (_RETURN, 0, 0, _WHOLE_PACKET)]
    program = ctypes.create_string_buffer(b"".join(_FILTER_STEP.pack(*step) for step in steps))
    described = struct.pack("@HP", len(steps), ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
