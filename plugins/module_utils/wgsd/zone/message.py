# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DNS messages as bytes: reads a query strictly, writes a response within its size."""

from __future__ import annotations

import struct
import typing as t

from ..thirdparty import dns

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Rdataset = dns.rdataset.Rdataset

HEADER = struct.Struct("!HHHHHH")
TYPE_CLASS = struct.Struct("!HH")
TYPE_CLASS_TTL_LENGTH = struct.Struct("!HHIH")
_SOA_TIMERS = struct.Struct("!IIIII")
_SRV_NUMBERS = struct.Struct("!HHH")

QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100
NS, CNAME, SOA, PTR, SRV, OPT, TSIG, IXFR = 2, 5, 6, 12, 33, 41, 250, 251
DO = 0x8000
# Numbers of EDNS options.
COOKIE, EDE = 10, 15
#: Bytes of a UDP message that everybody takes (RFC 1035 section 4.2.1, RFC 6891 section 6.2.3).
UDP_MIN = 512
#: Bytes of UDP that we send and take: safe from fragments nearly everywhere.
UDP_MAX = 1232
TCP_MAX = 65535
#: Bytes of a client cookie, and of it with a server cookie (RFC 7873 section 4).
CLIENT_COOKIE, COOKIE_MIN, COOKIE_MAX = 8, 16, 40
#: How far into a message a compression pointer reaches (RFC 1035 section 4.1.4).
POINTER_MAX = 0x3FFF
#: Pointers that a record's name may lead over in a query, where nobody has a reason for more than
#: one; and the bytes of a name (RFC 1035 section 2.3.4).
_HOPS_MAX, _NAME_MAX = 16, 255


class Edns(t.NamedTuple):
    """What the OPT record of a query says (RFC 6891 section 6.1).

    Attributes:
        cookie: The client's cookie, and after it the server's if the client has one.
    """

    version: int
    udp_size: int
    dnssec_ok: bool
    cookie: bytes | None = None


class Query(t.NamedTuple):
    """A question and how it was asked.

    Attributes:
        flags: The header's whole second word.
        question: The bytes of name, type and class as they came; empty if there is no question.
        name: None if there is no question.
        tsig: Where the TSIG record starts; 0 if there is none.
    """

    id: int
    flags: int
    question: bytes = b""
    name: Name | None = None
    rdtype: int = 0
    rdclass: int = 0
    edns: Edns | None = None
    tsig: int = 0

    @property
    def opcode(self) -> int:
        """The kind of query (RFC 1035 section 4.1.1)."""
        return opcode_of(self.flags)


def opcode_of(flags: int) -> int:
    """Return the opcode in the header's second word."""
    return flags >> 11 & 0xF


class MalformedQueryError(Exception):
    """The message is not a query in a well-formed DNS message.

    Attributes:
        query: As much of it as can be trusted, at least what the header says.
    """

    def __init__(self, query: Query) -> None:
        super().__init__()
        self.query = query


def parse(wire: bytes) -> Query:
    """Read a message of at least the 12 bytes of a header.

    Raises:
        MalformedQueryError: not exactly one question (RFC 9619), unless there is none and a COOKIE
            option (RFC 7873 section 5.4); a broken name, record or option; answers in a query;
            more than one OPT or TSIG record or one that is not in its place; bytes after the end.
    """
    ident, flags, questions, answers, authorities, additionals = HEADER.unpack_from(wire)
    query = Query(ident, flags)
    position = HEADER.size
    if questions > 1:
        raise MalformedQueryError(query)
    try:
        if questions:
            name, length = dns.name.from_wire(wire, position)
            # All that a pointer could lead to from here is the header.
            if length != sum(map(len, name.labels)) + len(name.labels):
                raise MalformedQueryError(query)
            rdtype, rdclass = TYPE_CLASS.unpack_from(wire, position + length)
            position += length + TYPE_CLASS.size
            query = Query(ident, flags, wire[HEADER.size : position], name, rdtype, rdclass)
        # Only the question of an IXFR comes with a record of its own (RFC 1995 section 3).
        if query.opcode == 0 and (answers or (authorities and query.rdtype != IXFR)):
            raise MalformedQueryError(query)
        last = answers + authorities + additionals - 1
        for index in range(last + 1):
            start = position
            length = _name_length(wire, position)
            kind, size, ttl, data_length = TYPE_CLASS_TTL_LENGTH.unpack_from(
                wire, position + length
            )
            position += length + TYPE_CLASS_TTL_LENGTH.size + data_length
            if kind == OPT:
                if query.edns or index < answers + authorities or length != 1:
                    raise MalformedQueryError(query)
                edns = Edns(ttl >> 16 & 0xFF, size, bool(ttl & DO))
                query = query._replace(edns=edns)
                # What is in the options of other versions, only those versions say.
                if edns.version == 0:
                    cookie = _cookie(wire[position - data_length : position], data_length)
                    query = query._replace(edns=edns._replace(cookie=cookie))
            elif kind == TSIG:
                if index < last or index < answers + authorities:
                    raise MalformedQueryError(query)
                query = query._replace(tsig=start)
    except (dns.exception.DNSException, struct.error, IndexError, ValueError):
        raise MalformedQueryError(query) from None
    cookie_only = query.edns is not None and (query.edns.version or query.edns.cookie)
    if position != len(wire) or not (questions or cookie_only):
        raise MalformedQueryError(query)
    return query


