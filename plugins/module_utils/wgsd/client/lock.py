# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One client for an interface: whoever looks after it holds a lock for as long as it lives."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pathlib
import typing as t

from ..errors import UsageError
from .report import process_of, report_path

log = logging.getLogger("wgsd.client")


def lock_path(interface: str) -> pathlib.Path:
    """Return the file that the client of *interface* locks. It stays, and means nothing by itself.

    Others than root and the service's user must not even be able to open it: they could lock it.
    """
    return report_path(interface).with_suffix(".lock")


@contextlib.contextmanager
def alone(interface: str) -> t.Iterator[None]:
    """Be the only client of *interface*; the kernel ends that with the process, however it dies.

    Raises:
        UsageError: there is another one.
    """
    file: int | None = None
    try:
        try:
            file = _open(lock_path(interface))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(interface, _holder(file)) from None
        except OSError as exc:
            log.warning(
                "nothing keeps a second client from %s: %s: %s",
                *(interface, lock_path(interface), exc.strerror),
            )
        else:
            _sign(file)
        # One of a version that takes no lock.
        other = process_of(report_path(interface))
        if other is not None:
            raise _taken(interface, other)
        yield
    finally:
        if file is not None:
            os.close(file)


def _open(path: pathlib.Path) -> int:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _sign(file: int) -> None:
    """Say who has the lock. There may be no space left: whoever is refused is then told less."""
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)


def _holder(file: int | None) -> int | None:
    """Return the process that has the lock, as far as it has said so."""
    if file is None:
        return None
    try:
        return int(os.pread(file, 20, 0))
    except (OSError, ValueError):
        return None


def _taken(interface: str, process: int | None) -> UsageError:
    who = "another process" if process is None else f"process {process}"
    return UsageError(
        f"{who} looks after {interface} already", "end it first, or look once: --once"
    )
