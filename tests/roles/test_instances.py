# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two meshes on one host with a real systemd: side by side, upgraded, and removed one by one."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

import pytest

from tests.lab.podman import Host
from tests.lab.systemd import SystemdLab
from tests.roles.site_playbook import PROJECT, Run, Site
from tests.roles.test_responder_service import next_version

pytestmark = [pytest.mark.roles, pytest.mark.long]
PLAYBOOK = str(PROJECT / "tests/roles/two_meshes.yml")
ENGINE = "/usr/local/bin/wgsd"
FIRST, LAB = (
    [f"wgsd-{daemon}{instance}.service" for daemon in ("responder", "client")]
    for instance in ("", "@lab")
)


class Meshes:
    """The playbook of two meshes and its host."""

    def __init__(self, lab: SystemdLab) -> None:
        self.host: Host = lab.host("registry")
        self._site = Site(lab)

    def run(self, meshes: str = "", collections: Path | None = None, **variables: object) -> Run:
        """Run the playbook, for one of its meshes or for both."""
        if meshes:
            # Both interfaces are there already.
            variables["prepare"] = False
            variables["meshes"] = [f"{{{{ {meshes} }}}}"]
        extra = ["--extra-vars", json.dumps(variables)]
        return self._site.run(*extra, playbook=PLAYBOOK, collections=collections)

    def leave(self, **variables: object) -> Run:
        """Run the playbook that takes the host out of a mesh."""
        extra = json.dumps({"wgsd_state": "absent", **variables})
        return self._site.run("--extra-vars", extra)

    def build(self, meshes: str = "", collections: Path | None = None, **variables: object) -> Run:
        """Run the playbook to the end."""
        run = self.run(meshes, collections, **variables)
        assert run.status == 0, run.output
        return run

    def active(self) -> list[str]:
        """Return the units of the collection that are up."""
        units = ["systemctl", "is-active", *FIRST, *LAB]
        told = self.host.run(units, check=False).stdout.split()
        return [unit for unit, state in zip([*FIRST, *LAB], told) if state == "active"]

    def status(self) -> dict[str, t.Any]:
        """Return what ``wgsd status`` says, which must be content, by interface."""
        parts = json.loads(self.host.run([ENGINE, "status", "--json"]).stdout)
        return {part["interface"]: part for part in parts}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def meshes(request: pytest.FixtureRequest) -> t.Iterator[Meshes]:
    """A host with two meshes."""
    with SystemdLab(prefix="roles-instances", hosts=("registry",), suite=request.param) as lab:
        found = Meshes(lab)
        found.build()
        yield found


def test_both_are_up_with_what_is_their_own_and_a_second_run_changes_nothing(
    meshes: Meshes,
) -> None:
    assert meshes.active() == [*FIRST, *LAB]
    for address, zone in (("10.0.0.254", "example.com."), ("10.1.0.254", "lab.example.com.")):
        dig = ["dig", "+noall", "+comments", "+answer", f"@{address}", zone, "SOA"]
        assert f"{zone}\t" in meshes.host.run(dig).stdout
    paths = ["/var/lib/wgsd", "/var/lib/wgsd-lab", "/run/wgsd-responder-lab", "/run/wgsd"]
    owners = meshes.host.run(["stat", "--format=%U", *paths]).stdout.split()
    assert owners == ["wgsd"] * 4
    again = meshes.build()
    assert again.count("changed") == {"registry": 0}, again.output


def test_status_shows_both_with_their_responders_and_clients(meshes: Meshes) -> None:
    found = meshes.status()
    assert {
        name: (part["agent"], part["directory"]["zone"], part["responder"]["instance"])
        for name, part in found.items()
    } == {"wg0": (True, "example.com.", None), "wg1": (True, "lab.example.com.", "lab")}
    served = [part["responder"]["report"]["zones"][0]["device"] for part in found.values()]
    assert served == ["wg0", "wg1"]
    text = meshes.host.run([ENGINE, "status"]).stdout
    assert text.count("\nresponder") + text.startswith("responder") == 2


def test_both_come_up_with_the_host(meshes: Meshes) -> None:
    meshes.host.kill()
    meshes.host.start()
    deadline = time.monotonic() + 30
    while meshes.active() != [*FIRST, *LAB]:
        assert time.monotonic() < deadline, meshes.active()
        time.sleep(0.5)


def test_a_client_that_stops_leaves_the_reports_of_the_other(meshes: Meshes) -> None:
    meshes.host.run(["systemctl", "stop", FIRST[1]])
    meshes.host.run(["systemctl", "restart", LAB[1]])
    until_reported = (
        f"until {ENGINE} status --interface wg1 | grep -q '^client: process'; do sleep 0.2; done"
    )
    meshes.host.run(["sh", "-c", until_reported], timeout=30)
    meshes.host.run(["systemctl", "start", FIRST[1]])


def test_the_second_without_an_instance_is_refused_and_nothing_is_replaced(meshes: Meshes) -> None:
    script = ["sh", "-c", "sha256sum /etc/wgsd/* /etc/systemd/system/wgsd-*"]
    before = meshes.host.run(script).stdout
    run = meshes.run("lab", lab_instance="")
    assert run.status != 0
    assert "/etc/wgsd/responder.yml is there for example.com. of wg0" in run.output
    assert "give this one an instance" in run.output
    assert meshes.host.run(script).stdout == before
    assert meshes.active() == [*FIRST, *LAB]


def test_to_leave_one_of_them_with_the_interface_of_the_other_is_refused(meshes: Meshes) -> None:
    script = ["sh", "-c", "sha256sum /etc/wgsd/* /etc/systemd/system/wgsd-* /etc/wireguard/*"]
    before = meshes.host.run(script).stdout
    run = meshes.leave(wgsd_instance="lab")
    assert run.status != 0
    assert "wg0 has a client already: /etc/wgsd/client.yml is there for it" in run.output
    assert "give the interface and the instance of the mesh" in run.output
    assert run.count("changed") == {"registry": 0}, run.output
    assert meshes.host.run(script).stdout == before
    assert meshes.active() == [*FIRST, *LAB]


def test_an_upgrade_by_one_mesh_is_taken_up_by_the_other_in_its_run(
    meshes: Meshes, tmp_path: Path
) -> None:
    collections = next_version(tmp_path)
    first = meshes.build("first", collections)
    assert f"reload {FIRST[0]}" in first.output
    assert "@lab" not in first.output
    second = meshes.build("lab", collections)
    assert f"reload {LAB[0]}" in second.output
    assert f"restart {LAB[1]}" in second.output


def test_the_engine_goes_with_the_last_of_them(meshes: Meshes) -> None:
    meshes.build("first", state="absent")
    assert meshes.active() == LAB
    assert list(meshes.status()) == ["wg1"]
    meshes.build("lab", state="absent")
    assert meshes.active() == []
    # The lab's own units are called wgsd-lab-ssh.
    names = ["-name", "wgsd", "-o", "-name", "wgsd-client*", "-o", "-name", "wgsd-responder*"]
    left = ["find", str(Path(ENGINE).parent), "/etc/systemd/system", *names]
    assert meshes.host.run(left).stdout == ""
