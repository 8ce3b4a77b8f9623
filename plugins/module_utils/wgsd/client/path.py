# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How packets to an address leave this host, and when that changes (rtnetlink, RFC 3549)."""

from __future__ import annotations

import fcntl
import itertools
import logging
import selectors
import socket
import struct
import time
import typing as t

from ..device.netlink import attribute, attributes, messages

log = logging.getLogger("wgsd.client")

#: Seconds from the first sign of a change until we ask: what belongs together comes together.
SETTLE = 0.01
#: The same at the most. While there is no end of signs, as on a host that starts containers, each
#: pause is twice the one before.
SETTLE_MAX = 0.1
#: Signs taken at once; what is left over waits for the next turn.
BATCH = 1024
#: Seconds that the kernel has for an answer, which it gives at once.
_TIMEOUT = 1.0

#: RTMGRP_LINK; IFADDR, ROUTE and RULE of IPv4; the same of IPv6.
_GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000
_NLM_F_REQUEST = 1
_RTM_NEWLINK = 16
_RTM_NEWROUTE = 24
_RTM_GETROUTE = 26
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PREFSRC = 7
_RTA_MARK = 16
_RTA_VIA = 18
_SIOCGIFNAME = 0x8910
_SIOCGIFFLAGS = 0x8913
#: IFF_UP and IFF_RUNNING: the interface is switched on and has a carrier.
_IFF_WORKS = 0x1 | 0x40

_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BB10x")
_ADDRESS_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}
_U32 = struct.Struct("=I")
#: The begin of a message about a link: type, index, flags.
_LINK_SIGN = struct.Struct("=4xH14xiI")
#: The struct ifreq: after the name there is an index, or flags.
_INTERFACE_INDEX = struct.Struct("=16xi20x")
_INTERFACE_FLAGS = struct.Struct("=16xH22x")
_ANSWER_BYTES = 1 << 14


class Path(t.NamedTuple):
    """How packets to an address leave this host.

    Attributes:
        interface: By its index: one that is made anew is another one.
        gateway: Empty where the address is on the link.
        source: The source address of a packet that has none yet.
    """

    interface: int
    gateway: str
    source: str

    def __str__(self) -> str:
        """Return it for people: ``from 192.0.2.7 by eth0 via 192.0.2.1``."""
        try:
            name = socket.if_indextoname(self.interface)
        except OSError:
            name = f"interface {self.interface}"
        via = f" via {self.gateway}" if self.gateway else ""
        return f"from {self.source or 'any address'} by {name}{via}"


class _Kernel:
    """Asks the kernel for paths.

    Raises:
        OSError: it does not let us.
    """

    def __init__(self) -> None:
        self._sequence = itertools.count(1)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(_TIMEOUT)

    def close(self) -> None:
        self._socket.close()

    def path(self, address: str, fwmark: int) -> Path | None:
        """Return how packets with this mark to *address* leave; None if they cannot."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        body = _ROUTE.pack(family, _ADDRESS_BITS[family])
        body += attribute(_RTA_DST, socket.inet_pton(family, address))
        body += attribute(_RTA_MARK, _U32.pack(fwmark))
        try:
            path = self._ask(body)
            return path if path and self._works(path.interface) else None
        except (OSError, ValueError):
            return None

    def _ask(self, body: bytes) -> Path | None:
        sequence = next(self._sequence)
        length = _HEADER.size + len(body)
        header = _HEADER.pack(length, _RTM_GETROUTE, _NLM_F_REQUEST, sequence, 0)
        self._socket.sendto(header + body, (0, 0))
        while True:
            for message in messages(self._socket.recv(_ANSWER_BYTES)):
                if message.sequence == sequence:
                    return _read(message.body) if message.type == _RTM_NEWROUTE else None

    def _works(self, interface: int) -> bool:
        # Not by rtnetlink, where we would wait for whoever is configuring interfaces just now.
        named = fcntl.ioctl(self._socket, _SIOCGIFNAME, _INTERFACE_INDEX.pack(interface))
        (flags,) = _INTERFACE_FLAGS.unpack(fcntl.ioctl(self._socket, _SIOCGIFFLAGS, named))
        return bool(flags & _IFF_WORKS == _IFF_WORKS)


def _read(route: bytes) -> Path | None:
    found = dict(attributes(route[_ROUTE.size :]))
    if _RTA_OIF not in found:
        return None
    (interface,) = _U32.unpack(found[_RTA_OIF])
    # RTA_VIA, an IPv6 gateway of an IPv4 route, begins with the family.
    gateway = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]
    return Path(interface, _spelled(gateway), _spelled(found.get(_RTA_PREFSRC, b"")))


def _spelled(packed: bytes) -> str:
    if not packed:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


class _Watched:
    """A watched address: its last path, and whether that has been lost since."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lost = path is None


