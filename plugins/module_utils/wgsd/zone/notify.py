# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NOTIFY messages as bytes (RFC 1996): says that a zone has changed, reads what comes back."""

from __future__ import annotations

import struct
import typing as t

from ..thirdparty import dns
from .message import AA, HEADER, QR, SOA, TYPE_CLASS, TYPE_CLASS_TTL_LENGTH, opcode_of
from .version import Record

if t.TYPE_CHECKING:
    Name = dns.name.Name

OPCODE = 4
_CLASS_IN = 1
#: A pointer to the name in the question.
_ZONE = b"\xc0\x0c"


class Response(t.NamedTuple):
    """What a follower says to a NOTIFY."""

    id: int
    zone: Name
    rcode: int


def request(ident: int, zone: Name, soa: Record) -> bytes:
    """Return the message that tells of the version of *zone* with that SOA record."""
    return b"".join(
        (
            HEADER.pack(ident, OPCODE << 11 | AA, 1, 1, 0, 0),
            zone.to_wire() or b"",
            TYPE_CLASS.pack(SOA, _CLASS_IN),
            _ZONE,
            TYPE_CLASS_TTL_LENGTH.pack(SOA, _CLASS_IN, soa.ttl, len(soa.rdata)),
            soa.rdata,
        )
    )


def read_response(wire: bytes) -> Response:
    """Read header and question of a response (section 4.7).

    Raises:
        ValueError: it is no response to a NOTIFY.
    """
    try:
        ident, flags, questions, _answers, _authorities, _additionals = HEADER.unpack_from(wire)
        zone, length = dns.name.from_wire(wire, HEADER.size)
        asked = TYPE_CLASS.unpack_from(wire, HEADER.size + length)
    except (struct.error, dns.exception.DNSException):
        raise ValueError("not a DNS message with a question") from None
    if not flags & QR or opcode_of(flags) != OPCODE:
        raise ValueError("not a response to a NOTIFY")
    if questions != 1 or asked != (SOA, _CLASS_IN):
        raise ValueError("not a response to a NOTIFY of ours")
    return Response(ident, zone, flags & 0xF)
