# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signed messages (RFC 8945): who asked is told by a shared secret, and can trust the answer."""

from __future__ import annotations

import hmac
import struct
import typing as t

from ..config import TsigKey
from ..thirdparty import dns
from .message import HEADER, TSIG, TYPE_CLASS_TTL_LENGTH

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Record = dns.rdtypes.ANY.TSIG.TSIG

CLASS_ANY = 255
BADSIG, BADKEY, BADTIME, BADTRUNC = 16, 17, 18, 22
#: Seconds that the clocks of both sides may differ for our own signatures.
FUDGE = 300
#: No MAC may be shorter than this, nor than half of what the algorithm makes (section 5.2.2.1).
MAC_MIN = 10
#: Bytes of a TSIG record's data that are always there, next to algorithm, MAC and other data.
_FIXED = 16


class Signature:
    """The signature of a request, and with it what is needed to sign the response.

    Attributes:
        error: 0, `BADKEY`, `BADSIG`, `BADTIME` or `BADTRUNC`.
        key: The name of the key that the request is signed with; None if there is an error.
        size: Bytes of the TSIG record that `sign` adds.
    """

    def __init__(
        self, owner: Name, record: Record, error: int, key: dns.tsig.Key | None, now: float
    ) -> None:
        self.error = error
        self.key = None if error or key is None else key.name.to_text()
        self._owner = owner.to_wire() or b""
        self._record = record
        # Who has shown no key, or the wrong one, gets no signature of ours (section 5.3.2).
        self._key = None if error in (BADKEY, BADSIG) else key
        self._time = int(now)
        self._other = b""
        if error == BADTIME:
            self._time = record.time_signed
            self._other = int(now).to_bytes(6, "big")
        mac = 0 if self._key is None else dns.tsig.mac_sizes[self._key.algorithm]
        algorithm = len(record.algorithm.to_wire() or b"")
        rdata = _FIXED + algorithm + mac + len(self._other)
        self.size = len(self._owner) + TYPE_CLASS_TTL_LENGTH.size + rdata

    def sign(self, response: bytes) -> bytes:
        """Return *response* with a TSIG record after all others (section 5.3)."""
        ident, *counts, additionals = HEADER.unpack_from(response)
        record = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]
            CLASS_ANY,
            TSIG,
            self._record.algorithm,
            self._time,
            FUDGE,
            b"",
            ident,
            self.error,
            self._other,
        )
        if self._key is not None:
            mac = self._record.mac
            record, _context = dns.tsig.sign(  # type: ignore[no-untyped-call]
                response, self._key, record, self._time, mac
            )
        rdata = record.to_wire() or b""
        return b"".join(
            (
                HEADER.pack(ident, *counts, additionals + 1),
                response[HEADER.size :],
                self._owner,
                TYPE_CLASS_TTL_LENGTH.pack(TSIG, CLASS_ANY, 0, len(rdata)),
                rdata,
            )
        )


class Keyring:
    """The keys that signatures are checked with."""

    def __init__(self, keys: t.Iterable[TsigKey]) -> None:
        self._keys = {
            dns.name.from_text(key.name): dns.tsig.Key(key.name, key.secret, key.algorithm)
            for key in keys
        }

    def check(self, wire: bytes, start: int, now: float) -> Signature:
        """Check the signature of a request, in the order of RFC 8945 section 5.2.

        Args:
            wire: The whole message.
            start: Where its TSIG record starts, which is the last one.
            now: Seconds since the epoch.

        Raises:
            ValueError: the record is not well-formed, or its MAC has a length that none has.
        """
        try:
            owner, length = dns.name.from_wire(wire, start)
            position = start + length + TYPE_CLASS_TTL_LENGTH.size
            _kind, rdclass, ttl, size = TYPE_CLASS_TTL_LENGTH.unpack_from(wire, start + length)
            record = t.cast(
                "Record",
                dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, wire, position, size),
            )
        except (dns.exception.DNSException, struct.error):
            raise ValueError("not a TSIG record") from None
        if rdclass != CLASS_ANY or ttl:
            raise ValueError("not a TSIG record")
        key = self._keys.get(owner)
        if key is None or key.algorithm != record.algorithm:
            return Signature(owner, record, BADKEY, None, now)
        whole = dns.tsig.mac_sizes[key.algorithm]
        if not max(MAC_MIN, whole // 2) <= len(record.mac) <= whole:
            raise ValueError("no MAC of that algorithm")
        return Signature(owner, record, _judge(wire, start, record, key, now), key, now)


def _judge(wire: bytes, start: int, record: Record, key: dns.tsig.Key, now: float) -> int:
    ident, *counts, additionals = HEADER.unpack_from(wire)
    unsigned = HEADER.pack(ident, *counts, additionals - 1) + wire[HEADER.size : start]
    # What dnspython offers to validate with would look at the time first (2.3) and takes no MAC
    # that was cut; so the MAC is made as the client made it.
    made, _context = dns.tsig.sign(  # type: ignore[no-untyped-call]
        unsigned, key, record, record.time_signed
    )
    if not hmac.compare_digest(made.mac[: len(record.mac)], record.mac):
        return BADSIG
    if abs(int(now) - record.time_signed) > record.fudge:
        return BADTIME
    return BADTRUNC if len(record.mac) < len(made.mac) else 0
