# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of the house: imports run down, third-party imports stand in one place."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from tests.unit.collection import MODULE_UTILS, ROOT

pytestmark = pytest.mark.unit

ENGINE = MODULE_UTILS / "wgsd"
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


def the_picture() -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Return what the first picture of docs/architecture.md has: the box of a part, and arrows."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = text.partition("```mermaid")[2].partition("```")[0].splitlines()
    boxes: dict[str, str] = {}
    arrows = set()
    for line in lines:
        if box := re.fullmatch(r'\s*(\w+)\["([^"(]*)(?:\(.*\))?"\]', line):
            boxes |= {part.strip(): box[1] for part in box[2].split("·")}
        elif arrow := re.fullmatch(r"\s*(\w+) --> (\w+)", line):
            arrows.add((arrow[1], arrow[2]))
    return boxes, arrows


def drawn_and_there() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the arrows of the picture, and the imports that there are between its boxes."""
    boxes, arrows = the_picture()
    there = set()
    for path in FILES:
        own = boxes[part_of(path)]
        there |= {(own, boxes[part]) for part in imports_of(path)}
    for path in (ROOT / "plugins").rglob("*.py"):
        if not path.is_relative_to(ENGINE):
            parts = re.findall(
                r"from (?:\S+module_utils)?\.wgsd(?:\.(\w+))?\S* import\s+\(?\s*(\w+)",
                path.read_text(),
            )
            names = {one or other for one, other in parts} - {"__version__"}
            there |= {("faces", boxes[name]) for name in names}
    return arrows, {arrow for arrow in there if arrow[0] != arrow[1]}


def test_every_part_has_a_box_in_the_picture():
    boxes, _arrows = the_picture()
    assert {part_of(path) for path in FILES} <= boxes.keys()


def test_every_arrow_of_the_picture_is_an_import():
    drawn, there = drawn_and_there()
    assert len(drawn) > 15
    assert drawn - there == set()


def test_every_import_goes_along_the_arrows_of_the_picture():
    drawn, there = drawn_and_there()
    ways = set(drawn)
    for _length in drawn:
        ways |= {(one, last) for one, middle in ways for first, last in drawn if middle == first}
    assert there - ways == set()
    assert all(one != other for one, other in ways), "the picture has a circle"
