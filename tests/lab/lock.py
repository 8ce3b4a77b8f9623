# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One process at a time works on a lab, or fills a folder of the cache; a second one waits."""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError
from .progress import say


@contextmanager
def locked(prefix: str, patience: float = 300.0) -> Iterator[None]:
    """Hold the lab ``prefix``; an abstract socket does it, which goes with its process.

    :param patience: seconds to wait for another process
    :raises LabError: when another process still holds the lab after ``patience`` seconds
    """
    deadline = time.monotonic() + patience
    told = False
    with socket.socket(socket.AF_UNIX) as lock:
        while True:
            try:
                lock.bind(f"\0wgsd-lab:{prefix}")
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise LabError(
                        f"another process works on the lab {prefix}; wait for its end, or use "
                        f"another prefix"
                    ) from error
            if not told:
                say(f"waiting for another process that works on the lab {prefix}")
                told = True
            time.sleep(0.1)
        yield


@contextmanager
def file_locked(lock: Path) -> Iterator[None]:
    """Hold the file ``lock``, so that two processes that start at once make its folder once."""
    with lock.open("w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that holds {lock.name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
