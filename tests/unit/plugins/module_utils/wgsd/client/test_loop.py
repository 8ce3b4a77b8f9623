# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the loop does while there is no device."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from wgsd.client import report
from wgsd.client.agent import Agent
from wgsd.client.loop import Loop
from wgsd.client.path import PathWatcher
from wgsd.client.prober import Prober
from wgsd.config import ClientSettings
from wgsd.errors import NoDeviceError
from wgsd.model import Endpoint

pytestmark = pytest.mark.unit

SETTINGS = ClientSettings("wgsdnone0", "example.com.", (Endpoint("127.0.0.1", 1),))
SECONDS = 1.0


def test_without_a_device_it_neither_spins_nor_forgets_that_the_host_moved(monkeypatch, tmp_path):
    looks = []

    def look(_agent, *, moved, silent):
        looks.append(moved)
        raise NoDeviceError("wgsdnone0: no such device")

    moves = [True]
    monkeypatch.setattr(report, "RUNTIME_DIR", tmp_path)
    monkeypatch.setattr(Agent, "look", look)
    # An answer that came just before the device went stays unread.
    monkeypatch.setattr(Prober, "has_heard", True)
    monkeypatch.setattr(PathWatcher, "moved", lambda _watcher: bool(moves and moves.pop()))
    loop = Loop(SETTINGS)
    timer = threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        loop.run()
    finally:
        timer.join()
        loop.close()
    assert all(looks)
    assert 2 < len(looks) < 15
