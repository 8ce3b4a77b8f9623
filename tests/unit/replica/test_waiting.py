# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ends the agent's waiting."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.unit.engine.scripted_dns import ScriptedServer, respond
from tests.unit.replica.primary import ZONE
from wgsd.client.waiting import Waiting
from wgsd.model import Endpoint
from wgsd.replica import Replica

pytestmark = pytest.mark.unit

NOBODY = Endpoint("127.0.0.1", 1)
SOA = (ZONE, "SOA", f"ns1.{ZONE} hostmaster.{ZONE} 7 60 60 600 5")


@pytest.fixture
def waiting():
    waiting = Waiting()
    yield waiting
    waiting.close()


def seconds(function, *arguments, **options) -> float:
    begun = time.monotonic()
    function(*arguments, **options)
    return time.monotonic() - begun


def test_time_ends_it(waiting):
    replica = Replica(ZONE, [NOBODY], selector=waiting.selector)
    assert 0.1 <= seconds(waiting.wait, replica, 0.1) < 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_for_good(waiting, number):
    replica = Replica(ZONE, [NOBODY], selector=waiting.selector)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    timer.start()
    assert seconds(waiting.wait, replica, 30) < 5
    timer.join()
    assert waiting.stopped
    assert seconds(waiting.wait, replica, 30) < 5


def test_a_copy_ends_it_though_not_before_the_shortest_time(waiting):
    def script(query, _tcp):
        return respond(query, [SOA, SOA])

    with ScriptedServer(script) as server:
        for at_least in (0.0, 0.3):
            replica = Replica(ZONE, [server.endpoint], selector=waiting.selector)
            took = seconds(waiting.wait, replica, 30, at_least)
            assert at_least <= took < 5
            assert replica.version.serial == 7
            replica.close()


def test_settling_ends_with_a_copy_with_a_failure_and_with_time(waiting):
    with ScriptedServer(lambda query, _tcp: respond(query, [SOA, SOA])) as server:
        replica = Replica(ZONE, [server.endpoint], selector=waiting.selector)
        assert seconds(waiting.settle, replica, 30) < 5
        assert replica.version
        replica.close()
    replica = Replica(ZONE, [server.endpoint], selector=waiting.selector)
    assert seconds(waiting.settle, replica, 30) < 5
    assert replica.version is None
    replica.close()
