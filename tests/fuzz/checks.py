# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold for the response to any packet whatever."""

from __future__ import annotations

import struct

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype

UDP_MIN, UDP_MAX = 512, 1232
HEADER_BYTES = 12
OPT = 41
#: An option with 24 bytes of cookie (RFC 9018).
COOKIE, COOKIE_BYTES = b"\0\x0a\0\x18", 28
QR, AA, TC = 0x8000, 0x0400, 0x0200
#: Responses of which it is known that they parse; the set starts anew when it is that large.
KNOWN = 100_000


class Checker:
    """Looks at responses; what was seen before is not parsed again."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def check(
        self, packet: bytes, response: bytes | None, *, tcp: bool, parse: bool = True
    ) -> None:
        """Look at the response to a packet, None for silence.

        Args:
            parse: Whether its records are to be looked at as well.

        Raises:
            AssertionError: says what is wrong with it.
            dns.exception.DNSException: it is no DNS message.
        """
        answerable = len(packet) >= HEADER_BYTES and not packet[2] & 0x80
        assert answerable == (response is not None), "silence is for responses and for no header"
        if response is None:
            return
        assert response[:2] == packet[:2], "another query's ID"
        flags, questions, answers, authorities, _additionals = struct.unpack_from(
            "!HHHHH", response, 2
        )
        assert flags & QR, "not marked as a response"
        opcode = packet[2] >> 3 & 0xF
        assert flags >> 11 & 0xF == opcode, "another opcode"
        assert questions <= 1, "more questions than one"
        if questions:
            end = HEADER_BYTES + _question_length(packet)
            assert response[HEADER_BYTES:end] == packet[HEADER_BYTES:end], "another question"
        else:
            assert not answers + authorities, "records without a question"
        assert len(response) <= (65535 if tcp else UDP_MAX), "too long for anybody"
        if not tcp and len(response) > UDP_MIN:
            offered = _offered(packet)
            assert len(response) <= offered, f"longer than the {offered} bytes that it may be"
        if flags & TC and not tcp:
            assert not answers, "a cut answer with records, which some would take for all"
        # dnspython reads a response with another opcode by that opcode's rules.
        looked_at = _without_cookie(response)
        if parse and opcode == dns.opcode.QUERY and looked_at not in self._known:
            message = dns.message.from_wire(response, keyring=False)
            if message.rcode() != dns.rcode.NOERROR:
                assert not answers, "an error with an answer"
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known.add(looked_at)


def signed_answer(response: bytes, zone: str, but: str) -> dns.message.Message | None:
    """Return an answer of a signed zone to who wants signatures; None if it is something else.

    Args:
        but: A zone below it that is not signed.
    """
    flags, questions = struct.unpack_from("!HH", response, 2)
    if flags >> 11 & 0xF or flags & (AA | TC) != AA or not questions:
        return None
    message = dns.message.from_wire(response, keyring=False)
    (question,) = message.question
    if question.rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
        return None
    above, below = dns.name.from_text(zone), dns.name.from_text(but)
    if not question.name.is_subdomain(above) or question.name.is_subdomain(below):
        return None
    return message if message.ednsflags & dns.flags.DO else None


def _without_cookie(response: bytes) -> bytes:
    """The response without what makes it unlike all others: its ID and its cookie's bytes."""
    at = response.find(COOKIE, HEADER_BYTES)
    return response[2:] if at < 0 else response[2:at] + response[at + COOKIE_BYTES :]


def _question_length(packet: bytes) -> int:
    return _after_name(packet, HEADER_BYTES) + 4 - HEADER_BYTES


def _offered(packet: bytes) -> int:
    """Bytes of the largest UDP response that the sender of a well-formed query takes."""
    position = HEADER_BYTES + _question_length(packet)
    for _time in range(sum(struct.unpack_from("!HHH", packet, 6))):
        position = _after_name(packet, position)
        rdtype, size, _ttl, length = struct.unpack_from("!HHIH", packet, position)
        position += 10 + length
        if rdtype == OPT:
            return min(UDP_MAX, max(UDP_MIN, size))
    return UDP_MIN


def _after_name(packet: bytes, position: int) -> int:
    while 0 < packet[position] < 0xC0:
        position += packet[position] + 1
    return position + (2 if packet[position] else 1)
