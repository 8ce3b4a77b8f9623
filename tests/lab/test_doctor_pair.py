# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps two hosts of a mesh from one another, made for real, is named by the doctor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from . import Nat, Site
from .doctor import (
    SECONDS,
    SPANNING,
    TRIED,
    build,
    connect,
    drop,
    examine,
    first,
    hosts,
    wait_silent,
    wait_tried,
)
from .mesh import ENGINE, INTERFACE, PORT, SERVER
from .topology import REGISTRY
from .wireguard import generate_key

pytestmark = pytest.mark.lab

STRANGER = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="


@pytest.mark.parametrize(
    ("alice", "bob", "words"),
    [
        ("symmetric", "symmetric", ("alice and bob are both symmetric",)),
        ("symmetric", "port-restricted", ("the NAT of alice is symmetric",)),
        pytest.param(
            *("port-restricted", "symmetric", ("the NAT of bob is symmetric",)),
            marks=pytest.mark.long,
        ),
    ],
)
def test_symmetric_nats_are_told_from_others(alice: str, bob: str, words: tuple[str, ...]) -> None:
    with hosts(alice=Nat(alice), bob=Nat(bob)) as mesh:
        build(mesh)
        wait_tried(mesh)
        which = "both" if alice == bob else "alice" if alice == "symmetric" else "bob"
        diagnosis = examine(mesh, record=f"symmetric_nat_{which}")
    problem = first(diagnosis, "symmetric_nat", *words)
    assert f"port {PORT} saw " in problem["evidence"][0]
    assert "wgsd_endpoint: " in problem["remedy"]
    assert len(diagnosis["problems"]) == 1


@pytest.mark.long
def test_says_so_when_the_kind_of_nat_cannot_be_told() -> None:
    with hosts(alice=Nat("symmetric"), bob=Nat("symmetric")) as mesh:
        drop(mesh.lab.internet, f"udp dport {PORT + 1}", "forward")
        build(mesh)
        wait_tried(mesh)
        diagnosis = examine(mesh)
    print("\n".join(diagnosis["lines"]))
    text = "\n".join(diagnosis["notes"] + diagnosis["problems"][0]["evidence"])
    assert "could not be told, since nothing came to registry by UDP port 51821" in text
    assert not diagnosis["well"]


@pytest.mark.long
def test_clients_are_silent_by_design_and_a_longer_look_shows_why_they_had_to() -> None:
    with hosts(
        Site("home", Nat("port-restricted"), hosts=("alice", "bob")), ports={"bob": PORT + 7}
    ) as mesh:
        build(mesh)
        wait_silent(mesh)
        diagnosis = examine(mesh, record="silence", seconds=SECONDS)
        problem = first(diagnosis, "silence", "the clients on alice and bob", "are silent")
        assert "run this again at " in problem["remedy"]
        assert any("they share a NAT" in line for line in problem["evidence"])
        assert len(diagnosis["problems"]) == 1
        diagnosis = examine(mesh, record="hairpin", seconds=SPANNING)
    first(diagnosis, "hairpin", "alice and bob are behind one NAT")
    assert len(diagnosis["problems"]) == 1


@pytest.mark.long
def test_another_peer_of_the_device_has_the_address() -> None:
    with hosts() as mesh:
        build(mesh, direct=True)
        mesh.devices["alice"].set("peer", STRANGER, "allowed-ips", "10.0.0.2/32")
        diagnosis = examine(mesh, record="allowed_ips")
    problem = first(
        diagnosis, "allowed_ips", "alice sends 10.0.0.2, the address of bob, to another"
    )
    assert f"{STRANGER} has the allowed IPs 10.0.0.2/32" in problem["evidence"]


def test_large_packets_get_lost() -> None:
    with hosts() as mesh:
        build(mesh, direct=True)
        drop(mesh.lab.router("a").node, "meta length > 1300", "forward")
        diagnosis = examine(mesh, record="mtu")
    problem = first(diagnosis, "mtu", "large packets get lost between alice and bob")
    assert diagnosis["reached"]
    largest = int(problem["remedy"].partition("wgsd_mtu: ")[2].split()[0])
    # An outer packet has 60 bytes more, and WireGuard fills up to multiples of 16.
    assert 1200 <= largest <= 1240


def test_a_firewall_of_a_host_lets_in_only_the_registry() -> None:
    with hosts() as mesh:
        bob = mesh.lab.host("bob")
        drop(bob, f"udp dport {PORT} ip saddr != {mesh.lab.registry.address}")
        build(mesh)
        wait_tried(mesh)
        diagnosis = examine(mesh, record="firewall")
    problem = first(diagnosis, "firewall", "a firewall on bob drops what alice sends")
    assert "rx +0 bytes" in problem["evidence"][0]


