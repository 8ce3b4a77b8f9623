# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker: answers UDP and TCP from the versions it is handed, and never sees a device."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import logging
import selectors
import socket
import struct
import time
import typing as t

from ..config import ZoneSettings
from ..thirdparty import dns
from ..zone.answers import Context, Served, respond
from ..zone.records import CLASS_IN, RECORD_TYPES, build
from ..zone.version import Version
from . import frames
from .sockets import Listener

log = logging.getLogger(__name__)

#: Queries of one socket answered in a row before others get their turn.
BATCH = 32
#: Bytes of the largest datagram that is looked at: there is no larger query.
RECEIVE_BYTES = 4096
#: TCP connections at a time in one worker; one more closes the one that has been idle longest.
CONNECTIONS = 128
#: Seconds in which a connection must bring its next whole query (RFC 7766 section 6.2.3).
IDLE = 10.0
#: Bytes of unsent answers from which on no more queries of a connection are answered.
BACKLOG_BYTES = 1 << 16
#: Bytes read from a connection at a time.
STREAM_BYTES = 1 << 14
_TCP_LENGTH = struct.Struct("!H")


@dataclasses.dataclass(eq=False)
class Connection:
    """A TCP connection. Its deadline moves only when a whole query was answered."""

    socket: socket.socket
    context: Context
    deadline: float
    incoming: bytearray = dataclasses.field(default_factory=bytearray)
    outgoing: bytearray = dataclasses.field(default_factory=bytearray)
    no_more: bool = False


class Worker:
    """Serves until its supervisor closes the control socket."""

    def __init__(
        self,
        control: socket.socket,
        listeners: t.Sequence[Listener],
        zones: t.Iterable[ZoneSettings],
        versions: t.Iterable[Version] = (),
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a worker.

        Args:
            control: Brings newer versions; each is acknowledged with a byte once it is served.
            listeners: What to serve on.
            zones: What to be the authority for, even before a version has come.
            versions: What to serve from the start.
        """
        self._control = control
        self._monotonic = monotonic
        self._running = True
        self._stumbled = False
        self._handed = bytearray()
        self._served: dict[dns.name.Name, Served] = {}
        for zone in zones:
            origin = dns.name.from_text(zone.zone)
            networks = zone.allow_query
            self._served[origin] = Served(
                origin,
                None if networks is None else tuple(map(ipaddress.ip_network, networks)),
            )
        for version in versions:
            self._serve(version)
        # In the order of their deadlines, since each that moves becomes the last one.
        self._connections: dict[Connection, None] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, self._take_versions)
        for listener in listeners:
            self._on_readable(listener.udp, self._udp_handler(listener))
            self._on_readable(listener.tcp, self._tcp_handler(listener))

    def run(self) -> None:
        """Say that all is set up, with one byte, and serve until the control socket is closed."""
        self._control.sendall(b".")
        while self._running:
            for key, mask in self._selector.select(self._expire()):
                if isinstance(key.data, Connection):
                    self._progress(key.data, mask)
                else:
                    key.data()

    def _on_readable(self, sock: socket.socket, handler: t.Callable[[], object]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, handler)

    def _take_versions(self) -> None:
        chunk = self._control.recv(1 << 20)
        self._running = bool(chunk)
        self._handed += chunk
        while (encoded := frames.take(self._handed)) is not None:
            self._serve(Version.decode(encoded))
            self._control.sendall(b".")

    def _serve(self, version: Version) -> None:
        zone = None
        if version.content is not None:
            zone = build(version.zone, version.serial, version.content)
        origin = dns.name.from_text(version.zone)
        self._served[origin] = dataclasses.replace(self._served[origin], zone=zone)

    def _respond(self, query: bytes, context: Context) -> bytes | None:
        try:
            return respond(self._served, query, context)
        except Exception:
            # One query that finds a defect of ours must not end the service for all others.
            if not self._stumbled:
                log.exception("cannot answer the query %s; more of the kind are not told", query)
            self._stumbled = True
            return None

    def _udp_handler(self, listener: Listener) -> t.Callable[[], None]:
        def handle() -> None:
            for _time in range(BATCH):
                try:
                    query, source, local, ancillary = listener.receive(RECEIVE_BYTES)
                except OSError:
                    return
                response = self._respond(query, Context(_literal(source[0]), local))
                if response is not None:
                    listener.send(response, source, ancillary)

        return handle

    def _tcp_handler(self, listener: Listener) -> t.Callable[[], None]:
        def handle() -> None:
            try:
                accepted, source = listener.tcp.accept()
                local = accepted.getsockname()[0]
            except OSError:
                # Another worker was faster, or the client has given up already.
                return
            accepted.setblocking(False)
            context = Context(_literal(source[0]), _literal(local), tcp=True)
            if len(self._connections) >= CONNECTIONS:
                self._drop(next(iter(self._connections)))
            connection = Connection(accepted, context, self._monotonic() + IDLE)
            self._connections[connection] = None
            self._selector.register(accepted, selectors.EVENT_READ, connection)

        return handle

    def _progress(self, connection: Connection, mask: int) -> None:
        """Read, answer in the order of the queries (RFC 7766 section 6.2.1.1), and send."""
        if connection not in self._connections:
            return
        try:
            if mask & selectors.EVENT_READ:
                chunk = connection.socket.recv(STREAM_BYTES)
                connection.incoming += chunk
                connection.no_more = not chunk
            self._answer(connection)
            if connection.outgoing:
                del connection.outgoing[: connection.socket.send(connection.outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        if connection.outgoing or _query_end(connection.incoming):
            # Nothing more is read from a client that has not taken what it asked for.
            self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        elif connection.no_more:
            self._drop(connection)
        else:
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _answer(self, connection: Connection) -> None:
        for _time in range(BATCH):
            end = _query_end(connection.incoming)
            if not end or len(connection.outgoing) >= BACKLOG_BYTES:
                return
            query = bytes(connection.incoming[_TCP_LENGTH.size : end])
            del connection.incoming[:end]
            response = self._respond(query, connection.context)
            if response is not None:
                connection.outgoing += _TCP_LENGTH.pack(len(response)) + response
            connection.deadline = self._monotonic() + IDLE
            self._connections[connection] = self._connections.pop(connection)

    def _expire(self) -> float | None:
        """Drop the connections whose time is up and return the seconds until the next one's is."""
        now = self._monotonic()
        for connection in list(self._connections):
            if connection.deadline > now:
                return connection.deadline - now
            self._drop(connection)
        return None

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection]
        self._selector.unregister(connection.socket)
        with contextlib.suppress(OSError):
            connection.socket.close()


def load_record_types() -> None:
    """Load what dnspython loads at a type's first use: later its files may be out of reach.

    A worker has no rights, and the libraries may lie where root alone can read.
    """
    for rdtype in RECORD_TYPES:
        dns.rdata.get_rdata_class(CLASS_IN, rdtype)  # type: ignore[no-untyped-call]


def _query_end(incoming: bytearray) -> int:
    """Return where the first query ends, its length included; 0 if it is not all there yet."""
    if len(incoming) < _TCP_LENGTH.size:
        return 0
    end = _TCP_LENGTH.size + int(_TCP_LENGTH.unpack_from(incoming)[0])
    return end if end <= len(incoming) else 0


def _literal(address: str) -> str:
    """Return a socket's address without the scope that Python adds to link-local ones."""
    return address.partition("%")[0]
