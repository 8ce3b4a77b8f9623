# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder's report: what it says, how it is replaced, and what a reader makes of it."""

from __future__ import annotations

import json
import logging
import pathlib

import pytest

from wgsd import __version__
from wgsd.config import ResponderSettings, ZoneSettings
from wgsd.model import Endpoint
from wgsd.responder import report, stats
from wgsd.responder.stats import Board, Main, Notifying, Reading, ZoneFigure, slot

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0
HERE = Endpoint("10.0.0.254", 53)
SETTINGS = ResponderSettings(
    zones=(ZoneSettings("example.com.", "wg0"), ZoneSettings("example.net.", "wg1")),
    workers=2,
    metrics=Endpoint("127.0.0.1", 9586),
)


@pytest.fixture
def board() -> Board:
    return Board.create([zone.zone for zone in SETTINGS.zones], 2, ["wg0", "wg1"])


def answer(board: Board, number: int, rdtype: int = 33, rcode: int = 0, fast: bool = True) -> None:
    recorder = board.worker(0)
    recorder.counts[slot(rdtype, rcode, fast)] += number
    recorder.publish()


def make(board: Board, now: float = NOW, before: dict | None = None, **changes) -> dict:
    return {**report.snapshot(board, SETTINGS, [HERE], [], now, before), **changes}


def test_it_tells_the_zones_and_what_reading_their_devices_costs(board):
    board.zones["example.com."].set(ZoneFigure.SERIAL, 17)
    board.zones["example.com."].set(ZoneFigure.KNOWN, 1)
    board.zones["example.com."].set(ZoneFigure.INSTANCES, 998)
    device = board.devices["wg0"]
    device.set(Reading.PEERS, 1000)
    device.set(Reading.PEERS_WITH_ENDPOINT, 998)
    device.set(Reading.READS, 50)
    device.set(Reading.FAILURES, 2)
    device.set(Reading.CHANGES, 3)
    device.set(Reading.CPU_NS, 1_000_000)
    device.set(Reading.WALL_NS, 2_000_000)
    device.set(Reading.LAST_GOOD_NS, int((NOW - 0.25) * 1e9))
    told = make(board)
    assert told["zones"][0] == {
        "zone": "example.com.",
        "device": "wg0",
        "serial": 17,
        "known": True,
        "peers_served": 998,
    }
    assert told["zones"][1]["known"] is False
    assert told["devices"][0] == {
        "device": "wg0",
        "peers": 1000,
        "peers_with_endpoint": 998,
        "read_age": 0.25,
        "read_cpu": 0.001,
        "read_duration": 0.002,
        "reads": 50,
        "read_failures": 2,
        "changes": 3,
    }
    assert told["devices"][1]["read_age"] is None


def test_it_tells_of_the_processes_and_their_troubles(board):
    main = board.supervisor
    main.set(Main.STARTED_NS, int((NOW - 60) * 1e9))
    main.set(Main.WORKERS, 1)
    main.add(Main.WORKER_RESTARTS, 2)
    main.add(Main.WATCHER_RESTARTS, 3)
    main.add(Main.RELOADS, 4)
    main.add(Main.SOCKET_DROPS, 5)
    told = report.snapshot(board, SETTINGS, [HERE], ["wg1: no such device"], NOW)
    assert (told["version"], told["started"], told["written"]) == (__version__, NOW - 60, NOW)
    assert (told["listening"], told["metrics"]) == (["10.0.0.254:53"], "127.0.0.1:9586")
    assert (told["workers"], told["workers_wanted"], told["worker_restarts"]) == (1, 2, 2)
    assert (told["watcher_restarts"], told["reloads"], told["socket_drops"]) == (3, 4, 5)
    assert told["trouble"] == ["wg1: no such device"]


def test_it_tells_how_followers_are_notified(board):
    for number, figure in enumerate(Notifying, 1):
        board.notifier.add(figure, number)
    assert make(board)["notify"] == {"followers": 1, "sent": 2, "acknowledged": 3, "failed": 4}


def test_queries_are_summed_up_by_each_of_their_properties(board):
    answer(board, 5)
    answer(board, 3, rcode=3)
    answer(board, 2, rdtype=255, rcode=5, fast=False)
    assert make(board)["queries"] == {
        "answered": 10,
        "refused": 2,
        "by_type": {"SRV": 8, "ANY": 2},
        "by_rcode": {"NOERROR": 5, "NXDOMAIN": 3, "REFUSED": 2},
        "by_path": {"fast": 8, "slow": 2},
    }


