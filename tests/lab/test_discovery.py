# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that joins at the registry alone is known to all, and one that leaves to nobody."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import signal
import subprocess
import time
import typing as t

import pytest

from wgsd.keys import PublicKey

from .bare import BareLab
from .mesh import INTERFACE, PORT, SERVER, Mesh
from .topology import REGISTRY, Site
from .wireguard import start

pytestmark = pytest.mark.lab

PREFIX = "wgdi"
FILE = ("alice", "bob")
#: Hosts that nobody has.
MALLORY, MARVIN, MAUD, MARGE = (PublicKey(bytes([number]) * 32) for number in range(1, 5))


@pytest.fixture
def mesh() -> t.Iterator[Mesh]:
    """Alice and Bob know one another; Carol knows both, and nobody knows her."""
    with BareLab(PREFIX, [Site(name) for name in (*FILE, "carol")]) as lab, Mesh(lab) as built:
        for name in (*FILE, REGISTRY):
            built.remove_peer(name, "carol")
        built.start_responder()
        for name in FILE:
            built.connect(name)
            built.start_client(name, discover=True)
        built.wait_direct(*FILE)
        yield built


@pytest.fixture
def joined(mesh: Mesh) -> Mesh:
    """Carol has joined at the registry, and has direct tunnels."""
    join(mesh)
    for name in FILE:
        wait_joined(mesh, name)
    return mesh


def join(mesh: Mesh) -> float:
    """Have the registry know Carol, and Carol be set up; return the time before."""
    before = time.time()
    mesh.add_peer(REGISTRY, "carol")
    mesh.connect("carol")
    mesh.start_client("carol")
    return before


def knows(mesh: Mesh, name: str, other: str) -> bool:
    """Whether a host's device has another host as a peer."""
    return str(mesh.key(other)) in mesh.devices[name].show("peers")


def wait_known(mesh: Mesh, name: str) -> None:
    """Wait until a host knows Carol."""
    mesh.wait(lambda: knows(mesh, name, "carol"), f"Carol on {name}'s device", 20)


def wait_forgotten(mesh: Mesh, name: str) -> None:
    """Wait until a host does not know Carol any more."""
    mesh.wait(lambda: not knows(mesh, name, "carol"), f"{name} without Carol")


def wait_joined(mesh: Mesh, name: str) -> float:
    """Wait until a host knows Carol and has had a handshake with her; return its time."""
    wait_known(mesh, name)
    return mesh.wait_direct(name, "carol")


def make_anew(mesh: Mesh, name: str) -> None:
    """Make a host's device anew, with the key that it had, and the registry as its only peer."""
    old = mesh.devices[name]
    old.stop()
    mesh.devices[name] = start(
        mesh.lab.host(name),
        INTERFACE,
        address=f"{mesh.addresses[name]}/24",
        listen_port=PORT,
        private_key=old.private_key,
    )
    mesh.connect(name)


def ping(mesh: Mesh, name: str, other: str, number: int = 3) -> int:
    """Ping another host's tunnel address and return how many answers came."""
    result = mesh.lab.host(name).run(
        ["ping", "-c", str(number), "-i", "0.05", "-W", "1", mesh.addresses[other]], check=False
    )
    return int(re.search(r"(\d+) received", result.stdout).group(1))


@contextlib.contextmanager
def no_packet_lost(mesh: Mesh, name: str, other: str) -> t.Iterator[None]:
    """Ping 50 times a second, and check that nothing was lost meanwhile."""
    process = mesh.lab.host(name).popen(
        ["ping", "-i", "0.02", mesh.addresses[other]], stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.3)
    try:
        yield
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=10)[0]
    sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", output).groups()
    # The last packet may still be under way.
    assert int(sent) - int(received) <= 1, output[-300:]
    assert int(sent) > 25


def restart_device(mesh: Mesh) -> None:
    """Restart the registry's device as wg-quick does: key and peers, and then the address."""
    old = mesh.devices[REGISTRY]
    peers = [line.split("\t") for line in old.show().splitlines()[1:]]
    old.stop()
    time.sleep(0.5)
    registry = mesh.lab.registry
    device = start(registry, INTERFACE, listen_port=PORT, private_key=old.private_key)
    # The responder looks for it four times a second: let it find the device half made.
    time.sleep(0.6)
    for key, _psk, _endpoint, allowed, *_counters in peers:
        device.set("peer", key, "allowed-ips", allowed)
    registry.run(["ip", "address", "add", f"{SERVER}/24", "dev", INTERFACE])
    mesh.devices[REGISTRY] = device


