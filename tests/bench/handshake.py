# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long two peers take from being known at the registry to their first handshake.

The floor of the same run is a handshake by hand: both ends remove the peer and add it again with
the endpoint already known, with nobody to look anything up.
"""

from __future__ import annotations

import time
import typing as t

from tests.lab.bare import BareLab
from tests.lab.mesh import Mesh
from tests.lab.topology import REGISTRY

from .stats import report, summary

RUNS = 20
RUNS_IF_QUICK = 2
PREFIX = "wgbh"
#: Seconds between runs after which a client has stopped to look often: the client's BUSY_FOR and
#: some more.
LONG_WAIT = 20.0


def measure(quick: bool = False) -> dict[str, t.Any]:
    """Measure the floor, peers that come up while clients are busy, and after a long wait."""
    runs = RUNS_IF_QUICK if quick else RUNS
    with BareLab(PREFIX) as lab, Mesh(lab) as mesh:
        mesh.start_responder()
        mesh.connect("alice")
        mesh.connect("bob")
        by_hand = [_by_hand(mesh) for _number in range(runs)]
        for name in ("alice", "bob"):
            mesh.start_client(name)
        busy = [_appear(mesh, pause=1.0) for _number in range(runs)]
        print(f"now {runs} runs of {LONG_WAIT:.0f} s each", flush=True)
        waiting = [_appear(mesh, pause=LONG_WAIT) for _number in range(runs)]
    floor = summary(by_hand)["median"]
    return {
        "by hand": report("handshake by hand", by_hand, "ms", floor),
        "busy": report("known -> handshake, clients busy", busy, "ms", floor),
        "waiting": report("known -> handshake, after a long wait", waiting, "ms", floor),
    }


def _by_hand(mesh: Mesh) -> float:
    endpoints = {
        name: str(mesh.wait(lambda name=name: mesh.peer(REGISTRY, name).endpoint, "endpoint"))
        for name in ("alice", "bob")
    }
    _disconnect(mesh)
    begun = time.time()
    for name, other in (("alice", "bob"), ("bob", "alice")):
        mesh.devices[name].set(
            *("peer", str(mesh.key(other)), "endpoint", endpoints[other]),
            *("persistent-keepalive", "25", "allowed-ips", f"{mesh.addresses[other]}/32"),
        )
    took = (mesh.wait_direct("alice", "bob") - begun) * 1000
    _disconnect(mesh)
    for name, other in (("alice", "bob"), ("bob", "alice")):
        mesh.add_peer(name, other)
    return took


def _disconnect(mesh: Mesh) -> None:
    """Make Alice and Bob forget each other, and their routers the holes between them."""
    mesh.remove_peer("alice", "bob")
    mesh.remove_peer("bob", "alice")
    for name in ("alice", "bob"):
        mesh.lab.router(name).flush()


def _appear(mesh: Mesh, pause: float) -> float:
    """Let the registry and Alice forget Bob, wait, and let him appear; return milliseconds."""
    mesh.remove_peer("bob", REGISTRY)
    mesh.remove_peer(REGISTRY, "bob")
    mesh.add_peer(REGISTRY, "bob")
    _disconnect(mesh)
    mesh.add_peer("alice", "bob")
    mesh.add_peer("bob", "alice")
    time.sleep(pause)
    mesh.connect("bob")
    direct = mesh.wait_direct("alice", "bob", patience=30.0)
    return (direct - mesh.peer(REGISTRY, "bob").last_handshake) * 1000
