# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a device had and when, and so which answers were right, and how old the others."""

from __future__ import annotations

import collections
import typing as t

from . import wire
from .prober import LOST, Sample
from .registry import Span

#: Nanoseconds for which the past is kept; older answers are wrong whatever they say.
_MEMORY = 60 * 10**9


class Truth:
    """The ports that each peer had, and the times at which the device was without peers.

    An operation on the device takes time: what it brings counts from its beginning, what it ends
    counts until its end.
    """

    def __init__(self, ports: t.Sequence[int]) -> None:
        """Begin.

        Args:
            ports: The port of each peer now.
        """
        self._now = list(ports)
        #: Of each peer: ports it had, and until when.
        self._past: dict[int, collections.deque[tuple[int, int]]] = {}
        self._since: dict[int, int] = {}
        self._absences: list[Span] = []

    def moved(self, index: int, port: int, span: Span) -> None:
        """Take down that a peer has another port."""
        past = self._past.setdefault(index, collections.deque())
        past.append((self._now[index], span.end))
        while past[0][1] < span.end - _MEMORY:
            past.popleft()
        self._now[index] = port
        self._since[index] = span.begin

    def absent(self, span: Span) -> None:
        """Take down that the device was there without peers."""
        self._absences.append(span)

    def age(self, sample: Sample) -> int | None:
        """Return how long ago the answer was right when it was asked for, in nanoseconds.

        Returns:
            0 if it was right at some moment between query and answer; None if it never was.
        """
        assert sample.rcode != LOST
        answered = sample.sent + sample.took
        if sample.rcode == wire.NXDOMAIN:
            ends = [span.end for span in self._absences if span.begin <= answered]
            return max(0, sample.sent - max(ends)) if ends else None
        if sample.rcode != wire.NOERROR or not sample.port:
            return None
        if sample.port == self._now[sample.index]:
            # One that came before its time is no answer but a wonder.
            return 0 if self._since.get(sample.index, 0) <= answered else None
        for port, end in reversed(self._past.get(sample.index, ())):
            if port == sample.port:
                return max(0, sample.sent - end)
        return None
