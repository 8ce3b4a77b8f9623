# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast the responder is, how much it costs, and what it does to the VPN while it is flooded.

The floor is a bare echo loop in the same Python on the same packets, measured in the same rounds:
what the system calls for one datagram in and one out cost, without any work in between. What each
row means is told in docs/performance.md.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import statistics
import subprocess
import time
import typing as t

from tests.lab.errors import LabError

from . import dnsperf, prober, rivals
from .dnsperf import Load
from .process import PYTHON, Asker, Responder, cpu_of
from .registry import Churn, Device, Registry
from .stats import Goal, render, row
from .traffic import Traffic

PREFIX = "wgbr"
MEGABYTE = 1e6
#: Queries a second whose time is taken.
OFFERED = 2_000
#: Seconds after its start in which a flood reaches its full speed.
_RISE = 0.5


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured; times in seconds.

    Attributes:
        sizes: Numbers of peers, from few to many.
        rounds: Runs of each kind, interleaved.
        seconds: Of a run.
        windows: Pairs of a quiet window and one with changes.
        window: Of one of these.
        sets: ``wg set`` of each kind.
        moves: Changes whose way into an answer is followed, by number of peers.
        reads: Of the device.
        strangers: Names that do not exist.
    """

    sizes: tuple[int, ...]
    rounds: int
    seconds: float
    windows: int
    window: float
    sets: int
    moves: t.Mapping[int, int]
    reads: int
    strangers: int


FULL = Plan(
    sizes=(1, 100, 1_000, 10_000),
    rounds=5,
    seconds=3,
    windows=5,
    window=4,
    sets=100,
    moves={1_000: 40, 10_000: 40},
    reads=20,
    strangers=400_000,
)
QUICK = Plan(
    sizes=(1, 10_000),
    rounds=1,
    seconds=1,
    windows=1,
    window=2,
    sets=10,
    moves={10_000: 3},
    reads=3,
    strangers=100_000,
)


def measure(quick: bool) -> dict[str, t.Any]:
    """Measure everything, print a table, and return its rows."""
    bench = None
    with Registry(PREFIX) as registry:
        bench = Bench(registry, QUICK if quick else FULL)
        bench.run()
    rows = bench.rows()
    print(render(rows))
    missed = [made for made in rows if made["met"] is False]
    print(f"{len(missed)} goals missed" + (": see NO" if missed else ""))
    return {"quick": quick, "machine": machine(), "notes": bench.notes, "rows": rows}


def machine() -> dict[str, t.Any]:
    """Return what the figures depend on besides the code."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2] for line in cpuinfo.splitlines() if "model name" in line]
    python = subprocess.run(
        [PYTHON, "--version"], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": models[0].strip() if models else "",
        "kernel": os.uname().release,
        "python": python,
    }


