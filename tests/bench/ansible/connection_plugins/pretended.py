# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to a host that is not there; modules are answered as on a finished mesh."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import pathlib
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: pretended
short_description: Hosts that only pretend
description:
  - Answers each module at once with what is prepared for it, so that a run costs the
    controller's work alone.
  - All that Ansible does up to handing the module to ssh is done, and all that it does with
    an answer.
extends_documentation_fragment: [connection_pipelining]
options:
  remote_addr:
    description: The name of the host.
    vars: [{name: inventory_hostname}]
  answers:
    description: A JSON file with the answers by the module's name, see C(tests/bench/answers.py).
    required: true
    env: [{name: WGSD_BENCH_ANSWERS}]
"""

_HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
_ARGUMENTS = '{"ANSIBLE_MODULE_ARGS": '


class Connection(ConnectionBase):
    """See above."""

    transport = "pretended"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        if not in_data:
            raise AnsibleError(f"a pretended host runs modules by pipelining only, not {cmd!r}")
        module, arguments = _payload(in_data)
        answers = json.loads(pathlib.Path(self.get_option("answers")).read_text(encoding="utf-8"))
        if module not in answers:
            raise AnsibleError(f"no answer is prepared for {module}; see tests/bench/answers.py")
        text = answer(answers[module], self.get_option("remote_addr"), arguments)
        return 0, text.encode(), b""

    def put_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleError(f"a pretended host takes no files: {in_path}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleError(f"a pretended host has no files: {in_path}")

    def close(self) -> None:
        self._connected = False


def _payload(in_data: bytes) -> tuple[str, str]:
    """Return the name of a module and its arguments in JSON, as Ansible sends them to Python."""
    # It ends with a call that has an argument in each line.
    call = in_data[in_data.rindex(b"_ansiballz_main(\n") :]
    found = {}
    for name in (b"\nansible_module=", b"\nparams="):
        start = call.index(name) + len(name)
        found[name] = ast.literal_eval(call[start : call.index(b",\n", start)].decode())
    arguments: str = found[b"\nparams="]
    return found[b"\nansible_module="], arguments[len(_ARGUMENTS) : -1]


def answer(prepared: dict[str, t.Any], host: str, arguments: str) -> str:
    """Return what a module says on this host, in JSON.

    Args:
        prepared: ``result``, what all hosts have in common; ``asked``, results that come only if
            an option is true, with that option; ``key``, whether there is a public key of the
            host's own; ``peers``, the fields of a peer, if the result has those that were given;
            ``secrets``, the options that are not told again.
        arguments: The module's arguments in JSON. A module tells them again.
    """
    given = json.loads(arguments)
    result = dict(prepared["result"])
    for name, (option, sample) in prepared["asked"].items():
        if given.get(option):
            result[name] = sample
    if prepared["key"]:
        result["public_key"] = public_key(host)
    if prepared["peers"] and "peers" in result:
        peers = given.get("peers") or json.loads(given.get("peers_json") or "[]")
        result["peers"] = [{**dict.fromkeys(prepared["peers"]), **peer} for peer in peers]
    hidden = dict.fromkeys(filter(given.get, prepared["secrets"]), _HIDDEN)
    told = json.dumps({**given, **hidden}) if hidden else arguments
    return f'{json.dumps(result)[:-1]}, "invocation": {{"module_args": {told}}}}}'


def public_key(host: str) -> str:
    """Return the key that a host pretends to have."""
    return base64.b64encode(hashlib.sha256(host.encode()).digest()).decode()
