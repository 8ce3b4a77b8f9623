# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone transfers (RFC 5936, RFC 1995): all records of a zone, or its changes, by the message."""

from __future__ import annotations

import itertools
import struct
import typing as t

from ..thirdparty import dns
from .history import Difference, Owned
from .message import (
    HEADER,
    POINTER_MAX,
    TYPE_CLASS,
    TYPE_CLASS_TTL_LENGTH,
    UDP_MAX,
    Query,
    lowered,
)
from .records import CLASS_IN, CNAME, NS, PTR, SOA
from .serial import is_newer
from .version import Record

if t.TYPE_CHECKING:
    Name = dns.name.Name

#: Bytes from which on records go into the next message. As far as that compression reaches; larger
#: messages would be more bytes in all, and whoever asks something else would wait longer.
MESSAGE_BYTES = POINTER_MAX
#: Changes from which on it is not even tried whether they fit into one datagram: each takes more
#: bytes than this, unless it was changed back meanwhile.
UDP_CHANGES = UDP_MAX // 40
#: Changes from which on the whole zone is sent instead (RFC 1995 section 2). It is read bit by bit,
#: while to put so many changes together takes a tenth of a second, in which nobody else is served.
TCP_CHANGES = 5000
#: Differences of one message each that are kept written.
_KEPT = 64
_SOA_TIMERS = struct.Struct("!IIIII")

#: Records as they stand in one message, and their number.
Body = tuple[bytes, int]
#: Bodies in their order; they are written when they are asked for.
Bodies = t.Iterator[Body]
#: Returns what leads from the version with a serial to the one that is transferred; None if that
#: is not known, or more than so many changes.
DifferenceFrom = t.Callable[[int, int], t.Optional[Difference]]


class Transferable(t.Protocol):
    """What of a zone its transfer is made of; see `records.Zone`. It never changes."""

    @property
    def origin(self) -> Name: ...

    @property
    def serial(self) -> int: ...

    def owners(self) -> t.Iterator[str]: ...

    def records_at(self, owner: str) -> list[Record]: ...


class Transfers:
    """What there is to transfer of one version of a zone.

    The first message of a transfer has the question in it, spelled as it came, and its records
    point there. So all who ask get the same records.

    Attributes:
        origin: The zone's name.
    """

    def __init__(self, zone: Transferable, difference: DifferenceFrom | None = None) -> None:
        """Make it.

        Args:
            difference: Without it, whoever asks for a difference gets the whole zone.
        """
        self.origin = zone.origin
        self._zone = zone
        self._difference = difference
        self._wire_origin = zone.origin.to_wire() or b""
        self._soa = next(record for record in zone.records_at("") if record.rdtype == SOA)
        self._kept: dict[int, Body] = {}

    def whole(self) -> Bodies:
        """Return all records of the zone (RFC 5936 section 2.2)."""
        return _written(self._all(), self._wire_origin)

    def current(self) -> Bodies:
        """Return the SOA record alone: there is no other version, or ask by TCP."""
        return _written([("", self._soa)], self._wire_origin)

    def since(self, serial: int, tcp: bool) -> Bodies:
        """Return what has changed since then, as one difference (RFC 1995 section 4).

        If that is not known any more, or too much, it is the whole zone. By UDP it is the SOA
        record alone, if there is more than can go into one message (section 2).
        """
        if serial == self._zone.serial or is_newer(serial, self._zone.serial):
            return self.current()
        if serial in self._kept:
            return iter([self._kept[serial]])
        difference = None
        if self._difference:
            difference = self._difference(serial, TCP_CHANGES if tcp else UDP_CHANGES)
        if difference is None:
            return self.whole() if tcp else self.current()
        bodies = _written(self._steps(serial, difference), self._wire_origin)
        first, second = next(bodies), next(bodies, None)
        if second:
            return itertools.chain([first, second], bodies) if tcp else self.current()
        if len(self._kept) < _KEPT:
            self._kept[serial] = first
        return iter([first])

    def _all(self) -> t.Iterator[Owned]:
        yield "", self._soa
        for owner in self._zone.owners():
            for record in self._zone.records_at(owner):
                if record.rdtype != SOA:
                    yield owner, record
        yield "", self._soa

    def _steps(self, serial: int, difference: Difference) -> t.Iterator[Owned]:
        names, timers = _soa_parts(self._soa.rdata)
        _serial, *others = _SOA_TIMERS.unpack(timers)
        then = self._soa._replace(rdata=names + _SOA_TIMERS.pack(serial, *others))
        yield "", self._soa
        yield "", then
        yield from difference.deleted()
        yield "", self._soa
        yield from difference.added()
        yield "", self._soa


