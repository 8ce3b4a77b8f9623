# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry's device with 10,000 peers, on a kernel: read whole and fast."""

from __future__ import annotations

import os
import subprocess
import time
import typing as t

import pytest

from tests.kernel import devices
from wgsd.device import open_device
from wgsd.model import Endpoint, Peer, PeerChange

pytestmark = pytest.mark.kernel

PEERS = 10_000
#: pyroute2's own decoder takes some twenty times as long as the tool ``wg``.
SLOWNESS_LIMIT = 8.0


@pytest.fixture
def wg() -> t.Iterator[devices.WireGuard]:
    with devices.namespace() as namespace, namespace.entered(), devices.device() as made:
        yield made


def cpu_seconds(work: t.Callable[[], object]) -> float:
    """Return the processor time of *work* and of the processes that it starts."""

    def spent() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    before = spent()
    work()
    return spent() - before


def test_ten_thousand_peers_are_read_whole_and_fast(wg: devices.WireGuard) -> None:
    wanted = {}
    for number in range(PEERS):
        key = devices.some_key()
        networks = (f"10.{number >> 8}.{number & 255}.0/24", f"2001:db8:{number + 1:x}::/48")
        wanted[key] = Peer(key, Endpoint.make("192.0.2.1", 1024 + number), networks)
    changes = [
        PeerChange(peer.public_key, peer.endpoint, 0, peer.allowed_ips, create=True)
        for peer in wanted.values()
    ]
    with open_device(wg.name) as backend:
        start = time.monotonic()
        backend.apply(changes)
        applied = time.monotonic() - start
        peers = backend.read().peers
        assert peers.keys() == wanted.keys()
        assert all(
            (peer.endpoint, set(peer.allowed_ips))
            == (wanted[key].endpoint, set(wanted[key].allowed_ips))
            for key, peer in peers.items()
        )
        ours = min(cpu_seconds(backend.read) for _ in range(3))
    dump = ["wg", "show", wg.name, "dump"]
    theirs = min(
        cpu_seconds(lambda: subprocess.run(dump, stdout=subprocess.DEVNULL, check=True))
        for _ in range(3)
    )
    print(f"{PEERS} peers: added in {applied:.2f} s; CPU of a read {ours:.2f} s, wg {theirs:.2f} s")
    assert ours < SLOWNESS_LIMIT * theirs
