# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of a zone: from its content at one serial to owner name, type and records."""

from __future__ import annotations

import ipaddress
import itertools
import struct
import typing as t

from ..keys import PADDED_LABEL_LENGTH, UNPADDED_LABEL_LENGTH, PublicKey
from ..names import SERVICE, txt_strings
from ..thirdparty import dns
from .message import TCP_MAX, lowered
from .peers import Peers
from .seals import NSEC, Opaque, Ring, Seal, labels_of
from .version import Content, Delta, Instance, Record, unpack

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Rdata = dns.rdata.Rdata
    Rdataset = dns.rdataset.Rdataset
    Node = t.Mapping[int, Rdataset]
    Labels = tuple[bytes, ...]

# Record types by number, so that this module can be imported without dnspython.
A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV = 1, 2, 5, 6, 12, 16, 28, 33
RECORD_TYPES = (A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV)
CLASS_IN = 1
NAME_SERVER, CONTACT = b"ns1", b"hostmaster"

#: Seconds that an instance may be cached: less than the customary keepalive of 25 s, so that a
#: cache never holds an endpoint longer than the peer itself takes to show that it has moved.
INSTANCE_TTL = 10
#: Seconds that a missing name may be cached: a peer that joins is found soon after.
NEGATIVE_TTL = 5
#: Seconds for what changes only with the configuration: the apex and the browsing names.
APEX_TTL = 300
#: Seconds; a secondary that missed a NOTIFY asks again soon, and gives up after a day.
REFRESH, RETRY, EXPIRE = 30, 10, 86400

_SERVICE = tuple(SERVICE.encode().split(b"."))
_SRV_NUMBERS = struct.Struct("!HHH")
#: Bytes of a PTR record in a list: two pointers, type, class, TTL, length, and the label.
_PTR_BYTES = 2 + 10 + 1 + PADDED_LABEL_LENGTH + 2
#: Records that are kept for another use, of each kind.
_MADE_MAX = 1024


class RRset:
    """The records of one type at one name, in their order.

    A `dns.rdataset.Rdataset` looks at each record's bytes to find out that no two are the same,
    which takes longer than all else that is done for an answer.
    """

    __slots__ = ("_rdatas", "rdtype", "ttl")

    def __init__(self, rdtype: int, ttl: int, rdatas: t.Sequence[Rdata]) -> None:
        self.rdtype = rdtype
        self.ttl = ttl
        self._rdatas = rdatas

    def __iter__(self) -> t.Iterator[Rdata]:
        return iter(self._rdatas)

    def __getitem__(self, index: int) -> Rdata:
        return self._rdatas[index]

    def __len__(self) -> int:
        return len(self._rdatas)


