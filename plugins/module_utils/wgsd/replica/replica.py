# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The zone as the first of its servers has it that can be followed."""

from __future__ import annotations

import random
import selectors
import time
import typing as t

from ..config import TsigKey
from ..directory import ZoneVersion, signing_key
from ..errors import ServerError
from ..model import Endpoint
from .contents import Contents
from .subscription import Subscription


class Replica:
    """Follows a zone at all its servers, each for itself: each has versions of its own.

    Whoever owns the selector calls what it keeps as the data of a socket that is ready, and
    `tick` when it is `due`.
    """

    def __init__(
        self,
        zone: str,
        servers: t.Sequence[Endpoint],
        key: TsigKey | None = None,
        *,
        selector: selectors.BaseSelector,
        clock: t.Callable[[], float] = time.monotonic,
        jitter: t.Callable[[], float] = random.random,
    ) -> None:
        """Prepare, without a packet.

        Args:
            zone: Absolute.
            servers: Its DNS servers, the preferred one first.
            key: What to sign with; what comes must then be signed as well (RFC 8945).
            selector: Gets our sockets.
            clock: Monotonic seconds.
            jitter: Random numbers from 0 to 1.
        """
        shared = signing_key(key) if key else None
        self._subscriptions = [
            Subscription(zone, server, shared, selector, clock, jitter) for server in servers
        ]
        self._clock = clock

    @property
    def version(self) -> ZoneVersion | None:
        """The version of the copy that counts; None while none does."""
        current = self._current()
        if current is None or current.serial is None:
            return None
        return ZoneVersion(current.server, current.serial)

    @property
    def notified(self) -> bool:
        """Whether the server whose copy counts tells us of its changes."""
        current = self._current()
        return current is not None and current.notified

    @property
    def notified_at(self) -> float | None:
        """When the last NOTIFY of that server came, in monotonic seconds; None for never."""
        current = self._current()
        return current.notified_at if current else None

    @property
    def settled(self) -> bool:
        """Whether it is known by now from whom there is a copy, or that there is none."""
        return self._current() is not None or all(s.settled for s in self._subscriptions)

    @property
    def silent(self) -> frozenset[Endpoint]:
        """The servers that owe us an answer."""
        return frozenset(s.server for s in self._subscriptions if s.silent)

    @property
    def contents(self) -> Contents:
        """The copy that counts.

        Raises:
            ServerError: there is none.
        """
        current = self._current()
        if current is None or current.contents is None:
            raise ServerError("there is no copy of the zone")
        return current.contents

    @property
    def due(self) -> float:
        """Monotonic seconds at which `tick` is to be called next."""
        return min(subscription.due for subscription in self._subscriptions)

    def seconds_left(self) -> float:
        """Return the seconds until `due`, 0 if that is over."""
        return max(0.0, self.due - self._clock())

    def tick(self) -> None:
        """Do what is due."""
        for subscription in self._subscriptions:
            subscription.tick()

    def poll(self) -> None:
        """Ask the server whose copy counts whether there is a newer version."""
        current = self._current()
        if current is not None:
            current.poll()

    def hurry(self) -> None:
        """Try at once what was waiting for a way to the servers."""
        for subscription in self._subscriptions:
            subscription.hurry()

    def close(self) -> None:
        """Close all sockets."""
        for subscription in self._subscriptions:
            subscription.close()

    def _current(self) -> Subscription | None:
        return next((s for s in self._subscriptions if s.live), None)
