# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a copy of the zone holds: one peer by its key, all that are listed, and all members."""

from __future__ import annotations

import typing as t

from ..directory import by_name, instance_key, peer_record
from ..errors import UsageError
from ..keys import PADDED_LABEL_LENGTH, PublicKey
from ..model import Member, PeerRecord
from ..names import parse_txt, service_name
from ..thirdparty import dns

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Zone = dns.zone.Zone


class Contents:
    """The records of a zone, as zone transfers left them.

    Attributes:
        zone: What transfers write to.
        failures: Why the last `lookup` or `browse` has no record for a peer that is in the zone.
    """

    def __init__(self, zone: str) -> None:
        """Start empty; *zone* is absolute."""
        self.zone: Zone = dns.zone.Zone(zone, relativize=False)
        self.failures: dict[PublicKey, str] = {}
        self._service: Name = dns.name.from_text(service_name(zone))
        self._names: dict[PublicKey, Name] = {}
        # A transfer gives a changed name a new node, so equal nodes have equal records.
        self._read: dict[PublicKey, tuple[t.Any, PeerRecord]] = {}
        #: What instances say of their membership, by label, with the node that said so.
        self._told: dict[bytes, tuple[t.Any, Member | None]] = {}
        self._members: t.Mapping[PublicKey, Member] = {}
        self._members_of: t.Any = None

    @property
    def serial(self) -> int | None:
        """The version; None while nothing has been transferred."""
        for rdata in self._find(self.zone.origin, "SOA"):
            return int(rdata.serial)
        return None

    @property
    def size(self) -> int:
        """How many peers the zone lists."""
        return len(self._instances())

    def lookup(self, keys: t.Iterable[PublicKey]) -> dict[PublicKey, PeerRecord | None]:
        """Look up peers, as `Directory.lookup` does."""
        self.failures = {}
        records: dict[PublicKey, PeerRecord | None] = {}
        for key in keys:
            self._look_up(key, records)
        return records

    def _look_up(self, key: PublicKey, records: dict[PublicKey, PeerRecord | None]) -> None:
        try:
            records[key] = self._peer(key)
        except UsageError as exc:
            self.failures[key] = str(exc)

    def browse(self) -> list[PeerRecord]:
        """List all peers, as `Directory.browse` does."""
        keys = [key for key in (instance_key(rdata.target) for rdata in self._instances()) if key]
        return by_name(record for record in self.lookup(keys).values() if record is not None)

    def members(self) -> t.Mapping[PublicKey, Member]:
        """Return the members: whose TXT record has allowed IPs, with an endpoint or without.

        The mapping is the same object for as long as it says the same.
        """
        nodes = self.zone.nodes
        if nodes is self._members_of:
            return self._members
        depth = len(self._service.labels) + 1
        told, members = {}, {}
        for name, node in nodes.items():
            label = name.labels[0]
            # Each instance has a second name without padding, which says the same.
            if len(label) != PADDED_LABEL_LENGTH or len(name.labels) != depth:
                continue
            before = self._told.get(label)
            if before is None or before[0] is not node:
                before = node, self._member(name, before[1] if before else None)
            told[label] = before
            if before[1] is not None:
                members[before[1].public_key] = before[1]
        self._told, self._members_of = told, nodes
        if members != self._members:
            self._members = members
        return self._members

    def _member(self, name: Name, before: Member | None) -> Member | None:
        """Return the member at an instance's name; *before* if that is the same."""
        key = instance_key(name)
        texts = self._find(name, "TXT")
        if key is None or not texts:
            return None
        if name != self._name(key):
            return None
        try:
            text = parse_txt(texts[0].strings)
        except UsageError:
            return None
        if text.public_key != key or not text.allowed_ips:
            return None
        member = Member(key, text.allowed_ips, text.name)
        return before if member == before else member

    def _peer(self, key: PublicKey) -> PeerRecord | None:
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self._name(key)
        node = self.zone.nodes.get(name)
        known, record = self._read.get(key, (None, None))
        if node is not None and node is known:
            return record
        self._read.pop(key, None)
        services = self._find(name, "SRV")
        if not services:
            return None
        targets = {service.target for service in services}
        addresses = {
            target: [
                rdata.address for rdtype in ("A", "AAAA") for rdata in self._find(target, rdtype)
            ]
            for target in targets
        }
        record = peer_record(key, name, services, addresses, self._find(name, "TXT"))
        if targets == {name}:
            self._read[key] = (node, record)
        return record

    def _name(self, key: PublicKey) -> Name:
        """Return the name of a peer's instance."""
        return dns.name.Name((key.label.encode("ascii"), *self._service.labels))

    def _instances(self) -> list[t.Any]:
        return self._find(self._service, "PTR")

    def _find(self, name: Name | None, rdtype: str) -> list[t.Any]:
        node = self.zone.nodes.get(name) if name is not None else None
        if node is None:
            return []
        kind = dns.rdatatype.from_text(rdtype)
        return list(node.get_rdataset(dns.rdataclass.IN, kind) or ())
