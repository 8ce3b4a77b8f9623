# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A replica and its primary on one selector and one clock, which the test moves."""

from __future__ import annotations

import selectors
import time
import typing as t

import pytest

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE, Primary
from wgsd.config import TsigKey
from wgsd.directory import signing_key
from wgsd.keys import PublicKey
from wgsd.model import Endpoint
from wgsd.replica import Replica

#: Seconds that a packet on loopback may take.
PATIENCE = 5.0
#: Seconds without a packet after which nothing more is under way.
SILENCE = 0.005


class World:
    """Attributes:
    now: What the replica's clock shows.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.selector = selectors.DefaultSelector()
        self._closers: list[t.Callable[[], None]] = []

    def primary(self, key: TsigKey | None = None, address: str = "127.0.0.1") -> Primary:
        """Start a primary."""
        shared = signing_key(key) if key else None
        primary = Primary(self.selector, address=address, key=shared)
        self._closers.append(primary.close)
        return primary

    def replica(self, *servers: Primary | Endpoint, key: TsigKey | None = None) -> Replica:
        """Make a replica without jitter."""
        endpoints = [s.endpoint if isinstance(s, Primary) else s for s in servers]
        replica = Replica(
            ZONE,
            endpoints,
            key,
            selector=self.selector,
            clock=lambda: self.now,
            jitter=lambda: 0.5,
        )
        self._closers.append(replica.close)
        return replica

    def until(self, replica: Replica, condition: t.Callable[[], t.Any]) -> None:
        """Let both sides work until *condition* holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            replica.tick()
            self._packets()

    def calm(self, replica: Replica) -> None:
        """Let both sides work until neither has anything to do at this time."""
        replica.tick()
        while self._packets():
            replica.tick()

    def pass_time(self, replica: Replica, seconds: float) -> None:
        """Let time pass, and whatever is due on the way happen when it is due."""
        until = self.now + seconds
        self.calm(replica)
        while replica.due <= until:
            self.now = max(self.now, replica.due)
            self.calm(replica)
        self.now = until

    def _packets(self) -> bool:
        ready = self.selector.select(SILENCE)
        for key, _events in ready:
            if key.fileobj in self.selector.get_map():
                key.data()
        return bool(ready)

    def close(self) -> None:
        """Close what was started."""
        for close in reversed(self._closers):
            close()
        self.selector.close()


@pytest.fixture
def world() -> t.Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def bob() -> PublicKey:
    return PublicKey(b"b" * 32)


@pytest.fixture
def carol() -> PublicKey:
    return PublicKey(b"c" * 32)