class Zone:
    """One version of a zone, never changed after it was made.

    A large zone changes often, and of most of its versions few names are ever looked at. So records
    of peers are made when they are asked for, and a version shares with the one before it whatever
    is the same.

    Every instance has two owner names, its label with and without padding. Both have all records,
    since some resolvers can only ask for the second, but only the first is listed, and is the
    target of SRV records, which must not be an alias (RFC 2782). A member without an endpoint has
    a TXT record there and is not listed: it is no service yet.

    Attributes:
        addresses: The registry's tunnel addresses.
        negative_soa: The SOA as it goes with NXDOMAIN and NODATA (RFC 2308 section 3).
        seals: What DNSSEC adds, packed, by owner, as in `Delta`; empty if the zone is not signed.
        ring: The names that have seals; None if the zone is not signed.
    """

    def __init__(
        self,
        frame: _Frame,
        peers: Peers,
        maker: _Maker,
        serial: int,
        seals: t.Mapping[str, bytes],
        ring: Ring | None,
    ) -> None:
        """Put a version together; `build` and `after` do that."""
        soa = _soa(frame.origin, serial)
        self.seals = seals
        self.ring = ring
        self.origin = frame.origin
        self.serial = serial
        self.addresses = frozenset(frame.addresses)
        self.negative_soa = _set(SOA, NEGATIVE_TTL, [soa])
        self._frame = frame
        self._peers = peers
        self._maker = maker
        # Of the records at a name the first ones are a whole answer to ANY.
        apex = {SOA: _set(SOA, APEX_TTL, [soa]), **frame.nodes[frame.apex]}
        self._nodes = {**frame.nodes, frame.apex: apex}
        listing = maker.listing(peers)
        # Without peers it has neither records nor names below it: of such a name nothing in a
        # signed zone proves that it is there.
        if peers.instances or ring is None:
            self._nodes[frame.service] = listing

    def find(self, name: Name, local: str) -> Node | None:
        """Return the node of *name*, None if the name does not exist.

        An empty non-terminal has an empty node.

        Args:
            local: The address that the query came in on, which may be the registry's endpoint. In a
                signed zone that is the first tunnel address: only what is always the same can be
                signed.
        """
        labels = lowered(name)
        node = self._nodes.get(labels)
        if node is not None or labels[1:] != self._frame.service:
            return node
        label = self._peers.padded(labels[0])
        if label:
            own = self._frame.own_address if self.ring else local
            return self._maker.node(label, self._peers.instances[label], own)
        label = self._peers.friendly.get(labels[0])
        return self._maker.alias(label) if label else None

    def instance_of(self, labels: Labels) -> PublicKey | None:
        """Return the key of the instance that a name, in lower case, is or leads to."""
        if labels[1:] != self._frame.service:
            return None
        label = self._peers.padded(labels[0]) or self._peers.friendly.get(labels[0])
        return self._peers.instances[label].public_key if label else None

    def instance(self, public_key: PublicKey) -> Instance | None:
        """Return what there is of a peer, None if the zone has nothing of it."""
        return self._peers.instances.get(public_key.label.encode())

    def owners(self) -> t.Iterator[str]:
        """Return the names that may have records, relative to the zone and in lower case.

        The apex, which is the empty one, is the first.
        """
        yield ""
        for labels in self._frame.nodes:
            if labels != self._frame.apex:
                yield self._frame.relative(labels)
        if self._peers.listed:
            yield SERVICE
        for label in self._peers.instances:
            yield f"{label[:UNPADDED_LABEL_LENGTH].decode()}.{SERVICE}"
            yield f"{label.decode()}.{SERVICE}"
        for name in self._peers.friendly:
            yield f"{name.decode()}.{SERVICE}"

    def records_at(self, owner: str) -> list[Record]:
        """Return all records at a name that `owners` may return, seals included.

        Where the registry's own address depends on how a query comes in, this says its first tunnel
        address: a copy of the zone cannot know more.
        """
        return self.unsealed_at(owner) + unpack(self.seals.get(owner, b""))

    def unsealed_at(self, owner: str) -> list[Record]:
        """Return what `records_at` does, without the seal."""
        label, _dot, rest = owner.partition(".")
        if owner == SERVICE:
            return [Record(PTR, INSTANCE_TTL, target) for target in self.listed()]
        if rest != SERVICE:
            node = self._nodes.get(self._frame.absolute(owner), {})
            return [_record(rrset.ttl, rdata) for rrset in node.values() for rdata in rrset]
        padded = self._peers.padded(label.encode())
        if padded:
            return self._frame.instance_records(self._peers.instances[padded])
        padded = self._peers.friendly.get(label.encode())
        return [self._frame.alias(padded)] if padded else []

    def listed(self) -> list[bytes]:
        """Return the data of the records at the service name, in canonical order."""
        # There may be very many: this is `_Frame._target` without the calls.
        length, suffix = bytes([PADDED_LABEL_LENGTH]), self._frame.suffix
        return [length + label + suffix for label in self._peers.listed]

    def seal_at(self, name: Name) -> Seal:
        """Return the seal of a name that exists; one that is not signed has an empty one."""
        return Seal(self.seals.get(self._frame.relative(lowered(name)), b""))

    def denial(self, name: Name, exists: bool) -> list[tuple[Name, Rdataset]]:
        """Return the NSEC records of a signed zone that prove something missing, with their owners.

        Args:
            exists: Whether only a type is missing at *name* (RFC 4035 section 3.1.3.1), not all of
                it (section 3.1.3.2).
        """
        labels = lowered(name)
        missing = [labels]
        if not exists:
            encloser = labels[1:]
            while encloser not in self._nodes and self.instance_of(encloser) is None:
                encloser = encloser[1:]
            missing.append((b"*", *encloser))
        depth = len(self._frame.apex)
        ring = t.cast(Ring, self.ring)
        proving = dict.fromkeys(ring.covering(of[: len(of) - depth]) for of in missing)
        return [
            (
                _below(self.origin, *labels_of(owner)),
                sealed(NEGATIVE_TTL, Seal(self.seals[owner]).records[NSEC]),
            )
            for owner in proving
        ]

    def labels_below(self, parent: Labels, length: int) -> t.Container[bytes] | None:
        """Return the first labels of that length of all names right below *parent*, in lower case.

        Names that the SOA mentions are among them, whether they exist or not.

        Returns:
            None for a parent that does not exist, or has records of one peer and nothing below.
        """
        if parent == self._frame.service:
            return self._peers.labels.get(length, ())
        return self._frame.below.get(parent)

    def lists_the_same(self, other: Zone) -> bool:
        """Whether the same names lead to peers, and are listed, in this version and in *other*."""
        return self._peers.labels is other._peers.labels and self._lists_what_lists(other)

    def has_the_peers_of(self, other: Zone) -> bool:
        """Whether the service name lists the same peers in this version and in *other*."""
        return self._lists_what_lists(other) or self._peers.listed == other._peers.listed

    def _lists_what_lists(self, other: Zone) -> bool:
        return self._peers.listed is other._peers.listed

    def after(self, delta: Delta) -> Zone:
        """Return the version that *delta*, whose addresses are known, leads to from this one."""
        addresses = delta.addresses or ()
        frame = self._frame
        if addresses != frame.addresses:
            frame = _Frame(frame.origin, addresses)
        if delta.whole:
            ring = Ring(delta.seals) if delta.seals else None
            peers = Peers().after(delta)
            return Zone(frame, peers, self._maker, delta.serial, delta.seals, ring)
        peers = self._peers.after(delta)
        if not delta.seals:
            return Zone(frame, peers, self._maker, delta.serial, self.seals, self.ring)
        ring = self.ring or Ring(())
        joined = [owner for owner, seal in delta.seals.items() if seal and owner not in self.seals]
        left = [owner for owner, seal in delta.seals.items() if not seal and owner in self.seals]
        if joined or left:
            ring = ring.after(joined, left)
        seals = {**self.seals, **delta.seals}
        for owner in left:
            del seals[owner]
        return Zone(frame, peers, self._maker, delta.serial, seals, ring)


