# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a peer hears us through the tunnel: its kernel refuses a datagram that nobody waits for.

A probe goes to the discard port (RFC 863) of the peer's tunnel address. Nobody listens there, so
the peer's kernel answers with an ICMP error, whether our client runs there or not. Linux refuses
six datagrams of one sender in a row and then one a second (``icmp_ratelimit``).
"""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import selectors
import socket
import struct
import typing as t

from ..keys import PublicKey
from ..model import Peer

log = logging.getLogger("wgsd.client")

PORT = 9
#: Seconds after which an answer no longer says how things are now.
LATE = 5.0
#: Answers taken at once; what is left over waits for the next turn.
BATCH = 64
#: How often a datagram is offered to the kernel: in place of sending it may report the errors that
#: earlier ones have met.
_OFFERS = 10
#: Bytes, for some thousand answers at once. As much as the kernel grants.
_RECEIVE_BUFFER = 1 << 21

_SO_RCVBUFFORCE = 33
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_ORIGIN_ICMP = 2
_ORIGIN_ICMP6 = 3
#: The struct sock_extended_err: its origin is all that matters.
_EXTENDED_ERROR = struct.Struct("=IB11x")
#: What comes after it, the structs sockaddr_in and sockaddr_in6: the address is all that matters.
_OFFENDERS = {
    socket.AF_INET: struct.Struct("=4x4s8x"),
    socket.AF_INET6: struct.Struct("=8x16s4x"),
}
_ANCILLARY_BYTES = socket.CMSG_SPACE(_EXTENDED_ERROR.size + 28)
_NUMBER = struct.Struct("!I")


class _Probe(t.NamedTuple):
    """A probe under way: when it was sent, and to which address (packed) of whom."""

    key: PublicKey
    address: bytes
    at: float


def address_of(peer: Peer) -> str | None:
    """Return the tunnel address of *peer*: the first of its allowed IPs that is one host's."""
    for block in peer.allowed_ips:
        address, _slash, length = block.partition("/")
        if length == ("128" if ":" in address else "32"):
            return address
    return None


