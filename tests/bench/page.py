# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the last figures into docs/performance.md, between the marks that are there for them."""

from __future__ import annotations

import pathlib
import typing as t

from tests.lab.errors import LabError

from .stats import markdown

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "performance.md"
#: What runs on either kind of device, and may be of interest on both.
CLIENT = ("handshake", "roaming", "fleet")
_BEGIN = "<!-- figures of {}: begin -->"
_END = "<!-- figures of {}: end -->"


def write(results: t.Mapping[str, t.Any]) -> None:
    """Write the figures of each benchmark that was run.

    Raises:
        LabError: the marks are not in the page.
    """
    page = PAGE.read_text(encoding="utf-8")
    makers = dict.fromkeys(("responder", "zone", "converged", "controller"), _table)
    for name, make in {**makers, "soak": _soak}.items():
        if name in results:
            page = _replace(page, name, make(results[name]))
    for name in CLIENT:
        found = [results[key] for key in (name, title(name, "kernel")) if key in results]
        if found:
            page = _replace(page, name, "\n\n".join(map(_table, found)))
    PAGE.write_text(page, encoding="utf-8")
    print(f"written: {PAGE.name}")


def title(name: str, kind: str) -> str:
    """Return what the figures of a benchmark are called among the results.

    Args:
        kind: Of the WireGuard devices: ``kernel`` or ``userspace``.
    """
    return f"{name}, kernel" if name in CLIENT and kind == "kernel" else name


def _replace(page: str, name: str, figures: str) -> str:
    before, begin, rest = page.partition(_BEGIN.format(name))
    _old, end, after = rest.partition(_END.format(name))
    if not begin or not end:
        raise LabError(f"{PAGE}: the marks for the figures of {name} are not there")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


def _table(found: t.Mapping[str, t.Any]) -> str:
    machine = found["machine"]
    lines = [
        f"Measured {found['when'][:10]} at {found['commit']}: {machine['cpus']} cores,"
        f" {machine['cpu'] or 'unknown processor'}, Linux {machine['kernel']},"
        f" Python {machine['python']}.",
        *[f"Note: {note}." for note in found["notes"]],
        markdown(found["rows"]),
    ]
    return "\n\n".join(lines)


def _soak(found: t.Mapping[str, t.Any]) -> str:
    lines = [f"{found['seconds'] / 60:.0f} minutes, {found['when'][:10]} at {found['commit']}:", ""]
    lines += ["| | |", "|---|---|"]
    for name, value in found.items():
        if name not in ("when", "commit", "seconds", "faults"):
            shown = (
                "; ".join(f"{key}: {one}" for key, one in value.items())
                if isinstance(value, dict)
                else value
            )
            lines.append(f"| {name.strip()} | {shown} |")
    lines.append(f"| faults | {'; '.join(found['faults']) or 'none'} |")
    return "\n".join(lines)
