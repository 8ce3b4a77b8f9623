# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client that is not root may still do once it has seen its device."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.unit.collection import MODULE_UTILS
from wgsd.client.rights import Rights
from wgsd.errors import DeviceError, NoDeviceError
from wgsd.privileges import CAP_DAC_OVERRIDE, CAP_NET_ADMIN

FAULT = DeviceError("wg0: cannot be reached: Permission denied")
pytestmark = pytest.mark.unit

#: Tells the permitted capabilities of a service user's client after devices of these kinds.
SCRIPT = """
import json, sys
from wgsd.client.rights import Rights
from wgsd.errors import DeviceError, NoDeviceError

def permitted():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("CapPrm")).split()[1], 16)

rights, told = Rights(), []
for kind in sys.argv[1:]:
    rights.suit(kind)
    faults = [DeviceError("x"), NoDeviceError("x")]
    told.append((permitted(), *(rights.may_lack(fault) for fault in faults)))
print(json.dumps(told))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process capabilities")
def test_a_kernel_device_takes_the_right_to_open_sockets_of_others_away_for_good():
    both = "+net_admin,+dac_override"
    command = ["setpriv", "--reuid=65534", "--clear-groups", f"--inh-caps={both}"]
    command += [f"--ambient-caps={both}", sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        [*command, "userspace", "kernel", "userspace"],
        env={**os.environ, "PYTHONPATH": str(MODULE_UTILS)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    all_rights = 1 << CAP_NET_ADMIN | 1 << CAP_DAC_OVERRIDE
    left = 1 << CAP_NET_ADMIN
    assert json.loads(done.stdout) == [
        [all_rights, False, False],
        [left, True, False],
        [left, True, False],
    ]


def test_root_keeps_what_it_has():
    if os.geteuid() == 0:
        rights = Rights()
        rights.suit("kernel")
        assert not rights.may_lack(FAULT)
    assert not Rights().may_lack(NoDeviceError("wg0: no such device"))
