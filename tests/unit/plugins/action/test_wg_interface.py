# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action wg_interface: the module gets its peers, the controller does not keep them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import types

import pytest

pytest.importorskip("ansible")

from ansible.plugins.action.normal import ActionModule as Normal
from ansible_collections.wgsd.mesh.plugins.action import wg_interface

from tests.unit.collection import ROOT, ansible_environment, program

pytestmark = pytest.mark.unit
PEERS = '[{"public_key": "k"}]'


@pytest.fixture
def tries(monkeypatch) -> list[dict[str, object]]:
    """The arguments that the module has got, each time."""
    seen: list[dict[str, object]] = []

    def run(action, tmp=None, task_vars=None):
        seen.append({name: (type(value), value) for name, value in action._task.args.items()})
        return {"changed": False}

    monkeypatch.setattr(Normal, "run", run)
    return seen


def action(task) -> wg_interface.ActionModule:
    return wg_interface.ActionModule(task, None, None, None, None, None)


def test_the_module_gets_the_peers_at_each_try_and_another_process_never(tries):
    task = types.SimpleNamespace(args={"name": "wg0", "peers_json": PEERS}, async_val=0)
    for _attempt in range(2):
        # Ansible makes a new one for a retry.
        assert action(task).run() == {"changed": False}
    assert tries == [{"name": (str, "wg0"), "peers_json": (str, PEERS)}] * 2
    assert task.args["peers_json"] == PEERS
    told = pickle.loads(pickle.dumps(task.args))
    assert told == {"name": "wg0", "peers_json": wg_interface.TOLD}


def test_other_arguments_are_left_as_they_are(tries):
    task = types.SimpleNamespace(args={"name": "wg0", "peers": [{"public_key": "k"}]}, async_val=0)
    action(task).run()
    assert task.args == {"name": "wg0", "peers": [{"public_key": "k"}]}
    assert len(tries) == 1


def test_ansible_takes_the_action_and_the_module_sees_the_text():
    done = subprocess.run(
        [
            program("ansible"),
            "localhost",
            "--inventory=localhost,",
            "--connection=local",
            f"--extra-vars=ansible_python_interpreter={sys.executable}",
            "--check",
            "--module-name=wgsd.mesh.wg_interface",
            "--args=" + json.dumps({"name": "wgsd-none", "peers_json": '[{"name": "bob"}]'}),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ansible_environment(),
        check=False,
    )
    assert "public_key" in done.stdout, done.stdout + done.stderr
