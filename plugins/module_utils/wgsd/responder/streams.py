# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker's TCP connections: queries in a row, answers in their order, and limits (RFC 7766).

A zone transfer is many messages. Of all transfers only one message is made between two looks at
what has come meanwhile, and only for a client that has taken what was made before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import struct
import time
import typing as t

from ..zone.answers import Reply
from ..zone.served import Context
from .sockets import Listener
from .stats import TCP_ACCEPTED, TCP_EVICTED, TCP_IDLE, TCP_OPEN

#: Connections at a time; one more closes the one that has been idle longest.
CONNECTIONS = 128
#: The same, of one client.
CONNECTIONS_OF_CLIENT = 16
#: Seconds in which a connection must bring its next whole query (RFC 7766 section 6.2.3), or take
#: the next message of a zone transfer.
IDLE = 10.0
#: Queries of one connection answered in a row before others get their turn.
BATCH = 32
#: Bytes of unsent answers from which on no more queries of a connection are answered.
BACKLOG_BYTES = 1 << 16
#: Bytes read from a connection at a time.
STREAM_BYTES = 1 << 14
#: Bytes of a zone transfer that the kernel takes before they are sent. It would take megabytes, and
#: it would not be seen for long whether they arrive.
UNSENT_BYTES = 1 << 16
_TCP_NOTSENT_LOWAT = 25
_LENGTH = struct.Struct("!H")

#: Answers a query that came over a guarded listener, or not; None: silence.
Respond = t.Callable[[bytes, Context, bool], t.Optional[Reply]]


@dataclasses.dataclass(eq=False)
class Connection:
    """A TCP connection. Its deadline moves only when a whole query was answered, or more of a zone.

    Attributes:
        rest: The messages of a zone transfer that are still to come.
    """

    socket: socket.socket
    context: Context
    guarded: bool
    deadline: float
    incoming: bytearray = dataclasses.field(default_factory=bytearray)
    outgoing: bytearray = dataclasses.field(default_factory=bytearray)
    rest: t.Iterator[bytes] | None = None
    no_more: bool = False

    def next_query(self) -> int:
        """Return where the first query ends, its length included; 0 if it is not all there yet."""
        if len(self.incoming) < _LENGTH.size:
            return 0
        end = _LENGTH.size + int(_LENGTH.unpack_from(self.incoming)[0])
        return end if end <= len(self.incoming) else 0


