# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Response rate limiting: what a forged source address may cost the one whom it belongs to."""

from __future__ import annotations

import enum
import socket
import time
import typing as t

#: Every so many limited responses of a network one is sent cut: a client that is really there
#: then comes back by TCP, where its address is proven.
SLIP = 2
#: Networks looked after since the last turn of the tables; memory is bounded by twice as many.
NETWORKS = 10_000


class Verdict(enum.Enum):
    """What is to be done with a response: send it, send it cut to nothing (TC), or drop it."""

    SEND = "send"
    SLIP = "slip"
    DROP = "drop"


class Limiter:
    """A token bucket for each network that asks: a /24 of IPv4, a /56 of IPv6.

    A bucket holds the responses of one second and is filled again in one second. So a network that
    was not heard of for a second needs no memory: its bucket is full.
    """

    def __init__(self, rate: int, monotonic: t.Callable[[], float] = time.monotonic) -> None:
        """Make a limiter.

        Args:
            rate: Responses a second to one network; 0 for any number.
            monotonic: Seconds.
        """
        self._rate = float(rate)
        self._monotonic = monotonic
        # [tokens, when they were counted, limited responses since the bucket ran dry]
        self._recent: dict[bytes, list[float]] = {}
        self._before: dict[bytes, list[float]] = {}
        self._turned = monotonic()

    def verdict(self, source: str) -> Verdict:
        """Take a token for a response to *source*, a literal address without scope."""
        if not self._rate:
            return Verdict.SEND
        now = self._monotonic()
        if now - self._turned >= 1.0 or len(self._recent) >= NETWORKS:
            self._before, self._recent, self._turned = self._recent, {}, now
        network = _network(source)
        bucket = self._recent.get(network)
        if bucket is None:
            bucket = self._before.get(network) or [self._rate, now, 0.0]
            self._recent[network] = bucket
        tokens = min(self._rate, bucket[0] + (now - bucket[1]) * self._rate)
        bucket[1] = now
        if tokens >= 1.0:
            bucket[0] = tokens - 1.0
            return Verdict.SEND
        bucket[0] = tokens
        bucket[2] += 1
        return Verdict.DROP if bucket[2] % SLIP else Verdict.SLIP


def _network(source: str) -> bytes:
    if ":" in source:
        return socket.inet_pton(socket.AF_INET6, source)[:7]
    return socket.inet_pton(socket.AF_INET, source)[:3]
