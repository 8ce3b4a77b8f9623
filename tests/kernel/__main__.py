# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the tests on a kernel that has WireGuard, which the machine's own need not have.

The bed is user-mode Linux if that is built (`--build`), else QEMU without KVM, which is slow. Both
have this machine's root, read-only but for tests/output. The exit status is that of the tests.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import signal
import sys
import typing as t

from . import bed, uml
from .errors import BedError
from .fetch import PACKAGES, cached, check_tools, command
from .qemu import Qemu

#: Debian 12 ships the first and Debian 13 the second; the last is the newest.
PYROUTE2 = ("pyroute2==0.7.2", "pyroute2==0.8.1", "pyroute2")
PYTEST = "pytest>=8"
QUIET = ("-p", "no:cacheprovider", "--color=no")
DEVICE_TESTS = ("tests/lab/test_device.py", "tests/kernel/test_decoding.py")
#: A third of the tests' time. What it measures is our decoder, so the newest pyroute2 is enough.
COST_TEST = (
    "tests/lab/test_device.py::"
    "test_a_read_of_ten_thousand_peers_costs_at_most_twice_what_the_wg_tool_takes"
)
MESH_TESTS = "tests/lab/test_mesh.py"
TRAVEL_TESTS = "tests/kernel/test_hours.py"
#: The last line of tests.
END = "exit ${worst:-0}"


def main(argv: t.Sequence[str]) -> int:
    """Run what the command line says; see ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.kernel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bed", choices=("uml", "qemu"), help="uml is built if it is not there")
    parser.add_argument("--build", action="store_true", help="build user-mode Linux and end")
    parser.add_argument(
        "--travel",
        action="store_true",
        help="let the time of user-mode Linux jump ahead whenever all wait",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="after `--`: arguments for Python there, e.g. `-m tests.bench handshake`;"
        " by default the tests",
    )
    arguments = parser.parse_args(argv)
    if arguments.build:
        print(uml.UserMode().kernel())
        return 0
    is_uml = uml.is_built() if arguments.bed is None else arguments.bed == "uml"
    if arguments.travel and not is_uml:
        parser.error("only user-mode Linux can travel in time: --bed uml")
    chosen: bed.Bed = uml.UserMode(arguments.travel) if is_uml else Qemu()
    if arguments.words:
        return bed.run(chosen, shlex.join([sys.executable, *arguments.words]))
    return run_tests(chosen)


def run_tests(chosen: bed.Bed) -> int:
    """Run the device tests with each version of pyroute2, and the mesh; return the worst status."""
    check_tools(PACKAGES, "ip", "wg")
    *older, (title, python) = interpreters()
    job = [
        run_pytest(old, *DEVICE_TESTS, f"--deselect={COST_TEST}", title=name) for name, old in older
    ]
    job.append(run_pytest(python, *DEVICE_TESTS, title=title))
    if chosen.name == "qemu":
        print("the mesh is too much for an emulated processor: `make kernel` builds a faster bed")
        return bed.run(chosen, "\n".join([*job, END]))
    job.append(run_pytest(sys.executable, MESH_TESTS, title="the mesh"))
    travel = run_pytest(sys.executable, TRAVEL_TESTS, title="hours of a mesh")
    return max(
        bed.run(chosen, "\n".join([*job, END])),
        bed.run(uml.UserMode(travel=True), f"{travel}\n{END}"),
    )


def interpreters() -> t.Iterator[tuple[str, pathlib.Path]]:
    """A Python with pytest for each version of pyroute2, and what to call it."""
    for requirement in PYROUTE2:
        recipe = (requirement, PYTEST, sys.version, sys.base_prefix)
        folder = cached("python", recipe, lambda path, req=requirement: make_python(path, req))
        python = folder / "bin" / "python"
        ask = "import importlib.metadata as m; print(m.version('pyroute2'))"
        yield f"pyroute2 {command(str(python), '-c', ask).strip()}", python


def make_python(folder: pathlib.Path, requirement: str) -> None:
    """Make a Python environment that has pytest and one version of pyroute2."""
    command(sys.executable, "-m", "venv", str(folder))
    command(str(folder / "bin" / "pip"), "install", "--quiet", requirement, PYTEST)


def run_pytest(python: str | pathlib.Path, *words: str, title: str) -> str:
    """The line of a job that runs tests and keeps their exit status if it is not 0."""
    line = shlex.join([str(python), "-m", "pytest", *QUIET, *words])
    return f'echo "=== Linux $(uname -r), {title}"\n{line} || worst=$?'


if __name__ == "__main__":
    # Leave by the exits of the blocks in `bed` when asked to end.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: sys.exit(128 + got))
    try:
        sys.exit(main(sys.argv[1:]))
    except BedError as exc:
        print(f"tests.kernel: {exc}", file=sys.stderr)
        sys.exit(2)
