# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reload, first half: the program as it lies on the disk now checks its configuration."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

from ..model import Endpoint

_VARIABLE = "WGSD_BOUND"


class Bound(t.NamedTuple):
    """Where a responder is bound, which is no objection to an address.

    Attributes:
        metrics: Where its metrics are, if they are anywhere.
    """

    listen: tuple[Endpoint, ...]
    metrics: tuple[Endpoint, ...]

    def encode(self) -> str:
        """Return it in the form that `decode` reads."""
        return json.dumps([[dataclasses.astuple(one) for one in part] for part in self])

    @classmethod
    def decode(cls, encoded: str) -> Bound:
        """Read what `encode` wrote."""
        listen, metrics = json.loads(encoded)
        return cls(
            tuple(Endpoint(*one) for one in listen), tuple(Endpoint(*one) for one in metrics)
        )


def bound() -> Bound | None:
    """Return where the responder is bound that this process checks for; None if it does not."""
    told = os.environ.get(_VARIABLE)
    return None if told is None else Bound.decode(told)


def command_line() -> list[str]:
    """Return how this program was started: with an interpreter, and as it lay there then."""
    arguments = pathlib.Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    return [sys.executable, *(os.fsdecode(argument) for argument in arguments[1:])]


class Check:
    """One run of ``--check``, beside the responder that goes on serving."""

    def __init__(self, command: list[str], bound: Bound) -> None:
        """Start it.

        Args:
            bound: What this process has, and the check need not try.

        Raises:
            OSError: it cannot be started.
        """
        self._output = os.memfd_create("wgsd-check")
        # The daemon does this, which has no AnsibleModule whose run_command it could call.
        self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            [*command, "--check"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._output,
            env={**os.environ, _VARIABLE: bound.encode()},
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
