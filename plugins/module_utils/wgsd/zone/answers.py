# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers: from the bytes of a query and the zones as they are to the bytes of the response."""

from __future__ import annotations

import socket
import time
import typing as t

from ..config import ResponderSettings
from ..thirdparty import dns
from . import message, tsig
from .catalog import Catalog
from .cookies import Cookies
from .records import AAAA, CLASS_IN, CNAME, NS, PTR, SRV, TXT, A, Zone, sealed
from .seals import NSEC, RRSIG, SEAL_TYPES
from .served import Context, InterfaceIndex, Served, ServedCatalog
from .transfer import Bodies, DifferenceFrom, Transfers, held_serial

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Rdataset = dns.rdataset.Rdataset
    from .records import Node

ANY, IXFR, AXFR = 255, 251, 252
#: Types that no record in a zone can have (RFC 6895 section 3.1).
META_TYPES = range(128, 256)
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, NOTAUTH = 0, 1, 2, 3, 4, 5, 9
BADVERS, BADCOOKIE = 16, 23
# Extended errors (RFC 8914 section 4).
NOT_READY, PROHIBITED, NOT_AUTHORITATIVE = 14, 18, 20


class Transferred(t.NamedTuple):
    """What whoever follows a zone has got: all of it, its changes, or that there are none.

    Attributes:
        zone: Absolute, lower case.
        key: The name of the key that was used, the same; None for none.
    """

    zone: str
    key: str | None


class Reply(t.NamedTuple):
    """A response.

    Attributes:
        proven: Whether the query's source address is not forged: by TCP, a valid server cookie
            or a valid signature. Such responses need no rate limit.
        rest: The messages after the first one, each made when it is asked for.
        transferred: None for what is no zone transfer, or a failed one.
    """

    wire: bytes
    proven: bool
    rest: t.Iterator[bytes] | None = None
    transferred: Transferred | None = None