def _name_length(wire: bytes, start: int) -> int:
    """Return the bytes that the name which starts there takes, up to its end or first pointer.

    dnspython before 2.9 follows as many pointers as there are: seconds for each thousand names of
    a message that is made for it.

    Raises:
        ValueError: it is broken.
        IndexError: it goes beyond the end.
    """
    position = furthest = start
    end = length = hops = 0
    while True:
        size = wire[position]
        if size >= 0xC0:
            end = end or position + 2
            position = (size & 0x3F) << 8 | wire[position + 1]
            hops += 1
            # Each has to point to before the last place that one has led to.
            if position >= furthest or hops > _HOPS_MAX:
                raise ValueError
            furthest = position
            continue
        length += 1 + size
        if size >= 0x40 or length > _NAME_MAX:
            raise ValueError
        position += 1 + size
        if not size:
            return (end or position) - start


def _cookie(options: bytes, length: int) -> bytes | None:
    """Return the first COOKIE option (RFC 7873 section 5.2).

    Raises:
        ValueError: it has a length that no cookie has, or an option goes beyond the record.
        struct.error: the same.
    """
    cookie = None
    position = 0
    while position < length:
        code, size = TYPE_CLASS.unpack_from(options, position)
        position += TYPE_CLASS.size + size
        if code == COOKIE and cookie is None:
            if size != CLIENT_COOKIE and not COOKIE_MIN <= size <= COOKIE_MAX:
                raise ValueError
            cookie = options[position - size : position]
    if position != length or len(options) != length:
        raise ValueError
    return cookie


def truncated(response: bytes) -> bytes:
    """Return a response of ours without its records, and with TC set.

    What is about the message itself (OPT, TSIG) stays in it. The client asks again by TCP.
    """
    ident, flags, questions, *counts = HEADER.unpack_from(response)
    position = HEADER.size
    if questions:
        position = after_name(response, position) + TYPE_CLASS.size
    kept = [response[HEADER.size : position]]
    for _index in range(sum(counts)):
        start = position
        position = after_name(response, position)
        kind, _class, _ttl, length = TYPE_CLASS_TTL_LENGTH.unpack_from(response, position)
        position += TYPE_CLASS_TTL_LENGTH.size + length
        if kind in (OPT, TSIG):
            kept.append(response[start:position])
    return HEADER.pack(ident, flags | TC, questions, 0, 0, len(kept) - 1) + b"".join(kept)


def after_name(wire: bytes, position: int) -> int:
    """Return where the name that starts at *position* ends; it must be well-formed."""
    while 0 < wire[position] < 0x40:
        position += 1 + wire[position]
    return position + (2 if wire[position] else 1)