class Bench:
    """All measurements on one registry."""

    def __init__(self, registry: Registry, plan: Plan) -> None:
        self._registry = registry
        self._plan = plan
        self._values: dict[str, list[float]] = collections.defaultdict(list)
        self._binary = os.environ.get(rivals.COREDNS, "")
        self.notes: list[str] = []
        # One core serves and the others ask, so that it is not the scheduler that is measured.
        cpus = sorted(os.sched_getaffinity(0))
        self._serving, self._asking = cpus[:1], cpus[1:] or cpus
        if len(cpus) < 2:
            self._note("ONE CORE ONLY: responder and load share it, the figures mean little")
        if not self._binary:
            self._note(
                f"UPSTREAM WAS NOT MEASURED: {rivals.COREDNS} names no CoreDNS with wgsd; its"
                " figures below are those once written down, of another day"
            )

    def run(self) -> None:
        """Measure."""
        plan = self._plan
        with self._step("devices and queries"):
            devices = [self._registry.device(peers) for peers in plan.sizes]
            self._traffic = {
                len(device.keys): Traffic(self._registry.folder, device, plan.strangers)
                for device in devices
            }
        few, many = devices[0], devices[-1]
        for number in range(plan.rounds):
            with self._step(f"one worker, round {number + 1} of {plan.rounds}"):
                for device in devices:
                    self._one_worker(device, (few, many))
        for number in range(plan.rounds):
            with self._step(f"as many workers as cores, round {number + 1} of {plan.rounds}"):
                self._all_cores(many)
        workers = len(self._serving + self._asking)
        with Responder(self._registry, many, workers) as responder:
            self._warm_up(many)
            with self._step("time of answers, quiet and with changes"):
                self._latency(responder)
            with self._step("wg set, idle and flooded"):
                self._wg_set(responder)
            with self._step("what watching costs"):
                self._watching(responder)
        for peers, moves in plan.moves.items():
            with (
                self._step(f"from a change to its answer, {peers} peers"),
                Responder(self._registry, self._registry.device(peers), workers) as one,
            ):
                self._staleness(one, moves)
        with self._step("reads of the device"):
            self._reads(many)

    def _one_worker(self, device: Device, extremes: tuple[Device, Device]) -> None:
        peers, traffic = len(device.keys), self._traffic[len(device.keys)]
        few, many = extremes
        kinds = {"srv": traffic.srv}
        if device in extremes:
            kinds["nxdomain"] = traffic.nxdomain
        if device is many:
            kinds["mixed"] = traffic.mixed
        with Responder(self._registry, device, 1) as responder:
            (worker,) = responder.workers()
            os.sched_setaffinity(worker.pid, self._serving)
            self._keep("start", peers, responder.first_answer)
            if device is not few:
                cold = self._load(device, traffic.every_peer, seconds=None, rounds=1)
                self._keep("cold", peers, cold.rate)
            for kind, queries in kinds.items():
                if kind == "mixed":
                    self._with_edns(device)
                    self._load(device, queries, kind, seconds=None, rounds=2)
                self._one_server(kind, worker.pid, device, queries)
        with rivals.echo(self._registry, device.address, 1, worker, self._serving) as pid:
            for kind, queries in kinds.items():
                self._one_server(f"{kind} echo", pid, device, queries, port=rivals.ECHO_PORT)
        if self._binary:
            with rivals.coredns(self._registry, device, self._binary):
                # Not confined to a core: it is a program of many threads.
                load = self._load(device, traffic.srv, "srv", port=rivals.COREDNS_PORT, cpus=())
                self._keep("coredns", peers, load.rate)

    def _with_edns(self, device: Device) -> None:
        traffic = self._traffic[len(device.keys)]
        self._load(device, traffic.every_peer, seconds=None, rounds=1, edns=True)
        load = self._load(device, traffic.srv, "srv", edns=True)
        self._keep("edns", len(device.keys), load.rate)

    def _one_server(
        self, kind: str, pid: int, device: Device, queries: pathlib.Path, **options: t.Any
    ) -> None:
        """Keep how many answers a process gives in a second, and what each costs it."""
        before = cpu_of(pid)
        load = self._load(device, queries, kind, **options)
        cpu = cpu_of(pid) - before
        self._keep(kind, len(device.keys), load.rate)
        self._keep(f"{kind} cpu", len(device.keys), cpu / load.completed * 1e6)

    def _all_cores(self, device: Device) -> None:
        peers, traffic = len(device.keys), self._traffic[len(device.keys)]
        workers = len(os.sched_getaffinity(0))
        with Responder(self._registry, device, workers) as responder:
            self._warm_up(device)
            load = self._load(device, traffic.srv, "srv", cpus=())
            self._keep("all cores", peers, load.rate)
            self._keep("memory", peers, responder.pss())
            worker = responder.workers()[0]
        with rivals.echo(self._registry, device.address, workers, worker):
            load = self._load(device, traffic.srv, port=rivals.ECHO_PORT, cpus=())
            self._keep("all cores echo", peers, load.rate)

    def _latency(self, responder: Responder) -> None:
        device = responder.device
        names = self._registry.folder / "names"
        names.write_text("\n".join(device.names), encoding="ascii")
        for _number in range(self._plan.windows):
            for kind in ("quiet", "changing"):
                changes = Churn(device) if kind == "changing" else contextlib.nullcontext()
                with changes:
                    self._probe(responder, names, kind)

    def _probe(self, responder: Responder, names: pathlib.Path, kind: str) -> None:
        device, output = responder.device, self._registry.folder / "samples"
        words = prober.command(device.address, names, output, OFFERED, self._plan.window)
        late = json.loads(responder.registry.host.run(words, timeout=120).stdout)
        samples = prober.read_samples(output.read_bytes())
        lost = sum(sample.took < 0 for sample in samples)
        wrong = sum(sample.took >= 0 and not sample.port for sample in samples)
        if lost or wrong:
            self._note(f"{kind}: of {len(samples)} queries {lost} were lost, {wrong} not answered")
        took = sorted(sample.took / 1e6 for sample in samples if sample.took >= 0)
        peers = len(device.keys)
        self._keep(f"{kind} p50", peers, took[len(took) // 2])
        self._keep(f"{kind} p99", peers, took[int(len(took) * 0.99)])
        self._keep("late p99", peers, late["p99"] * 1e3)

    def _wg_set(self, responder: Responder) -> None:
        device = responder.device
        peers, queries = len(device.keys), self._traffic[len(device.keys)].nxdomain
        blocks = max(1, self._plan.sets // 25)
        for _number in range(blocks):
            self._values[f"set idle {peers}"] += self._sets(device, self._plan.sets // blocks)
            flood = responder.registry.host.popen(
                dnsperf.command(device.address, queries, seconds=120, yields=True),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                time.sleep(_RISE)
                self._values[f"set flooded {peers}"] += self._sets(
                    device, self._plan.sets // blocks
                )
            finally:
                flood.kill()
                flood.wait()

    def _sets(self, device: Device, times: int) -> list[float]:
        """Return the milliseconds that ``wg set`` takes for one peer's endpoint, as a process."""
        key = base64.b64encode(device.keys[0]).decode()
        words = ["wg", "set", device.name, "peer", key, "endpoint", "198.51.100.1:{}"]
        return [clock * 1e3 for clock, _cpu in self._spawn(words, times, pause=0.02)]

    def _spawn(self, words: list[str], times: int, pause: float) -> list[tuple[float, float]]:
        script = str(pathlib.Path(__file__).with_name("spawn.py"))
        command = [PYTHON, script, str(times), str(pause), *words]
        return t.cast(
            "list[tuple[float, float]]",
            json.loads(self._registry.host.run(command, timeout=120).stdout),
        )

    def _watching(self, responder: Responder) -> None:
        """Keep what is spent while nobody asks: by the responder, and by the device it reads."""
        device = responder.device
        with Churn(device):
            for _number in range(self._plan.windows):
                before = self._spent(responder)
                time.sleep(self._plan.window / 2)
                after = self._spent(responder)
                for kind in ("watching", "watched"):
                    share = (after[kind] - before[kind]) / (after["time"] - before["time"])
                    self._keep(kind, len(device.keys), share * 100)

    @staticmethod
    def _spent(responder: Responder) -> dict[str, float]:
        return {
            "time": time.monotonic(),
            "watching": sum(process.cpu for process in responder.processes()),
            "watched": cpu_of(responder.device.wireguard.process.pid),
        }

    def _staleness(self, responder: Responder, moves: int) -> None:
        device = responder.device
        chance = random.Random(moves)
        with contextlib.closing(Asker(responder)) as asker:
            for _number in range(moves):
                # At any moment of the watcher's round.
                time.sleep(chance.uniform(0.05, 0.35))
                index = chance.randrange(len(device.keys))
                started = time.monotonic()
                device.move([index])
                while asker.port_of(index) != device.ports[index]:
                    if time.monotonic() > started + 30:
                        raise LabError(f"a changed endpoint is not served:\n{responder.log}")
                    time.sleep(0.001)
                self._keep("stale", len(device.keys), (time.monotonic() - started) * 1e3)

    def _reads(self, device: Device) -> None:
        """Keep the processor time of reading the device by the engine, and by ``wg``."""
        peers, times = len(device.keys), str(self._plan.reads)
        script = str(pathlib.Path(__file__).with_name("device_read.py"))
        command = [PYTHON, script, device.name, times, "0.1"]
        engine = {**os.environ, "PYTHONPATH": str(self._registry.engine)}
        for kind in ("quiet", "changing"):
            with Churn(device) if kind == "changing" else contextlib.nullcontext():
                done = self._registry.host.run(command, timeout=120, env=engine).stdout
                for cpu in json.loads(done):
                    self._keep(f"read {kind}", peers, cpu * 1e3)
                words = ["wg", "show", device.name, "dump"]
                for _clock, cpu in self._spawn(words, self._plan.reads, pause=0.1):
                    self._keep(f"dump {kind}", peers, cpu * 1e3)

    def _warm_up(self, device: Device) -> None:
        """Let each worker be asked for nearly every peer: only a first answer has to be made.

        Chance says which worker gets a query: of two, one in 256 names is new to each after that.
        """
        self._load(device, self._traffic[len(device.keys)].every_peer, seconds=None, rounds=8)

    def _load(
        self, device: Device, queries: pathlib.Path, kind: str = "", **options: t.Any
    ) -> Load:
        """Run dnsperf at full speed; *kind* says what the answers must be."""
        options = {"seconds": self._plan.seconds, "cpus": self._asking, **options}
        load = dnsperf.run(self._registry.host, device.address, queries, **options)
        expected = {"srv": {"NOERROR"}, "nxdomain": {"NXDOMAIN"}, "mixed": {"NOERROR", "NXDOMAIN"}}
        if kind in expected and not set(load.rcodes) <= expected[kind]:
            raise LabError(f"{kind} was answered with {dict(load.rcodes)}")
        if load.lost:
            self._note(f"dnsperf lost {load.lost} of {load.sent} queries ({queries.name})")
        return load

    def _keep(self, what: str, peers: int, value: float) -> None:
        self._values[f"{what} {peers}"].append(value)

    def _note(self, text: str) -> None:
        print(f"!! {text}", flush=True)
        self.notes.append(text)

    @staticmethod
    @contextlib.contextmanager
    def _step(what: str) -> t.Iterator[None]:
        started = time.monotonic()
        print(f"{what} ...", flush=True)
        yield
        print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)

    def rows(self) -> list[dict[str, t.Any]]:
        """Return the table; its order is that of docs/performance.md."""
        few, many = self._plan.sizes[0], self._plan.sizes[-1]
        return [
            *self._rows_of_rates(few, many),
            *self._rows_against_upstream(),
            *self._rows_of_times(many),
            *self._rows_of_costs(many),
        ]

    def _rows_of_rates(self, few: int, many: int) -> t.Iterator[dict[str, t.Any]]:
        values, unit = self._values, "q/s"
        close = Goal("ratio", ">=", 0.8)
        for peers in self._plan.sizes:
            yield row(
                f"SRV, one worker, {peers:,} peers",
                values[f"srv {peers}"],
                unit,
                against=values[f"srv echo {peers}"],
                goal=close,
                note=self._echo_note("srv", peers),
            )
        yield row(
            f"SRV, {many:,} peers against {few:,}",
            values[f"srv {many}"],
            unit,
            against=values[f"srv {few}"],
            goal=Goal("ratio", ">=", 0.9),
            note=f"the same with {few:,} peers",
        )
        for peers in (few, many):
            yield row(
                f"flood of unknown keys, one worker, {peers:,} peers",
                values[f"nxdomain {peers}"],
                unit,
                against=values[f"nxdomain echo {peers}"],
                goal=close,
                note=self._echo_note("nxdomain", peers),
            )
        yield row(
            f"mixed load, one worker, {many:,} peers",
            values[f"mixed {many}"],
            unit,
            against=values[f"mixed echo {many}"],
            note=self._echo_note("mixed", many),
        )
        yield row(
            f"SRV with EDNS, one worker, {many:,} peers",
            values[f"edns {many}"],
            unit,
            against=values[f"srv {many}"],
            note="the same without EDNS",
        )
        yield row(
            f"SRV, as many workers as cores, {many:,} peers",
            values[f"all cores {many}"],
            unit,
            against=values[f"all cores echo {many}"],
            note="bare echo loop, as many processes",
        )
        yield row(
            f"SRV, each peer for the first time, {many:,} peers", values[f"cold {many}"], unit
        )
        for kind, what in (("srv", "SRV"), ("nxdomain", "NXDOMAIN"), ("mixed", "mixed")):
            yield row(
                f"processor time of an answer, {what}, {many:,} peers",
                values[f"{kind} cpu {many}"],
                "us",
                against=values[f"{kind} echo cpu {many}"],
                note="bare echo loop",
            )

    def _echo_note(self, kind: str, peers: int) -> str:
        """Say what the floor was, and how busy both were: one that was not waited for the load."""
        ours, floor = (
            statistics.median(self._values[f"{name} {peers}"])
            * statistics.median(self._values[f"{name} cpu {peers}"])
            / 1e6
            for name in (kind, f"{kind} echo")
        )
        return f"bare echo loop, one process ({floor:.0%} busy, the worker {ours:.0%})"

    def _rows_against_upstream(self) -> t.Iterator[dict[str, t.Any]]:
        goals = {1: 4.0, 1_000: 100.0, 10_000: 1_000.0}
        for peers in self._plan.sizes:
            measured = self._values[f"coredns {peers}"]
            yield row(
                f"SRV against upstream, {peers:,} peers",
                self._values[f"srv {peers}"],
                "q/s",
                against=measured or [rivals.WRITTEN_DOWN[peers]],
                goal=Goal("ratio", ">=", goals[peers]) if peers in goals else None,
                note="CoreDNS with wgsd" if measured else "CoreDNS with wgsd, as written down",
            )

    def _rows_of_times(self, many: int) -> t.Iterator[dict[str, t.Any]]:
        values = self._values
        offered = f"at {OFFERED:,} q/s"
        for centile in ("p50", "p99"):
            yield row(
                f"{centile} {offered}, {many:,} peers", values[f"quiet {centile} {many}"], "ms"
            )
            yield row(
                f"{centile} {offered}, 100 changes/s",
                values[f"changing {centile} {many}"],
                "ms",
                against=values[f"quiet {centile} {many}"],
                goal=Goal("ratio", "<=", 2.0) if centile == "p99" else None,
                note="without changes",
            )
        yield row("lateness of the prober, p99", values[f"late p99 {many}"], "ms")
        idle = statistics.median(values[f"set idle {many}"])
        yield row(f"wg set, idle, {many:,} peers", values[f"set idle {many}"], "ms")
        yield row(
            f"wg set, flooded, {many:,} peers",
            values[f"set flooded {many}"],
            "ms",
            against=[idle],
            goal=Goal("ratio", "<=", 1.2),
            note="idle",
        )
        for peers, bound in ((1_000, 250.0), (10_000, 1_000.0)):
            if peers in self._plan.moves:
                yield row(
                    f"from a change to its answer, {peers:,} peers",
                    values[f"stale {peers}"],
                    "ms",
                    goal=Goal("max", "<=", bound),
                )

    def _rows_of_costs(self, many: int) -> t.Iterator[dict[str, t.Any]]:
        values = self._values
        for kind, what in (("quiet", "nothing changes"), ("changing", "100 changes/s")):
            yield row(
                f"one read of {many:,} peers, {what}",
                values[f"read {kind} {many}"],
                "ms",
                against=[statistics.median(values[f"dump {kind} {many}"])],
                goal=Goal("ratio", "<=", 2.0),
                note="wg show dump",
            )
        yield row(
            f"responder while nobody asks, {many:,} peers",
            values[f"watching {many}"],
            "% of a core",
        )
        yield row(
            f"wireguard-go under its reads, {many:,} peers",
            values[f"watched {many}"],
            "% of a core",
        )
        yield row(
            f"memory, all processes (PSS), {many:,} peers",
            [value / MEGABYTE for value in values[f"memory {many}"]],
            "MB",
            goal=Goal("median", "<=", 150.0),
        )
        yield row(
            f"start to first answer, {many:,} peers",
            values[f"start {many}"],
            "s",
            goal=Goal("median", "<=", 3.0),
        )
