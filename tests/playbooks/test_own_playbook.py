# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles in a playbook of one's own, as the registry's README shows it."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

pytest.importorskip("ansible")

import yaml

from tests.playbooks.pretended_mesh import PretendedMesh
from tests.unit.collection import ROOT

pytestmark = pytest.mark.unit


def test_the_playbook_of_the_readme_lets_all_hosts_know_each_other(tmp_path: pathlib.Path) -> None:
    text = (ROOT / "roles/registry/README.md").read_text(encoding="utf-8")
    (plays,) = re.findall(r"```yaml\n(- name: .*?)```", text, re.DOTALL)
    mesh = PretendedMesh(tmp_path, ["registry"], ["alice", "bob"])
    run = mesh.run([{"gather_facts": False, **play} for play in yaml.safe_load(plays)])
    assert run.status == 0, run.output
    for given in run.given("wg_interface").values():
        names = {peer["name"] for peer in json.loads(given["peers_json"])}
        assert names == {"registry", "alice", "bob"}


@pytest.mark.parametrize(("others", "is_enough"), [(["bob"], False), (["bob", "first"], True)])
def test_another_peer_with_an_endpoint_is_no_registry(
    tmp_path: pathlib.Path, others: list[str], is_enough: bool
) -> None:
    mesh = PretendedMesh(tmp_path, ["registry"], ["alice"])
    mesh.hosts["wgsd_registry"]["registry"]["wgsd_name"] = "first"
    mesh.results["alice"] = {"wgsd.mesh.wg_interface": {"peers_with_endpoint": others}}
    run = mesh.run("site", "--limit", "alice")
    assert (run.status == 0) == is_enough, run.output
    assert ("--limit alice,wgsd_registry" in run.output) != is_enough
