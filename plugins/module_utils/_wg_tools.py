# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands wg and wg-quick of the host, whose failures become errors that name the remedy.

Private to this collection.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import typing as t

from ._files import FileState, write_file
from .wgsd.errors import WgsdError

#: Runs a command; returns its exit status, its output and its errors.
Run = t.Callable[[list[str]], tuple[int, str, str]]
#: The exit status of a command that is not there, or of a script that lacks one.
_NOT_FOUND = 127
_MODE = 0o600


class WgTools:
    """wg and wg-quick.

    Args:
        run: Runs a command on the host.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def private_key(self) -> str:
        """Make a private key, in base64."""
        return self._do(["wg", "genkey"], "see what 'wg genkey' says").strip()

    def validate(self, path: pathlib.Path, text: str) -> None:
        """Let wg-quick itself read what *path* is to have, before it counts.

        Raises:
            WgsdError: wg-quick does not take it, or cannot be run.
        """
        # In memory: a private key that was once on a disk may stay there.
        with tempfile.TemporaryDirectory(dir="/run") as folder:
            copy = pathlib.Path(folder, path.name)
            write_file(copy, FileState(text.encode(), _MODE, os.geteuid(), os.getegid()))
            self._do(["wg-quick", "strip", str(copy)], f"correct {path}, of which this is a copy")

    def down(self, name: str) -> None:
        """Take an interface down.

        Raises:
            WgsdError: wg-quick fails, or cannot be run.
        """
        self._do(["wg-quick", "down", name], f"mend what keeps {name} from being removed")

    def _do(self, command: list[str], remedy: str) -> str:
        # The output may hold a private key, and is not repeated.
        code, output, errors = self._run(command)
        if code == _NOT_FOUND:
            raise WgsdError(
                f"{command[0]} cannot be run ({errors.strip()})",
                "install what it needs, on Debian with: apt install wireguard-tools iproute2",
            )
        if code:
            raise WgsdError(f"{' '.join(command)} failed: {errors.strip()}", remedy)
        return output
