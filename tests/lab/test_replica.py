# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients follow the zone at the responder, and at Knot, through real tunnels."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import typing as t

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from wgsd.config import DNS_PORT
from wgsd.keys import PublicKey
from wgsd.names import instance_name, service_name, txt_strings

from .bare import BareLab
from .mesh import INTERFACE, PORT, SERVER, ZONE, Mesh
from .nameservers import folder_of, serving
from .responder import PYTHONS
from .topology import REGISTRY, REGISTRY_ADDRESS

pytestmark = pytest.mark.lab

PREFIX = "wgtc"
SECRET = base64.b64encode(b"the mesh's very own shared secret").decode()
#: A peer that is on no host; its records are what a test writes.
CAROL = PublicKey(b"carol's public key has 32 bytes.")
KNOT = """
server:
    rundir: "{folder}"
    user: root
    listen: "{address}@53"
database:
    storage: "{folder}"
acl:
  - id: anybody
    address: "0.0.0.0/0"
    action: [transfer, update]
zone:
  - domain: {zone}
    storage: "{folder}"
    file: zone
    acl: anybody
"""


@pytest.fixture
def mesh(request: pytest.FixtureRequest) -> t.Iterator[Mesh]:
    python = getattr(request, "param", PYTHONS["debian"])
    with BareLab(PREFIX) as lab, Mesh(lab, python) as built:
        for name in ("alice", "bob"):
            built.connect(name)
        for name in ("alice", REGISTRY):
            built.devices[name].set("peer", str(CAROL), "allowed-ips", "10.0.0.77/32")
        yield built


def zone_of(mesh: Mesh, **settings: t.Any) -> list[dict[str, t.Any]]:
    """The responder's zone with more settings."""
    return [
        {
            "zone": ZONE,
            "device": INTERFACE,
            "self": {"endpoint": f"{REGISTRY_ADDRESS}:{PORT}"},
            "names": {str(mesh.key(name)): name for name in mesh.devices},
            **settings,
        }
    ]


def move_carol(mesh: Mesh, port: int) -> float:
    """Give the registry's device another endpoint of Carol's; return the time before."""
    before = time.monotonic()
    mesh.devices[REGISTRY].set("peer", str(CAROL), "endpoint", f"198.51.100.77:{port}")
    return before


def carol_on(mesh: Mesh, name: str) -> int | None:
    """The port that a host's device has for Carol."""
    for line in mesh.devices[name].show("endpoints").splitlines():
        key, endpoint = line.split()
        if key == str(CAROL) and endpoint != "(none)":
            return int(endpoint.rpartition(":")[2])
    return None


def wait_for_carol(mesh: Mesh, name: str, port: int, since: float, patience: float) -> None:
    """Wait until a host's device has that endpoint of Carol's."""
    mesh.wait(lambda: carol_on(mesh, name) == port, f"Carol at port {port}")
    took = time.monotonic() - since
    print(f"{name} acted {took * 1000:.0f} ms after the change")
    assert took < patience, mesh.log(name, "client")


def follows(mesh: Mesh, name: str) -> bool:
    """Whether a host's client has a copy of the zone."""
    return "following the zone" in mesh.log(name, "client")


def subscribed(mesh: Mesh, name: str) -> bool:
    """Whether the responder has written down where a host's client listens."""
    path = mesh.lab.registry.path("/run/wgsd-state/followers.json")
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return any(row[1] == mesh.addresses[name] and row[2] != DNS_PORT for row in found)


@pytest.mark.alone
@pytest.mark.parametrize("mesh", PYTHONS.values(), ids=PYTHONS, indirect=True)
def test_a_change_on_the_registry_is_acted_on_at_once(mesh):
    mesh.start_responder()
    for name in ("alice", "bob"):
        mesh.start_client(name)
    mesh.wait_direct("alice", "bob")
    for port in (1001, 1002, 1003):
        wait_for_carol(mesh, "alice", port, move_carol(mesh, port), 1.0)
        # A peer that was just tried is left alone for a second.
        time.sleep(1.2)
    assert mesh.log("alice", "client").count("following the zone") == 1
    shown = mesh.wgsd("alice", "status", "--interface", INTERFACE).stdout
    assert f"follows {SERVER}:{DNS_PORT}" in shown


def test_a_registry_that_is_killed_and_comes_back_is_followed_on(mesh):
    mesh.start_responder()
    mesh.start_client("alice")
    mesh.wait(lambda: follows(mesh, "alice"), "copy of the zone")
    mesh.wait(lambda: subscribed(mesh, "alice"), "subscription on the disk")
    mesh.kill(REGISTRY, "responder")
    since = move_carol(mesh, 1002)
    mesh.start_responder()
    wait_for_carol(mesh, "alice", 1002, since, 5.0)
    assert "transferring the whole zone" not in mesh.log("alice", "client")


