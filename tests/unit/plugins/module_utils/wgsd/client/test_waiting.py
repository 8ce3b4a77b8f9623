# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ends the agent's waiting, and what goes on meanwhile."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
import time

import pytest

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE
from tests.unit.plugins.module_utils.wgsd.scripted_dns import ScriptedServer, respond
from wgsd.client.waiting import Waiting
from wgsd.replica import Replica

pytestmark = pytest.mark.unit

SOA = (ZONE, "SOA", f"ns1.{ZONE} hostmaster.{ZONE} 7 60 60 600 5")


class Part:
    """Is due after some seconds, once, or never."""

    def __init__(self, after: float | None = None) -> None:
        self.due = None if after is None else time.monotonic() + after
        self.done = False

    def tick(self) -> None:
        if self.due is not None and time.monotonic() >= self.due:
            self.due, self.done = None, True


@pytest.fixture
def waiting():
    waiting = Waiting()
    yield waiting
    waiting.close()


def never() -> bool:
    return False


def seconds(function, *arguments, **options) -> float:
    begun = time.monotonic()
    function(*arguments, **options)
    return time.monotonic() - begun


def test_time_ends_it(waiting):
    assert 0.1 <= seconds(waiting.wait, [Part()], 0.1, never) < 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_for_good(waiting, number):
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    timer.start()
    try:
        assert seconds(waiting.wait, [Part()], 30, never) < 5
    finally:
        timer.join()
    assert waiting.stopped
    assert seconds(waiting.wait, [Part()], 30, never) < 5


def test_a_part_that_is_due_has_its_turn_and_ends_nothing(waiting):
    parts = [Part(0.05), Part(0.1)]
    assert seconds(waiting.wait, parts, 0.2, never) >= 0.2
    assert [part.done for part in parts] == [True, True]


def test_news_ends_it_though_not_before_the_shortest_time(waiting):
    part = Part(0.02)
    assert seconds(waiting.wait, [part], 30, lambda: part.done) < 5
    assert 0.2 <= seconds(waiting.wait, [part], 30, lambda: True, at_least=0.2) < 5
    assert seconds(waiting.wait, [part], 0.05, lambda: True, at_least=30) < 5


def test_news_that_came_before_it_began_end_it(waiting):
    assert seconds(waiting.wait, [Part()], 30, lambda: True) < 5


def test_what_a_socket_brings_ends_it_if_it_is_news(waiting):
    ours, theirs = socket.socketpair()
    came = []
    with ours, theirs:
        waiting.selector.register(ours, selectors.EVENT_READ, lambda: came.append(ours.recv(1)))
        for after, byte in ((0.05, b"a"), (0.1, b"b")):
            threading.Timer(after, theirs.send, (byte,)).start()
        assert seconds(waiting.wait, [Part()], 30, lambda: b"b" in came) < 5
        waiting.selector.unregister(ours)
    assert came == [b"a", b"b"]


def test_a_copy_of_the_zone_ends_it(waiting):
    def script(query, _tcp):
        return respond(query, [SOA, SOA])

    with ScriptedServer(script) as server:
        replica = Replica(ZONE, [server.endpoint], selector=waiting.selector)
        try:
            took = seconds(waiting.wait, [replica], 30, lambda: replica.version is not None)
            assert took < 5
            assert replica.version.serial == 7
        finally:
            replica.close()
