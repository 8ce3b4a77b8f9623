# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A catalog zone (RFC 9432): from it secondaries learn which zones there are to serve."""

from __future__ import annotations

import hashlib
import typing as t

from ..thirdparty import dns
from .message import lowered
from .records import EXPIRE, NS, PTR, REFRESH, RETRY, SOA, TXT, RRset
from .version import Record

if t.TYPE_CHECKING:
    Name = dns.name.Name
    Rdataset = dns.rdataset.Rdataset
    from .records import Node

#: The version of the schema (section 4.3.1).
_SCHEMA = '"2"'
#: There is no such server (section 4.1).
_NOBODY = "invalid."
#: Seconds: a catalog is for transfers, and nothing of it is to be cached.
_TTL = 0


class Catalog:
    """A catalog zone at one serial. It answers and is transferred like any `Zone`.

    Attributes:
        negative_soa: The SOA as it goes with NXDOMAIN and NODATA.
        addresses: Always empty: it has no device of its own.
        seals: Always empty: whoever reads a catalog trusts the transfer, not signatures.
    """

    def __init__(self, origin_text: str, serial: int, members: t.Iterable[str]) -> None:
        """Make the catalog of the zones *members*.

        Args:
            origin_text: Its own name; like those of the members as `names.check_zone` returns it.
        """
        self.origin = dns.name.from_text(origin_text)
        self.serial = serial
        self.addresses: frozenset[str] = frozenset()
        self.seals: t.Mapping[str, bytes] = {}
        soa = f"{_NOBODY} {_NOBODY} {serial} {REFRESH} {RETRY} {EXPIRE} {_TTL}"
        pointers = {f"{member_label(zone)}.zones": _node((PTR, zone)) for zone in members}
        self._nodes: dict[str, Node] = {
            "": _node((SOA, soa), (NS, _NOBODY)),
            "version": _node((TXT, _SCHEMA)),
            "zones": {},
            **pointers,
        }
        self.negative_soa = self._nodes[""][SOA]
        apex = lowered(self.origin)
        self._by_labels = {
            (*filter(None, owner.encode().split(b".")), *apex): node
            for owner, node in self._nodes.items()
        }

    def find(self, name: Name, _local: str) -> Node | None:
        """Return the node of *name*, None if the name does not exist."""
        return self._by_labels.get(lowered(name))

    def owners(self) -> t.Iterator[str]:
        """Return the names that may have records, relative to the zone; the apex is the first."""
        yield from self._nodes

    def records_at(self, owner: str) -> list[Record]:
        """Return all records at a name that `owners` may return."""
        return [
            Record(rdtype, rrset.ttl, rdata.to_wire() or b"")
            for rdtype, rrset in self._nodes[owner].items()
            for rdata in rrset
        ]


def member_label(zone: str) -> str:
    """Return the label that a member always has: with another one its state would be reset.

    Args:
        zone: As `names.check_zone` returns it.
    """
    return hashlib.sha224(dns.name.from_text(zone).to_wire() or b"").hexdigest()


def _node(*records: tuple[int, str]) -> Node:
    node: dict[int, Rdataset] = {}
    for rdtype, text in records:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rdtype), text)
        # What answers need of dnspython's own class, `RRset` has as well.
        node[rdtype] = t.cast("Rdataset", RRset(rdtype, _TTL, [rdata]))
    return node
