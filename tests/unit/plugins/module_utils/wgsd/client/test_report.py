# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the client leaves for ``wgsd status``: complete, cheap, and known to the next client."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import time

import pytest

from tests.unit.plugins.module_utils.wgsd.client.decisions import (
    AWAY,
    BOB,
    CAROL,
    HOME,
    NONE,
    a_try,
    decision,
    look,
)
from wgsd import systemd
from wgsd.client import report as module
from wgsd.client.discovery import Known
from wgsd.client.report import (
    PATIENCE,
    PAUSE,
    Report,
    Surroundings,
    birth,
    known_of,
    read,
    report_path,
)
from wgsd.clock import Moment
from wgsd.config import ClientSettings
from wgsd.directory import ZoneVersion
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer, PeerChange
from wgsd.plan import Keepalive, Memory, Refusal, State

pytestmark = pytest.mark.unit

SERVER = Endpoint("10.0.0.254", 53)
SETTINGS = ClientSettings("wg0", "example.com.", (SERVER,))
NOW = 1_800_000_000.0
DIRECT = decision(State.DIRECT, before=HOME, reason="the tunnel lives")


class World:
    """A report with a clock of its own, and the file that it writes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.writes = 0
        self.report = self.start()

    def start(self) -> Report:
        return Report(
            SETTINGS,
            now=lambda: Moment(NOW + self.seconds, 5000.0 + self.seconds),
            monotonic=lambda: 100.0 + self.seconds,
        )

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass as the client's loop does: it calls what is due."""
        until = self.seconds + seconds
        while self.seconds < until:
            self.seconds += step
            self.report.tick()

    def publish(self, *decisions, around: Surroundings | None = None, failures=NONE) -> None:
        self.report.publish(look(*decisions, failures=failures), around or Surroundings())
        self.report.tick()

    @property
    def told(self) -> dict:
        return json.loads(report_path("wg0").read_text())

    def peer(self, key: PublicKey = BOB) -> dict:
        return self.told["peers"][key.base64]


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    monkeypatch.setattr(module, "RUNTIME_DIR", tmp_path / "wgsd")
    world = World()
    replace = module.replace_file

    def count(path, text):
        world.writes += 1
        replace(path, text)

    monkeypatch.setattr(module, "replace_file", count)
    return world


@pytest.fixture
def manager(monkeypatch) -> list[str]:
    """What the service manager is told."""
    told: list[str] = []
    monkeypatch.setattr(systemd, "notify", lambda *assignments, **_more: told.extend(assignments))
    return told


def test_a_peer_has_its_state_with_reason_and_beginning_and_what_was_done_about_it(world):
    world.publish(a_try())
    world.pass_time(2)
    world.publish(
        decision(
            State.PUNCHING, before=HOME, reason="no handshake", due=5012.0, answers=True, rtt=0.03
        )
    )
    assert world.peer() == {
        "name": "bob",
        "state": "punching",
        "since": NOW + 2,
        "reason": "no handshake",
        "action": f"no session; set {HOME}",
        "action_at": NOW,
        "endpoint_set": str(HOME),
        "configured": None,
        "directory": str(HOME),
        "failure": None,
        "answers": True,
        "rtt": 0.03,
        "due": NOW + 12,
        "raised": 0,
        "chosen": 0,
    }


def test_the_same_decision_again_changes_nothing_and_is_not_written_again(world):
    for _number in range(100):
        world.publish(DIRECT)
        world.pass_time(1)
    assert world.writes == 1
    assert world.peer()["since"] == NOW


def test_changes_in_quick_succession_are_written_once_a_second(world):
    for number in range(40):
        world.publish(decision((State.PUNCHING, State.DIRECT)[number % 2]))
        world.pass_time(0.25)
    assert world.writes <= 10 / PAUSE + 1


def test_what_nobody_waits_for_is_written_before_long(world):
    world.publish(decision(State.DIRECT, before=HOME, answers=True, rtt=0.03))
    world.publish(decision(State.DIRECT, before=HOME, answers=True, rtt=0.04))
    world.pass_time(PATIENCE - 1)
    assert world.peer()["rtt"] == 0.03
    world.pass_time(2)
    assert world.peer()["rtt"] == 0.04


def test_a_thousand_peers_of_which_one_changes_cost_a_millisecond_or_so(world):
    keys = [PublicKey(number.to_bytes(32, "big")) for number in range(1, 1001)]
    decisions = [decision(State.DIRECT, key=key, before=HOME) for key in keys]
    world.publish(*decisions)
    spent = time.process_time()
    for number in range(20):
        decisions[number] = decision(State.STALE, key=keys[number], before=HOME)
        world.publish(*decisions)
        world.pass_time(PAUSE, PAUSE)
    # Twenty times what it takes on the slowest machine that the tests were seen on.
    assert (time.process_time() - spent) / 20 < 0.1
    assert sum(entry["state"] == "stale" for entry in world.told["peers"].values()) == 20


