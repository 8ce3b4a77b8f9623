# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``wgsd responder`` as its unit runs it, and what it costs: time to start, processor, memory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import types
import typing as t

from tests.lab.errors import LabError

from . import wire
from .registry import PUBLIC, Device, Registry

#: What the unit starts it with: Debian's own, whatever runs the benchmark.
PYTHON = "/usr/bin/python3"
DNS_PORT = 53
_TICKS = os.sysconf("SC_CLK_TCK")
_STATE = "/run/wgsd-state"
WORKER = "wgsd-worker"
WATCHER = "wgsd-watcher"
#: Seconds that a process has lived for once it is what it is to be, and there to stay.
_SETTLED = 0.5


@dataclasses.dataclass(frozen=True)
class Process:
    """What /proc tells of a process of the responder.

    Attributes:
        name: ``wgsd-worker``, ``wgsd-watcher`` …
        policy: How it is scheduled, such as `os.SCHED_OTHER`.
        cpu: Seconds of processor time so far, of user and system.
        age: Seconds since its start.
    """

    pid: int
    name: str
    nice: int
    policy: int
    cpu: float
    age: float


class Responder:
    """A responder for one device; a context manager.

    Attributes:
        first_answer: Seconds from exec until it had answered a query with a peer's endpoint.
        process: The first process: the main PID of the unit.
    """

    def __init__(
        self,
        registry: Registry,
        device: Device,
        workers: int,
        zone: t.Mapping[str, t.Any] = types.MappingProxyType({}),
        **settings: t.Any,
    ) -> None:
        """Prepare it.

        Args:
            zone: Settings of the zone, besides those that it takes to serve *device*.
            settings: All others.
        """
        self.registry = registry
        self.device = device
        self._zone = zone
        self._settings = {"workers": workers, "state_dir": _STATE, **settings}
        self.first_answer = 0.0
        self.process: subprocess.Popen[bytes]
        self._log = registry.folder / "responder.log"

    def __enter__(self) -> Responder:
        host, device, folder = self.registry.host, self.device, self.registry.folder
        host.path(self._settings["state_dir"]).mkdir(exist_ok=True)
        host.path("/run/wgsd-responder").mkdir(exist_ok=True)
        own = {
            "endpoint": f"{PUBLIC}:{device.wireguard.listen_port}",
            "allowed_ips": [f"{device.address}/32"],
        }
        zone = {"zone": wire.ZONE, "device": device.name, "self": own, **self._zone}
        config = folder / "responder.yml"
        config.write_text(
            json.dumps({"zones": [zone], **self._settings}),
            encoding="utf-8",
        )
        with contextlib.ExitStack() as stack:
            asker = Asker(self)
            stack.callback(asker.close)
            log = stack.enter_context(self._log.open("ab"))
            environment = {
                "PATH": os.environ["PATH"],
                "RUNTIME_DIRECTORY": "/run/wgsd-responder",
            }
            started = time.monotonic()
            self.process = host.popen(
                [PYTHON, str(self.registry.engine), "responder", "--config", str(config)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            stack.callback(self._end)
            while not asker.port_of(0, patience=0.005):
                if self.process.poll() is not None or time.monotonic() > started + 60:
                    raise LabError(f"the responder does not answer:\n{self.log}")
            self.first_answer = time.monotonic() - started
            self.wait_for_workers()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._stack.close()

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for_workers(self, patience: float = 30.0) -> None:
        """Wait until there are as many workers as there are to be, and have been for a moment.

        Raises:
            LabError: there are not within *patience* seconds.
        """
        deadline = time.monotonic() + patience
        while not self.is_settled():
            if time.monotonic() > deadline:
                raise LabError(f"workers come and go:\n{self.processes()}\n{self.log}")
            time.sleep(0.02)

    def is_settled(self) -> bool:
        """Whether no process of it is new, and none that is to be there is missing."""
        processes = self.processes()
        names = [process.name for process in processes]
        return (
            min(process.age for process in processes[1:] or processes) > _SETTLED
            and names.count(WORKER) == self._settings["workers"]
            and names.count(WATCHER) == 1
        )

    def processes(self) -> list[Process]:
        """Return all its processes, the first one first; those that just end are left out."""
        found = []
        for pid in _tree(self.process.pid):
            with contextlib.suppress(OSError, IndexError):
                found.append(_look_at(pid))
        return found

    def workers(self) -> list[Process]:
        """Return the processes that answer."""
        return self.named(WORKER)

    def named(self, name: str) -> list[Process]:
        """Return its processes of that name."""
        return [process for process in self.processes() if process.name == name]

    def pss(self) -> int:
        """Return the bytes of memory that are its own, shared pages by their part (PSS)."""
        total = 0
        for pid in _tree(self.process.pid):
            with contextlib.suppress(OSError):
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
                total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
        return total

    def reload(self) -> None:
        """Tell it to read its configuration and its program again."""
        self.process.send_signal(signal.SIGHUP)

    def report(self) -> dict[str, t.Any]:
        """Return what it tells of itself, the file behind ``wgsd status``."""
        path = self.registry.host.path("/run/wgsd-responder/status.json")
        return t.cast("dict[str, t.Any]", json.loads(path.read_text(encoding="utf-8")))


class Asker:
    """Asks a responder one SRV query at a time."""

    def __init__(self, responder: Responder) -> None:
        self._device = responder.device
        with responder.registry.host.network():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._number = 0

    def port_of(self, index: int, patience: float = 1.0) -> int:
        """Return the port that is served for a peer, 0 if there is no such answer in time."""
        question = wire.query(self._device.names[index])
        self._number = (self._number + 1) & 0xFFFF
        number = self._number.to_bytes(2, "big")
        self._socket.sendto(number + question, (self._device.address, DNS_PORT))
        self._socket.settimeout(patience)
        with contextlib.suppress(OSError):
            while True:
                response = self._socket.recv(4096)
                if response[:2] == number:
                    return wire.read_answer(response, question)[1]
        return 0

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()


def run_ns_of(pid: int) -> int:
    """Return the nanoseconds that a process has run so far, as the scheduler counts them."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


def cpu_of(pid: int) -> float:
    """Return the seconds of processor time that a process has taken, of user and system."""
    return _stat(pid)[1]


def _tree(pid: int) -> list[int]:
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):
            for children in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
                pids += map(int, children.read_text(encoding="ascii").split())
    return pids


def _look_at(pid: int) -> Process:
    nice, cpu, started = _stat(pid)
    return Process(
        pid=pid,
        name=pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip(),
        nice=nice,
        policy=os.sched_getscheduler(pid),
        cpu=cpu,
        age=time.clock_gettime(time.CLOCK_BOOTTIME) - started,
    )


def _stat(pid: int) -> tuple[int, float, float]:
    """Return niceness, processor seconds, and the start in seconds since the boot (proc(5))."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = stat.rpartition(")")[2].split()
    return int(fields[16]), (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[19]) / _TICKS
