# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the responder is measured against in the same run: a bare echo loop, and upstream."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import time
import typing as t

from tests.lab.errors import LabError

from . import wire
from .process import PYTHON, Process
from .registry import Device, Registry

ECHO_PORT = 5354
COREDNS_PORT = 5355
#: Names the binary of a CoreDNS that has the plugin wgsd.
COREDNS = "WGSD_BENCH_COREDNS"
#: SRV answers a second by number of peers, as measured when this project began, on a machine like
#: ours with two cores; only for want of a binary.
WRITTEN_DOWN = {1: 7860.0, 100: 2192.0, 1000: 335.0, 10_000: 27.0}
_PATIENCE = 30.0
_POLICIES = {os.SCHED_OTHER: "--other", os.SCHED_BATCH: "--batch", os.SCHED_IDLE: "--idle"}


@contextlib.contextmanager
def echo(
    registry: Registry,
    address: str,
    processes: int,
    like: Process,
    cpus: t.Collection[int] = (),
) -> t.Iterator[int]:
    """Run a bare echo loop on `ECHO_PORT` and yield the pid of its first process.

    Args:
        like: A worker: the loop is scheduled as it is.
        cpus: Where to run; anywhere by default.
    """
    script = str(pathlib.Path(__file__).with_name("echo.py"))
    words = ["nice", "-n", str(like.nice), "chrt", _POLICIES[like.policy], "0"]
    if cpus:
        words += ["taskset", "--cpu-list", ",".join(map(str, cpus))]
    words += [PYTHON, script, address, str(ECHO_PORT), str(processes)]
    with _running(registry, words, address, ECHO_PORT) as pid:
        yield pid


@contextlib.contextmanager
def coredns(registry: Registry, device: Device, binary: str) -> t.Iterator[None]:
    """Run CoreDNS with wgsd on a device, on `COREDNS_PORT`."""
    corefile = registry.folder / "Corefile"
    corefile.write_text(
        f".:{COREDNS_PORT} {{\n  wgsd {wire.ZONE} {device.name}\n}}\n", encoding="ascii"
    )
    words = [binary, "-conf", str(corefile)]
    with _running(registry, words, device.address, COREDNS_PORT, device.names[0]):
        yield


@contextlib.contextmanager
def _running(
    registry: Registry, words: list[str], address: str, port: int, name: str = wire.ZONE
) -> t.Iterator[int]:
    log = registry.folder / "rival.log"
    with log.open("wb") as output:
        process = registry.host.popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ}
        )
    try:
        with registry.host.network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.1)
            _wait_for_answer(sock, (address, port), name, process, log)
        yield process.pid
    finally:
        # It is the leader of its group, in which the other echo processes are too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _wait_for_answer(
    sock: socket.socket,
    server: tuple[str, int],
    name: str,
    process: subprocess.Popen[t.Any],
    log: pathlib.Path,
) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        sock.sendto(b"\0\0" + wire.query(name), server)
        with contextlib.suppress(OSError):
            sock.recv(4096)
            return
    raise LabError(f"{process.args} does not answer:\n{log.read_text(encoding='utf-8')}")
