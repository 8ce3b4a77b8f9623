# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine's main job on real WireGuard behind real NATs: direct, and no live tunnel harmed."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
import typing as t

import pytest

from .bare import BareLab
from .mesh import INTERFACE, SERVER, ZONE, Mesh
from .topology import REGISTRY

pytestmark = pytest.mark.lab

PREFIX = "wgtm"


@pytest.fixture
def mesh() -> t.Iterator[Mesh]:
    with BareLab(PREFIX) as lab, Mesh(lab) as built:
        yield built


@pytest.fixture
def direct(mesh: Mesh) -> Mesh:
    """A mesh whose two peers have a direct tunnel that their clients made."""
    mesh.start_responder()
    for name in ("alice", "bob"):
        mesh.connect(name)
        mesh.start_client(name)
    mesh.wait_direct("alice", "bob")
    return mesh


@contextlib.contextmanager
def no_packet_lost(mesh: Mesh) -> t.Iterator[None]:
    """Ping from Alice to Bob, 50 times a second, and check that nothing was lost meanwhile."""
    ping = mesh.lab.host("alice").popen(
        ["ping", "-i", "0.02", mesh.addresses["bob"]], stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    try:
        yield
        time.sleep(0.5)
    finally:
        ping.send_signal(signal.SIGINT)
        output = ping.communicate(timeout=10)[0]
    sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", output).groups()
    # The last packet may still be under way.
    assert int(sent) - int(received) <= 1, output[-300:]
    assert int(sent) > 25


@pytest.mark.alone
def test_two_peers_behind_nats_get_a_direct_tunnel_within_a_second(mesh):
    mesh.start_responder()
    mesh.connect("alice")
    for name in ("alice", "bob"):
        mesh.start_client(name)
    time.sleep(1)
    mesh.connect("bob")
    direct = mesh.wait_direct("alice", "bob")
    assert direct - mesh.peer(REGISTRY, "bob").last_handshake < 1.0
    for name, other in (("alice", "bob"), ("bob", "alice")):
        endpoint = mesh.peer(name, other).endpoint
        assert endpoint.address == mesh.lab.host(other).outside


def test_the_registry_carries_none_of_the_peers_packets(direct):
    before = direct.peer(REGISTRY, "alice").rx_bytes
    direct.lab.host("alice").run(
        ["ping", "-c", "20", "-i", "0.05", "-s", "1000", direct.addresses["bob"]]
    )
    assert direct.peer("alice", "bob").tx_bytes > 20 * 1000
    assert direct.peer(REGISTRY, "alice").rx_bytes - before < 2000


def test_status_tells_who_is_reached_directly_and_how(direct):
    direct.wait(
        lambda: "direct" in direct.wgsd("alice", "status", "--interface", INTERFACE).stdout,
        "direct peer in the status",
    )
    status = direct.wgsd("alice", "status", "--interface", INTERFACE, "--json")
    assert status.returncode == 0, status.stderr
    (report,) = json.loads(status.stdout)
    peers = {peer["public_key"]: peer for peer in report["peers"]}
    bob = peers[str(direct.key("bob"))]
    assert bob["state"] == "direct"
    assert bob["endpoint"] == str(direct.peer("alice", "bob").endpoint)
    # Bob may have been the first to send.
    assert bob["endpoint_source"] in ("directory", "its own packets")
    assert bob["handshake_age"] < 60
    assert peers[str(direct.key(REGISTRY))]["endpoint_source"] == "configuration"


def test_the_zone_is_listed_for_people_on_any_peer(direct):
    listed = direct.wgsd("bob", "peers", "--dns", SERVER, "--zone", ZONE)
    assert listed.returncode == 0, listed.stderr
    names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert names == ["alice", "bob", "registry"]


def test_clients_and_responder_restart_without_a_lost_packet(direct):
    with no_packet_lost(direct):
        for name in ("alice", "bob"):
            direct.stop(name, "client")
            direct.start_client(name)
        direct.stop(REGISTRY, "responder")
        time.sleep(1)
        direct.start_responder()


def test_a_second_client_is_refused_before_the_first_has_reported_anything(mesh):
    mesh.start_client("alice")
    flags = ["--device", INTERFACE, "--dns", SERVER, "--zone", ZONE]
    lock = mesh.lab.host("alice").path(f"/run/wgsd/client-{INTERFACE}.lock")
    mesh.wait(lambda: lock.exists() and lock.read_text(), "the lock")
    second = mesh.wgsd("alice", "client", *flags)
    assert second.returncode == 2
    assert f"process {lock.read_text().strip()} looks after {INTERFACE} already" in second.stderr
    mesh.kill("alice", "client")
    mesh.start_client("alice")
    time.sleep(1)
    mesh.stop("alice", "client")


def test_a_keepalive_of_a_client_that_was_killed_follows_the_configuration(direct):
    assert direct.peer("alice", "bob").persistent_keepalive == 25
    report = direct.lab.host("alice").path(f"/run/wgsd/client-{INTERFACE}.json")
    direct.wait(lambda: '"raised": 25' in report.read_text(), "the keepalive in the report")
    with no_packet_lost(direct):
        direct.kill("alice", "client")
        direct.start_client("alice", keepalive=10)
        direct.wait(
            lambda: direct.peer("alice", "bob").persistent_keepalive == 10, "the other keepalive"
        )


def test_the_registry_may_die_and_live_tunnels_stay(direct):
    with no_packet_lost(direct):
        direct.stop(REGISTRY, "responder")
        direct.devices[REGISTRY].stop()
        time.sleep(5)


def test_a_single_run_by_the_old_clients_flags_does_the_same_job(mesh):
    mesh.start_responder()
    for name in ("alice", "bob"):
        mesh.connect(name)
    registered = [mesh.key(name).label for name in ("alice", "bob")]
    dig = ["dig", "+short", f"@{SERVER}", f"_wireguard._udp.{ZONE}", "PTR"]
    host = mesh.lab.registry
    mesh.wait(lambda: all(r in host.run(dig).stdout for r in registered), "both in the zone")
    flags = ["client", "-device", INTERFACE, "-dns", f"{SERVER}:53", "-zone", ZONE, "--once"]
    for name in ("alice", "bob"):
        done = mesh.wgsd(name, *flags)
        assert done.returncode == 0, done.stderr
        assert "known" in done.stdout
    mesh.wait_direct("alice", "bob")
    again = mesh.wgsd("alice", *flags)
    assert again.returncode == 0
    assert "the tunnel lives" in again.stdout


def test_a_single_run_without_a_registry_says_so_and_changes_nothing(mesh):
    mesh.connect("alice")
    done = mesh.wgsd(
        "alice", "client", "--device", INTERFACE, "--dns", SERVER, "--zone", ZONE, "--once"
    )
    assert done.returncode == 3
    assert f"{SERVER}:53" in done.stderr
    assert mesh.peer("alice", "bob").endpoint is None


def test_a_server_that_refuses_is_named_in_the_log_and_changes_nothing(mesh):
    zone = {"zone": ZONE, "device": INTERFACE, "allow_query": ["10.0.0.254/32"]}
    mesh.start_responder(zones=[zone])
    mesh.connect("alice")
    mesh.start_client("alice")
    mesh.wait(lambda: "REFUSED" in mesh.log("alice", "client"), "REFUSED in the log")
    assert "allow_query" in mesh.log("alice", "client")
    time.sleep(2)
    assert mesh.log("alice", "client").count("REFUSED") == 1, "told once, not at every look"


def test_a_registry_that_comes_back_finishes_the_job(mesh):
    for name in ("alice", "bob"):
        mesh.connect(name)
        mesh.start_client(name)
    mesh.wait(
        lambda: (
            "no answer" in mesh.log("alice", "client") or "refused" in mesh.log("alice", "client")
        ),
        "fault in the log",
    )
    mesh.start_responder()
    mesh.wait_direct("alice", "bob", patience=15)


def test_a_device_that_goes_away_and_comes_back_is_connected_again(direct):
    key = direct.devices["alice"].private_key
    direct.devices["alice"].stop()
    direct.wait(lambda: INTERFACE in direct.log("alice", "client").split("direct")[-1], "gone")
    direct.devices["alice"] = direct.lab.host("alice").start_wireguard(
        INTERFACE, address="10.0.0.1/24", private_key=key
    )
    direct.add_peer("alice", "bob")
    direct.connect("alice")
    direct.wait(lambda: direct.peer("alice", "bob").last_handshake, "handshake", patience=15)


def test_a_peer_with_30_allowed_ips_is_served_and_connected_with_all_of_them(mesh):
    blocks = ["10.0.0.2/32", *(f"10.9.{number}.0/24" for number in range(29))]
    for name in ("alice", REGISTRY):
        mesh.devices[name].set("peer", str(mesh.key("bob")), "allowed-ips", ",".join(blocks))
    mesh.start_responder()
    for name in ("alice", "bob"):
        mesh.connect(name)
        mesh.start_client(name)
    mesh.wait_direct("alice", "bob")
    assert sorted(mesh.peer("alice", "bob").allowed_ips) == sorted(blocks)
    listed = json.loads(
        mesh.wgsd("alice", "peers", "--dns", SERVER, "--zone", ZONE, "--json").stdout
    )
    (bob,) = [peer for peer in listed if peer["name"] == "bob"]
    assert sorted(bob["allowed_ips"]) == sorted(blocks)


def test_a_preshared_key_survives_the_connecting(mesh):
    psk = subprocess.run(["wg", "genpsk"], check=True, capture_output=True, text=True).stdout
    for name, other in (("alice", "bob"), ("bob", "alice")):
        mesh.lab.host(name).run(
            ["wg", "set", INTERFACE, "peer", str(mesh.key(other)), "preshared-key", "/dev/stdin"],
            stdin=psk,
        )
    mesh.start_responder()
    for name in ("alice", "bob"):
        mesh.connect(name)
        mesh.start_client(name)
    mesh.wait_direct("alice", "bob")
    assert psk.strip() not in mesh.log("alice", "client")
