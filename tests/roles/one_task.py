# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One task on one host of a lab: a module of this collection, run as Ansible runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from tests.lab.systemd import SystemdLab

PROJECT = Path(__file__).resolve().parents[2]


def run_task(
    lab: SystemdLab,
    host: str,
    module: str,
    *,
    check_mode: bool = False,
    fails: bool = False,
    **options: t.Any,
) -> dict[str, t.Any]:
    """Run *module* on *host* and return its result.

    Args:
        module: Its name within this collection.
        fails: Whether the task is expected to fail.
    """
    command = [str(Path(sys.executable).with_name("ansible")), host]
    command += ["--inventory", str(lab.inventory), "--module-name", f"wgsd.mesh.{module}"]
    command += ["--args", json.dumps(options), *(["--check"] if check_mode else [])]
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "minimal"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    # Before it there may be words of Ansible's own about a failure.
    _said, _arrow, text = done.stdout.partition(" => ")
    assert text.startswith("{"), done.stdout + done.stderr
    result: dict[str, t.Any] = json.loads(text)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return result
