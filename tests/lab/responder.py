# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry with a real device, and responders on it that a service manager would recognize."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import typing as t

import dns.exception
import dns.message
import dns.query

from wgsd.keys import PublicKey

from .bare import BareHost, BareLab
from .wireguard import WireGuard, generate_key, start

ENGINE = pathlib.Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
#: Ours has the newest dnspython, Debian's own the oldest that the engine works with.
PYTHONS = {"newest": sys.executable, "debian": "/usr/bin/python3"}
ZONE = "example.com."
SERVICE = f"_wireguard._udp.{ZONE}"
TUNNEL = "10.0.0.254"
PUBLIC = "203.0.113.4"
ALICE, BOB, CAROL, DAVE = (PublicKey(bytes([number]) * 32) for number in range(1, 5))


class Responder:
    """``wgsd responder`` in a host, and what it says to the service manager.

    Attributes:
        stored: The sockets that it gave the manager to keep, by name.
    """

    def __init__(self, host: BareHost, folder: pathlib.Path, python: str, **settings: t.Any):
        self._host = host
        self._folder = folder
        self._python = python
        self._path = [*settings.pop("python_path", []), str(ENGINE)]
        self.configure(**settings)
        self._log = folder / "log"
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(folder / "notify"))
        self._manager.settimeout(10)
        self.stored: dict[str, int] = {}
        self.process = self._start()

    def configure(self, **settings: t.Any) -> None:
        """Write the configuration."""
        zone = {"zone": ZONE, "device": "wg0", **settings.pop("zone", {})}
        whole = {"zones": [zone], "state_dir": str(self._folder), "workers": 2, **settings}
        self.config.write_text(json.dumps(whole))

    @property
    def config(self) -> pathlib.Path:
        """The configuration file."""
        return self._folder / "responder.yml"

    @property
    def report(self) -> dict[str, t.Any]:
        """What it reports of itself."""
        return dict(json.loads((self._folder / "status.json").read_text()))

    def restart(self) -> None:
        """Kill all of it and start it with the sockets that it gave away, as a manager does."""
        for pid in (self.process.pid, *self.children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(5)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[t.Any]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(self._path),
            "NOTIFY_SOCKET": str(self._folder / "notify"),
            "RUNTIME_DIRECTORY": str(self._folder),
        }
        command = [self._python, "-m", "wgsd.cli", "responder", "--config", str(self.config)]
        kept = list(self.stored.values())
        if kept:
            # What sd_listen_fds(3) describes: files from number 3 on, meant for this process.
            moves = "".join(f"exec {3 + i}<&{fd}-; " for i, fd in enumerate(kept))
            script = f'{moves}LISTEN_PID=$$ LISTEN_FDS={len(kept)} exec "$@"'
            command = ["bash", "-c", script, "bash", *command]
        with self._log.open("ab") as log:
            return self._host.popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=kept,
            )

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def told(self) -> dict[str, str]:
        """The next message to the service manager about its state; files are kept as it wants."""
        while True:
            message, descriptors, _flags, _address = socket.recv_fds(self._manager, 4096, 4)
            told = dict(line.split("=", 1) for line in message.decode().splitlines())
            if "FDSTORE" in told:
                assert told["FDNAME"] not in self.stored
                # Away from the low numbers, to which they are moved later.
                (self.stored[told["FDNAME"]],) = (
                    fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in descriptors
                )
                for descriptor in descriptors:
                    os.close(descriptor)
            elif "FDSTOREREMOVE" in told:
                os.close(self.stored.pop(told["FDNAME"]))
            else:
                return told

    def wait_ready(self) -> None:
        """Wait until it says that it serves."""
        while self.told().get("STATUS") != "serving":
            pass

    def children(self, name: str = "") -> list[int]:
        """The process ids of its children, or of those that have that name."""
        pid, found = self.process.pid, []
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                comm = pathlib.Path(f"/proc/{child}/comm").read_text().strip()
                if name in ("", comm.removeprefix("wgsd-")):
                    found.append(int(child))
        return found

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return self.children("worker")

    def stop(self) -> int:
        """End it as a service manager does, and return the exit code."""
        try:
            self.process.terminate()
            return int(self.process.wait(10))
        finally:
            self.process.kill()
            self._manager.close()
            for descriptor in self.stored.values():
                os.close(descriptor)
            self.stored.clear()


class Bed:
    """The registry of a lab with its device, and responders on it."""

    def __init__(self, lab: BareLab, folder: pathlib.Path, python: str) -> None:
        self.host = lab.registry
        self.python = python
        self._folder = folder
        self._key = generate_key()
        self._number = 0
        self.device: WireGuard | None = None
        self.responder: Responder | None = None

    def start_device(self, address: str | None = f"{TUNNEL}/24") -> WireGuard:
        """Start wg0 with three peers, of which Carol has no endpoint."""
        self.device = start(self.host, "wg0", address=address, private_key=self._key)
        self.set(ALICE, "endpoint", "198.51.100.1:41414", "allowed-ips", "10.0.0.1/32,10.1.0.0/24")
        self.set(BOB, "endpoint", "[2001:db8::b]:51821", "allowed-ips", "10.0.0.2/32")
        self.set(CAROL, "allowed-ips", "10.0.0.3/32")
        return self.device

    def set(self, key: PublicKey, *arguments: str) -> None:
        """``wg set wg0 peer KEY …``"""
        assert self.device
        self.device.set("peer", key.base64, *arguments)

    def start(self, **settings: t.Any) -> Responder:
        """Start a responder and wait until it serves or waits for its device."""
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        self.responder = Responder(self.host, folder, self.python, **settings)
        assert self.responder.told()["READY"] == "1", self.responder.log
        return self.responder

    def ask(
        self, name: str, rdtype: str = "SRV", server: str = TUNNEL, timeout: float = 5
    ) -> dns.message.Message:
        """Ask over UDP from the registry itself."""
        query = dns.message.make_query(name, rdtype)
        with self.host.network():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sock:
            sock.setblocking(False)
            return dns.query.udp(query, server, timeout=timeout, sock=sock)

    def port_of(self, key: PublicKey, server: str = TUNNEL) -> int | None:
        """The port in a peer's SRV record, None if it has none or there was no answer."""
        with contextlib.suppress(dns.exception.Timeout):
            answer = self.ask(instance(key), server=server, timeout=0.5).answer
            return int(answer[0][0].port) if answer else None
        return None

    def until(self, condition: t.Callable[[], bool], patience: float = 10) -> float:
        """Wait until *condition* holds and return the seconds that this took."""
        start_time = time.monotonic()
        while not condition():
            assert time.monotonic() - start_time < patience, self.responder and self.responder.log
            time.sleep(0.002)
        return time.monotonic() - start_time

    def dig(self, *arguments: str, command: str = "dig") -> list[str]:
        """What dig or kdig prints for a query to the tunnel address, without blank lines."""
        result = self.host.run([command, f"@{TUNNEL}", "+timeout=5", "+retry=0", *arguments])
        return [line for line in result.stdout.splitlines() if line]

    def close(self) -> None:
        """End what was started; a responder must end well."""
        try:
            if self.responder:
                was_running = self.responder.process.poll() is None
                code = self.responder.stop()
                assert code == 0 or not was_running, f"ended with {code}:\n{self.responder.log}"
        finally:
            if self.device:
                self.device.stop()


def instance(key: PublicKey) -> str:
    """The instance name of a peer."""
    return f"{key.label}.{SERVICE}"
