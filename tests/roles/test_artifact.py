# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built collection, installed away from its checkout, does the main job.

The registry of its mesh is known by a host name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from tests.lab.systemd import SystemdLab
from tests.lab.topology import REGISTRY_ADDRESS
from tests.roles.site_playbook import PROJECT, Run, Site
from tests.roles.test_site import NOTHING, wait_for_ping

pytestmark = pytest.mark.roles
BIN = Path(sys.executable).parent
ENDPOINT = "registry.example.net:51820"
PEERS = ("alice", "bob")
NEW_ADDRESS = "203.0.113.9"
#: Seconds in which a client misses its registry and has resolved its name.
PATIENCE = 30.0


class Installed:
    """The collection in a folder, and a lab on whose hosts nothing of it has run."""

    def __init__(self, place: Path, lab: SystemdLab) -> None:
        self.lab = lab
        self._place = place
        (place / "ansible.cfg").touch()
        build = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(place)]
        subprocess.run(build, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
        (artifact,) = place.glob("wgsd-mesh-*.tar.gz")
        install = ["collection", "install", "--offline", "--no-cache"]
        install += ["-p", str(place / "collections"), str(artifact)]
        installed = self.run("ansible-galaxy", *install)
        assert installed.status == 0, installed.output
        self._inventory = place / "inventory.json"
        registry = {"registry": {"wgsd_endpoint": ENDPOINT}}
        self._inventory.write_text(json.dumps({"wgsd_registry": {"hosts": registry}}))

    def run(self, *command: str) -> Run:
        """Run a command of Ansible where nothing of the checkout is in sight."""
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self._place / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._place / "collections"),
            "ANSIBLE_NOCOLOR": "1",
        }
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=self._place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def build(self) -> Run:
        """Run the playbook to the end."""
        inventories = ["--inventory", str(self.lab.inventory), "--inventory", str(self._inventory)]
        run = self.run("ansible-playbook", *inventories, "wgsd.mesh.site")
        assert run.status == 0, run.output
        return run

    def journal(self, name: str) -> str:
        """Return what the client of a host has said."""
        command = ["journalctl", "--unit=wgsd-client", "--output=cat"]
        return self.lab.host(name).run(command).stdout


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Installed]:
    """A mesh that the installed collection has built."""
    with SystemdLab(prefix="roles-artifact") as lab:
        for name in PEERS:
            line = f"{REGISTRY_ADDRESS} {ENDPOINT.partition(':')[0]}"
            lab.host(name).run(["sh", "-c", f"echo {line} >> /etc/hosts"])
        installed = Installed(tmp_path_factory.mktemp("installed"), lab)
        installed.build()
        yield installed


def test_the_installed_artifact_builds_a_mesh(mesh: Installed) -> None:
    wait_for_ping(Site(mesh.lab), "alice", "10.0.0.2")


def test_a_registry_may_be_known_by_a_host_name(mesh: Installed) -> None:
    for name in PEERS:
        host = mesh.lab.host(name)
        assert f"Endpoint = {ENDPOINT}\n" in host.run(["cat", "/etc/wireguard/wg0.conf"]).stdout
        config = host.run(["cat", "/etc/wgsd/client.yml"]).stdout
        assert f'- address: "10.0.0.254"\n    endpoint: "{ENDPOINT}"\n' in config
        assert f"{REGISTRY_ADDRESS}:51820" in host.run(["wg", "show", "wg0", "endpoints"]).stdout
    assert "self:" not in mesh.lab.host("registry").run(["cat", "/etc/wgsd/responder.yml"]).stdout
    again = mesh.build()
    assert again.count("changed") == NOTHING, again.output


def test_a_client_resolves_names_within_its_sandbox(mesh: Installed) -> None:
    move = f"sed 's/^{REGISTRY_ADDRESS} /{NEW_ADDRESS} /' /etc/hosts > /tmp/hosts"
    mesh.lab.host("alice").run(["sh", "-c", f"{move} && cat /tmp/hosts > /etc/hosts"])
    mesh.lab.host("registry").kill()
    deadline = time.monotonic() + PATIENCE
    while f"may have moved to {NEW_ADDRESS}" not in mesh.journal("alice"):
        assert time.monotonic() < deadline, mesh.journal("alice")
        time.sleep(0.5)
