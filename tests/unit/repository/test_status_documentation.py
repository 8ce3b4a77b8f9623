# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/status.md tells of every problem, field and variable that there is."""

from __future__ import annotations

import pathlib
import re

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.plugin_utils import _status_problems, _status_text

from tests.unit.collection import ROOT
from tests.unit.plugins.plugin_utils.meshes import Fleet, peer

pytestmark = pytest.mark.unit

PAGE = (ROOT / "docs/status.md").read_text(encoding="utf-8")


def test_each_problem_is_explained_with_its_severity():
    source = pathlib.Path(_status_problems.__file__).read_text(encoding="utf-8")
    kinds = set(re.findall(r'(?:ERROR|WARNING|NOTE), "([a-z-]+)"', source))
    kinds |= {"same-key", "same-name", "versions", "mtu"}
    assert len(kinds) > 15
    rows = re.findall(r"^\| (`.*`) \| (error|warning|note) \|", PAGE, re.MULTILINE)
    told = {kind: severity for names, severity in rows for kind in re.findall("`(.*?)`", names)}
    assert set(told) == kinds
    for severity, kind in re.findall(r'(ERROR|WARNING|NOTE), "([a-z-]+)"', source):
        assert told[kind] == severity.lower()


def test_each_field_of_the_document_is_explained():
    fleet = Fleet("alice", "bob")
    fleet.part("alice")["peers"].append(peer("phone"))
    fleet.cut("alice", "bob")
    mesh = fleet.mesh()
    found = _status_text.document(mesh, _status_problems.find_problems(mesh))
    fields = {*found, *found["problems"][0], *found["hosts"][0], *found["hosts"][0]["peers"][0]}
    machines = PAGE[PAGE.index("## For machines") :]
    for field in fields:
        assert re.search(rf"`([a-z]+\[\]\.)?{field}(\[\])?`", machines), field


def test_each_variable_of_the_playbook_is_explained():
    playbook = (ROOT / "playbooks/status.yml").read_text(encoding="utf-8")
    variables = set(re.findall(r"wgsd_status_\w+", playbook))
    assert len(variables) == 3
    for variable in variables:
        assert f"| `{variable}` |" in PAGE
