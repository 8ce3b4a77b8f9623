# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The little DNS that load needs: queries by the thousand, and the port in an SRV answer."""

from __future__ import annotations

import base64
import struct

ZONE = "example.com."
SERVICE = f"_wireguard._udp.{ZONE}"
SOA = 6
SRV = 33
OPT = 41
IXFR = 251
AXFR = 252
#: Bytes of a UDP response that are taken (RFC 6891).
PAYLOAD = 1232
NOERROR = 0
NXDOMAIN = 3

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
#: Type, class, TTL, length, and of the data priority, weight and port (RFC 2782).
_SRV_RECORD = struct.Struct("!HHIHHHH")
#: Of a record after its name: type, class, TTL and length.
RECORD = struct.Struct("!HHIH")
#: The end of a SOA record: serial, refresh, retry, expire and minimum.
SOA_NUMBERS = struct.Struct("!IIIII")
_RESPONSE = 0x8000
_POINTER_TO_QUESTION = b"\xc0\x0c"


def instance(key: bytes) -> str:
    """Return the instance name of a public key, with a dot at its end."""
    return f"{base64.b32encode(key).decode().lower()}.{SERVICE}"


def query(name: str, rdtype: int = SRV) -> bytes:
    """Return a query without EDNS and without its first two bytes, the ID."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")[:-1])
    header = _HEADER.pack(0, 0, 1, 0, 0, 0)
    return header[2:] + labels + b"\0" + _QUESTION.pack(rdtype, 1)


def ixfr(serial: int) -> bytes:
    """Return a query for what has changed in the zone since *serial*, without its ID.

    It has the version in the authority section (RFC 1995 section 3) and takes large datagrams.
    """
    asked = bytearray(query(ZONE, IXFR))
    asked[6:10] = b"\0\1\0\1"
    soa = b"\0\0" + SOA_NUMBERS.pack(serial, 0, 0, 0, 0)
    version = _POINTER_TO_QUESTION + RECORD.pack(SOA, 1, 0, len(soa)) + soa
    return bytes(asked) + version + b"\0" + RECORD.pack(OPT, PAYLOAD, 0, 0)


def soa_numbers(response: bytes, question: bytes) -> bytes:
    """Return serial, refresh, retry, expire and minimum of a response's first record.

    Args:
        question: What `query` made.

    Raises:
        ValueError: it has no such record.
    """
    start = len(question) + 4
    if response[start - 2 : start] != _POINTER_TO_QUESTION:
        raise ValueError(f"no record of the zone: {response.hex()}")
    rdtype, _class, _ttl, length = RECORD.unpack_from(response, start)
    end = start + RECORD.size + length
    if rdtype != SOA:
        raise ValueError(f"a record of type {rdtype} instead of SOA")
    return response[end - SOA_NUMBERS.size : end]


def read_answer(response: bytes, question: bytes) -> tuple[int, int]:
    """Return the rcode of a response and the port of its first record, 0 if that is no SRV.

    Args:
        question: What `query` made: the response must echo it.

    Raises:
        ValueError: it is no response to that query.
    """
    _id, flags, _questions, answers, _authority, _additional = _HEADER.unpack_from(response)
    end = len(question) + 2
    if not flags & _RESPONSE or response[12:end] != question[10:]:
        raise ValueError(f"not a response to the query: {response[:end].hex()}")
    if not answers or response[end : end + 2] != _POINTER_TO_QUESTION:
        return flags & 15, 0
    rdtype, _class, _ttl, _length, _priority, _weight, port = _SRV_RECORD.unpack_from(
        response, end + 2
    )
    return flags & 15, port if rdtype == SRV else 0
