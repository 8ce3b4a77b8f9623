# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab's hosts change network and address, and lose their cable; its lines take time."""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab import BareLab, LabError, Nat, Node, Site

pytestmark = pytest.mark.lab

PREFIX = "tmov"
#: An address that no host has.
LAST = "127.9.9.9"


@contextmanager
def events(node: Node) -> Iterator[list[str]]:
    """What rtnetlink tells in a node meanwhile, as ``ip monitor`` prints it; there at the end."""
    command = ["ip", "monitor", "link", "address", "route"]
    monitor = node.popen(command, stdout=subprocess.PIPE, text=True)
    assert monitor.stdout
    told: list[str] = []
    try:
        while not listens_to_rtnetlink(node, monitor.pid):
            time.sleep(0.005)
        yield told
    finally:
        # What it tells of last says that it has told of all before.
        node.run(["ip", "address", "add", f"{LAST}/8", "dev", "lo"])
        lines = list(itertools.takewhile(lambda line: LAST not in line, monitor.stdout))
        monitor.terminate()
        monitor.communicate()
        node.run(["ip", "address", "delete", f"{LAST}/8", "dev", "lo"])
        told.append("".join(lines))


def listens_to_rtnetlink(node: Node, pid: int) -> bool:
    """Whether a process of a node has subscribed to any group."""
    rows = Path(f"/proc/{node.pid}/net/netlink").read_text(encoding="utf-8").splitlines()[1:]
    return any(row.split()[2] == str(pid) and int(row.split()[3], 16) for row in rows)


def test_moves_a_host_to_other_networks_and_addresses() -> None:
    sites = [Site("alice"), Site("cafe", hosts=()), Site("office", Nat("none"), hosts=())]
    with BareLab(PREFIX, sites) as lab:
        alice = lab.host("alice")
        seen = {(alice.address, alice.address6, alice.outside)}
        for to in (None, "cafe", None, "office", "alice"):
            with events(alice) as told:
                if to:
                    lab.move("alice", to=to)
                else:
                    lab.renumber("alice")
                for registry in ("203.0.113.4", "2001:db8::4"):
                    alice.run(["ping", "-c1", "-W2", registry])
            assert ("NO-CARRIER" in told[0]) is bool(to)
            assert f"inet {alice.address}/24" in told[0]
            assert f"inet6 {alice.address6}/64" in told[0]
            assert "Deleted 2: eth0    inet " in told[0]
            assert "default via 192.168.1.1 dev eth0" in told[0]
            seen.add((alice.address, alice.address6, alice.outside))
        assert len(seen) == 6
        with pytest.raises(LabError, match="is behind router-a already"):
            lab.move("alice", to="alice")


def test_takes_a_host_s_cable_away_and_moves_the_registry() -> None:
    with BareLab(PREFIX) as lab:
        alice = lab.host("alice")
        with lab.unplugged("registry"), pytest.raises(LabError, match="100% packet loss"):
            alice.run(["ping", "-c1", "-W0.3", lab.registry.address])
        alice.run(["ping", "-c1", "-W2", lab.registry.address])
        with lab.unplugged("alice"):
            assert "NO-CARRIER" in alice.run(["ip", "link", "show", "eth0"]).stdout
        alice.run(["ping", "-c1", "-W2", lab.registry.address6])
        before = lab.registry.address
        lab.renumber("registry")
        assert lab.registry.address == lab.registry.outside != before
        for address in (lab.registry.address, lab.registry.address6):
            alice.run(["ping", "-c1", "-W2", address])


def test_delays_packets_on_access_links_and_loses_none() -> None:
    sites = [Site("alice", delay=0.025), Site("bob", Nat("none"), delay=0.025)]
    with BareLab(PREFIX, sites, registry_delay=0.025) as lab:
        alice = lab.host("alice")
        for address in (lab.registry.address, lab.host("bob").outside, "2001:db8::4"):
            told = alice.run(["ping", "-i0.002", "-c20", "-q", address]).stdout
            assert "20 received" in told
            fastest = float(re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", told)[1])
            assert 100 <= fastest < 105
