# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people get wrong: the file, the field and the remedy are told, and nothing is half done."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from tests.lab.systemd import SystemdLab
from tests.roles.site_playbook import Site
from tests.roles.test_site import NOTHING, wait_for_ping

pytestmark = [pytest.mark.roles, pytest.mark.long]

CONF = "/etc/wireguard/wg0.conf"
SITE, ADD, REMOVE, ROTATE = (
    f"wgsd.mesh.{name}" for name in ("site", "add", "remove", "rotate_keys")
)


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    with SystemdLab(prefix="bad-inputs") as lab:
        site = Site(lab)
        site.build()
        yield site


def refused(site: Site, *arguments: str, playbook: str = SITE) -> str:
    """Run a playbook that must fail and change nothing; return what it says, in one line."""
    before = site.state()
    run = site.run(*arguments, playbook=playbook)
    assert run.status != 0, run.output
    assert site.state() == before, run.output
    return " ".join(run.output.split())


def inventory(folder: Path, text: str) -> list[str]:
    """One more inventory beside the lab's."""
    path = folder / "more.yml"
    path.write_text(text, encoding="utf-8")
    return ["--inventory", str(path)]


@pytest.mark.parametrize("host", ["registry", "alice"])
def test_a_file_that_wg_quick_would_overwrite(site: Site, host: str) -> None:
    on_host = site.lab.host(host)
    on_host.run(["sed", "-i", "/^.Interface.$/a SaveConfig = true", CONF])
    try:
        for arguments, playbook in (([], SITE), (["-e", f"wgsd_rotate={host}"], ROTATE)):
            said = refused(site, *arguments, playbook=playbook)
            assert f"{CONF}: SaveConfig is true" in said
            assert "remove that line from the file" in said
    finally:
        on_host.run(["sed", "-i", "/SaveConfig/d", CONF])
    assert site.build().count("changed") == NOTHING


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("", "wgsd_remove is not set. Name the hosts to remove, as in -e wgsd_remove=carol"),
        ("carol*", "wgsd_remove is carol*, and no host of the mesh is meant by that. Name the"),
        ("empty", "wgsd_remove is empty, and no host of the mesh is meant by that. Name the"),
        ("wgsd_registry", "wgsd_registry would leave the mesh without a registry. Put another"),
        ("all", "all would leave the mesh without a registry. Put another host into the group"),
    ],
)
def test_a_host_to_remove_that_is_none(
    site: Site, tmp_path: Path, named: str, problem: str
) -> None:
    more = inventory(tmp_path, "all: {children: {empty: {hosts: {}}}}\n")
    assert problem in refused(site, *more, "-e", f"wgsd_remove={named}", playbook=REMOVE)


@pytest.mark.parametrize("named", ["dave", "erin", "", "bob,erin"])
def test_a_host_to_add_that_is_in_no_group(site: Site, tmp_path: Path, named: str) -> None:
    more = inventory(tmp_path, "all: {hosts: {dave: {wgsd_address: 10.0.0.9/24}}}\n")
    said = refused(site, *more, "-e", f"wgsd_add={named}", playbook=ADD)
    assert "Name the hosts to add, as in -e wgsd_add=carol. Each must be in the group" in said


def test_a_host_that_is_to_rotate_and_is_none(site: Site) -> None:
    said = refused(site, "-e", "wgsd_rotate=alice,erin", playbook=ROTATE)
    assert "Say whose keys to replace" in said
    assert "The inventory has no erin." in said


def test_nobody_is_not_everybody(site: Site) -> None:
    assert "Say whose keys to replace" in refused(site, "-e", "wgsd_rotate=", playbook=ROTATE)
    assert "Name the hosts to add" in refused(site, "-e", "wgsd_add=", playbook=ADD)


def test_a_host_in_both_groups_is_a_registry(site: Site, tmp_path: Path) -> None:
    more = inventory(tmp_path, "wgsd_peers: {hosts: {registry: {}}}\n")
    run = site.build(*more)
    assert run.count("changed") == NOTHING, run.output
    before = site.lab.host("registry").run(["wg", "show", "wg0", "public-key"]).stdout
    run = site.run(*more, "-e", "wgsd_rotate=all", playbook=ROTATE)
    assert run.status == 0, run.output
    assert site.lab.host("registry").run(["wg", "show", "wg0", "public-key"]).stdout != before
    wait_for_ping(site, "alice", "10.0.0.2")
    said = refused(site, *more, "-e", "wgsd_remove=registry", playbook=REMOVE)
    assert "registry would leave the mesh without a registry" in said


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"wgsd_interface": "wg1"}, "client.yml is there for wg0, not for wg1; for one more mesh"),
        ({"wgsd_instance": "lab"}, "wg0 has a client already: /etc/wgsd/client.yml is there for"),
        ({"wgsd_instance": "-lab", "wgsd_interface": "wg1"}, "instance: '-lab' cannot be an inst"),
    ],
)
def test_a_second_mesh_that_claims_what_the_first_one_has(
    site: Site, second: dict[str, str], problem: str
) -> None:
    of_others = {"wgsd_zone": "lab.example.com.", "wgsd_mtu": 1300, **second}
    assert problem in refused(site, "--extra-vars", json.dumps(of_others))
    for host in site.lab.hosts.values():
        assert host.run(["ls", "/sys/class/net/wg1"], check=False).returncode != 0


def test_a_folder_that_cannot_be_written_stops_a_rotation_before_anybody_has_switched(
    site: Site,
) -> None:
    alice = site.lab.host("alice")
    folder = "/etc/wireguard"
    read_only = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    alice.run(["sh", "-c", read_only])
    try:
        said = refused(site, "-e", "wgsd_rotate=alice", playbook=ROTATE)
        assert f"{folder}/wg0.key-next: cannot be written: Read-only file system" in said
        assert f"neither read-only nor immutable (findmnt -T {folder}/wg0.key-next" in said
    finally:
        alice.run(["umount", folder])
    wait_for_ping(site, "alice", "10.0.0.2")


def test_a_file_that_cannot_be_replaced_keeps_its_key_until_it_can(site: Site) -> None:
    alice = site.lab.host("alice")
    key = alice.run(["wg", "show", "wg0", "public-key"]).stdout
    file = alice.run(["cat", CONF]).stdout
    alice.run(["mount", "--bind", CONF, CONF])
    try:
        run = site.run("-e", "wgsd_rotate=alice", playbook=ROTATE)
        assert run.status != 0, run.output
        said = " ".join(run.output.split())
        assert f"alice has kept its key: {CONF}: cannot be written: Device or resource" in said
        assert alice.run(["wg", "show", "wg0", "public-key"]).stdout == key
        assert alice.run(["cat", CONF]).stdout == file
        wait_for_ping(site, "alice", "10.0.0.2")
    finally:
        alice.run(["umount", CONF])
    run = site.run("-e", "wgsd_rotate=alice", playbook=ROTATE)
    assert run.status == 0, run.output
    assert alice.run(["wg", "show", "wg0", "public-key"]).stdout != key
    wait_for_ping(site, "alice", "10.0.0.2")
    assert site.build().count("changed") == NOTHING
