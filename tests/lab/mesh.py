# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole mesh on bare lab hosts: devices, the responder, clients; set up by hand, no Ansible."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

from wgsd.device.base import Backend
from wgsd.device.kernel import KernelBackend
from wgsd.device.userspace import UserspaceBackend
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer

from .bare import BareLab
from .errors import LabError
from .topology import REGISTRY
from .wireguard import WireGuard

ENGINE = pathlib.Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
ZONE = "example.com."
SERVER = "10.0.0.254"
INTERFACE = "wg0"
PORT = 51820


class Mesh:
    """Devices and daemons on the hosts of a `BareLab`.

    Every host gets a device; the registry knows all peers, each peer knows the registry with its
    endpoint and the other peers without one. Nobody is connected until `connect`.

    Attributes:
        python: The interpreter that daemons run on.
        ipv6: Whether tunnels are made over IPv6: the registry is known by its IPv6 address alone.

    Args:
        ports: Listening ports by host, where they are not `PORT`: hosts that share a NAT need
            ports of their own, as the roles give them.
    """

    def __init__(
        self,
        lab: BareLab,
        python: str = sys.executable,
        *,
        ipv6: bool = False,
        ports: t.Mapping[str, int] | None = None,
    ) -> None:
        self.lab = lab
        self.python = python
        self.ipv6 = ipv6
        self.devices: dict[str, WireGuard] = {}
        self._daemons: dict[tuple[str, str], subprocess.Popen[t.Any]] = {}
        names = list(lab.hosts)
        self.addresses = {
            name: SERVER if name == REGISTRY else f"10.0.0.{names.index(name)}" for name in names
        }
        for name, host in lab.hosts.items():
            self.devices[name] = host.start_wireguard(
                INTERFACE,
                address=f"{self.addresses[name]}/24",
                listen_port=(ports or {}).get(name, PORT),
            )
        for name in names:
            for other in names:
                if other not in (name, REGISTRY):
                    self.add_peer(name, other)

    def key(self, name: str) -> PublicKey:
        """The public key of a host."""
        return PublicKey.from_base64(self.devices[name].public_key)

    def add_peer(self, name: str, other: str) -> None:
        """Make a peer known to a device, without an endpoint and a keepalive."""
        allowed = f"{self.addresses[other]}/32"
        self.devices[name].set("peer", str(self.key(other)), "allowed-ips", allowed)

    def remove_peer(self, name: str, other: str) -> None:
        """Make a device forget a peer."""
        self.devices[name].set("peer", str(self.key(other)), "remove")

    @property
    def registry_endpoint(self) -> str:
        """Where the registry's device is reached now."""
        registry = self.lab.registry
        return str(Endpoint(registry.address6 if self.ipv6 else registry.address, PORT))

    def connect(self, name: str, *, registry_endpoint: str | None = None) -> None:
        """Give a host the registry as a peer: from here on the registry sees its endpoint."""
        self.devices[name].set(
            *("peer", str(self.key(REGISTRY))),
            *("endpoint", registry_endpoint or self.registry_endpoint),
            *("persistent-keepalive", "25", "allowed-ips", f"{SERVER}/32"),
        )

    def start_responder(self, **settings: t.Any) -> None:
        """Start ``wgsd responder`` on the registry and wait until it answers."""
        host = self.lab.registry
        state = host.path("/run/wgsd-state")
        state.mkdir(exist_ok=True)
        zone = {
            "zone": ZONE,
            "device": INTERFACE,
            "self": {"endpoint": self.registry_endpoint, "allowed_ips": [SERVER]},
            "names": {str(self.key(name)): name for name in self.devices},
        }
        config = {"zones": [zone], "state_dir": "/run/wgsd-state", **settings}
        host.path("/run/responder.yml").write_text(json.dumps(config), encoding="utf-8")
        self._start(REGISTRY, "responder", "--config", "/run/responder.yml")
        dig = ["dig", "+short", "+time=1", "+tries=1", f"@{SERVER}", ZONE, "SOA"]
        self.wait(lambda: "hostmaster" in host.run(dig, check=False).stdout, "the responder's SOA")

    def start_client(self, name: str, **settings: t.Any) -> None:
        """Start ``wgsd client`` on a peer: by flags, or with more settings by a file."""
        arguments = ["--device", INTERFACE, "--dns", SERVER, "--zone", ZONE]
        if settings:
            config = {"interface": INTERFACE, "zone": ZONE, "registries": [SERVER], **settings}
            path = "/run/client.yml"
            self.lab.host(name).path(path).write_text(json.dumps(config), encoding="utf-8")
            arguments = ["--config", path]
        self._start(name, "client", *arguments)

    def stop(self, name: str, daemon: str) -> None:
        """End a daemon as its service manager would.

        Raises:
            LabError: it ended by itself, or not well.
        """
        process = self._daemons.pop((name, daemon))
        ended_before = process.poll()
        process.terminate()
        status = process.wait(10)
        if ended_before is not None or status != 0:
            raise LabError(f"{name}: {daemon} ended with {status}: {self.log(name, daemon)}")

    def kill(self, name: str, daemon: str) -> None:
        """Take a daemon away as a crash would."""
        process = self._daemons.pop((name, daemon))
        process.kill()
        process.wait(10)

    def close(self) -> None:
        """End all daemons; the lab ends the devices."""
        for name, daemon in list(self._daemons):
            with contextlib.suppress(LabError, subprocess.TimeoutExpired):
                self.stop(name, daemon)

    def __enter__(self) -> Mesh:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def log(self, name: str, daemon: str) -> str:
        """What a daemon has written."""
        return self.lab.host(name).path(f"/run/{daemon}.log").read_text(encoding="utf-8")

    def wgsd(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the engine's command line on a host, to its end."""
        command = [self.python, "-m", "wgsd.cli", *arguments]
        return self.lab.host(name).run(command, check=False, env=_environment())

    def peer(self, name: str, other: str) -> Peer:
        """How a host's device sees another host just now."""
        with self._backend(name) as backend:
            return backend.read().peers[self.key(other)]

    def handshake(self, name: str, other: str) -> float:
        """When two hosts both had a handshake with one another: seconds since the epoch, or 0."""
        ways = ((name, other), (other, name))
        times = [self.peer(near, far).last_handshake for near, far in ways]
        return max(times) if all(times) else 0.0

    def wait(self, condition: t.Callable[[], t.Any], what: str, patience: float = 10.0) -> t.Any:
        """Wait until *condition* holds and return what it returned.

        Raises:
            LabError: it does not hold within *patience* seconds; the daemons' logs are in it.
        """
        deadline = time.monotonic() + patience
        while not (result := condition()):
            if time.monotonic() > deadline:
                logs = "".join(f"\n{n} {d}:\n{self.log(n, d)}" for n, d in self._daemons)
                raise LabError(f"no {what} within {patience:g} s{logs}")
            time.sleep(0.01)
        return result

    def wait_direct(self, name: str, other: str, patience: float = 10.0) -> float:
        """Wait until two hosts have had a handshake with one another and return its time."""
        what = f"handshake between {name} and {other}"
        return float(self.wait(lambda: self.handshake(name, other), what, patience))

    @contextlib.contextmanager
    def _backend(self, name: str) -> t.Iterator[Backend]:
        host = self.lab.host(name)
        if self.devices[name].process:
            with UserspaceBackend(INTERFACE, folder=host.path("/run/wireguard")) as backend:
                yield backend
        else:
            with host.network(), KernelBackend(INTERFACE) as backend:
                yield backend

    def _start(self, name: str, *arguments: str) -> None:
        host = self.lab.host(name)
        with host.path(f"/run/{arguments[0]}.log").open("ab") as log:
            self._daemons[name, arguments[0]] = host.popen(
                [self.python, "-m", "wgsd.cli", *arguments],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ENGINE)}
