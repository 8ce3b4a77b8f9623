# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The zone as the agent sees it: a copy while a server keeps it fresh, else by queries."""

from __future__ import annotations

import time
import typing as t

from ..directory import Directory, ZoneVersion
from ..errors import ServerError
from ..keys import PublicKey
from ..model import Member, PeerRecord
from ..replica import Replica
from .pace import Cost

#: Pauses in seconds between questions that wait for an answer, while none comes.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 10.0


class View:
    """Reads from a replica what it has, and asks by a directory for the rest.

    Attributes:
        failures: As those of `Directory`.
    """

    def __init__(
        self,
        directory: Directory,
        replica: Replica,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures: dict[PublicKey, str] = {}
        self._directory = directory
        self._replica = replica
        self._clock = clock
        self._has_serial = False
        self._trouble: ServerError | None = None
        self._pause = FIRST_PAUSE
        self._not_before = 0.0

    @property
    def cost(self) -> Cost:
        """What the next look will probably cost the servers."""
        if self._replica.version is not None:
            return Cost.NOTHING if self._replica.notified else Cost.QUERY
        return Cost.QUERY if self._has_serial else Cost.QUERY_PER_PEER

    @property
    def is_copy(self) -> bool:
        """Whether the zone is here, so that looking up costs neither time nor a query."""
        return self._replica.version is not None

    @property
    def version(self) -> ZoneVersion | None:
        """The version of the copy, without asking anybody; None if there is none."""
        return self._replica.version

    @property
    def is_settled(self) -> bool:
        """Whether there is somebody to ask: not while a copy is on its way."""
        return self._replica.settled

    def hurry(self) -> None:
        """Take it that the way to the servers has just opened."""
        self._replica.hurry()
        self._pause, self._not_before = FIRST_PAUSE, 0.0

    def serial(self, timeout: float | None = None) -> ZoneVersion | None:
        """Return the version of the zone, as `Directory.serial` does, without waiting if we can.

        Raises:
            ServerError: no server answers, or none did a moment ago.
        """
        version = self._replica.version
        if version is None:
            return self._asked(lambda: self._directory.serial(timeout))
        self._trouble = None
        if not self._replica.notified:
            # The answer comes to the replica, and who waits for it looks again.
            self._replica.poll()
        return version

    def lookup(self, keys: t.Iterable[PublicKey]) -> dict[PublicKey, PeerRecord | None]:
        """Look up peers, as `Directory.lookup` does."""
        source = self._replica.contents if self._replica.version else self._directory
        found = source.lookup(keys)
        self.failures = source.failures
        return found

    def members(self) -> t.Mapping[PublicKey, Member] | None:
        """Return the members of the zone; the same object while they are the same.

        Returns:
            None while there is no copy of the zone that a server vouches for.
        """
        return self._replica.contents.members() if self._replica.version else None

    def _asked(self, ask: t.Callable[[], ZoneVersion | None]) -> ZoneVersion | None:
        """Ask, but do not wait again and again for servers that give no answer."""
        if self._trouble is not None and self._clock() < self._not_before:
            raise self._trouble
        try:
            version = ask()
        except ServerError as exc:
            self._trouble = exc
            self._not_before = self._clock() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            raise
        self._trouble, self._pause = None, FIRST_PAUSE
        self._has_serial = version is not None
        return version
