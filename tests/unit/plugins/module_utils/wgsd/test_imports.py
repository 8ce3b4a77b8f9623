# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client has in its memory: every import stays there for as long as it runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.unit.collection import MODULE_UTILS

pytestmark = pytest.mark.unit

_CLIENT = """
import sys
from wgsd.cli import main

main(["client", "--check", "--device", "wg0", "--dns", "10.0.0.254", "--zone", "example.com"])
import wgsd.client.loop, wgsd.device
loaded = {name.partition(".")[0] for name in sys.modules}
loaded |= {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("wgsd.")}
print(*sorted(loaded))
"""


def test_a_client_loads_neither_the_responder_nor_what_it_has_no_use_for():
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT],
        env={**os.environ, "PYTHONPATH": str(MODULE_UTILS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {"wgsd.client", "wgsd.replica", "dns", "yaml"} <= loaded
    others = {"wgsd.responder", "wgsd.zone", "wgsd.status"}
    others |= {"asyncio", "cryptography", "prometheus_client", "pyroute2"}
    assert not loaded & others
