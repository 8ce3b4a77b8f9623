# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the agent waits between two looks: short after a change, longer as nothing happens."""

from __future__ import annotations

import enum
import random
import typing as t

from ..plan import State

#: Seconds between two looks while something has just changed: a fraction of what a handshake
#: through two NATs takes.
BUSY_INTERVAL = 0.04
#: Queries a second that the clients of a mesh may make in all while something has just changed.
#: Each counts its own peers for the others and looks the more rarely the more there are.
BUSY_LOAD = 2000
#: How long, in seconds, a change keeps the agent looking that often.
BUSY_FOR = 15.0
#: Seconds between two looks while a peer is still to be connected: bounds how long a peer that
#: comes up after hours waits for us.
WAITING_INTERVAL = 0.5
#: Queries a second that the clients of a mesh may make in all while a peer is missing, which in a
#: large mesh is always.
WAITING_LOAD = 200
#: The same for a server without serials, where a look costs a query for every missing peer and
#: each of those may cost the server a dump of its device.
NO_SERIAL_WAITING_INTERVAL = 2.0
#: Seconds between two looks while a handshake is to come, where servers tell us of changes.
PUNCHING_INTERVAL = 1.0
#: Seconds between two looks while there is nothing to wait for.
QUIET_INTERVAL = 5.0
#: Longest pause, in seconds, while the device is out of reach.
FAULT_INTERVAL = 2.0
#: Peers that all looks of a second may read from the device, which takes up to 20 us each.
READ_LOAD = 10_000
#: The same for looks that only unreachable peers call for. In a large mesh some always do.
LEISURE_LOAD = 1_000
#: Pauses grow by this factor, so that they follow what happened and not a schedule.
GROWTH = 1.3
#: A pause is cut by up to this part, so that agents that started together drift apart.
JITTER = 0.2


class Cost(enum.Enum):
    """What a look costs the directory's servers."""

    NOTHING = enum.auto()  #: they tell us of changes by themselves
    QUERY = enum.auto()  #: one query, whatever the number of peers
    QUERY_PER_PEER = enum.auto()  #: a query for each peer without a session


#: States in which something is to come.
UNSETTLED = frozenset((State.KNOWN, State.PUNCHING, State.STALE))


class Pace:
    """Keeps the time of the last change; all times are monotonic seconds.

    Attributes:
        shortest: Seconds between two looks at the least, whatever changes.
        leisure: Seconds for which an unreachable peer can wait for others to look at with it.
    """

    def __init__(self, jitter: t.Callable[[], float] = random.random) -> None:
        self.shortest = self.leisure = 0.0
        self._jitter = jitter
        self._busy_until = 0.0
        self._pause = BUSY_INTERVAL
        self._states: list[State] | None = None
        self._next = 0.0

    def after_look(
        self,
        states: list[State],
        changed: bool,
        now: float,
        cost: Cost,
        *,
        retried: bool = False,
    ) -> float:
        """Return the pause in seconds after a look that went well.

        Args:
            states: The states of the peers, in a fixed order.
            changed: Whether the look changed a peer that was not unreachable.
            now: The present time.
            cost: What the next look costs.
            retried: Whether it changed one that was.
        """
        self.shortest, self.leisure = len(states) / READ_LOAD, len(states) / LEISURE_LOAD
        if changed or states != self._states:
            self._busy_until = now + BUSY_FOR
            self._pause = BUSY_INTERVAL
        elif retried:
            self._pause = min(self._pause, max(BUSY_INTERVAL, self.leisure))
        self._states = states
        pause = self._after_look(states, now, cost)
        self._next = now + pause
        return pause

    def left(self, now: float) -> float:
        """Return the seconds that are left of the last pause."""
        return max(0.0, self._next - now)

    def _after_look(self, states: list[State], now: float, cost: Cost) -> float:
        if all(state is State.DIRECT for state in states):
            return self._grow(QUIET_INTERVAL)
        if cost is Cost.NOTHING:
            waits = any(state in UNSETTLED for state in states)
            longest = PUNCHING_INTERVAL if waits else QUIET_INTERVAL
            return max(self.shortest, self._grow(longest))
        if cost is Cost.QUERY_PER_PEER:
            return self._grow(NO_SERIAL_WAITING_INTERVAL)
        if now < self._busy_until:
            return max(BUSY_INTERVAL, len(states) / BUSY_LOAD)
        return self._grow(max(WAITING_INTERVAL, len(states) / WAITING_LOAD))

    def after_fault(self, now: float) -> float:
        """Return the pause in seconds after a look that failed."""
        self._states = None
        pause = self._grow(FAULT_INTERVAL)
        self._next = now + pause
        return pause

    def _grow(self, longest: float) -> float:
        self._pause = min(self._pause * GROWTH, longest)
        return self._pause * (1 - JITTER * self._jitter())
