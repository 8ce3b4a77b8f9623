# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action mesh_status: what the hosts have told, put together and shown on the controller."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.wgsd.mesh.plugins.plugin_utils import (
    _mesh,
    _status,
    _status_page,
    _status_problems,
    _status_text,
)
from ansible_collections.wgsd.mesh.plugins.plugin_utils._status import Answer

#: Instead of a path: to standard output.
STDOUT = "-"


class ActionModule(ActionBase):
    """Reads what is registered for each host; connects to none."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            argument_spec={
                "registries": {"type": "list", "elements": "str", "required": True},
                "peers": {"type": "list", "elements": "str", "required": True},
                "registered": {"type": "str", "required": True},
                "format": {"type": "str", "choices": ["table", "json"], "default": "table"},
                "html": {"type": "str"},
                "json": {"type": "str"},
            }
        )
        hostvars = (task_vars or {})["hostvars"]
        answers = read_answers(
            hostvars, options["registries"], options["peers"], options["registered"]
        )
        mesh = _status.assemble(answers, time.time())
        problems = _status_problems.find_problems(mesh)
        document = _status_text.document(mesh, problems)
        to_stdout = options["format"] == "json" or options["json"] == STDOUT
        display = Display()
        if to_stdout:
            display.display(json.dumps(document))
        if options["format"] == "table" and options["json"] != STDOUT:
            display.display(f"\n{_status_text.render(mesh, problems)}\n")
        result.update(
            changed=False,
            summary=document["summary"],
            pairs=document["pairs"],
            problems=document["problems"],
        )
        if options["json"] and options["json"] != STDOUT:
            result["json"] = write(options["json"], f"{json.dumps(document, indent=1)}\n")
        if options["html"]:
            result["html"] = write(options["html"], _status_page.render(mesh, problems))
            display.display(f"{result['html']}: a map and all peers of all hosts, for a browser")
        return result


def read_answers(
    hostvars: t.Any, registries: t.Sequence[str], peers: t.Sequence[str], registered: str
) -> list[Answer]:
    """Return what became of asking each host of the mesh.

    Args:
        hostvars: The variables of the hosts, by inventory name.
        registries: The inventory names of the registries.
        peers: The inventory names of the other hosts.
        registered: The variable that has the result of `wgsd.mesh.wgsd_status` for each host.
    """
    found = []
    for host in dict.fromkeys([*registries, *peers]):
        if host not in hostvars:
            raise AnsibleActionFail(f"there is no host {host} in the inventory")
        variables = hostvars[host]
        if variables.get("wgsd_state") == _mesh.ABSENT:
            continue
        found.append(
            Answer(
                host=host,
                name=str(variables.get("wgsd_name") or _mesh.default_name(host)).lower(),
                is_registry=host in registries,
                interface=str(variables.get("wgsd_interface") or "wg0"),
                public_key=variables.get("wgsd_public_key") or None,
                instance=str(variables.get("wgsd_instance") or ""),
                **outcome_of(variables.get(registered)),
            )
        )
    return found


def outcome_of(registered: t.Any) -> dict[str, t.Any]:
    """Return what became of asking a host, by the result of `wgsd.mesh.wgsd_status`."""
    if not isinstance(registered, t.Mapping) or registered.get("skipped"):
        return {"outcome": _status.NOT_ASKED}
    message = str(registered.get("msg") or "").removeprefix("Task failed: ")
    if registered.get("unreachable"):
        return {"outcome": _status.UNREACHABLE, "message": message}
    try:
        told = json.loads(registered["status_json"])
    except (KeyError, TypeError, ValueError):
        told = None
    if not isinstance(told, dict):
        return {"outcome": _status.FAILED, "message": message or "its status cannot be read"}
    return {"outcome": _status.ANSWERED, "told": told}


def write(name: str, text: str) -> str:
    """Replace a file; a reader sees the old or the new one. Returns its absolute path."""
    path = pathlib.Path(name).expanduser().absolute()
    new = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            new = pathlib.Path(file.name)
            file.write(text)
        # As the user's umask has it, and not for the owner alone: it may be meant for a web server.
        mask = os.umask(0)
        os.umask(mask)
        new.chmod(0o666 & ~mask)
        new.replace(path)
    except OSError as exc:
        if new is not None:
            with contextlib.suppress(OSError):
                new.unlink()
        raise AnsibleActionFail(
            f"{path}: {exc.strerror}; name a file in a folder where you may write, or none"
        ) from exc
    return str(path)
