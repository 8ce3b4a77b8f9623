# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one client costs whose device has 1,000 peers, and how fast it sets their endpoints.

What each row means is told in docs/performance.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import os
import pathlib
import random
import re
import subprocess
import time
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils._zipapp import build

from tests.lab.bare import BareLab
from tests.lab.errors import LabError
from tests.lab.mesh import INTERFACE, SERVER, ZONE, Mesh
from tests.lab.topology import REGISTRY, Site
from wgsd.device.base import Backend
from wgsd.device.kernel import KernelBackend
from wgsd.device.userspace import UserspaceBackend
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, PeerChange

from . import pretended
from .process import PYTHON, cpu_of
from .responder import machine
from .stats import Goal, render, row

PREFIX = "wgbf"
HOST = "alice"
PEERS = 1_000
#: Peers that the registry knows in the mesh of which most are off.
FEW = 50
#: The device that pretends that all its peers are direct.
PRETENDED = "wg1"
_FIRST_ADDRESS = ipaddress.IPv4Address("10.1.0.1")
_FIRST_ENDPOINT = ipaddress.IPv4Address("198.18.0.1")
_PORT = 51820
_METRICS = "/run/client.prom"
_ENGINE = "/run/engine"
_READS = re.compile(r"^wgsd_client_device_reads_total\{.*\} (\d+)$", re.MULTILINE)
_POLL = 0.02
#: As the unit sets it.
_ENVIRONMENT = {"PATH": os.environ["PATH"], "MALLOC_MMAP_THRESHOLD_": "65536"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured; times in seconds.

    Attributes:
        settle: From the start of a client until it has nothing new to do.
        seconds: For which it is then watched.
        starts: Cold starts.
        changes: Changes of one endpoint each.
    """

    settle: float
    seconds: float
    starts: int
    changes: int


FULL = Plan(settle=60.0, seconds=60.0, starts=10, changes=20)
QUICK = Plan(settle=30.0, seconds=20.0, starts=2, changes=5)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a client took while it was watched; rates by the second.

    Attributes:
        cpu: Of one core, in percent.
        rss, pss: Bytes at the end.
        woken: How often it went to sleep and was woken.
    """

    cpu: float
    rss: int
    pss: int
    reads: float
    woken: float


def measure(quick: bool) -> dict[str, t.Any]:
    """Measure all rows."""
    plan = QUICK if quick else FULL
    rows = []
    with Fleet(PEERS) as fleet:
        fleet.know(range(PEERS))
        rows.append(fleet.cold_starts(plan.starts))
        with fleet.pretended() as reads, fleet.client(PRETENDED) as process:
            time.sleep(plan.settle)
            rows += _rows("all direct", watch(process, reads, plan.seconds), Goal("max", "<=", 1))
            rows.append(fleet.transfers(plan.changes))
        fleet.forget_endpoints()
        with fleet.client(INTERFACE) as process:
            time.sleep(plan.settle)
            cost = watch(process, fleet.metered_reads, plan.seconds)
            rows += _rows("all unreachable", cost, Goal("max", "<=", 2))
        fleet.know(range(FEW))
        fleet.forget_endpoints()
        with fleet.client(INTERFACE) as process:
            time.sleep(plan.settle)
            cost = watch(process, fleet.metered_reads, plan.seconds)
            rows += _rows("most unknown", cost, Goal("max", "<=", 1))
    print(render(rows), flush=True)
    return {"quick": quick, "machine": machine(), "notes": [], "rows": rows}


def _rows(what: str, cost: Cost, goal: Goal) -> list[dict[str, t.Any]]:
    title = f"1,000 peers, {what}"
    note = f"{cost.reads:.2f} reads and {cost.woken:.1f} wake-ups a second"
    return [
        row(f"client, {title}", [cost.cpu], "% of a core", goal=goal, note=note),
        row(
            f"memory (RSS), {title}",
            [cost.rss / 1e6],
            "MB",
            goal=Goal("max", "<=", 40),
            note=f"PSS {cost.pss / 1e6:.1f} MB",
        ),
    ]


class Fleet:
    """A registry and one client host, whose devices have the same peers; a context manager."""

    def __init__(self, peers: int) -> None:
        chance = random.Random(peers)
        self._keys = [PublicKey(chance.randbytes(32)) for _number in range(peers)]
        self._private_key = chance.randbytes(32).hex()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Fleet:
        with contextlib.ExitStack() as stack:
            lab = stack.enter_context(BareLab(PREFIX, (Site(HOST),)))
            self._mesh = stack.enter_context(Mesh(lab, PYTHON))
            self._host = lab.host(HOST)
            self._host.path(_ENGINE).write_bytes(build())
            lab.registry.path("/run/wgsd-responder").mkdir()
            self._mesh.start_responder()
            self.forget_endpoints()
            self._mesh.connect(HOST)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def know(self, indices: t.Iterable[int]) -> None:
        """Have the registry's device know these peers, each at its endpoint, and no others."""
        known = set(indices)
        self._apply(
            REGISTRY,
            [
                PeerChange(
                    key,
                    endpoint=_endpoint(index),
                    allowed_ips=(_allowed_ip(index),),
                    create=True,
                    remove=index not in known,
                )
                for index, key in enumerate(self._keys)
            ],
        )

    def forget_endpoints(self) -> None:
        """Make the peers of the host's device new, without endpoint and keepalive."""
        self._apply(
            HOST,
            [
                PeerChange(key, allowed_ips=(_allowed_ip(index),), fresh=True, create=True)
                for index, key in enumerate(self._keys)
            ],
        )

    @contextlib.contextmanager
    def pretended(self) -> t.Iterator[t.Callable[[], int]]:
        """Give the host a device that pretends; yield what tells how often it has been read."""
        registry = {
            "key": self._mesh.key(REGISTRY).hex(),
            "endpoint": self._mesh.registry_endpoint,
            "allowed_ip": f"{SERVER}/32",
        }
        crowd = [
            {"key": key.hex(), "endpoint": str(_endpoint(index)), "allowed_ip": _allowed_ip(index)}
            for index, key in enumerate(self._keys)
        ]
        described = {"private_key": self._private_key, "peers": [registry, *crowd]}
        self._host.path("/run/pretended.json").write_text(json.dumps(described), encoding="utf-8")
        command = [PYTHON, pretended.__file__, PRETENDED, "/run/pretended.json"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = self._host.popen(command, **pipes)

        def reads() -> int:
            process.stdin.write("\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        try:
            reads()
            self._host.run(["ip", "address", "add", "10.1.255.254/16", "dev", PRETENDED])
            self._host.run(["ip", "link", "set", PRETENDED, "up"])
            yield reads
        finally:
            process.stdin.close()
            process.wait(10)

    @contextlib.contextmanager
    def client(self, interface: str) -> t.Iterator[subprocess.Popen[bytes]]:
        """Start a client as its unit does, and end it."""
        self._host.path(_METRICS).unlink(missing_ok=True)
        config = {
            "interface": interface,
            "zone": ZONE,
            "registries": [SERVER],
            "metrics_file": _METRICS,
        }
        self._host.path("/run/client.yml").write_text(json.dumps(config), encoding="utf-8")
        command = [PYTHON, _ENGINE, "client", "--config", "/run/client.yml"]
        with self._host.path("/run/client.log").open("wb") as log:
            process = self._host.popen(
                command, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
            if process.poll() is not None:
                told = self._host.path("/run/client.log").read_text(encoding="utf-8")
                raise LabError(f"the client has ended:\n{told}")
        finally:
            process.terminate()
            process.wait(10)

    def metered_reads(self) -> int:
        """Return how often the client has read the device, as it counts, just after it told."""
        path = self._host.path(_METRICS)
        before = path.stat().st_mtime_ns
        while path.stat().st_mtime_ns == before:
            time.sleep(_POLL)
        found = _READS.search(path.read_text(encoding="utf-8"))
        if found is None:
            raise LabError(f"{path} tells of no reads")
        return int(found[1])

    def cold_starts(self, times: int) -> dict[str, t.Any]:
        """Measure from the start of a client until all endpoints are set."""
        took = [self._cold_start() for _number in range(times)]
        return row(
            "start to the last of 1,000 endpoints",
            [seconds for seconds, _cpu in took],
            "s",
            goal=Goal("max", "<=", 3),
            note=f"{max(cpu for _seconds, cpu in took):.2f} s of processor time at the most",
        )

    def _cold_start(self) -> tuple[float, float]:
        self.forget_endpoints()
        with self._backend(HOST) as device:
            begun = time.monotonic()
            with self.client(INTERFACE) as process:
                while not _are_set(device.read(), self._keys):
                    if time.monotonic() > begun + 60:
                        raise LabError("the client does not set all endpoints")
                    time.sleep(_POLL)
                return time.monotonic() - begun, cpu_of(process.pid)

    def transfers(self, changes: int) -> dict[str, t.Any]:
        """Count the questions for what is new while endpoints change, one after the other."""
        status = self._mesh.lab.registry.path("/run/wgsd-responder/status.json")

        def asked() -> int:
            time.sleep(2.0)
            report = json.loads(status.read_text(encoding="utf-8"))
            return int(report["queries"]["by_type"].get("IXFR", 0))

        before = asked()
        for number in range(changes):
            moved = dataclasses.replace(_endpoint(number), port=_PORT + 1)
            self._apply(REGISTRY, [PeerChange(self._keys[number], endpoint=moved)])
            time.sleep(1.0)
        return row(
            "transfers for a change of one endpoint",
            [(asked() - before) / changes],
            "",
            goal=Goal("max", "<=", 1.25),
            note=f"{changes} changes; each 30 s there is one question more",
        )

    def _apply(self, name: str, changes: t.Sequence[PeerChange]) -> None:
        with self._backend(name) as device:
            device.apply(changes)

    @contextlib.contextmanager
    def _backend(self, name: str) -> t.Iterator[Backend]:
        """Open the device of a host, whichever way it is reached."""
        host = self._mesh.lab.host(name)
        if self._mesh.devices[name].process:
            with UserspaceBackend(INTERFACE, folder=host.path("/run/wireguard")) as device:
                yield device
        else:
            with host.network(), KernelBackend(INTERFACE) as device:
                yield device


def watch(process: subprocess.Popen[bytes], reads: t.Callable[[], int], seconds: float) -> Cost:
    """Watch a client for so many seconds, or a little longer."""
    before = (reads(), cpu_of(process.pid), _woken(process.pid), time.monotonic())
    time.sleep(seconds)
    after = (reads(), cpu_of(process.pid), _woken(process.pid), time.monotonic())
    read, ran, woken, took = (b - a for a, b in zip(before, after, strict=True))
    return Cost(
        cpu=ran / took * 100,
        rss=_number(process.pid, "status", "VmRSS") * 1024,
        pss=_number(process.pid, "smaps_rollup", "Pss") * 1024,
        reads=read / took,
        woken=woken / took,
    )


def _woken(pid: int) -> int:
    return _number(pid, "status", "voluntary_ctxt_switches")


def _number(pid: int, file: str, name: str) -> int:
    """Return a number out of a file of /proc (proc(5))."""
    text = pathlib.Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8")
    return int(text.partition(f"\n{name}:")[2].split()[0])


def _are_set(device: Device, keys: t.Iterable[PublicKey]) -> bool:
    """Whether all these peers of a device have an endpoint."""
    return all(device.peers[key].endpoint for key in keys)


def _endpoint(index: int) -> Endpoint:
    return Endpoint(str(_FIRST_ENDPOINT + index), _PORT)


def _allowed_ip(index: int) -> str:
    return f"{_FIRST_ADDRESS + index}/32"
