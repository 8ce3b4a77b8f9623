# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Preshared keys come to both sides of a pair, or to none."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

pytest.importorskip("ansible")

from tests.bench.ansible.connection_plugins.pretended import public_key
from tests.playbooks.pretended_mesh import PretendedMesh, Run

pytestmark = pytest.mark.unit

ALICE, BOB = public_key("alice"), public_key("bob")
ROLE = "wgsd.mesh.peer"


@pytest.fixture
def mesh(tmp_path: pathlib.Path) -> PretendedMesh:
    mesh = PretendedMesh(tmp_path, ["registry"], ["alice", "bob"])
    mesh.variables["wgsd_preshared_keys"] = True
    first, second = sorted([("alice", ALICE), ("bob", BOB)], key=lambda host: host[1])
    made = {"public_key": first[1], "preshared_keys": {second[1]: "c2VjcmV0"}}
    none = {"public_key": second[1], "preshared_keys": {}}
    for name, result in ((first[0], made), (second[0], none)):
        mesh.results[name] = {"wgsd.mesh.wg_preshared_keys": result}
    return mesh


def play(**keywords: t.Any) -> dict[str, t.Any]:
    return {"hosts": "wgsd_peers", "gather_facts": False, "roles": [ROLE], **keywords}


def secrets(run: Run) -> set[tuple[str, str]]:
    """Return which host is given a key for which peer."""
    return {
        (host, peer["name"])
        for host, given in run.given("wg_interface").items()
        for peer in json.loads(given["peers_json"])
        if "preshared_key" in peer
    }


def test_both_sides_of_a_pair_get_its_key(mesh: PretendedMesh) -> None:
    run = mesh.run([play()])
    assert run.status == 0, run.output
    assert secrets(run) == {("alice", "bob"), ("bob", "alice")}


@pytest.mark.parametrize("batch", [1, "50%"])
def test_batches_are_refused_before_anything_is_changed(
    mesh: PretendedMesh, batch: int | str
) -> None:
    run = mesh.run([play(serial=batch)])
    assert run.status != 0
    assert "wgsd_preshared_keys" in run.output
    assert "Leave out serial" in run.output
    assert not run.calls


def test_batches_are_refused_where_the_interfaces_are_made_already(mesh: PretendedMesh) -> None:
    first = play(roles=["wgsd.mesh._interface"])
    run = mesh.run([first, play(serial=1)])
    assert run.status != 0
    assert "Leave out serial" in run.output
    assert "peers_json" not in run.given("wg_interface")["alice"]


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_hosts_that_do_not_wait_for_each_other_are_refused(
    mesh: PretendedMesh, strategy: str
) -> None:
    run = mesh.run([play(strategy=strategy)])
    assert run.status != 0
    assert "(wgsd_preshared_keys) need a play whose strategy is linear" in run.output
    assert not run.calls


def test_batches_without_preshared_keys_are_welcome(mesh: PretendedMesh) -> None:
    run = mesh.run([play(serial=1, vars={"wgsd_preshared_keys": False})])
    assert run.status == 0, run.output
    assert run.hosts == {"alice", "bob"}


def test_a_host_that_is_down_does_not_stop_the_others(mesh: PretendedMesh) -> None:
    mesh.down = ["bob"]
    mesh.hosts["wgsd_peers"]["carol"] = {"wgsd_address": "10.0.0.3/24"}
    for plays in ([play()], [play(roles=["wgsd.mesh._interface"]), play()], "site"):
        run = mesh.run(plays)
        assert "alice : ok=" in run.output
        assert run.output.count("failed=0") == len(mesh.hosts["wgsd_peers"]) + (plays == "site")
        assert {"alice", "carol"} <= set(run.given("wgsd_client"))
