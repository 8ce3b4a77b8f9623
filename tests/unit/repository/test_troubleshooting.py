# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/troubleshooting.md shows what the doctor says, of all that the lab has made."""

from __future__ import annotations

import importlib.util
import re
import typing as t
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.plugin_utils import _causes, _diagnosis

from tests.unit.collection import ROOT

pytestmark = pytest.mark.unit

TOOL = ROOT / "tools" / "troubleshooting.py"


@pytest.fixture(scope="module")
def tool() -> t.Any:
    spec = importlib.util.spec_from_file_location("troubleshooting", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_output_in_it_is_what_the_doctor_says(tool: t.Any) -> None:
    page = tool.PAGE.read_text(encoding="utf-8")
    assert tool.renewed(page) == page, "run tools/troubleshooting.py"


def test_all_that_was_found_in_the_lab_is_in_it(tool: t.Any) -> None:
    names = {path.stem for path in tool.FINDINGS.glob("*.json")}
    assert set(tool.shown(tool.PAGE.read_text(encoding="utf-8"))) == names


def test_every_cause_has_a_row_in_its_table(tool: t.Any) -> None:
    page = tool.PAGE.read_text(encoding="utf-8")
    code = "".join(
        Path(module.__file__ or "").read_text(encoding="utf-8") for module in (_causes, _diagnosis)
    )
    told = set(re.findall(r'Cause\(\s*"(\w+)"', code)) | {"registry_port", "firewall"}
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert rows == told
