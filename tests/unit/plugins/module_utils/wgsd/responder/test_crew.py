# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Worker processes: without rights, replaced when they die, always on the newest version."""

from __future__ import annotations

import os
import pathlib
import selectors
import signal
import socket
import time
import typing as t

import dns.exception
import dns.message
import dns.query
import pytest

from tests.unit.plugins.module_utils.wgsd.responder.test_sockets import free_port
from tests.unit.plugins.module_utils.wgsd.zone.asking import ALICE, ZONE, content
from wgsd import privileges
from wgsd.config import Access, ResponderSettings, ZoneSettings
from wgsd.model import Endpoint
from wgsd.responder import children
from wgsd.responder import crew as module
from wgsd.responder.crew import Crew, Member
from wgsd.responder.sockets import Listener, listen
from wgsd.responder.stats import Board
from wgsd.responder.worker import Worker, load_record_types
from wgsd.zone.version import Chain, Delta, Version

pytestmark = pytest.mark.unit


class Bed:
    """Two workers on loopback and the loop that a supervisor runs around them."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = listen(Endpoint("127.0.0.1", free_port()))
        self.board = Board.create([ZONE], 2)
        self.version = Version(ZONE, 1, content(ALICE))
        self.crew = Crew(2, self.task, self.selector)
        self.crew.serve_on([self.listener])
        self.until(lambda: self.crew.is_current)

    def task(self, index: int, listeners: t.Sequence[Listener]) -> children.Task:
        """What a worker does, as the supervisor has it done."""
        zone = ZoneSettings(ZONE, "wg0", allow_query=Access(("127.0.0.0/8",)))
        settings, version = ResponderSettings((zone,), rate_limit=0), self.version

        def serve(control: socket.socket) -> None:
            load_record_types()
            privileges.drop()
            recorder = self.board.worker(index)
            Worker(control, listeners, settings, [Chain(version)], recorder, bytes(16)).run()

        return serve

    def publish(self, serial: int) -> None:
        """Make the next version."""
        delta = Delta(ZONE, serial, self.version.content.addresses)
        self.version = self.version.after(delta)
        self.crew.publish(delta)

    def until(self, condition: t.Callable[[], bool]) -> None:
        """Run the loop until *condition* holds."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            self.crew.keep()
            for key, mask in self.selector.select(0.01):
                self.crew.handle(key.data, mask)

    @property
    def members(self) -> list[Member]:
        return [key.data for key in self.selector.get_map().values()]

    @property
    def pids(self) -> set[int]:
        return {member.pid for member in self.members}

    def serial(self) -> int:
        """The serial that is served now."""
        query = dns.message.make_query(ZONE, "SOA")
        port = self.listener.endpoint.port
        response = dns.query.udp(query, "127.0.0.1", port=port, timeout=5)
        return int(response.answer[0][0].serial)

    def stop(self) -> None:
        self.crew.stop()
        self.listener.close()
        self.selector.close()


@pytest.fixture
def bed() -> t.Iterator[Bed]:
    one = Bed()
    try:
        yield one
    finally:
        one.stop()


def status(pid: int) -> dict[str, str]:
    """What /proc tells of a process's rights."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}


def test_a_worker_has_no_capability_and_no_way_to_get_one(bed: Bed) -> None:
    for pid in bed.pids:
        found = status(pid)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(found[kind], 16) == 0
        assert found["NoNewPrivs"] == "1"
        assert "0" not in found["Uid"].split()


def test_a_worker_has_nothing_open_that_it_does_not_serve_on(bed: Bed) -> None:
    read_end, write_end = os.pipe()
    try:
        before = bed.pids
        bed.crew.serve_on([bed.listener])
        bed.until(lambda: bed.crew.is_current)
        assert not bed.pids & before
        pipe = pathlib.Path(f"/proc/self/fd/{write_end}").readlink()
        for pid in bed.pids:
            links = [link.readlink() for link in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
            assert pipe not in links
            # Two listening sockets and the control socket.
            others = [link for link in links[3:] if str(link).startswith("socket:")]
            assert len(others) == 3
    finally:
        os.close(read_end)
        os.close(write_end)


def test_new_versions_reach_every_worker(bed: Bed) -> None:
    for serial in range(2, 50):
        bed.publish(serial)
    bed.until(lambda: bed.crew.is_current)
    assert {bed.serial() for _time in range(50)} == {49}


def test_a_killed_worker_is_replaced_told_and_up_to_date(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOOD_LIFE", 0.0)
    bed.publish(7)
    first = bed.pids
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    bed.until(lambda: victim not in bed.pids and bed.crew.is_current)
    assert len(bed.pids) == 2
    assert len(bed.pids & first) == 1
    assert f"worker {victim} ended unasked (signal 9); starting another" in caplog.text
    assert {bed.serial() for _time in range(50)} == {7}


def test_a_worker_that_dies_at_once_is_not_replaced_in_a_rush(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOOD_LIFE", 3600.0)
    victim = min(bed.pids)
    os.kill(victim, signal.SIGKILL)
    bed.until(lambda: victim not in bed.pids)
    for _time in range(3):
        bed.crew.keep()
    assert len(bed.pids) == 1


def test_a_worker_leaves_signals_to_its_supervisor(bed: Bed) -> None:
    for pid in bed.pids:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    time.sleep(0.1)
    assert bed.serial() == 1


def test_a_stopped_crew_leaves_no_process_and_no_answer(bed: Bed) -> None:
    pids = bed.pids
    bed.crew.stop()
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_worker_that_does_not_end_is_killed(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    pids = bed.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    bed.crew.stop()
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_worker_that_hangs_is_replaced_and_told(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_MAX", 0.5)
    monkeypatch.setattr(module, "PING_PERIOD", 0.1)
    victim = min(bed.pids)
    os.kill(victim, signal.SIGSTOP)
    bed.until(lambda: victim not in bed.pids and bed.crew.is_current)
    assert f"worker {victim} ended unasked (no answer for" in caplog.text
    assert bed.crew.restarts == 1


def test_workers_that_work_are_not_taken_for_hanging(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_MAX", 0.5)
    monkeypatch.setattr(module, "PING_PERIOD", 0.05)
    before, end = bed.pids, time.monotonic() + 1.5
    bed.until(lambda: time.monotonic() > end)
    assert bed.pids == before


def test_workers_of_the_run_before_answer_until_the_new_ones_do(bed: Bed) -> None:
    before = bed.pids
    controls = bed.crew.controls()
    assert set(controls) == before
    for control in controls.values():
        bed.selector.unregister(control)
    bed.version = Version(ZONE, 9, bed.version.content)
    successor = Crew(2, bed.task, bed.selector)
    successor.adopt(controls)
    bed.crew = successor
    successor.keep()
    assert bed.serial() == 1
    successor.serve_on([bed.listener])
    bed.until(lambda: successor.is_current)
    bed.until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in before))
    assert bed.serial() == 9
