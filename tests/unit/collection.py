# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the checkout is, be it pytest or ``ansible-test units`` that runs the unit tests."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: What holds the engine, the package ``wgsd``.
MODULE_UTILS = ROOT / "plugins" / "module_utils"
#: The folder with ``ansible_collections``; ansible-test says which that is.
COLLECTIONS = pathlib.Path(os.environ.get("ANSIBLE_COLLECTIONS_PATH", ROOT / ".collections"))


def python_path(*folders: pathlib.Path) -> str:
    """Return what ``PYTHONPATH`` shall be for a child that is to find modules in *folders* too."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])


def program(name: str) -> str:
    """Return the path of a program of Ansible's: beside this Python, or in ansible-test's PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(name)
    return found


def ansible_environment() -> dict[str, str]:
    """Return the environment in which Ansible uses this checkout, and writes no colours."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
    }
