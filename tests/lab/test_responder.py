# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder on a real device, asked by real DNS clients."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import typing as t

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from wgsd.keys import PublicKey

from .bare import BareHost, BareLab
from .responder import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    PUBLIC,
    PYTHONS,
    SERVICE,
    TUNNEL,
    ZONE,
    Bed,
    Responder,
    instance,
)
from .wireguard import kind, start

pytestmark = pytest.mark.lab

PREFIX = "wgtr"
#: Seconds within which a changed endpoint must be served.
FRESH = 0.25


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab(PREFIX) as built:
        yield built


@pytest.fixture(params=PYTHONS)
def bed(lab: BareLab, request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    one = Bed(lab, tmp_path, PYTHONS[request.param])
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def serving(bed: Bed) -> Bed:
    """A responder that serves the device's tunnel address, as by default."""
    bed.start_device()
    bed.start(
        zone={
            "self": {"endpoint": f"{PUBLIC}:51820", "allowed_ips": [f"{TUNNEL}/32"]},
            "names": {ALICE.base64: "alice"},
        }
    )
    return bed


def test_dig_browses_the_peers_that_have_an_endpoint(serving: Bed) -> None:
    assert serving.device
    own = PublicKey.from_base64(serving.device.public_key)
    labels = sorted(key.label for key in (ALICE, BOB, own))
    expected = [f"{label}.{SERVICE}" for label in labels]
    assert serving.dig("+short", SERVICE, "PTR") == expected
    assert serving.dig("+short", "+tcp", SERVICE, "PTR") == expected


def test_dig_resolves_a_peer(serving: Bed) -> None:
    name = instance(ALICE)
    txt = f'"txtvers=1" "pub={ALICE.base64}" "allowed=10.0.0.1/32,10.1.0.0/24" "name=alice"'
    assert serving.dig("+short", name, "SRV") == [f"0 0 41414 {name}"]
    assert serving.dig("+short", name, "TXT") == [txt]
    assert serving.dig("+short", name, "A") == ["198.51.100.1"]
    assert serving.dig("+short", instance(BOB), "AAAA") == ["2001:db8::b"]
    assert serving.dig("+short", f"alice.{SERVICE}", "SRV") == [name, f"0 0 41414 {name}"]
    assert len(serving.dig("+noall", "+answer", name, "ANY")) == 1
    assert serving.dig("+short", name, "AAAA") == []
    assert any("status: NOERROR" in line for line in serving.dig(name, "AAAA"))
    assert any("status: NXDOMAIN" in line for line in serving.dig(instance(DAVE), "SRV"))


def test_a_member_without_endpoint_has_its_txt_record_alone(serving: Bed) -> None:
    (shown,) = serving.dig("+short", instance(CAROL), "TXT")
    assert shown == f'"txtvers=1" "pub={CAROL.base64}" "allowed=10.0.0.3/32"'
    for rdtype in ("SRV", "A", "AAAA"):
        assert serving.dig("+short", instance(CAROL), rdtype) == []
        lines = serving.dig(instance(CAROL), rdtype)
        assert any("status: NOERROR" in line for line in lines)
    assert instance(CAROL) not in serving.dig("+short", SERVICE, "PTR")


def test_dig_finds_a_zone_as_the_rfcs_want_it(serving: Bed) -> None:
    (soa,) = serving.dig("+short", ZONE, "SOA")
    assert soa.startswith(f"ns1.{ZONE} hostmaster.{ZONE} ")
    assert serving.dig("+short", ZONE, "NS") == [f"ns1.{ZONE}"]
    assert serving.dig("+short", f"ns1.{ZONE}", "A") == [TUNNEL]
    assert serving.dig("+short", f"_services._dns-sd._udp.{ZONE}", "PTR") == [SERVICE]
    assert any("status: REFUSED" in line for line in serving.dig("example.net", "A"))


def test_the_old_clients_query_has_all_it_needs_in_512_bytes(serving: Bed) -> None:
    name = f"{ALICE.label.upper()}.{SERVICE}"
    shown = serving.dig("+noedns", "+ignore", "+noall", "+answer", "+additional", name, "SRV")
    assert [line.split()[3] for line in shown] == ["SRV", "A", "TXT"]
    assert all(line.split()[0] == name for line in shown)


def test_a_validating_client_gets_plain_answers_over_one_tcp_connection(serving: Bed) -> None:
    names = [instance(ALICE), "+tcp", "+keepopen", "+dnssec"]
    shown = serving.dig(*names, "SRV", f"@{TUNNEL}", *names, "TXT", command="kdig")
    assert sum("status: NOERROR" in line for line in shown) == 2
    assert not any("WARNING" in line for line in shown)


def test_a_peer_with_thirty_allowed_ips_is_served_whole(serving: Bed) -> None:
    blocks = [f"10.{i}.0.0/16" for i in range(50, 80)]
    serving.set(DAVE, "endpoint", "198.51.100.4:4", "allowed-ips", ",".join(blocks))
    serving.until(lambda: serving.port_of(DAVE) == 4)
    (shown,) = serving.dig("+short", instance(DAVE), "TXT")
    assert all(block in shown for block in blocks)
    (shown,) = serving.dig("+short", "+noedns", instance(DAVE), "SRV")
    assert shown.startswith("0 0 4 ")


@pytest.mark.alone
def test_a_changed_endpoint_is_served_at_once_with_a_newer_serial(serving: Bed) -> None:
    def serial() -> int:
        return int(serving.ask(ZONE, "SOA").answer[0][0].serial)

    first = serial()
    delays = []
    for port in range(2000, 2020):
        serving.set(ALICE, "endpoint", f"198.51.100.1:{port}")
        delays.append(serving.until(lambda port=port: serving.port_of(ALICE) == port))
    print(f"median {statistics.median(delays):.3f} s, all {sorted(delays)}")
    assert statistics.median(delays) < FRESH / 2
    assert sorted(delays)[-2] < FRESH
    assert serial() == first + 20
    serving.set(ALICE, "remove")
    serving.until(lambda: serving.port_of(ALICE) is None)


def test_a_device_that_goes_and_comes_back_is_served_all_the_while(bed: Bed) -> None:
    bed.start_device()
    responder = bed.start(
        listen=[f"{TUNNEL}:53", "127.0.0.1:53"],
        zone={"allow_query": ["10.0.0.0/24", "127.0.0.0/8"]},
    )
    assert bed.device
    bed.device.stop()
    bed.until(lambda: "last endpoints are served" in responder.log)
    assert bed.port_of(ALICE, "127.0.0.1") == 41414
    bed.start_device()
    bed.until(lambda: bed.port_of(ALICE) == 41414)
    bed.set(ALICE, "endpoint", "198.51.100.1:777")
    bed.until(lambda: bed.port_of(ALICE) == 777)
    assert responder.log.count("last endpoints are served") == 1


@pytest.mark.skipif(kind() == "kernel", reason="the kernel's device cannot hang alone")
def test_devices_that_hang_keep_no_other_zone_from_being_fresh(bed: Bed) -> None:
    bed.start_device()
    hung = [
        start(bed.host, f"wg{number}", address=f"10.0.{number}.254/24", listen_port=0)
        for number in (1, 2, 3)
    ]
    zones = [{"zone": ZONE, "device": "wg0"}]
    zones += [{"zone": f"{one.interface}.test.", "device": one.interface} for one in hung]
    with contextlib.ExitStack() as stack:
        for one in hung:
            assert one.process
            stack.callback(one.stop)
            stack.callback(one.process.send_signal, signal.SIGCONT)
            one.process.send_signal(signal.SIGSTOP)
        responder = bed.start(zones=zones)
        bed.until(lambda: bed.port_of(ALICE) == 41414, patience=5)
        end, delays, port = time.monotonic() + 12, [], 2000
        while time.monotonic() < end:
            port += 1
            bed.set(ALICE, "endpoint", f"198.51.100.1:{port}")
            delays.append(bed.until(lambda port=port: bed.port_of(ALICE) == port))
            time.sleep(0.1)
        print(f"median {statistics.median(delays):.3f} s, longest {max(delays):.3f} s")
        assert statistics.median(delays) < FRESH
        assert max(delays) < 1.5
        bed.until(lambda: responder.log.count("no answer within 10 s") == 3)
        assert responder.report["watcher_restarts"] == 0

        def known() -> list[bool]:
            return [zone["known"] for zone in responder.report["zones"]]

        assert known() == [True, False, False, False]
        for one in hung:
            assert one.process
            one.process.send_signal(signal.SIGCONT)
        bed.until(lambda: all(known()), patience=5)


def test_workers_need_no_library_file_that_root_alone_can_read(
    bed: Bed, tmp_path: pathlib.Path
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    where = [bed.python, "-c", "import dns; print(dns.__path__[0])"]
    dnspython = subprocess.run(where, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    shutil.copytree(dnspython, private / "dns")
    bed.start_device()
    responder = bed.start(python_path=[str(private)])
    for rdtype in ("SRV", "TXT", "A"):
        name = f"{ALICE.label}.{SERVICE}"
        assert bed.ask(name, rdtype).answer, responder.log
    assert bed.ask(ZONE, "SOA").answer
    assert bed.ask(SERVICE, "PTR").answer


def test_it_can_be_started_before_its_device(bed: Bed) -> None:
    responder = bed.start()
    assert "waiting for the device" in responder.log
    bed.start_device()
    responder.wait_ready()
    assert bed.port_of(ALICE) == 41414


def test_it_can_be_started_before_the_device_has_an_address(bed: Bed) -> None:
    device = bed.start_device(address=None)
    responder = bed.start()
    device.node.run(["ip", "address", "add", f"{TUNNEL}/24", "dev", "wg0"])
    responder.wait_ready()
    assert bed.port_of(ALICE) == 41414


def test_defect_9_self_without_endpoint_is_the_address_that_was_asked(bed: Bed) -> None:
    device = bed.start_device()
    bed.start(listen=["0.0.0.0:53"], zone={"self": True, "allow_query": ["0.0.0.0/0"]})
    name = instance(PublicKey.from_base64(device.public_key))
    for address in (PUBLIC, TUNNEL, "127.0.0.1"):
        response = bed.ask(name, server=address)
        assert response.answer[0][0].port == 51820
        assert response.additional[0][0].address == address


def test_only_who_asks_a_tunnel_address_is_answered_by_default(bed: Bed) -> None:
    bed.start_device()
    bed.start(listen=["0.0.0.0:53"])
    assert bed.ask(instance(ALICE)).answer
    assert bed.ask(instance(ALICE), server=PUBLIC).rcode() == dns.rcode.REFUSED


def test_a_killed_worker_is_replaced_without_a_gap(serving: Bed) -> None:
    assert serving.responder
    for _time in range(2):
        before = serving.responder.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        for _time in range(20):
            assert serving.ask(instance(ALICE)).answer
        serving.until(
            lambda before=before: len(set(serving.responder.workers()) - set(before)) == 1
        )
    assert "ended unasked (signal 9)" in serving.responder.log


def test_it_ends_with_all_its_processes_when_told_to(serving: Bed) -> None:
    assert serving.responder
    workers = serving.responder.workers()
    start_time = time.monotonic()
    assert serving.responder.stop() == 0
    assert time.monotonic() - start_time < 2
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in workers)


def test_workers_end_with_a_supervisor_that_was_killed(serving: Bed) -> None:
    assert serving.responder
    workers = serving.responder.workers()
    serving.responder.process.kill()
    serving.responder.process.wait(5)
    serving.until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in workers))


