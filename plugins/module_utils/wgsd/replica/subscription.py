# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Following the zone at one server: the copy, when to ask for what is new, and NOTIFY."""

from __future__ import annotations

import logging
import selectors
import socket
import typing as t

from ..errors import ServerError
from ..model import Endpoint
from ..thirdparty import dns
from .contents import Contents
from .notice import read_notice
from .stream import Stream
from .transfer import NoTransferError, StartOverError, Transfer, UseTcpError

log = logging.getLogger("wgsd.client")

#: Seconds between two questions while no NOTIFY comes, at the most and at the least. Each tells the
#: server that we follow it, and us that it is there.
POLL_INTERVAL = 30.0
POLL_SHORTEST = 5.0
#: Questions a second of all clients of a mesh in between: each counts its peers for the others.
POLL_LOAD = 33
#: A pause is longer or shorter by up to this part, so that clients that started together drift
#: apart.
JITTER = 0.2
#: Seconds between two questions at the least, however many NOTIFYs come.
POLL_FLOOR = 0.05
#: Seconds to wait for an answer over UDP.
UDP_PATIENCE = 1.0
#: Seconds to wait for the next piece of a transfer over TCP.
TCP_PATIENCE = 5.0
#: Failures in a row after which the copy no longer counts: packets get lost, three seldom.
FAILURES_MAX = 3
#: Longest pause in seconds while the server is out of reach; shorter ones lead to it.
FAULT_PAUSE = 30.0
#: Seconds until a server is asked again that does not transfer the zone.
REFUSED_PAUSE = 600.0
#: Seconds for which what the server has just said needs no hurry to be asked again.
FRESH = 5.0
#: Seconds by which a NOTIFY may come later than we found its version by asking.
NOTICE_GRACE = 5.0
#: Datagrams taken at once; what is left over waits for the next turn.
BATCH = 64
DATAGRAM_MAX = 65535


