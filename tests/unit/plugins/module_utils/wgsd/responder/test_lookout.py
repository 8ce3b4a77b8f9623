# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watcher's process: alone with the right to touch a device, replaced when it dies."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import pathlib
import selectors
import signal
import time
import typing as t

import pytest

from tests.unit.plugins.module_utils.wgsd.responder.test_crew import status
from wgsd.config import ZoneSettings
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer
from wgsd.privileges import READ_DEVICE
from wgsd.responder import children
from wgsd.responder import lookout as module
from wgsd.responder.lookout import Lookout, Sighting
from wgsd.responder.stats import Board, Reading
from wgsd.responder.watcher import Watcher
from wgsd.zone import serial
from wgsd.zone.version import Chain, Delta, Version

pytestmark = pytest.mark.unit

ALICE = PublicKey(hashlib.sha256(b"alice").digest())
OWN = PublicKey(hashlib.sha256(b"registry").digest())
ZONE = ZoneSettings("example.com.", "wg0")


class FileDevice:
    """A device whose only peer's port stands in a file, so that two processes can share it."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def read(self) -> Device:
        peer = Peer(ALICE, Endpoint("192.0.2.1", int(self._path.read_text())))
        return Device("wg0", OWN, 51820, 0, {ALICE: peer})

    def close(self) -> None:
        """Nothing to free."""


class NoJournal:
    """A state directory that is not there."""

    def keep(self, _chain: Chain, _step: Delta) -> None:
        """Nothing is kept."""


class SlowSigner:
    """A signer that takes a second and a half, and says all the time that it is at it."""

    def __init__(self, alive: t.Callable[[], None]) -> None:
        self._alive = alive

    def seal(self, _before: Version, delta: Delta) -> Delta:
        for _name in range(150):
            self._alive()
            time.sleep(0.01)
        return delta

    def refresh(self, _version: Version) -> dict[str, bytes]:
        return {}


class Bed:
    """A lookout and the loop that a supervisor runs around it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.port = folder / "port"
        self.port.write_text("1000")
        self.selector = selectors.DefaultSelector()
        self.chains = {ZONE.zone: Chain(Version(ZONE.zone, 1_000_000))}
        self.deltas: list[Delta] = []
        self.signed = False
        self.board = Board.create([ZONE.zone], 1, ["wg0"])
        self.lookout = Lookout(self.watchers, self.selector, self.publish)

    def watchers(self, alive: t.Callable[[], None]) -> list[Watcher]:
        return [
            Watcher(
                "wg0",
                [ZONE],
                self.chains,
                open_device=lambda _name: t.cast("t.Any", FileDevice(self.port)),
                read_addresses=lambda _name: [ipaddress.ip_interface("10.0.0.254/24")],
                interface_index=lambda _name: 7,
                journals={ZONE.zone: NoJournal()},
                account=self.board.devices["wg0"],
                signers={ZONE.zone: SlowSigner(alive)} if self.signed else {},
            )
        ]

    def publish(self, delta: Delta) -> None:
        self.deltas.append(delta)
        self.chains[delta.zone].step(delta)

    def until(self, condition: t.Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            self.lookout.keep()
            for _key, mask in self.selector.select(0.01):
                self.lookout.handle(mask)


@pytest.fixture
def bed(tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    one = Bed(tmp_path)
    try:
        yield one
    finally:
        one.lookout.stop()
        one.selector.close()


def test_what_the_watcher_sees_arrives(bed: Bed) -> None:
    bed.until(lambda: bed.deltas)
    assert [i.port for i in bed.deltas[0].changed] == [1000]
    bed.until(lambda: bed.lookout.sightings)
    assert bed.lookout.sightings == {"wg0": Sighting(7, ("10.0.0.254",), "")}
    bed.port.write_text("2000")
    bed.until(lambda: len(bed.deltas) == 2)
    assert bed.deltas[1].serial == bed.deltas[0].serial + 1
    assert bed.board.devices["wg0"].get(Reading.CHANGES) == 2


def test_a_watcher_keeps_what_reading_a_device_takes_and_nothing_else(bed: Bed) -> None:
    bed.until(lambda: bed.deltas)
    found = status(bed.lookout.pid or 0)
    wanted = sum(1 << capability for capability in READ_DEVICE)
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == wanted
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
    assert found["NoNewPrivs"] == "1"


def test_a_watcher_that_signs_for_long_is_not_taken_for_one_that_hangs(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_MAX", 0.75)
    monkeypatch.setattr(module, "HEARTBEAT", 0.1)
    bed.signed = True
    bed.until(lambda: bed.deltas)
    assert bed.lookout.restarts == 0


def test_a_watcher_that_dies_is_replaced_told_and_goes_on_where_the_last_one_was(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_PERIOD", 0.1)
    bed.until(lambda: bed.deltas)
    victim = bed.lookout.pid
    assert victim
    os.kill(victim, signal.SIGKILL)
    bed.until(lambda: bed.lookout.restarts == 1)
    bed.port.write_text("2000")
    bed.until(lambda: len(bed.deltas) == 2)
    assert bed.lookout.pid != victim
    assert serial.is_newer(bed.deltas[1].serial, bed.deltas[0].serial)
    assert not bed.deltas[1].whole
    assert f"watcher {victim} ended unasked (signal 9)" in caplog.text


def test_a_watcher_that_hangs_is_replaced(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_MAX", 1.5)
    bed.until(lambda: bed.deltas)
    victim = bed.lookout.pid
    assert victim
    os.kill(victim, signal.SIGSTOP)
    bed.until(lambda: bed.lookout.pid not in (victim, None))
    assert "silent for" in caplog.text


class StuckProcess:
    """Has a child that was killed seem to be in the kernel for some time, as a disk may keep it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pid: int | None = None
        self._waitpid = os.waitpid
        monkeypatch.setattr(os, "waitpid", self._wait)
        monkeypatch.setattr(children, "KILL_PATIENCE", 0.05)

    def _wait(self, pid: int, options: int) -> tuple[int, int]:
        if pid == self.pid:
            assert options & os.WNOHANG, "nobody waits for a process that may not end"
            return 0, 0
        return self._waitpid(pid, options)


def test_a_watcher_that_the_kernel_keeps_is_not_waited_for_and_has_no_other_beside_it(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_MAX", 1.5)
    monkeypatch.setattr(module, "RESTART_PERIOD", 0.1)
    stuck = StuckProcess(monkeypatch)
    bed.until(lambda: bed.deltas)
    victim = stuck.pid = bed.lookout.pid
    assert victim
    os.kill(victim, signal.SIGSTOP)
    bed.until(lambda: bed.lookout.restarts == 1)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert 0 < bed.lookout.keep() <= 1
        assert bed.lookout.pid is None
        time.sleep(0.01)
    assert not bed.lookout.stop()
    assert f"watcher {victim}" in bed.lookout.trouble
    stuck.pid = None
    bed.until(lambda: bed.lookout.pid not in (victim, None))
    assert bed.lookout.trouble == ""
    assert caplog.text.count("ended unasked") == 1


def test_a_stopped_lookout_leaves_no_process(bed: Bed) -> None:
    bed.until(lambda: bed.deltas)
    pid = bed.lookout.pid
    assert bed.lookout.stop()
    assert not pathlib.Path(f"/proc/{pid}").exists()


def test_a_watcher_ends_with_its_supervisor(bed: Bed) -> None:
    supervisor = os.fork()
    if supervisor == 0:
        bed.until(lambda: bed.deltas)
        bed.port.with_name("pid").write_text(str(bed.lookout.pid))
        os._exit(0)
    os.waitpid(supervisor, 0)
    pid = int(bed.port.with_name("pid").read_text())
    deadline = time.monotonic() + 5
    while pathlib.Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        # An orphan may stay as a zombie where nobody collects it.
        if "Z" in status(pid)["State"]:
            break
        time.sleep(0.02)
    else:
        assert not pathlib.Path(f"/proc/{pid}").exists()
