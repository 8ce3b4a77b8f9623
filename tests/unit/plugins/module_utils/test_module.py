# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands on the host, as AnsibleModule runs them."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.wgsd.mesh.plugins.module_utils import _module

pytestmark = pytest.mark.unit


@pytest.fixture
def run():
    with patch_module_args({}):
        yield _module.command_runner(AnsibleModule(argument_spec={}))


def test_commands_for_root_are_found_as_su_leaves_the_path(run, tmp_path, monkeypatch):
    command = tmp_path / "sbin/nft"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\necho "$0 $PATH"\n', encoding="utf-8")
    command.chmod(0o755)
    assert _module.SYSTEM_FOLDERS == ("/usr/sbin", "/sbin")
    monkeypatch.setattr(_module, "SYSTEM_FOLDERS", (str(command.parent),))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert run(["nft"]) == (0, f"{command} /usr/bin:/bin:{command.parent}\n", "")
    # What comes first in the path still comes first.
    first = tmp_path / "bin"
    first.mkdir()
    (first / "nft").symlink_to(command)
    monkeypatch.setenv("PATH", f"{first}:/bin")
    assert run(["nft"])[1].startswith(f"{first}/nft ")
