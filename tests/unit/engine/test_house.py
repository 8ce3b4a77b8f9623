# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of the house: imports run down, third-party imports stand in one place."""

from __future__ import annotations

import ast
import pathlib

import pytest

pytestmark = pytest.mark.unit

ROOT = pathlib.Path(__file__).parents[3]
ENGINE = ROOT / "plugins" / "module_utils" / "wgsd"
#: The floors, lowest first; what stands on one may import what stands below, never beside it.
FLOORS = (
    ("clock", "errors", "privileges", "systemd", "table"),
    ("thirdparty", "keys"),
    ("model",),
    ("names",),
    ("config", "plan", "device"),
    ("zone", "directory", "takeover"),
    ("replica",),
    ("responder", "client"),
    ("status",),
    ("cli",),
    ("__main__",),
)


def imports_of(path: pathlib.Path) -> set[str]:
    """Return the engine's parts that a file imports, a package counting as one part."""
    found: set[str] = set()
    inside = len(path.relative_to(ENGINE).parts) - 1
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == inside + 1:
            names = [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
            found.update(names)
    return found - {"__version__"}


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(ENGINE).parts[0].removesuffix(".py")


FILES = sorted(path for path in ENGINE.rglob("*.py") if path != ENGINE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_imports_run_down(path):
    floors = {part: number for number, parts in enumerate(FLOORS) for part in parts}
    own = floors[part_of(path)]
    assert {part for part in imports_of(path) if floors[part] >= own} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_libraries_are_imported_in_one_place_and_ansible_nowhere(path):
    if path.name == "thirdparty.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in (
                "ansible",
                "dns",
                "prometheus_client",
                "pyroute2",
                "yaml",
            )