class Response:
    """A response that grows RRset by RRset, in the order of the sections.

    Attributes:
        rcode: 0..4095; the upper bits go into the OPT record.
        flags: `AA`, `TC`.
        dnssec_ok: Whether signatures are asked for (RFC 3225).
    """

    def __init__(self, query: Query, limit: int = UDP_MIN, cookie: bytes = b"") -> None:
        """Start with the question, its bytes as they came.

        Args:
            limit: Bytes of the whole message.
            cookie: The client's and ours, for whoever sent one.
        """
        self.rcode = 0
        self.flags = 0
        self.dnssec_ok = query.edns is not None and query.edns.dnssec_ok
        self._query = query
        self._wire = bytearray(HEADER.size) + query.question
        self._start = len(self._wire)
        #: By the lower-case labels of a name: where it is written.
        self._offsets: dict[tuple[bytes, ...], int] = {}
        self._counts = [0, 0, 0]
        self._options = TYPE_CLASS.pack(COOKIE, len(cookie)) + cookie if cookie else b""
        self._limit = limit
        if query.edns:
            self._limit -= 1 + TYPE_CLASS_TTL_LENGTH.size + len(self._options)
        self._note_question()

    def fail(self, rcode: int, error_code: int | None = None) -> None:
        """Answer with an error and nothing else.

        Args:
            error_code: An extended error (RFC 8914), told to whoever sent an OPT record.
        """
        self.rcode = rcode
        if error_code is not None:
            self._options += struct.pack("!HHH", EDE, 2, error_code)

    def add(self, section: int, owner: Name, *rrsets: Rdataset, partly: bool = False) -> bool:
        """Add RRsets of one name to section 0 (answer), 1 (authority) or 2 (additional).

        Their owner is written as a pointer where the name, in any case, came before: so an answer
        echoes the case of the question.

        Returns:
            Whether all of it fits. If not, nothing of it was added, or, with *partly*, as many
            records as fit.
        """
        start, count = len(self._wire), self._counts[section]
        for records in rrsets:
            for rdata in records:
                mark = len(self._wire)
                self._write(owner, records.ttl, rdata)
                if len(self._wire) > self._limit:
                    self._cut(mark if partly else start)
                    if not partly:
                        self._counts[section] = count
                    return False
                self._counts[section] += 1
        return True

    def add_written(self, records: bytes, count: int) -> bool:
        """Add records to the answer section, written for this very place in the message.

        Returns:
            Whether they fit. If not, nothing was added.
        """
        if len(self._wire) + len(records) > self._limit:
            return False
        self._wire += records
        self._counts[0] += count
        return True

    def truncate(self) -> None:
        """Take all records out again and say so."""
        self._cut(self._start)
        self._counts = [0, 0, 0]
        self.flags |= TC

    def finish(self) -> bytes:
        """Return the message; an OPT record answers an OPT record (RFC 6891 section 7)."""
        edns = self._query.edns
        if edns:
            ttl = self.rcode >> 4 << 24 | (DO if self.dnssec_ok else 0)
            self._wire.append(0)
            self._wire += TYPE_CLASS_TTL_LENGTH.pack(OPT, UDP_MAX, ttl, len(self._options))
            self._wire += self._options
        answers, authorities, additionals = self._counts
        # CD is for resolvers: an authority clears it (RFC 4035 section 3.1.6).
        kept = self._query.flags & (0xF << 11 | RD)
        HEADER.pack_into(
            self._wire,
            0,
            self._query.id,
            QR | kept | self.flags | self.rcode & 0xF,
            1 if self._query.question else 0,
            answers,
            authorities,
            additionals + (1 if edns else 0),
        )
        return bytes(self._wire)

    def _note_question(self) -> None:
        if self._query.name is not None:
            position = HEADER.size
            labels = lowered(self._query.name)
            for index, label in enumerate(labels[:-1]):
                self._offsets[labels[index:]] = position
                position += 1 + len(label)

    def _write(self, owner: Name, ttl: int, rdata: t.Any) -> None:
        self._write_name(owner)
        start = len(self._wire)
        rdtype = int(rdata.rdtype)
        header = (rdtype, int(rdata.rdclass), ttl)
        self._wire += TYPE_CLASS_TTL_LENGTH.pack(*header, 0)
        # Only the types of RFC 1035 may have compressed names in their data (RFC 3597 section 4),
        # and SRV must not (RFC 2782). dnspython takes longer to write names.
        if rdtype in (NS, CNAME, PTR):
            self._write_name(rdata.target)
        elif rdtype == SOA:
            self._write_name(rdata.mname)
            self._write_name(rdata.rname)
            timers = (rdata.serial, rdata.refresh, rdata.retry, rdata.expire, rdata.minimum)
            self._wire += _SOA_TIMERS.pack(*timers)
        elif rdtype == SRV:
            self._wire += _SRV_NUMBERS.pack(rdata.priority, rdata.weight, rdata.port)
            for label in rdata.target.labels:
                self._wire.append(len(label))
                self._wire += label
        else:
            self._wire += rdata.to_wire() or b""
        length = len(self._wire) - start - TYPE_CLASS_TTL_LENGTH.size
        TYPE_CLASS_TTL_LENGTH.pack_into(self._wire, start, *header, length)

    def _write_name(self, name: Name) -> None:
        labels = lowered(name)
        for index, label in enumerate(name.labels):
            position = self._offsets.get(labels[index:])
            if position is not None:
                self._wire += struct.pack("!H", 0xC000 | position)
                return
            if label and len(self._wire) <= POINTER_MAX:
                self._offsets[labels[index:]] = len(self._wire)
            self._wire.append(len(label))
            self._wire += label

    def _cut(self, position: int) -> None:
        del self._wire[position:]
        self._offsets = {name: at for name, at in self._offsets.items() if at < position}


def lowered(name: Name) -> tuple[bytes, ...]:
    """Return the labels of *name* as they are compared (RFC 4343)."""
    return tuple([label.lower() for label in name.labels])
