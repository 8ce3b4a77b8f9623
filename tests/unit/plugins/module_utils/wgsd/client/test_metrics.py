# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's figures, read as Prometheus reads them."""

from __future__ import annotations

import prometheus_client.parser
import pytest

from tests.unit.plugins.module_utils.wgsd.client.decisions import (
    BOB,
    CAROL,
    HOME,
    a_try,
    decision,
    look,
)
from wgsd.client.metrics import PERIOD, Metrics
from wgsd.client.report import Surroundings
from wgsd.directory import ZoneVersion
from wgsd.model import Endpoint, PeerChange
from wgsd.plan import State

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0
COUNTS = {"probes_sent_total": 9, "probes_answered_total": 7, "device_reads_total": 30}


class World:
    """Metrics with a clock of their own."""

    def __init__(self, path) -> None:
        self.path = path
        self.seconds = 0.0
        self.metrics = Metrics(
            path, "wg0", wall=lambda: NOW + self.seconds, monotonic=lambda: 100.0 + self.seconds
        )

    def take(self, *decisions, around: Surroundings | None = None) -> None:
        self.metrics.take(look(*decisions), around or Surroundings(), COUNTS)

    def read(self) -> dict[tuple[str, str], float]:
        """Let it write, and return the samples by name and state."""
        self.seconds += PERIOD
        self.metrics.tick()
        found = {}
        for family in prometheus_client.parser.text_string_to_metric_families(
            self.path.read_text()
        ):
            assert family.documentation
            for sample in family.samples:
                assert sample.labels["interface"] == "wg0"
                name = sample.name.removeprefix("wgsd_client_")
                found[name, sample.labels.get("state", "")] = sample.value
        return found


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "client.prom")


def test_peers_are_counted_by_state_and_so_are_their_changes(world):
    unknown = decision(State.UNKNOWN, key=CAROL, target=None)
    for one in (a_try(), decision(State.PUNCHING), decision(State.DIRECT), decision(State.DIRECT)):
        world.take(one, unknown)
    found = world.read()
    states = {state.value: found["peers", state.value] for state in State}
    assert states == {**dict.fromkeys(states, 0), "direct": 1, "unknown": 1}
    for state, times in (
        ("known", 1),
        ("punching", 1),
        ("direct", 1),
        ("unknown", 1),
        ("stale", 0),
    ):
        assert found["transitions_total", state] == times


def test_tries_and_moves_are_counted_once_however_often_they_are_looked_at(world):
    moved = decision(State.STALE, change=PeerChange(BOB, endpoint=HOME))
    keepalive = decision(State.DIRECT, change=PeerChange(BOB, persistent_keepalive=25))
    for one in (a_try(), moved, keepalive):
        world.take(one)
        world.take(one)
    found = world.read()
    assert (found["tries_total", ""], found["moves_followed_total", ""]) == (1, 1)


def test_the_zone_and_what_others_count_are_in_it_and_what_is_not_known_is_not(world):
    world.take()
    assert ("zone_serial", "") not in world.read()
    server = Endpoint("10.0.0.254", 53)
    world.take(
        around=Surroundings(
            version=ZoneVersion(server, 7),
            copied=True,
            notified_at=100.0,
            silent=frozenset([server]),
            moved=(NOW - 9, "it has"),
        )
    )
    found = world.read()
    assert found["zone_serial", ""] == 7
    assert found["zone_followed", ""] == 1
    assert found["servers_silent", ""] == 1
    assert found["last_notify_timestamp_seconds", ""] == NOW
    assert found["last_move_timestamp_seconds", ""] == NOW - 9
    assert found["start_time_seconds", ""] == NOW
    assert found["build_info", ""] == 1
    assert {name: found[name, ""] for name in COUNTS} == COUNTS


def test_it_is_written_at_once_and_then_every_15_seconds(world):
    world.metrics.tick()
    written = world.path.stat().st_mtime_ns
    world.take(decision(State.DIRECT))
    world.metrics.tick()
    assert world.path.stat().st_mtime_ns == written
    assert world.metrics.due == 100.0 + PERIOD
    assert world.read()["peers", "direct"] == 1


def test_a_client_that_has_ended_leaves_no_figures(world):
    world.metrics.tick()
    world.metrics.close()
    assert list(world.path.parent.iterdir()) == []
    world.metrics.close()


def test_a_folder_that_is_not_there_is_told_once_with_a_remedy(tmp_path, caplog):
    world = World(tmp_path / "missing" / "client.prom")
    for _number in range(3):
        world.seconds += PERIOD
        world.metrics.tick()
    (message,) = caplog.messages
    assert str(world.path) in message
    assert "user may write" in message
