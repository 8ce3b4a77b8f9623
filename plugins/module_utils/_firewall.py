# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a mesh host needs opened in its own firewall, whichever firewall that is; pure.

Private to this collection.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from .wgsd.errors import UsageError

DNS_PORT = 53
MAX_PORT = 65535
_T = t.TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Opening:
    """Packets that are to be let in.

    Attributes:
        interface: By which they come; empty for any.
        protocol: ``udp`` or ``tcp``; empty for all, and then there is no port.
        port: Where they go to.
    """

    interface: str = ""
    protocol: str = ""
    port: int = 0


@dataclasses.dataclass(frozen=True)
class Change(t.Generic[_T]):
    """From what is there to what should be there."""

    added: tuple[_T, ...] = ()
    removed: tuple[_T, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def mark(interface: str) -> str:
    """Return the comment that tells the rules for *interface* from all others."""
    return f"wgsd {interface}"


def openings(
    interface: str, listen_port: int | None, *, dns: bool, trust_interface: bool
) -> tuple[Opening, ...]:
    """Return what is to be let in.

    Args:
        interface: The WireGuard interface.
        listen_port: Where its tunnels come in.
        dns: Whether peers ask this host.
        trust_interface: Whether all that comes through the tunnel is let in, queries too.

    Raises:
        UsageError: the port is none.
    """
    found = []
    if listen_port is not None:
        if not 1 <= listen_port <= MAX_PORT:
            raise UsageError(f"listen_port: {listen_port} is not a port", "give 1 to 65535")
        found.append(Opening(protocol="udp", port=listen_port))
    if trust_interface:
        found.append(Opening(interface))
    elif dns:
        found += [Opening(interface, protocol, DNS_PORT) for protocol in ("udp", "tcp")]
    return tuple(found)


def difference(have: t.Iterable[_T], wanted: t.Iterable[_T]) -> Change[_T]:
    """Return what is missing and what is too much; one of two equal ones is too much."""
    surplus = collections.Counter(wanted)
    removed = []
    for one in have:
        if surplus[one]:
            surplus[one] -= 1
        else:
            removed.append(one)
    return Change(tuple(surplus.elements()), tuple(removed))


def text_diff(header: str, before: str, after: str) -> dict[str, str]:
    """Return a diff as modules do."""
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def lines(rules: t.Iterable[str]) -> str:
    """Return one rule a line, sorted, for a diff."""
    return "".join(f"{rule}\n" for rule in sorted(rules))