class Authority:
    """All zones that we serve, and the one complete way to answer."""

    def __init__(
        self,
        settings: ResponderSettings,
        cookie_secret: bytes,
        wall: t.Callable[[], float] = time.time,
        interface_index: InterfaceIndex = socket.if_nametoindex,
    ) -> None:
        """Make an authority that knows nothing of its zones yet.

        Args:
            cookie_secret: 16 random bytes, the same in all processes that answer together.
            wall: Seconds since the epoch.
            interface_index: The index of an interface by its name; OSError if there is none.
        """
        self.zones: dict[Name, Served] = {
            dns.name.from_text(zone.zone): Served(zone, interface_index) for zone in settings.zones
        }
        self._members = list(self.zones.values())
        if settings.catalog:
            catalog = ServedCatalog(settings.catalog, self._members, interface_index)
            self.zones[dns.name.from_text(settings.catalog.zone)] = catalog
        # A `Name` takes long to hash, and a query asks for several.
        self._by_labels = {message.lowered(name): zone for name, zone in self.zones.items()}
        self._keyring = tsig.Keyring(settings.keys.values())
        self._cookies = Cookies(cookie_secret)
        self._wall = wall

    def serve(
        self, origin: Name, zone: Zone | None, difference: DifferenceFrom | None = None
    ) -> None:
        """Answer from *zone* from now on; None: nothing is known of it (any more).

        Args:
            difference: Returns what leads from the version with a serial to *zone*.

        Raises:
            KeyError: the settings have no such zone.
        """
        self.zones[origin].become(zone, difference)

    def serve_catalog(self, catalog: Catalog) -> None:
        """Answer from the catalog zone as well.

        Raises:
            KeyError: the settings have none of that name.
        """
        # Nothing is asked of an unsigned zone that a catalog does not have.
        self.zones[catalog.origin].become(t.cast("Zone", catalog))

    def open_zones(self, local: str) -> list[Name]:
        """Return the zones that any unsigned query may ask on the tunnel address *local*.

        This is for queries that the kernel has let in: they need no further check.
        """
        context = Context(local, local)
        return [
            origin
            for origin, served in self.zones.items()
            if served.is_open and served.lets_in(context)
        ]

    def lets_in(self, context: Context) -> bool:
        """Whether any unsigned query that came so may ask every zone, apart from the catalog.

        It holds until the next `serve`, or until the interfaces of this host change.
        """
        return all(served.lets_in(context) for served in self._members)

    def respond(self, wire: bytes, context: Context) -> Reply | None:
        """Answer one message.

        Args:
            wire: The message as it came, without the length that TCP puts before it.

        Returns:
            None where silence is due: to what is itself a response (QR), and to what is too short
            to hold a header.
        """
        if len(wire) < message.HEADER.size or wire[2] & 0x80:
            return None
        signature = None
        try:
            query = message.parse(wire)
            if query.tsig:
                signature = self._check(wire, query)
        except message.MalformedQueryError as exc:
            # The rules of other kinds of messages are not known here (RFC 8490 has no question).
            response = message.Response(exc.query)
            response.fail(NOTIMP if exc.query.opcode else FORMERR)
            return Reply(response.finish(), context.tcp)

        cookie, good = b"", None
        if query.edns and query.edns.cookie:
            cookie, good = self._cookies.answer(query.edns.cookie, context.source, self._wall())
        limit = message.TCP_MAX if context.tcp else _udp_limit(query)
        room = limit - signature.size if signature else limit
        response = message.Response(query, room, cookie)
        key = signature.key if signature else None
        bodies: Bodies | None = None
        if signature and signature.error:
            response.fail(NOTAUTH)
        else:
            bodies = self._fill(response, query, wire, context, good, key)
        signed = self._finish(response, signature)
        if len(signed) > limit:
            # Question and signature alone fit no datagram: names that nobody has.
            response = message.Response(message.Query(query.id, query.flags))
            response.fail(FORMERR)
            signed = response.finish()
        proven = context.tcp or good is True or key is not None
        if bodies is None or query.name is None:
            return Reply(signed, proven)
        rest = self._rest(message.Query(query.id, query.flags), bodies, signature)
        zone = query.name.to_text().lower()
        return Reply(signed, proven, rest, Transferred(zone, key))

    def _rest(
        self, query: message.Query, bodies: Bodies, signature: tsig.Signature | None
    ) -> t.Iterator[bytes]:
        """Make the messages after the first one, which alone has the question and options."""
        for body in bodies:
            response = message.Response(query, message.TCP_MAX)
            response.flags = message.AA
            response.add_written(*body)
            yield self._finish(response, signature)

    def _finish(self, response: message.Response, signature: tsig.Signature | None) -> bytes:
        wire = response.finish()
        return signature.sign(wire, self._wall()) if signature else wire

    def _check(self, wire: bytes, query: message.Query) -> tsig.Signature:
        try:
            return self._keyring.check(wire, query.tsig, self._wall())
        except ValueError:
            raise message.MalformedQueryError(query) from None

    def _fill(
        self,
        response: message.Response,
        query: message.Query,
        wire: bytes,
        context: Context,
        good_cookie: bool | None,
        key: str | None,
    ) -> Bodies | None:
        """Fill the response, or the first of a zone transfer, and return what else there is."""
        if query.opcode:
            response.fail(NOTIMP)
        elif query.edns and query.edns.version:
            response.fail(BADVERS)
        elif query.name is None:
            # Only a cookie was asked for (RFC 7873 section 5.4).
            response.fail(BADCOOKIE if good_cookie is False else NOERROR)
        elif query.rdtype in (message.OPT, message.TSIG):
            response.fail(FORMERR)
        elif query.rdtype in META_TYPES and query.rdtype not in (ANY, AXFR, IXFR):
            response.fail(NOTIMP)
        else:
            served = self._closest(query.name)
            if served is None or query.rdclass != CLASS_IN:
                response.fail(REFUSED, NOT_AUTHORITATIVE)
            elif not served.lets_in(context, key) and (served.zone or not served.is_open):
                response.fail(REFUSED, PROHIBITED)
            elif served.zone is None or served.transfers is None:
                response.fail(SERVFAIL, NOT_READY)
            elif query.rdtype in (AXFR, IXFR):
                if served.lets_transfer(context, key):
                    return _transfer(response, served.transfers, query, wire, context.tcp)
                response.fail(REFUSED, PROHIBITED)
            else:
                _answer(response, served.zone, query.name, query.rdtype, context)
        return None

    def _closest(self, name: Name) -> Served | None:
        """Return the zone that *name* is in: with nested zones, the longest match."""
        labels = message.lowered(name)
        for index in range(len(labels)):
            served = self._by_labels.get(labels[index:])
            if served is not None:
                return served
        return None


