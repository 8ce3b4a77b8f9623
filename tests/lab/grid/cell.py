# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures one cell of the grid: a lab of its own, real devices, real responder and clients."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time

from tests.lab.bare import BareLab
from tests.lab.errors import LabError
from tests.lab.mesh import INTERFACE, Mesh
from tests.lab.topology import REGISTRY

from .events import KEEPALIVE, Event, happen
from .expectations import MEETING_WITHIN, REGISTRY_WITHIN, TOLD_WITHIN, Verdict, expect
from .flow import LATE, Flow
from .measured import Measured
from .rows import ALICE, BOB, Row

ENDS = ((ALICE, BOB), (BOB, ALICE))
#: Seconds for which packets must have come back for a tunnel to count as steady.
STEADY = 1.0
#: Seconds beyond a bound for which a cell that missed it is watched, to say by how much.
PATIENCE = 10.0
#: Seconds in which clients find out what they want to know of a tunnel that is new.
SETTLING = 2.0
#: Seconds after a cold start within which a pair is connected or told so, rests included.
FIRST_PATIENCE = 200.0
_POLL = 0.02


def measure(row: Row, event: Event, prefix: str) -> Measured:
    """Build the lab for a cell, let its event happen, and tell what came of it.

    Args:
        prefix: The lab's.
    """
    measured = Measured()
    sites = row.sites(event.link_delay, moves=event.is_move)
    try:
        with (
            BareLab(prefix, sites, event.link_delay) as lab,
            Mesh(lab, ipv6=row.ipv6, ports=row.ports) as mesh,
        ):
            ends = [(lab.host(name), mesh.addresses[name]) for name in (ALICE, BOB)]
            with Flow(*ends) as flow:
                try:
                    _Cell(row, event, lab, mesh, flow, measured).run()
                finally:
                    measured.late = flow.late
    except (LabError, OSError, subprocess.SubprocessError) as exc:
        measured.fault = str(exc)
    measured.load = os.getloadavg()[0]
    return measured


class _Cell:
    """One cell while it is measured."""

    def __init__(
        self, row: Row, event: Event, lab: BareLab, mesh: Mesh, flow: Flow, measured: Measured
    ) -> None:
        self.row = row
        self.event = event
        self.lab = lab
        self.mesh = mesh
        self.flow = flow
        self.measured = measured
        self.expected = expect(row, event)
        self._told_before = dict.fromkeys((ALICE, BOB), 0)

    def run(self) -> None:
        """Let it happen and watch."""
        try:
            self._run()
        finally:
            for name, _other in ENDS:
                with contextlib.suppress(FileNotFoundError):
                    self.measured.logs[name] = self.mesh.log(name, "client")

    def _run(self) -> None:
        self._start()
        if self.event.is_start:
            begin = self._meet()
        else:
            met = self._meet()
            if not self._settle() and self.event.spares_tunnels:
                self.measured.told = time.monotonic() - met
                self._ask_for_reasons()
                return
            self._told_before = {name: self._told(name) for name in (ALICE, BOB)}
            begin = time.monotonic()
            happen(self.event, self.row, self.lab, self.mesh)
        if self.expected.verdict is Verdict.UNHARMED:
            self._watch_registry(begin)
        else:
            self._watch_tunnel(begin)
        self._ask_for_endpoints()

    def _start(self) -> None:
        """Start all but Bob's tunnel to the registry."""
        self.mesh.start_responder()
        self._connect(ALICE)
        for name in (ALICE, BOB):
            self.mesh.start_client(name, keepalive=KEEPALIVE)
        self.mesh.wait(lambda: self._is_known(ALICE), "tunnel from alice to the registry")
        time.sleep(SETTLING)

    def _connect(self, name: str) -> None:
        self.mesh.connect(name)
        registry = str(self.mesh.key(REGISTRY))
        self.mesh.devices[name].set("peer", registry, "persistent-keepalive", str(KEEPALIVE))

    def _is_known(self, name: str) -> bool:
        """Whether the registry sees a host."""
        return bool(self.mesh.peer(REGISTRY, name).last_handshake)

    def _meet(self) -> float:
        """Let Bob appear; return when the registry knew both."""
        for letter in self._letters():
            if self.event.loss:
                self.lab.router(letter).set_loss(self.event.loss)
        self._connect(BOB)
        self.mesh.wait(lambda: self._is_known(BOB), "tunnel from bob to the registry", 60.0)
        return time.monotonic()

    def _letters(self) -> str:
        return "a" if self.row.shared else "ab"

    def _settle(self) -> bool:
        """Wait until the pair is connected, or knows that it cannot be; return which."""

        def settled() -> str:
            if self.flow.is_steady(STEADY):
                return "connected"
            return "told" if before is not Verdict.DIRECT and self._both_told() else ""

        before = expect(self.row, Event.COLD_START).verdict
        state = self.mesh.wait(settled, "state to begin with", FIRST_PATIENCE)
        time.sleep(SETTLING)
        return bool(state == "connected")

    def _watch_tunnel(self, begin: float) -> None:
        """Watch until packets flow, or both ends say that they cannot."""
        expected, measured = self.expected, self.measured
        at_least = begin + (KEEPALIVE + 2.0 if self.event is Event.REBOOT else STEADY)
        # Each packet passes two routers, and its answer as well.
        share = 0.75 * (1 - self.event.loss / 100) ** 4
        longest = MEETING_WITHIN if expected.verdict is Verdict.MEETING else TOLD_WITHIN
        end = begin + max(expected.within, longest) + PATIENCE
        while (now := time.monotonic()) < end:
            if now >= at_least and self.flow.is_steady(STEADY, share):
                measured.gap = self.flow.longest_gap(begin, now)
                break
            if measured.told is None and self._both_told():
                measured.told = now - begin
                if expected.verdict in (Verdict.UNPUNCHABLE, Verdict.RACE):
                    break
            time.sleep(_POLL)
        if measured.gap is None:
            self._ask_for_reasons()

    def _watch_registry(self, begin: float) -> None:
        """Wait until the registry knows both again, and count what the tunnel lost meanwhile."""
        end = time.monotonic() + REGISTRY_WITHIN + PATIENCE
        back = time.monotonic()
        while time.monotonic() < end:
            if all(self._is_known(name) for name in (ALICE, BOB)):
                self.measured.registry = time.monotonic() - back
                break
            time.sleep(_POLL)
        end = time.monotonic()
        time.sleep(LATE)
        self.measured.lost = self.flow.lost(begin, end)

    def _told(self, name: str) -> int:
        """Return how often a client has said that a peer is unreachable."""
        return self.mesh.log(name, "client").count("unreachable: ")

    def _both_told(self) -> bool:
        return all(self._told(name) > before for name, before in self._told_before.items())

    def _ask_for_reasons(self) -> None:
        """Ask ``wgsd status`` of both hosts what is the matter."""
        for name, other in ENDS:
            status = self.mesh.wgsd(name, "status", "--interface", INTERFACE, "--json")
            (report,) = json.loads(status.stdout)
            peers = {peer["public_key"]: peer for peer in report["peers"]}
            peer = peers[str(self.mesh.key(other))]
            if peer["state"] == "unreachable" and peer["reason"]:
                self.measured.why[name] = peer["reason"]

    def _ask_for_endpoints(self) -> None:
        for name, other in ENDS:
            endpoint = self.mesh.peer(name, other).endpoint
            self.measured.endpoints[name] = str(endpoint) if endpoint else ""
