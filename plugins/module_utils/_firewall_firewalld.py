# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Openings as entries in firewalld's zones, and the record of those that are ours; pure.

firewalld's entries carry no comment. So what was added is written down, and only that is ever
removed: what the operator had opened before stays open.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import pathlib
import typing as t

from ._firewall import Change, Opening
from .wgsd.errors import UsageError

FOLDER = pathlib.Path("/var/lib/wgsd-firewall")
#: The zone of firewalld in which everything is let in.
TRUSTED = "trusted"


@dataclasses.dataclass(frozen=True, order=True)
class Entry:
    """An entry of a zone.

    Attributes:
        zone: The zone.
        kind: ``port``, ``rich-rule`` or ``interface``.
        value: As firewalld itself spells it.
        permanent: Whether it is on the disk; else it is in the running firewall.
    """

    zone: str
    kind: str
    value: str
    permanent: bool

    def options(self, verb: str) -> list[str]:
        """Return the options of ``firewall-cmd`` that ``add`` or ``remove`` it."""
        scope = ["--permanent"] if self.permanent else []
        return [*scope, f"--zone={self.zone}", f"--{verb}-{self.kind}={self.value}"]

    def __str__(self) -> str:
        scope = "permanent" if self.permanent else "running"
        return f"{self.zone} ({scope}): {self.kind} {self.value}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        change: Entries to add and to remove.
        record: Those that are ours afterwards.
    """

    change: Change[Entry]
    record: tuple[Entry, ...]


def entries(
    openings: t.Iterable[Opening], zone: str, interface_zone: str, addresses: t.Collection[str]
) -> list[Entry]:
    """Return the entries that make *openings*.

    firewalld tells interfaces apart by their zones alone. Binding the tunnel to another zone would
    close what is open for it now, so what is open to the tunnel only is what goes to its addresses.

    Args:
        zone: Where openings for everybody go.
        interface_zone: The zone that the tunnel is in.
        addresses: The tunnel's own.
    """
    found = []
    for opening in openings:
        if not opening.interface:
            found.append((zone, "port", f"{opening.port}/{opening.protocol}"))
        elif not opening.protocol:
            found.append((TRUSTED, "interface", opening.interface))
        else:
            found += [
                (interface_zone, "rich-rule", _rich_rule(opening, address)) for address in addresses
            ]
    return [Entry(*one, permanent) for one in found for permanent in (True, False)]


def _rich_rule(opening: Opening, address: str) -> str:
    family = f"ipv{ipaddress.ip_address(address).version}"
    return (
        f'rule family="{family}" destination address="{address}" '
        f'port port="{opening.port}" protocol="{opening.protocol}" accept'
    )


def parse_zone(listing: str, zone: str, *, permanent: bool) -> set[Entry]:
    """Read what ``firewall-cmd --list-all`` says of *zone*."""
    found = set()
    for line in listing.splitlines():
        name, _colon, values = line.strip().partition(": ")
        if name in ("ports", "interfaces"):
            kind = name[:-1]
            found.update(Entry(zone, kind, value, permanent) for value in values.split())
        elif line.strip().startswith("rule "):
            found.add(Entry(zone, "rich-rule", line.strip(), permanent))
    return found


def parse_addresses(listing: str) -> list[str]:
    """Read the addresses that ``ip -json address show`` lists, without the link's own."""
    return [
        address["local"]
        for link in json.loads(listing or "[]")
        for address in link.get("addr_info", ())
        if address.get("scope") != "link"
    ]


def plan(
    have: t.Collection[Entry], wanted: t.Collection[Entry], record: t.Collection[Entry]
) -> Plan:
    """Decide what to add and to remove: of what is too much, only what the record has."""
    added = [entry for entry in wanted if entry not in have]
    removed = [entry for entry in record if entry not in wanted and entry in have]
    kept = [entry for entry in record if entry in wanted]
    return Plan(
        Change(tuple(added), tuple(removed)),
        tuple(sorted({*kept, *added})),
    )


def record_path(interface: str) -> pathlib.Path:
    """Return where it is written down what was added for *interface*."""
    return FOLDER / f"firewalld-{interface}.json"


def dump_record(record: t.Iterable[Entry]) -> str:
    """Return the text of a record; empty for an empty one."""
    found = [dataclasses.asdict(entry) for entry in sorted(record)]
    return f"{json.dumps(found, indent=2)}\n" if found else ""


def load_record(text: str, path: pathlib.Path) -> tuple[Entry, ...]:
    """Read a record.

    Raises:
        UsageError: it is damaged.
    """
    try:
        return tuple(Entry(**one) for one in json.loads(text or "[]"))
    except (ValueError, TypeError):
        raise UsageError(
            f"{path}: is damaged, so what was opened in firewalld is not known",
            "remove it, and what is no longer needed, by hand",
        ) from None
