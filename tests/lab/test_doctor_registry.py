# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a host from its registry, made for real, is named by the doctor."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import time
import typing as t
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from . import Site
from .doctor import TRIED, build, connect, drop, examine, first, hosts
from .mesh import INTERFACE, PORT, SERVER
from .topology import REGISTRY
from .wireguard import kind, start

pytestmark = pytest.mark.lab

STRANGER = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
#: 2^62 + 10 as in TAI64N: what wireguard-go adds to the seconds of a handshake's time stamp.
TAI64 = 0x400000000000000A


def test_says_that_all_is_well_with_figures_when_it_is() -> None:
    with hosts() as mesh:
        build(mesh, direct=True)
        diagnosis = examine(mesh, record="well")
    print("\n".join(diagnosis["lines"]))
    assert diagnosis["well"], diagnosis["lines"]
    line = " ".join(diagnosis["lines"])
    assert line.startswith("alice reaches bob: round trip ")
    assert "handshake" in line
    assert "packets of 1420 bytes pass" in line
    assert f"{mesh.lab.host('bob').name} is at 192.0.2.20:51820" in line


def test_a_firewall_on_the_registry_closes_the_port() -> None:
    with hosts() as mesh:
        drop(mesh.lab.registry, f"udp dport {PORT}")
        connect(mesh)
        diagnosis = examine(mesh, record="registry_port_on_it")
    problem = first(diagnosis, "registry_port", "a firewall there drops", f"{PORT}")
    assert "rx +0 bytes" in problem["evidence"][0]
    assert any(f"udp dport {PORT} drop" in line for line in problem["evidence"])
    assert len(diagnosis["problems"]) == 1


@pytest.mark.long
def test_a_firewall_in_front_of_the_registry_closes_the_port() -> None:
    with hosts() as mesh:
        drop(mesh.lab.internet, f"udp dport {PORT} ip daddr {mesh.lab.registry.address}", "forward")
        connect(mesh)
        diagnosis = examine(mesh, record="registry_port_in_front")
    first(diagnosis, "registry_port", "in front of registry")
    assert len(diagnosis["problems"]) == 1


@pytest.mark.long
def test_a_router_of_one_host_drops_what_is_for_the_registry() -> None:
    with hosts() as mesh:
        drop(mesh.lab.router("a").node, f"udp dport {PORT}", "forward")
        build(mesh)
        time.sleep(TRIED)
        diagnosis = examine(mesh)
    first(diagnosis, "registry_port", "on alice's side")


def test_a_host_has_a_wrong_key_for_the_registry() -> None:
    with hosts() as mesh:
        mesh.start_responder()
        mesh.connect("bob")
        mesh.devices["alice"].set(
            *("peer", STRANGER, "endpoint", mesh.registry_endpoint),
            *("persistent-keepalive", "25", "allowed-ips", f"{SERVER}/32"),
        )
        for name in ("alice", "bob"):
            mesh.start_client(name)
        diagnosis = examine(mesh, record="wrong_key")
        key = mesh.devices[REGISTRY].public_key
    problem = first(diagnosis, "wrong_key", "alice has a wrong public key for registry")
    assert f"registry has {key}" in problem["evidence"]
    assert any("made for another key" in line for line in problem["evidence"])


@pytest.mark.long
@pytest.mark.skipif(kind() == "kernel", reason="all kernels of one machine have one clock")
def test_a_clock_is_behind_the_last_handshake(tmp_path: Path) -> None:
    hour = 3600
    with hosts() as mesh:
        build(mesh, direct=True)
        # Alice boots again, with a clock that nobody has set: WireGuard and the module see it. Her
        # NAT has forgotten her, or the others would begin, and all would be well.
        alice, before = mesh.lab.host("alice"), mesh.devices["alice"]
        mesh.stop("alice", "client")
        before.stop()
        mesh.lab.router("a").reboot()
        late = wireguard_go_with_clock(tmp_path, -hour)
        alice.run(["mkdir", "-p", "/run/bin"])
        shutil.copy(late, alice.path("/run/bin/wireguard-go"))
        with path_first("/run/bin"):
            mesh.devices["alice"] = start(
                alice, address="10.0.0.1/24", listen_port=PORT, private_key=before.private_key
            )
        mesh.add_peer("alice", "bob")
        mesh.connect("alice")
        mesh.start_client("alice")
        time.sleep(TRIED)
        diagnosis = examine(mesh, clocks={"alice": -hour}, record="clock")
    problem = first(diagnosis, "clock", "alice", "drops handshakes that are dated before")
    text = "\n".join(problem["evidence"])
    assert "later than alice's clock" in text
    assert "counted none of them" in text
    assert "behind the controller's clock" in text


