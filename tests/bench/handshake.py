# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long two peers take from being known at the registry to their first handshake.

What each row means is told in docs/performance.md.
"""

from __future__ import annotations

import os
import re
import time
import typing as t

from tests.lab.bare import BareLab
from tests.lab.mesh import Mesh
from tests.lab.topology import REGISTRY, Site

from .responder import machine
from .stats import Goal, render, row, summary
from .surroundings import notes

RUNS = 20
RUNS_IF_QUICK = 2
PREFIX = "wgbh"
ENDS = ("alice", "bob")
#: Seconds between runs after which a client has stopped to look often: the client's BUSY_FOR and
#: some more.
LONG_WAIT = 20.0
#: Seconds in which the clients hear that somebody is gone.
SPREADING = 1.0
#: Seconds on each access link. A path has two, so that a round trip is 100 ms.
LINK_DELAY = 0.025


def measure(quick: bool = False) -> dict[str, t.Any]:
    """Measure the floors and the clients, on lines without and with delay."""
    runs = RUNS_IF_QUICK if quick else RUNS
    begun = os.getloadavg()[0]
    rows = [*_near(runs), *_far(runs)]
    print(render(rows))
    return {"quick": quick, "machine": machine(), "notes": notes(begun), "rows": rows}


def _near(runs: int) -> t.Iterator[dict[str, t.Any]]:
    """Yield the rows without delay."""
    with BareLab(PREFIX) as lab, Mesh(lab) as mesh:
        mesh.start_responder()
        for name in ENDS:
            mesh.connect(name)
        by_hand = [_by_hand(mesh) for _number in range(runs)]
        yield row("handshake by hand", by_hand, "ms")
        for name in ENDS:
            mesh.start_client(name)
        floor, note = [summary(by_hand)["median"]], "by hand"
        busy = [_appear(mesh, pause=1.0) for _number in range(runs)]
        what = "from known to a handshake"
        yield row(what, busy, "ms", against=floor, goal=Goal("median", "<=", 100), note=note)
        yield row("... the slowest", busy, "ms", goal=Goal("p99", "<=", 1000))
        print(f"now {runs} runs of {LONG_WAIT:.0f} s each", flush=True)
        waiting = [_appear(mesh, pause=LONG_WAIT) for _number in range(runs)]
        what = f"from known to a handshake, after {LONG_WAIT:.0f} s of nothing"
        yield row(what, waiting, "ms", against=floor, goal=Goal("median", "<=", 100), note=note)
        yield row("... the slowest", waiting, "ms", goal=Goal("p99", "<=", 1000))


def _far(runs: int) -> t.Iterator[dict[str, t.Any]]:
    """Yield the rows about lines that take their time."""
    sites = [Site(name, delay=LINK_DELAY) for name in ENDS]
    with BareLab(PREFIX, sites, LINK_DELAY) as lab, Mesh(lab) as mesh:
        trip = _round_trip(mesh)
        yield row("a round trip between hosts, with delay", trip, "ms")
        mesh.start_responder()
        for name in ENDS:
            mesh.connect(name)
            mesh.start_client(name)
        _appear(mesh, pause=1.0)
        far = [_appear(mesh, pause=1.0) for _number in range(runs)]
        floor, note = [summary(trip)["median"]], "a round trip"
        what = "from known to a handshake, with delay"
        yield row(what, far, "ms", against=floor, goal=Goal("ratio", "<=", 6), note=note)


def _round_trip(mesh: Mesh) -> list[float]:
    """Return the milliseconds of some pings from Alice to Bob's router."""
    lab = mesh.lab
    told = lab.host("alice").run(["ping", "-c10", "-i0.2", lab.host("bob").outside]).stdout
    return [float(found) for found in re.findall(r"time=([\d.]+) ms", told)]


def _by_hand(mesh: Mesh) -> float:
    endpoints = {
        name: str(mesh.wait(lambda name=name: mesh.peer(REGISTRY, name).endpoint, "endpoint"))
        for name in ENDS
    }
    _disconnect(mesh)
    _close_holes(mesh)
    begun = time.time()
    for name, other in (ENDS, ENDS[::-1]):
        mesh.devices[name].set(
            *("peer", str(mesh.key(other)), "endpoint", endpoints[other]),
            *("persistent-keepalive", "25", "allowed-ips", f"{mesh.addresses[other]}/32"),
        )
    took = (mesh.wait_direct(*ENDS) - begun) * 1000
    _disconnect(mesh)
    for name, other in (ENDS, ENDS[::-1]):
        mesh.add_peer(name, other)
    return took


def _disconnect(mesh: Mesh) -> None:
    """Make Alice and Bob forget each other."""
    mesh.remove_peer("alice", "bob")
    mesh.remove_peer("bob", "alice")


def _close_holes(mesh: Mesh) -> None:
    """Make the routers forget all that they have let out."""
    for name in ENDS:
        mesh.lab.router(name).flush()


def _appear(mesh: Mesh, pause: float) -> float:
    """Make Alice and Bob strangers, wait, and let Bob come online; return milliseconds.

    Each must have heard that the other is gone: a client that is cut off keeps what it knows.
    """
    _disconnect(mesh)
    _forget(mesh, "alice")
    time.sleep(SPREADING)
    with mesh.lab.unplugged("bob"):
        _forget(mesh, "bob")
        _close_holes(mesh)
        mesh.connect("alice")
        mesh.connect("bob")
        time.sleep(SPREADING)
        mesh.add_peer("alice", "bob")
        mesh.add_peer("bob", "alice")
        time.sleep(pause)
    direct = mesh.wait_direct(*ENDS, patience=30.0)
    return (direct - mesh.peer(REGISTRY, "bob").last_handshake) * 1000


def _forget(mesh: Mesh, name: str) -> None:
    """Make the registry and a host forget each other."""
    mesh.remove_peer(name, REGISTRY)
    mesh.remove_peer(REGISTRY, name)
    mesh.add_peer(REGISTRY, name)
