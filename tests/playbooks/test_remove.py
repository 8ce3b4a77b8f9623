# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook remove, also of hosts that a --limit leaves out, as one does with dead ones."""

from __future__ import annotations

import json
import pathlib

import pytest

pytest.importorskip("ansible")

from tests.playbooks.pretended_mesh import PretendedMesh, Run

pytestmark = pytest.mark.unit


@pytest.fixture
def mesh(tmp_path: pathlib.Path) -> PretendedMesh:
    mesh = PretendedMesh(tmp_path, ["first", "second"], ["alice", "carol"])
    mesh.hosts["oldrack"] = {"carol": {}}
    return mesh


def removed(run: Run, host: str) -> set[str]:
    """Return whose peers a host is told to remove."""
    peers = json.loads(run.given("wg_interface")[host]["peers_json"])
    return {peer["name"] for peer in peers if peer.get("state") == "absent"}


def is_purged(run: Run, host: str) -> bool:
    return run.given("wg_interface").get(host, {}).get("purge", False)


@pytest.mark.parametrize(
    ("named", "limit"),
    [
        ("carol", "all"),
        (["carol"], "!carol"),
        ("oldrack", "!oldrack"),
        ("car*,oldrack", "!carol"),
    ],
)
def test_a_host_is_removed_be_it_in_the_run_or_not(
    mesh: PretendedMesh, named: str | list[str], limit: str
) -> None:
    run = mesh.run("remove", "--limit", limit, wgsd_remove=named)
    assert run.status == 0, run.output
    assert removed(run, "alice") == removed(run, "first") == {"carol"}
    assert is_purged(run, "carol") == (limit == "all")


def test_nobody_asks_a_registry_that_has_left_without_a_run_on_it(mesh: PretendedMesh) -> None:
    run = mesh.run("remove", "--limit", "!second", wgsd_remove="second")
    assert run.status == 0, run.output
    assert [one["address"] for one in run.given("wgsd_client")["alice"]["registries"]] == [
        "10.0.0.254"
    ]


@pytest.mark.parametrize("limit", ["all", "!carol"])
def test_a_dead_host_is_removed(mesh: PretendedMesh, limit: str) -> None:
    mesh.down = ["carol"]
    run = mesh.run("remove", "--limit", limit, wgsd_remove="carol")
    assert "still has the peer" not in run.output
    assert removed(run, "alice") == {"carol"}


def test_a_host_that_stays_and_is_not_reached_is_told(mesh: PretendedMesh) -> None:
    run = mesh.run("remove", "--limit", "!alice", wgsd_remove="oldrack")
    assert run.status != 0
    assert "alice could not be reached and still has the peer" in run.output
