# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the beds share: a machine that boots a kernel with this machine's root and runs one job.

The machine's process 1 is `init`. The job is a bash script; the machine is switched off when it has
told the job's exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import selectors
import signal
import subprocess
import tempfile
import time
import typing as t

from .errors import BedError

ROOT = pathlib.Path(__file__).resolve().parents[2]
INIT = pathlib.Path(__file__).resolve().with_name("init")
#: What jobs write here is the host's; all else of its files is read-only to them.
OUTPUT = ROOT / "tests" / "output"
TIMEOUT = float(os.environ.get("WGSD_KERNEL_TIMEOUT") or 900)
#: The last line of a machine's output starts with this and holds the exit status.
STATUS_MARK = "wgsd-exit-status:"


class Bed(t.Protocol):
    """A way to boot a kernel that has WireGuard."""

    #: As the command line names it.
    name: str

    def kernel(self) -> pathlib.Path:
        """The folder of the kernel, made now unless it is in the cache.

        Raises:
            BedError: it cannot be made.
        """

    def machine(
        self, kernel: pathlib.Path, scratch: pathlib.Path, init: t.Sequence[str]
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """Switch a machine on whose process 1 is *init*, with its second serial line as output.

        Args:
            scratch: A folder of its own; ``console`` there is the kernel's log.
        """


def run(bed: Bed, job: str) -> int:
    """Run *job*, a bash script, on a machine; print its output and return its exit status.

    Raises:
        BedError: it did not end within `TIMEOUT`, or the machine died.
    """
    kernel = bed.kernel()
    # The kernel's command line is split at spaces.
    if any(char.isspace() for char in f"{INIT}{kernel}{tempfile.gettempdir()}"):
        raise BedError(f"a path has a space: move {ROOT}, or set WGSD_KERNEL_CACHE or TMPDIR")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wgsd-kernel-") as folder:
        scratch = pathlib.Path(folder)
        script = scratch / "job"
        script.write_text(job, encoding="utf-8")
        with bed.machine(kernel, scratch, [str(INIT), str(kernel), str(script)]) as machine:
            status = _follow(machine, start + TIMEOUT)
        if status is None:
            late = time.monotonic() > start + TIMEOUT
            why = f"was stopped after {TIMEOUT:g} s" if late else "ended without a result"
            log = (scratch / "console").read_text(errors="replace")[-4000:]
            raise BedError(f"the machine {why}; the end of its kernel log:\n{log}")
    print(f"{bed.name}: {time.monotonic() - start:.0f} s, exit status {status}", flush=True)
    return status


@contextlib.contextmanager
def running(
    words: t.Sequence[str], errors: pathlib.Path | None = None
) -> t.Iterator[subprocess.Popen[bytes]]:
    """Run a program that does not outlive the block, nor this process, however that ends.

    Args:
        errors: The file for what it writes to standard error; by default that joins its output.
    """
    libc = ctypes.CDLL(None)
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(errors.open("wb")) if errors else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),  # PR_SET_PDEATHSIG
        )
        try:
            yield process
        finally:
            # A user-mode kernel has a process for each of its guest's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()


def _follow(machine: subprocess.Popen[bytes], deadline: float) -> int | None:
    """Print the machine's output up to the status that its last line holds; None without one."""
    assert machine.stdout is not None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(machine.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(machine.stdout.fileno(), 65536)
            *lines, pending = (pending + chunk).replace(b"\r", b"").split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if text.startswith(STATUS_MARK):
                    return int(text[len(STATUS_MARK) :])
                print(text, flush=True)
            if not chunk:
                break
    return None
