# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of a zone: from its content at one serial to owner name, type and rdataset."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import UsageError
from ..keys import PublicKey
from ..names import SERVICE, txt_strings
from ..thirdparty import dns
from .version import Content, Instance

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Rdata = dns.rdata.Rdata
    Rdataset = dns.rdataset.Rdataset
    Node = t.Mapping[int, Rdataset]

# Record types by number, so that this module can be imported without dnspython.
A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV = 1, 2, 5, 6, 12, 16, 28, 33
RECORD_TYPES = (A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV)
CLASS_IN = 1
NAME_SERVER = b"ns1"

#: Seconds that an instance may be cached: less than the customary keepalive of 25 s, so that a
#: cache never holds an endpoint longer than the peer itself takes to show that it has moved.
INSTANCE_TTL = 10
#: Seconds that a missing name may be cached: a peer that joins is found soon after.
NEGATIVE_TTL = 5
#: Seconds for what changes only with the configuration: the apex and the browsing names.
APEX_TTL = 300
#: Seconds; a secondary that missed a NOTIFY asks again soon, and gives up after a day.
REFRESH, RETRY, EXPIRE = 30, 10, 86400


@dataclasses.dataclass(frozen=True)
class Zone:
    """One version of a zone, never changed after it was made.

    Attributes:
        addresses: The registry's tunnel addresses.
        nodes: Every name that exists, in any case. An empty non-terminal has an empty node.
        negative_soa: The SOA as it goes with NXDOMAIN and NODATA (RFC 2308 section 3).
    """

    origin: Name
    serial: int
    addresses: frozenset[str]
    nodes: Nodes
    negative_soa: Rdataset

    def find(self, name: Name, local: str) -> Node | None:
        """Return the node of *name*, None if the name does not exist.

        Args:
            local: The address that the query came in on, which may be the registry's endpoint.
        """
        node = self.nodes.get(name)
        if node and SRV in node and self.nodes.is_here(name):
            return {SRV: node[SRV], **_address_records([local], INSTANCE_TTL), TXT: node[TXT]}
        return node


class Nodes(t.Mapping["Name", "Node"]):
    """The names of a zone and their records, in a fixed order.

    The records of an instance are made when they are first asked for: a large zone changes often,
    and of most of its versions few names are ever looked at.

    Every instance has two owner names, its label with and without padding. Both have all records,
    since some resolvers can only ask for the second, but only the first is listed, and is the
    target of SRV records, which must not be an alias (RFC 2782).
    """

    def __init__(self, fixed: dict[Name, Node], service: Name, instances: t.Sequence[Instance]):
        """Make the mapping.

        Args:
            fixed: All nodes but those at and below *service*.
            instances: In the order in which they are listed.
        """
        self._made = fixed
        self._fixed_names = tuple(fixed)
        self._service = service
        self._by_key = {instance.public_key: instance for instance in instances}
        self._by_name = {i.name.encode(): i for i in instances if i.name}

    def __getitem__(self, name: Name) -> Node:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> t.Iterator[Name]:
        yield from self._fixed_names
        yield self._service
        for friendly_name in self._by_name:
            yield _below(self._service, friendly_name)
        for key in self._by_key:
            yield self._padded(key)
            yield _below(self._service, key.unpadded_label.encode())

    def __len__(self) -> int:
        return len(self._fixed_names) + 1 + len(self._by_name) + 2 * len(self._by_key)

    def is_here(self, name: Name) -> bool:
        """Whether *name* is an instance whose address is the one that a query came in on."""
        instance = self._instance(name.labels[0])
        return instance is not None and instance.address is None

    def _make(self, name: Name) -> Node:
        if name == self._service:
            targets = [self._padded(key) for key in self._by_key]
            return {PTR: _name_set(PTR, INSTANCE_TTL, targets)} if targets else {}
        if len(name) != len(self._service) + 1 or not name.is_subdomain(self._service):
            raise KeyError(name)
        label = name.labels[0]
        instance = self._instance(label)
        if instance is not None:
            return _instance_node(self._padded(instance.public_key), instance)
        target = self._padded(self._by_name[label.lower()].public_key)
        return {CNAME: _name_set(CNAME, INSTANCE_TTL, [target])}

    def _instance(self, label: bytes) -> Instance | None:
        try:
            return self._by_key.get(PublicKey.from_label(label))
        except UsageError:
            return None

    def _padded(self, key: PublicKey) -> Name:
        return _below(self._service, key.label.encode())


