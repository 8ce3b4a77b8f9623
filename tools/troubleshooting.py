# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the outputs in docs/troubleshooting.md what the doctor says of what the lab has found.

The lab's tests write down what they find:

    WGSD_DOCTOR_RECORD=tests/unit/plugins/plugin_utils/findings pytest tests/lab/test_doctor_*.py

and this makes the outputs of it. Each lies below a line ``<!-- doctor: NAME -->``. With ``--check``
nothing is written, and the exit status is 1 if something would be.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
FINDINGS = ROOT / "tests" / "unit" / "plugins" / "plugin_utils" / "findings"
_BLOCK = re.compile(r"(<!-- doctor: (\S+) -->\n\n?```text\n)(.*?)(```\n)", re.DOTALL)


def output(name: str) -> str:
    """Return what the doctor says of the findings with a name."""
    from ansible_collections.wgsd.mesh.plugins.plugin_utils._diagnosis import diagnose

    findings = json.loads((FINDINGS / f"{name}.json").read_text(encoding="utf-8"))
    return "".join(f"{line}\n" for line in diagnose(findings)["lines"])


def shown(text: str) -> list[str]:
    """Return the names of the findings whose outputs a page shows."""
    return [match.group(2) for match in _BLOCK.finditer(text)]


def renewed(text: str) -> str:
    """Return the page with its outputs as they are now."""
    return _BLOCK.sub(
        lambda match: match.group(1) + output(match.group(2)) + match.group(4),
        text,
    )


def main() -> int:
    sys.path[:0] = [str(ROOT / ".collections")]
    before = PAGE.read_text(encoding="utf-8")
    after = renewed(before)
    if after == before:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE}: outputs are not what the doctor says; run {sys.argv[0]}", file=sys.stderr)
        return 1
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
