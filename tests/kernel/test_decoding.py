# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our decoder of the kernel's dumps against pyroute2's: the same peers, in a fraction of the time.

The device is small, since pyroute2 takes long and the emulated processor makes that longer.
"""

from __future__ import annotations

import time
import typing as t

import pytest
from pyroute2 import WireGuard as Pyroute2WireGuard

from tests.kernel import devices
from wgsd.device import open_device
from wgsd.model import Endpoint, PeerChange

pytestmark = pytest.mark.kernel

PEERS = 500
#: 8 to 20 times were seen.
SPEED_UP = 3


@pytest.fixture
def wg() -> t.Iterator[devices.WireGuard]:
    with devices.namespace() as namespace, namespace.entered(), devices.device() as made:
        yield made


def timed(work: t.Callable[[], t.Any]) -> tuple[t.Any, float]:
    """Return what *work* returns and the seconds of this process's processor time that it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def pyroute2_peers(name: str) -> dict[str, set[str]]:
    """Return the peers with their allowed IPs as pyroute2 decodes them."""
    found: dict[str, set[str]] = {}
    with Pyroute2WireGuard() as connection:
        for message in connection.info(name):
            for peer in message.get_attr("WGDEVICE_A_PEERS") or ():
                key = peer.get_attr("WGPEER_A_PUBLIC_KEY").decode()
                blocks = peer.get_attr("WGPEER_A_ALLOWEDIPS") or ()
                found.setdefault(key, set()).update(block["addr"] for block in blocks)
    return found


def test_both_decoders_read_the_same_and_ours_is_faster(wg: devices.WireGuard) -> None:
    changes = [
        PeerChange(
            devices.some_key(),
            Endpoint.make("192.0.2.1", 1024 + number),
            allowed_ips=(f"10.{number >> 8}.{number & 255}.0/24", f"2001:db8:{number + 1:x}::/48"),
            create=True,
        )
        for number in range(PEERS)
    ]
    with open_device(wg.name) as backend:
        backend.apply(changes)
        device, ours = timed(backend.read)
    theirs_peers, theirs = timed(lambda: pyroute2_peers(wg.name))
    assert {str(key): set(peer.allowed_ips) for key, peer in device.peers.items()} == theirs_peers
    assert len(theirs_peers) == PEERS
    print(f"{PEERS} peers: {ours:.2f} s of processor time, pyroute2 {theirs:.2f} s")
    assert ours * SPEED_UP < theirs
