# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between the engine and AnsibleModule: the engine's errors, and commands on the host.

Private to this collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .wgsd.errors import WgsdError

#: Where commands for root are. To become root by su without a login shell leaves them out of PATH.
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")


def run_guarded(
    module: AnsibleModule, action: t.Callable[[AnsibleModule], dict[str, t.Any]]
) -> None:
    """Leave the module with what *action* returns, or with the error that the engine raised."""
    try:
        result = action(module)
    except WgsdError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


def command_runner(module: AnsibleModule) -> t.Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command; one that cannot be run counts as exit status 127."""

    def run(command: list[str], data: str | None = None) -> tuple[int, str, str]:
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))
        try:
            code, output, errors = module.run_command(
                command,
                data=data,
                environ_update={"LC_ALL": "C.UTF-8", "PATH": path},
                handle_exceptions=False,
            )
        except OSError as exc:
            return 127, "", f"{command[0]}: {exc.strerror}"
        return code, output, errors

    return run
