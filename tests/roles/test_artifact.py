# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built collection, installed away from its checkout, does the main job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.site_playbook import PROJECT, Run, Site
from tests.roles.test_site import wait_for_ping

pytestmark = pytest.mark.roles
BIN = Path(sys.executable).parent


def elsewhere(place: Path, *command: str) -> Run:
    """Run a command of Ansible where nothing of the checkout is in sight."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(place / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return Run(done.returncode, done.stdout)


def test_the_installed_artifact_builds_a_mesh(bare_hosts: Site, tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").touch()
    build = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    (artifact,) = tmp_path.glob("wgsd-mesh-*.tar.gz")
    place = str(tmp_path / "collections")
    install = ["collection", "install", "--offline", "--no-cache", "-p", place, str(artifact)]
    installed = elsewhere(tmp_path, "ansible-galaxy", *install)
    assert installed.status == 0, installed.output
    inventory = str(bare_hosts.lab.inventory)
    run = elsewhere(tmp_path, "ansible-playbook", "--inventory", inventory, "wgsd.mesh.site")
    assert run.status == 0, run.output
    wait_for_ping(bare_hosts, "alice", "10.0.0.2")