def test_what_changed_while_the_tunnel_was_away_is_asked_for_when_it_is_back(mesh):
    mesh.start_responder()
    mesh.start_client("alice")
    mesh.wait(lambda: follows(mesh, "alice"), "copy of the zone")
    mesh.remove_peer("alice", REGISTRY)
    mesh.remove_peer(REGISTRY, "alice")
    move_carol(mesh, 1001)
    # Longer than NOTIFY is tried again at short notice.
    time.sleep(4)
    assert carol_on(mesh, "alice") is None
    mesh.add_peer(REGISTRY, "alice")
    since = time.monotonic()
    mesh.connect("alice")
    wait_for_carol(mesh, "alice", 1001, since, 2.0)


def test_a_key_lets_a_client_follow_where_nobody_else_may(mesh):
    keys = {"mesh.": {"algorithm": "hmac-sha512", "secret": SECRET}}
    mesh.start_responder(zones=zone_of(mesh, allow_transfer=["key mesh."]), keys=keys)
    mesh.start_client("alice", key={"name": "mesh.", **keys["mesh."]})
    mesh.wait(lambda: follows(mesh, "alice"), "copy of the zone")
    for port in (1001, 1002):
        wait_for_carol(mesh, "alice", port, move_carol(mesh, port), 2.0)
        time.sleep(1.2)
    dig = ["dig", "+short", f"@{SERVER}", ZONE, "AXFR"]
    assert "failed" in mesh.lab.registry.run(dig, check=False).stdout


def test_a_signed_zone_is_followed_by_differences_too(mesh):
    mesh.start_responder(zones=zone_of(mesh, dnssec=True))
    mesh.start_client("alice")
    mesh.wait(lambda: follows(mesh, "alice"), "copy of the zone")
    for port in (1001, 1002):
        wait_for_carol(mesh, "alice", port, move_carol(mesh, port), 2.0)
        time.sleep(1.2)
    assert "transferring the whole zone" not in mesh.log("alice", "client")


def test_where_transfers_are_refused_each_peer_is_asked_for(mesh):
    mesh.start_responder(zones=zone_of(mesh, allow_transfer=["192.0.2.99/32"]))
    for name in ("alice", "bob"):
        mesh.start_client(name)
    mesh.wait_direct("alice", "bob")
    wait_for_carol(mesh, "alice", 1001, move_carol(mesh, 1001), 2.0)
    log = mesh.log("alice", "client")
    assert "looking up each peer by itself" in log
    assert not follows(mesh, "alice")


@contextlib.contextmanager
def knot_with_carol(mesh: Mesh) -> t.Iterator[t.Callable[[int], None]]:
    """Run Knot as the zone's primary; gives what moves Carol in it."""
    host = mesh.lab.registry
    folder = folder_of("knot")
    host.path(folder).mkdir()
    host.path(f"{folder}/zone").write_text(
        f"{ZONE} 300 SOA ns1.{ZONE} hostmaster.{ZONE} 100 60 60 600 5\n"
        f"{ZONE} 300 NS ns1.{ZONE}\nns1.{ZONE} 300 A {SERVER}\n",
        encoding="utf-8",
    )
    name = instance_name(CAROL, ZONE)

    def publish(port: int) -> None:
        update = dns.update.Update(ZONE)
        update.replace(service_name(ZONE), 10, "PTR", name)
        update.replace(name, 10, "SRV", f"0 0 {port} {name}")
        update.replace(name, 10, "A", "198.51.100.77")
        texts = " ".join(f'"{text}"' for text in txt_strings(CAROL, ["10.0.0.77/32"]))
        update.replace(name, 10, "TXT", texts)
        with host.network():
            assert dns.query.tcp(update, SERVER, timeout=5).rcode() == dns.rcode.NOERROR

    config = KNOT.format(folder=folder, address=SERVER, zone=ZONE)
    with serving(host, "knot", SERVER, config):
        yield publish


def test_knot_is_followed_as_well_though_it_notifies_no_client(mesh):
    with knot_with_carol(mesh) as publish:
        mesh.start_client("alice")
        mesh.wait(lambda: follows(mesh, "alice"), "copy of the zone")
        for port in (1001, 1002):
            since = time.monotonic()
            publish(port)
            wait_for_carol(mesh, "alice", port, since, 2.0)
            time.sleep(1.2)
        listed = mesh.wgsd("alice", "peers", "--dns", SERVER, "--zone", ZONE)
        assert str(CAROL) in listed.stdout, listed.stderr
