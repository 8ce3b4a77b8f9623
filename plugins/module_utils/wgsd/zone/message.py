# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DNS messages as bytes: reads a query strictly, writes a response within its size."""

from __future__ import annotations

import dataclasses
import io
import struct
import typing as t

from ..thirdparty import dns

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Rdata = dns.rdata.Rdata
    Rdataset = dns.rdataset.Rdataset

HEADER = struct.Struct("!HHHHHH")
TYPE_CLASS = struct.Struct("!HH")
TYPE_CLASS_TTL_LENGTH = struct.Struct("!HHIH")

QR, AA, TC, RD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
OPT = 41
DO = 0x8000
EDE = 15
#: Bytes of a UDP message that everybody takes (RFC 1035 section 4.2.1, RFC 6891 section 6.2.3).
UDP_MIN = 512
#: Bytes of UDP that we send and take: safe from fragments nearly everywhere.
UDP_MAX = 1232
TCP_MAX = 65535
# Only the types of RFC 1035 may have compressed names in their data (RFC 3597 section 4), and SRV
# must not (RFC 2782); older dnspython would compress it.
COMPRESSIBLE = frozenset({2, 5, 6, 12})


class MalformedQueryError(Exception):
    """The message is not one question in a well-formed DNS message."""


@dataclasses.dataclass(frozen=True)
class Edns:
    """What the OPT record of a query says (RFC 6891 section 6.1)."""

    version: int
    udp_size: int
    dnssec_ok: bool


@dataclasses.dataclass(frozen=True)
class Query:
    """A question and how it was asked; *flags* is the header's whole second word."""

    id: int
    flags: int
    name: Name
    rdtype: int
    rdclass: int
    edns: Edns | None

    @property
    def opcode(self) -> int:
        """The kind of query (RFC 1035 section 4.1.1)."""
        return opcode_of(self.flags)


def opcode_of(flags: int) -> int:
    """Return the opcode in the header's second word."""
    return flags >> 11 & 0xF


def parse(wire: bytes) -> Query:
    """Read a message of at least the 12 bytes of a header.

    Raises:
        MalformedQueryError: not exactly one question, a broken name or record, more than one OPT
            record, or bytes after the end.
    """
    ident, flags, questions, answers, authorities, additionals = HEADER.unpack_from(wire)
    if questions != 1:
        raise MalformedQueryError
    try:
        name, length = dns.name.from_wire(wire, HEADER.size)
        rdtype, rdclass = TYPE_CLASS.unpack_from(wire, HEADER.size + length)
        # The only thing before the first name that a pointer could lead to is the header.
        if length != len(name.to_wire() or b""):
            raise MalformedQueryError
        position = HEADER.size + length + TYPE_CLASS.size
        edns = None
        for index in range(answers + authorities + additionals):
            owner, length = dns.name.from_wire(wire, position)
            kind, size, ttl, data_length = TYPE_CLASS_TTL_LENGTH.unpack_from(
                wire, position + length
            )
            position += length + TYPE_CLASS_TTL_LENGTH.size + data_length
            if kind == OPT:
                in_place = index >= answers + authorities and owner == dns.name.root
                if edns is not None or not in_place:
                    raise MalformedQueryError
                _check_options(wire[position - data_length : position], data_length)
                edns = Edns(ttl >> 16 & 0xFF, size, bool(ttl & DO))
    except (dns.exception.DNSException, struct.error):
        raise MalformedQueryError from None
    if position != len(wire):
        raise MalformedQueryError
    return Query(ident, flags, name, rdtype, rdclass, edns)


def _check_options(options: bytes, length: int) -> None:
    position = 0
    while position < length:
        _code, size = TYPE_CLASS.unpack_from(options, position)
        position += TYPE_CLASS.size + size
    if position != length:
        raise MalformedQueryError


def header_only(wire: bytes, rcode: int) -> bytes:
    """Return the response to a message of which only the header can be trusted."""
    ident, flags = struct.unpack_from("!HH", wire)
    return HEADER.pack(ident, _response_flags(flags) | rcode, 0, 0, 0, 0)