def wireguard_go_with_clock(folder: Path, ahead: int) -> Path:
    """Return a wireguard-go whose handshakes are dated so many seconds ahead.

    It makes the time stamp by adding a constant, which is in the program once as it is used there.
    """
    program = Path(shutil.which("wireguard-go") or "").read_bytes()
    old, new = struct.pack("<Q", TAI64), struct.pack("<Q", TAI64 + ahead)
    # A movabs into a register: REX.W and B8 + register.
    places = [
        at
        for at in range(2, len(program))
        if program.startswith(old, at) and program[at - 2] in (0x48, 0x49)
    ]
    assert len(places) == 1, "wireguard-go is built in another way: find its TAI64N constant anew"
    patched = folder / "wireguard-go"
    patched.write_bytes(program[: places[0]] + new + program[places[0] + 8 :])
    patched.chmod(0o755)
    return patched


@contextlib.contextmanager
def path_first(folder: str) -> t.Iterator[None]:
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@pytest.mark.long
def test_a_clock_is_far_from_the_others() -> None:
    with hosts() as mesh:
        build(mesh, direct=True)
        diagnosis = examine(mesh, clocks={"bob": 400})
    first(diagnosis, "clock", "the clock of bob is 6 m ", "ahead of the others'")
    assert diagnosis["reached"]


def test_a_nat_forgets_a_host_without_keepalive() -> None:
    with hosts() as mesh:
        forget = "for t in /proc/sys/net/netfilter/nf_conntrack_udp_timeout*; do echo 2 > $t; done"
        mesh.lab.router("a").node.run(["sh", "-c", forget])
        mesh.start_responder()
        mesh.connect("alice")
        registry = str(mesh.key(REGISTRY))
        mesh.devices["alice"].set("peer", registry, "persistent-keepalive", "0")
        mesh.lab.host("alice").run(["ping", "-c1", "-W5", SERVER])
        mesh.connect("bob")
        mesh.start_client("bob")
        # WireGuard itself says something within 10 s of what it gets.
        time.sleep(15)
        diagnosis = examine(mesh, record="keepalive")
    problem = first(diagnosis, "keepalive", "alice sends no keepalive")
    assert any("got no answer" in line for line in problem["evidence"])
    assert "wgsd_keepalive: 25 for alice" in problem["remedy"]


def test_the_responder_is_down() -> None:
    with hosts() as mesh:
        mesh.start_responder()
        time.sleep(1.5)
        mesh.kill(REGISTRY, "responder")
        connect(mesh)
        time.sleep(TRIED)
        diagnosis = examine(mesh, record="responder_down")
    problem = first(diagnosis, "responder", "does not run")
    assert "systemctl start wgsd-responder" in problem["remedy"]


@pytest.mark.long
def test_a_firewall_keeps_queries_from_the_responder() -> None:
    with hosts() as mesh:
        drop(mesh.lab.registry, f'iifname "{INTERFACE}" meta l4proto {{ udp, tcp }} th dport 53')
        mesh.start_responder()
        connect(mesh)
        time.sleep(TRIED)
        diagnosis = examine(mesh, record="responder_blocked")
    first(diagnosis, "responder", "a firewall there drops DNS")


@pytest.mark.long
def test_the_responder_refuses_to_answer() -> None:
    with hosts() as mesh:
        zone = {"zone": "other.example.", "device": INTERFACE}
        with contextlib.suppress(Exception):
            mesh.start_responder(zones=[zone])
        connect(mesh)
        time.sleep(TRIED)
        diagnosis = examine(mesh, record="responder_refuses")
    first(diagnosis, "responder", "refuses to answer for example.com.")


@pytest.mark.long
def test_two_peers_of_the_zone_have_one_tunnel_address() -> None:
    with hosts(Site("alice"), Site("bob"), Site("carol")) as mesh:
        build(mesh)
        mesh.connect("carol")
        # Another inventory has given Carol what Bob has here.
        mesh.devices[REGISTRY].set("peer", str(mesh.key("carol")), "allowed-ips", "10.0.0.2/32")
        time.sleep(TRIED)
        diagnosis = examine(mesh, record="duplicate_address")
    first(diagnosis, "duplicate_address", "two peers of registry have the tunnel address 10.0.0.2")


@pytest.mark.long
def test_a_host_without_its_interface() -> None:
    with hosts() as mesh:
        build(mesh)
        mesh.kill("bob", "client")
        mesh.devices["bob"].stop()
        diagnosis = examine(mesh)
    first(diagnosis, "interface", "bob has no WireGuard interface wg0")


def test_goes_on_without_a_host_that_cannot_be_reached_by_ssh() -> None:
    with hosts() as mesh:
        build(mesh, direct=True)
        diagnosis = examine(mesh, unreachable=["bob"])
        assert diagnosis["well"], diagnosis["lines"]
        assert diagnosis["notes"][0].startswith("bob could not be examined (it does not answer")
        drop(mesh.lab.registry, f"udp dport {PORT}")
        mesh.devices["alice"].set("peer", str(mesh.key(REGISTRY)), "remove")
        mesh.connect("alice")
        diagnosis = examine(mesh, unreachable=["registry"])
    assert "registry does not answer on WireGuard's port" in diagnosis["problems"][0]["text"]
