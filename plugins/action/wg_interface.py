# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action wg_interface: runs the module, and spares the controller the peers that it was given.

Ansible returns a task's arguments with its result and keeps the results of all hosts until the last
one has finished. A thousand hosts that get a thousand peers each would make that a million peers in
the controller's main process, which it copies for each task of each host from then on.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action.normal import ActionModule as Normal

#: The argument, and what the main process is told instead of it.
LONG, TOLD = "peers_json", "left out: it is long"


class Local(str):
    """A text that stays in its process: another one gets `TOLD`."""

    __slots__ = ()

    def __reduce__(self) -> tuple[t.Any, ...]:
        return str, (TOLD,)


class ActionModule(Normal):
    """What Ansible does with a module that has no action of its own."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        # A retry finds what the last try left here.
        args = {
            name: str(value) if isinstance(value, Local) else value
            for name, value in self._task.args.items()
        }
        self._task.args = args
        try:
            result: dict[str, t.Any] = super().run(tmp, task_vars)
            return result
        finally:
            if isinstance(args.get(LONG), str):
                self._task.args = {**args, LONG: Local(args[LONG])}
