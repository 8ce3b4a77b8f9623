# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reload, first half: the program as it lies on the disk now checks its configuration."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys


def command_line() -> list[str]:
    """Return how this program was started: with an interpreter, and as it lay there then."""
    arguments = pathlib.Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    return [sys.executable, *(os.fsdecode(argument) for argument in arguments[1:])]


class Check:
    """One run of ``--check``, beside the responder that goes on serving."""

    def __init__(self, command: list[str]) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        self._output = os.memfd_create("wgsd-check")
        self._process = subprocess.Popen(
            [*command, "--check"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._output,
        )
        #: Readable once the check has ended.
        self.ended = os.pidfd_open(self._process.pid)

    def objections(self) -> list[str]:
        """Wait for the end and return what speaks against a reload, in lines; none if all is good.

        Warnings of a check that was passed do not speak against it.
        """
        code = self._process.wait()
        os.close(self.ended)
        with os.fdopen(self._output, encoding="utf-8", errors="replace") as output:
            output.seek(0)
            lines = output.read().splitlines()
        return (lines or [f"the check ended with {code}"]) if code else []
