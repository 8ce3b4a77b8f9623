# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The grid's columns: what happens to a pair."""

from __future__ import annotations

import enum
import time

from tests.lab.bare import BareLab
from tests.lab.mesh import INTERFACE, PORT, SERVER, Mesh
from tests.lab.topology import REGISTRY

from .rows import ALICE, BOB, CAFE, OFFICE, Row

#: Seconds; in the clients' configuration and towards the registry, for the grid to be quick.
KEEPALIVE = 5
#: Seconds for which a registry is down.
OUTAGE = 60.0
#: Seconds that a packet takes on an access link; a path has two, so a round trip is 100 ms.
LINK_DELAY = 0.025


class Event(enum.Enum):
    """What happens; the value is what reports call it."""

    COLD_START = "cold start"
    ALICE_MOVES = "A moves"
    BOB_MOVES = "B moves"
    BOTH_MOVE = "both move"
    REBOOT = "NAT reboot"
    RESTART = "registry restart"
    OUTAGE = "registry down"
    LOSS_10 = "10 % loss"
    LOSS_30 = "30 % loss"
    DELAY = "100 ms delay"

    @property
    def is_start(self) -> bool:
        """Whether the pair starts cold; else it has found each other before."""
        return self in (Event.COLD_START, Event.LOSS_10, Event.LOSS_30, Event.DELAY)

    @property
    def is_move(self) -> bool:
        """Whether somebody goes to another network."""
        return self in (Event.ALICE_MOVES, Event.BOB_MOVES, Event.BOTH_MOVE)

    @property
    def spares_tunnels(self) -> bool:
        """Whether tunnels between peers have nothing to do with it."""
        return self in (Event.RESTART, Event.OUTAGE)

    @property
    def loss(self) -> int:
        """Percent of packets that each router loses."""
        return {Event.LOSS_10: 10, Event.LOSS_30: 30}.get(self, 0)

    @property
    def link_delay(self) -> float:
        """Seconds on each access link."""
        return LINK_DELAY if self is Event.DELAY else 0.0


def rebooting(row: Row) -> str:
    """Return whose router reboots: Alice's, if she has one."""
    return "home" if row.shared else ALICE


def happen(event: Event, row: Row, lab: BareLab, mesh: Mesh) -> None:
    """Make an event happen to a pair that has found each other; returns when it is over."""
    if event in (Event.ALICE_MOVES, Event.BOTH_MOVE):
        lab.move(ALICE, to=CAFE)
    if event in (Event.BOB_MOVES, Event.BOTH_MOVE):
        lab.move(BOB, to=CAFE if row.shared else OFFICE)
    if event is Event.REBOOT:
        lab.router(rebooting(row)).reboot()
    if event.spares_tunnels:
        _stop_registry(mesh)
        if event is Event.OUTAGE:
            time.sleep(OUTAGE)
        _start_registry(mesh)


def _stop_registry(mesh: Mesh) -> None:
    mesh.stop(REGISTRY, "responder")
    mesh.devices[REGISTRY].stop()


def _start_registry(mesh: Mesh) -> None:
    """Start the registry's device and its responder, with the key and the peers as before."""
    mesh.devices[REGISTRY] = mesh.lab.registry.start_wireguard(
        INTERFACE,
        address=f"{SERVER}/24",
        listen_port=PORT,
        private_key=mesh.devices[REGISTRY].private_key,
    )
    for name in (ALICE, BOB):
        mesh.add_peer(REGISTRY, name)
    mesh.start_responder()
