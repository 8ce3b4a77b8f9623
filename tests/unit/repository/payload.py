# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes a module to standard output as Ansible sends it to a host: payload.py NAME ROOT.

A program, since Ansible's loader can be set up only once in a process.
"""

from __future__ import annotations

import sys

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar


def main(name: str, collections: str) -> None:
    init_plugin_loader([collections])
    # Only works with the loader in place.
    from ansible.executor.module_common import modify_module

    found = module_loader.find_plugin_with_context(name)
    built = modify_module(
        module_name=found.resolved_fqcn,
        module_path=found.plugin_resolved_path,
        module_args={},
        templar=Templar(loader=DataLoader()),
        task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
    )
    sys.stdout.buffer.write(built.b_module_data)


if __name__ == "__main__":
    main(*sys.argv[1:])
