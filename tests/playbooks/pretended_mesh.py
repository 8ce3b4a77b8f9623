# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks run by Ansible itself on hosts that only pretend, and what these were asked to do."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import typing as t

from tests.bench import answers
from tests.unit.collection import ROOT, ansible_environment, program, python_path

Json = dict[str, t.Any]
#: Ansible's own modules that bring a host to what it was before.
_CLEANING = {
    f"ansible.builtin.{module}": {
        "result": {"changed": False, **result},
        "asked": {},
        "key": False,
        "peers": [],
        "secrets": [],
    }
    for module, result in {"find": {"matched": 0, "files": []}, "file": {}, "user": {}}.items()
}
_CONNECTIONS = pathlib.Path(__file__).with_name("connection_plugins")


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run left: exit status, output in one line, the recap's hosts, and the calls."""

    status: int
    output: str
    calls: t.Sequence[Json]

    @property
    def hosts(self) -> set[str]:
        """Those of which a module was asked anything."""
        return {call["host"] for call in self.calls}

    def given(self, module: str) -> dict[str, Json]:
        """Return the options of the last call of a module, by host."""
        return {
            call["host"]: call["given"]
            for call in self.calls
            if call["module"] == f"wgsd.mesh.{module}"
        }


class PretendedMesh:
    """A registry and peers that only pretend.

    Args:
        folder: For files.
        registries: Their names.
        peers: Theirs.

    Attributes:
        down: Hosts that cannot be reached.
        results: What single hosts answer otherwise, by host and module.
        hosts: The hosts' variables, by group and host.
        variables: Those of all hosts.
    """

    def __init__(
        self, folder: pathlib.Path, registries: t.Sequence[str], peers: t.Sequence[str]
    ) -> None:
        self._folder = folder
        self.down: list[str] = []
        self.results: dict[str, dict[str, Json]] = {}
        self.variables: Json = {
            "ansible_connection": "scripted",
            "ansible_python_interpreter": "/usr/bin/python3",
            "wgsd_zone": "example.com.",
        }
        self.hosts: dict[str, dict[str, Json]] = {
            "wgsd_registry": {
                name: {
                    "wgsd_address": f"10.0.0.{254 - number}/24",
                    "wgsd_endpoint": f"203.0.113.{number + 4}:51820",
                }
                for number, name in enumerate(registries)
            },
            "wgsd_peers": {
                name: {"wgsd_address": f"10.0.0.{number + 1}/24"}
                for number, name in enumerate(peers)
            },
        }

    def run(self, playbook: str | list[Json], *arguments: str, **variables: t.Any) -> Run:
        """Run a playbook, by its name in the collection or as its plays."""
        inventory, script = self._folder / "hosts.json", self._folder / "script.json"
        children = {group: {"hosts": hosts} for group, hosts in self.hosts.items()}
        inventory.write_text(
            json.dumps({"all": {"vars": self.variables, "children": children}}), encoding="utf-8"
        )
        script.write_text(
            json.dumps({"down": self.down, "results": self.results}), encoding="utf-8"
        )
        answered = {**answers.prepare(), **_CLEANING}
        interface = answered["wgsd.mesh.wg_interface"]["result"]
        interface["owned"] = True
        interface["peers_with_endpoint"] = list(self.hosts["wgsd_registry"])
        prepared = self._folder / "answers.json"
        prepared.write_text(json.dumps(answered), encoding="utf-8")
        calls = self._folder / "calls"
        calls.unlink(missing_ok=True)
        if isinstance(playbook, list):
            path = self._folder / "playbook.yml"
            path.write_text(json.dumps(playbook), encoding="utf-8")
        command = [program("ansible-playbook"), "--inventory", str(inventory), *arguments]
        command += ["--extra-vars", json.dumps(variables)]
        done = subprocess.run(
            [*command, str(path) if isinstance(playbook, list) else f"wgsd.mesh.{playbook}"],
            cwd=ROOT,
            env={
                **ansible_environment(),
                "ANSIBLE_CONNECTION_PLUGINS": str(_CONNECTIONS),
                "PYTHONPATH": python_path(ROOT),
                "WGSD_BENCH_ANSWERS": str(prepared),
                "WGSD_PLAYBOOK_SCRIPT": str(self._folder),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        lines = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
        told = [json.loads(line) for line in lines]
        return Run(done.returncode, " ".join(done.stdout.split()), told)

    def keys(self, host: str) -> dict[str, str]:
        """Return the secrets of the TSIG keys on a registry, by the keys' names."""
        files = (self._folder / "keys" / host).glob("*key")
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        return dict(re.findall(r'key "(\S+)".*?secret "(\S+)"', text, re.DOTALL))

    def forget_keys(self, host: str) -> None:
        """Remove the TSIG keys of a registry, as if it were installed anew."""
        for file in (self._folder / "keys" / host).iterdir():
            file.unlink()
