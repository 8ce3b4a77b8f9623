# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A zone's peers in a zone of another server: what is to be there, and the updates to it."""

from __future__ import annotations

import typing as t

from ..keys import PADDED_LABEL_LENGTH, UNPADDED_LABEL_LENGTH, PublicKey
from ..names import SERVICE, service_name
from ..thirdparty import dns
from .records import INSTANCE_TTL, PTR, RECORD_TYPES, build
from .version import Content, Record

if t.TYPE_CHECKING:
    Message = dns.message.Message

#: Bytes of changes in one message of 64 KiB. The rest is more than its header, the name of its
#: zone and its signature can take.
BATCH_MAX = 64_000
#: Bytes of a record besides its data and its owner relative to the zone: type, class, TTL, length,
#: the first label's length, and a pointer to the zone's name.
_RECORD_BYTES = 13

#: Bytes of all pointers together. BIND keeps 64 KiB of one type at one name, and adds up to four to
#: each record; and Knot transfers no more than goes into one message.
_LIST_MAX, _LISTED_BYTES = 65_000, 4

#: Records by owner: a name relative to the zone, in lower case.
Names = t.Mapping[str, t.AbstractSet[Record]]


class Change(t.NamedTuple):
    """What has to be done at one name.

    Attributes:
        owner: The name, relative to the zone.
        gone: Records that must not be there any more; None: whatever there is.
        new: Records that must be there then.
    """

    owner: str
    gone: t.AbstractSet[Record] | None
    new: t.AbstractSet[Record]

    @property
    def size(self) -> int:
        """Bytes that it takes in a message at most."""
        gone = 1 if self.gone is None else len(self.gone)
        data = sum(len(record.rdata) for record in (*(self.gone or ()), *self.new))
        return (len(self.owner) + _RECORD_BYTES) * (gone + len(self.new)) + data


def names_of(zone: str, content: Content) -> dict[str, t.AbstractSet[Record]]:
    """Return what *zone* is to say of the peers in *content*: all below the service name."""
    source = build(zone, 0, content)
    below = (owner for owner in source.owners() if is_ours(owner) and owner != SERVICE)
    return {owner: set(source.records_at(owner)) for owner in below}


def list_of(zone: str, content: Content) -> set[Record]:
    """Return the pointers to the peers in *content*: as many as other servers can do with."""
    service = dns.name.from_text(service_name(zone)).to_wire() or b""
    most = _LIST_MAX // (1 + PADDED_LABEL_LENGTH + len(service) + _LISTED_BYTES)
    listed = sorted(key for key, instance in content.instances.items() if instance.has_endpoint)
    labels = (key.label.encode() for key in listed[:most])
    return {Record(PTR, INSTANCE_TTL, bytes([len(label)]) + label + service) for label in labels}


def is_ours(owner: str) -> bool:
    """Whether a name, relative to the zone, is the service name or below it."""
    return owner == SERVICE or owner.endswith(f".{SERVICE}")


def differing(before: Content, after: Content) -> tuple[Content, Content]:
    """Return both without the peers of which they say the same."""
    moved = before.addresses != after.addresses
    old, new = before.instances, after.instances
    keys = [
        key
        for key in {**old, **new}
        if old.get(key) is not new.get(key) or (moved and new[key].is_here)
    ]
    return _only(before, keys), _only(after, keys)


def _only(content: Content, keys: t.Iterable[PublicKey]) -> Content:
    instances = content.instances
    return Content(content.addresses, {key: instances[key] for key in keys if key in instances})


def changes(there: Names, wanted: Names) -> list[Change]:
    """Return what leads from the names that are there to those that are wanted.

    Only pointers are at the service name; whatever else may be there stays. Any other name is
    replaced as a whole.
    """
    replaced = [
        Change(owner, None, wanted.get(owner, frozenset()))
        for owner in sorted({*there, *wanted})
        if owner != SERVICE and there.get(owner) != wanted.get(owner)
    ]
    # A name is listed after it is there, and no more before it is gone. Each pointer is a change of
    # its own, since all of them may be too much for a message.
    before, after = there.get(SERVICE, frozenset()), wanted.get(SERVICE, frozenset())
    unlisted = [Change(SERVICE, {record}, frozenset()) for record in sorted(before - after)]
    listed = [Change(SERVICE, frozenset(), {record}) for record in sorted(after - before)]
    return [*unlisted, *replaced, *listed]


def batches(todo: t.Iterable[Change]) -> t.Iterator[list[Change]]:
    """Divide changes, in their order, into such portions as go into one message."""
    batch: list[Change] = []
    size = 0
    for change in todo:
        if batch and size + change.size > BATCH_MAX:
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += change.size
    if batch:
        yield batch


def update(zone: str, batch: t.Iterable[Change]) -> dns.update.UpdateMessage:
    """Return the message that makes these changes (RFC 2136 section 2.5), not signed yet."""
    message = dns.update.UpdateMessage(zone)
    for owner, gone, new in batch:
        if gone is None:
            message.delete(owner)
        for record in gone or ():
            message.delete(owner, _rdata(record))
        for record in new:
            message.add(owner, record.ttl, _rdata(record))
    return message


def names_in(zone: str, messages: t.Iterable[Message]) -> dict[str, t.AbstractSet[Record]]:
    """Return what a transfer has brought of our names, without signatures and the like."""
    origin = dns.name.from_text(zone)
    found: dict[str, t.AbstractSet[Record]] = {}
    for message in messages:
        for rrset in message.answer:
            if rrset.rdtype not in RECORD_TYPES or not rrset.name.is_subdomain(origin):
                continue
            owner = rrset.name.relativize(origin).to_text().lower()
            if is_ours(owner) and (owner != SERVICE or rrset.rdtype == PTR):
                records = {_record(rrset.ttl, rdata) for rdata in rrset}
                found[owner] = found.get(owner, frozenset()) | records
    return found


def names_listed(zone: str, answer: Message) -> dict[str, t.AbstractSet[Record]]:
    """Return the names that the pointers in an answer lead to; what is there is not known."""
    found = names_in(zone, [answer])
    origin = dns.name.from_text(zone)
    for rrset in answer.answer:
        for rdata in rrset if rrset.rdtype == PTR else ():
            owner = rdata.target.relativize(origin).to_text().lower()
            label, _dot, rest = owner.partition(".")
            if rest == SERVICE and len(label) == PADDED_LABEL_LENGTH:
                found[owner] = found[f"{label[:UNPADDED_LABEL_LENGTH]}.{SERVICE}"] = frozenset()
    return found


def _record(ttl: int, rdata: dns.rdata.Rdata) -> Record:
    return Record(int(rdata.rdtype), ttl, rdata.to_digestable())


def _rdata(record: Record) -> dns.rdata.Rdata:
    rdclass, rdtype = dns.rdataclass.IN, dns.rdatatype.RdataType.make(record.rdtype)
    return dns.rdata.from_wire(rdclass, rdtype, record.rdata, 0, len(record.rdata))
