# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs Ansible as a user does, and tells what that has cost."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

from tests.lab.errors import LabError

ROOT = pathlib.Path(__file__).resolve().parents[2]
_PLUGINS = pathlib.Path(__file__).with_name("ansible")
_PLAYBOOK = "wgsd.mesh.site"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run has cost.

    Attributes:
        hosts: How many there were.
        seconds: From the start of the process to its end.
        cpu: Seconds of processor time, of the process and all that it started.
        tasks: What the plugin ``cost`` tells of each task.
        remote: How many tasks each host has done.
        peak_mb: Resident memory of Ansible's main process, at most.
    """

    hosts: int
    seconds: float
    cpu: float
    tasks: t.Sequence[t.Mapping[str, t.Any]]
    remote: t.Mapping[str, int]
    changed: t.Sequence[str]
    peak_mb: float

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time per host."""
        return 1_000 * self.cpu / self.hosts

    @property
    def wall_ms(self) -> float:
        """Milliseconds by the clock per host."""
        return 1_000 * self.seconds / self.hosts

    def dearest(self, count: int) -> list[str]:
        """Return lines about the tasks that took most processor time, in milliseconds per host."""

        def total(task: t.Mapping[str, t.Any]) -> float:
            return float(task["main_cpu"] + task["worker_cpu"])

        return [
            f"{1_000 * total(task) / self.hosts:9.1f} ms, of which"
            f" {1_000 * task['main_cpu'] / self.hosts:.1f} in the main process: {task['name']}"
            for task in sorted(self.tasks, key=total, reverse=True)[:count]
        ]


class Runner:
    """Ansible with one inventory.

    Args:
        folder: Where it may leave files; the output of the last run is in ``ansible.log``.
        forks: Hosts that are worked on at a time.
        answers: What hosts that only pretend answer (`answers.prepare`).
        tells_progress: Whether each task is told on stderr when it begins.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        inventory: pathlib.Path,
        forks: int,
        answers: t.Mapping[str, t.Any] | None = None,
        *,
        tells_progress: bool = False,
    ) -> None:
        self._folder = folder
        self._inventory = inventory
        self._environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORKS": str(forks),
            "ANSIBLE_CALLBACK_PLUGINS": str(_PLUGINS / "callback_plugins"),
            "ANSIBLE_CONNECTION_PLUGINS": str(_PLUGINS / "connection_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "cost",
            # For `ansible` too, which has none otherwise.
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "WGSD_BENCH_COST": str(folder / "cost.json"),
            "WGSD_BENCH_PROGRESS": str(tells_progress),
        }
        if answers is not None:
            path = folder / "answers.json"
            path.write_text(json.dumps(answers), encoding="utf-8")
            self._environment["WGSD_BENCH_ANSWERS"] = str(path)

    def site(self) -> Cost:
        """Run ``wgsd.mesh.site``."""
        return self._run([_program("ansible-playbook"), _PLAYBOOK])

    def pings(self, count: int) -> Cost:
        """Run a play of so many pings: what Ansible itself takes for as many tasks."""
        tasks = [
            {"name": f"Ping {number}", "ansible.builtin.ping": None} for number in range(count)
        ]
        return self.play(tasks)

    def play(self, tasks: t.Sequence[t.Mapping[str, t.Any]]) -> Cost:
        """Run a play of these tasks on all hosts."""
        play = {"hosts": "all", "gather_facts": False, "tasks": list(tasks)}
        path = self._folder / "play.yml"
        path.write_text(json.dumps([play]), encoding="utf-8")
        return self._run([_program("ansible-playbook"), str(path)])

    def ping(self) -> Cost:
        """Run ``ansible -m ansible.builtin.ping``."""
        return self._run([_program("ansible"), "all", "-m", "ansible.builtin.ping"])

    def _run(self, command: t.Sequence[str]) -> Cost:
        """Run *command* to its end.

        Raises:
            LabError: it failed.
        """
        told = pathlib.Path(self._environment["WGSD_BENCH_COST"])
        told.unlink(missing_ok=True)
        log = self._folder / "ansible.log"
        with log.open("wb") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                [*command, "--inventory", str(self._inventory)],
                cwd=ROOT,
                env=self._environment,
                stdout=output,
                stdin=subprocess.DEVNULL,
            )
            _pid, status, used = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        cost = json.loads(told.read_text(encoding="utf-8")) if told.exists() else None
        if process.returncode or cost is None or cost["failed"]:
            tail = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
            raise LabError(f"{' '.join(command)} failed, see {log}:\n{tail}")
        return Cost(
            hosts=cost["hosts"],
            seconds=seconds,
            cpu=used.ru_utime + used.ru_stime,
            tasks=cost["tasks"],
            remote=cost["remote"],
            changed=cost["changed"],
            peak_mb=cost["peak_mb"],
        )


def _program(name: str) -> str:
    return str(pathlib.Path(sys.executable).with_name(name))
