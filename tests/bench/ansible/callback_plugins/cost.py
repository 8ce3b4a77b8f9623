# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts what a run of Ansible costs: time by task, and tasks by host."""

from __future__ import annotations

import collections
import json
import pathlib
import resource
import sys
import time
import typing as t

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import action_loader

DOCUMENTATION = """
name: cost
type: aggregate
short_description: What a run costs
description:
  - Writes a JSON file with what each task cost the controller, and how many tasks each host had.
  - A task is remote if its action needs a connection and it was not skipped. Each turn of a
    loop counts.
options:
  file:
    description: The file.
    required: true
    env: [{name: WGSD_BENCH_COST}]
  progress:
    description: Whether to tell on stderr which task has begun.
    type: bool
    default: false
    env: [{name: WGSD_BENCH_PROGRESS}]
"""

_WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


class CallbackModule(CallbackBase):
    """See above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cost"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._marks: list[tuple[str, list[float]]] = []
        self._remote: collections.Counter[str] = collections.Counter()
        self._is_remote: dict[str, bool] = {}
        self._mark("start")

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._mark(task.get_name())
        if self.get_option("progress"):
            seconds = self._marks[-1][1][0] - self._marks[0][1][0]
            print(f"    {seconds:7.1f} s: {task.get_name()}", file=sys.__stderr__, flush=True)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._count(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._count(result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        self._count(result, is_item=True)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        self._count(result, is_item=True)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._mark("end")
        found = {
            "hosts": len(stats.processed),
            "remote": {host: self._remote[host] for host in sorted(stats.processed)},
            "changed": sorted(stats.changed),
            "failed": sorted({*stats.failures, *stats.dark}),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "tasks": [
                {"name": name, **_difference(before, after)}
                for (name, before), (_name, after) in zip(self._marks, self._marks[1:])
            ],
        }
        pathlib.Path(self.get_option("file")).write_text(json.dumps(found), encoding="utf-8")

    def _mark(self, name: str) -> None:
        self._marks.append((name, [time.monotonic(), *map(_cpu, _WHOSE)]))

    def _count(self, result: t.Any, is_item: bool = False) -> None:
        # The result of a loop comes once more when its turns are through.
        if is_item or "results" not in result.result or not result.task.loop:
            self._remote[result.host.get_name()] += self._needs_host(result.task.action)

    def _needs_host(self, action: str) -> bool:
        """Whether a task of this action is done on the host: most are, and have no plugin here."""
        if action not in self._is_remote:
            local = {*constants._ACTION_ALL_INCLUDES, *constants._ACTION_META}
            plugin = action_loader.get(action, class_only=True)
            needs = getattr(plugin, "_requires_connection", True)
            self._is_remote[action] = needs and action not in local
        return self._is_remote[action]


def _cpu(whose: int) -> float:
    """Seconds of processor time: resource.RUSAGE_SELF, or of the workers that have ended."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _difference(before: list[float], after: list[float]) -> dict[str, float]:
    names = ("seconds", "main_cpu", "worker_cpu")
    return {name: late - early for name, early, late in zip(names, before, after)}
