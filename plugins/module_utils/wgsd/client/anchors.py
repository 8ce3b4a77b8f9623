# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The peer entries that lead to the registries: looked after when a registry is lost."""

from __future__ import annotations

import dataclasses
import logging
import math
import typing as t

from .. import clock
from ..config import ClientSettings
from ..keys import PublicKey
from ..model import Device, Endpoint, HostPort, Peer, PeerChange
from ..plan import holders
from ..plan.registry import RegistryDecision, RegistryMemory, decide_registry

log = logging.getLogger("wgsd.client")


class Resolving(t.Protocol):
    """What is needed of a `Resolver`."""

    resolved: int

    def ask(self, where: HostPort) -> None:
        """Begin to resolve a name."""

    def take(self, where: HostPort) -> list[Endpoint] | None:
        """Return the addresses of a name, once."""

    def close(self) -> None:
        """Give up what is under way."""


@dataclasses.dataclass
class _Anchor:
    """One peer entry.

    Attributes:
        found: What the names stand for that were resolved since the registry was lost.
    """

    memory: RegistryMemory | None = None
    found: dict[HostPort, list[Endpoint]] = dataclasses.field(default_factory=dict)


class Anchors:
    """Decides about the registries' peer entries at each look.

    Attributes:
        due: Steady seconds at which time alone may lead to another decision.
        acted: Whether the last look had something changed, so that it is worth asking at once.
        reasons: What the last look found of each entry, in words.
    """

    def __init__(
        self,
        settings: ClientSettings,
        resolver: Resolving,
        now: t.Callable[[], float] = clock.steady,
    ) -> None:
        """Prepare, without touching anything.

        Args:
            now: Steady seconds.
        """
        self.due = math.inf
        self.acted = False
        self.reasons: dict[PublicKey, str] = {}
        self._servers = settings.registries
        self._places = settings.anchors
        self._resolver = resolver
        self._now = now
        self._anchors: dict[PublicKey, _Anchor] = {}

    @property
    def resolved(self) -> int:
        """How many names have been resolved so far."""
        return self._resolver.resolved

    def look(
        self,
        device: Device,
        registries: t.Mapping[PublicKey, Peer],
        silent: t.Collection[Endpoint],
    ) -> list[PeerChange]:
        """Decide, and return what is to be changed.

        Args:
            device: As it is just now.
            registries: Its peers that lead to DNS servers.
            silent: The DNS servers that owe us an answer.
        """
        now = self._now()
        taken = {where: self._resolver.take(where) for where in self._places.values()}
        behind = self._behind(device) if silent else {}
        self._anchors = {key: self._anchors.get(key, _Anchor()) for key in registries}
        self.due = math.inf
        changes = []
        reasons = {}
        for key, peer in registries.items():
            anchor, servers = self._anchors[key], behind.get(key, [])
            trouble = bool(servers) and all(server in silent for server in servers)
            places = [self._places[server] for server in servers if server in self._places]
            if trouble:
                anchor.found.update({w: found for w, found in taken.items() if found})
            else:
                anchor.found.clear()
            decision = decide_registry(
                peer, _wanted(peer, places, anchor.found), anchor.memory, now, trouble
            )
            self._log(servers, anchor.memory, decision)
            anchor.memory = decision.memory
            reasons[key] = decision.reason
            if decision.resolve:
                for where in places:
                    if where.endpoint is None:
                        self._resolver.ask(where)
            if decision.change is not None:
                changes.append(decision.change)
            self.due = min(self.due, decision.due)
        self.acted, self.reasons = bool(changes), reasons
        return changes

    def close(self) -> None:
        """Give up what is under way."""
        self._resolver.close()

    def _behind(self, device: Device) -> dict[PublicKey, list[Endpoint]]:
        """Return the DNS servers behind each peer."""
        behind: dict[PublicKey, list[Endpoint]] = {}
        for server in self._servers:
            for key in holders(device, [server.address]):
                behind.setdefault(key, []).append(server)
        return behind

    @staticmethod
    def _log(
        servers: t.Sequence[Endpoint], before: RegistryMemory | None, decision: RegistryDecision
    ) -> None:
        if decision.change is not None:
            # What is repeated for hours is told at its beginning.
            level = logging.INFO if decision.memory.tries == 1 else logging.DEBUG
            log.log(level, "registry %s: %s", ", ".join(map(str, servers)), decision.reason)
        elif before is not None and before.tries and not decision.memory.tries:
            log.info("the registry is there again: %s", decision.reason)


def _wanted(
    peer: Peer, places: t.Iterable[HostPort], found: t.Mapping[HostPort, list[Endpoint]]
) -> list[Endpoint]:
    """Return where the registry may be; first what is of the same family as where it was."""
    wanted: dict[Endpoint, None] = {}
    for where in places:
        literal = where.endpoint
        wanted.update(dict.fromkeys(found.get(where, []) if literal is None else [literal]))
    family = peer.endpoint.is_ipv6 if peer.endpoint else None
    return sorted(wanted, key=lambda endpoint: endpoint.is_ipv6 is not family)
