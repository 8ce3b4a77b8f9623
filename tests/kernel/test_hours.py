# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hours of a mesh on the kernel's WireGuard, for a machine whose time jumps ahead when all wait.

`python3 -m tests.kernel` runs this on user-mode Linux with ``time-travel=inf-cpu``: what takes
processor time takes no time there, so bounds are about waiting only.
"""

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest

from tests.lab.bare import BareLab
from tests.lab.mesh import Mesh
from tests.lab.topology import REGISTRY

pytestmark = pytest.mark.kernel

HOUR = 3600.0
#: WireGuard makes a new session after 120 s, so the last handshake is never much older.
REKEY_AFTER = 120.0
#: Seconds between two keepalives, from the clients' default.
KEEPALIVE = 25


@pytest.fixture(autouse=True)
def _time_travels() -> None:
    assert "time-travel" in pathlib.Path("/proc/cmdline").read_text(), "these would take hours"


@pytest.fixture
def direct() -> t.Iterator[Mesh]:
    with BareLab("wgth") as lab, Mesh(lab) as mesh:
        mesh.start_responder()
        for name in ("alice", "bob"):
            mesh.connect(name)
            mesh.start_client(name)
        mesh.wait_direct("alice", "bob")
        yield mesh


def answers(mesh: Mesh) -> bool:
    """Whether Bob answers Alice within a second.

    Each packet has a ping of its own, since one that goes on waits in a busy loop now and then.
    """
    ping = ["ping", "-q", "-c", "1", "-W", "1", mesh.addresses["bob"]]
    return mesh.lab.host("alice").run(ping, check=False).returncode == 0


def test_an_hour_without_a_responder_harms_no_tunnel_and_then_it_is_followed_again(
    direct: Mesh,
) -> None:
    direct.stop(REGISTRY, "responder")
    handshakes = set()
    for _time in range(int(HOUR / 10)):
        time.sleep(10)
        assert answers(direct)
        handshakes.add(direct.handshake("alice", "bob"))
    assert len(handshakes) >= HOUR / (REKEY_AFTER + 60)
    assert "direct ->" not in direct.log("alice", "client"), "it is nothing else since"

    direct.start_responder()
    time.sleep(60)
    direct.lab.router("b").reboot()
    direct.wait(lambda: answers(direct), "tunnel", KEEPALIVE + 1)


def test_a_nat_that_reboots_costs_no_more_than_a_keepalive(direct: Mesh) -> None:
    time.sleep(300)
    direct.lab.router("a").reboot()
    direct.wait(lambda: answers(direct), "tunnel", KEEPALIVE + 1)
    time.sleep(120)
    assert answers(direct)


def test_a_wall_clock_that_jumps_an_hour_ahead_harms_no_tunnel(direct: Mesh) -> None:
    time.sleep(60)
    time.clock_settime(time.CLOCK_REALTIME, time.time() + HOUR)
    for _time in range(30):
        time.sleep(10)
        assert answers(direct)
    assert "direct ->" not in direct.log("alice", "client")