def test_what_was_not_answered_as_asked_is_told(board):
    recorder = board.worker(1)
    for index in range(len(stats.ANSWERED), stats.SLOTS):
        recorder.counts[index] = index
    recorder.publish()
    told = make(board)
    assert told["ignored"] == stats.SILENT
    assert told["truncated"] == stats.TRUNCATED
    assert told["limited"] == {"slipped": stats.LIMITED_SLIPPED, "dropped": stats.LIMITED_DROPPED}
    assert told["tcp"] == {
        "open": stats.TCP_OPEN,
        "accepted": stats.TCP_ACCEPTED,
        "evicted": stats.TCP_EVICTED,
        "idle": stats.TCP_IDLE,
    }
    assert told["tsig_failed"] == stats.TSIG_FAILED
    assert told["udp_send_failed"] == stats.UDP_SEND_FAILED


def test_the_rate_of_queries_is_that_since_the_report_before(board):
    answer(board, 1000)
    first = make(board)
    assert first["queries_per_second"] is None
    answer(board, 500)
    assert make(board, NOW + 2, first)["queries_per_second"] == 250.0
    assert make(board, NOW - 5, first)["queries_per_second"] is None


def test_the_report_lies_in_the_folder_of_the_unit(monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert report.path() == pathlib.Path("/run/wgsd-responder/status.json")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/one:/run/two")
    assert report.path() == pathlib.Path("/run/one/status.json")


def test_what_is_written_is_read_and_nothing_else_is_left_there(board, tmp_path):
    path = tmp_path / "status.json"
    for number in range(3):
        report.write(path, make(board, NOW + number))
        assert report.read(path, NOW + number) == (make(board, NOW + number), None)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_told_once_and_stops_nothing(board, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    path = tmp_path / "missing" / "status.json"
    for _time in range(5):
        report.write(path, make(board))
    assert [record.message for record in caplog.records] == [
        f"{path}: No such file or directory; 'wgsd status' will know nothing of the responder"
    ]


def test_a_missing_report_is_a_problem_with_a_remedy(tmp_path):
    path = tmp_path / "status.json"
    found = report.read(path, NOW)
    assert found.report is None
    assert str(found.problem) == (
        f"there is no report of a responder in {path};"
        " see whether it runs: systemctl status wgsd-responder"
    )
    assert found.problem.exit_code == 3


def test_a_report_that_nobody_writes_any_more_is_called_out_but_shown(board, tmp_path):
    path = tmp_path / "status.json"
    report.write(path, make(board, pid=4711))
    assert report.read(path, NOW + 10).problem is None
    found = report.read(path, NOW + 75)
    assert found.report["pid"] == 4711
    assert "is 1 m 15 s old: the responder (process 4711) was killed or hangs" in str(found.problem)
    assert "journalctl -u wgsd-responder" in str(found.problem)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"written": "now"}', "\x00"])
def test_a_file_that_is_no_report_is_a_problem_with_a_remedy(text, tmp_path):
    path = tmp_path / "status.json"
    path.write_text(text)
    found = report.read(path, NOW)
    assert found.report is None
    assert f"{path} is not a report of a responder; remove it" in str(found.problem)


def test_a_report_that_cannot_be_read_is_a_problem_with_a_remedy(tmp_path):
    path = tmp_path / "status.json"
    path.mkdir()
    found = report.read(path, NOW)
    assert f"{path} cannot be read: Is a directory; run this as root" in str(found.problem)


def test_the_report_of_another_version_is_not_guessed_at(board, tmp_path):
    path = tmp_path / "status.json"
    path.write_text(json.dumps(make(board, version="0.0.1")))
    found = report.read(path, NOW)
    assert found.report is None
    assert f"is of version 0.0.1, this command of {__version__}" in str(found.problem)
    assert "systemctl reload wgsd-responder" in str(found.problem)


def test_its_size_and_cost_do_not_depend_on_the_number_of_peers(board):
    small = len(json.dumps(make(board)))
    board.devices["wg0"].set(Reading.PEERS, 10_000)
    board.zones["example.com."].set(ZoneFigure.INSTANCES, 10_000)
    assert len(json.dumps(make(board))) - small < 20
