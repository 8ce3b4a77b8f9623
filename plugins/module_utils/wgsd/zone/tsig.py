# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signed messages (RFC 8945): who sent one is told by a shared secret, ours included."""

from __future__ import annotations

import hmac
import struct
import typing as t

from ..config import TsigKey
from ..thirdparty import dns
from .message import HEADER, TSIG, TYPE_CLASS, TYPE_CLASS_TTL_LENGTH, after_name

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
#: Why another server takes no request of ours.
_OBJECTIONS = {
    BADSIG: "it has another secret for the key (BADSIG)",
    BADKEY: "it does not know the key (BADKEY)",
    BADTIME: "its clock and ours differ too much (BADTIME)",
    BADTRUNC: "our signature is too short for it (BADTRUNC)",
}


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
        self._other = int(now).to_bytes(6, "big") if error == BADTIME else b""
        #: After a message: what the next one of the same response goes on from.
        self._chain: t.Any = None
        mac = 0 if self._key is None else dns.tsig.mac_sizes[self._key.algorithm]
        algorithm = len(record.algorithm.to_wire() or b"")
        rdata = _FIXED + algorithm + mac + len(self._other)
        self.size = len(self._owner) + TYPE_CLASS_TTL_LENGTH.size + rdata

    def sign(self, response: bytes, now: float) -> bytes:
        """Return *response* with a TSIG record after all others (section 5.3).

        Of a response of several messages each has to be signed, in their order (section 5.3.1).

        Args:
            now: Seconds since the epoch.
        """
        time = self._record.time_signed if self.error == BADTIME else int(now)
        record = _unsigned(self._record.algorithm, response, time, self.error, self._other)
        if self._key is not None:
            mac = None if self._chain else self._record.mac
            record, self._chain = dns.tsig.sign(  # type: ignore[no-untyped-call]
                response, self._key, record, time, mac, self._chain, multi=True
            )
        return _with_record(response, self._owner, record)


class Keyring:
    """The keys that signatures are checked with."""

    def __init__(self, keys: t.Iterable[TsigKey]) -> None:
        self._keys = {secret.name: secret for secret in map(_key, keys)}

    def check(self, wire: bytes, start: int, now: float) -> Signature:
        """Check the signature of a request, in the order of RFC 8945 section 5.2.

        Args:
            wire: The whole message.
            start: Where its TSIG record starts, which is the last one.
            now: Seconds since the epoch.

        Raises:
            ValueError: the record is not well-formed, or its MAC has a length that none has.
        """
        owner, record = _read(wire, start)
        key = self._keys.get(owner)
        if key is None or key.algorithm != record.algorithm:
            return Signature(owner, record, BADKEY, None, now)
        whole = dns.tsig.mac_sizes[key.algorithm]
        if not max(MAC_MIN, whole // 2) <= len(record.mac) <= whole:
            raise ValueError("no MAC of that algorithm")
        return Signature(owner, record, _judge(wire, start, record, key, now), key, now)


def sign_request(wire: bytes, key: TsigKey, now: float) -> tuple[bytes, bytes]:
    """Sign a request of ours (section 5.1).

    Args:
        wire: The message; nothing may be added to it afterwards.
        now: Seconds since the epoch.

    Returns:
        The message with a TSIG record after all others, and its MAC, which the response's
        signature depends on.
    """
    secret = _key(key)
    record = _unsigned(secret.algorithm, wire, int(now))
    record, _context = dns.tsig.sign(  # type: ignore[no-untyped-call]
        wire, secret, record, record.time_signed
    )
    return _with_record(wire, secret.name.to_wire() or b"", record), record.mac


def check_response(wire: bytes, key: TsigKey, mac: bytes, now: float) -> None:
    """Check the signature of the one message that answers a request of ours (section 5.4).

    Args:
        mac: Of the request.
        now: Seconds since the epoch.

    Raises:
        ValueError: what is wrong with it, or what the server finds wrong with our request. Who
            goes on waiting may still get the right one (section 5.4).
    """
    secret = _key(key)
    start = _last_record(wire)
    owner, record = _read(wire, start)
    if (owner, record.algorithm) != (secret.name, secret.algorithm):
        raise ValueError("the response is signed with another key")
    if record.error in (BADSIG, BADKEY):
        # Such a response is not signed (section 5.3.2), so anyone may have sent it.
        raise ValueError(_OBJECTIONS[record.error])
    error = _judge(wire, start, record, secret, now, mac)
    if error == BADTIME or (not error and record.error == BADTIME):
        raise ValueError(_OBJECTIONS[BADTIME])
    if error:
        raise ValueError("the signature of the response is wrong")
    if record.error:
        raise ValueError(_OBJECTIONS.get(record.error, f"TSIG error {record.error}"))


def _key(key: TsigKey) -> dns.tsig.Key:
    return dns.tsig.Key(key.name, key.secret, key.algorithm)


def _unsigned(
    algorithm: Name, message: bytes, time: int, error: int = 0, other: bytes = b""
) -> Record:
    """Return the record that signs *message*, as it is before that."""
    ident = HEADER.unpack_from(message)[0]
    return dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]
        CLASS_ANY, TSIG, algorithm, time, FUDGE, b"", ident, error, other
    )