def _response_flags(query_flags: int) -> int:
    return QR | query_flags & (0xF << 11 | RD | CD)


class Response:
    """A response that grows RRset by RRset, in the order of the sections."""

    def __init__(self, query: Query, limit: int = UDP_MIN, error_code: int | None = None) -> None:
        """Start with the question, its bytes as they came.

        Args:
            limit: Bytes of the whole message.
            error_code: An extended error (RFC 8914), told to whoever sent an OPT record.
        """
        self._query = query
        self._file = io.BytesIO()
        self._file.seek(HEADER.size)
        self._offsets: dict[Name, int] = {}
        query.name.to_wire(self._file, self._offsets)
        self._file.write(TYPE_CLASS.pack(query.rdtype, query.rdclass))
        self._options = b"" if error_code is None else struct.pack("!HHH", EDE, 2, error_code)
        self._limit = limit
        if query.edns:
            self._limit -= 1 + TYPE_CLASS_TTL_LENGTH.size + len(self._options)
        self._counts = [0, 0, 0]

    def add(self, section: int, owner: Name, records: Rdataset, *, partly: bool = False) -> bool:
        """Add an RRset to section 0 (answer), 1 (authority) or 2 (additional).

        Its owner is written as a pointer where the name, in any case, came before: so an answer
        echoes the case of the question.

        Returns:
            Whether all of it fits. If not, nothing of it was added, or, with *partly*, as many
            records as fit.
        """
        start, count = self._file.tell(), self._counts[section]
        for rdata in records:
            mark = self._file.tell()
            self._write(owner, records.ttl, rdata)
            if self._file.tell() > self._limit:
                self._cut(mark if partly else start)
                if not partly:
                    self._counts[section] = count
                return False
            self._counts[section] += 1
        return True

    def clear(self) -> None:
        """Take all records out again."""
        self._cut(HEADER.size + len(self._query.name.to_wire() or b"") + TYPE_CLASS.size)
        self._counts = [0, 0, 0]

    def finish(self, rcode: int, flags: int = 0) -> bytes:
        """Return the message; an OPT record answers an OPT record (RFC 6891 section 7).

        Args:
            rcode: 0..4095; the upper bits go into the OPT record.
            flags: `AA`, `TC`.
        """
        edns = self._query.edns
        if edns:
            ttl = rcode >> 4 << 24 | (DO if edns.dnssec_ok else 0)
            self._file.write(b"\0")
            self._file.write(TYPE_CLASS_TTL_LENGTH.pack(OPT, UDP_MAX, ttl, len(self._options)))
            self._file.write(self._options)
        answers, authorities, additionals = self._counts
        self._file.seek(0)
        self._file.write(
            HEADER.pack(
                self._query.id,
                _response_flags(self._query.flags) | flags | rcode & 0xF,
                1,
                answers,
                authorities,
                additionals + (1 if edns else 0),
            )
        )
        return self._file.getvalue()

    def _write(self, owner: Name, ttl: int, rdata: Rdata) -> None:
        owner.to_wire(self._file, self._offsets)
        start = self._file.tell()
        header = (int(rdata.rdtype), int(rdata.rdclass), ttl)
        self._file.write(TYPE_CLASS_TTL_LENGTH.pack(*header, 0))
        if rdata.rdtype in COMPRESSIBLE:
            rdata.to_wire(self._file, self._offsets)
        else:
            self._file.write(rdata.to_wire() or b"")
        end = self._file.tell()
        self._file.seek(start)
        length = end - start - TYPE_CLASS_TTL_LENGTH.size
        self._file.write(TYPE_CLASS_TTL_LENGTH.pack(*header, length))
        self._file.seek(end)

    def _cut(self, position: int) -> None:
        self._file.seek(position)
        self._file.truncate()
        self._offsets = {name: at for name, at in self._offsets.items() if at < position}
