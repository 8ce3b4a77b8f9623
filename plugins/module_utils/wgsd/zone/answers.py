# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers: from the bytes of a query and the zones as they are to the bytes of the response."""

from __future__ import annotations

import ipaddress
import socket
import time
import typing as t

from ..config import ResponderSettings, ZoneSettings
from ..thirdparty import dns
from . import message, tsig
from .cookies import Cookies
from .records import AAAA, CLASS_IN, CNAME, NS, PTR, SRV, TXT, A, Zone

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

#: The index of ``lo``, in every network namespace.
LOOPBACK = 1

InterfaceIndex = t.Callable[[str], int]


class Context(t.NamedTuple):
    """How a query came in.

    Attributes:
        source: A literal address without scope.
        local: The same: where it came to.
        ingress: The index of the interface that it came in by; None where the kernel has already
            kept out what came neither by the zone's device nor from this host.
    """

    source: str
    local: str
    tcp: bool = False
    ingress: int | None = None


class Reply(t.NamedTuple):
    """A response.

    Attributes:
        proven: Whether the query's source address is not forged: by TCP, a valid server cookie
            or a valid signature. Such responses need no rate limit.
    """

    wire: bytes
    proven: bool


class Served:
    """A zone that we are the authority for, and who may ask it.

    Attributes:
        zone: None while nothing is known of it.
    """

    def __init__(self, settings: ZoneSettings, interface_index: InterfaceIndex) -> None:
        self.zone: Zone | None = None
        self.access = settings.allow_query
        self._device = settings.device
        self._interface_index = interface_index
        networks = self.access.networks if self.access else ()
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def lets_in(self, context: Context, key: str | None = None) -> bool:
        """Whether a query that came so, and is signed with *key*, may be answered."""
        if self.access is None:
            known = self.zone is not None and context.local in self.zone.addresses
            return known and self._is_inside(context.ingress)
        if key in self.access.keys:
            return True
        source = ipaddress.ip_address(context.source)
        return any(source in network for network in self._networks)

    def _is_inside(self, ingress: int | None) -> bool:
        if ingress in (None, LOOPBACK):
            return True
        try:
            return ingress == self._interface_index(self._device)
        except OSError:
            return False


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
        # A `Name` takes long to hash, and a query asks for several.
        self._by_labels = {message.lowered(name): zone for name, zone in self.zones.items()}
        self._keyring = tsig.Keyring(settings.keys.values())
        self._cookies = Cookies(cookie_secret)
        self._wall = wall

    def serve(self, origin: Name, zone: Zone | None) -> None:
        """Answer from *zone* from now on; None: nothing is known of it (any more).

        Raises:
            KeyError: the settings have no such zone.
        """
        self.zones[origin].zone = zone

    def open_zones(self, local: str) -> list[Name]:
        """Return the zones that any unsigned query may ask on the tunnel address *local*.

        This is for queries that the kernel has let in: they need no further check.
        """
        context = Context(local, local)
        return [
            origin
            for origin, served in self.zones.items()
            if served.access is None and served.lets_in(context)
        ]

    def lets_in(self, context: Context) -> bool:
        """Whether any unsigned query that came so may ask every zone.

        It holds until the next `serve`, or until the interfaces of this host change.
        """
        return all(served.lets_in(context) for served in self.zones.values())

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
        if signature is None:
            response = message.Response(query, limit, cookie)
            self._fill(response, query, context, good, None)
            return Reply(response.finish(), context.tcp or good is True)
        response = message.Response(query, limit - signature.size, cookie)
        if signature.error:
            response.fail(NOTAUTH)
        else:
            self._fill(response, query, context, good, signature.key)
        proven = context.tcp or good is True or signature.key is not None
        signed = signature.sign(response.finish(), self._wall())
        if len(signed) > limit:
            # Question and signature alone fit no datagram: names that nobody has.
            response = message.Response(message.Query(query.id, query.flags))
            response.fail(FORMERR)
            signed = response.finish()
        return Reply(signed, proven)

    def _check(self, wire: bytes, query: message.Query) -> tsig.Signature:
        try:
            return self._keyring.check(wire, query.tsig, self._wall())
        except ValueError:
            raise message.MalformedQueryError(query) from None

    def _fill(
        self,
        response: message.Response,
        query: message.Query,
        context: Context,
        good_cookie: bool | None,
        key: str | None,
    ) -> None:
        if query.opcode:
            return response.fail(NOTIMP)
        if query.edns and query.edns.version:
            return response.fail(BADVERS)
        if query.name is None:
            # Only a cookie was asked for (RFC 7873 section 5.4).
            return response.fail(BADCOOKIE if good_cookie is False else NOERROR)
        if query.rdtype in (message.OPT, message.TSIG):
            return response.fail(FORMERR)
        if query.rdtype in META_TYPES and query.rdtype not in (ANY, AXFR, IXFR):
            return response.fail(NOTIMP)
        served = self._closest(query.name)
        if served is None or query.rdclass != CLASS_IN:
            return response.fail(REFUSED, NOT_AUTHORITATIVE)
        allowed = served.lets_in(context, key)
        if served.zone is None and (allowed or served.access is None):
            return response.fail(SERVFAIL, NOT_READY)
        if served.zone is None or not allowed or query.rdtype in (AXFR, IXFR):
            return response.fail(REFUSED, PROHIBITED)
        _answer(response, served.zone, query.name, query.rdtype, context)

    def _closest(self, name: Name) -> Served | None:
        """Return the zone that *name* is in: with nested zones, the longest match."""
        labels = message.lowered(name)
        for index in range(len(labels)):
            served = self._by_labels.get(labels[index:])
            if served is not None:
                return served
        return None


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
        if CNAME in node and rdtype not in (CNAME, ANY):
            fits = response.add(0, owner, node[CNAME])
            owner = node[CNAME][0].target
            node = zone.find(owner, context.local) or {}
        # One RRset is a whole answer to ANY (RFC 8482 section 4.1); additionals would undo that.
        chosen = next(iter(node.values()), None) if rdtype == ANY else node.get(rdtype)
    if chosen is None:
        fits = response.add(1, zone.origin, zone.negative_soa) and fits
    else:
        # Over TCP there is no larger message to ask for, so part of a list beats none.
        fits = fits and response.add(0, owner, chosen, partly=context.tcp)
    if not fits and context.tcp:
        response.flags |= message.TC
    elif not fits:
        response.truncate()
    elif chosen is not None and rdtype != ANY:
        for extra_owner, extra in _additionals(zone, chosen, context.local):
            # What is only helpful is left out without a word (RFC 2181 section 9).
            if not response.add(2, extra_owner, extra):
                break


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
