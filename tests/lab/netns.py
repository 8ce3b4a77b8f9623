# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes: a network and a mount namespace each, kept alive by one sleeping process, the anchor.

An anchor's ``argv[0]`` is ``wgsd-lab:PREFIX:NODE``. That name is the only record of a lab's
namespaces: whoever cleans up finds them by it, also after a lab that was killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import LabError

_CLONE_NEWNET = 0x40000000
_TITLE = "wgsd-lab:{prefix}:{name}"
# A private /run gives a node its own /run/wireguard, so that every host can call its device wg0.
# Addresses that the lab has thought out need no detection of duplicates: IPv6 works at once.
_OWN_RUN = """
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 700 /run/wireguard
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
"""
# A bridge is a switch: where br_netfilter is loaded, a router's rules would also meet the packets
# that its hosts send to one another.
FORWARD = """
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
for call in /proc/sys/net/bridge/bridge-nf-call-ip{,6}tables; do
  if [ -e $call ]; then echo 0 > $call; fi
done
"""


class Node:
    """One namespaced place: a host, a router or the internet."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid

    def __repr__(self) -> str:
        return f"Node({self.name!r}, pid={self.pid})"

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` in this node, in the current folder."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--net", f"--wdns={Path.cwd()}"]
        return [*enter, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = 60,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` here to its end and catch what it writes.

        :raises LabError: if ``check`` and it ends with another status than 0
        :raises subprocess.TimeoutExpired: after ``timeout`` seconds
        """
        return run_caught(self.name, argv, self.command(argv), stdin, check, timeout, env)

    def ip(self, commands: Sequence[str]) -> None:
        """Run several commands of ip(8), each without its ``ip``, in one process.

        :raises LabError: when one fails; those after it are not run
        """
        self.run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` here; its pid is the process's own. At the latest the lab ends it."""
        options.setdefault("start_new_session", True)
        return self.adopt(subprocess.Popen(self.command(argv), **options))

    def adopt(self, process: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
        """Make the lab's end that of ``process`` too, also while it is on its way into the node."""
        _STARTED.setdefault(self.pid, []).append(process)
        return process

    def path(self, inside: str) -> Path:
        """How ``inside``, a path in this node, is reached from outside of it."""
        if inside.startswith("/var/run/"):  # an absolute link, which would lead out of the node
            inside = inside[len("/var") :]
        return Path(f"/proc/{self.pid}/root{inside}")

    @contextmanager
    def network(self) -> Iterator[None]:
        """Make the calling thread's new sockets belong to this node."""
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            with Path(f"/proc/{self.pid}/ns/net").open("rb") as here:
                _setns(here.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())


def run_caught(
    where: str,
    argv: Sequence[str],
    command: Sequence[str],
    stdin: str | None,
    check: bool,
    timeout: float | None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``command``, which is how to run ``argv`` at ``where``, and catch what it writes.

    :raises LabError: if ``check`` and it ends with another status than 0
    :raises subprocess.TimeoutExpired: after ``timeout`` seconds
    """
    result = subprocess.run(
        command,
        check=False,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=env,
    )
    if check and result.returncode != 0:
        raise LabError(
            f"{where}: {' '.join(argv)} ended with status {result.returncode}: "
            f"{(result.stderr or result.stdout).strip()}"
        )
    return result


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


def create(prefix: str, name: str, setup: str = _OWN_RUN) -> Node:
    """Make a node whose anchor has run ``setup`` (bash) in its new namespaces.

    :raises LabError: when the namespaces cannot be made; says why
    """
    title = _TITLE.format(prefix=prefix, name=name)
    setup = f"ip link set lo up\n{setup}\necho ready\nexec >&- 2>&-\n"
    script = f"{setup}exec -a {title} sleep infinity"
    anchor = subprocess.Popen(
        ["unshare", "--mount", "--net", "--propagation=private", "--", "bash", "-euc", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd="/",
    )
    assert anchor.stdout
    assert anchor.stderr
    try:
        with anchor.stdout, anchor.stderr:
            if anchor.stdout.readline() != "ready\n":
                why = anchor.stderr.read().strip()
                raise LabError(f"cannot make the namespaces of {name}: {why}")
        while _title(anchor.pid) != title:  # only by its name can it be found and removed
            if anchor.poll() is not None:
                raise LabError(f"the namespaces of {name} are gone as soon as they were made")
            time.sleep(0.001)
    except BaseException:
        anchor.kill()
        anchor.wait()
        raise
    _ANCHORS[anchor.pid] = anchor
    return Node(name, anchor.pid)


# Anchors that are our children: they have to be waited for once they are dead.
_ANCHORS: dict[int, subprocess.Popen[str]] = {}
# Processes that nodes have adopted, by the pids of the anchors.
_STARTED: dict[int, list[subprocess.Popen[Any]]] = {}


def create_host(prefix: str, name: str, forward: bool = False) -> Node:
    """Make a node with a /run of its own; one that forwards packets, if ``forward``."""
    return create(prefix, name, _OWN_RUN + (FORWARD if forward else ""))


def find(prefix: str) -> dict[str, Node]:
    """The nodes of the lab ``prefix`` that are alive, by name."""
    beginning = _TITLE.format(prefix=prefix, name="")
    nodes = {}
    for pid in _pids():
        title = _title(pid)
        if title.startswith(beginning):
            name = title[len(beginning) :]
            nodes[name] = Node(name, pid)
    return nodes


def remove(prefix: str, patience: float = 10.0) -> None:
    """End every process in the namespaces of the lab ``prefix``; with them the namespaces go.

    :param patience: seconds until a process that does not go is an error
    :raises LabError: when something is still there after ``patience`` seconds
    """
    anchors = [node.pid for node in find(prefix).values()]
    for process in [process for pid in anchors for process in _STARTED.pop(pid, [])]:
        process.kill()
    spaces = {_network_of(pid) for pid in anchors} - {None}
    spaces.discard(_network_of(os.getpid()))
    deadline = time.monotonic() + patience
    while True:
        left = [pid for pid in _pids() if pid != os.getpid() and _network_of(pid) in spaces]
        if not left:
            break
        if time.monotonic() > deadline:
            raise LabError(f"lab {prefix}: processes {left} do not end; see with `ps` what they do")
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    for pid in [pid for pid, anchor in _ANCHORS.items() if anchor.poll() is not None]:
        del _ANCHORS[pid]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _title(pid: int) -> str:
    """What a process that sleeps calls itself; empty for all others."""
    try:
        if Path(f"/proc/{pid}/exe").readlink().name != "sleep":
            return ""
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _network_of(pid: int) -> str | None:
    """The identity of a process's network namespace; None once the process is gone or a zombie."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None