def test_a_peer_that_the_device_no_longer_has_is_forgotten(world):
    world.publish(DIRECT, decision(State.UNKNOWN, key=CAROL, target=None))
    world.pass_time(2)
    world.publish(DIRECT)
    assert list(world.told["peers"]) == [BOB.base64]


def test_what_was_done_about_a_peer_outlives_the_client(world):
    world.publish(a_try())
    world.pass_time(1)
    world.publish(DIRECT)
    world.report.stop()
    world.pass_time(60)
    world.report = world.start()
    world.publish(DIRECT)
    entry = world.peer()
    assert (entry["endpoint_set"], entry["action_at"], entry["since"]) == (str(HOME), NOW, NOW + 1)


def test_a_client_that_never_saw_the_device_leaves_what_the_one_before_knew(world):
    world.publish(a_try())
    world.report.stop()
    world.start().stop()
    assert world.peer()["endpoint_set"] == str(HOME)


def test_the_endpoint_of_a_peer_that_was_never_heard_of_is_that_of_the_configuration(world):
    world.publish(
        decision(State.PUNCHING, before=HOME),
        decision(State.DIRECT, key=CAROL, before=AWAY, handshake=NOW),
    )
    assert world.peer()["configured"] == str(HOME)
    assert world.peer(CAROL)["configured"] is None


def test_a_keepalive_alone_sets_no_endpoint_and_is_told_as_such(world):
    change = PeerChange(BOB, persistent_keepalive=25)
    world.publish(decision(State.DIRECT, before=HOME, change=change, reason="the tunnel lives"))
    assert world.peer()["endpoint_set"] is None
    assert world.peer()["action"] == "keepalive 25 s: the tunnel lives"


def test_a_peer_at_rest_is_told_to_be_left_to_wireguard_when_the_client_ends(world):
    resting = decision(State.UNREACHABLE, rest_until=6000.0)
    world.publish(resting, dataclasses.replace(resting, public_key=CAROL))
    world.report.stop([BOB])
    assert world.peer()["endpoint_set"] == str(HOME)
    assert "the client ended" in world.peer()["action"]
    assert world.peer(CAROL)["action"] is None, "nothing was done about it"


def test_whose_a_keepalive_is_outlives_the_client_however_it_ended(world):
    silent = PeerChange.anew(Peer(CAROL, persistent_keepalive=15), None, persistent_keepalive=0)
    ours = dataclasses.replace(a_try(), memory=Memory(target=HOME, raised=25))
    theirs = decision(State.UNREACHABLE, key=CAROL, change=silent, chosen=15, rest_until=6000.0)
    world.publish(ours, theirs)
    assert world.start().keepalives([]) == {BOB: Keepalive(25, 0), CAROL: Keepalive(0, 15)}


def test_a_peer_that_was_added_and_not_told_of_any_more_has_a_keepalive_of_ours(world):
    world.publish(decision(State.DIRECT, key=CAROL, before=AWAY))
    assert world.start().keepalives([BOB, CAROL]) == {BOB: Keepalive(25, 0)}


def test_the_report_of_a_version_without_keepalives_tells_nothing_of_them(world):
    world.publish(DIRECT)
    path = report_path("wg0")
    for fields in ({}, {"raised": None, "chosen": 0}):
        path.write_text(json.dumps({"peers": {"x": {"state": "direct", **fields}}}))
        assert world.start().keepalives([]) == {}


def test_the_directory_and_the_hosts_own_moves_are_told(world):
    around = Surroundings(
        registries={CAROL: "it answers"},
        version=ZoneVersion(SERVER, 7),
        copied=True,
        notified_at=95.0,
        silent=frozenset([SERVER]),
        trouble="no answer",
        moved=(NOW - 3, "packets leave it in another way"),
    )
    world.publish(DIRECT, around=around)
    told = world.told
    assert (told["follows"], told["asks"], told["serial"]) == (str(SERVER), None, 7)
    assert told["notified_at"] == NOW - 5
    assert (told["silent"], told["trouble"]) == ([str(SERVER)], "no answer")
    assert told["moved"] == {"at": NOW - 3, "how": "packets leave it in another way"}
    assert told["registries"] == {CAROL.base64: "it answers"}


def test_an_answer_of_no_use_is_told_and_forgotten_with_its_end(world):
    world.publish(DIRECT)
    world.pass_time(1)
    world.publish(DIRECT, failures={BOB: "port 0"})
    assert world.peer()["failure"] == "port 0"
    world.pass_time(1)
    world.publish(DIRECT)
    assert world.peer()["failure"] is None


def test_the_service_manager_hears_in_a_line_how_it_goes_and_only_if_that_changes(world, manager):
    around = Surroundings(version=ZoneVersion(SERVER, 7), copied=True)
    for _number in range(3):
        world.publish(DIRECT, decision(State.UNKNOWN, key=CAROL, target=None), around=around)
    world.report.tell_manager("wg0: no such device")
    world.publish(DIRECT, decision(State.UNKNOWN, key=CAROL, target=None), around=around)
    line = "STATUS=1 of 2 peers direct, 1 unknown, follows 10.0.0.254:53"
    assert manager == [line, "STATUS=wg0: no such device", line]


