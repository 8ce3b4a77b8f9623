# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures in shared memory: seen across processes, kept when one of them is replaced."""

from __future__ import annotations

import gc
import mmap
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

import pytest

from wgsd.responder import stats
from wgsd.responder.stats import Board, Main, Reading, ZoneFigure, slot

pytestmark = pytest.mark.unit

SRV, NOERROR = 33, 0
ANSWERED_SRV = slot(SRV, NOERROR, True)


@pytest.fixture
def board() -> Board:
    return Board.create(["example.com.", "example.net."], 2, ["wg0", "wg1"])


def in_a_child(task: t.Callable[[], object]) -> None:
    """Run *task* in a forked process to its end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            task()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def count(board: Board, index: int, number: int) -> None:
    """Count *number* answered queries as worker *index*."""
    recorder = board.worker(index)
    recorder.counts[ANSWERED_SRV] += number
    recorder.publish()


@pytest.mark.parametrize(
    ("rdtype", "rcode", "fast", "labels"),
    [
        (1, 0, True, ("A", "NOERROR", "fast")),
        (33, 3, False, ("SRV", "NXDOMAIN", "slow")),
        (255, 5, False, ("ANY", "REFUSED", "slow")),
        (16, 16, False, ("TXT", "BADVERS", "slow")),
        (65, 23, True, ("other", "other", "fast")),
        (0, 1, False, ("other", "FORMERR", "slow")),
    ],
)
def test_a_query_has_a_slot_by_type_rcode_and_path(rdtype, rcode, fast, labels):
    assert stats.ANSWERED[slot(rdtype, rcode, fast)] == labels


def test_each_thing_that_is_counted_has_a_slot_of_its_own():
    answered = {slot(t, r, f) for t in range(256) for r in range(24) for f in (False, True)}
    others = [stats.SILENT, stats.TRUNCATED, stats.LIMITED_SLIPPED, stats.LIMITED_DROPPED]
    others += [stats.TCP_ACCEPTED, stats.TCP_EVICTED, stats.TCP_IDLE, stats.TCP_OPEN]
    others += [stats.TSIG_FAILED, stats.UDP_SEND_FAILED]
    assert len(set(stats.ANSWERED)) == len(stats.ANSWERED) == len(answered)
    assert sorted([*answered, *others]) == list(range(stats.SLOTS))


def test_the_workers_counts_are_seen_from_outside_once_they_are_published(board):
    def work() -> None:
        recorder = board.worker(1)
        recorder.counts[ANSWERED_SRV] += 3
        recorder.publish()
        recorder.counts[ANSWERED_SRV] += 100

    in_a_child(work)
    count(board, 0, 4)
    assert board.totals()[ANSWERED_SRV] == 7


def test_every_process_has_figures_of_its_own(board):
    def watch() -> None:
        for number, device in enumerate(board.devices.values(), 1):
            device.add(Reading.READS, number)
            device.set(Reading.PEERS, 10_000 * number)

    in_a_child(watch)
    board.supervisor.add(Main.WORKER_RESTARTS)
    for zone in board.zones.values():
        zone.set(ZoneFigure.SERIAL, 2**32 - 1)
    assert [d.get(Reading.READS) for d in board.devices.values()] == [1, 2]
    assert [d.get(Reading.PEERS) for d in board.devices.values()] == [10_000, 20_000]
    assert [z.get(ZoneFigure.SERIAL) for z in board.zones.values()] == [2**32 - 1] * 2
    assert [z.get(ZoneFigure.KNOWN) for z in board.zones.values()] == [0, 0]
    assert board.supervisor.get(Main.WORKER_RESTARTS) == 1
    assert sum(board.totals()) == 0


def test_a_worker_goes_on_from_what_the_one_before_it_had_counted(board):
    def crash() -> None:
        recorder = board.worker(0)
        recorder.counts[ANSWERED_SRV] += 5
        recorder.counts[stats.TCP_OPEN] += 3
        recorder.publish()

    in_a_child(crash)
    assert board.totals()[stats.TCP_OPEN] == 3
    count(board, 0, 2)
    assert board.totals()[ANSWERED_SRV] == 7
    assert board.totals()[stats.TCP_OPEN] == 0


def test_a_figure_that_is_read_while_it_is_written_is_the_old_or_the_new_one(board):
    low, high = 2**32 - 1, 2**32
    device = board.devices["wg0"]
    device.set(Reading.CPU_ALL_NS, low)

    def write() -> None:
        recorder = board.worker(0)
        while True:
            for value in (low, high):
                recorder.counts[ANSWERED_SRV] = value
                recorder.publish()
                device.set(Reading.CPU_ALL_NS, value)

    pid = os.fork()
    if pid == 0:
        try:
            write()
        finally:
            os._exit(1)
    try:
        seen = set()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            seen |= {board.totals()[ANSWERED_SRV], device.get(Reading.CPU_ALL_NS)}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert seen - {0} == {low, high}


def test_a_worker_that_writes_rubbish_everywhere_does_not_stop_the_others(board):
    def vandalise() -> None:
        size = os.fstat(board.fileno()).st_size
        mmap.mmap(board.fileno(), size)[:] = b"\xff" * size

    in_a_child(vandalise)
    began = time.monotonic()
    assert len(board.totals()) == stats.SLOTS
    after = Board.inherit(os.dup(board.fileno()), ["example.com."], 2)
    assert len(after.totals()) == stats.SLOTS
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("workers", [0, 65])
def test_more_workers_than_have_room_are_refused(workers):
    with pytest.raises(ValueError, match=f"{workers} workers"):
        Board.create(["example.com."], workers)


def test_the_program_that_a_reload_starts_goes_on_counting(board):
    count(board, 0, 5)
    board.supervisor.add(Main.RELOADS)
    board.devices["wg1"].add(Reading.READS, 9)
    program = f"""
