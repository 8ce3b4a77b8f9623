# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a publisher tells its server what, and what it does about one that fails."""

from __future__ import annotations

import dataclasses
import logging
import select
import socket
import threading
import typing as t

import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import ALICE, BOB, CAROL, content, many
from wgsd.errors import ServerError
from wgsd.names import SERVICE
from wgsd.responder import frames
from wgsd.responder.publisher import PERIOD, RETRY_MAX, Publisher, publish
from wgsd.zone.publication import Change, list_of, names_of
from wgsd.zone.version import Content, Instance, Version

pytestmark = pytest.mark.unit

ZONE, THERE = "mesh.example.", "corp.example."
MOVED = dataclasses.replace(ALICE, port=1)


def wanted(*instances: Instance) -> dict[str, t.AbstractSet[t.Any]]:
    """What the server is to have."""
    one = content(*instances)
    return {**names_of(THERE, one), SERVICE: list_of(THERE, one)}


class Obedient:
    """A server that does what it is told, unless it fails for some time."""

    def __init__(self) -> None:
        self.names: dict[str, t.AbstractSet[t.Any]] = {}
        self.fails: str = ""
        self.looks = self.rounds = 0

    def look(self) -> t.Mapping[str, t.AbstractSet[t.Any]]:
        if self.fails:
            raise ServerError(self.fails)
        self.looks += 1
        return dict(self.names)

    def change(self, batch: t.Sequence[Change]) -> None:
        if self.fails:
            raise ServerError(self.fails)
        self.rounds += 1
        for owner, gone, new in batch:
            kept = set() if gone is None else set(self.names.get(owner, ())) - gone
            self.names[owner] = kept | new
            if not self.names[owner]:
                del self.names[owner]


class Scene:
    """A zone, a publisher of it and its server, and a clock."""

    def __init__(self, *instances: Instance) -> None:
        self.now = 100.0
        self.server = Obedient()
        self._version = Version(ZONE, 1, content(*instances) if instances else None)
        self.publisher = Publisher("it", THERE, self.server, self._version, lambda: self.now)

    def become(self, *instances: Instance) -> None:
        delta = self._version.delta_to(
            self._version.serial + 1, content(*instances) if instances else None
        )
        assert delta
        self._version = self._version.after(delta)
        self.publisher.take([delta])

    def work(self, after: float = 0.0) -> float | None:
        self.now += after
        return self.publisher.work()

    def has(self, *instances: Instance) -> bool:
        return self.server.names == wanted(*instances)


def test_at_first_the_server_is_looked_at_and_brought_up_to_date() -> None:
    scene = Scene(ALICE, BOB)
    scene.server.names = wanted(CAROL, BOB)
    assert scene.work() is None
    assert scene.has(ALICE, BOB)
    assert (scene.server.looks, scene.server.rounds) == (1, 1)


def test_a_server_that_has_all_is_told_nothing() -> None:
    scene = Scene(ALICE)
    scene.server.names = wanted(ALICE)
    assert scene.work() is None
    assert scene.server.rounds == 0


def test_a_step_is_told_without_another_look() -> None:
    scene = Scene(ALICE, BOB)
    scene.work()
    scene.become(MOVED, CAROL)
    assert scene.work(PERIOD) is None
    assert scene.has(MOVED, CAROL)
    assert (scene.server.looks, scene.server.rounds) == (1, 2)


def test_steps_in_quick_succession_are_told_together() -> None:
    scene = Scene(ALICE)
    scene.work()
    scene.become(ALICE, BOB)
    assert scene.work(PERIOD / 4) == pytest.approx(PERIOD * 3 / 4)
    scene.become(ALICE, CAROL)
    assert scene.work(PERIOD * 3 / 4) is None
    assert scene.has(ALICE, CAROL)
    assert scene.server.rounds == 2


def test_while_nothing_is_known_the_server_keeps_what_it_has() -> None:
    scene = Scene()
    scene.server.names = wanted(ALICE)
    assert scene.work() is None
    assert scene.server.looks == 0
    scene.become(BOB)
    scene.work()
    assert scene.has(BOB)
    scene.become()
    assert scene.work(PERIOD) is None
    assert scene.has(BOB)


