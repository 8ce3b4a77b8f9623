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


MISTAKES: dict[str, dict[str, t.Any]] = {
    "registry": {"wgsd_workers": "x", "wgsd_publish": [{"sever": "192.0.2.1"}]},
    "alice": {"wgsd_state": "gone"},
    "bob": {
        "wgsd_keepalive": "often",
        "wgsd_firewall": "{{ 'a' ~ 'b' }}",
        "wgsd_allowed_ips": {"a": "b"},
        "wgsd_preshared_key": True,
    },
}
TOLD = (
    "registry: argument 'wgsd_workers'",
    "registry: unsupported: wgsd_publish.sever.",
    "alice: value of wgsd_state must be one of",
    "bob: argument 'wgsd_keepalive' is",
    "bob: value of wgsd_firewall",
    "bob: argument 'wgsd_allowed_ips'",
    "bob: there is no variable wgsd_preshared_key. Is wgsd_preshared_keys meant?",
)


def test_site_holds_the_variables_of_all_hosts_against_the_specs_of_the_roles_at_once(
    mesh: PretendedMesh,
) -> None:
    for hosts in mesh.hosts.values():
        for host, variables in hosts.items():
            variables.update(MISTAKES[host])
    run = mesh.run("site")
    assert run.status != 0
    assert [told for told in TOLD if told not in run.output] == []
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
