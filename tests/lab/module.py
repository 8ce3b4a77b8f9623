# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module of this collection on a host without an operating system of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from .netns import Node

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import importlib, json, sys, time
ahead = float(sys.argv[2])
if ahead:
    right = time.time
    time.time = lambda: right() + ahead
from ansible.module_utils.testing import patch_module_args
name = "ansible_collections.wgsd.mesh.plugins.modules." + sys.argv[1]
with patch_module_args(json.load(sys.stdin)):
    importlib.import_module(name).main()
"""


def run_module(
    node: Node,
    name: str,
    options: dict[str, Any],
    *,
    check_mode: bool = False,
    fails: bool = False,
    folder: str = "",
    clock: float = 0.0,
    timeout: float = 60.0,
) -> dict[str, Any]:
    """Run a module in ``node`` and return its result.

    :param folder: where ``node`` has commands that come before the machine's own
    :param clock: seconds that the module sees this host's clock ahead
    :param fails: whether the module is expected to fail
    :param timeout: seconds that it may take
    """
    done = node.run(
        [sys.executable, "-c", _PROGRAM, name, str(clock)],
        stdin=json.dumps({"_ansible_check_mode": check_mode, "_ansible_diff": True, **options}),
        check=False,
        timeout=timeout,
        env={
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}" if folder else os.environ["PATH"],
            "PYTHONPATH": str(_ROOT / ".collections"),
        },
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result.get("failed", False) == fails, done.stdout + done.stderr
    return result