def test_after_a_failure_the_server_is_looked_at_again(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(ALICE)
    scene.work()
    scene.server.fails = "it burns"
    scene.become(BOB)
    wait = scene.work(PERIOD)
    assert scene.publisher.trouble == "it burns"
    scene.server.fails = ""
    scene.server.names = {f"x.{SERVICE}": {1}}
    assert wait
    assert scene.work(wait / 2) == pytest.approx(wait / 2)
    with caplog.at_level(logging.INFO):
        assert scene.work(wait / 2) is None
    assert scene.has(BOB)
    assert scene.publisher.trouble == ""
    assert "takes updates again" in caplog.text


def test_a_server_that_stays_away_is_told_of_once_and_tried_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(ALICE)
    scene.server.fails = "it burns"
    waits = [scene.work()]
    for _attempt in range(9):
        assert waits[-1]
        waits.append(scene.work(waits[-1]))
    assert waits == [1, 2, 4, 8, 16, 32, *[RETRY_MAX] * 4]
    assert caplog.text.count("it burns; trying again") == 1


def test_names_of_which_the_list_does_not_tell_are_taken_back() -> None:
    scene = Scene(ALICE)
    scene.work()
    alias = scene.server.names[f"alice.{SERVICE}"]
    scene.server.fails = "it burns"
    scene.become(BOB)
    scene.work(PERIOD)
    # What lists peers alone: the alias is there, and not seen.
    scene.server.fails = ""
    scene.server.look = dict  # type: ignore[method-assign]
    assert f"alice.{SERVICE}" in scene.server.names
    assert scene.work(RETRY_MAX) is None
    assert alias not in scene.server.names.values()


def test_a_process_publishes_what_it_is_handed_until_its_control_socket_closes() -> None:
    ours, theirs = socket.socketpair()
    server = Obedient()
    told = threading.Event()
    after = content(ALICE, BOB)

    class Telling(Obedient):
        def change(self, batch: t.Sequence[Change]) -> None:
            server.change(batch)
            if server.names == wanted(ALICE, BOB):
                told.set()

    version = Version(ZONE, 1, Content((), {}))
    publisher = Publisher("it", THERE, Telling(), version)
    thread = threading.Thread(target=publish, args=(theirs, publisher))
    thread.start()
    with theirs:
        with ours:
            delta = version.delta_to(2, after)
            assert delta
            ours.sendall(frames.frame(delta.encode()))
            assert told.wait(10)
            assert not select.select([ours], [], [], 0)[0]
        thread.join(10)
        assert not thread.is_alive()


def test_a_process_tells_its_supervisor_of_trouble_and_of_its_end() -> None:
    ours, theirs = socket.socketpair()
    server = Obedient()
    server.fails = "it burns"
    version = Version(ZONE, 1, content(ALICE))
    clock = iter(range(0, 100000, 100))
    publisher = Publisher("it", THERE, server, version, lambda: float(next(clock)))
    thread = threading.Thread(target=publish, args=(theirs, publisher))
    with theirs:
        with ours:
            ours.settimeout(10)
            thread.start()
            heard = bytearray(ours.recv(4096))
            assert frames.take(heard) == b"it burns"
            server.fails = ""
            delta = version.delta_to(2, content(BOB))
            assert delta
            ours.sendall(frames.frame(delta.encode()))
            heard += ours.recv(4096)
            assert frames.take(heard) == b""
        thread.join(10)
        assert not thread.is_alive()


def test_a_list_that_is_too_long_is_cut_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    crowd = many(900)
    scene = Scene(*crowd)
    assert scene.work() is None
    scene.become(*crowd, ALICE)
    assert scene.work(PERIOD) is None
    assert scene.has(*crowd, ALICE)
    assert len(scene.server.names[SERVICE]) < 900
    assert caplog.text.count("of 900 peers") == 1
    assert caplog.text.count("servers cannot do with more") == 1
