# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows the responder's figures to Prometheus, over HTTP, from a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import socket
import time
import typing as t

from .. import __version__
from ..errors import DependencyError
from ..thirdparty import prometheus_client
from . import stats
from .stats import Board, Main, Notifying, Reading, ZoneFigure

#: Where the metrics are.
PATH = "/metrics"
#: Clients at a time; one more closes the one that has been there longest.
CLIENTS = 16
#: Seconds from a client's connection to its end, whatever it does.
PATIENCE = 5.0
#: Bytes of the longest request that is waited for.
REQUEST_BYTES = 8192
_NS = 1e9


def check() -> None:
    """See whether metrics can be served.

    Raises:
        DependencyError: the library is missing.
    """
    try:
        prepare()
    except DependencyError as exc:
        raise DependencyError(exc.message, f"{exc.remedy}; or leave 'metrics' out") from None


def prepare() -> None:
    """Load what the library may load at its first use: later its files may be out of reach.

    Raises:
        DependencyError: the library is missing.
    """
    prometheus_client.generate_latest(prometheus_client.CollectorRegistry())


def serve(
    board: Board,
    sock: socket.socket,
    control: socket.socket,
    *,
    monotonic: t.Callable[[], float] = time.monotonic,
    wall: t.Callable[[], float] = time.time,
) -> None:
    """Answer requests until *control* is closed at its other end.

    A client that is slow, or says nothing, keeps nobody waiting: it is closed after `PATIENCE`, and
    others are answered meanwhile.

    Args:
        sock: Listens for TCP.
        monotonic: What clients' time is taken by, in seconds.
        wall: What the age of a read is taken by, in seconds since the epoch.
    """
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(board, wall))
    _Server(registry, sock, control, monotonic).run()


@dataclasses.dataclass(eq=False)
class _Client:
    socket: socket.socket
    deadline: float
    request: bytes = b""
    response: bytes = b""


