# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files on the managed host: read with their mode and owner, replaced at once or not at all.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat
import tempfile

from .wgsd.errors import WgsdError


@dataclasses.dataclass(frozen=True)
class FileState:
    """A file, or that there is none.

    Attributes:
        content: None if there is no file.
        mode: Permission bits.
        uid: Its owner.
        gid: Its group.
    """

    content: bytes | None = None
    mode: int = 0
    uid: int = 0
    gid: int = 0

    @property
    def text(self) -> str:
        """The content for a diff; empty if there is no file."""
        return (self.content or b"").decode("utf-8", "replace")


def read_file(path: pathlib.Path) -> FileState:
    """Read *path*.

    Raises:
        WgsdError: it is there and cannot be read.
    """
    try:
        with path.open("rb") as handle:
            status = os.fstat(handle.fileno())
            return FileState(
                handle.read(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
            )
    except FileNotFoundError:
        return FileState()
    except OSError as exc:
        raise WgsdError(f"{path}: cannot be read: {exc.strerror}", "run as root") from None


def write_file(path: pathlib.Path, wanted: FileState) -> None:
    """Put *wanted* in the place of *path* in one step; nobody sees a half or a too open file.

    A symbolic link stays and its target is replaced.

    Raises:
        WgsdError: it cannot be written; *path* is as it was.
    """
    target = pathlib.Path(os.path.realpath(path))
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(wanted.content or b"")
            os.fchown(descriptor, wanted.uid, wanted.gid)
            os.fchmod(descriptor, wanted.mode)
            handle.flush()
            os.fsync(descriptor)
        pathlib.Path(temporary).replace(target)
        temporary = None
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise WgsdError(
            f"{path}: cannot be written: {exc.strerror}",
            f"run as root, and see that {target.parent} is there, has space, and is neither "
            f"read-only nor immutable (findmnt -T {target}, lsattr -d {target.parent} {target})",
        ) from None
    finally:
        if temporary:
            pathlib.Path(temporary).unlink()


def remove_file(path: pathlib.Path) -> None:
    """Remove *path* if it is there.

    Raises:
        WgsdError: it cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise WgsdError(f"{path}: cannot be removed: {exc.strerror}", "run as root") from None
