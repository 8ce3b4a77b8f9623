# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What DNSSEC adds to a zone: seals read, and the order of names that proves what is not there."""

from __future__ import annotations

import bisect
import struct
import typing as t

from .version import Record, unpack

RRSIG, NSEC, DNSKEY = 46, 47, 48
#: Types whose records are in seals.
SEAL_TYPES = frozenset({RRSIG, NSEC, DNSKEY})
#: The first fields of an RRSIG record (RFC 4034 section 3.1): type covered, algorithm, labels,
#: original TTL, expiration, inception, key tag; the signer's name and the signature follow.
RRSIG_HEAD = struct.Struct("!HBBIIIH")
_TYPE = struct.Struct("!H")


class Opaque:
    """The data of a record of class IN whose fields are of no interest here."""

    __slots__ = ("_wire", "rdtype")
    rdclass = 1

    def __init__(self, record: Record) -> None:
        self.rdtype = record.rdtype
        self._wire = record.rdata

    def to_wire(self) -> bytes:
        """Return it as in a message, without compression."""
        return self._wire


class Seal:
    """A seal, read.

    Attributes:
        records: All by type.
        signatures: The RRSIG records by the type that they cover.
    """

    def __init__(self, packed: bytes) -> None:
        """Read what `wgsd.zone.version.pack` wrote."""
        self.records: dict[int, list[Record]] = {}
        self.signatures: dict[int, list[Record]] = {}
        for record in unpack(packed):
            self.records.setdefault(record.rdtype, []).append(record)
            if record.rdtype == RRSIG:
                covered = _TYPE.unpack_from(record.rdata)[0]
                self.signatures.setdefault(covered, []).append(record)


class Ring:
    """The names that have records, in canonical order (RFC 4034 section 6.1), the first after the
    last.

    Names are relative to the zone, in lower case, the apex being the empty one. A ring is never
    changed after it was made.
    """

    def __init__(self, owners: t.Iterable[str]) -> None:
        self._keys = sorted(map(_key_of, owners))

    def __len__(self) -> int:
        return len(self._keys)

    def after(self, joined: t.Iterable[str], left: t.Iterable[str]) -> Ring:
        """Return the ring after some names have joined and some have left.

        Args:
            joined: None of them is in the ring.
            left: All of them are.
        """
        keys = self._keys.copy()
        for owner in left:
            del keys[bisect.bisect_left(keys, _key_of(owner))]
        for owner in joined:
            bisect.insort(keys, _key_of(owner))
        ring = Ring(())
        ring._keys = keys
        return ring

    def next(self, owner: str) -> str:
        """Return the name that comes after *owner*."""
        return _owner(self._keys[bisect.bisect_right(self._keys, _key_of(owner)) % len(self._keys)])

    def previous(self, owner: str) -> str:
        """Return the name that *owner* comes after."""
        return _owner(self._keys[bisect.bisect_left(self._keys, _key_of(owner)) - 1])

    def covering(self, labels: t.Sequence[bytes]) -> str:
        """Return the name with these labels if it is in the ring, else the one that it comes after.

        Args:
            labels: Without those of the zone, in lower case; any bytes.
        """
        return _owner(self._keys[bisect.bisect_right(self._keys, _key(labels)) - 1])


def labels_of(owner: str) -> tuple[bytes, ...]:
    """Return the labels of a name of the zone, relative to it."""
    return tuple(owner.encode().split(b".")) if owner else ()


def _key_of(owner: str) -> bytes:
    return _key(labels_of(owner))


def _key(labels: t.Sequence[bytes]) -> bytes:
    """Return what sorts as the name with these labels does."""
    # A zero byte before each label puts a name before all below it. One within a label of a query
    # is written so that it comes after that, and before all other bytes.
    return b"".join(
        b"\0" + label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") for label in reversed(labels)
    )


def _owner(key: bytes) -> str:
    """Return the name whose key this is; names of a zone have no byte that is written otherwise."""
    return b".".join(reversed(key[1:].split(b"\0"))).decode()
