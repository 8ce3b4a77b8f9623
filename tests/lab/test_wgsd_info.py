# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wgsd_info with a real responder and real WireGuard."""

from __future__ import annotations

import base64
import json
import os
import typing as t

import pytest

from .bare import BareLab
from .mesh import PORT, SERVER, ZONE, Mesh
from .module import run_module
from .topology import REGISTRY

pytestmark = pytest.mark.lab

KEY = {"name": "mesh.example.com.", "secret": base64.b64encode(os.urandom(32)).decode()}


@pytest.fixture
def mesh() -> t.Iterator[Mesh]:
    """Alice and Bob are known at the registry and not to each other."""
    with BareLab("zinfo") as lab, Mesh(lab) as built:
        for name in ("alice", "bob"):
            built.connect(name)
            built.wait(
                lambda name=name: built.peer(REGISTRY, name).last_handshake > 0,
                f"{name} at the registry",
            )
        yield built


def wgsd_info(mesh: Mesh, **options: t.Any) -> dict[str, t.Any]:
    flags = {flag: options.pop(flag) for flag in ("check_mode", "fails") if flag in options}
    where = {"zone": ZONE, "servers": [SERVER]}
    return run_module(mesh.lab.host("alice"), "wgsd_info", {**where, **options}, **flags)


def whole(mesh: Mesh, **options: t.Any) -> dict[str, t.Any]:
    """The zone once all three are in it with their endpoints."""

    def told() -> dict[str, t.Any] | None:
        result = wgsd_info(mesh, **options)
        with_endpoint = [peer for peer in result["peers"] if peer["endpoint"]]
        return result if len(with_endpoint) == 3 else None

    return mesh.wait(told, "three endpoints in the zone")


def serial(mesh: Mesh) -> int:
    """What dig says."""
    command = ["dig", "+short", f"@{SERVER}", ZONE, "SOA"]
    return int(mesh.lab.host("alice").run(command).stdout.split()[2])


def test_tells_the_zone_as_the_registry_sees_it(mesh):
    mesh.start_responder()
    told = whole(mesh)
    assert (told["zone"], told["server"]) == (ZONE, f"{SERVER}:53")
    assert told["serial"] == serial(mesh)
    assert told["failures"] == {}
    assert [peer["name"] for peer in told["peers"]] == ["alice", "bob", REGISTRY]
    bob = told["peers"][1]
    outside = mesh.peer(REGISTRY, "bob").endpoint
    assert bob == {
        "name": "bob",
        "public_key": str(mesh.key("bob")),
        "endpoint": str(outside),
        "address": mesh.lab.host("bob").outside,
        "port": outside.port,
        "allowed_ips": [f"{mesh.addresses['bob']}/32"],
        "instance": f"{mesh.key('bob').label}._wireguard._udp.{ZONE}",
    }
    assert told["peers"][2]["endpoint"] == f"{mesh.lab.registry.address}:{PORT}"
    assert wgsd_info(mesh, check_mode=True) == told
    assert not told.get("changed", False)
    dig = ["dig", "+short", f"@{SERVER}", bob["instance"], "SRV"]
    assert mesh.lab.host("alice").run(dig).stdout.split()[2] == str(bob["port"])


def test_a_server_that_is_out_of_reach_is_named_with_a_remedy_and_the_next_one_is_asked(mesh):
    failed = wgsd_info(mesh, servers=["10.0.0.99", f"{SERVER}:5353"], timeout=0.2, fails=True)
    assert "10.0.0.99:53: " in failed["msg"]
    assert f"{SERVER}:5353: " in failed["msg"]
    assert "check the tunnel to the registry and that its responder runs" in failed["msg"]
    mesh.start_responder()
    servers = ["10.0.0.99", SERVER]
    assert whole(mesh, servers=servers, timeout=0.2)["server"] == f"{SERVER}:53"


def test_a_zone_that_is_not_served_is_an_error(mesh):
    mesh.start_responder()
    failed = wgsd_info(mesh, zone="example.net.", fails=True)
    assert "REFUSED" in failed["msg"]
    assert "check the server's zones" in failed["msg"]


def test_a_server_that_does_not_transfer_and_wants_a_key_is_asked_with_it(mesh):
    keys = {KEY["name"]: {"secret": KEY["secret"]}}
    zone = {
        "zone": ZONE,
        "device": "wg0",
        "self": {"endpoint": mesh.registry_endpoint, "allowed_ips": [SERVER]},
        "names": {str(mesh.key(name)): name for name in mesh.devices},
        "allow_query": ["tunnel"],
        "allow_transfer": [f"key {KEY['name']}"],
    }
    mesh.start_responder(keys=keys, zones=[zone])
    browsed, transferred = whole(mesh), whole(mesh, key=KEY)
    assert browsed["peers"] == transferred["peers"]
    assert browsed["serial"] == transferred["serial"] == serial(mesh)
    assert KEY["secret"] not in json.dumps(transferred)
    other = {**KEY, "secret": base64.b64encode(bytes(32)).decode()}
    failed = wgsd_info(mesh, key=other, fails=True)
    assert "check the key on both sides" in failed["msg"]
    assert other["secret"] not in json.dumps(failed)
