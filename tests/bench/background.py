# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Something that is done again and again beside the measurement, in a thread."""

from __future__ import annotations

import threading
import time
import types
import typing as t

Self = t.TypeVar("Self", bound="Background")


class Background:
    """Runs `step` at a fixed rate; a context manager that raises what went wrong at its end."""

    def __init__(self, rate: float) -> None:
        """Prepare it.

        Args:
            rate: Steps a second.
        """
        self._period = 1 / rate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None

    def step(self) -> None:
        """Do it once."""
        raise NotImplementedError

    def __enter__(self: Self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        if exc is None:
            self.check()

    def check(self) -> None:
        """Raise what ended it before its time, if something did."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            try:
                self.step()
            except Exception as exc:
                self._failure = exc
                return
            # What could not be done in time is not done later, all at once.
            due = max(due + self._period, time.monotonic() - self._period)