def test_an_address_that_is_taken_is_told_with_a_remedy(serving: Bed, tmp_path: t.Any) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second = Responder(serving.host, folder, sys.executable, listen=[f"{TUNNEL}:53"])
    assert second.process.wait(10) == 2
    assert "cannot listen on 10.0.0.254:53" in second.log
    assert "Traceback" not in second.log
    second.stop()


class CountingProxy:
    """Stands between a userspace device and its readers and counts the reads."""

    def __init__(self, host: BareHost) -> None:
        self._front = host.path("/run/wireguard/wg0.sock")
        self._back = self._front.with_name("real")
        self._front.rename(self._back)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self._front))
        self._server.listen()
        self.reads = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _client = self._server.accept()
                with connection, contextlib.suppress(OSError):
                    self._pass_on(connection)

    def _pass_on(self, connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\n\n"):
            chunk = connection.recv(65536)
            if not chunk:
                return
            request += chunk
        self.reads += request.startswith(b"get=1")
        with socket.socket(socket.AF_UNIX) as device:
            device.connect(str(self._back))
            device.sendall(request)
            reply = b""
            while not reply.endswith(b"\n\n"):
                reply += device.recv(65536)
        connection.sendall(reply)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._back.rename(self._front)


def test_defect_1_a_flood_of_queries_leaves_the_device_alone(serving: Bed) -> None:
    proxy = CountingProxy(serving.host)
    queries = [
        dns.message.make_query(instance(PublicKey(os.urandom(32))), "SRV").to_wire()
        for _time in range(100)
    ]
    with serving.host.network():
        flooder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        time.sleep(0.5)
        reads, sent, start_time = proxy.reads, 0, time.monotonic()
        assert reads > 0
        while time.monotonic() - start_time < 2:
            for query in queries:
                flooder.sendto(query, (TUNNEL, 53))
            sent += len(queries)
        elapsed = time.monotonic() - start_time
        reads = proxy.reads - reads
        print(f"{sent} queries and {reads} reads of the device in {elapsed:.1f} s")
        assert sent > 5_000
        assert 1 <= reads <= elapsed / 0.05 + 2
        serving.until(lambda: serving.port_of(ALICE) == 41414)
    finally:
        flooder.close()
        proxy.close()
