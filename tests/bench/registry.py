# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of a benchmark: a namespace with devices of many peers whose endpoints change."""

from __future__ import annotations

import contextlib
import ipaddress
import pathlib
import random
import socket
import tempfile
import threading
import time
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils._zipapp import build

from tests.lab.bare import BareHost, BareLab
from tests.lab.errors import LabError
from tests.lab.wireguard import WireGuard, start

from . import wire
from .background import Background

PUBLIC = "203.0.113.4"
#: Allowed IPs of the peers: one address of this network each.
_FIRST_ALLOWED = ipaddress.IPv4Address("10.64.0.0")
_FIRST_PORT = 10_000


class Span(t.NamedTuple):
    """A stretch of time, in nanoseconds since the epoch."""

    begin: int
    end: int


class Device:
    """A userspace device with peers that have an endpoint each; nobody is behind those."""

    def __init__(self, host: BareHost, number: int, peers: int) -> None:
        """Start it and give it its peers, the same in every run.

        Args:
            number: Makes its addresses its own.
        """
        self.host = host
        self.name = f"wg{peers}"
        self.address = f"10.{number}.0.254"
        chance = random.Random(peers)
        self.keys = tuple(chance.randbytes(32) for _number in range(peers))
        self.names = tuple(map(wire.instance, self.keys))
        self.ports = [_FIRST_PORT + index % 50_000 for index in range(peers)]
        self._listen_port = 51_820 + number
        #: Whoever changes the device holds it.
        self._lock = threading.RLock()
        self.wireguard = self._start()
        self.fill()

    def _start(self) -> WireGuard:
        return start(
            self.host, self.name, address=f"{self.address}/24", listen_port=self._listen_port
        )

    def fill(self) -> None:
        """Add all peers, with their endpoints as last set."""
        lines = []
        for index, key in enumerate(self.keys):
            lines += [
                f"public_key={key.hex()}",
                f"endpoint={self.endpoint(index)}",
                f"allowed_ip={_FIRST_ALLOWED + index}/32",
            ]
        self._set(lines)

    def endpoint(self, index: int) -> str:
        """Return the endpoint of a peer as it is now."""
        return f"198.51.100.{1 + index % 250}:{self.ports[index]}"

    def move(self, indices: t.Iterable[int]) -> Span:
        """Give peers another port each, in one operation; return when that was."""
        with self._lock:
            lines = []
            for index in indices:
                self.ports[index] = _FIRST_PORT + (self.ports[index] + 1 - _FIRST_PORT) % 50_000
                lines += [
                    f"public_key={self.keys[index].hex()}",
                    "update_only=true",
                    f"endpoint={self.endpoint(index)}",
                ]
            begun = time.time_ns()
            self._set(lines)
            return Span(begun, time.time_ns())

    def restart(self) -> Span:
        """End the device and start it again; return when it was there without peers."""
        with self._lock:
            self.wireguard.stop()
            begun = time.time_ns()
            self.wireguard = self._start()
            self.fill()
            return Span(begun, time.time_ns())

    def _set(self, lines: t.Sequence[str]) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.host.path(f"/run/wireguard/{self.name}.sock")))
            connection.sendall("\n".join(["set=1", *lines, "", ""]).encode())
            reply = b""
            while not reply.endswith(b"\n\n"):
                chunk = connection.recv(4096)
                if not chunk:
                    break
                reply += chunk
        if reply != b"errno=0\n\n":
            raise LabError(f"{self.name} refuses its peers: {reply.decode()!r}")


class Registry:
    """A namespace of its own, with devices; a context manager.

    Attributes:
        host: The namespace.
        folder: For what a benchmark makes; anyone may read it.
        engine: The engine of this checkout as the roles install it: one file.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._stack = contextlib.ExitStack()
        self.devices: dict[int, Device] = {}

    def __enter__(self) -> Registry:
        with contextlib.ExitStack() as stack:
            self.host = stack.enter_context(BareLab(self._prefix, sites=())).registry
            self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self.folder.chmod(0o755)
            self.engine = self.folder / "wgsd"
            self.engine.write_bytes(build())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def device(self, peers: int) -> Device:
        """Return the device of so many peers; it is made when it is first asked for."""
        if peers not in self.devices:
            self.devices[peers] = Device(self.host, len(self.devices) + 1, peers)
        return self.devices[peers]


class Churn(Background):
    """Peers that move to other endpoints all the while."""

    def __init__(
        self,
        device: Device,
        rate: int = 100,
        batch: int = 10,
        told: t.Callable[[t.Sequence[int], Span], None] = lambda _indices, _span: None,
    ) -> None:
        """Prepare it.

        Args:
            rate: Changes a second.
            batch: Changes in one operation on the device.
            told: Is called after each operation with the peers that moved.
        """
        super().__init__(rate / batch)
        self._device = device
        self._batch = batch
        self._told = told
        self._random = random.Random(rate)

    def step(self) -> None:
        """Move some peers."""
        indices = self._random.sample(range(len(self._device.keys)), self._batch)
        self._told(indices, self._device.move(indices))
