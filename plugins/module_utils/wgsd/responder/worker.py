# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker: answers UDP and TCP from the zones it is handed, and never sees a device."""

from __future__ import annotations

import contextlib
import functools
import logging
import select
import socket
import time
import typing as t

from ..config import DNS_PORT, ResponderSettings
from ..thirdparty import dns
from ..zone.answers import NOTAUTH, Authority, Reply
from ..zone.catalog import Catalog
from ..zone.history import History
from ..zone.message import HEADER, TYPE_CLASS, after_name, lowered, truncated
from ..zone.prepared import Shelf, View
from ..zone.records import CLASS_IN, RECORD_TYPES, build
from ..zone.served import LOOPBACK, Context
from ..zone.version import Chain, Content, Delta
from . import frames, stats
from .batches import BATCH, SLOT, Batch
from .limits import Limiter, Verdict
from .sockets import Listener
from .streams import Streams, literal
from .telling import Teller

log = logging.getLogger(__name__)

#: Bytes read from the control socket at a time.
CONTROL_BYTES = 1 << 20
#: Seconds between two publications of the counts.
PUBLISH_PERIOD = 0.25
#: Seconds in which established connections get their last answers.
FINISH = 2.0
#: Clients of which it is kept how they are to be treated.
CLIENTS = 4096
_TC = 0x02
#: How an OPT record starts: with the root and its type.
_OPT_START = b"\0\0\x29"

Handler = t.Callable[[], None]