class PathWatcher:
    """Tells when packets to certain addresses take another path, or have one again.

    The kernel tells of each change of links, addresses, routes and rules. It only makes us ask how
    the watched addresses are reached now: what does not concern them costs next to nothing.

    Attributes:
        due: Steady seconds at which `tick` is to be called; None if there is nothing to ask.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        clock: t.Callable[[], float] = time.monotonic,
        settle: float = SETTLE,
    ) -> None:
        """Listen. Where the kernel does not let us, which is logged, no path ever changes.

        Args:
            selector: Gets our socket. Its data is a function without arguments, to be called when
                the socket is ready.
            clock: Steady seconds.
            settle: Seconds from the first sign of a change until we ask.
        """
        self.due: float | None = None
        self._selector = selector
        self._clock = clock
        self._settle = self._settling = settle
        self._asked_at = clock()
        self._watched: dict[str, _Watched] = {}
        self._fwmark = 0
        self._moved = False
        self._kernel: _Kernel | None = None
        self._signs: socket.socket | None = None
        try:
            self._kernel = _Kernel()
            self._signs = _listen()
        except OSError as exc:
            log.warning("changes of this host's addresses and routes go unnoticed: %s", exc)
            self.close()
        else:
            self._attend()

    def watch(self, addresses: t.Iterable[str], fwmark: int) -> None:
        """Watch the paths to *addresses*, and no others.

        Args:
            addresses: IP addresses.
            fwmark: The mark of the packets, by which rules may send them elsewhere; 0 for none.
        """
        wanted = set(addresses)
        if fwmark != self._fwmark:
            self._fwmark = fwmark
            self._watched.clear()
        if self._kernel is None or wanted == self._watched.keys():
            return
        for address in self._watched.keys() - wanted:
            del self._watched[address]
        for address in wanted - self._watched.keys():
            self._watched[address] = _Watched(self._kernel.path(address, fwmark))

    def moved(self) -> bool:
        """Return whether a watched address has got another path since the last call.

        A path that is lost is no such thing; it is when there is one again, be it the same one.
        """
        moved, self._moved = self._moved, False
        return moved

    def tick(self) -> None:
        """Do what is due."""
        if self._kernel is None or self.due is None or self._clock() < self.due:
            return
        self.due = None
        self._asked_at = self._clock()
        self._read_signs()
        for address, watched in self._watched.items():
            path = self._kernel.path(address, self._fwmark)
            if path is None:
                watched.lost = True
                continue
            if watched.lost or path != watched.path:
                log.info("packets to %s leave %s now", address, path)
                self._moved = True
            watched.path, watched.lost = path, False
        self._attend()

    def close(self) -> None:
        """Close the sockets."""
        self.due = None
        if self._signs is not None:
            if self._signs in self._selector.get_map():
                self._selector.unregister(self._signs)
            self._signs.close()
        if self._kernel is not None:
            self._kernel.close()
        self._signs = self._kernel = None

    def _attend(self) -> None:
        if self._signs is not None:
            self._selector.register(self._signs, selectors.EVENT_READ, self._on_sign)

    def _on_sign(self) -> None:
        """Ask soon. What else comes until then stays unread: a burst wakes us once."""
        if self._signs is None:
            return
        self._selector.unregister(self._signs)
        now = self._clock()
        calm = now - self._asked_at > SETTLE_MAX
        self._settling = self._settle if calm else min(2 * self._settling, SETTLE_MAX)
        self.due = now + self._settling

    def _read_signs(self) -> None:
        """Take what the kernel has told; of a link that works no more the paths are lost.

        It may work again by now, but at the other end of the cable may be another network.
        """
        if self._signs is None:
            return
        for _number in range(BATCH):
            try:
                sign = self._signs.recv(_LINK_SIGN.size)
            except BlockingIOError:
                return
            except OSError as exc:
                # ENOBUFS: there was more than the socket could keep. We ask in any case.
                log.debug("rtnetlink: %s", exc)
                continue
            kind, index, flags = _LINK_SIGN.unpack(sign.ljust(_LINK_SIGN.size, b"\0"))
            if kind == _RTM_NEWLINK and flags & _IFF_WORKS != _IFF_WORKS:
                self._lose(index)

    def _lose(self, interface: int) -> None:
        for watched in self._watched.values():
            if watched.path is not None and watched.path.interface == interface:
                watched.lost = True


def _listen() -> socket.socket:
    signs = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        signs.setblocking(False)
        signs.bind((0, _GROUPS))
    except OSError:
        signs.close()
        raise
    return signs
