# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wg_endpoint with a real responder, real WireGuard and real NATs."""

from __future__ import annotations

import typing as t

import pytest

from .bare import BareLab
from .mesh import INTERFACE, SERVER, ZONE, Mesh
from .module import run_module
from .topology import REGISTRY

pytestmark = pytest.mark.lab

NOBODY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture
def mesh() -> t.Iterator[Mesh]:
    """Alice and Bob are known at the registry and not to each other."""
    with BareLab("wgep") as lab, Mesh(lab) as built:
        built.start_responder()
        for name in ("alice", "bob"):
            built.connect(name)
            built.wait(
                lambda name=name: built.peer(REGISTRY, name).last_handshake > 0,
                f"{name} at the registry",
            )
        yield built


def wg_endpoint(mesh: Mesh, host: str, **options: t.Any) -> dict[str, t.Any]:
    flags = {flag: options.pop(flag) for flag in ("check_mode", "fails") if flag in options}
    where = {"interface": INTERFACE, "zone": ZONE, "servers": [SERVER]}
    return run_module(mesh.lab.host(host), "wg_endpoint", {**where, **options}, **flags)


def seen_by_the_zone(mesh: Mesh) -> None:
    """Wait until the responder serves both peers."""
    mesh.wait(
        lambda: mesh.wgsd("alice", "peers", "--dns", SERVER, "--zone", ZONE).stdout.count(":") >= 3,
        "three endpoints in the zone",
    )


def test_connects_all_peers_but_the_registry_and_predicts_it(mesh):
    seen_by_the_zone(mesh)
    bob = str(mesh.key("bob"))
    predicted = wg_endpoint(mesh, "alice", check_mode=True)
    assert mesh.peer("alice", "bob").endpoint is None
    done = wg_endpoint(mesh, "alice")
    assert predicted == done
    assert done["changed"]
    (result,) = done["peers"]
    assert (result["public_key"], result["before"], result["changed"]) == (bob, None, True)
    assert result["after"].startswith(mesh.lab.host("bob").outside)
    assert done["diff"]["after"] == f"{bob} {result['after']}\n"
    assert not wg_endpoint(mesh, "alice")["changed"]

    wg_endpoint(mesh, "bob")
    mesh.wait_direct("alice", "bob")
    again = wg_endpoint(mesh, "alice")
    assert not again["changed"]
    assert again["peers"][0]["state"] == "direct"


def test_leaves_a_tunnel_that_lives_where_it_is_unless_forced(mesh):
    seen_by_the_zone(mesh)
    for name in ("alice", "bob"):
        wg_endpoint(mesh, name)
    mesh.wait_direct("alice", "bob")
    device = mesh.devices["alice"]
    device.set("peer", str(mesh.key("bob")), "endpoint", "192.0.2.99:51820")
    assert not wg_endpoint(mesh, "alice")["changed"]
    forced = wg_endpoint(mesh, "alice", force=True)
    assert forced["peers"][0]["before"] == "192.0.2.99:51820"
    assert str(mesh.peer("alice", "bob").endpoint) == forced["peers"][0]["after"]


def test_fails_for_a_peer_that_was_asked_for_and_sets_the_others(mesh):
    seen_by_the_zone(mesh)
    bob = str(mesh.key("bob"))
    failed = wg_endpoint(mesh, "alice", public_keys=[NOBODY, bob], fails=True)
    assert f"peer {NOBODY}: it is not on the interface" in failed["msg"]
    assert [peer["state"] for peer in failed["peers"]] == ["failed", "known"]
    assert mesh.peer("alice", "bob").endpoint is not None

    mesh.devices["alice"].set("peer", NOBODY, "allowed-ips", "10.0.0.99/32")
    failed = wg_endpoint(mesh, "alice", public_keys=[NOBODY], fails=True)
    assert f"peer {NOBODY}: the zone {ZONE} does not have it" in failed["msg"]
    everyone = wg_endpoint(mesh, "alice")
    assert {peer["state"] for peer in everyone["peers"]} == {"unknown", "punching"}


def test_changes_nothing_when_no_server_answers(mesh):
    before = mesh.devices["alice"].show()
    failed = wg_endpoint(
        mesh, "alice", servers=["10.0.0.99", "10.0.0.98:5353"], timeout=0.1, fails=True
    )
    assert "no answer within 0.1 s" in failed["msg"]
    assert mesh.devices["alice"].show().splitlines()[0] == before.splitlines()[0]
    assert mesh.peer("alice", "bob").endpoint is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"interface": "wg77"}, "no WireGuard device wg77"),
        ({"servers": ["10.0.0.300"]}, "10.0.0.300"),
        ({"servers": []}, "no DNS server"),
        ({"zone": "example..com"}, "bad label"),
        ({"public_keys": ["bob"]}, "'bob' is not a WireGuard public key"),
        ({"keepalive": 70000}, "keepalive: 70000 is out of range"),
    ],
)
def test_names_what_cannot_be_used(mesh, options, complaint):
    assert complaint in wg_endpoint(mesh, "alice", **options, fails=True)["msg"]
