# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder's processes: what each may do, what dies without harm, what a reload loses."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import typing as t

import dns.message
import dns.rcode
import pytest

from .bare import BareLab
from .responder import ALICE, BOB, PYTHONS, SERVICE, TUNNEL, ZONE, Bed, instance
from .unpacked import promtool

pytestmark = pytest.mark.lab

PREFIX = "wgtp"
#: Bits of capability sets.
NET_ADMIN, DAC_OVERRIDE = 1 << 12, 1 << 1


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab(PREFIX) as built:
        yield built


@pytest.fixture
def bed(lab: BareLab, tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    """Debian's own Python and libraries: what the roles run it on."""
    one = Bed(lab, tmp_path, PYTHONS["debian"])
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def serving(bed: Bed) -> Bed:
    """A responder on the device's tunnel address, as by default."""
    bed.start_device()
    bed.start()
    return bed


class Asker:
    """Asks for a peer at a steady rate, each query once, and counts what does not come back."""

    def __init__(self, bed: Bed, rate: float = 200.0, patience: float = 2.0) -> None:
        with bed.host.network():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((TUNNEL, 53))
        self._socket.settimeout(0.05)
        self._period = 1 / rate
        self._patience = patience
        self._stop = threading.Event()
        self._answered: dict[int, bytes] = {}
        self.sent = 0
        self.refused = 0

    def __enter__(self) -> Asker:
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._threads[0].join()
        deadline = time.monotonic() + self._patience
        while self.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        self._threads[1].join(self._patience)
        self._socket.close()

    @property
    def lost(self) -> int:
        """Queries without an answer so far."""
        return self.sent - len(self._answered)

    def rcodes(self) -> set[int]:
        """The response codes that came."""
        return {response[3] & 15 for response in self._answered.values()}

    def _send(self) -> None:
        query = bytearray(dns.message.make_query(instance(ALICE), "SRV").to_wire())
        due = time.monotonic()
        while not self._stop.is_set():
            query[:2] = self.sent.to_bytes(2, "big")
            try:
                self._socket.send(query)
            except ConnectionRefusedError:
                # Nobody had the socket open for a moment.
                self.refused += 1
            self.sent += 1
            due += self._period
            time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self) -> None:
        deadline = None
        while deadline is None or (self.lost and time.monotonic() < deadline):
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                response = self._socket.recv(4096)
                self._answered[int.from_bytes(response[:2], "big")] = response
            if self._stop.is_set() and deadline is None:
                deadline = time.monotonic() + self._patience