def build(
    origin_text: str, serial: int, content: Content, seals: t.Mapping[str, bytes] | None = None
) -> Zone:
    """Make the zone that says *content*.

    Args:
        origin_text: The zone's name as `wgsd.names.check_zone` returns it.
        seals: What DNSSEC adds, as in `Zone`.
    """
    frame = _Frame(dns.name.from_text(origin_text), content.addresses)
    changed = tuple(content.instances.values())
    peers = Peers().after(Delta(origin_text, serial, content.addresses, changed))
    maker = _Maker(_below(frame.origin, *_SERVICE))
    return Zone(frame, peers, maker, serial, seals or {}, Ring(seals) if seals else None)


def sealed(ttl: int, records: t.Sequence[Record]) -> Rdataset:
    """Return records of one type from a seal, at least one, as an RRset; *ttl* is in seconds."""
    return _set(records[0].rdtype, ttl, [t.cast("Rdata", Opaque(record)) for record in records])


class _Frame:
    """What of a zone does not depend on its peers.

    Attributes:
        own_address: What a copy of the zone says of an instance without an address, if anything.
        apex: The labels of the origin, in lower case.
        service: Those of the service name.
        nodes: By labels in lower case, without the SOA.
        below: The first labels of the names right below each of these.
        suffix: The service name as in a message.
    """

    def __init__(self, origin: Name, addresses: tuple[str, ...]) -> None:
        self.origin = origin
        self.addresses = addresses
        self.own_address = next(iter(addresses), None)
        service = _below(origin, *_SERVICE)
        browsing = _below(origin, b"_dns-sd", b"_udp")
        nodes: dict[Name, Node] = {
            origin: {NS: _name_set(NS, APEX_TTL, _below(origin, NAME_SERVER))},
            _below(origin, b"_udp"): {},
            browsing: {},
            # The service type (RFC 6763 section 9) and the domains to browse (section 11).
            _below(browsing, b"_services"): {PTR: _name_set(PTR, APEX_TTL, service)},
        }
        for kind in (b"b", b"db", b"lb"):
            nodes[_below(browsing, kind)] = {PTR: _name_set(PTR, APEX_TTL, origin)}
        if addresses:
            nodes[_below(origin, NAME_SERVER)] = _address_records(addresses, APEX_TTL)
        self.apex = lowered(origin)
        self.service = lowered(service)
        self.nodes = {lowered(name): node for name, node in nodes.items()}
        mentioned = [lowered(_below(origin, label)) for label in (NAME_SERVER, CONTACT)]
        names = [*self.nodes, self.service, *mentioned]
        self.below = {
            parent: frozenset(name[0] for name in names if name[1:] == parent)
            for parent in self.nodes
        }
        self.suffix = service.to_wire() or b""

    def relative(self, labels: Labels) -> str:
        """Return a name of the zone relative to its origin."""
        return b".".join(labels[: len(labels) - len(self.apex)]).decode()

    def absolute(self, owner: str) -> Labels:
        """Return the labels of a name that is relative to the origin."""
        return (*owner.encode().split(b"."), *self.apex) if owner else self.apex

    def alias(self, label: bytes) -> Record:
        """Return the record of a friendly name of that instance."""
        return Record(CNAME, INSTANCE_TTL, self._target(label))

    def instance_records(self, instance: Instance) -> list[Record]:
        """Return the records at either owner name of an instance."""
        target = self._target(instance.public_key.label.encode())
        strings = txt_strings(instance.public_key, instance.allowed_ips, instance.name)
        text = b"".join(bytes([len(s)]) + s for s in map(str.encode, strings))
        if instance.port is None:
            return [Record(TXT, INSTANCE_TTL, text)]
        records = [Record(SRV, INSTANCE_TTL, _SRV_NUMBERS.pack(0, 0, instance.port) + target)]
        address = instance.address or self.own_address
        if address:
            rdtype = AAAA if ":" in address else A
            packed = ipaddress.ip_address(address).packed
            records.append(Record(rdtype, INSTANCE_TTL, packed))
        records.append(Record(TXT, INSTANCE_TTL, text))
        return records

    def _target(self, label: bytes) -> bytes:
        return bytes([len(label)]) + label + self.suffix