class Streams:
    """All TCP connections of a worker; they share its epoll object."""

    def __init__(
        self,
        poll: select.epoll,
        respond: Respond,
        counts: list[int],
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._poll = poll
        self._respond = respond
        self._counts = counts
        self._monotonic = monotonic
        # In the order of their deadlines, since each that moves becomes the last one.
        self._connections: dict[Connection, None] = {}
        self._by_descriptor: dict[int, Connection] = {}
        #: Whose next message of a zone transfer is to be made, in the order of their turns.
        self._turns: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def accept(self, listener: Listener) -> None:
        """Take one connection, if there still is one, at the cost of an idle one if need be."""
        try:
            accepted, source = listener.tcp.accept()
            local = accepted.getsockname()[0]
        except OSError:
            # Another worker was faster, or the client has given up already.
            return
        accepted.setblocking(False)
        # Of a way that is not known nobody says that it is the tunnel.
        ingress = (listener.ingress_of(accepted) or 0) if listener.guarded else None
        context = Context(literal(source[0]), literal(local), True, ingress)
        if not self._make_room(context.source):
            accepted.close()
            return
        connection = Connection(accepted, context, listener.guarded, self._monotonic() + IDLE)
        self._connections[connection] = None
        self._by_descriptor[accepted.fileno()] = connection
        self._poll.register(accepted, select.EPOLLIN)
        self._counts[TCP_ACCEPTED] += 1
        self._counts[TCP_OPEN] = len(self._connections)

    def progress(self, descriptor: int, events: int) -> None:
        """Read, answer in the order of the queries (RFC 7766 section 6.2.1.1), and send."""
        connection = self._by_descriptor.get(descriptor)
        if connection is None:
            return
        try:
            if events & ~select.EPOLLOUT and not connection.no_more:
                chunk = connection.socket.recv(STREAM_BYTES)
                connection.incoming += chunk
                connection.no_more = not chunk
            self._answer(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        self._wait(connection)

    def advance(self) -> bool:
        """Make and send the next message of one zone transfer.

        Returns:
            Whether there are more to make at once.
        """
        if not self._turns:
            return False
        connection = next(iter(self._turns))
        del self._turns[connection]
        try:
            following = next(connection.rest or iter(()), None)
            if following is None:
                connection.rest = None
            else:
                self._enqueue(connection, following)
            self._answer(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return bool(self._turns)
        self._wait(connection)
        return bool(self._turns)

    def finish(self) -> None:
        """Take no more queries than have come by now. What is idle is closed, the rest soon is."""
        for connection in list(self._connections):
            try:
                while not connection.no_more and len(connection.incoming) < BACKLOG_BYTES:
                    chunk = connection.socket.recv(STREAM_BYTES)
                    connection.incoming += chunk
                    connection.no_more = not chunk
            except OSError:
                pass
            connection.no_more = True
            self.progress(connection.socket.fileno(), select.EPOLLOUT)

    def expire(self) -> float | None:
        """Drop the connections whose time is up and return the seconds until the next one's is."""
        now = self._monotonic()
        for connection in list(self._connections):
            if connection.deadline > now:
                return connection.deadline - now
            self._counts[TCP_IDLE] += 1
            self._drop(connection)
        return None

    def _answer(self, connection: Connection) -> None:
        incoming, outgoing = connection.incoming, connection.outgoing
        for _turn in range(BATCH):
            end = connection.next_query()
            if not end or len(outgoing) >= BACKLOG_BYTES or connection.rest:
                break
            query = bytes(incoming[_LENGTH.size : end])
            del incoming[:end]
            reply = self._respond(query, connection.context, connection.guarded)
            self._enqueue(connection, reply and reply.wire)
            if reply and reply.rest:
                connection.rest = reply.rest
                connection.socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if outgoing:
            del outgoing[: connection.socket.send(outgoing)]

    def _enqueue(self, connection: Connection, message: bytes | None) -> None:
        """Have a message sent, if there is one, and give the client more time."""
        if message is not None:
            connection.outgoing += _LENGTH.pack(len(message)) + message
        connection.deadline = self._monotonic() + IDLE
        self._connections[connection] = self._connections.pop(connection)

    def _wait(self, connection: Connection) -> None:
        """Wait for what has to happen next to a connection."""
        if connection.rest and not connection.outgoing:
            self._turns[connection] = None
            self._poll.modify(connection.socket, 0)
        elif connection.outgoing or connection.next_query():
            # Nothing more is read from a client that has not taken what it asked for.
            self._poll.modify(connection.socket, select.EPOLLOUT)
        elif connection.no_more:
            self._drop(connection)
        else:
            self._poll.modify(connection.socket, select.EPOLLIN)

    def _make_room(self, source: str) -> bool:
        """Have room for one more connection, or return False.

        None is closed while it gets a zone: its client would only begin anew.
        """
        candidates = [one for one in self._connections if one.context.source == source]
        if len(candidates) < CONNECTIONS_OF_CLIENT:
            candidates = list(self._connections)
            if len(candidates) < CONNECTIONS:
                return True
        victim = next((one for one in candidates if not one.rest), None)
        self._counts[TCP_EVICTED] += 1
        if victim:
            self._drop(victim)
        return victim is not None

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection]
        self._turns.pop(connection, None)
        del self._by_descriptor[connection.socket.fileno()]
        self._counts[TCP_OPEN] = len(self._connections)
        with contextlib.suppress(OSError):
            self._poll.unregister(connection.socket)
            connection.socket.close()


def literal(address: str) -> str:
    """Return a socket's address without the scope that Python adds to link-local ones."""
    return address.partition("%")[0]