def capabilities(pid: int) -> dict[str, int]:
    """The capability sets of a process."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line[:6]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}


def test_only_the_watcher_may_touch_the_device(bed: Bed) -> None:
    bed.start_device()
    responder = bed.start(metrics="127.0.0.1:9586")
    (watcher,), (exporter,) = responder.children("watcher"), responder.children("exporter")
    assert capabilities(watcher)["CapEff"] == NET_ADMIN | DAC_OVERRIDE
    assert not capabilities(responder.process.pid)["CapEff"] & (NET_ADMIN | DAC_OVERRIDE)
    assert len(responder.workers()) == 2
    # It is not waited for when the responder starts.
    bed.until(lambda: not capabilities(exporter)["CapPrm"])
    for pid in (exporter, *responder.workers()):
        assert not any(capabilities(pid)[kind] for kind in ("CapEff", "CapPrm", "CapInh"))
        assert os.getpriority(os.PRIO_PROCESS, pid) == 10
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert os.getpriority(os.PRIO_PROCESS, watcher) == 0
    assert os.sched_getscheduler(watcher) == os.SCHED_OTHER


def test_a_watcher_that_dies_takes_no_answer_with_it(serving: Bed) -> None:
    assert serving.responder
    (watcher,) = serving.responder.children("watcher")
    with Asker(serving) as asker:
        os.kill(watcher, signal.SIGKILL)
        time.sleep(0.2)
        serving.set(ALICE, "endpoint", "198.51.100.1:2222")
        serving.until(lambda: serving.port_of(ALICE) == 2222)
    assert (asker.lost, asker.rcodes()) == (0, {dns.rcode.NOERROR})
    assert f"watcher {watcher} ended unasked (signal 9)" in serving.responder.log
    serving.until(lambda: serving.responder.report["watcher_restarts"] == 1)


def test_killed_workers_lose_no_query_that_waits(serving: Bed) -> None:
    assert serving.responder
    with Asker(serving) as asker:
        for _time in range(3):
            time.sleep(1.2)
            # Asleep, it cannot have taken a query that would go with it.
            victim = serving.responder.workers()[0]
            os.kill(victim, signal.SIGKILL)
            serving.until(lambda victim=victim: victim not in serving.responder.workers())
    assert asker.sent > 500
    # A worker that is killed between taking a query and answering it takes that one along.
    assert asker.lost <= 3
    serving.until(lambda: serving.responder.report["worker_restarts"] == 3)
    assert serving.responder.report["workers"] == 2


def test_a_reload_takes_up_the_new_configuration_and_loses_no_query(serving: Bed) -> None:
    responder = serving.responder
    assert responder
    before = {responder.process.pid: set(responder.children())}
    serial = serving.ask(ZONE, "SOA").answer[0][0].serial
    with Asker(serving) as asker:
        time.sleep(0.3)
        responder.configure(zone={"names": {ALICE.base64: "alice"}}, workers=3)
        responder.process.send_signal(signal.SIGHUP)
        assert "RELOADING" in responder.told()
        responder.wait_ready()
        assert serving.ask(f"alice.{SERVICE}").answer
        time.sleep(0.3)
    assert asker.sent > 150
    assert (asker.lost, asker.refused, asker.rcodes()) == (0, 0, {dns.rcode.NOERROR})
    assert responder.process.poll() is None
    assert len(responder.workers()) == 3
    old = before[responder.process.pid]
    serving.until(lambda: not old & set(responder.children()))
    assert serving.ask(ZONE, "SOA").answer[0][0].serial >= serial
    assert responder.report["reloads"] == 1


def test_reloads_in_a_rush_end_well(serving: Bed) -> None:
    responder = serving.responder
    assert responder
    with Asker(serving) as asker:
        # On a busy machine those of a second and a half may come while the first one is checked.
        for sent in range(300):
            responder.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
            if sent >= 30 and responder.report["reloads"] >= 2:
                break
        serving.until(lambda: len(responder.workers()) == 2 and not asker.refused)
        serving.until(lambda: responder.report["reloads"] >= 2)
    assert asker.lost == 0
    assert responder.process.poll() is None


def test_a_reload_with_a_bad_configuration_is_refused_and_all_goes_on(serving: Bed) -> None:
    responder = serving.responder
    assert responder
    # It starts once the workers serve.
    serving.until(lambda: bool(responder.children("notifier")))
    before = set(responder.children())
    responder.config.write_text("zones: 7\n")
    responder.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in responder.told()
    assert responder.told()["READY"] == "1"
    assert f"{responder.config}:1: field zones" in responder.log
    assert "goes on as it was" in responder.log
    assert set(responder.children()) == before
    assert serving.port_of(ALICE) == 41414


@pytest.mark.parametrize("field", ["listen", "metrics"])
def test_a_reload_to_an_address_that_is_taken_is_refused_and_all_goes_on(
    serving: Bed, field: str
) -> None:
    responder = serving.responder
    assert responder
    serving.until(lambda: bool(responder.children("notifier")))
    before = set(responder.children())
    with serving.host.network():
        other = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with other:
        other.bind(("127.0.0.1", 5353))
        other.listen()
        taken = "127.0.0.1:5353"
        responder.configure(**{field: [f"{TUNNEL}:53", taken] if field == "listen" else taken})
        responder.process.send_signal(signal.SIGHUP)
        assert "RELOADING" in responder.told()
        assert responder.told()["READY"] == "1"
        assert f"not reloaded: wgsd responder: cannot listen on {taken}" in responder.log
        assert f"change '{field}'" in responder.log
        assert set(responder.children()) == before
        assert serving.port_of(ALICE) == 41414
    responder.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in responder.told()
    responder.wait_ready()
    assert serving.port_of(ALICE) == 41414
    assert responder.process.poll() is None


@pytest.mark.parametrize("field", ["listen", "metrics"])
def test_a_service_that_starts_again_goes_on_without_an_address_that_is_taken(
    serving: Bed, field: str
) -> None:
    responder = serving.responder
    assert responder
    with serving.host.network():
        other = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with other:
        other.bind(("127.0.0.1", 5353))
        other.listen()
        taken = "127.0.0.1:5353"
        responder.configure(**{field: [f"{TUNNEL}:53", taken] if field == "listen" else taken})
        responder.restart()
        while f"cannot listen on {taken}" not in responder.told().get("STATUS", ""):
            pass
        assert serving.port_of(ALICE) == 41414
    responder.wait_ready()
    assert serving.port_of(ALICE) == 41414
    serving.until(lambda: responder.report["trouble"] == [])


def test_all_addresses_take_the_place_of_one_in_a_restart_and_not_in_a_reload(
    serving: Bed,
) -> None:
    responder = serving.responder
    assert responder
    responder.configure(listen=["0.0.0.0:53"])
    responder.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in responder.told()
    assert responder.told()["READY"] == "1"
    assert "restart the service instead of reloading it" in responder.log
    assert serving.port_of(ALICE) == 41414
    responder.restart()
    responder.wait_ready()
    assert serving.port_of(ALICE) == 41414
    assert sorted(responder.stored) == ["tcp-0.0.0.0-53", "udp-0.0.0.0-53"]


def test_queries_wait_in_the_kept_sockets_while_the_service_restarts(serving: Bed) -> None:
    responder = serving.responder
    assert responder
    assert sorted(responder.stored) == [f"tcp-{TUNNEL}-53", f"udp-{TUNNEL}-53"]
    with Asker(serving, rate=50, patience=5) as asker:
        time.sleep(0.2)
        responder.restart()
        responder.wait_ready()
    assert asker.sent > 20
    # One may have been in the hands of a worker when that was killed.
    assert asker.lost <= 1
    assert asker.refused == 0


@pytest.fixture
def disk(bed: Bed, tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A file system of its own, which can be frozen: who writes to it then cannot be killed."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    image.write_bytes(bytes(8 << 20))
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    mount = bed.host.command(["mount", "-o", "loop", str(image), str(folder)])
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(bed.host.command(["fsfreeze", "-u", str(folder)]), check=False)
        if bed.responder:
            bed.responder.process.terminate()
            bed.responder.process.wait(10)
        bed.host.run(["umount", str(folder)])


def test_a_disk_that_hangs_takes_no_answer_with_it(bed: Bed, disk: pathlib.Path) -> None:
    bed.start_device()
    responder = bed.start(state_dir=str(disk))
    bed.until(lambda: bed.port_of(ALICE) == 41414)
    (watcher,) = responder.children("watcher")
    bed.host.run(["fsfreeze", "-f", str(disk)])
    # Who transfers the zone is written down, and so is a version.
    bed.dig("+tcp", ZONE, "AXFR")
    bed.set(ALICE, "endpoint", "198.51.100.1:2222")
    bed.until(lambda: responder.report["watcher_restarts"] == 1, patience=40)
    assert f"watcher {watcher} was killed and does not end" in responder.report["trouble"][0]
    assert responder.children("watcher") == [watcher]
    assert bed.port_of(ALICE) == 41414
    responder.process.send_signal(signal.SIGHUP)
    bed.until(lambda: "not reloaded: watcher" in responder.log)
    assert bed.port_of(ALICE) == 41414
    bed.host.run(["fsfreeze", "-u", str(disk)])
    bed.until(lambda: bed.port_of(ALICE) == 2222)
    bed.until(lambda: responder.report["trouble"] == [])
    assert responder.children("watcher") != [watcher]
    assert "ended unasked" in responder.log


def test_a_device_made_anew_is_asked_through_its_new_interface(serving: Bed) -> None:
    assert serving.device
    serving.device.stop()
    serving.until(lambda: "last endpoints are served" in serving.responder.log)
    serving.start_device()
    serving.until(lambda: serving.port_of(BOB) == 51821)


def from_outside(lab: BareLab, *command: str) -> str:
    """What a command prints on a host that reaches the tunnel address without the tunnel."""
    internet = lab.internet
    internet.run(["ip", "route", "replace", f"{TUNNEL}/32", "via", lab.registry.address])
    try:
        return subprocess.run(
            internet.command(command), capture_output=True, text=True, check=False
        ).stdout
    finally:
        internet.run(["ip", "route", "delete", f"{TUNNEL}/32"])


def test_a_reload_can_let_others_in_and_keep_them_out_again(lab: BareLab, serving: Bed) -> None:
    responder = serving.responder
    assert responder
    command = ["dig", f"@{TUNNEL}", "+tries=1", "+timeout=1", instance(ALICE), "SRV"]
    for allowed, answered in ((["0.0.0.0/0"], True), (None, False), (["0.0.0.0/0"], True)):
        responder.configure(zone={"allow_query": allowed} if allowed else {})
        responder.process.send_signal(signal.SIGHUP)
        assert "RELOADING" in responder.told()
        responder.wait_ready()
        assert ("41414" in from_outside(lab, *command)) is answered


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("listen", [None, ["0.0.0.0:53"]], ids=["tunnel address", "wildcard"])
def test_what_does_not_come_through_the_tunnel_learns_nothing(
    lab: BareLab, bed: Bed, listen: list[str] | None, tcp: bool
) -> None:
    bed.start_device()
    bed.start(**({"listen": listen} if listen else {}))
    command = ["dig", f"@{TUNNEL}", "+tries=1", "+timeout=1", *(["+tcp"] if tcp else [])]
    outside = from_outside(lab, *command, instance(ALICE), "SRV")
    if listen:
        assert "status: REFUSED" in outside
    else:
        assert "status:" not in outside
    inside = bed.host.run([*command, instance(ALICE), "SRV"]).stdout
    assert "41414" in inside


def test_an_exporter_that_dies_is_replaced(bed: Bed) -> None:
    bed.start_device()
    responder = bed.start(metrics="127.0.0.1:9586")
    bed.until(lambda: responder.children("exporter"))
    (exporter,) = responder.children("exporter")
    os.kill(exporter, signal.SIGKILL)
    bed.until(lambda: f"exporter {exporter} ended unasked (signal 9)" in responder.log)
    bed.until(lambda: responder.children("exporter"))


def test_metrics_and_status_tell_what_happens(serving: Bed) -> None:
    responder = serving.responder
    assert responder
    responder.configure(metrics="127.0.0.1:9586")
    responder.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in responder.told()
    responder.wait_ready()
    for _time in range(20):
        serving.ask(instance(ALICE))

    def fetched() -> str:
        fetch = (
            "import urllib.request as u;"
            "print(u.urlopen('http://127.0.0.1:9586/metrics', timeout=5).read().decode(), end='')"
        )
        return serving.host.run([serving.python, "-c", fetch]).stdout

    def metrics() -> dict[str, float]:
        lines = fetched().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    # The first time each of the workers looks the answer up.
    answered = 'wgsd_queries_total{path="fast",rcode="NOERROR",type="SRV"}'
    serving.until(lambda: metrics()[answered] >= 18)
    found = metrics()
    assert found["wgsd_reloads_total"] == 1
    assert found['wgsd_device_peers{device="wg0"}'] == 3
    assert found[f'wgsd_zone_instances{{zone="{ZONE}"}}'] == 2
    assert found['wgsd_device_read_age_seconds{device="wg0"}'] < 1
    serving.until(lambda: responder.report["listening"])
    report = responder.report
    assert report["zones"][0]["peers_served"] == 2
    assert report["listening"] == [f"{TUNNEL}:53"]
    assert promtool("check", "metrics", given=fetched()) == ""