@pytest.mark.long
def test_a_firewall_of_a_host_lets_nothing_in() -> None:
    with hosts() as mesh:
        drop(mesh.lab.host("bob"), f"udp dport {PORT}")
        build(mesh)
        time.sleep(TRIED)
        diagnosis = examine(mesh)
    first(diagnosis, "firewall", "a firewall on bob drops what registry sends")


@pytest.mark.long
def test_a_firewall_of_a_host_lets_nothing_out() -> None:
    with hosts() as mesh:
        drop(mesh.lab.host("bob"), f"udp dport {PORT}", "output")
        build(mesh)
        time.sleep(TRIED)
        diagnosis = examine(mesh)
    first(diagnosis, "firewall", "a firewall on bob keeps WireGuard's packets", "from leaving")


@pytest.mark.long
def test_a_firewall_behind_the_tunnel_drops_what_it_carries() -> None:
    with hosts() as mesh:
        drop(mesh.lab.host("bob"), f'iifname "{INTERFACE}" ip saddr 10.0.0.1')
        build(mesh, direct=True)
        diagnosis = examine(mesh)
    first(diagnosis, "firewall", "the tunnel carries packets both ways", "firewall on bob drops")


@pytest.mark.long
def test_a_client_hangs() -> None:
    with hosts() as mesh:
        build(mesh)
        mesh.wait_direct("alice", "bob")
        mesh._daemons["alice", "client"].send_signal(signal.SIGSTOP)
        try:
            diagnosis = examine(mesh, record="client_hangs")
        finally:
            mesh._daemons["alice", "client"].send_signal(signal.SIGCONT)
    first(diagnosis, "client", "the client on alice hangs")


@pytest.mark.long
def test_a_client_does_not_run() -> None:
    with hosts() as mesh:
        mesh.start_responder()
        connect(mesh)
        mesh.wait(lambda: mesh.peer(REGISTRY, "alice").last_handshake, "tunnel")
        time.sleep(1.5)
        mesh.kill("alice", "client")
        diagnosis = examine(mesh, record="client_down")
    first(diagnosis, "client", "the client on alice does not run")


@pytest.mark.long
def test_a_client_follows_another_zone() -> None:
    with hosts() as mesh:
        mesh.start_responder()
        for name, zone in (("alice", "other.example."), ("bob", "example.com.")):
            mesh.connect(name)
            mesh.start_client(name, zone=zone)
        time.sleep(TRIED)
        diagnosis = examine(mesh, record="client_zone")
    problem = first(diagnosis, "client", "the client on alice follows another zone")
    assert "wgsd_zone: example.com. for alice" in problem["remedy"]


@pytest.mark.long
def test_a_client_is_of_another_version(tmp_path: Path) -> None:
    shutil.copytree(ENGINE / "wgsd", tmp_path / "wgsd")
    init = tmp_path / "wgsd" / "__init__.py"
    init.write_text(init.read_text(encoding="utf-8").replace('"0.1.0"', '"0.0.9"'))
    with hosts() as mesh:
        mesh.start_responder()
        mesh.connect("alice")
        mesh.connect("bob")
        mesh.start_client("bob")
        alice = mesh.lab.host("alice")
        command = [mesh.python, "-m", "wgsd.cli", "client", "--device", INTERFACE, "--dns", SERVER]
        alice.popen(
            [*command, "--zone", "example.com."],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        mesh.wait_direct("alice", "bob")
        time.sleep(1.5)
        diagnosis = examine(mesh, record="client_version")
    problem = first(diagnosis, "client", "the client on alice is of another version")
    assert "it is 0.0.9, this collection is 0.1.0" in problem["evidence"]


@pytest.mark.long
def test_two_hosts_have_one_tunnel_address() -> None:
    with hosts() as mesh:
        build(mesh)
        mesh.lab.host("bob").run(["ip", "address", "add", "10.0.0.1/24", "dev", INTERFACE])
        diagnosis = examine(mesh)
    problem = first(diagnosis, "duplicate_address", "alice and bob have the same tunnel address")
    assert "--limit bob" in problem["remedy"]


def test_two_hosts_have_different_preshared_keys() -> None:
    keys = [generate_key(), generate_key()]
    with hosts() as mesh:
        for name, other, key in (("alice", "bob", keys[0]), ("bob", "alice", keys[1])):
            mesh.lab.host(name).path("/run/psk").write_text(key, encoding="utf-8")
            mesh.devices[name].set("peer", str(mesh.key(other)), "preshared-key", "/run/psk")
        build(mesh)
        wait_tried(mesh)
        diagnosis = examine(mesh, record="preshared_key")
        secrets = [*keys, *(device.private_key for device in mesh.devices.values())]
    first(diagnosis, "preshared_key", "alice and bob have different preshared keys")
    assert len(diagnosis["problems"]) == 1
    said = json.dumps(diagnosis)
    assert not any(secret in said for secret in secrets)
