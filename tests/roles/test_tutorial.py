# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tutorial, and the page that goes on where it ends, typed as they are, on hosts of the lab.

They run what a user has: the built collection, installed away from its checkout. In the end their
registry gets a host name, which moves.
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

from tests.lab import netns
from tests.lab.netns import Node
from tests.lab.systemd import SystemdLab
from tests.lab.topology import REGISTRY_ADDRESS
from tests.roles.documents import Command, File, read
from tests.roles.site_playbook import PROJECT, Run
from tests.roles.test_site import NOTHING

pytestmark = pytest.mark.roles
BIN = Path(sys.executable).parent
DOCS = PROJECT / "docs"
#: Seconds in which the mesh becomes what the page says, once Ansible is done.
PATIENCE = 30.0
INSTALL = "ansible-galaxy collection install wgsd.mesh"
#: What the lab has done already, or does in another way, for it has no way to the internet.
INSTEAD = {
    "python3 -m pip install 'ansible-core>=2.19' dnspython": "ansible --version",
    INSTALL: f"{INSTALL.rpartition(' ')[0]} --offline --no-cache -p collections wgsd-mesh-*.tar.gz",
}
#: Who is behind whom: a host without anything of ours, the gateway there, and the own address.
BEHIND = {"printer": ("alice", "192.168.10"), "camera": ("bob", "192.168.20")}

ENDPOINT = "registry.example.net:51820"
NEW_ADDRESS = "203.0.113.9"
PEERS = ("alice", "bob")


class Reader:
    """Somebody who does what a page says, in an empty folder of a controller outside the mesh."""

    def __init__(self, lab: SystemdLab, place: Path) -> None:
        self.lab = lab
        self.place = place
        self.others: dict[str, Node] = {}
        (place / "ansible.cfg").touch()
        build = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(place)]
        subprocess.run(build, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
        # How Ansible gets to the hosts is the lab's affair: what ~/.ssh/config is to a user.
        connection = place / "group_vars" / "all" / "connection.json"
        connection.parent.mkdir(parents=True)
        connection.write_text(
            json.dumps(
                {
                    "ansible_ssh_common_args": f'-F "{lab.access.config}"',
                    "ansible_control_path_dir": str(lab.access.control_dir),
                    "ansible_python_interpreter": "/usr/bin/python3",
                }
            )
        )

    def follow(self, page: str) -> None:
        """Do what a page says, and see what it says."""
        for step in read(DOCS / page):
            if isinstance(step, File):
                path = self.place / step.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step.text)
            elif step.host is None:
                self._type(step)
            else:
                self._see(step)

    def _type(self, command: Command) -> None:
        """Run a command on the controller, once."""
        run = self.run(INSTEAD.get(command.line, command.line))
        said = f"$ {command.line}\n{run.output}"
        assert run.status == 0, said
        assert command.printed(run.output), f"{said}\n-- not:\n{command.output}"

    def run(self, line: str) -> Run:
        """Run a command where nothing of the checkout is in sight."""
        network = f"--net=/proc/{self.lab.node('internet').pid}/ns/net"
        environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(self.place / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.place / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
        }
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            ["nsenter", network, "--wdns=.", "bash", "-c", line],
            cwd=self.place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def _see(self, command: Command) -> None:
        """Run a command on a host until it prints what it should."""
        assert command.host
        shell = ["bash", "-c", command.line]
        where = self.others.get(command.host) or self.lab.host(command.host)
        deadline = time.monotonic() + PATIENCE
        while True:
            done = where.run(shell, check=False)
            if done.returncode == 0 and command.printed(done.stdout):
                return
            assert time.monotonic() < deadline, (
                f"{command.host}# {command.line}\n{done.stdout}{done.stderr}\n"
                f"-- not:\n{command.output}"
            )
            time.sleep(0.5)

    def put_behind(self, name: str, gateway: str, start: str) -> None:
        """Wire a host that knows nothing of the mesh to one that does."""
        node = self.others[name] = netns.create_host(self.lab.prefix, name)
        near = self.lab.node(gateway)
        near.ip(
            [
                f"link add eth1 type veth peer name eth0 netns /proc/{node.pid}/ns/net",
                f"address add {start}.1/24 dev eth1",
                "link set eth1 up",
            ]
        )
        node.ip([f"address add {start}.5/24 dev eth0", "link set eth0 up"])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Reader]:
    hosts = ("registry", "alice", "bob", "carol")
    with SystemdLab(prefix="tutorial", hosts=hosts) as lab:
        yield Reader(lab, tmp_path_factory.mktemp("controller"))


def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    reader.follow("tutorial.md")


def test_hosts_behind_two_members_of_the_tutorials_mesh_reach_each_other(reader: Reader) -> None:
    for name, (gateway, start) in BEHIND.items():
        reader.put_behind(name, gateway, start)
    reader.follow("site-to-site.md")


def test_a_registry_may_be_known_by_a_host_name(reader: Reader) -> None:
    for name in PEERS:
        line = f"{REGISTRY_ADDRESS} {ENDPOINT.partition(':')[0]}"
        reader.lab.host(name).run(["sh", "-c", f"echo {line} >> /etc/hosts"])
    inventory = reader.place / "inventory.yml"
    text = inventory.read_text()
    inventory.write_text(text.replace(f"{REGISTRY_ADDRESS}:51820", ENDPOINT))
    assert inventory.read_text() != text
    site = "ansible-playbook -i inventory.yml wgsd.mesh.site"
    assert reader.run(site).count("changed") == {"registry": 1, "alice": 2, "bob": 2}
    for name in PEERS:
        host = reader.lab.host(name)
        assert f"Endpoint = {ENDPOINT}\n" in host.run(["cat", "/etc/wireguard/wg0.conf"]).stdout
        config = host.run(["cat", "/etc/wgsd/client.yml"]).stdout
        assert f'- address: "10.0.0.254"\n    endpoint: "{ENDPOINT}"\n' in config
        assert f"{REGISTRY_ADDRESS}:51820" in host.run(["wg", "show", "wg0", "endpoints"]).stdout
    responder = reader.lab.host("registry").run(["cat", "/etc/wgsd/responder.yml"]).stdout
    assert "self:" not in responder
    again = reader.run(site)
    assert again.count("changed") == NOTHING, again.output


def test_a_client_resolves_names_within_its_sandbox(reader: Reader) -> None:
    alice = reader.lab.host("alice")
    move = f"sed 's/^{REGISTRY_ADDRESS} /{NEW_ADDRESS} /' /etc/hosts > /tmp/hosts"
    alice.run(["sh", "-c", f"{move} && cat /tmp/hosts > /etc/hosts"])
    reader.lab.host("registry").kill()
    journal = ["journalctl", "--unit=wgsd-client", "--output=cat"]
    deadline = time.monotonic() + PATIENCE
    while f"may have moved to {NEW_ADDRESS}" not in (said := alice.run(journal).stdout):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