def test_a_host_that_the_registry_knows_is_known_to_all_and_packets_flow_directly(mesh):
    assert not knows(mesh, "alice", "carol")
    began = join(mesh)
    for name in FILE:
        wait_known(mesh, name)
    known = time.time() - began
    direct = max(mesh.wait_direct(name, "carol") for name in FILE) - began
    print(f"known to all after {known:.3f} s, direct after {direct:.3f} s")
    assert direct < 5.0
    for name in FILE:
        assert ping(mesh, name, "carol") == 3
        assert ping(mesh, "carol", name) == 3
        assert mesh.peer(name, "carol").endpoint.address == mesh.lab.host("carol").outside
        assert mesh.log(name, "client").count("): added") == 1
    (shown,) = json.loads(mesh.wgsd("alice", "status", "--interface", INTERFACE, "--json").stdout)
    found = {peer["public_key"]: peer["discovered"] for peer in shown["peers"]}
    names = {REGISTRY: False, "bob": False, "carol": True}
    assert found == {str(mesh.key(name)): discovered for name, discovered in names.items()}


def test_a_member_that_was_never_on_is_known_and_costs_nobody_a_handshake(mesh):
    mesh.add_peer(REGISTRY, "carol")
    wait_known(mesh, "alice")
    carol = mesh.peer("alice", "carol")
    assert (carol.endpoint, carol.persistent_keepalive) == (None, 0)


def test_a_host_that_the_registry_removes_can_reach_nobody_and_others_stay(joined):
    with no_packet_lost(joined, *FILE):
        began = time.monotonic()
        joined.remove_peer(REGISTRY, "carol")
        for name in FILE:
            wait_forgotten(joined, name)
        took = time.monotonic() - began
        print(f"gone everywhere after {took:.3f} s")
        assert took < 2.0
        assert ping(joined, "carol", "alice") == 0
        assert ping(joined, "carol", "bob") == 0
    assert "no longer has it as a member, so its session ends" in joined.log("alice", "client")
    with no_packet_lost(joined, *FILE):
        joined.remove_peer(REGISTRY, "bob")
        time.sleep(1.5)
    assert knows(joined, "alice", "bob")


def test_a_registry_that_restarts_costs_no_packet(joined):
    with no_packet_lost(joined, "alice", "carol"), no_packet_lost(joined, "carol", "bob"):
        joined.stop(REGISTRY, "responder")
        time.sleep(1.0)
        joined.start_responder()
        time.sleep(1.0)
        restart_device(joined)
        # Until all have found it again, and its zone has none of them with an endpoint meanwhile.
        for name in (*FILE, "carol"):
            joined.wait(lambda name=name: joined.handshake(name, REGISTRY), f"{name} is back", 20)
        time.sleep(1.0)
    for name in FILE:
        assert joined.log(name, "client").count("): added") == 1
        assert "removed: the registry" not in joined.log(name, "client")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_client_removes_what_the_one_before_it_has_added(joined, end):
    getattr(joined, end)("alice", "client")
    with no_packet_lost(joined, "alice", "carol"):
        joined.start_client("alice", discover=True)
        time.sleep(1.5)
    getattr(joined, end)("alice", "client")
    joined.remove_peer(REGISTRY, "carol")
    joined.start_client("alice", discover=True)
    wait_forgotten(joined, "alice")
    assert knows(joined, "alice", "bob")


def test_whoever_is_on_a_device_that_was_made_anew_is_its_own(joined):
    joined.stop("alice", "client")
    make_anew(joined, "alice")
    for other in ("bob", "carol"):
        joined.add_peer("alice", other)
    joined.start_client("alice", discover=True)
    wait_joined(joined, "alice")
    joined.remove_peer(REGISTRY, "carol")
    wait_forgotten(joined, "bob")
    time.sleep(0.5)
    assert knows(joined, "alice", "carol")


def test_a_device_that_is_made_anew_gets_the_members_again(joined):
    make_anew(joined, "alice")
    joined.add_peer("alice", "bob")
    wait_known(joined, "alice")
    joined.wait(lambda: ping(joined, "alice", "carol") == 3, "packets to Carol", 20)


def test_nobody_gets_what_belongs_to_others_by_claiming_it(mesh):
    ours = ipaddress.ip_interface(f"{mesh.addresses['alice']}/30").network
    bobs = ipaddress.ip_interface(f"{mesh.addresses['bob']}/30").network
    claims = {
        MALLORY: f"{ours}",
        MARVIN: "0.0.0.0/0",
        MAUD: f"10.0.0.77/32,{bobs.supernet()}",
        MARGE: "10.0.0.78/32,192.168.5.0/24",
    }
    before = mesh.devices["alice"].show("allowed-ips")
    for key, blocks in claims.items():
        mesh.devices[REGISTRY].set("peer", str(key), "allowed-ips", blocks)
    join(mesh)
    wait_joined(mesh, "alice")
    peers = mesh.devices["alice"].show("peers")
    assert not any(str(key) in peers for key in claims)
    after = mesh.devices["alice"].show("allowed-ips").splitlines()
    assert set(before.splitlines()) <= set(after)
    time.sleep(1.0)
    log = mesh.log("alice", "client")
    for key in claims:
        assert log.count(f"member {key}: not added") == 1
    assert "192.168.5.0/24 is outside of the tunnel's own" in log
    shown = mesh.wgsd("alice", "status", "--interface", INTERFACE).stdout
    assert "run the playbook for this host" in " ".join(shown.split())
    assert ping(mesh, "alice", "bob") == 3
