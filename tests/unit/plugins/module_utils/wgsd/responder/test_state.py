# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A journal gives back the chain that was kept, or nothing; never one that lacks what was told."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import pathlib
import signal
import typing as t
import unittest.mock
import zlib

import pytest

from wgsd.keys import PublicKey
from wgsd.responder import state as module
from wgsd.responder.state import Journal, new_chain
from wgsd.zone import serial, version
from wgsd.zone.version import Chain, Delta, Instance

pytestmark = pytest.mark.unit

ZONE = "example.com."
NOW = 1_700_000_000.0


def moved(number: int, port: int) -> Delta:
    """The step to serial *number*, in which one peer has got another port."""
    key = PublicKey(hashlib.sha256(b"peer %d" % (port % 7)).digest())
    return Delta(ZONE, number, ("10.0.0.254",), (Instance(key, "192.0.2.1", port),))


class Run:
    """A responder's run, as far as its journal knows of it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.now = 0.0
        self.journal = Journal(folder, ZONE, lambda: self.now)
        self.chain = self.journal.load() or new_chain(ZONE, NOW)

    def step(self, delta: Delta | None = None) -> None:
        """Make the next version."""
        number = serial.following(self.chain.newest.serial)
        delta = delta or moved(number, number % 60_000)
        self.chain.step(delta)
        self.journal.keep(self.chain, delta)

    def begin(self) -> None:
        """Make the first version."""
        number = serial.following(self.chain.newest.serial)
        self.step(Delta(ZONE, number, ("10.0.0.254",), whole=True, seals={"": b"\x00\xff"}))

    def end(self) -> list[Delta]:
        """Let the journal go, and return what there was."""
        self.journal.close()
        return self.chain.deltas()


@pytest.fixture
def left(tmp_path: pathlib.Path) -> list[Delta]:
    """What a run with three steps has left in the folder of the test."""
    run = Run(tmp_path)
    run.begin()
    for _number in range(3):
        run.step()
    return run.end()


def journal_of(folder: pathlib.Path) -> pathlib.Path:
    """The file, which is the only one that is left."""
    (path,) = folder.iterdir()
    assert path.name == "example.com.journal"
    return path


def test_a_run_goes_on_with_the_chain_that_the_last_one_left(
    tmp_path: pathlib.Path, left: list[Delta]
) -> None:
    assert Run(tmp_path).chain.deltas() == left
    assert len(left) == 4


def test_steps_of_many_runs_come_together(tmp_path: pathlib.Path, left: list[Delta]) -> None:
    run = Run(tmp_path)
    run.step()
    run.step()
    assert run.end()[:4] == left
    assert Run(tmp_path).chain.deltas() == run.chain.deltas()
    assert len(run.chain.steps) == 5


def test_a_first_run_goes_on_from_the_clock(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = Run(tmp_path).chain
    assert serial.following(chain.newest.serial) == serial.by_clock(NOW)
    assert chain.newest.content is None
    assert caplog.records == []


def test_a_step_is_appended_and_flushed_to_the_disk(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    run = Run(tmp_path)
    run.begin()
    before = journal_of(tmp_path).read_bytes()
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(os.fstat(file).st_ino))
    run.step()
    run.end()
    path = journal_of(tmp_path)
    assert flushed == [path.stat().st_ino]
    assert path.read_bytes().startswith(before)
    assert len(path.read_bytes()) < len(before) + 200
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_has_as_many_steps_as_the_chain_keeps(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "STEPS_MAX", 10)
    run = Run(tmp_path)
    run.begin()
    for _number in range(35):
        run.step()
        assert journal_of(tmp_path).read_bytes().count(b"\n") == 2 + len(run.chain.steps) <= 12
    run.end()
    assert Run(tmp_path).chain.deltas() == run.chain.deltas()


def test_a_zone_that_was_withdrawn_stays_so(tmp_path: pathlib.Path, left: list[Delta]) -> None:
    run = Run(tmp_path)
    number = serial.following(left[-1].serial)
    run.step(Delta(ZONE, number, None))
    run.end()
    found = Run(tmp_path).chain.newest
    assert (found.serial, found.content) == (number, None)


def test_a_step_that_was_not_written_to_its_end_is_as_if_it_had_not_been_made(
    tmp_path: pathlib.Path, left: list[Delta], caplog: pytest.LogCaptureFixture
) -> None:
    path = journal_of(tmp_path)
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        assert Run(tmp_path).chain.deltas() == left[:-1]
    assert caplog.records == []
    run = Run(tmp_path)
    run.step()
    run.end()
    assert Run(tmp_path).chain.deltas() == run.chain.deltas()


@pytest.mark.parametrize("bit", [1, 0x80])
def test_a_damaged_journal_is_told_and_not_used(
    tmp_path: pathlib.Path, left: list[Delta], caplog: pytest.LogCaptureFixture, bit: int
) -> None:
    path = journal_of(tmp_path)
    whole = path.read_bytes()
    # A newline that is damaged at the very end leaves what cannot be told from a torn line.
    for position in range(len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
        caplog.clear()
        assert Run(tmp_path).chain.newest.content is None
        assert "cannot be used" in caplog.text
        assert "from the clock" in caplog.text
    assert len(left) == 4


@pytest.mark.parametrize("line", [b"", b"7", b"[]", b"\xff", b'["example.com.",8,[],[7],[],0,{}]'])
def test_a_journal_whose_lines_are_no_steps_is_damaged(line: bytes) -> None:
    checksum = zlib.crc32(line, zlib.crc32(module.HEADING))
    with pytest.raises(module.DamagedError, match="line 2: it is no step"):
        module.parse(b"%s\n%08x %s\n" % (module.HEADING, checksum, line), ZONE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[:2] + lines[3:],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: lines[:1],
        lambda lines: [],
        lambda lines: [b"wgsd journal 0", *lines[1:]],
    ],
    ids=["a line lost", "lines swapped", "a line twice", "no lines", "empty", "another version"],
)
def test_a_journal_that_is_not_as_it_was_written_is_not_used(
    tmp_path: pathlib.Path,
    left: list[Delta],
    spoil: t.Callable[[list[bytes]], list[bytes]],
) -> None:
    path = journal_of(tmp_path)
    lines = spoil(path.read_bytes().splitlines())
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert len(left) == 4
    assert Run(tmp_path).chain.newest.content is None


def test_the_journal_of_another_zone_is_not_used(
    tmp_path: pathlib.Path, left: list[Delta], caplog: pytest.LogCaptureFixture
) -> None:
    assert left
    journal_of(tmp_path).rename(tmp_path / "example.org.journal")
    assert Journal(tmp_path, "example.org.").load() is None
    assert "it is about example.com." in caplog.text


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[list[int]]:
    """A disk that takes as many bytes as stand in the list, and half of what is too much."""
    room = [1 << 30]
    real = os.write

    def write(file: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real(file, bytes(data)[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", write)
    return room


def test_a_full_disk_is_told_once_and_leaves_no_journal_that_is_behind(
    tmp_path: pathlib.Path, full_disk: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path)
    run.begin()
    full_disk[0] = 40
    for _number in range(5):
        run.step()
        run.now += module.RETRY_PERIOD / 2
    run.end()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "No space left" in caplog.text
    assert "Make room" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert Run(tmp_path).chain.newest.content is None


def test_a_disk_that_has_room_again_is_used_again(
    tmp_path: pathlib.Path, full_disk: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = Run(tmp_path)
    run.begin()
    full_disk[0] = 40
    run.step()
    full_disk[0] = 1 << 30
    run.step()
    assert not (tmp_path / "example.com.journal").exists()
    run.now += module.RETRY_PERIOD
    run.step()
    run.step()
    run.end()
    assert caplog.records[-1].message == "the journal of example.com. is written again"
    assert Run(tmp_path).chain.deltas() == run.chain.deltas()


def test_a_folder_that_cannot_be_written_is_told_once_and_what_is_there_is_not_used(
    tmp_path: pathlib.Path,
    left: list[Delta],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As on a read-only file system: root may write to a folder of any mode.
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    monkeypatch.setattr(os, "open", unittest.mock.Mock(side_effect=OSError(errno.EROFS, "ro")))
    run = Run(tmp_path)
    assert run.chain.newest.content is None
    run.begin()
    run.step()
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text
    assert left


def test_a_missing_folder_is_told_once(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path / "not there")
    run.begin()
    run.step()
    assert len(caplog.records) == 1


def test_a_journal_taken_up_by_the_next_process_of_the_same_run_is_made_anew(
    tmp_path: pathlib.Path,
) -> None:
    # The supervisor did not hear of the last step of a watcher that died in that moment.
    run = Run(tmp_path)
    run.begin()
    heard = run.chain.deltas()
    run.step()
    run.end()
    second = Run(tmp_path)
    second.chain = Chain.of(heard)
    second.step(moved(serial.following(heard[-1].serial), 4711))
    second.end()
    assert Run(tmp_path).chain.deltas() == second.chain.deltas()


class Killer:
    """Ends this process as SIGKILL or a power cut would, at the given one of its system calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
        self._left = call
        for name in ("open", "write", "fsync", "close", "rename", "replace"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(*arguments: t.Any) -> t.Any:
            self._left -= 1
            if self._left == 0:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        return call


def run_and_be_killed(
    folder: pathlib.Path, told: int, monkeypatch: pytest.MonkeyPatch, call: int
) -> t.NoReturn:
    """Make versions, tell of each after it was kept, until the system call of that number."""
    tell = os.write
    run = Run(folder)
    Killer(monkeypatch, call)
    if run.chain.newest.content is None:
        run.begin()
    while True:
        run.step()
        tell(told, b"%d\n" % run.chain.newest.serial)


def test_a_kill_at_any_system_call_loses_no_version_that_was_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "STEPS_MAX", 4)
    last = 0
    for call in range(1, 60):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                run_and_be_killed(tmp_path, writer, monkeypatch, call)
            finally:
                os._exit(1)
        os.close(writer)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        with os.fdopen(reader) as told:
            serials = [last, *map(int, told)]
        assert serials == sorted(serials)
        last = serials[-1]
        # A step that was kept is there though nobody was told of it any more.
        found = Run(tmp_path).chain
        if last:
            assert found.newest.serial in (last, last + 1)
            last = found.newest.serial
    assert last > serial.by_clock(NOW) + 100