from wgsd.responder.stats import Board, Main, Reading
board = Board.inherit({board.fileno()}, ["example.com.", "example.net."], 2, ["wg0", "wg1"])
recorder = board.worker(0)
recorder.counts[{ANSWERED_SRV}] += 2
recorder.publish()
board.supervisor.add(Main.RELOADS)
print(board.totals()[{ANSWERED_SRV}], board.supervisor.get(Main.RELOADS))
print(board.devices["wg1"].get(Reading.READS))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        pass_fds=[board.fileno()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["7", "2", "9"], done.stderr


def inherited(board: Board, workers: int = 2, devices: t.Sequence[str] = ("wg0", "wg1")) -> Board:
    return Board.inherit(os.dup(board.fileno()), ["example.com.", "example.net."], workers, devices)


def test_after_a_reload_old_and_new_workers_count_side_by_side(board):
    old = board.worker(0)
    old.counts[ANSWERED_SRV] += 1
    old.counts[stats.TCP_OPEN] = 4
    old.publish()
    after = inherited(board)
    new = after.worker(0)
    new.counts[ANSWERED_SRV] += 10
    new.counts[stats.TCP_OPEN] = 1
    new.publish()
    old.counts[ANSWERED_SRV] += 100
    old.publish()
    assert after.totals()[ANSWERED_SRV] == 111
    assert after.totals()[stats.TCP_OPEN] == 1


def test_no_counter_goes_back_over_reloads_with_fewer_and_more_workers(board):
    for expected, workers in ((5, 2), (10, 1), (15, 3), (20, 2), (25, 1)):
        board = inherited(board, workers)
        assert board.totals()[ANSWERED_SRV] == expected - 5
        count(board, workers - 1, 5)
        assert board.totals()[ANSWERED_SRV] == expected


def test_after_a_reload_with_other_devices_their_figures_start_from_0(board):
    count(board, 0, 5)
    for device in board.devices.values():
        device.set(Reading.READS, 7)
    after = inherited(board, devices=["wg1", "wg2", "wg3"])
    assert [device.get(Reading.READS) for device in after.devices.values()] == [0, 0, 0]
    assert after.totals()[ANSWERED_SRV] == 5


@pytest.mark.parametrize("content", [b"", b"short", b"\x01" * 100_000])
def test_the_figures_of_another_version_are_left_alone(content):
    file = os.memfd_create("another")
    os.write(file, content)
    after = Board.inherit(file, ["example.com."], 1)
    assert sum(after.totals()) == 0
    assert after.supervisor.get(Main.RELOADS) == 0


def test_a_board_that_nobody_uses_any_more_is_given_back():
    maps = pathlib.Path("/proc/self/maps")
    gc.collect()
    before = maps.read_text().count("wgsd-figures")
    board = Board.create(["example.com."], 1)
    file = board.fileno()
    assert maps.read_text().count("wgsd-figures") == before + 1
    del board
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
    assert maps.read_text().count("wgsd-figures") == before