def _with_record(message: bytes, owner: bytes, record: Record) -> bytes:
    ident, *counts, additionals = HEADER.unpack_from(message)
    rdata = record.to_wire() or b""
    return b"".join(
        (
            HEADER.pack(ident, *counts, additionals + 1),
            message[HEADER.size :],
            owner,
            TYPE_CLASS_TTL_LENGTH.pack(TSIG, CLASS_ANY, 0, len(rdata)),
            rdata,
        )
    )


def _last_record(wire: bytes) -> int:
    """Return where the last of the additional records starts.

    Raises:
        ValueError: there is none, or the message does not end with it.
    """
    start = 0
    try:
        _ident, _flags, questions, *counts = HEADER.unpack_from(wire)
        position = HEADER.size
        for _question in range(questions):
            position = after_name(wire, position) + TYPE_CLASS.size
        for _record in range(sum(counts)):
            start = position
            position = after_name(wire, position)
            length = TYPE_CLASS_TTL_LENGTH.unpack_from(wire, position)[3]
            position += TYPE_CLASS_TTL_LENGTH.size + length
    except (struct.error, IndexError):
        raise ValueError("not a DNS message") from None
    if not counts[-1] or position != len(wire):
        raise ValueError("the response is not signed")
    return start


def _read(wire: bytes, start: int) -> tuple[Name, Record]:
    """Return the owner and the data of the TSIG record that starts there.

    Raises:
        ValueError: it is none, or not well-formed.
    """
    try:
        owner, length = dns.name.from_wire(wire, start)
        position = start + length + TYPE_CLASS_TTL_LENGTH.size
        kind, rdclass, ttl, size = TYPE_CLASS_TTL_LENGTH.unpack_from(wire, start + length)
        record = t.cast(
            "Record",
            dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, wire, position, size),
        )
    except (dns.exception.DNSException, struct.error):
        raise ValueError("not a TSIG record") from None
    if (kind, rdclass, ttl) != (TSIG, CLASS_ANY, 0):
        raise ValueError("not a TSIG record")
    return owner, record


def _judge(
    wire: bytes,
    start: int,
    record: Record,
    key: dns.tsig.Key,
    now: float,
    request_mac: bytes | None = None,
) -> int:
    ident, *counts, additionals = HEADER.unpack_from(wire)
    unsigned = HEADER.pack(ident, *counts, additionals - 1) + wire[HEADER.size : start]
    # What dnspython offers to validate with would look at the time first (2.3) and takes no MAC
    # that was cut; so the MAC is made as the sender made it.
    made, _context = dns.tsig.sign(  # type: ignore[no-untyped-call]
        unsigned, key, record, record.time_signed, request_mac
    )
    if not hmac.compare_digest(made.mac[: len(record.mac)], record.mac):
        return BADSIG
    if abs(int(now) - record.time_signed) > record.fudge:
        return BADTIME
    return BADTRUNC if len(record.mac) < len(made.mac) else 0
