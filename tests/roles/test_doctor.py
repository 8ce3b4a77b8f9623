# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook doctor on real hosts: it names what is wrong, changes nothing, tells no secret."""

from __future__ import annotations

import base64
import os

import pytest

from tests.roles.site_playbook import Run, Site
from tests.roles.test_site import wait_for_ping

pytestmark = pytest.mark.roles


def doctor(site: Site, *arguments: str, one: str = "alice", other: str = "bob") -> Run:
    """Ask why a host does not reach another one."""
    case = ("-e", f"wgsd_from={one}", "-e", f"wgsd_to={other}")
    run = site.run(*case, *arguments, playbook="wgsd.mesh.doctor")
    assert not any(run.count("changed").values()), run.output
    return run


@pytest.mark.parametrize("mode", [(), pytest.param(("--check",), marks=pytest.mark.long)])
def test_a_mesh_that_is_well_is_left_as_it_is(mesh: Site, mode: tuple[str, ...]) -> None:
    wait_for_ping(mesh, "alice", "10.0.0.2")
    before = mesh.state()
    run = doctor(mesh, *mode)
    assert run.status == 0, run.output
    assert "alice reaches bob: round trip " in run.output
    assert "All is well." in run.output
    assert mesh.state() == before


def test_a_responder_that_is_stopped_is_named_with_the_remedy(mesh: Site) -> None:
    registry = mesh.lab.host("registry")
    registry.run(["systemctl", "stop", "wgsd-responder"])
    try:
        run = doctor(mesh)
    finally:
        registry.run(["systemctl", "start", "wgsd-responder"])
    assert run.status == 2, run.output
    assert "the responder on registry does not run" in run.output
    assert "wgsd-responder is inactive" in run.output
    assert "on registry: systemctl start wgsd-responder" in run.output


@pytest.mark.long
def test_symmetric_nats_are_told_by_where_the_registry_sees_the_hosts(mesh: Site) -> None:
    for letter in ("a", "b"):
        mesh.lab.router(letter).set_nat("symmetric")
    try:
        run = doctor(mesh)
    finally:
        for letter in ("a", "b"):
            mesh.lab.router(letter).set_nat("port-restricted")
    print(run.output)
    assert run.status == 2, run.output
    assert "the NATs of alice and bob are both symmetric" in run.output
    wait_for_ping(mesh, "alice", "10.0.0.2", patience=240)


def test_a_preshared_key_that_only_one_has_is_named_and_never_shown(mesh: Site) -> None:
    secret = base64.b64encode(os.urandom(32)).decode()
    alice, bob = mesh.lab.host("alice"), mesh.lab.host("bob")
    key = bob.run(["wg", "show", "wg0", "public-key"]).stdout.strip()
    file = alice.run(["cat", "/etc/wireguard/wg0.conf"]).stdout
    private = file.partition("PrivateKey = ")[2].split()[0]
    script = f"echo {secret} > /run/psk; wg set wg0 peer {key} preshared-key /run/psk"
    alice.run(["sh", "-c", script])
    try:
        run = doctor(mesh, "-vvv")
    finally:
        alice.run(["wg", "set", "wg0", "peer", key, "preshared-key", "/dev/null"])
    assert run.status == 2, run.output
    assert "alice has a preshared key for bob, and bob has none" in run.output
    assert private
    assert secret not in run.output
    assert private not in run.output


def test_a_host_that_is_down_is_told_and_the_others_examined(mesh: Site) -> None:
    bob = mesh.lab.host("bob")
    bob.kill()
    try:
        run = doctor(mesh)
    finally:
        bob.start()
    assert run.status == 2, run.output
    assert "alice does not reach bob." in run.output
    assert "bob could not be examined" in run.output
    assert run.count("unreachable")["alice"] == 0


@pytest.mark.long
def test_a_registry_that_is_down_is_told_while_direct_tunnels_go_on(mesh: Site) -> None:
    wait_for_ping(mesh, "alice", "10.0.0.2", patience=240)
    registry = mesh.lab.host("registry")
    registry.kill()
    try:
        run = doctor(mesh)
    finally:
        registry.start()
    print(run.output)
    assert run.status == 2, run.output
    assert "alice reaches bob: round trip " in run.output
    assert "registry does not answer on WireGuard's port" in run.output
    assert "registry could not be examined" in run.output


@pytest.mark.long
def test_the_registry_may_be_one_of_the_two(mesh: Site) -> None:
    wait_for_ping(mesh, "alice", "10.0.0.254")
    run = doctor(mesh, other="registry")
    assert run.status == 0, run.output
    assert "alice reaches registry: round trip " in run.output


@pytest.mark.parametrize("other", ["alice", "carol"])
def test_two_hosts_of_the_mesh_must_be_named(mesh: Site, other: str) -> None:
    run = mesh.run("-e", "wgsd_from=alice", "-e", f"wgsd_to={other}", playbook="wgsd.mesh.doctor")
    assert run.status != 0
    assert "Name two hosts of the mesh" in run.output


@pytest.mark.parametrize(
    "variable", ["wgsd_via=bob", "wgsd_via=", "wgsd_doctor_seconds=0", "wgsd_doctor_port=https"]
)
def test_a_way_of_examining_that_there_is_not(mesh: Site, variable: str) -> None:
    case = ("-e", "wgsd_from=alice", "-e", "wgsd_to=bob", "-e", variable)
    run = mesh.run(*case, playbook="wgsd.mesh.doctor")
    assert run.status != 0
    assert "wgsd_via must name a host of the group wgsd_registry (registry)" in run.output