class _Maker:
    """Makes the records of peers, and keeps those that it made last for the versions to come."""

    def __init__(self, service: Name) -> None:
        self._service = service
        self._nodes: dict[bytes, tuple[Instance, Node]] = {}
        self._pointers: dict[bytes, Rdata] = {}

    def node(self, label: bytes, instance: Instance, local: str | None) -> Node:
        """Return the records of the instance with that padded label.

        Args:
            local: The address of an instance without one of its own; None for none.
        """
        made = self._nodes.get(label)
        if made is None or made[0] is not instance:
            if len(self._nodes) >= _MADE_MAX:
                self._nodes.clear()
            made = instance, self._instance_node(label, instance)
            self._nodes[label] = made
        node = made[1]
        if instance.is_here:
            addresses = () if local is None else (local,)
            return {SRV: node[SRV], **_address_records(addresses, INSTANCE_TTL), TXT: node[TXT]}
        return node

    def alias(self, label: bytes) -> Node:
        """Return the records of a friendly name of that instance."""
        return {CNAME: _name_set(CNAME, INSTANCE_TTL, _below(self._service, label))}

    def listing(self, peers: Peers) -> Node:
        """Return the records at the service name: as many peers as go into the largest message."""
        labels = tuple(itertools.islice(peers.listed, TCP_MAX // _PTR_BYTES + 1))
        return {PTR: _set(PTR, INSTANCE_TTL, _Pointers(labels, self._pointer))} if labels else {}

    def _pointer(self, label: bytes) -> Rdata:
        rdata = self._pointers.get(label)
        if rdata is None:
            if len(self._pointers) >= _MADE_MAX:
                self._pointers.clear()
            rdata = _rdata(PTR, _below(self._service, label))
            self._pointers[label] = rdata
        return rdata

    def _instance_node(self, label: bytes, instance: Instance) -> Node:
        addresses = () if instance.address is None else (instance.address,)
        strings = txt_strings(instance.public_key, instance.allowed_ips, instance.name)
        text = _set(TXT, INSTANCE_TTL, [_rdata(TXT, [string.encode() for string in strings])])
        if instance.port is None:
            return {TXT: text}
        srv = _rdata(SRV, 0, 0, instance.port, _below(self._service, label))
        return {
            SRV: _set(SRV, INSTANCE_TTL, [srv]),
            **_address_records(addresses, INSTANCE_TTL),
            TXT: text,
        }


class _Pointers(t.Sequence["Rdata"]):
    """PTR records that are made when they are looked at: most messages have room for few."""

    def __init__(self, labels: t.Sequence[bytes], make: t.Callable[[bytes], Rdata]) -> None:
        self._labels = labels
        self._make = make

    def __getitem__(self, index: t.Any) -> t.Any:
        return self._make(self._labels[index])

    def __len__(self) -> int:
        return len(self._labels)


def _address_records(addresses: t.Iterable[str], ttl: int) -> dict[int, Rdataset]:
    by_type: dict[int, list[Rdata]] = {}
    for address in addresses:
        rdtype = AAAA if ":" in address else A
        by_type.setdefault(rdtype, []).append(_rdata(rdtype, address))
    return {rdtype: _set(rdtype, ttl, rdatas) for rdtype, rdatas in by_type.items()}


def _soa(origin: Name, serial: int) -> Rdata:
    names = (_below(origin, NAME_SERVER), _below(origin, CONTACT))
    return _rdata(SOA, *names, serial, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL)


def _record(ttl: int, rdata: Rdata) -> Record:
    return Record(int(rdata.rdtype), ttl, rdata.to_wire() or b"")


def _name_set(rdtype: int, ttl: int, target: Name) -> Rdataset:
    return _set(rdtype, ttl, [_rdata(rdtype, target)])


def _set(rdtype: int, ttl: int, rdatas: t.Sequence[Rdata]) -> Rdataset:
    # What answers need of dnspython's own class, `RRset` has as well.
    return t.cast("Rdataset", RRset(rdtype, ttl, rdatas))


def _rdata(rdtype: int, *fields: object) -> Rdata:
    rdclass, kind = dns.rdataclass.IN, dns.rdatatype.RdataType.make(rdtype)
    make = dns.rdata.get_rdata_class(rdclass, kind)  # type: ignore[no-untyped-call]
    rdata: Rdata = make(rdclass, kind, *fields)
    return rdata


def _below(parent: Name, *labels: bytes) -> Name:
    return dns.name.Name(labels + parent.labels)