class _Server:
    """A loop around all clients; HTTP/1.1 (RFC 9112) with one request to a connection."""

    def __init__(
        self,
        registry: prometheus_client.CollectorRegistry,
        sock: socket.socket,
        control: socket.socket,
        monotonic: t.Callable[[], float],
    ) -> None:
        self._registry = registry
        self._sock = sock
        self._control = control
        self._monotonic = monotonic
        # In the order of their deadlines.
        self._clients: dict[_Client, None] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        self._sock.setblocking(False)
        self._selector.register(self._sock, selectors.EVENT_READ)
        self._selector.register(self._control, selectors.EVENT_READ)
        try:
            while True:
                for key, _mask in self._selector.select(self._expire()):
                    if key.fileobj is self._control:
                        if not self._control.recv(1):
                            return
                    elif key.fileobj is self._sock:
                        self._accept()
                    elif key.data in self._clients:
                        self._progress(key.data)
        finally:
            for client in list(self._clients):
                self._drop(client)
            self._selector.close()

    def _accept(self) -> None:
        try:
            accepted, _address = self._sock.accept()
        except OSError:
            # The client has given up already.
            return
        accepted.setblocking(False)
        if len(self._clients) >= CLIENTS:
            self._drop(next(iter(self._clients)))
        client = _Client(accepted, self._monotonic() + PATIENCE)
        self._clients[client] = None
        self._selector.register(accepted, selectors.EVENT_READ, client)

    def _progress(self, client: _Client) -> None:
        try:
            if not client.response:
                received = client.socket.recv(REQUEST_BYTES)
                client.request += received
                if b"\r\n\r\n" in client.request or len(client.request) > REQUEST_BYTES:
                    client.response = self._respond(client.request)
                    self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
                elif not received:
                    self._drop(client)
                return
            client.response = client.response[client.socket.send(client.response) :]
            if not client.response:
                self._drop(client)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)

    def _respond(self, request: bytes) -> bytes:
        words = request.partition(b"\r\n")[0].split(b" ")
        if words[0] == b"GET" and words[1:2] and words[1].partition(b"?")[0] == PATH.encode():
            status, kind = "200 OK", prometheus_client.CONTENT_TYPE_LATEST
            body: bytes = prometheus_client.generate_latest(self._registry)
        else:
            status, kind = "404 Not Found", "text/plain; charset=utf-8"
            body = f"There is only GET {PATH} here.\n".encode()
        head = (
            f"HTTP/1.1 {status}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        return "".join(f"{line}\r\n" for line in (*head, "")).encode() + body

    def _expire(self) -> float | None:
        """Drop the clients whose time is up and return the seconds until the next one's is."""
        now = self._monotonic()
        for client in list(self._clients):
            if client.deadline > now:
                return client.deadline - now
            self._drop(client)
        return None

    def _drop(self, client: _Client) -> None:
        del self._clients[client]
        self._selector.unregister(client.socket)
        with contextlib.suppress(OSError):
            client.socket.close()


class _Collector:
    """Makes metrics of a board at the moment of a request."""

    def __init__(self, board: Board, wall: t.Callable[[], float]) -> None:
        self._board = board
        self._wall = wall

    def collect(self) -> t.Iterator[prometheus_client.Metric]:
        """Return all metrics."""
        yield _gauge("build_info", "The engine that runs.", [((__version__,), 1)], "version")
        yield from self._of_supervisor()
        yield from self._of_workers()
        yield from self._of_notifier()
        yield from self._of_zones()
        yield from self._of_devices()

    def _of_supervisor(self) -> t.Iterator[prometheus_client.Metric]:
        get = self._board.supervisor.get
        yield _gauge(
            "start_time_seconds",
            "When the responder started, in seconds since the epoch.",
            get(Main.STARTED_NS) / _NS,
        )
        yield _gauge("workers", "Workers that are there.", get(Main.WORKERS))
        for name, text, figure in (
            ("worker_restarts", "Workers that ended unasked.", Main.WORKER_RESTARTS),
            ("watcher_restarts", "Watchers that ended unasked.", Main.WATCHER_RESTARTS),
            ("reloads", "Reloads that took effect.", Main.RELOADS),
            ("socket_drops", "UDP packets that the kernel gave to no worker.", Main.SOCKET_DROPS),
        ):
            yield _counter(name, text, get(figure))

    def _of_workers(self) -> t.Iterator[prometheus_client.Metric]:
        counts = self._board.totals()
        answered = zip(stats.ANSWERED, counts)
        yield _counter("queries", "Queries answered.", answered, "type", "rcode", "path")
        for name, text, slot in (
            ("queries_ignored", "Packets that got no reply.", stats.SILENT),
            ("responses_truncated", "Responses that did not fit (TC).", stats.TRUNCATED),
            ("tsig_failures", "Queries whose signature was not good.", stats.TSIG_FAILED),
            ("udp_send_failures", "Responses the kernel did not take.", stats.UDP_SEND_FAILED),
            ("tcp_connections_accepted", "TCP connections taken.", stats.TCP_ACCEPTED),
        ):
            yield _counter(name, text, counts[slot])
        yield _counter(
            "responses_limited",
            "Responses that rate limiting dropped, or let slip as nothing but TC.",
            [
                (("slipped",), counts[stats.LIMITED_SLIPPED]),
                (("dropped",), counts[stats.LIMITED_DROPPED]),
            ],
            "action",
        )
        yield _counter(
            "tcp_connections_closed",
            "TCP connections that were idle too long, or evicted by newer ones.",
            [(("idle",), counts[stats.TCP_IDLE]), (("evicted",), counts[stats.TCP_EVICTED])],
            "reason",
        )
        yield _gauge("tcp_connections", "TCP connections that are open.", counts[stats.TCP_OPEN])

    def _of_notifier(self) -> t.Iterator[prometheus_client.Metric]:
        get = self._board.notifier.get
        yield _gauge("followers", "Who is notified, once for each zone.", get(Notifying.FOLLOWERS))
        for name, text, figure in (
            ("sent", "NOTIFY messages sent, repeated ones included.", Notifying.SENT),
            ("acknowledged", "NOTIFY messages acknowledged.", Notifying.ACKNOWLEDGED),
            ("failed", "Followers that refused or never acknowledged.", Notifying.FAILED),
        ):
            yield _counter(f"notify_{name}", text, get(figure))

    def _of_zones(self) -> t.Iterator[prometheus_client.Metric]:
        for name, text, figure in (
            ("serial", "The zone's serial.", ZoneFigure.SERIAL),
            ("instances", "Peers that the zone serves.", ZoneFigure.INSTANCES),
            ("known", "1 while the zone is served, 0 while it fails.", ZoneFigure.KNOWN),
        ):
            values = [((zone,), block.get(figure)) for zone, block in self._board.zones.items()]
            yield _gauge(f"zone_{name}", text, values, "zone")

    def _of_devices(self) -> t.Iterator[prometheus_client.Metric]:
        devices = self._board.devices.items()

        def of(figure: Reading, unit: float = 1) -> list[tuple[tuple[str], float]]:
            return [((device,), block.get(figure) / unit) for device, block in devices]

        for name, text, values in (
            ("reads", "Reads of the device.", of(Reading.READS)),
            ("read_failures", "Reads of the device that failed.", of(Reading.FAILURES)),
            ("read_cpu_seconds", "CPU time of the reads.", of(Reading.CPU_ALL_NS, _NS)),
            ("changes", "Reads of the device that changed a zone.", of(Reading.CHANGES)),
        ):
            yield _counter(f"device_{name}", text, values, "device")
        for name, text, values in (
            ("last_read_cpu_seconds", "CPU time of the last read.", of(Reading.CPU_NS, _NS)),
            ("last_read_duration_seconds", "Time of the last read.", of(Reading.WALL_NS, _NS)),
            ("peers", "Peers of the device.", of(Reading.PEERS)),
            ("peers_with_endpoint", "Peers with an endpoint.", of(Reading.PEERS_WITH_ENDPOINT)),
        ):
            yield _gauge(f"device_{name}", text, values, "device")
        now = self._wall()
        yield _gauge(
            "device_read_age_seconds",
            "Seconds since the last good read of the device; absent before the first.",
            [(key, max(0.0, now - good)) for key, good in of(Reading.LAST_GOOD_NS, _NS) if good],
            "device",
        )


_Values = t.Union[float, t.Iterable[tuple[t.Sequence[str], float]]]


def _gauge(name: str, text: str, values: _Values, *labels: str) -> prometheus_client.Metric:
    return _filled(prometheus_client.core.GaugeMetricFamily, name, text, values, labels)


def _counter(name: str, text: str, values: _Values, *labels: str) -> prometheus_client.Metric:
    """Make a counter; the library adds ``_total`` to its name."""
    return _filled(prometheus_client.core.CounterMetricFamily, name, text, values, labels)


def _filled(
    family: t.Callable[..., t.Any],
    name: str,
    text: str,
    values: _Values,
    labels: t.Sequence[str],
) -> prometheus_client.Metric:
    metric = family(f"wgsd_{name}", text, labels=labels)
    for of, value in [((), values)] if isinstance(values, (int, float)) else values:
        metric.add_metric(of, value)
    return t.cast("prometheus_client.Metric", metric)
