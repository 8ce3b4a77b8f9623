# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program in the registry's namespace that prints a line of JSON for each thing that happens."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
import types
import typing as t

from tests.lab.errors import LabError

from .registry import Registry


class Lines:
    """Such a program while it runs; a context manager."""

    def __init__(
        self, registry: Registry, command: t.Sequence[str], environment: t.Mapping[str, str]
    ) -> None:
        self._registry = registry
        self._command = command
        self._environment = environment
        self._pending = b""

    def __enter__(self) -> Lines:
        self._process = self._registry.host.popen(
            list(self._command), env=dict(self._environment), stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def next(self, patience: float) -> t.Any:
        """Return the next line.

        Raises:
            LabError: there is none within *patience* seconds.
        """
        deadline = time.monotonic() + patience
        output = t.cast("t.IO[bytes]", self._process.stdout)
        while b"\n" not in self._pending:
            wait = max(0.0, deadline - time.monotonic())
            chunk = b""
            if select.select([output], [], [], wait)[0]:
                chunk = os.read(output.fileno(), 1 << 20)
            if not chunk:
                raise LabError(f"{self._command[1]} says nothing for {patience} s, or has ended")
            self._pending += chunk
        line, _newline, self._pending = self._pending.partition(b"\n")
        return json.loads(line)
