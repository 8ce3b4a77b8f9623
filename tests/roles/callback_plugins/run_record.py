# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callback plugin run_record: appends what each run says to a file, for `foretold`."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_record
type: aggregate
short_description: What each run says, as lines of JSON
description:
  - Appends a line for each run to a file, with the results of its tasks, in check mode or not.
  - Secrets are as in the results, masked or censored.
requirements:
  - enabled in configuration
options:
  path:
    description: The file. Without one, nothing is written.
    type: path
    env:
      - name: WGSD_RUN_RECORD
"""

import json
import pathlib
import typing as t

from ansible import context
from ansible.plugins.callback import CallbackBase

#: What of a result is compared, and which keys it tells.
_KEPT = ("changed", "diff", "public_key", "next_public_key")
#: The tests' own playbooks, which are not under test.
_OWN = pathlib.Path(__file__).resolve().parents[3] / "molecule"


class CallbackModule(CallbackBase):
    """Collects results in memory and writes them when the run is over."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "run_record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._run: dict[str, t.Any] = {}
        self._results: list[dict[str, t.Any]] = []

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        arguments = context.CLIARGS
        self._run = {
            "playbook": pathlib.Path(playbook._file_name).name,
            "check": bool(arguments.get("check")),
            "limit": arguments.get("subset") or "",
            "variables": [str(one) for one in arguments.get("extra_vars") or ()],
        }

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._take(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._take(result)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        path = self.get_option("path")
        if path:
            run = {**self._run, "results": self._results}
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            with pathlib.Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(run, default=str) + "\n")

    def _take(self, result: t.Any) -> None:
        where = pathlib.Path(result.task.get_path().rpartition(":")[0])
        if _OWN in where.resolve().parents:
            return
        values = result.result
        for item in values.get("results", [values]):
            if isinstance(item, dict):
                kept = {key: item[key] for key in _KEPT if key in item}
                task = {"host": result.host.name, "task": result.task.get_name()}
                self._results.append({**task, "action": result.task.resolved_action, **kept})
