# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""User-mode Linux: a kernel that is a process here, at the speed of this machine's processor.

Debian's ready one has no WireGuard, so it is built, once, from Debian's sources and `uml.config`.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import typing as t

from .bed import running
from .errors import BedError
from .fetch import CACHE, UML_PACKAGES, cached, check_tools, command, place, unpack

#: The kernel of trixie itself, 6.12, knows user-mode processes by ptrace only, which is some times
#: slower, and does not start on a processor with AMX.
SUITE = "trixie-backports"
PACKAGE = "linux-source"
CONFIG = pathlib.Path(__file__).with_name("uml.config")
#: Raise it when the way in which the kernel is built changes.
LAYOUT = "1"
#: It bounds how many threads there may be, and new kernels have one for each WireGuard peer.
MEMORY = "2048M"


class UserMode:
    """A process that is a kernel, whose root is this machine's by hostfs. See `bed.Bed`.

    Args:
        travel: Time stands still while anything runs, and jumps when all wait.
    """

    name = "uml"

    def __init__(self, travel: bool = False) -> None:
        self._travel = travel

    def kernel(self) -> pathlib.Path:
        """The kernel; it takes some minutes to build it."""
        return cached("uml", _recipe(), _build)

    def machine(
        self, kernel: pathlib.Path, scratch: pathlib.Path, init: t.Sequence[str]
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """See `bed.Bed.machine`."""
        program, *words = init
        time_travel = [f"time-travel-start={time.time_ns()}", "time-travel=inf-cpu"]
        return running(
            [str(kernel / "linux"), f"mem={MEMORY}", f"uml_dir={scratch}/", "umid=guest",
             "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "panic=-1",
             "con=null", "con0=null,fd:2", "ssl=null", "ssl1=null,fd:1", "console=tty0",
             "seccomp=auto",
             *time_travel * self._travel,
             f"init={program}", "--", *words],
            scratch / "console",
        )  # fmt: skip


def is_built() -> bool:
    """Whether the kernel is in the cache."""
    return place("uml", _recipe()).exists()


def _recipe() -> tuple[str, ...]:
    return SUITE, PACKAGE, LAYOUT, CONFIG.read_text(encoding="utf-8")


def _build(folder: pathlib.Path) -> None:
    check_tools(UML_PACKAGES, "tar", "xz", "make", "gcc", "flex", "bison", "bc")
    print("building a kernel: some minutes on two cores", flush=True)
    with tempfile.TemporaryDirectory(prefix="uml-source.", dir=CACHE) as scratch:
        package, source = pathlib.Path(scratch, "package"), pathlib.Path(scratch, "source")
        unpack(SUITE, PACKAGE, f"{PACKAGE}-", package)
        (archive,) = package.glob("usr/src/linux-source-*.tar.xz")
        source.mkdir()
        command("tar", "-C", str(source), "--strip-components=1", "-xf", str(archive))
        make = ["make", "-s", "-C", str(source), "ARCH=um"]
        command(*make, f"KCONFIG_ALLCONFIG={CONFIG}", "allnoconfig")
        _check_config((source / ".config").read_text(encoding="utf-8"))
        command("nice", "-n", "15", *make, f"-j{os.cpu_count()}", "linux")
        shutil.copy(source / "linux", folder / "linux")


def _check_config(made: str) -> None:
    """Fail if the kernel does not know something that is asked for, or cannot have it."""
    have = set(made.splitlines())
    wanted = CONFIG.read_text(encoding="utf-8").splitlines()
    lost = [line for line in wanted if line.startswith("CONFIG_") and line not in have]
    if lost:
        raise BedError(f"this kernel's sources do not give {', '.join(lost)}: see {CONFIG}")
