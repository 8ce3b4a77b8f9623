# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docs/controller.md shows is what the role, the lookup and the inventory take."""

from __future__ import annotations

import configparser
import re

import pytest
import yaml

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.doc_fragments.zone import ModuleDocFragment
from ansible_collections.wgsd.mesh.plugins.inventory import wgsd as inventory
from ansible_collections.wgsd.mesh.plugins.lookup import wgsd as lookup

from tests.unit.collection import ROOT

pytestmark = pytest.mark.unit

PAGE = (ROOT / "docs" / "controller.md").read_text(encoding="utf-8")
REGISTRY, VARIABLES, USES, SOURCE = map(
    yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
)
(INI,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
SHARED = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]


def test_the_role_has_the_variables_of_the_registry():
    specs = yaml.safe_load((ROOT / "roles/registry/meta/argument_specs.yml").read_text())
    assert set(REGISTRY) <= set(specs["argument_specs"]["main"]["options"])


def test_variables_and_ini_keys_set_options():
    assert set(VARIABLES) <= {one["name"] for option in SHARED.values() for one in option["vars"]}
    ini = configparser.ConfigParser()
    ini.read_string(INI)
    for section in ini.sections():
        for key in ini[section]:
            assert {"section": section, "key": key} in SHARED[key]["ini"]


def test_lookups_have_the_options_that_they_are_given():
    options = {*SHARED, *yaml.safe_load(lookup.DOCUMENTATION)["options"]}
    given = re.findall(r"(\w+)=", " ".join(USES.values()))
    assert len(given) >= 3
    assert set(given) <= options


def test_the_inventory_has_the_options_of_the_source():
    options = {*SHARED, *yaml.safe_load(inventory.DOCUMENTATION)["options"]}
    assert set(SOURCE) <= {*options, "groups"}


def test_links_lead_somewhere():
    for page in ("README.md", "docs/controller.md"):
        for link in re.findall(r"\]\((?!http|#)([^)#]+)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / link).exists(), link
