# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast a change reaches who follows the zone, and what transfers and signatures cost.

What each row means is told in docs/performance.md.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import socket
import statistics
import sys
import time
import typing as t

from tests.lab.errors import LabError

from . import dnsperf, prober, quiet, wire
from .lines import Lines
from .process import DNS_PORT, PYTHON, Asker, Responder, run_ns_of
from .registry import Device, Registry
from .responder import machine
from .stats import Goal, render, row
from .traffic import Traffic
from .transfer import ID, Transferring, axfr, serial_of, timers_of

PREFIX = "wgbz"
#: Where those who follow stand: every address of this network is the registry's own.
CROWD_NETWORK = "10.200.0.0/16"
POUR_PORT = 5356
#: Queries a second while a zone is transferred.
OFFERED = 1_000


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured; times in seconds.

    Attributes:
        moves: Changes that a client's copy follows.
        bursts: Changes that a crowd follows, and how many it is.
        differences: Changes that are asked for by IXFR.
        transfers: By AXFR.
        windows: Pairs of a window without and one with transfers.
        window: Of one of these.
        rounds: Pairs of a run on the unsigned and one on the signed zone.
        seconds: Of such a run.
        signed: Numbers of peers of these zones.
        versions: That are signed and kept.
        quiet: For which clients are counted.
    """

    moves: int
    bursts: int
    crowd: int
    differences: int
    transfers: int
    windows: int
    window: float
    rounds: int
    seconds: float
    signed: tuple[int, ...]
    versions: int
    quiet: float


FULL = Plan(
    moves=100,
    bursts=20,
    crowd=1_000,
    differences=50,
    transfers=20,
    windows=5,
    window=4,
    rounds=5,
    seconds=3,
    signed=(100, 10_000),
    versions=100,
    quiet=120,
)
QUICK = Plan(
    moves=10,
    bursts=3,
    crowd=1_000,
    differences=5,
    transfers=3,
    windows=1,
    window=2,
    rounds=1,
    seconds=1,
    signed=(100,),
    versions=10,
    quiet=20,
)
FEW, MANY = 100, 10_000


def measure(quick: bool) -> dict[str, t.Any]:
    """Measure everything, print a table, and return its rows."""
    plan = QUICK if quick else FULL
    with _step(f"{plan.quiet:g} s of quiet clients"):
        clients = quiet.measure(plan.quiet)
    with Registry(PREFIX) as registry:
        bench = Bench(registry, plan)
        bench.run()
    rows = [*bench.rows(), clients]
    print(render(rows))
    missed = [made for made in rows if made["met"] is False]
    print(f"{len(missed)} goals missed" + (": see NO" if missed else ""))
    return {"quick": quick, "machine": machine(), "notes": bench.notes, "rows": rows}


class Bench:
    """All measurements on one registry."""

    def __init__(self, registry: Registry, plan: Plan) -> None:
        self._registry = registry
        self._plan = plan
        self._values: dict[str, list[float]] = collections.defaultdict(list)
        cpus = sorted(os.sched_getaffinity(0))
        self._serving, self._asking = cpus[:1], cpus[1:] or cpus
        self.notes: list[str] = []
        load = os.getloadavg()[0]
        if load > 1:
            # What answers stands back for all others, so it is the first to feel them.
            self._note(f"the machine had other work to do: {load:.1f} processes at the beginning")

    def run(self) -> None:
        """Measure."""
        few, many = self._registry.device(FEW), self._registry.device(MANY)
        self._registry.host.run(["ip", "address", "add", CROWD_NETWORK, "dev", "lo"])
        workers = len(self._serving + self._asking)
        with Responder(self._registry, few, workers) as responder:
            with _step("a change on its way to a client"):
                self._to_a_client(responder)
            with _step("a change on its way to a crowd"):
                self._to_a_crowd(responder)
        with Responder(self._registry, many, 1) as responder:
            with _step("IXFR of one change"):
                self._difference(responder)
            with _step("AXFR"):
                self._transfer(responder)
        with _step("signing, and keeping versions"):
            self._versions()
        for peers in self._plan.signed:
            with _step(f"signed and unsigned, {peers:,} peers"):
                self._signed(self._registry.device(peers))

    def _to_a_client(self, responder: Responder) -> None:
        """Follow changes to a client's copy, and in turns to an answer, which is their floor."""
        device, chance = responder.device, random.Random(1)
        command = [PYTHON, _script("follow.py"), device.address, wire.ZONE]
        environment = {**os.environ, "PYTHONPATH": str(self._registry.engine)}
        with (
            Lines(self._registry, command, environment) as lines,
            contextlib.closing(Asker(responder)) as asker,
        ):
            lines.next(30)
            for _number in range(self._plan.moves):
                time.sleep(chance.uniform(0.2, 0.5))
                index = chance.randrange(FEW)
                span = device.move([index])
                while True:
                    seen, ports = lines.next(10)
                    if ports.get(device.names[index]) == device.ports[index]:
                        break
                self._keep("client", (seen - span.begin) / 1e6)
                time.sleep(chance.uniform(0.2, 0.5))
                span = device.move([index])
                while asker.port_of(index) != device.ports[index]:
                    time.sleep(0.001)
                self._keep("answer", (time.time_ns() - span.begin) / 1e6)
                lines.next(10)

    def _to_a_crowd(self, responder: Responder) -> None:
        device, crowd = responder.device, self._plan.crowd
        command = [sys.executable, "-m", "tests.bench.crowd", device.address]
        command += [CROWD_NETWORK, str(crowd)]
        with Lines(self._registry, command, os.environ) as lines:
            lines.next(60)
            _wait(lambda: responder.report()["notify"]["followers"] >= crowd, "crowd of followers")
            for number in range(self._plan.bursts):
                time.sleep(1)
                span = device.move([number % FEW])
                heard = lines.next(30)
                self._keep("notified", (max(heard["notified"]) - span.begin) / 1e6)
                self._keep("had", (max(heard["had"]) - span.begin) / 1e6)
                self._keep("notices", heard["notices"])

    def _difference(self, responder: Responder) -> None:
        device, (worker,) = responder.device, responder.workers()
        chance = random.Random(2)
        with self._registry.host.network(), socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect((device.address, DNS_PORT))
            sock.settimeout(5)
            for _number in range(self._plan.differences):
                before = serial_of(sock)
                device.move([chance.randrange(MANY)])
                _wait(lambda before=before: serial_of(sock) != before, "newer version")
                # What the worker does with the version itself is not part of the answer.
                time.sleep(0.1)
                size, took = self._cost(sock, worker.pid, wire.ixfr(before))
                self._keep("ixfr bytes", size)
                self._keep("ixfr ms", took)
                question = wire.query(wire.ZONE, wire.SOA)
                self._keep("soa ms", self._cost(sock, worker.pid, question)[1])

    @staticmethod
    def _cost(sock: socket.socket, pid: int, query: bytes) -> tuple[int, float]:
        """Return the bytes of an answer, and the milliseconds that its worker ran for it."""
        before = run_ns_of(pid)
        sock.send(ID + query)
        size = len(sock.recv(65535))
        # What has run is counted when it stops.
        time.sleep(0.02)
        return size, (run_ns_of(pid) - before) / 1e6

    def _transfer(self, responder: Responder) -> None:
        device = responder.device
        (worker,) = responder.workers()
        os.sched_setaffinity(worker.pid, self._serving)
        with self._registry.host.network(), socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect((device.address, DNS_PORT))
            timers = timers_of(sock)
        poured = self._registry.folder / "transfer"
        poured.write_bytes(axfr(self._registry, device, timers))
        words = [PYTHON, _script("pour.py"), device.address, str(POUR_PORT), str(poured)]
        pour = self._registry.host.popen(words)
        try:
            time.sleep(0.5)
            for _number in range(self._plan.transfers):
                began, ran = time.monotonic(), run_ns_of(worker.pid)
                size = len(axfr(self._registry, device, timers))
                self._keep("axfr", time.monotonic() - began)
                self._keep("axfr ran", (run_ns_of(worker.pid) - ran) / 1e9)
                self._keep("axfr bytes", size / 1e6)
                began = time.monotonic()
                axfr(self._registry, device, timers, POUR_PORT)
                self._keep("pour", time.monotonic() - began)
        finally:
            pour.kill()
            pour.wait()
        names = self._registry.folder / "names"
        names.write_text("\n".join(device.names), encoding="ascii")
        for _number in range(self._plan.windows):
            self._probe(device, names, "quiet")
            with Transferring(self._registry, device, timers):
                self._probe(device, names, "transferring")

    def _probe(self, device: Device, names: pathlib.Path, kind: str) -> None:
        output = self._registry.folder / "samples"
        words = prober.command(device.address, names, output, OFFERED, self._plan.window)
        self._registry.host.run(words, timeout=120)
        samples = prober.read_samples(output.read_bytes())
        lost = sum(sample.took < 0 for sample in samples)
        if lost:
            self._note(f"{kind}: of {len(samples)} queries {lost} were lost")
        took = sorted(sample.took / 1e6 for sample in samples if sample.took >= 0)
        self._keep(f"{kind} p99", took[int(len(took) * 0.99)])
        self._keep(f"{kind} max", took[-1])

    def _versions(self) -> None:
        folder = self._registry.folder / "sealing"
        folder.mkdir()
        words = [PYTHON, _script("sealing.py"), str(MANY), str(self._plan.versions), str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(self._registry.engine)}
        done = self._registry.host.run(words, timeout=600, env=environment)
        found = json.loads(done.stdout)
        for name in ("sign", "bare_sign", "keep", "bare_keep"):
            self._values[name] += [seconds * 1e3 for seconds in found[name]]
        self._values["signatures"] += found["signatures"]
        for name in ("first", "begin", "load"):
            self._keep(name, found[name])

    def _signed(self, device: Device) -> None:
        """Keep the answers a second to queries that want signatures, of zones with and without."""
        traffic, peers = Traffic(self._registry.folder, device, 1), len(device.keys)
        for _number in range(self._plan.rounds):
            for kind in ("unsigned", "signed"):
                zone: dict[str, t.Any] = {"dnssec": True} if kind == "signed" else {}
                state = f"/run/wgsd-state-{peers}-{kind}"
                with Responder(self._registry, device, 1, zone, state_dir=state) as responder:
                    (worker,) = responder.workers()
                    os.sched_setaffinity(worker.pid, self._serving)
                    self._load(device, traffic.every_peer, seconds=None, rounds=2)
                    self._keep(f"{kind} {peers}", self._load(device, traffic.srv))

    def _load(self, device: Device, queries: pathlib.Path, **options: t.Any) -> float:
        options = {"seconds": self._plan.seconds, "cpus": self._asking, "dnssec": True, **options}
        load = dnsperf.run(self._registry.host, device.address, queries, **options)
        if set(load.rcodes) != {"NOERROR"}:
            raise LabError(f"SRV was answered with {dict(load.rcodes)}")
        if load.lost:
            self._note(f"dnsperf lost {load.lost} of {load.sent} queries ({queries.name})")
        return load.rate

    def _keep(self, what: str, value: float) -> None:
        self._values[what].append(value)

    def _note(self, text: str) -> None:
        print(f"!! {text}", flush=True)
        self.notes.append(text)

    def rows(self) -> list[dict[str, t.Any]]:
        """Return the table; its order is that of docs/performance.md."""
        values, crowd = self._values, self._plan.crowd
        signatures = statistics.median(values["signatures"])
        return [
            row(
                f"from a change to a client's copy, {FEW} peers",
                values["client"],
                "ms",
                against=values["answer"],
                goal=Goal("median", "<=", 300),
                note="from a change to its answer, for who asks all the time",
            ),
            row("... the slowest of 100", values["client"], "ms", goal=Goal("p99", "<=", 1000)),
            row(
                f"from a change to the last NOTIFY of {crowd:,}",
                values["notified"],
                "ms",
                goal=Goal("max", "<=", 1000),
                note=f"{statistics.mean(values['notices']):,.0f} NOTIFYs for each",
            ),
            row(
                f"from a change to the last of {crowd:,} that has it",
                values["had"],
                "ms",
                goal=Goal("max", "<=", 1000),
            ),
            row(
                f"IXFR of one change among {MANY:,} peers",
                values["ixfr bytes"],
                "bytes",
                goal=Goal("max", "<=", 1000),
            ),
            row(
                "... the worker's time",
                values["ixfr ms"],
                "ms",
                against=values["soa ms"],
                goal=Goal("median", "<=", 5),
                note="a SOA query",
            ),
            row(
                f"AXFR of {MANY:,} peers, one worker",
                values["axfr"],
                "s",
                against=values["pour"],
                goal=Goal("max", "<=", 2),
                note=f"the same {statistics.median(values['axfr bytes']):.1f} MB, ready to be sent",
            ),
            row("... the worker's time", values["axfr ran"], "s"),
            row(
                f"p99 at {OFFERED:,} q/s beside AXFRs, one after the other",
                values["transferring p99"],
                "ms",
                against=values["quiet p99"],
                note="without them",
            ),
            row(
                "... the slowest answer",
                values["transferring max"],
                "ms",
                against=values["quiet max"],
                note="without them",
            ),
            row(
                f"signing after one change among {MANY:,} peers",
                values["sign"],
                "ms",
                against=values["bare_sign"],
                goal=Goal("median", "<=", 20),
                note=f"{signatures:g} signatures by the library alone",
            ),
            row(f"signing {MANY:,} peers for the first time", values["first"], "s"),
            row(
                "keeping a version of the signed zone on the disk",
                values["keep"],
                "ms",
                against=values["bare_keep"],
                note="as many bytes, written and synced",
            ),
            row(f"a journal of {MANY:,} signed peers, made anew", values["begin"], "s"),
            row("... and read", values["load"], "s"),
            *(
                row(
                    f"signed SRV answers, one worker, {peers:,} peers",
                    values[f"signed {peers}"],
                    "q/s",
                    against=values[f"unsigned {peers}"],
                    goal=Goal("ratio", ">=", 0.8),
                    note="the same queries to the unsigned zone",
                )
                for peers in self._plan.signed
            ),
        ]


def _wait(condition: t.Callable[[], bool], what: str, patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"no {what} within {patience:g} s")
        time.sleep(0.01)


def _script(name: str) -> str:
    return str(pathlib.Path(__file__).with_name(name))


@contextlib.contextmanager
def _step(what: str) -> t.Iterator[None]:
    started = time.monotonic()
    print(f"{what} ...", flush=True)
    yield
    print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)
