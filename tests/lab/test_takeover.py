# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host rotates its key under a running ping, behind NATs, with real devices and clients."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
import typing as t

import pytest

from wgsd.device.x25519 import public_key
from wgsd.keys import PublicKey, decode_base64_key
from wgsd.takeover import announcement

from .bare import BareLab
from .mesh import INTERFACE, Mesh, _environment
from .topology import REGISTRY, Site
from .wireguard import generate_key

pytestmark = pytest.mark.lab

#: Packets a second, and so many of them are a second.
RATE = 20
HOSTS = ("alice", "bob", "carol")


@pytest.fixture
def mesh() -> t.Iterator[Mesh]:
    """Three hosts behind NATs whose clients have connected them all; 20 ms to the internet."""
    sites = [Site(name, delay=0.01) for name in HOSTS]
    with BareLab("wtak", sites) as lab, Mesh(lab) as built:
        built.start_responder()
        for name in HOSTS:
            built.connect(name)
            built.start_client(name)
        for near, far in (("alice", "bob"), ("alice", "carol"), ("bob", "carol")):
            built.wait_direct(near, far, patience=30)
        yield built


class Pings:
    """A ping that runs, and what it has lost."""

    def __init__(self, mesh: Mesh, name: str, other: str) -> None:
        address = mesh.addresses[other]
        self.title = f"{name} -> {other}"
        self._process = mesh.lab.host(name).popen(
            ["ping", "-q", "-i", str(1 / RATE), address], stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> int:
        """End it; return how many packets were lost. The last one may still be under way."""
        self._process.send_signal(signal.SIGINT)
        output = self._process.communicate(timeout=10)[0]
        sent, received = map(int, re.search(r"(\d+) packets .*?(\d+) received", output).groups())
        assert sent > 3 * RATE, output
        return max(0, sent - received - 1)


@contextlib.contextmanager
def pinging(mesh: Mesh, *ways: tuple[str, str]) -> t.Iterator[dict[str, int]]:
    """Ping on all *ways* meanwhile; the packets lost are there at the end."""
    pings = [Pings(mesh, *way) for way in ways]
    lost: dict[str, int] = {}
    try:
        time.sleep(1)
        yield lost
        time.sleep(2)
    finally:
        lost.update({ping.title: ping.stop() for ping in pings})
        sys.stdout.write(f"lost packets, {RATE} a second: {lost}\n")


class Rotation:
    """What the playbook does, by hand: announce a host's next key, and switch to it."""

    def __init__(self, mesh: Mesh, name: str) -> None:
        self.mesh = mesh
        self.name = name
        self.old = mesh.key(name)
        self.private_key = generate_key()
        self.new: PublicKey = public_key(decode_base64_key(self.private_key))
        self.watchers: dict[str, subprocess.Popen[t.Any]] = {}

    def announce(self, *, seconds: float = 60.0) -> None:
        for other in self.mesh.devices:
            if other == self.name:
                continue
            with self.mesh._backend(other) as backend:
                backend.apply([announcement(backend.read().peers[self.old], self.new)])
            command = [self.mesh.python, "-m", "wgsd.cli", "takeover", "--interface", INTERFACE]
            command += ["--seconds", str(seconds), f"{self.old}={self.new}"]
            self.watchers[other] = self.mesh.lab.host(other).popen(
                command, env=_environment(), stderr=subprocess.PIPE, text=True
            )
        for watcher in self.watchers.values():
            assert "waiting until 1 peer" in watcher.stderr.readline()

    def switch(self) -> None:
        device = self.mesh.devices[self.name]
        device.node.run(
            ["wg", "set", INTERFACE, "private-key", "/dev/stdin"], stdin=self.private_key + "\n"
        )
        device.private_key, device.public_key = self.private_key, self.new.base64
        # As the module does: idle tunnels have something to send as well.
        with device.node.network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for other, address in self.mesh.addresses.items():
                if other != self.name:
                    sock.sendto(b"", (address, 9))

    def ends(self) -> dict[str, int]:
        """Wait for the watchers; return their exit statuses."""
        return {name: watcher.wait(20) for name, watcher in self.watchers.items()}

    def peers(self, name: str) -> t.Mapping[PublicKey, t.Any]:
        with self.mesh._backend(name) as backend:
            return backend.read().peers


def rotate(mesh: Mesh, name: str) -> Rotation:
    rotation = Rotation(mesh, name)
    rotation.announce()
    rotation.switch()
    return rotation


def test_a_rotation_costs_its_host_under_a_second_and_third_hosts_nothing(mesh: Mesh) -> None:
    ways = (("alice", "bob"), ("bob", "alice"), ("bob", "carol"))
    with pinging(mesh, *ways) as lost:
        rotation = rotate(mesh, "alice")
    assert lost["alice -> bob"] < RATE
    assert lost["bob -> alice"] < RATE
    assert lost["bob -> carol"] == 0
    assert set(rotation.ends().values()) == {0}
    for other in ("bob", "carol", REGISTRY):
        peers = rotation.peers(other)
        assert rotation.old not in peers
        assert peers[rotation.new].last_handshake > 0
        assert peers[rotation.new].allowed_ips == ("10.0.0.1/32",)
    # The client has seen the new one come, and has not started it over.
    mesh.wait(lambda: f"peer {rotation.new}" in mesh.log("bob", "client"), "new peer's line")
    told = [line for line in mesh.log("bob", "client").splitlines() if str(rotation.new) in line]
    assert not [line for line in told if "no session; set" in line], told


def test_the_registry_rotates_and_no_tunnel_between_others_loses_a_packet(mesh: Mesh) -> None:
    ways = (("alice", "bob"), ("bob", "carol"), ("alice", REGISTRY))
    with pinging(mesh, *ways) as lost:
        rotation = rotate(mesh, REGISTRY)
    assert lost["alice -> bob"] == lost["bob -> carol"] == 0
    assert lost[f"alice -> {REGISTRY}"] < RATE
    assert set(rotation.ends().values()) == {0}
    assert rotation.peers("alice")[rotation.new].persistent_keepalive == 25
    told = mesh.wgsd("alice", "peers", "--dns", "10.0.0.254", "--zone", "example.com")
    assert told.returncode == 0, told.stderr


def test_all_hosts_rotate_one_after_the_other(mesh: Mesh) -> None:
    rotations = [Rotation(mesh, name) for name in (*HOSTS, REGISTRY)]
    for rotation in rotations:
        rotation.announce()
    with pinging(mesh, ("alice", "bob"), ("carol", "bob")) as lost:
        for rotation in rotations:
            rotation.switch()
            time.sleep(1)
    # Each of the two tunnels has two ends that rotate.
    assert max(lost.values()) < 2 * RATE
    for rotation in rotations:
        assert set(rotation.ends().values()) == {0}
    keys = {rotation.new for rotation in rotations}
    for rotation in rotations:
        assert set(rotation.peers(rotation.name)) == keys - {rotation.new}


def test_a_key_that_is_never_used_leaves_nothing_behind_and_harms_nothing(mesh: Mesh) -> None:
    rotation = Rotation(mesh, "alice")
    with pinging(mesh, ("alice", "bob")) as lost:
        rotation.announce(seconds=4)
        assert set(rotation.peers("bob")) >= {rotation.old, rotation.new}
        assert set(rotation.ends().values()) == {1}
    assert lost["alice -> bob"] == 0
    for other in ("bob", "carol", REGISTRY):
        assert rotation.old in rotation.peers(other)
        assert rotation.new not in rotation.peers(other)
