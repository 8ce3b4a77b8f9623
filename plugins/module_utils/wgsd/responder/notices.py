# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom to notify of what, and when: pace, retries and acknowledgements (RFC 1996); no I/O."""

from __future__ import annotations

import dataclasses
import heapq
import typing as t

from .followers import Entry, Follower, Followers, Key

#: Seconds to wait for an acknowledgement after each time that a NOTIFY is sent (section 3.6).
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
#: How many are sent at a time, and the seconds from one portion to the next: 1,000 followers are
#: told within a third of a second, and no queue on the way has to hold them all.
PORTION, PORTION_PERIOD = 32, 0.01
#: Portions that may be made up for at once, when others have had the processor meanwhile.
PORTIONS_LATE = 5
#: Seconds in which a new version may overtake the transfer of the one before it to a new follower.
RACE = 1.0


class Notice(t.NamedTuple):
    """One NOTIFY.

    Attributes:
        id: Of the message; the same one when it is sent again.
        serial: The zone's newest.
    """

    follower: Follower
    id: int
    serial: int


class Lost(t.NamedTuple):
    """A follower that could not be notified.

    Attributes:
        configured: Whether it is one of the configuration.
        again: Whether it could not be the last time either.
    """

    follower: Follower
    configured: bool
    again: bool


@dataclasses.dataclass
class _Round:
    """A notification that is not acknowledged yet.

    Attributes:
        tries: How often something was sent in it.
        due: When to try again, or to give up.
    """

    notice: Notice
    tries: int
    due: float


class Notices:
    """The notifications of all followers.

    There is never more than one on its way to a follower. What changes meanwhile it learns by the
    next one: after its acknowledgement, or when it is time to try again. So each is told at its own
    pace, and a burst of changes costs little for one that is away.

    Times are seconds of one clock that never goes back.
    """

    def __init__(self, followers: Followers, random_id: t.Callable[[], int]) -> None:
        """Make it; nobody is told anything before the first `publish`.

        Args:
            followers: Those who never acknowledge are removed there.
            random_id: Returns an unpredictable number of 16 bits.
        """
        self._followers = followers
        self._random_id = random_id
        self._serials: dict[str, int] = {}
        self._published: dict[str, float] = {}
        self._rounds: dict[Key, _Round] = {}
        self._by_id: dict[tuple[str, int, int], Key] = {}
        self._ready: dict[Key, None] = {}
        self._retries: list[tuple[float, Key]] = []
        self._lost: set[Key] = set()
        self._next_portion = 0.0

    def publish(self, zone: str, serial: int | None, now: float) -> None:
        """Have everyone told who follows *zone*.

        Args:
            serial: The newest; None: nothing is known of the zone, so there is nothing to tell.
        """
        if serial is None:
            self._serials.pop(zone, None)
            return
        self._serials[zone] = serial
        self._published[zone] = now
        followers = self._followers.of(zone)
        self._ready.update((key, None) for key in followers if key not in self._rounds)

    def follow(self, follower: Follower, now: float) -> None:
        """Take up who has just transferred a zone, or note that it still does."""
        is_new = self._followers.follow(follower, now)
        if is_new and now - self._published.get(follower.zone, now - RACE) < RACE:
            self._ready[follower.key] = None

    def expire(self, now: float) -> list[Lost]:
        """Give up those who have not acknowledged, however often it was tried.

        Call it before `due`.
        """
        lost = []
        while self._retries and self._retries[0][0] <= now:
            due, key = heapq.heappop(self._retries)
            current = self._rounds.get(key)
            if current is None or current.due != due:
                continue
            entry = self._followers.get(key)
            if entry is None:
                self._end(key)
            elif current.tries < len(WAITS):
                self._ready[key] = None
            else:
                lost.append(self._lose(entry, current.notice.serial))
        return lost

    def due(self, now: float) -> list[Notice]:
        """Return what is to be sent now, a portion at most, and count it as sent."""
        notices: list[Notice] = []
        if now < self._next_portion:
            return notices
        while self._ready and len(notices) < PORTION:
            key = next(iter(self._ready))
            del self._ready[key]
            entry, serial = self._followers.get(key), self._serials.get(key[0])
            if entry is None or serial is None:
                self._end(key)
            else:
                notices.append(self._send(entry.follower, serial, now))
        if notices:
            earliest = now - PORTIONS_LATE * PORTION_PERIOD
            self._next_portion = max(self._next_portion, earliest) + PORTION_PERIOD
        return notices

    def wait(self, now: float) -> float | None:
        """Return the seconds until there is something to do; None: nothing is."""
        if self._ready:
            return max(0.0, self._next_portion - now)
        return max(0.0, self._retries[0][0] - now) if self._retries else None

    def sent(self, address: str, port: int, ident: int) -> Notice | None:
        """Return what was sent there under that ID, while it is not acknowledged."""
        key = self._by_id.get((address, port, ident))
        return self._rounds[key].notice if key else None

    def acknowledge(self, notice: Notice) -> bool:
        """Note that the follower has got what `sent` has returned.

        Returns:
            Whether it is back: it could not be notified the last time.
        """
        key = notice.follower.key
        if self._followers.get(key):
            self._followers.confirm(key)
        self._end(key)
        self._catch_up(key, notice.serial)
        back = key in self._lost
        self._lost.discard(key)
        return back

    def refuse(self, notice: Notice) -> Lost | None:
        """Note that the follower does not want what `sent` has returned."""
        key = notice.follower.key
        entry = self._followers.get(key)
        return self._lose(entry, notice.serial) if entry else None

    def _send(self, follower: Follower, serial: int, now: float) -> Notice:
        key = follower.key
        before = self._rounds.get(key)
        tries = before.tries if before else 0
        ident = self._random_id()
        if before and before.notice.serial == serial:
            ident = before.notice.id
        self._end(key)
        notice, due = Notice(follower, ident, serial), now + WAITS[tries]
        self._rounds[key] = _Round(notice, tries + 1, due)
        self._by_id[follower.address, follower.port, ident] = key
        heapq.heappush(self._retries, (due, key))
        return notice

    def _end(self, key: Key) -> None:
        current = self._rounds.pop(key, None)
        if current is not None:
            follower, ident, _serial = current.notice
            self._by_id.pop((follower.address, follower.port, ident), None)

    def _lose(self, entry: Entry, told: int) -> Lost:
        key = entry.follower.key
        lost = Lost(entry.follower, entry.configured, key in self._lost)
        self._end(key)
        if entry.configured:
            self._lost.add(key)
        if entry.is_lasting:
            self._catch_up(key, told)
        else:
            self._followers.remove(key)
        return lost

    def _catch_up(self, key: Key, told: int) -> None:
        """Start again if there is something newer than what was *told*."""
        if self._serials.get(key[0], told) != told:
            self._ready[key] = None
