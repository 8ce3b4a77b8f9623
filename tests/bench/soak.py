# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything at once, for long: load, changes, nonsense, deaths, restarts, reloads; what was lost?

The first part of the time is a storm, in which processes are killed, the device is restarted and
the responder reloaded. In the rest nothing dies, so that memory has the time to grow if it does.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import random
import signal
import statistics
import subprocess
import time
import typing as t

from tests.lab.errors import LabError
from wgsd.responder.batches import BATCH

from . import dnsperf, prober
from .clients import Babbler, TcpClient
from .prober import LOST, Sample
from .process import WATCHER, WORKER, Responder
from .registry import Churn, Registry, Span
from .traffic import Traffic
from .truth import Truth

PREFIX = "wgbs"
PEERS = 10_000
MINUTES = float(os.environ.get("WGSD_SOAK_MINUTES", "30"))
STORM = 0.6
QUIET = "nothing"
#: Queries a second of dnsperf, of the prober and over TCP; packets of nonsense a second.
FLOOD, PROBES, TCP, NONSENSE = 4_000, 500, 10, 200
#: Seconds between deaths of workers and of watchers, restarts of the device, and reloads.
PERIODS = {"worker": 10.0, "watcher": 23.0, "device": 47.0, "reload": 31.0}
#: A soak that lasts fewer seconds has all this at shorter intervals.
SHORT = 300.0
#: Seconds for which a process must have gone on quietly before the next one is killed: the
#: responder notes its restarts once a second, and a reload needs some time.
CALM = 2.5
#: The promise for so many peers, in nanoseconds: an endpoint is served within that time.
FRESH = 1_000_000_000
#: The same around a death or a restart, which take the time to start again what has gone.
FRESH_IN_STORM = 5_000_000_000
#: Growth of memory that counts as none: in bytes, and as a part of the whole.
FLAT_BYTES, FLAT_PART = 4e6, 0.04
_SAMPLE_MEMORY = 2.0
_JUDGED_AFTER = 1_000_000_000


def run() -> dict[str, t.Any]:
    """Soak the responder, print a report and return it; ``faults`` is empty if all went well."""
    with Registry(PREFIX) as registry:
        soak = Soak(registry, MINUTES * 60)
        soak.run()
    report = soak.report()
    width = max(map(len, report))
    for name, value in report.items():
        if isinstance(value, dict):
            lines = [f"{key}: {one}" for key, one in value.items()]
        else:
            lines = [str(value)]
        if name != "faults":
            for number, line in enumerate(lines):
                print(f"{('' if number else name).ljust(width)}  {line}")
    for fault in report["faults"]:
        print(f"FAULT: {fault}")
    print("soak: failed" if report["faults"] else "soak: good")
    return report


class Event(t.NamedTuple):
    """Something that was done to the responder or its device, in nanoseconds since the epoch."""

    name: str
    begin: int
    end: int