def build(origin_text: str, serial: int, content: Content) -> Zone:
    """Make the zone that says *content*.

    Args:
        origin_text: The zone's name as `wgsd.names.check_zone` returns it.
    """
    origin = dns.name.from_text(origin_text)
    service = _below(origin, *SERVICE.encode().split(b"."))
    browsing = _below(origin, b"_dns-sd", b"_udp")
    soa = _soa(origin, serial)
    fixed: dict[Name, Node] = {
        origin: {
            SOA: _set(APEX_TTL, [soa]),
            NS: _name_set(NS, APEX_TTL, [_below(origin, NAME_SERVER)]),
        },
        _below(origin, b"_udp"): {},
        browsing: {},
        # The service type (RFC 6763 section 9) and the domains to browse (section 11).
        _below(browsing, b"_services"): {PTR: _name_set(PTR, APEX_TTL, [service])},
    }
    for kind in (b"b", b"db", b"lb"):
        fixed[_below(browsing, kind)] = {PTR: _name_set(PTR, APEX_TTL, [origin])}
    if content.addresses:
        fixed[_below(origin, NAME_SERVER)] = _address_records(content.addresses, APEX_TTL)
    return Zone(
        origin=origin,
        serial=serial,
        addresses=frozenset(content.addresses),
        nodes=Nodes(fixed, service, content.instances),
        negative_soa=_set(NEGATIVE_TTL, [soa]),
    )


def _instance_node(name: Name, instance: Instance) -> Node:
    addresses = [] if instance.address is None else [instance.address]
    strings = txt_strings(instance.public_key, instance.allowed_ips, instance.name)
    return {
        SRV: _set(INSTANCE_TTL, [_rdata(SRV, 0, 0, instance.port, name)]),
        **_address_records(addresses, INSTANCE_TTL),
        TXT: _set(INSTANCE_TTL, [_rdata(TXT, [string.encode() for string in strings])]),
    }


def _address_records(addresses: t.Iterable[str], ttl: int) -> dict[int, Rdataset]:
    by_type: dict[int, list[Rdata]] = {}
    for address in addresses:
        rdtype = AAAA if ":" in address else A
        by_type.setdefault(rdtype, []).append(_rdata(rdtype, address))
    return {rdtype: _set(ttl, rdatas) for rdtype, rdatas in by_type.items()}


def _soa(origin: Name, serial: int) -> Rdata:
    contact = _below(origin, b"hostmaster")
    timers = (REFRESH, RETRY, EXPIRE, NEGATIVE_TTL)
    return _rdata(SOA, _below(origin, NAME_SERVER), contact, serial, *timers)


def _name_set(rdtype: int, ttl: int, targets: t.Iterable[Name]) -> Rdataset:
    return _set(ttl, [_rdata(rdtype, target) for target in targets])


def _set(ttl: int, rdatas: t.Collection[Rdata]) -> Rdataset:
    return dns.rdataset.ImmutableRdataset(dns.rdataset.from_rdata_list(ttl, rdatas))


def _rdata(rdtype: int, *fields: object) -> Rdata:
    rdclass, kind = dns.rdataclass.IN, dns.rdatatype.RdataType.make(rdtype)
    make = dns.rdata.get_rdata_class(rdclass, kind)  # type: ignore[no-untyped-call]
    rdata: Rdata = make(rdclass, kind, *fields)
    return rdata


def _below(parent: Name, *labels: bytes) -> Name:
    return dns.name.Name(labels + parent.labels)
