# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A page of the documentation is read as what it makes its reader do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.roles.documents import Command, File, read

pytestmark = pytest.mark.unit
PAGE = """
# Page

```yaml
# group_vars/all.yml
a: 1
```

```yaml
no: file
```

```console
$ one --flag
…
total 3
alice# two
```
"""


def test_files_and_commands_come_in_the_order_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert read(page) == [
        File("group_vars/all.yml", "# group_vars/all.yml\na: 1\n"),
        Command(None, "one --flag", "…\ntotal 3"),
        Command("alice", "two", ""),
    ]


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("…\ntotal 3", "a\nb\ntotal 3\n", True),
        ("…\ntotal 3", "total 3", True),
        ("…\ntotal 3", "total 4", False),
        ("total 3", "total 3\nand more", False),
        ("total 3\n…", "total 3\nand more", True),
        ("a … c", "a  b  c", True),
        ("a … c", "a b\nc", False),
        (f"key {'a' * 43}=", f"key +{'b' * 42}=", True),
        ("", "", True),
        ("", "something", False),
        ("bob  3 s ago  192.0.2.20:61907", "bob  1 m 4 s ago  192.0.2.20:64011", True),
        ("bob  3 s ago  192.0.2.20:61907", "bob  3 s ago  192.0.2.21:61907", False),
        ("bob  3 s ago  192.0.2.20:61907", "bob  never  192.0.2.20:61907", False),
    ],
)
def test_output_is_compared_but_for_what_differs_from_run_to_run(
    expected: str, actual: str, same: bool
) -> None:
    assert Command(None, "", expected).printed(actual) is same