def held_serial(wire: bytes, query: Query) -> int | None:
    """Return the serial of the zone that an IXFR query says its sender has (RFC 1995 section 3).

    Args:
        wire: The message that *query* was read from.

    Returns:
        None if the SOA record of the zone is not all that is in the authority section.
    """
    start = HEADER.size + len(query.question)
    if query.name is None or HEADER.unpack_from(wire)[4] != 1:
        return None
    try:
        owner, length = dns.name.from_wire(wire, start)
        start += length
        rdtype, rdclass, _ttl, size = TYPE_CLASS_TTL_LENGTH.unpack_from(wire, start)
        if lowered(owner) != lowered(query.name) or (rdtype, rdclass) != (SOA, CLASS_IN):
            return None
        start += TYPE_CLASS_TTL_LENGTH.size
        end = start + size
        for _name in range(2):
            start += dns.name.from_wire(wire, start)[1]
    except dns.exception.DNSException:
        return None
    return int(_SOA_TIMERS.unpack_from(wire, start)[0]) if start + _SOA_TIMERS.size == end else None


def _soa_parts(rdata: bytes) -> tuple[bytes, bytes]:
    """Return the names in the data of an SOA record, and the serial and timers after them."""
    end = len(rdata) - _SOA_TIMERS.size
    return rdata[:end], rdata[end:]


def _written(records: t.Iterable[Owned], origin: bytes) -> Bodies:
    """Write records for a message that starts with a question for *origin*, and more messages."""
    sheet = _Sheet(HEADER.size + len(origin) + TYPE_CLASS.size)
    sheet.note(origin, HEADER.size)
    last, name = "", origin
    for owner, record in records:
        if owner != last:
            last, name = owner, _wire_name(owner) + origin
        mark = len(sheet.wire)
        sheet.write(name, record)
        if sheet.end > MESSAGE_BYTES and sheet.count:
            yield bytes(sheet.wire[:mark]), sheet.count
            sheet = _Sheet(HEADER.size)
            sheet.write(name, record)
        sheet.count += 1
    yield bytes(sheet.wire), sheet.count


class _Sheet:
    """The records of one message.

    Attributes:
        count: How many are there to stay.
    """

    def __init__(self, start: int) -> None:
        """Start with nothing.

        Args:
            start: Where in the message it starts.
        """
        self.wire = bytearray()
        self.count = 0
        self._start = start
        #: By what is left of a name on the wire: where it is written.
        self._offsets: dict[bytes, int] = {}

    @property
    def end(self) -> int:
        """Where in the message it ends."""
        return self._start + len(self.wire)

    def note(self, name: bytes, position: int) -> None:
        """Remember that a name is written there in the message, and what it ends with."""
        while name[0]:
            self._offsets.setdefault(name, position)
            position += 1 + name[0]
            name = name[1 + name[0] :]

    def write(self, owner: bytes, record: Record) -> None:
        rdtype, ttl, rdata = record
        wire = self.wire
        self._name(owner)
        start = len(wire)
        wire += TYPE_CLASS_TTL_LENGTH.pack(rdtype, CLASS_IN, ttl, len(rdata))
        # Which names in data may be compressed: RFC 3597 section 4.
        if rdtype in (NS, CNAME, PTR):
            self._name(rdata)
        elif rdtype == SOA:
            names, timers = _soa_parts(rdata)
            first = names.index(0) + 1
            self._name(names[:first])
            self._name(names[first:])
            wire += timers
        else:
            wire += rdata
            return
        length = len(wire) - start - TYPE_CLASS_TTL_LENGTH.size
        TYPE_CLASS_TTL_LENGTH.pack_into(wire, start, rdtype, CLASS_IN, ttl, length)

    def _name(self, name: bytes) -> None:
        wire, offsets = self.wire, self._offsets
        while name[0]:
            known = offsets.get(name)
            if known is not None:
                wire += (0xC000 | known).to_bytes(2, "big")
                return
            position = self._start + len(wire)
            if position <= POINTER_MAX:
                offsets[name] = position
            end = 1 + name[0]
            wire += name[:end]
            name = name[end:]
        wire.append(0)


def _wire_name(owner: str) -> bytes:
    """Return a name that is relative to the zone as it goes before the zone's own."""
    if not owner:
        return b""
    return b"".join(bytes([len(label)]) + label for label in owner.encode().split(b"."))
