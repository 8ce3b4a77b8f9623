# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NOTIFY as its receiver sees it (RFC 1996)."""

from __future__ import annotations

import dataclasses
import typing as t

from ..thirdparty import dns

if t.TYPE_CHECKING:
    Key = dns.tsig.Key
    Name = dns.name.Name


@dataclasses.dataclass(frozen=True)
class Notice:
    """A server says that the zone has changed.

    Attributes:
        serial: The new version's, if it says so: a hint, to be asked about.
        reply: What tells the server that we know (section 4.7), signed if the notice was.
    """

    serial: int | None
    reply: bytes


def read_notice(wire: bytes, zone: Name, key: Key | None) -> Notice:
    """Read a NOTIFY; the caller has checked where it came from.

    Args:
        zone: The zone that is followed.
        key: What it must be signed with, if with anything (RFC 8945).

    Raises:
        ValueError: it is no NOTIFY for that zone, or not signed as it must be.
    """
    try:
        message = dns.message.from_wire(wire, keyring=key)
    except (dns.exception.DNSException, ValueError, LookupError) as exc:
        raise ValueError(str(exc) or type(exc).__name__) from None
    if message.flags & dns.flags.QR or message.opcode() != dns.opcode.NOTIFY:
        raise ValueError("not a NOTIFY")
    if key is not None and not message.had_tsig:
        raise ValueError("not signed")
    asked = [(rrset.name, rrset.rdclass, rrset.rdtype) for rrset in message.question]
    if asked != [(zone, dns.rdataclass.IN, dns.rdatatype.SOA)]:
        raise ValueError("not about our zone")
    reply = dns.message.make_response(message)
    reply.flags |= dns.flags.AA
    soa = message.get_rrset(message.answer, zone, dns.rdataclass.IN, dns.rdatatype.SOA)
    return Notice(int(soa[0].serial) if soa else None, reply.to_wire())
