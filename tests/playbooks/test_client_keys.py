# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients' TSIG key on several registries, some of which leave or are down."""

from __future__ import annotations

import pathlib
import shutil

import pytest

pytest.importorskip("ansible")

from tests.playbooks.pretended_mesh import PretendedMesh, Run

pytestmark = pytest.mark.unit

NAME = "clients.example.com."


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of a mesh that was set up once."""
    folder = tmp_path_factory.mktemp("hosts")
    mesh = planned(folder)
    run = mesh.run("site")
    assert run.status == 0, run.output
    assert mesh.keys("r1") == mesh.keys("r2") != {}
    return folder


@pytest.fixture
def mesh(hosts: pathlib.Path, tmp_path: pathlib.Path) -> PretendedMesh:
    """A mesh with two registries that have the key, and their only peer."""
    shutil.copytree(hosts, tmp_path, dirs_exist_ok=True)
    return planned(tmp_path)


def planned(folder: pathlib.Path) -> PretendedMesh:
    mesh = PretendedMesh(folder, ["r1", "r2"], ["alice"])
    mesh.variables["wgsd_client_key"] = NAME
    return mesh


def told(run: Run, peer: str) -> tuple[str, str]:
    """Return the name and the secret of the key that a client is given."""
    key = run.given("wgsd_client")[peer]["key"]
    return key["name"], key.get("secret", "")


def rotate(mesh: PretendedMesh) -> Run:
    """Run tsig_rotate; a client tells which key it is given, which pretended ones do not."""
    new = f"{max(map(generation, mesh.keys('r2'))) + 1}.{NAME}"
    mesh.results["alice"] = {"wgsd.mesh.wgsd_client": {"key": new}}
    return mesh.run("tsig_rotate")


def generation(name: str) -> int:
    number = name.partition(".")[0]
    return int(number) if number.isdigit() else 1


def test_a_rotation_does_without_a_peer_that_leaves(mesh: PretendedMesh) -> None:
    mesh.hosts["wgsd_peers"]["carol"] = {"wgsd_state": "absent"}
    run = rotate(mesh)
    assert run.status == 0, run.output
    assert "carol" not in run.hosts
    (key,) = mesh.keys("r1").items()
    assert key == (f"2.{NAME}", mesh.keys("r2")[f"2.{NAME}"]) == told(run, "alice")


@pytest.mark.parametrize("is_down", [False, True])
def test_a_rotation_does_without_the_first_registry_if_it_leaves(
    mesh: PretendedMesh, is_down: bool
) -> None:
    mesh.hosts["wgsd_registry"]["r1"]["wgsd_state"] = "absent"
    mesh.down = ["r1"] if is_down else []
    run = rotate(mesh)
    assert run.status == 0, run.output
    assert "r1" not in run.hosts
    (key,) = mesh.keys("r2").items()
    assert key[0] == f"2.{NAME}"
    assert told(run, "alice") == key


def test_a_rotation_does_not_without_a_registry_that_stays(mesh: PretendedMesh) -> None:
    mesh.down = ["r1"]
    run = rotate(mesh)
    assert run.status != 0
    assert mesh.keys("r2").keys() == {NAME}


@pytest.mark.parametrize("state", ["absent", "down"])
def test_new_hosts_get_the_key_of_the_registry_that_is_there(
    mesh: PretendedMesh, state: str
) -> None:
    before = mesh.keys("r2")
    if state == "absent":
        mesh.hosts["wgsd_registry"]["r1"]["wgsd_state"] = state
    else:
        mesh.down = ["r1"]
    third = {"wgsd_address": "10.0.0.200/24", "wgsd_endpoint": "203.0.113.9:51820"}
    mesh.hosts["wgsd_registry"]["r3"] = third
    mesh.hosts["wgsd_peers"]["bob"] = {"wgsd_address": "10.0.0.2/24"}
    run = mesh.run("add", wgsd_add="r3,bob")
    assert mesh.keys("r3") == mesh.keys("r2") == before
    assert told(run, "bob") == (NAME, before[NAME])


def test_a_first_registry_that_was_installed_anew_has_the_key_again(mesh: PretendedMesh) -> None:
    before = mesh.keys("r2")
    mesh.forget_keys("r1")
    run = mesh.run("site")
    assert run.status == 0, run.output
    assert mesh.keys("r1") == mesh.keys("r2") == before


def test_a_registry_that_comes_back_does_not_bring_the_old_key_back(mesh: PretendedMesh) -> None:
    mesh.hosts["wgsd_registry"]["r1"]["wgsd_state"] = "absent"
    mesh.down = ["r1"]
    run = rotate(mesh)
    assert run.status == 0, run.output
    del mesh.hosts["wgsd_registry"]["r1"]["wgsd_state"]
    mesh.down = []
    run = mesh.run("site")
    assert run.status == 0, run.output
    assert mesh.keys("r1") == mesh.keys("r2")
    assert mesh.keys("r1").keys() == {f"2.{NAME}"}


def test_the_first_registry_makes_no_other_key_in_check_mode_or_alone(mesh: PretendedMesh) -> None:
    before = mesh.keys("r1")
    for arguments in (["--check"], ["--limit", "r1"], ["--limit", "r2"], []):
        run = mesh.run("site", *arguments)
        assert run.status == 0, run.output
        assert mesh.keys("r1") == mesh.keys("r2") == before
        assert before[NAME] not in run.output


def test_a_registry_that_nobody_can_give_the_key_says_so(mesh: PretendedMesh) -> None:
    mesh.forget_keys("r2")
    run = mesh.run("site", "--limit", "r2")
    assert run.status != 0
    assert "run the play for the first registry too" in run.output
