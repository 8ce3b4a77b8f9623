# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers: from the bytes of a query and the zones as they are to the bytes of the response."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ..thirdparty import dns
from . import message
from .records import AAAA, CLASS_IN, CNAME, NS, PTR, SRV, TXT, A, Zone

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Rdataset = dns.rdataset.Rdataset
    from .records import Node

ANY, IXFR, AXFR = 255, 251, 252
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
# Extended errors (RFC 8914 section 4).
NOT_READY, PROHIBITED, NOT_AUTHORITATIVE = 14, 18, 20

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclasses.dataclass(frozen=True)
class Context:
    """How a query came in: literal addresses without scope."""

    source: str
    local: str
    tcp: bool = False


@dataclasses.dataclass(frozen=True)
class Served:
    """A zone that we are the authority for.

    Attributes:
        allow_query: Who may ask; None for whoever reaches a tunnel address.
        zone: None while nothing is known of it.
    """

    origin: Name
    allow_query: tuple[Network, ...] | None
    zone: Zone | None = None

    def allows(self, context: Context) -> bool:
        """Whether a query that came so may be answered."""
        if self.allow_query is None:
            return self.zone is not None and context.local in self.zone.addresses
        source = ipaddress.ip_address(context.source)
        return any(source in network for network in self.allow_query)


def respond(zones: t.Mapping[Name, Served], wire: bytes, context: Context) -> bytes | None:
    """Answer one message.

    Args:
        zones: By origin.
        wire: The message as it came, without the length that TCP puts before it.

    Returns:
        The response, or None where silence is due: to what is itself a response, and to what is
        too short to hold a header.
    """
    if len(wire) < message.HEADER.size or wire[2] << 8 & message.QR:
        return None
    try:
        query = message.parse(wire)
    except message.MalformedQueryError:
        opcode = message.opcode_of(wire[2] << 8)
        return message.header_only(wire, NOTIMP if opcode else FORMERR)
    if query.opcode:
        return _refuse(query, NOTIMP)
    if query.edns and query.edns.version:
        return _refuse(query, BADVERS)
    if query.rdtype == message.OPT:
        return _refuse(query, FORMERR)
    served = _closest(zones, query.name)
    if served is None or query.rdclass != CLASS_IN:
        return _refuse(query, REFUSED, NOT_AUTHORITATIVE)
    if served.zone is None:
        return _refuse(query, SERVFAIL, NOT_READY)
    if not served.allows(context) or query.rdtype in (AXFR, IXFR):
        return _refuse(query, REFUSED, PROHIBITED)
    return _answer(served.zone, query, context)


def _refuse(query: message.Query, rcode: int, error_code: int | None = None) -> bytes:
    return message.Response(query, error_code=error_code).finish(rcode)


def _closest(zones: t.Mapping[Name, Served], name: Name) -> Served | None:
    """Return the zone that *name* is in: with nested zones, the longest match."""
    while name not in zones:
        if name == dns.name.root:
            return None
        name = name.parent()
    return zones[name]


def _answer(zone: Zone, query: message.Query, context: Context) -> bytes:
    limit = message.TCP_MAX if context.tcp else _udp_limit(query)
    response = message.Response(query, limit)
    owner, rdtype = query.name, query.rdtype
    node = zone.find(owner, context.local)
    if node is None:
        response.add(1, zone.origin, zone.negative_soa)
        return response.finish(NXDOMAIN, message.AA)

    fits = True
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
    if not fits:
        if not context.tcp:
            response.clear()
        return response.finish(NOERROR, message.AA | message.TC)
    if chosen is not None and rdtype != ANY:
        for extra_owner, extra in _additionals(zone, chosen, context.local):
            # What is only helpful is left out without a word (RFC 2181 section 9).
            if not response.add(2, extra_owner, extra):
                break
    return response.finish(NOERROR, message.AA)


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