def _transfer(
    response: message.Response, transfers: Transfers, query: message.Query, wire: bytes, tcp: bool
) -> Bodies | None:
    """Begin a zone transfer and return what goes into the next messages; None if it fails."""
    bodies: Bodies | None = None
    if query.name != transfers.origin:
        response.fail(REFUSED, NOT_AUTHORITATIVE)
    elif query.rdtype == IXFR:
        serial = held_serial(wire, query)
        if serial is None:
            response.fail(FORMERR)
        else:
            bodies = transfers.since(serial, tcp)
    elif tcp:
        bodies = transfers.whole()
    else:
        # There is no such thing (RFC 5936 section 4.2).
        response.fail(FORMERR)
    if bodies is not None:
        response.flags = message.AA
        # One that does not fit into a datagram says as much as: ask by TCP (RFC 1995 section 2).
        if not response.add_written(*next(bodies)):
            response.add_written(*next(transfers.current()))
    return bodies


def _answer(
    response: message.Response, zone: Zone, owner: Name, rdtype: int, context: Context
) -> None:
    response.flags = message.AA
    node = zone.find(owner, context.local)
    chosen = None
    fits = True
    if node is None:
        response.rcode = NXDOMAIN
    else:
        # An alias has a seal of its own (RFC 4035 section 2.5).
        if CNAME in node and rdtype not in (CNAME, ANY, RRSIG, NSEC):
            fits = _add(response, 0, zone, owner, node[CNAME])
            owner = node[CNAME][0].target
            node = zone.find(owner, context.local) or {}
        # One RRset is a whole answer to ANY (RFC 8482 section 4.1); additionals would undo that.
        chosen = next(iter(node.values()), None) if rdtype == ANY else node.get(rdtype)
        if zone.seals and rdtype in SEAL_TYPES:
            records = zone.seal_at(owner).records.get(rdtype)
            chosen = sealed(records[0].ttl, records) if records else None
    if chosen is None:
        fits = _deny(response, zone, owner, exists=node is not None) and fits
    else:
        # Over TCP there is no larger message to ask for, so part of a list beats none.
        fits = fits and _add(response, 0, zone, owner, chosen, partly=context.tcp)
    if not fits and context.tcp:
        response.flags |= message.TC
    elif not fits:
        response.truncate()
    elif chosen is not None and rdtype != ANY:
        for extra_owner, extra in _additionals(zone, chosen, context.local):
            # What is only helpful is left out without a word (RFC 2181 section 9).
            if not _add(response, 2, zone, extra_owner, extra):
                break


def _add(
    response: message.Response,
    section: int,
    zone: Zone,
    owner: Name,
    records: Rdataset,
    *,
    partly: bool = False,
) -> bool:
    """Add an RRset as `message.Response.add` does, with its signatures if they are asked for."""
    rrsets = [records]
    if response.dnssec_ok and zone.seals:
        signatures = zone.seal_at(owner).signatures.get(int(records.rdtype))
        if signatures:
            rrsets.append(sealed(records.ttl, signatures))
    return response.add(section, owner, *rrsets, partly=partly)


def _deny(response: message.Response, zone: Zone, owner: Name, *, exists: bool) -> bool:
    """Say that there is nothing, and prove it if that is asked for; returns whether it fits."""
    fits = _add(response, 1, zone, zone.origin, zone.negative_soa)
    if response.dnssec_ok and zone.seals:
        for proving, records in zone.denial(owner, exists):
            fits = fits and _add(response, 1, zone, proving, records)
    return fits


def _udp_limit(query: message.Query) -> int:
    asked = query.edns.udp_size if query.edns else message.UDP_MIN
    return min(message.UDP_MAX, max(message.UDP_MIN, asked))


def _additionals(zone: Zone, records: Rdataset, local: str) -> t.Iterator[tuple[Name, Rdataset]]:
    """Yield what goes with an RRset (RFC 2782, RFC 6763 section 12).

    With an SRV record the address comes first: clients in the field take it from there unseen.
    """
    wanted = {SRV: (A, AAAA, TXT), PTR: (SRV, TXT, A, AAAA), NS: (A, AAAA)}
    types = wanted.get(int(records.rdtype))
    if types is None:
        return
    for rdata in records:
        node: Node = zone.find(rdata.target, local) or {}
        for rdtype in types:
            if rdtype in node:
                yield rdata.target, node[rdtype]
