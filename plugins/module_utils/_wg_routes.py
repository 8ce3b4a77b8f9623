# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The routes of an interface as wg-quick makes them: which are to come, go and move. Pure.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

MAIN_TABLE = 254


@dataclasses.dataclass(frozen=True)
class Table:
    """The setting ``Table`` of a file.

    Attributes:
        number: The routing table that has the routes; None for no routes, and for a table that is
            given by a name.
        is_auto: Whether wg-quick chooses: the main table, and one of its own for a default route.
        name: The name of a table that is given by one.
    """

    number: int | None
    is_auto: bool = False
    name: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> Table:
        """Read the setting; None for one that is not given."""
        word = (text or "auto").lower()
        if word == "auto":
            return cls(MAIN_TABLE, is_auto=True)
        if word == "off":
            return cls(None)
        if word.isascii() and word.isdigit():
            return cls(int(word))
        return cls(None, name=text)

    def __str__(self) -> str:
        return self.name or ("main" if self.number == MAIN_TABLE else str(self.number))


@dataclasses.dataclass(frozen=True)
class RouteChanges:
    """What to do about routes: those of the table, and those that are left in a former one.

    Attributes:
        defaults: Default routes that only a restart of the interface brings.
        table: The number of the table.
        former: The number of the former one.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    leave_behind: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    table: int = MAIN_TABLE
    former: int = MAIN_TABLE


NO_ROUTE_CHANGES = RouteChanges()


@dataclasses.dataclass(frozen=True)
class Routing:
    """What decides about the routes of an interface.

    Attributes:
        table: Where they are to be.
        former: Where they have been until now.
        own: The interface's own networks, to which the kernel makes the routes.
        present: Blocks that *table* has a route to, through the interface.
        present_formerly: Blocks that *former* has a route to, through the interface.
    """

    table: Table
    former: Table
    own: frozenset[str]
    present: frozenset[str]
    present_formerly: frozenset[str]

    def changes(self, wanted: t.AbstractSet[str], had: t.AbstractSet[str]) -> RouteChanges:
        """Return what turns the routes to *had*, allowed IPs of the peers, into those to *wanted*.

        In the main table, those for which no other route of the interface is wide enough.
        """
        moves = self.former.number not in (None, self.table.number)
        behind = sorted((had | wanted) & self.present_formerly) if moves else []
        if self.former.number == MAIN_TABLE:
            behind = [block for block in behind if block not in self.own]
        former = self.former.number or MAIN_TABLE
        if self.table.number is None:
            return RouteChanges(leave_behind=tuple(behind), former=former)
        auto = self.table.is_auto
        own = self.own if self.table.number == MAIN_TABLE else frozenset()
        remove = sorted(((had - wanted) & self.present) - own)
        present = self.present | own if auto else self.present
        add, defaults = [], []
        covers = _Covers(present.difference(remove) if auto else ())
        # Long prefixes last, so that one route covers what lies in it.
        for block in sorted(wanted, key=lambda block: (int(block.rpartition("/")[2]), block)):
            if auto and block.endswith("/0"):
                if block not in had or not self.former.is_auto:
                    defaults.append(block)
            elif not (covers.has(block) if auto else block in present):
                add.append(block)
                covers.add(block)
        return RouteChanges(
            tuple(add), tuple(remove), tuple(behind), tuple(defaults), self.table.number, former
        )


class _Covers:
    """A set of blocks that can tell quickly whether one of them holds another block."""

    def __init__(self, blocks: t.Iterable[str]) -> None:
        self._blocks: set[tuple[int, int, int]] = set()
        self._lengths: set[tuple[int, int]] = set()
        for block in blocks:
            self.add(block)

    def add(self, block: str) -> None:
        """Add a block."""
        network = ipaddress.ip_network(block)
        self._lengths.add((network.version, network.prefixlen))
        self._blocks.add((network.version, network.prefixlen, int(network.network_address)))

    def has(self, block: str) -> bool:
        """Whether *block* lies within one of the blocks."""
        network = ipaddress.ip_network(block)
        address = int(network.network_address)
        for version, length in self._lengths:
            if version == network.version and length <= network.prefixlen:
                spare = network.max_prefixlen - length
                if (version, length, address >> spare << spare) in self._blocks:
                    return True
        return False
