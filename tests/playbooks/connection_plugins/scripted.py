# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that only pretend, some of them down, that write down what they are asked."""

from __future__ import annotations

import json
import os
import pathlib
import types
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.wgsd.mesh.plugins.module_utils import _tsig_keys
from ansible_collections.wgsd.mesh.plugins.module_utils._files import FileState
from ansible_collections.wgsd.mesh.plugins.modules import wgsd_tsig_key

from tests.bench.ansible.connection_plugins import pretended

DOCUMENTATION = """
name: scripted
short_description: Hosts that only pretend, and write down what they are asked
description:
  - As C(pretended), with answers of single hosts and TSIG keys that are really made.
extends_documentation_fragment: [connection_pipelining]
options:
  remote_addr:
    description: The name of the host.
    vars: [{name: inventory_hostname}]
  answers:
    description: A JSON file with the answers by the module's name, see C(tests/bench/answers.py).
    required: true
    env: [{name: WGSD_BENCH_ANSWERS}]
  script:
    description:
      - A folder with C(script.json), and for what is written down. The file has the hosts that are
        C(down), and C(results) by host and module that take the place of those prepared.
    required: true
    env: [{name: WGSD_PLAYBOOK_SCRIPT}]
"""


class Connection(pretended.Connection):
    """See above."""

    transport = "scripted"

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        host, folder = self.get_option("remote_addr"), pathlib.Path(self.get_option("script"))
        script = json.loads((folder / "script.json").read_text(encoding="utf-8"))
        if host in script["down"]:
            raise AnsibleConnectionFailure("it is down")
        code, answer, errors = super().exec_command(cmd, in_data, sudoable)
        module, arguments = pretended._payload(in_data or b"")
        given = json.loads(arguments)
        result = json.loads(answer)
        result.update(script["results"].get(host, {}).get(module, {}))
        if module == "wgsd.mesh.wgsd_tsig_key":
            result.update(_tsig_key(folder / "keys" / host, given))
        line = json.dumps({"host": host, "module": module, "given": given}) + "\n"
        calls = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(calls, line.encode())
        os.close(calls)
        return code, json.dumps(result).encode(), errors


def _tsig_key(folder: pathlib.Path, given: dict[str, t.Any]) -> dict[str, t.Any]:
    """Run the module itself on files of this host's own, whoever owns them."""
    defaults = {"algorithm": "hmac-sha256", "state": "present", "copy_of": None}
    params = {**defaults, "return_secret": False, **given}
    for key in params["copy_of"] or ():
        key.setdefault("secret", None)
    folder.mkdir(parents=True, exist_ok=True)
    _tsig_keys.FOLDER = folder
    wgsd_tsig_key.write_file = lambda path, wanted: path.write_bytes(wanted.content)
    wgsd_tsig_key.read_file = lambda path: (
        FileState(path.read_bytes(), _tsig_keys.MODE) if path.exists() else FileState()
    )
    module = types.SimpleNamespace(
        params=params, check_mode=given.get("_ansible_check_mode", False)
    )
    try:
        return wgsd_tsig_key.run(t.cast(t.Any, module))
    except wgsd_tsig_key.UsageError as exc:
        return {"failed": True, "msg": str(exc)}
