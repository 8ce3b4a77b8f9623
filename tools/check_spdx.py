# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check that every file of the repository says its copyright and licence in its first lines.

A file that cannot hold a comment says it in a neighbour, ``FILE.license``. Empty files and what a
tool writes or a law has written (see ``EXEMPT``) say nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# REUSE-IgnoreStart
HEADER = (
    "Copyright: (c) 2026, wgsd.mesh contributors",
    "GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "SPDX-License-Identifier: GPL-3.0-or-later",
)
# REUSE-IgnoreEnd
HEAD_BYTES = 1000
EXEMPT = {
    "LICENSE": "the licence itself",
    "LICENSES/GPL-3.0-or-later.txt": "the same, where the REUSE specification wants it",
    "CHANGELOG.rst": "written by antsibull-changelog",
    "changelogs/changelog.yaml": "written by antsibull-changelog",
}


def lacks_header(path: Path) -> bool:
    """Tell whether neither the file nor its ``.license`` neighbour begins with the header."""
    neighbour = path.with_name(path.name + ".license")
    with (neighbour if neighbour.exists() else path).open("rb") as file:
        head = file.read(HEAD_BYTES).decode(errors="replace")
    return bool(head) and not all(line in head for line in HEADER)


def main() -> int:
    """Name the files that lack the header; return the exit status."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = [Path(name) for name in listing.split("\0") if name and name not in EXEMPT]
    bad = [path for path in paths if path.is_file() and lacks_header(path)]
    for path in bad:
        print(f"{path}: lacks the licence header; see the first lines of {__file__}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
