# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a copy of the zone holds: one peer by its key, or all of them."""

from __future__ import annotations

import typing as t

from ..directory import by_name, instance_key, peer_record
from ..errors import UsageError
from ..keys import PublicKey
from ..model import PeerRecord
from ..names import instance_name, service_name
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
        self._names: dict[PublicKey, Name] = {}
        # A transfer gives a changed name a new node, so equal nodes have equal records.
        self._read: dict[PublicKey, tuple[t.Any, PeerRecord]] = {}

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

    def _peer(self, key: PublicKey) -> PeerRecord | None:
        if key not in self._names:
            self._names[key] = dns.name.from_text(instance_name(key, str(self.zone.origin)))
        name = self._names[key]
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

    def _instances(self) -> list[t.Any]:
        return self._find(dns.name.from_text(service_name(str(self.zone.origin))), "PTR")

    def _find(self, name: Name | None, rdtype: str) -> list[t.Any]:
        node = self.zone.nodes.get(name) if name is not None else None
        if node is None:
            return []
        kind = dns.rdatatype.from_text(rdtype)
        return list(node.get_rdataset(dns.rdataclass.IN, kind) or ())
