# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check that every role's defaults and its argument specification tell the same.

Each variable of ``defaults/main.yml`` is an option of ``meta/argument_specs.yml`` with the same
default, and each default that the specification documents is really set there.
"""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import yaml


def load(path: Path) -> dict[str, t.Any]:
    """Return a YAML mapping, empty when the file is not there or says nothing."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def differences(role: Path) -> list[str]:
    """Say where the role's defaults and its specification part, one line for each variable."""
    specs = role / "meta/argument_specs.yml"
    if not specs.exists():
        return [f"{specs}: missing; every role documents its variables there"]
    options = {
        name: option
        for entry_point in load(specs)["argument_specs"].values()
        for name, option in entry_point.get("options", {}).items()
    }
    file = role / "defaults/main.yml"
    defaults = load(file)
    found = []
    for name in sorted(defaults.keys() | options.keys()):
        option = options.get(name)
        if option is None:
            found.append(f"{file}: {name} is no option of {specs}: document it there")
        elif name in defaults and option.get("required"):
            found.append(f"{specs}: {name} is required, but {file} sets it: drop one of both")
        elif name not in defaults and "default" in option:
            found.append(f"{specs}: {name} has a default that {file} does not set: set it there")
        elif name in defaults and option.get("default") != defaults[name]:
            found.append(
                f"{specs}: {name} has the default {option.get('default')!r},"
                f" but {file} sets {defaults[name]!r}"
            )
    return found


def main() -> int:
    """Name all differences of all roles; return the exit status."""
    roles = sorted(path for path in Path("roles").iterdir() if path.is_dir())
    bad = [line for role in roles for line in differences(role)]
    print(*bad, sep="\n", end="\n" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
