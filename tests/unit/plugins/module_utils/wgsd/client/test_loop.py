# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the loop does while there is no device, and when it ends."""

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
from wgsd.client.rights import Rights
from wgsd.config import ClientSettings
from wgsd.errors import DeviceError, NoDeviceError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint

pytestmark = pytest.mark.unit

KEY = PublicKey(b"b" * 32)
SETTINGS = ClientSettings("wgsdnone0", "example.com.", (Endpoint("127.0.0.1", 1),))
SECONDS = 1.0


def test_whoever_ends_by_an_error_leaves_peers_at_rest_to_wireguard_and_tells_of_no_other(
    monkeypatch, tmp_path
):
    def look(_agent, **_options):
        raise DeviceError("wgsdnone0: permission denied")

    stopped = []
    monkeypatch.setattr(report, "RUNTIME_DIR", tmp_path)
    monkeypatch.setattr(Agent, "look", look)
    monkeypatch.setattr(Agent, "leave", lambda _agent: frozenset([KEY]))
    monkeypatch.setattr(Rights, "may_lack", lambda _rights, _fault: True)
    monkeypatch.setattr(report.Report, "stop", lambda _report, left: stopped.append(left))
    loop = Loop(SETTINGS)
    try:
        with pytest.raises(DeviceError):
            loop.run()
    finally:
        loop.close()
    assert stopped == [{KEY}]


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
