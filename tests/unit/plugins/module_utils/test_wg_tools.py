# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What wg_interface says when wg or wg-quick is missing or fails."""

from __future__ import annotations

import types

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils._module import command_runner
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_tools import WgTools
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import WgsdError

pytestmark = pytest.mark.unit


def test_a_command_that_is_not_installed_names_its_debian_package():
    def run_command(command, **_options):
        raise FileNotFoundError(2, "No such file or directory")

    tools = WgTools(command_runner(types.SimpleNamespace(run_command=run_command)))
    for work, command in ((tools.private_key, "wg"), (lambda: tools.down("wg0"), "wg-quick")):
        with pytest.raises(WgsdError, match=rf"^{command} cannot be run \({command}: No such") as e:
            work()
        assert "apt install wireguard-tools" in e.value.remedy


def test_a_failure_says_why_and_nothing_of_the_output_which_may_be_secret():
    tools = WgTools(lambda command: (1, "PrivateKey = hunter2", "wg-quick: no such thing\n"))
    with pytest.raises(WgsdError, match=r"^wg-quick down wg0 failed: wg-quick: no such thing") as e:
        tools.down("wg0")
    assert "hunter2" not in str(e.value)
