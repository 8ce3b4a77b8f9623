# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docs/configuration.md shows is taken as it is; pages and links lead to all there is."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import pytest

from tests.unit.collection import ROOT
from wgsd import config

pytestmark = pytest.mark.unit

DOCS = ROOT / "docs"
PAGE = (DOCS / "configuration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
LOADERS = {"responder": config.load_responder, "client": config.load_client}


@pytest.mark.parametrize(("kind", "block"), list(zip(LOADERS, BLOCKS)))
def test_the_example_is_valid_and_uses_every_field(
    kind: str, block: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "example.yml"
    path.write_text(block)
    settings = LOADERS[kind](path)
    for part in (settings, *getattr(settings, "zones", ())):
        for field in dataclasses.fields(part):
            assert getattr(part, field.name) not in (None, (), {}), field.name


@pytest.mark.parametrize(
    ("prefix", "block"),
    [("", BLOCKS[0]), ("zones[].", BLOCKS[0].partition("zones:")[2].partition("catalog:")[0])],
)
def test_each_field_of_the_responder_is_explained(prefix: str, block: str) -> None:
    indent = "    " if prefix else ""
    fields = re.findall(rf"^{indent}(\w+):", block, re.MULTILINE)
    assert len(fields) >= 7
    for field in fields:
        assert f"| `{prefix}{field}` |" in PAGE


PAGES = sorted(
    path
    for path in DOCS.parent.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(DOCS.parent).parts)
)


def anchors(page: pathlib.Path) -> set[str]:
    """Return what a link to a part of *page* may name, as GitHub makes it of its headings."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("https:", "http:", "mailto:")):
            continue
        name, _hash, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_what_the_collection_has_is_on_one_page() -> None:
    root = DOCS.parent
    kinds = ("plugins/modules", "plugins/lookup", "plugins/inventory", "plugins/filter")
    found = [path for kind in kinds for path in (root / kind).glob("[!_]*.py")]
    found += [*(root / "playbooks").glob("*.yml"), *(root / "roles").glob("[!_]*")]
    assert len(found) > 20
    page = (DOCS / "content.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`wgsd\.mesh\.(\w+)`", page))
    assert named == {path.stem for path in found}


def test_each_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", index)}
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


def test_there_are_pages_and_links() -> None:
    assert len(PAGES) > 8
    assert len(re.findall(r"\]\(([^)]+)\)", PAGE)) > 5
