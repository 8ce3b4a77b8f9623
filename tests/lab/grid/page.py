# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the last grid into docs/nat-grid.md, between the marks that are there for it."""

from __future__ import annotations

import pathlib
import typing as t

from tests.lab.errors import LabError

from .report import as_markdown
from .runner import Result

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "nat-grid.md"
_BEGIN = "<!-- grid: begin -->"
_END = "<!-- grid: end -->"


def write(results: t.Sequence[Result]) -> None:
    """Write the table into the page.

    Raises:
        LabError: the marks are not in the page.
    """
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _old, end, after = rest.partition(_END)
    if not begin or not end:
        raise LabError(f"{PAGE}: the marks for the grid are not there")
    PAGE.write_text(f"{before}{begin}\n\n{as_markdown(results)}\n{end}{after}", encoding="utf-8")
