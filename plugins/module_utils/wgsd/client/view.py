# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The zone as the agent sees it: a copy while a server keeps it fresh, else by queries."""

from __future__ import annotations

import typing as t

from ..directory import Directory, ZoneVersion
from ..keys import PublicKey
from ..model import PeerRecord
from ..replica import Replica
from .pace import Cost


class View:
    """Reads from a replica what it has, and asks by a directory for the rest.

    Attributes:
        failures: As those of `Directory`.
    """

    def __init__(self, directory: Directory, replica: Replica) -> None:
        self.failures: dict[PublicKey, str] = {}
        self._directory = directory
        self._replica = replica
        self._has_serial = False

    @property
    def cost(self) -> Cost:
        """What the next look will probably cost the servers."""
        if self._replica.version is not None:
            return Cost.NOTHING if self._replica.notified else Cost.QUERY
        return Cost.QUERY if self._has_serial else Cost.QUERY_PER_PEER

    def serial(self, timeout: float | None = None) -> ZoneVersion | None:
        """Return the version of the zone, as `Directory.serial` does, without waiting if we can."""
        version = self._replica.version
        if version is None:
            version = self._directory.serial(timeout)
            self._has_serial = version is not None
        elif not self._replica.notified:
            # The answer comes to the replica, and who waits for it looks again.
            self._replica.poll()
        return version

    def lookup(self, keys: t.Iterable[PublicKey]) -> dict[PublicKey, PeerRecord | None]:
        """Look up peers, as `Directory.lookup` does."""
        source = self._replica.contents if self._replica.version else self._directory
        found = source.lookup(keys)
        self.failures = source.failures
        return found