class Worker:
    """Serves until its supervisor closes the control socket."""

    def __init__(
        self,
        control: socket.socket,
        listeners: t.Sequence[Listener],
        settings: ResponderSettings,
        chains: t.Iterable[Chain],
        recorder: stats.Recorder,
        cookie_secret: bytes,
        tell_follower: socket.socket | None = None,
        catalog: Catalog | None = None,
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a worker.

        Args:
            control: Brings deltas; each message is acknowledged with a byte once it is served.
            listeners: What to serve on.
            chains: What to serve from the start.
            recorder: What to count with.
            cookie_secret: 16 bytes that all workers share.
            tell_follower: Where to say who follows a zone, as `followers.decode` reads it.
            catalog: To serve as well, if the settings have one.
            monotonic: Seconds.
        """
        self._control = control
        self._teller = Teller(tell_follower, monotonic)
        self._monotonic = monotonic
        self._running = True
        self._handed = bytearray()
        self._stumbled = False
        self._recorder = recorder
        self._counts = recorder.counts
        self._publish_due = 0.0
        self._unpublished = False
        self._devices = {zone.device for zone in settings.zones}
        self._limiter = Limiter(settings.rate_limit, monotonic)
        self._clients: dict[Context, tuple[View | None, bool]] = {}
        self._authority = Authority(settings, cookie_secret)
        self._shelf = Shelf(
            [lowered(origin) for origin in self._authority.zones],
            lambda local: {lowered(origin) for origin in self._authority.open_zones(local)},
            functools.partial(stats.slot, fast=True),
        )
        if catalog:
            self._authority.serve_catalog(catalog)
        self._histories: dict[str, History] = {}
        for chain in chains:
            self._histories[chain.newest.zone] = History.of(chain)
            self._serve(chain.newest.whole())
        self._poll = select.epoll()
        self._streams = Streams(self._poll, self._respond_to_stream, self._counts, monotonic)
        self._handlers: dict[int, Handler] = {}
        self._listen(control, select.EPOLLIN, self._take_deltas)
        # Of all workers that wait for a socket only one is woken.
        once = select.EPOLLIN | select.EPOLLEXCLUSIVE
        for listener in listeners:
            drain = self._drain_guarded if listener.guarded else self._drain_open
            self._listen(listener.udp, once, drain(listener))
            self._listen(listener.tcp, once, functools.partial(self._streams.accept, listener))

    def run(self) -> None:
        """Say that all is set up, with one byte, and serve until the control socket is closed."""
        self._control.sendall(b".")
        patience: float | None = None
        while self._running:
            events = self._poll.poll(patience)
            for descriptor, mask in events:
                handler = self._handlers.get(descriptor)
                if handler is None:
                    self._streams.progress(descriptor, mask)
                else:
                    handler()
            hurry = self._streams.advance()
            patience = self._tidy(bool(events))
            if hurry:
                patience = 0.0
        self._finish()
        self._recorder.publish()
        self._poll.close()

    def _listen(self, sock: socket.socket, events: int, handler: Handler) -> None:
        self._poll.register(sock, events)
        self._handlers[sock.fileno()] = handler

    def _tidy(self, busy: bool) -> float | None:
        """Do what has to be done from time to time and return the seconds until then."""
        now = self._monotonic()
        self._unpublished = self._unpublished or busy
        if self._unpublished and now >= self._publish_due:
            self._recorder.publish()
            self._unpublished = False
            self._publish_due = now + PUBLISH_PERIOD
            # Interfaces come and go, and with them who is inside.
            self._clients.clear()
        waits = [self._publish_due - now] if self._unpublished else []
        deadline = self._streams.expire()
        return min(waits + ([] if deadline is None else [deadline]), default=None)

    def _finish(self) -> None:
        """Leave new queries to others and answer what has come over TCP already."""
        for descriptor in self._handlers:
            self._poll.unregister(descriptor)
        self._streams.finish()
        end = self._monotonic() + FINISH
        hurry = self._streams.advance()
        while self._streams and (left := end - self._monotonic()) > 0:
            for descriptor, mask in self._poll.poll(0.0 if hurry else left):
                self._streams.progress(descriptor, mask)
            hurry = self._streams.advance()

    def _take_deltas(self) -> None:
        # Whether a supervisor has closed the socket or has died comes to the same.
        with contextlib.suppress(ConnectionError):
            chunk = self._control.recv(CONTROL_BYTES)
            self._handed += chunk
            while (encoded := frames.take(self._handed)) is not None:
                # There are messages without content, to see whether we still work.
                if encoded:
                    self._step(Delta.decode(encoded))
                self._control.sendall(b".")
            if chunk:
                return
        self._running = False

    def _step(self, delta: Delta) -> None:
        before = self._shelf.zones[lowered(dns.name.from_text(delta.zone))]
        self._histories[delta.zone].step(before, delta)
        self._serve(delta)

    def _serve(self, delta: Delta) -> None:
        origin = dns.name.from_text(delta.zone)
        before = self._shelf.zones[lowered(origin)]
        if delta.addresses is None:
            zone = None
        elif before is None:
            instances = {instance.public_key: instance for instance in delta.changed}
            zone = build(delta.zone, delta.serial, Content(delta.addresses, instances), delta.seals)
        else:
            zone = before.after(delta)
        history = self._histories[delta.zone]
        self._authority.serve(
            origin, zone, functools.partial(history.difference, zone) if zone else None
        )
        self._shelf.step(lowered(origin), zone, delta)
        self._clients.clear()

    def _drain_open(self, listener: Listener) -> Handler:
        """Return what answers the datagrams that wait on a tunnel listener.

        Anyone whom the kernel lets in may ask. So if the answer to a query lies ready, it costs two
        look-ups, and the query becomes its response where it lies, with its ID and its question.
        Nothing here is called that need not be, and whatever can be is a local variable.
        """
        local = listener.endpoint.address
        view = self._shelf.view(local, tcp=False)
        answers_below, counts = view.answers.get, self._counts
        batch = Batch(listener.udp)
        area, sizes, receive, send = batch.area, batch.sizes, batch.receive, batch.send

        def answer(query: bytes, number: int) -> bytes | None:
            context = Context(batch.source(number), local)
            reply = self._answer(query, context, view)
            if reply and reply.transferred:
                self._teller.tell(reply.transferred, context, batch.port(number))
            return reply and reply.wire

        def drain() -> None:
            first = 0
            lengths = receive()
            for number, length in enumerate(lengths):
                start = number * SLOT
                low = area[start : start + length].lower()
                end = 0
                if length > 12:
                    second = 13 + low[12]
                    answers = answers_below(low[second:])
                    if answers is not None:
                        parts_by, denials, slot, slot_denied, opt_bytes = answers
                        parts: t.Sequence[t.Any] | None = parts_by(low[2:second])
                        if parts is None:
                            denial = denials.get(low[2:13])
                            if denial is not None and low[13:second] not in denial[2]:
                                parts, slot = denial, slot_denied
                        if parts is not None:
                            after = parts[1]
                            asked = length - opt_bytes
                            end = asked + len(after)
                            area[start + 2 : start + 12] = parts[0]
                            area[start + asked : start + end] = after
                            counts[slot] += 1
                if not end:
                    response = answer(area[start : start + length], number)
                    if response is None:
                        # What is sent together lies together, so silence ends it.
                        counts[stats.UDP_SEND_FAILED] += send(first, number)
                        first = number + 1
                        continue
                    end = len(response)
                    area[start : start + end] = response
                sizes[number] = end
            counts[stats.UDP_SEND_FAILED] += send(first, len(lengths))

        return drain

    def _drain_guarded(self, listener: Listener) -> Handler:
        """Return what answers the datagrams that wait on a listener that anyone can reach."""

        def drain() -> None:
            for _turn in range(BATCH):
                try:
                    query, source, local, ingress, ancillary = listener.receive(SLOT)
                except OSError:
                    return
                context = Context(literal(source[0]), local, False, ingress)
                view, inside = self._client(context)
                reply = self._answer(query, context, view)
                if reply and reply.transferred and (inside or reply.proven):
                    self._teller.tell(reply.transferred, context, source[1])
                response = reply and self._limited(reply, inside, context.source)
                if response and not listener.send(response, source, ancillary):
                    self._counts[stats.UDP_SEND_FAILED] += 1

        return drain

    def _respond_to_stream(self, query: bytes, context: Context, guarded: bool) -> Reply | None:
        view = self._client(context)[0] if guarded else self._shelf.view(context.local, tcp=True)
        reply = self._answer(query, context, view)
        if reply and reply.transferred:
            # Where a server has asked from, it does not listen.
            self._teller.tell(reply.transferred, context, DNS_PORT)
        return reply and reply._replace(rest=reply.rest and self._rest(reply.rest, query))

    def _rest(self, messages: t.Iterator[bytes], query: bytes) -> t.Iterator[bytes]:
        """Return the messages, up to a defect of ours, which is no more than a lost connection."""
        try:
            yield from messages
        except Exception:
            self._stumble(query)
            raise ConnectionAbortedError from None

    def _client(self, context: Context) -> tuple[View | None, bool]:
        """Return the answers that lie ready for a client, and whether it is inside the tunnel."""
        found = self._clients.get(context)
        if found is None:
            view = None
            if self._authority.lets_in(context):
                view = self._shelf.guarded_view(context.local, context.tcp)
            if len(self._clients) >= CLIENTS:
                self._clients.clear()
            found = self._clients[context] = view, self._is_inside(context.ingress)
        return found

    def _is_inside(self, ingress: int | None) -> bool:
        if ingress == LOOPBACK:
            return True
        for device in self._devices:
            with contextlib.suppress(OSError):
                if ingress == socket.if_nametoindex(device):
                    return True
        return False

    def _limited(self, reply: Reply, inside: bool, source: str) -> bytes | None:
        """Return what of a response may be sent to an address that may be forged."""
        verdict = Verdict.SEND if inside or reply.proven else self._limiter.verdict(source)
        if verdict is Verdict.DROP:
            self._counts[stats.LIMITED_DROPPED] += 1
            return None
        if verdict is Verdict.SLIP:
            self._counts[stats.LIMITED_SLIPPED] += 1
            return truncated(reply.wire)
        return reply.wire

    def _answer(self, query: bytes, context: Context, view: View | None) -> Reply | None:
        """Answer and count a query: from the view if it can, and else so that it can next time."""
        counts = self._counts
        try:
            answer = view.find(query) if view else None
            if answer is not None:
                reply: Reply | None = Reply(answer[0], context.tcp)
                slot = answer[1]
            else:
                reply = self._authority.respond(query, context)
                slot = _slot(reply.wire) if reply else stats.SILENT
                if reply and view:
                    self._shelf.learn(view, query, reply.wire)
        except Exception:
            # One query that finds a defect of ours must not end the service for all others.
            self._stumble(query)
            reply, slot = None, stats.SILENT
        counts[slot] += 1
        if reply and reply.wire[2] & _TC:
            counts[stats.TRUNCATED] += 1
        if reply and reply.wire[3] & 0xF == NOTAUTH:
            counts[stats.TSIG_FAILED] += 1
        return reply

    def _stumble(self, query: bytes) -> None:
        if not self._stumbled:
            log.exception("cannot answer the query %s; more of the kind are not told", query)
        self._stumbled = True


def load_record_types() -> None:
    """Load what dnspython loads at a type's first use: later its files may be out of reach.

    A worker has no rights, and the libraries may lie where root alone can read.
    """
    for rdtype in RECORD_TYPES:
        dns.rdata.get_rdata_class(CLASS_IN, rdtype)  # type: ignore[no-untyped-call]


def _slot(response: bytes) -> int:
    """Return the slot that counts a response of the complete path."""
    rdtype, rcode = 0, response[3] & 0xF
    position = HEADER.size
    if response[5]:
        position = after_name(response, position)
        rdtype = TYPE_CLASS.unpack_from(response, position)[0]
        position += TYPE_CLASS.size
    # Responses with an rcode that has upper bits have no records but OPT.
    if response[position : position + 3] == _OPT_START and not any(response[6:10]):
        rcode |= response[position + 5] << 4
    return stats.slot(rdtype, rcode, fast=False)
