# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mistake in the variables of one host stops the run before the first host is changed."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

pytest.importorskip("ansible")

from tests.playbooks.pretended_mesh import PretendedMesh

pytestmark = pytest.mark.unit


@pytest.fixture
def mesh(tmp_path: pathlib.Path) -> PretendedMesh:
    return PretendedMesh(tmp_path, ["registry"], ["alice", "bob"])


@pytest.mark.parametrize(
    ("group", "host", "variables", "told"),
    [
        ("wgsd_peers", "bob", {"wgsd_keepalive": "often"}, "bob: argument 'wgsd_keepalive' is"),
        ("wgsd_peers", "bob", {"wgsd_firewall": "{{ 'a' ~ 'b' }}"}, "bob: value of wgsd_firewall"),
        ("wgsd_peers", "bob", {"wgsd_allowed_ips": {"a": "b"}}, "bob: argument 'wgsd_allowed_ips'"),
        ("wgsd_registry", "registry", {"wgsd_workers": "x"}, "registry: argument 'wgsd_workers'"),
        (
            "wgsd_registry",
            "registry",
            {"wgsd_publish": [{"sever": "192.0.2.1"}]},
            "registry: unsupported: wgsd_publish.sever.",
        ),
        ("wgsd_peers", "bob", {"wgsd_preshared_key": True}, "Is wgsd_preshared_keys meant?"),
        ("wgsd_peers", "alice", {"wgsd_state": "gone"}, "value of wgsd_state must be one of"),
    ],
)
def test_site_holds_the_variables_against_the_specs_of_the_roles(
    mesh: PretendedMesh, group: str, host: str, variables: dict[str, t.Any], told: str
) -> None:
    mesh.hosts[group][host].update(variables)
    run = mesh.run("site")
    assert run.status != 0
    assert told in run.output
    assert not run.calls


def test_a_template_may_use_what_only_the_role_knows(mesh: PretendedMesh) -> None:
    mesh.variables["wgsd_client_metrics_file"] = "/run/{{ wgsd_interface }}.prom"
    mesh.variables["wgsd_mtu"] = "{{ omit }}"
    run = mesh.run("site")
    assert run.status == 0, run.output
    given = run.given("wgsd_client")["alice"]
    assert given["metrics_file"] == "/run/wg0.prom"


def test_a_mistake_of_a_host_that_is_not_in_the_run_stops_nobody(mesh: PretendedMesh) -> None:
    mesh.hosts["wgsd_peers"]["bob"]["wgsd_keepalive"] = "often"
    run = mesh.run("site", "--limit", "registry,alice")
    assert run.status == 0, run.output
