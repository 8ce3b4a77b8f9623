# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hours of a mesh on the kernel's WireGuard, for a machine whose time jumps ahead when all wait.

`python3 -m tests.kernel` runs this on user-mode Linux with ``time-travel=inf-cpu``: what takes
processor time takes no time there, so bounds are about waiting only.
"""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
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


class Ping:
    """About one packet a second from Alice to Bob."""

    def __init__(self, mesh: Mesh) -> None:
        self._process = mesh.lab.host("alice").popen(
            ["ping", "-q", "-i", "1", mesh.addresses["bob"]], stdout=subprocess.PIPE, text=True
        )

    def lost(self) -> tuple[int, int]:
        """End it; how many packets were sent, and how many of them were lost."""
        self._process.send_signal(signal.SIGINT)
        output = self._process.communicate(timeout=60)[0]
        counted = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        assert counted, output
        sent, received = map(int, counted.groups())
        # The last one may still be under way.
        return sent, max(0, sent - received - 1)


def test_an_hour_without_a_responder_harms_no_tunnel_and_then_it_is_followed_again(
    direct: Mesh,
) -> None:
    direct.stop(REGISTRY, "responder")
    ping = Ping(direct)
    handshakes = set()
    for _minute in range(60):
        time.sleep(60)
        handshakes.add(direct.handshake("alice", "bob"))
    sent, lost = ping.lost()
    assert sent > 0.9 * HOUR
    assert lost == 0
    assert len(handshakes) >= HOUR / (REKEY_AFTER + 60)
    assert "direct ->" not in direct.log("alice", "client"), "it is nothing else since"

    direct.start_responder()
    time.sleep(60)
    direct.lab.router("b").reboot()
    time.sleep(KEEPALIVE + 1)
    direct.lab.host("alice").run(["ping", "-c", "1", "-W", "1", direct.addresses["bob"]])


def test_a_nat_that_reboots_costs_no_more_than_a_keepalive(direct: Mesh) -> None:
    ping = Ping(direct)
    time.sleep(300)
    direct.lab.router("a").reboot()
    time.sleep(120)
    sent, lost = ping.lost()
    assert sent > 0.9 * 420
    assert lost <= KEEPALIVE + 1


def test_a_wall_clock_that_jumps_an_hour_ahead_harms_no_tunnel(direct: Mesh) -> None:
    time.sleep(60)
    time.clock_settime(time.CLOCK_REALTIME, time.time() + HOUR)
    # ping goes by this clock, so one that had begun before would be out of step.
    ping = Ping(direct)
    time.sleep(300)
    sent, lost = ping.lost()
    assert sent > 0.9 * 300
    assert lost == 0
    assert "direct ->" not in direct.log("alice", "client")