class Subscription:
    """Follows a zone at one server.

    It asks for differences over UDP (RFC 1995) from the socket on which it listens for NOTIFY
    (RFC 1996): a server that notifies whoever has asked lately finds us there. The whole zone,
    and a difference that fits no datagram, come over TCP.

    Attributes:
        server: Whom it follows.
        contents: The copy; None while there is none.
        serial: The version of the copy.
        live: Whether the server has vouched for the copy lately.
        notified_at: Monotonic seconds of the last NOTIFY; None if there was none.
        silent: Whether what it was asked last has stayed without an answer of use.
        settled: Whether it has turned out by now if the server can be followed.
        due: Monotonic seconds at which `tick` is to be called next.
    """

    def __init__(
        self,
        zone: str,
        server: Endpoint,
        key: dns.tsig.Key | None,
        selector: selectors.BaseSelector,
        clock: t.Callable[[], float],
        jitter: t.Callable[[], float],
    ) -> None:
        """Prepare, without a packet.

        Args:
            zone: Absolute.
            key: What to sign with; what comes must then be signed as well (RFC 8945).
            selector: Gets our sockets. The data of each is a function without arguments, to be
                called when the socket is ready.
            clock: Monotonic seconds.
            jitter: Random numbers from 0 to 1.
        """
        self.contents: Contents | None = None
        self.serial: int | None = None
        self.live = False
        self.silent = False
        self.settled = False
        self.due = clock()
        self._zone = zone
        self._origin = dns.name.from_text(zone)
        self.server = server
        self._key = key
        self._selector = selector
        self._clock = clock
        self._jitter = jitter
        self._socket: socket.socket | None = None
        #: What was asked over UDP, or is under way over TCP; never both.
        self._question: Transfer | None = None
        self._stream: Stream | None = None
        #: What a transfer of the whole zone goes to, beside the copy that is still in use.
        self._filling: Contents | None = None
        self._refused = False
        self._failures = 0
        #: Whether only the whole zone helps, and how often that was so without a difference since.
        self._starts_over = False
        self._restarts = 0
        self._asked_at = self._confirmed_at = self.due - FRESH
        #: When a NOTIFY came, and when we found a version that none had announced.
        self.notified_at: float | None = None
        self._found_at: float | None = None
        self._announced = False
        #: Whether a NOTIFY came while something was under way.
        self._again = False

    @property
    def notified(self) -> bool:
        """Whether we can rely on NOTIFY: one has come, and no version without one since."""
        if self.notified_at is None:
            return False
        if self._found_at is None or self.notified_at >= self._found_at:
            return True
        return self._clock() - self._found_at < NOTICE_GRACE

    def tick(self) -> None:
        """Do what is due."""
        if self._clock() < self.due:
            return
        if self._question is not None:
            self._fail(f"no answer within {UDP_PATIENCE:g} s")
        elif self._stream is not None and self._stream.has_message:
            self._on_stream()
        elif self._stream is not None:
            self._fail(f"nothing came over TCP for {TCP_PATIENCE:g} s")
        elif self.contents is None or self._starts_over:
            self._transfer(None)
        else:
            self._ask(self.contents)

    def poll(self) -> None:
        """Ask whether there is a newer version, as soon as it is decent."""
        if self._question is not None or self._stream is not None:
            self._again = True
        elif self.live and not self._starts_over:
            self.due = min(self.due, max(self._clock(), self._asked_at + POLL_FLOOR))

    def hurry(self) -> None:
        """Take it that the way to the server has just opened: what was sent before may be lost."""
        fresh = self.live and self._clock() - self._confirmed_at < FRESH
        flowing = self._stream is not None and self._stream.received
        if fresh or flowing or self._refused:
            return
        self._drop()
        self.settled = False
        self._failures = 0
        self.due = self._clock()

    def close(self) -> None:
        """Close the sockets."""
        self._drop()
        self._close_socket()

    def _ask(self, contents: Contents) -> None:
        """Ask over UDP for what is new."""
        self._begin(UDP_PATIENCE)
        self._question = Transfer(contents.zone, self._key, over_udp=True)
        try:
            if self._socket is None:
                self._socket = self._open()
            self._socket.sendto(self._question.wire, (self.server.host, self.server.port))
        except OSError as exc:
            self._fail(str(exc))

    def _transfer(self, contents: Contents | None) -> None:
        """Ask over TCP for what is new since *contents*, or for all."""
        self._begin(TCP_PATIENCE)
        if contents is None:
            contents = self._filling = Contents(self._zone)
        transfer = Transfer(contents.zone, self._key)
        try:
            self._stream = Stream(self.server, transfer, self._selector, self._on_stream)
        except OSError as exc:
            self._fail(str(exc))

    def _begin(self, patience: float) -> None:
        self._drop()
        self._again = False
        self._asked_at = self._clock()
        self.due = self._asked_at + patience

    def _open(self) -> socket.socket:
        """Return a socket at the address from which packets to the server leave.

        For a registry in the tunnel that is the own tunnel address: nothing else reaches it.
        """
        family = socket.AF_INET6 if self.server.is_ipv6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((self.server.host, self.server.port))
            address, _port, *scope = probe.getsockname()
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.bind((address, 0, *scope))
        except OSError:
            sock.close()
            raise
        self._selector.register(sock, selectors.EVENT_READ, self._on_datagrams)
        return sock

    def _on_datagrams(self) -> None:
        for _number in range(BATCH):
            if self._socket is None:
                return
            try:
                wire, source = self._socket.recvfrom(DATAGRAM_MAX)
            except BlockingIOError:
                return
            except OSError as exc:
                self._fail(str(exc))
                return
            if source[0].partition("%")[0] != self.server.address:
                continue
            if self._question is None or not self._question.answers(wire):
                self._on_notice(self._socket, wire, source)
            elif source[1] == self.server.port:
                self._advance(self._question, wire)

    def _on_notice(self, sock: socket.socket, wire: bytes, source: t.Any) -> None:
        try:
            notice = read_notice(wire, self._origin, self._key)
        except ValueError as exc:
            log.debug("%s: ignored a datagram: %s", self.server, exc)
            return
        try:
            sock.sendto(notice.reply, source)
        except OSError as exc:
            log.debug("%s: its NOTIFY stays without an answer: %s", self.server, exc)
        self.notified_at = self._clock()
        if notice.serial is None or notice.serial != self.serial:
            self._announced = True
            self.poll()

    def _on_stream(self) -> None:
        """Take one message at most: others have their turn before the next."""
        stream = self._stream
        if stream is None:
            return
        try:
            stream.ready()
            wire = stream.next_message()
        except OSError as exc:
            self._fail(str(exc))
            return
        if wire is not None:
            self._advance(stream.transfer, wire)
        if self._stream is stream:
            self.due = self._clock() + (0.0 if stream.has_message else TCP_PATIENCE)

    def _advance(self, transfer: Transfer, wire: bytes) -> None:
        """Take a message of the answer."""
        try:
            if transfer.feed(wire):
                self._confirm()
        except UseTcpError:
            self._transfer(self.contents)
        except StartOverError as exc:
            self._start_over(exc.message)
        except NoTransferError as exc:
            self._refuse(exc.message)
        except ServerError as exc:
            self._fail(str(exc))

    def _start_over(self, reason: str) -> None:
        """Have the whole zone transferred, at once if that is not becoming a habit."""
        log.info("%s: transferring the whole zone: %s", self.server, reason)
        self._drop()
        self._starts_over = True
        pause = self._spread(min(2.0 ** min(self._restarts, 10), FAULT_PAUSE))
        self.due = self._clock() + (pause if self._restarts else 0.0)
        self._restarts += 1

    def _confirm(self) -> None:
        """Note that the server has brought the copy up to date, or said that it is."""
        subscribed = self._question is not None
        contents = self._filling or self.contents
        if contents is None:
            return
        if self._filling is None:
            self._restarts = 0
        self._starts_over = False
        self._drop()
        now = self._clock()
        if contents.serial != self.serial:
            if self.serial is not None and not self._announced:
                self._found_at = now
            self._announced = False
        self.contents, self.serial = contents, contents.serial
        if not self.live:
            log.info("%s: following the zone, from serial %s on", self.server, self.serial)
        self.live = self.settled = True
        self.silent = False
        self._refused, self._failures = False, 0
        self._confirmed_at = now
        if subscribed and not self._again:
            pause = min(max(contents.size / POLL_LOAD, POLL_SHORTEST), POLL_INTERVAL)
            self.due = now + self._spread(pause)
        else:
            # Over TCP nobody learns where we listen, and the version may have changed meanwhile.
            self.due = max(now, self._asked_at + POLL_FLOOR)

    def _refuse(self, reason: str) -> None:
        """Do without this server's zone for long."""
        self._drop()
        self._close_socket()
        if not self._refused:
            log.info("%s: looking up each peer by itself, since %s", self.server, reason)
        self.contents = self.serial = None
        self.live, self.settled, self._refused = False, True, True
        self.silent = False
        self._failures = 0
        self.due = self._clock() + self._spread(REFUSED_PAUSE)

    def _fail(self, reason: str) -> None:
        """Try again, at first at once and from another socket; the address may be another now."""
        self._drop()
        self._close_socket()
        self.settled = self.silent = True
        self._failures += 1
        over = self._failures - FAILURES_MAX
        if over == 0:
            log.info("%s: not following the zone: %s", self.server, reason)
            self.live = False
        pause = 0.0 if over < 0 else self._spread(min(2.0 ** min(over, 10), FAULT_PAUSE))
        self.due = max(self._clock() + pause, self._asked_at + POLL_FLOOR)

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + JITTER * (2 * self._jitter() - 1))

    def _drop(self) -> None:
        """Give up what is under way."""
        if self._question is not None:
            self._question.abort()
        if self._stream is not None:
            self._stream.close()
        self._question = self._stream = self._filling = None

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
