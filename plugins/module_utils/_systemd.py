# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service manager of the managed host: how a unit is, and what to do with it.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .wgsd.errors import WgsdError

#: Runs a command and returns its exit status, output and errors, as AnsibleModule.run_command.
Run = t.Callable[[list[str]], tuple[int, str, str]]
_JOURNAL_LINES = 20
#: How timeout(1) ends when what it runs does not end in time.
_TIMED_OUT = 124
_PROPERTIES = (
    "ActiveState",
    "UnitFileState",
    "ActiveEnterTimestamp",
    "MainPID",
    "NeedDaemonReload",
    "CanReload",
)


@dataclasses.dataclass(frozen=True)
class UnitState:
    """How a unit is.

    Attributes:
        active: ``active``, ``reloading``, ``inactive``, ``failed``, ``activating`` …
        enabled: Whether it starts at boot.
        since: When it last became active, in whole seconds since the epoch; 0 for never.
        main_pid: 0 if it has no process.
        needs_reload: Whether its unit file is newer than what systemd has read.
        can_reload: Whether what systemd has read says how to reload it.
    """

    active: str = "inactive"
    enabled: bool = False
    since: int = 0
    main_pid: int = 0
    needs_reload: bool = False
    can_reload: bool = False

    @property
    def is_up(self) -> bool:
        """Whether it does its work; one that reloads does."""
        return self.is_active or self.active == "reloading"

    @property
    def is_active(self) -> bool:
        """Whether it is up, and done with getting there."""
        return self.active == "active"


class Systemd:
    """systemctl and journalctl, whose failures become errors with the reason in them."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def unit(self, name: str) -> UnitState:
        """Return how *name* is; a unit that is not there is inactive.

        Raises:
            WgsdError: systemd does not run here.
        """
        properties = f"--property={','.join(_PROPERTIES)}"
        output = self._do("show", "--timestamp=unix", properties, name, about=None)
        fields = dict(line.partition("=")[::2] for line in output.splitlines())
        return UnitState(
            active=fields.get("ActiveState", "inactive"),
            enabled=fields.get("UnitFileState", "").startswith("enabled"),
            since=int(fields.get("ActiveEnterTimestamp", "").lstrip("@") or 0),
            main_pid=int(fields.get("MainPID") or 0),
            needs_reload=fields.get("NeedDaemonReload") == "yes",
            can_reload=fields.get("CanReload") == "yes",
        )

    def do(self, verb: str, unit: str) -> None:
        """Do ``systemctl verb unit``.

        Raises:
            WgsdError: it failed; the message has the unit's last journal lines.
        """
        self._do(verb, unit, about=unit)

    def reload(self, unit: str, timeout: float) -> None:
        """Do ``systemctl reload unit``, but do not wait longer than *timeout* seconds for its end.

        A daemon that says no more after its signal keeps some versions of systemd waiting forever.

        Raises:
            WgsdError: it failed; the message has the unit's last journal lines.
        """
        self._do("reload", unit, about=unit, timeout=timeout)

    def daemon_reload(self) -> None:
        """Make systemd read its unit files again.

        Raises:
            WgsdError: it failed.
        """
        self._do("daemon-reload", about=None)

    def journal(self, unit: str) -> str:
        """Return the last lines that *unit* wrote since it was last started, if any can be had."""
        command = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--unit={unit}"]
        code, output, _errors = self._run([*command, f"--lines={_JOURNAL_LINES}"])
        return output.strip() if code == 0 else ""

    def _do(self, *arguments: str, about: str | None, timeout: float | None = None) -> str:
        limit = [] if timeout is None else ["timeout", f"{timeout:g}"]
        code, output, errors = self._run([*limit, "systemctl", *arguments])
        if code == 0 or (limit and code == _TIMED_OUT):
            return output
        message = f"systemctl {' '.join(arguments)} failed: {(errors or output).strip()}"
        if about is None:
            raise WgsdError(message, "this module needs systemd as the service manager")
        lines = self.journal(about)
        if lines:
            message += f"\nThe last lines of its journal:\n{lines}\n"
        raise WgsdError(message, f"see 'journalctl -u {about}' and 'systemctl status {about}'")