class Soak:
    """One soak."""

    def __init__(self, registry: Registry, seconds: float) -> None:
        self._registry = registry
        self._seconds = seconds
        self._device = registry.device(PEERS)
        self._truth = Truth(self._device.ports)
        self._random = random.Random()
        self._events: list[Event] = []
        #: By what had been done last, or `QUIET`.
        self._ages: dict[str, list[int]] = {name: [] for name in (*PERIODS, QUIET)}
        self._took: dict[str, list[int]] = {name: [] for name in (*PERIODS, QUIET)}
        self._lost: list[int] = []
        self._wrong: list[tuple[Sample, int | None]] = []
        #: Seconds since the start, and bytes.
        self._memory: list[tuple[float, int]] = []
        #: Answers that are not judged yet: what the device had then may be known only now.
        self._unjudged: collections.deque[Sample] = collections.deque()
        haste = min(1.0, seconds / SHORT)
        self._periods = {name: period * haste for name, period in PERIODS.items()}

    def run(self) -> None:
        """Do it all."""
        registry, device, host = self._registry, self._device, self._registry.host
        # While the device is gone, so is its address, and nobody could ask.
        host.run(["ip", "address", "add", f"{device.address}/32", "dev", "lo"])
        traffic = Traffic(registry.folder, device)
        names = registry.folder / "names"
        names.write_text("\n".join(device.names), encoding="ascii")
        samples = registry.folder / "samples"
        with contextlib.ExitStack() as stack:
            self._responder = stack.enter_context(Responder(registry, device, len(_cpus())))
            self._before = _kernel_drops(host.pid)
            flood = host.popen(
                dnsperf.command(
                    device.address,
                    traffic.mixed,
                    seconds=self._seconds,
                    rate=FLOOD,
                    outstanding=1_000,
                ),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            probing = host.popen(
                prober.command(device.address, names, samples, PROBES, self._seconds),
                stdout=subprocess.DEVNULL,
            )
            self._tcp = TcpClient(host, device.address, device.names, TCP / TcpClient.PIPELINED)
            self._babbler = Babbler(host, device.address, device.names, NONSENSE)
            background = [
                stack.enter_context(one)
                for one in (Churn(device, told=self._moved), self._tcp, self._babbler)
            ]
            while not samples.exists():
                time.sleep(0.01)
            answers = stack.enter_context(samples.open("rb"))
            self._begun = time.monotonic()
            due = dict(self._periods)
            while (elapsed := time.monotonic() - self._begun) < self._seconds:
                time.sleep(0.1)
                for one in background:
                    one.check()
                self._follow(answers)
                self._weigh(elapsed)
                if elapsed < self._seconds * STORM - CALM:
                    self._storm(due, elapsed)
            output, _errors = flood.communicate(timeout=60)
            self._flood = dnsperf.parse(output)
            probing.wait(60)
            time.sleep(CALM)
            self._follow(answers)
            self._told = self._responder.report()
            self._after = _kernel_drops(host.pid)
            if self._responder.process.poll() is not None:
                raise LabError(f"the responder has ended:\n{self._responder.log}")

    def _moved(self, indices: t.Sequence[int], span: Span) -> None:
        for index in indices:
            self._truth.moved(index, self._device.ports[index], span)

    def _storm(self, due: dict[str, float], elapsed: float) -> None:
        """Do what is due, if what was done before is over."""
        last = self._events[-1].end if self._events else 0
        if time.time_ns() - last < CALM * 1e9 or not self._responder.is_settled():
            return
        name = min(due, key=due.__getitem__)
        if due[name] > elapsed:
            return
        due[name] = elapsed + self._periods[name]
        begin = time.time_ns()
        if name == "device":
            self._truth.absent(self._device.restart())
        elif name == "reload":
            self._responder.reload()
        else:
            victims = self._responder.named(WORKER if name == "worker" else WATCHER)
            os.kill(self._random.choice(victims).pid, signal.SIGKILL)
        self._events.append(Event(name, begin, time.time_ns()))

    def _follow(self, answers: t.BinaryIO) -> None:
        """Judge what the prober has found since the last time."""
        position = answers.tell()
        data = answers.read()
        found = prober.read_samples(data)
        answers.seek(position + len(found) * prober.SAMPLE_BYTES)
        self._unjudged += found
        while self._unjudged and self._unjudged[0].sent < time.time_ns() - _JUDGED_AFTER:
            sample = self._unjudged.popleft()
            if sample.rcode == LOST:
                self._lost.append(sample.sent)
                continue
            event = self._event_before(sample.sent + sample.took)
            self._took[event].append(sample.took)
            age = self._truth.age(sample)
            # A worker's death delays no news.
            bound = FRESH if event in (QUIET, "worker") else FRESH_IN_STORM
            if age is None or age > bound:
                self._wrong.append((sample, age))
            else:
                self._ages[event].append(age)

    def _event_before(self, moment: int) -> str:
        """Return what was done last before a moment, of what it may still feel."""
        for event in reversed(self._events):
            if event.begin <= moment:
                # What takes longer to recover from counts, also if a worker has died since.
                if moment > event.end + FRESH_IN_STORM:
                    break
                if event.name != "worker" or not self._is_recovering(moment):
                    return event.name
        return QUIET

    def _is_recovering(self, moment: int) -> bool:
        return any(
            event.name != "worker" and event.begin <= moment <= event.end + FRESH_IN_STORM
            for event in self._events
        )

    def _times(self, name: str) -> list[int]:
        return [event.end for event in self._events if event.name == name]

    def _weigh(self, elapsed: float) -> None:
        if not self._memory or elapsed - self._memory[-1][0] >= _SAMPLE_MEMORY:
            self._memory.append((elapsed, self._responder.pss()))

    def report(self) -> dict[str, t.Any]:
        """Return what came of it."""
        flood, told = self._flood, self._told
        lost = flood.lost + len(self._lost)
        kernel = {name: self._after[name] - self._before[name] for name in self._after}
        killed = len(self._times("worker"))
        in_hands = BATCH * killed
        dropped = sum(kernel.values())
        answered = sum(map(len, self._took.values()))
        faults = list(self._faults(lost, dropped, in_hands))
        return {
            "seconds": round(self._seconds),
            "queries sent": flood.sent + answered + len(self._lost) + self._tcp.asked,
            "  by dnsperf, answered": f"{flood.completed} of {flood.sent}: {dict(flood.rcodes)}",
            "  by the prober, answered": f"{answered} of {answered + len(self._lost)}",
            "  over TCP": f"{self._tcp.asked}, {len(self._tcp.broken)} connections broken,"
            f" {len(self._tcp.wrong)} answers without a port",
            "packets of nonsense": self._babbler.sent,
            "queries lost over UDP": lost,
            "  dropped by the kernel": f"{dropped} {kernel}",
            "  dropped at the socket, as the responder says": told["socket_drops"],
            "  in the hands of killed workers, at most": in_hands,
            "wrong answers": len(self._wrong),
            "age of what was answered, at most, after": {
                name: f"{max(ages) / 1e6:.0f} ms" for name, ages in self._ages.items() if ages
            },
            "time of an answer after": {
                name: _centiles(took) for name, took in self._took.items() if took
            },
            "workers killed, replaced": f"{killed}, {told['worker_restarts']}",
            "watchers killed, replaced": (
                f"{len(self._times('watcher'))}, {told['watcher_restarts']}"
            ),
            "reloads asked for, done": f"{len(self._times('reload'))}, {told['reloads']}",
            "restarts of the device": len(self._times("device")),
            "memory (PSS), MB": {
                part: f"{early / 1e6:.1f} at first, {late / 1e6:.1f} at last"
                for part, (early, late) in self._growth().items()
            },
            "faults": faults,
        }

    def _faults(self, lost: int, dropped: int, in_hands: int) -> t.Iterator[str]:
        told, tcp = self._told, self._tcp
        if lost > dropped + in_hands:
            yield (
                f"{lost} queries were lost; the kernel dropped {dropped}, and killed workers may"
                f" have had {in_hands} in their hands"
            )
        stray = sum(not self._was_killed_at(sent) for sent in self._lost)
        if stray > dropped:
            yield f"{stray} of the prober's queries were lost without a worker's death"
        rcodes = set(self._flood.rcodes) - {"NOERROR", "NXDOMAIN"}
        if rcodes:
            yield f"dnsperf got {dict(self._flood.rcodes)}"
        if self._wrong:
            rcodes_of_wrong = collections.Counter(sample.rcode for sample, _age in self._wrong)
            sample, age = self._wrong[0]
            since = "never" if age is None else f"{age / 1e9:.2f} s before"
            yield (
                f"{len(self._wrong)} wrong answers, of rcodes {dict(rcodes_of_wrong)}, such as"
                f" {sample}, which was right {since}"
            )
        broken = [when for when in tcp.broken if not self._was_killed_at(when)]
        if broken:
            yield f"{len(broken)} TCP connections were broken without a worker's death"
        wrong = [when for when in tcp.wrong if self._event_before(when) != "device"]
        if wrong:
            yield f"{len(wrong)} answers over TCP had no port"
        for kind, counted in (
            ("worker", told["worker_restarts"]),
            ("watcher", told["watcher_restarts"]),
            ("reload", told["reloads"]),
        ):
            done = len(self._times(kind))
            if counted != done:
                yield f"{kind}: {done} times by us, {counted} times counted"
        for part, (early, late) in self._growth().items():
            if part == "storm" and self._seconds < SHORT:
                continue  # What was started a moment ago has not seen everything yet.
            if late - early > max(FLAT_BYTES, FLAT_PART * early):
                yield f"memory grew in the {part}: {early / 1e6:.1f} -> {late / 1e6:.1f} MB"

    def _was_killed_at(self, moment: int) -> bool:
        """Whether a worker was killed within a second before or after a moment."""
        return any(abs(moment - when) < 1e9 for when in self._times("worker"))

    def _growth(self) -> dict[str, tuple[float, float]]:
        """Return the median memory of each part: after its first third, and at its end."""
        found = {}
        parts = {"storm": (0.0, STORM), "calm": (STORM, 1.0)}
        for part, (begin, end) in parts.items():
            begin, end = begin * self._seconds, end * self._seconds
            third = (end - begin) / 3
            windows = ((begin + third, begin + 2 * third), (begin + 2 * third, end))
            early, late = (
                statistics.median(size for when, size in self._memory if low <= when < high)
                for low, high in windows
            )
            found[part] = (early, late)
        return found


def _centiles(took: t.Sequence[int]) -> str:
    ordered = sorted(took)
    p50, p99, last = (ordered[int((len(ordered) - 1) * part)] / 1e6 for part in (0.5, 0.99, 1))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {last:.0f} ms"


def _cpus() -> t.Collection[int]:
    return os.sched_getaffinity(0)


def _kernel_drops(pid: int) -> dict[str, int]:
    """Return the datagrams that the kernel has thrown away, by where it did.

    At sockets of a namespace, the responder's and the clients', whose buffer was full; and in the
    queue of the loopback interface, of which there is one for the whole machine.
    """
    snmp = pathlib.Path(f"/proc/{pid}/net/snmp").read_text(encoding="ascii")
    names, values = (line.split()[1:] for line in snmp.splitlines() if line.startswith("Udp:"))
    udp = dict(zip(names, map(int, values), strict=True))
    queues = pathlib.Path("/proc/net/softnet_stat").read_text(encoding="ascii")
    return {
        "receive buffers": udp["RcvbufErrors"],
        "send buffers": udp["SndbufErrors"],
        "memory": udp.get("MemErrors", 0),
        "queue": sum(int(line.split()[1], 16) for line in queues.splitlines()),
    }