def test_a_folder_that_cannot_be_written_is_logged_once(world, monkeypatch, caplog, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(world.report, "_path", tmp_path / "file" / "client.json")
    for state in (State.DIRECT, State.STALE):
        world.publish(decision(state))
        world.pass_time(2)
    assert len(caplog.messages) == 1
    assert "'wgsd status' will know less" in caplog.text


def test_no_other_file_is_left_behind(world, tmp_path):
    world.publish(DIRECT)
    world.report.stop()
    assert [path.name for path in (tmp_path / "wgsd").iterdir()] == ["client-wg0.json"]


def test_a_client_that_runs_is_told_from_one_that_has_ended_or_was_killed(world):
    path = report_path("wg0")
    assert read(path) == ({}, False, "no client has reported")
    world.publish(DIRECT)
    assert read(path).running
    report = world.told
    for pid, born in ((os.getpid(), birth(os.getpid()) + 1), (ended_process(), report["birth"])):
        path.write_text(json.dumps({**report, "pid": pid, "birth": born}))
        found = read(path)
        assert not found.running
        assert f"process {pid}" in found.problem
        assert found.report["peers"]
    world.report.stop()
    assert read(path).problem == "the client has ended"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"peers": 7}', '{"version": "0.0.1", "pid": 1}'])
def test_a_file_that_is_no_report_is_no_reason_to_fail(world, text):
    world.publish(DIRECT)
    path = report_path("wg0")
    path.write_text(text)
    found = read(path)
    assert (found.report, found.running) == ({}, False)
    assert str(path) in found.problem
    again = world.start()
    again.publish(look(DIRECT), Surroundings())


def test_tries_of_peers_that_are_off_are_not_written_one_by_one(world):
    off = decision(State.UNREACHABLE)
    world.publish(off)
    world.pass_time(2 * PATIENCE)
    written = world.writes
    for number in range(5):
        tried = a_try(due=float(number))
        world.publish(dataclasses.replace(tried, state=State.UNREACHABLE, reason=f"{number}"))
        world.pass_time(PAUSE)
    assert world.writes == written
    world.pass_time(PATIENCE)
    assert world.writes == written + 1
    assert world.peer()["action"] == "4"


def ended_process() -> int:
    """Return the number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_was_added_is_written_at_once_for_the_next_client(world):
    world.publish(DIRECT)
    carol = decision(State.PUNCHING, key=CAROL, before=HOME)
    around = Surroundings(index=7, discovered={CAROL: "carol"})
    world.publish(DIRECT, carol, around=around)
    assert known_of(report_path("wg0")) == Known(7, {CAROL: "carol"})
    assert world.peer(CAROL)["endpoint_set"] == str(HOME)
    assert world.peer(CAROL)["configured"] is None
    world.publish(DIRECT, around=Surroundings(index=7))
    assert known_of(report_path("wg0")) == Known(7, {})


def test_what_is_about_to_be_added_is_written_with_all_that_was_known_before(world):
    world.publish(a_try())
    world.pass_time(2)
    world.report = world.start()
    world.report.record(7, {CAROL: "carol"})
    assert known_of(report_path("wg0")) == Known(7, {CAROL: "carol"})
    assert world.peer()["endpoint_set"] == str(HOME)
    writes = world.writes
    around = Surroundings(index=7, discovered={CAROL: "carol"})
    world.publish(DIRECT, decision(State.PUNCHING, key=CAROL, before=HOME), around=around)
    assert world.writes <= writes + 1
    assert world.peer(CAROL)["action"].startswith("added")
    assert world.peer()["endpoint_set"] == str(HOME)


def test_what_cannot_be_written_down_is_not_taken_for_written(world, monkeypatch):
    world.publish(DIRECT)
    replace = module.replace_file

    def refuse(_path, _text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "replace_file", refuse)
    with pytest.raises(OSError, match="No space"):
        world.report.record(7, {CAROL: "carol"})
    monkeypatch.setattr(module, "replace_file", replace)
    world.report.stop()
    assert known_of(report_path("wg0")) == Known()


@pytest.mark.parametrize(
    "text", ["", "{}", '{"index": null, "discovered": {}}', '{"index": 7, "discovered": {"x": 1}}']
)
def test_a_report_of_another_kind_tells_of_nobody_who_was_added(tmp_path, text):
    path = tmp_path / "report"
    assert known_of(path) == Known()
    path.write_text(text)
    assert known_of(path) == Known()


def test_who_is_refused_is_in_the_file_with_the_reason(world):
    refused = {CAROL: Refusal("carol", "its network is bob's")}
    world.publish(DIRECT, around=Surroundings(index=7, refused=refused))
    world.pass_time(PAUSE)
    assert world.told["refused"] == {CAROL.base64: ["carol", "its network is bob's"]}
