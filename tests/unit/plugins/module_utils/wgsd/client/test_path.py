# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a change of path counts, and how often the kernel is asked; the lab has real changes."""

from __future__ import annotations

import logging
import selectors
import socket
import struct
import typing as t

import pytest

from wgsd.client import path as path_module
from wgsd.client.path import SETTLE, SETTLE_MAX, Path, PathWatcher

pytestmark = pytest.mark.unit

REGISTRY = "203.0.113.4"
HOME = Path(2, "192.168.1.1", "192.168.1.10")
TRAIN = Path(2, "172.16.0.1", "172.16.3.4")
NEWLINK, NEWROUTE = 16, 24
UP, RUNNING = 0x1, 0x40
#: Seconds between two turns of the loop that the tests turn.
STEP = 0.001


def sign(kind: int = NEWROUTE, index: int = 0, flags: int = 0) -> bytes:
    """The begin of a message from rtnetlink."""
    return struct.pack("=IHHII", 32, kind, 0, 0, 0) + struct.pack("=BxHiII", 0, 1, index, flags, 0)


class World:
    """A watcher whose kernel and clock are the test's.

    Attributes:
        paths: What the kernel says when it is asked.
        asked: How often it was asked for a path.
        woken: How often the watcher's socket woke the loop.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: dict[str, Path | None] = {REGISTRY: HOME}
        self.asked = 0
        self.woken = 0
        self.now = 1000.0
        ours, self._kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        world = self

        class Kernel:
            def path(self, address: str, fwmark: int) -> Path | None:
                world.asked += 1
                return world.paths[address]

            def close(self) -> None:
                world._kernel.close()

        monkeypatch.setattr(path_module, "_Kernel", Kernel)
        monkeypatch.setattr(path_module, "_listen", lambda: ours)
        self.selector = selectors.DefaultSelector()
        self.watcher = PathWatcher(self.selector, clock=lambda: self.now)
        self.watcher.watch([REGISTRY], 0)
        self.pass_time(1.0)
        self.asked = 0

    def tell(self, *signs: bytes) -> None:
        for one in signs or [sign()]:
            self._kernel.send(one)

    def pass_time(self, seconds: float) -> None:
        """Turn the loop for that long."""
        until = self.now + seconds
        while self.now < until:
            for key, _events in self.selector.select(0):
                self.woken += 1
                key.data()
            self.watcher.tick()
            self.now += STEP

    def moves(self, path: Path | None, *signs: bytes) -> bool:
        """Whether it counts that the registry is reached in this way now."""
        self.paths[REGISTRY] = path
        self.tell(*signs)
        self.pass_time(1.0)
        return self.watcher.moved()

    def close(self) -> None:
        self.watcher.close()
        assert not self.selector.get_map()
        self.selector.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[World]:
    world = World(monkeypatch)
    yield world
    world.close()


def test_it_has_not_moved_before_anything_happened(world):
    assert not world.watcher.moved()
    assert world.watcher.due is None


@pytest.mark.parametrize(
    "path",
    [
        HOME._replace(source="192.168.1.11"),
        HOME._replace(gateway="192.168.1.2"),
        HOME._replace(interface=3),
    ],
)
def test_another_source_or_gateway_or_interface_is_a_move_that_is_told_once(world, path):
    assert world.moves(path)
    assert not world.watcher.moved()


def test_a_change_that_does_not_concern_the_path_is_no_move(world):
    assert not world.moves(HOME)
    assert world.asked


def test_a_path_that_is_lost_is_no_move_and_one_that_comes_back_is(world):
    assert not world.moves(None)
    assert not world.moves(None)
    assert world.moves(HOME)
    assert not world.moves(HOME)


def test_the_first_path_of_a_host_that_had_none_is_a_move(world):
    world.paths["203.0.113.5"] = None
    world.watcher.watch(["203.0.113.5"], 0)
    world.paths["203.0.113.5"] = HOME
    world.tell()
    world.pass_time(1.0)
    assert world.watcher.moved()


def test_a_link_that_was_down_for_a_moment_is_a_move(world):
    assert world.moves(HOME, sign(NEWLINK, HOME.interface, UP), sign(NEWLINK, HOME.interface, 0x41))


def test_a_link_that_no_path_takes_may_go_down(world):
    assert not world.moves(HOME, sign(NEWLINK, HOME.interface + 1, UP))
    assert not world.moves(HOME, sign(NEWLINK, HOME.interface, UP | RUNNING))


def test_the_kernel_is_asked_once_the_first_sign_has_settled(world):
    world.paths[REGISTRY] = TRAIN
    world.tell(*[sign()] * 50)
    world.pass_time(SETTLE / 2)
    assert world.asked == 0
    world.pass_time(SETTLE)
    assert world.watcher.moved()
    world.pass_time(1.0)
    assert world.asked == 1
    assert world.woken == 1


def test_signs_without_end_make_it_ask_ten_times_a_second(world):
    begun = world.now
    for _number in range(2000):
        world.tell()
        world.pass_time(STEP)
    seconds = world.now - begun
    assert world.asked <= seconds / SETTLE_MAX + 4
    assert world.woken <= world.asked + 1
    world.asked = 0
    assert world.moves(TRAIN)


def test_the_pause_is_short_again_after_a_calm_moment(world):
    for _number in range(500):
        world.tell()
        world.pass_time(STEP)
    world.pass_time(3 * SETTLE_MAX)
    world.watcher.moved()
    world.paths[REGISTRY] = TRAIN
    world.tell()
    world.pass_time(SETTLE + 3 * STEP)
    assert world.watcher.moved()


def test_the_same_addresses_again_cost_nothing(world):
    world.watcher.watch([REGISTRY, REGISTRY], 0)
    assert world.asked == 0


def test_to_watch_another_address_is_no_move(world):
    world.paths["203.0.113.5"] = TRAIN
    world.watcher.watch(["203.0.113.5"], 0)
    world.tell()
    world.pass_time(1.0)
    assert not world.watcher.moved()
    assert world.asked == 2


def test_another_mark_is_asked_for_at_once_and_no_move(world):
    world.paths[REGISTRY] = TRAIN
    world.watcher.watch([REGISTRY], 51820)
    assert world.asked == 1
    world.tell()
    world.pass_time(1.0)
    assert not world.watcher.moved()


def test_without_netlink_nothing_ever_moves_and_the_log_says_so_once(monkeypatch, caplog):
    def refuse() -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(path_module, "_listen", refuse)
    with selectors.DefaultSelector() as selector, caplog.at_level(logging.DEBUG):
        watcher = PathWatcher(selector)
        watcher.watch([REGISTRY], 0)
        watcher.tick()
        assert not watcher.moved()
        assert watcher.due is None
        assert not selector.get_map()
        watcher.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Operation not permitted" in caplog.text
