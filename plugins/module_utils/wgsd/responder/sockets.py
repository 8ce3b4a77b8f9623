# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder's sockets: bound before their addresses exist, aware of where a packet came in."""

from __future__ import annotations

import contextlib
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
_IP_FREEBIND = 15
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
_IPV6_FREEBIND = 78
_IN_PKTINFO = struct.Struct("=I4s4s")
_IN6_PKTINFO = struct.Struct("=16sI")
_ANCILLARY_BYTES = 128
_BACKLOG = 128


if t.TYPE_CHECKING:
    Ancillary = list[tuple[int, int, bytes]]


@dataclasses.dataclass(frozen=True)
class Listener:
    """The UDP and TCP sockets of one address; both do not block."""

    endpoint: Endpoint
    udp: socket.socket
    tcp: socket.socket

    @property
    def is_wildcard(self) -> bool:
        """Whether it listens on all addresses of its family."""
        return ipaddress.ip_address(self.endpoint.address).is_unspecified

    def receive(self, size: int) -> tuple[bytes, tuple[t.Any, ...], str, Ancillary]:
        """Take one datagram.

        Returns:
            The datagram, its source, the literal address that it came in on, and what to give to
            `send` so that the reply leaves from there.

        Raises:
            BlockingIOError: none is there.
        """
        if not self.is_wildcard:
            data, source = self.udp.recvfrom(size)
            return data, source, self.endpoint.address, []
        data, ancillary, _flags, source = self.udp.recvmsg(size, _ANCILLARY_BYTES)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                _index, _local, destination = _IN_PKTINFO.unpack(value)
                reply = _IN_PKTINFO.pack(0, destination, bytes(4))
                return data, source, str(ipaddress.IPv4Address(destination)), [(level, kind, reply)]
            if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
                destination, index = _IN6_PKTINFO.unpack(value)
                local = ipaddress.IPv6Address(destination)
                reply = _IN6_PKTINFO.pack(destination, index if local.is_link_local else 0)
                return data, source, str(local), [(level, kind, reply)]
        return data, source, self.endpoint.address, []

    def send(self, data: bytes, to: tuple[t.Any, ...], ancillary: Ancillary) -> None:
        """Send one datagram; one that cannot be sent is lost, as the network may lose it too."""
        with contextlib.suppress(OSError):
            self.udp.sendmsg([data], ancillary, 0, to)

    def close(self) -> None:
        """Close both sockets."""
        self.udp.close()
        self.tcp.close()


def listen(endpoint: Endpoint) -> Listener:
    """Bind *endpoint* for UDP and TCP. The address need not exist on this host yet.

    Raises:
        UsageError: the address is taken, or binding it is not allowed.
    """
    family = socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(family, kind)
            opened.append(sock)
            sock.setblocking(False)
            _set_options(sock, family, kind)
            sock.bind((endpoint.address, endpoint.port))
        opened[1].listen(_BACKLOG)
    except OSError as exc:
        for sock in opened:
            sock.close()
        remedies = {
            errno.EADDRINUSE: "stop the other server there (see 'ss -lnup') or change 'listen'",
            errno.EACCES: "run with CAP_NET_BIND_SERVICE or listen on a port above 1023",
        }
        raise UsageError(
            f"cannot listen on {endpoint}: {exc.strerror}", remedies.get(exc.errno or 0, "")
        ) from None
    return Listener(endpoint, opened[0], opened[1])


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
