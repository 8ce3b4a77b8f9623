# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics over real HTTP from a forked process: right, bounded, and never held up by a client."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import time
import typing as t

import prometheus_client.parser
import pytest

from wgsd import __version__, privileges, thirdparty
from wgsd.errors import DependencyError
from wgsd.responder import exporter, stats
from wgsd.responder.stats import Board, Main, Notifying, Reading, ZoneFigure, slot

pytestmark = pytest.mark.unit

SRV, NOERROR, NXDOMAIN, REFUSED = 33, 0, 3, 5


class Bed:
    """An exporter in a process without rights, and the board that it shows."""

    def __init__(self) -> None:
        self.board = Board.create(["example.com."], 2, ["wg0", "wg1"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.control, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                self.control.close()
                exporter.prepare()
                privileges.drop()
                exporter.serve(self.board, self.listener, theirs)
                code = 0
            finally:
                os._exit(code)
        theirs.close()

    def ask(self, method: str = "GET", path: str = "/metrics") -> tuple[int, str, str]:
        """Return status, content type and body."""
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read().decode()

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Return the values by name and, in the order of their names, labels."""
        return {
            (sample.name, *(value for _label, value in sorted(sample.labels.items()))): sample.value
            for family in prometheus_client.parser.text_string_to_metric_families(self.ask()[2])
            for sample in family.samples
        }

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=5)

    def end(self) -> int:
        """Close the control socket and return how the process has ended."""
        self.control.close()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status
            time.sleep(0.005)
        os.kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]


@pytest.fixture
def bed() -> t.Iterator[Bed]:
    one = Bed()
    try:
        yield one
    finally:
        status = one.end()
        one.listener.close()
    assert status == 0


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


def test_queries_are_counted_by_type_rcode_and_path_over_all_workers(bed):
    for index, number in ((0, 5), (1, 2)):
        recorder = bed.board.worker(index)
        recorder.counts[slot(SRV, NOERROR, True)] += number
        recorder.counts[slot(SRV, NXDOMAIN, True)] += number * 10
        recorder.counts[slot(SRV, REFUSED, False)] += number * 100
        recorder.publish()
    metrics = bed.metrics()
    # The labels are path, rcode and type.
    assert metrics["wgsd_queries_total", "fast", "NOERROR", "SRV"] == 7
    assert metrics["wgsd_queries_total", "fast", "NXDOMAIN", "SRV"] == 70
    assert metrics["wgsd_queries_total", "slow", "REFUSED", "SRV"] == 700
    assert sum(v for key, v in metrics.items() if key[0] == "wgsd_queries_total") == 777


def test_it_tells_how_followers_are_notified(bed):
    for number, figure in enumerate(Notifying, 1):
        bed.board.notifier.add(figure, number)
    metrics = bed.metrics()
    assert metrics[("wgsd_followers",)] == 1
    assert metrics[("wgsd_notify_sent_total",)] == 2
    assert metrics[("wgsd_notify_acknowledged_total",)] == 3
    assert metrics[("wgsd_notify_failed_total",)] == 4


def test_what_else_workers_count_is_told(bed):
    recorder = bed.board.worker(0)
    expected = {
        stats.SILENT: ("wgsd_queries_ignored_total",),
        stats.TRUNCATED: ("wgsd_responses_truncated_total",),
        stats.LIMITED_SLIPPED: ("wgsd_responses_limited_total", "slipped"),
        stats.LIMITED_DROPPED: ("wgsd_responses_limited_total", "dropped"),
        stats.TCP_ACCEPTED: ("wgsd_tcp_connections_accepted_total",),
        stats.TCP_EVICTED: ("wgsd_tcp_connections_closed_total", "evicted"),
        stats.TCP_IDLE: ("wgsd_tcp_connections_closed_total", "idle"),
        stats.TCP_OPEN: ("wgsd_tcp_connections",),
        stats.TSIG_FAILED: ("wgsd_tsig_failures_total",),
        stats.UDP_SEND_FAILED: ("wgsd_udp_send_failures_total",),
    }
    assert len(expected) == stats.SLOTS - len(stats.ANSWERED)
    for index in expected:
        recorder.counts[index] = index
    recorder.publish()
    metrics = bed.metrics()
    assert {index: metrics[key] for index, key in expected.items()} == {i: i for i in expected}


def test_devices_zones_and_processes_are_told(bed):
    main, zone = bed.board.supervisor, bed.board.zones["example.com."]
    main.set(Main.STARTED_NS, 1_800_000_000_500_000_000)
    main.set(Main.WORKERS, 2)
    for number, figure in enumerate(
        (Main.WORKER_RESTARTS, Main.WATCHER_RESTARTS, Main.RELOADS, Main.SOCKET_DROPS), 1
    ):
        main.add(figure, number)
    zone.set(ZoneFigure.SERIAL, 4_000_000_001)
    zone.set(ZoneFigure.INSTANCES, 998)
    zone.set(ZoneFigure.KNOWN, 1)
    device = bed.board.devices["wg1"]
    device.set(Reading.READS, 50)
    device.set(Reading.FAILURES, 3)
    device.set(Reading.CHANGES, 4)
    device.set(Reading.CPU_NS, 2_000_000)
    device.set(Reading.CPU_ALL_NS, 1_500_000_000)
    device.set(Reading.WALL_NS, 3_000_000)
    device.set(Reading.PEERS, 1000)
    device.set(Reading.PEERS_WITH_ENDPOINT, 997)
    device.set(Reading.LAST_GOOD_NS, time.time_ns() - 20_000_000_000)
    metrics = bed.metrics()
    age = metrics.pop(("wgsd_device_read_age_seconds", "wg1"))
    assert 20 <= age < 25
    assert ("wgsd_device_read_age_seconds", "wg0") not in metrics
    assert metrics["wgsd_device_reads_total", "wg0"] == 0
    told = {key: value for key, value in metrics.items() if value and "queries" not in key[0]}
    assert told == {
        ("wgsd_build_info", __version__): 1,
        ("wgsd_start_time_seconds",): 1_800_000_000.5,
        ("wgsd_workers",): 2,
        ("wgsd_worker_restarts_total",): 1,
        ("wgsd_watcher_restarts_total",): 2,
        ("wgsd_reloads_total",): 3,
        ("wgsd_socket_drops_total",): 4,
        ("wgsd_zone_serial", "example.com."): 4_000_000_001,
        ("wgsd_zone_instances", "example.com."): 998,
        ("wgsd_zone_known", "example.com."): 1,
        ("wgsd_device_reads_total", "wg1"): 50,
        ("wgsd_device_read_failures_total", "wg1"): 3,
        ("wgsd_device_changes_total", "wg1"): 4,
        ("wgsd_device_last_read_cpu_seconds", "wg1"): 0.002,
        ("wgsd_device_read_cpu_seconds_total", "wg1"): 1.5,
        ("wgsd_device_last_read_duration_seconds", "wg1"): 0.003,
        ("wgsd_device_peers", "wg1"): 1000,
        ("wgsd_device_peers_with_endpoint", "wg1"): 997,
    }


def test_no_counter_goes_back_when_a_worker_is_replaced(bed):
    for expected in (5, 10, 15):
        recorder = bed.board.worker(0)
        recorder.counts[slot(SRV, NOERROR, True)] += 5
        recorder.publish()
        assert bed.metrics()["wgsd_queries_total", "fast", "NOERROR", "SRV"] == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/metrics/"), ("GET", "/metricsx"), ("POST", "/metrics"), ("PUT", "/")],
)
def test_anything_but_get_metrics_is_not_found(bed, method, path):
    status, kind, body = bed.ask(method, path)
    assert (status, kind) == (404, "text/plain; charset=utf-8")
    assert "/metrics" in body


def test_parameters_that_a_scrape_adds_do_not_matter(bed):
    status, kind, _body = bed.ask(path="/metrics?name=x")
    assert status == 200
    assert kind.startswith("text/plain; version=")


@pytest.mark.parametrize(
    "request_bytes", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"x" * 20_000]
)
def test_what_is_no_request_gets_an_end(bed, request_bytes):
    with bed.connect() as client:
        client.sendall(request_bytes)
        with contextlib.suppress(ConnectionResetError):
            assert read_all(client).startswith(b"HTTP/1.1 404 ")
    assert bed.ask()[0] == 200


def test_a_request_may_come_in_pieces(bed):
    with bed.connect() as client:
        for byte in b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n":
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_clients_that_hang_keep_nobody_waiting(bed):
    files = pathlib.Path(f"/proc/{bed.pid}/fd")
    assert bed.ask()[0] == 200
    before = len(list(files.iterdir()))
    hung = [bed.connect() for _time in range(3 * exporter.CLIENTS)]
    try:
        for client in hung[::2]:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
        began = time.monotonic()
        for _time in range(20):
            assert bed.ask()[0] == 200
        assert time.monotonic() - began < 2
        assert len(list(files.iterdir())) - before <= exporter.CLIENTS
    finally:
        for client in hung:
            client.close()


def test_a_client_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(exporter, "PATIENCE", 0.3)
    bed = Bed()
    try:
        with bed.connect() as silent, bed.connect() as slow:
            slow.sendall(b"GET /metrics HTTP/1.1\r\n")
            began = time.monotonic()
            assert silent.recv(1) == b""
            assert slow.recv(1) == b""
            assert 0.1 < time.monotonic() - began < 2
    finally:
        status = bed.end()
        bed.listener.close()
    assert status == 0


def test_it_ends_with_its_supervisor_also_while_clients_are_there():
    bed = Bed()
    try:
        with bed.connect():
            assert bed.ask()[0] == 200
            began = time.monotonic()
            assert bed.end() == 0
            assert time.monotonic() - began < 1
    finally:
        bed.listener.close()


def test_a_missing_library_is_named_with_its_package(monkeypatch):
    missing = thirdparty._Missing(
        "prometheus_client", "python3-prometheus-client", ImportError("No module")
    )
    monkeypatch.setattr(exporter, "prometheus_client", missing)
    with pytest.raises(DependencyError) as caught:
        exporter.check()
    assert "apt install python3-prometheus-client; or leave 'metrics' out" in str(caught.value)