class Prober:
    """Sends datagrams through the tunnel to where nobody listens, and hears that they are refused.

    Nothing here raises: a probe that cannot be sent is one that nobody answers.

    Attributes:
        sent: How many probes were sent.
        answered: How many of them were answered in time.
    """

    def __init__(
        self,
        interface: str,
        selector: selectors.BaseSelector,
        clock: t.Callable[[], float],
    ) -> None:
        """Prepare, without a socket.

        Args:
            interface: The WireGuard device. Probes leave by no other, and answers come by no other.
            selector: Gets our sockets. The data of each is a function without arguments, to be
                called when the socket is ready.
            clock: Steady seconds.
        """
        self.sent = 0
        self.answered = 0
        self._interface = interface
        self._selector = selector
        self._clock = clock
        #: The interface that the sockets are bound to; another may have its name by now.
        self._index = 0
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        #: Whom to send a probe as soon as there is room for it. An address is in it once.
        self._queues: dict[socket.AddressFamily, collections.OrderedDict[str, PublicKey]] = {
            family: collections.OrderedDict() for family in _OFFENDERS
        }
        #: By number, the oldest first.
        self._under_way: collections.OrderedDict[int, _Probe] = collections.OrderedDict()
        self._last_number = 0
        self._heard: dict[PublicKey, float] = {}

    def probe(self, peers: t.Iterable[Peer]) -> None:
        """Send one probe to each of *peers*; none to those without an address of their own.

        Of two peers with the same address it is the last one's. A peer without a session is sent a
        handshake initiation first, and the probe once there is a session.
        """
        self._forget_late()
        if not self._is_bound():
            return
        for peer in peers:
            address = address_of(peer)
            if address is not None:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                self._queues[family][address] = peer.public_key
        for family, queue in self._queues.items():
            if queue:
                self._send(family)

    @property
    def has_heard(self) -> bool:
        """Whether `heard` has something to tell."""
        return bool(self._heard)

    def heard(self) -> dict[PublicKey, float]:
        """Return who has answered since the last call, with the seconds from probe to answer.

        Kernels send back what they refuse, so an answer is known to be that to a certain probe. One
        that sends back no more than the header (RFC 792) is taken to mean the newest. The time is
        that until we looked, so it grows with what else the caller does.
        """
        heard, self._heard = self._heard, {}
        return heard

    def close(self) -> None:
        """Close the sockets; the next probe opens others."""
        for sock in self._sockets.values():
            self._selector.unregister(sock)
            sock.close()
        self._sockets.clear()
        for queue in self._queues.values():
            queue.clear()
        self._under_way.clear()
        self._index = 0

    def _is_bound(self) -> bool:
        """Let go of sockets of an interface that is no more; return whether there is one now."""
        try:
            index = socket.if_nametoindex(self._interface)
        except OSError:
            index = 0
        if index != self._index:
            self.close()
            self._index = index
        return index != 0

    def _send(self, family: socket.AddressFamily) -> None:
        """Send what waits, until the socket has no room for more."""
        queue = self._queues[family]
        try:
            sock = self._sockets.get(family) or self._open(family)
        except OSError as exc:
            log.debug("%s: cannot probe peers: %s", self._interface, exc)
            queue.clear()
            return
        for _number in range(min(BATCH, len(queue))):
            address, key = queue.popitem(last=False)
            try:
                self._send_one(sock, address, key)
            except BlockingIOError:
                queue[address] = key
                break
            except OSError as exc:
                log.debug("%s: cannot probe %s: %s", self._interface, address, exc)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if queue else 0)
        if self._selector.get_key(sock).events != events:
            self._selector.modify(sock, events, functools.partial(self._on_ready, family))

    def _send_one(self, sock: socket.socket, address: str, key: PublicKey) -> None:
        number = (self._last_number + 1) & 0xFFFFFFFF
        wire = _NUMBER.pack(number)
        at = self._clock()
        for offer in range(_OFFERS):
            try:
                sock.sendto(wire, (address, PORT))
                break
            except BlockingIOError:
                raise
            except OSError:
                if offer == _OFFERS - 1:
                    raise
        self.sent += 1
        self._last_number = number
        self._under_way[number] = _Probe(key, socket.inet_pton(sock.family, address), at)

    def _open(self, family: socket.AddressFamily) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            # Needs no right since Linux 5.7, CAP_NET_RAW before.
            name = self._interface.encode()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            with contextlib.suppress(OSError):  # it wants CAP_NET_ADMIN
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except OSError:
            sock.close()
            raise
        ready = functools.partial(self._on_ready, family)
        self._selector.register(sock, selectors.EVENT_READ, ready)
        self._sockets[family] = sock
        return sock

    def _on_ready(self, family: socket.AddressFamily) -> None:
        sock = self._sockets.get(family)
        if sock is None:
            return
        self._take_refusals(sock)
        self._take_datagrams(sock)
        if self._queues[family]:
            self._send(family)

    def _take_refusals(self, sock: socket.socket) -> None:
        for _number in range(BATCH):
            try:
                payload, ancillary, _flags, to = sock.recvmsg(
                    _NUMBER.size, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE
                )
            except OSError:
                return
            address = _packed(sock, to)
            if any(_offender(sock, data) == address for _level, _type, data in ancillary):
                self._take(address, payload)

    def _take_datagrams(self, sock: socket.socket) -> None:
        """Take answers of somebody who listens on the discard port after all."""
        for _number in range(BATCH):
            try:
                payload, source = sock.recvfrom(_NUMBER.size)
            except BlockingIOError:
                return
            except OSError:
                continue  # what a refusal left behind
            if source[1] == PORT:
                self._take(_packed(sock, source), payload)

    def _take(self, address: bytes, payload: bytes) -> None:
        """Take an answer from *address* that has this of the probe's datagram."""
        if len(payload) == _NUMBER.size:
            (number,) = _NUMBER.unpack(payload)
        else:
            newest_first = reversed(self._under_way.items())
            number = next((n for n, probe in newest_first if probe.address == address), 0)
        probe = self._under_way.get(number)
        if probe is None or probe.address != address:
            return
        del self._under_way[number]
        seconds = self._clock() - probe.at
        if seconds <= LATE:
            self.answered += 1
            self._heard[probe.key] = seconds

    def _forget_late(self) -> None:
        """Forget the probes whose answers would come too late."""
        now = self._clock()
        while self._under_way:
            number = next(iter(self._under_way))
            if now - self._under_way[number].at <= LATE:
                return
            del self._under_way[number]


def _packed(sock: socket.socket, address: tuple[t.Any, ...]) -> bytes:
    """Return the bytes of a socket address, without the scope of a link-local one."""
    return socket.inet_pton(sock.family, str(address[0]).partition("%")[0])


def _offender(sock: socket.socket, data: bytes) -> bytes | None:
    """Return who sent the ICMP error that *data* tells of; None if it came from our own kernel.

    What we cannot send is told in the same way: by the kernel as such, or by ICMP from ourselves
    where WireGuard has no endpoint for the peer. That is why it matters who sent it.
    """
    layout = _OFFENDERS[socket.AddressFamily(sock.family)]
    if len(data) < _EXTENDED_ERROR.size + layout.size:
        return None
    _errno, origin = _EXTENDED_ERROR.unpack_from(data)
    if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
        return None
    (address,) = layout.unpack_from(data, _EXTENDED_ERROR.size)
    return bytes(address)
