# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a direct tunnel is out when hosts move or routers reboot, and what restarts cost it.

What each row means is told in docs/performance.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import time
import typing as t

from tests.lab.bare import BareLab
from tests.lab.mesh import INTERFACE, PORT, SERVER, Mesh
from tests.lab.nat import Nat
from tests.lab.topology import REGISTRY, Site

from .duplex import Duplex
from .responder import machine
from .stats import Goal, render, row
from .surroundings import notes

PREFIX = "wgbm"
RUNS = 20
RUNS_IF_QUICK = 2
#: Runs with the default keepalive, each of which may take that long.
DEFAULT_KEEPALIVE_RUNS = 5
DEFAULT_KEEPALIVE = 25
SHORT_KEEPALIVE = 5
ALICE, BOB, CAFE, OFFICE = "alice", "bob", "cafe", "office"
#: Seconds for which both ways are open for a tunnel to count as back.
STEADY = 0.5
#: Seconds after which a tunnel that is not back is given up.
PATIENCE = 60.0
#: Seconds in which clients find out what they want to know of a tunnel, at the least and the most:
#: nothing that is done now and then shall always be done at the same time after an event.
SETTLING = (1.5, 2.5)
_POLL = 0.02


@dataclasses.dataclass(frozen=True)
class Outage:
    """What an event did to a tunnel that was in use both ways.

    Attributes:
        gaps: The longest time in seconds in which nothing arrived at the second host, and at the
            first.
        took: Seconds that the event itself took.
        load: The machine's load then.
    """

    gaps: tuple[float, float]
    took: float
    load: float


class Pair:
    """Two hosts whose clients have found each other."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.lab = mesh.lab
        self._at = {ALICE: ALICE, BOB: BOB}
        self._seen_at: set[str] = set()

    def change_places(self, *names: str) -> None:
        """Let hosts go to another network each, or back home."""
        for name in names:
            away = CAFE if name == ALICE else OFFICE
            self._at[name] = name if self._at[name] == away else away
            self.lab.move(name, to=self._at[name])

    def forget_the_past(self) -> None:
        """Let all routers forget where hosts were, so that each move is the first one to there."""
        hosts = [self.lab.host(name) for name in self._at]
        present = {address for host in hosts for address in (host.address, host.outside)}
        self._seen_at |= present
        for site in (ALICE, BOB, CAFE, OFFICE):
            router = self.lab.router(site)
            if site not in self._at.values():
                router.flush()
            for address in self._seen_at - present:
                for end in ("--orig-src", "--orig-dst"):
                    # Its status is 1 if there was nothing to forget.
                    router.node.run(["conntrack", "-D", end, address], check=False)

    def restart_registry(self) -> None:
        """Take the registry's device away with its responder, and bring both back."""
        self.mesh.stop(REGISTRY, "responder")
        device = self.mesh.devices[REGISTRY]
        device.stop()
        self.mesh.devices[REGISTRY] = self.lab.registry.start_wireguard(
            INTERFACE,
            address=f"{SERVER}/24",
            listen_port=PORT,
            private_key=device.private_key,
        )
        for name in (ALICE, BOB):
            self.mesh.add_peer(REGISTRY, name)
        self.mesh.start_responder()

    def restart_responder(self) -> None:
        """Restart the registry's responder."""
        self.mesh.stop(REGISTRY, "responder")
        self.mesh.start_responder()

    def restart_clients(self) -> None:
        """Restart both clients, one after the other."""
        for name in (ALICE, BOB):
            self.mesh.stop(name, "client")
            self.mesh.start_client(name, keepalive=DEFAULT_KEEPALIVE)


@contextlib.contextmanager
def _pair(keepalive: int = DEFAULT_KEEPALIVE, nat: Nat | None = None) -> t.Iterator[Pair]:
    """Build a lab with two hosts that are connected.

    Args:
        keepalive: Seconds, of the clients' configuration and towards the registry.
        nat: What Alice is behind, if not what everybody is: a port-restricted NAT.
    """
    sites = (Site(ALICE, nat or Nat()), Site(BOB), Site(CAFE, hosts=()), Site(OFFICE, hosts=()))
    with BareLab(PREFIX, sites) as lab, Mesh(lab) as mesh:
        mesh.start_responder()
        for name in (ALICE, BOB):
            mesh.connect(name)
            registry = ("peer", str(mesh.key(REGISTRY)))
            mesh.devices[name].set(*registry, "persistent-keepalive", str(keepalive))
            mesh.start_client(name, keepalive=keepalive)
        mesh.wait_direct(ALICE, BOB, patience=30.0)
        yield Pair(mesh)


@contextlib.contextmanager
def _traffic(pair: Pair) -> t.Iterator[Duplex]:
    mesh = pair.mesh
    with Duplex(*((mesh.lab.host(name), mesh.addresses[name]) for name in (ALICE, BOB))) as traffic:
        yield traffic


def measure(quick: bool = False) -> dict[str, t.Any]:
    """Measure everything, print a table, and return its rows."""
    runs = RUNS_IF_QUICK if quick else RUNS
    begun = os.getloadavg()[0]
    rows = [*_moves(runs), *_reboots(runs, min(runs, DEFAULT_KEEPALIVE_RUNS)), *_restarts(runs)]
    print(render(rows))
    return {"quick": quick, "machine": machine(), "notes": notes(begun), "rows": rows}


def _moves(runs: int) -> t.Iterator[dict[str, t.Any]]:
    """Yield the rows about hosts that get other addresses.

    Each has a mesh of its own: a client bounds how often it changes a peer.
    """
    for what, names, seconds in (
        ("one side goes to another network", (ALICE,), 1),
        ("both do at once", (ALICE, BOB), 2),
    ):
        with _pair() as pair:
            yield _moving(what, pair, runs, lambda p=pair, n=names: p.change_places(*n), seconds)
    for where, nat in (("without NAT", Nat("none")), ("behind its NAT", Nat())):
        with _pair(nat=nat) as pair:
            what = f"one side gets another address, {where}"
            yield _moving(what, pair, runs, lambda p=pair: p.lab.renumber(ALICE), 1)


def _moving(
    what: str, pair: Pair, runs: int, event: t.Callable[[], None], seconds: float
) -> dict[str, t.Any]:
    with _traffic(pair) as traffic:
        outages = []
        for _number in range(runs):
            _settle(pair, traffic)
            pair.forget_the_past()
            outages.append(_watch(traffic, event))
    towards = [_median(gaps) * 1000 for gaps in zip(*(o.gaps for o in outages), strict=True)]
    return _row(
        what,
        [max(outage.gaps) * 1000 for outage in outages],
        "ms",
        against=[outage.took * 1000 for outage in outages],
        goal=Goal("median", "<=", seconds * 1000),
        note=f"the move itself; to the one that stays {towards[0]:.0f} ms,"
        f" to the one that moves {towards[1]:.0f} ms"
        if "both" not in what
        else "the moves themselves",
    )


def _reboots(runs: int, default_runs: int) -> t.Iterator[dict[str, t.Any]]:
    """Yield the rows about a router that comes back with other ports."""
    for keepalive, times in ((SHORT_KEEPALIVE, runs), (DEFAULT_KEEPALIVE, default_runs)):
        goal = Goal("max", "<=", keepalive + 1)
        what = f"a NAT reboots, keepalive {keepalive} s"
        with _pair(keepalive) as pair:
            idle = [_idle_reboot(pair, keepalive) for _number in range(times)]
            yield _row(f"{what}, idle", idle, "s", goal=goal)
            used = []
            with _traffic(pair) as traffic:
                for _number in range(times):
                    _settle(pair, traffic)
                    time.sleep(random.uniform(0, keepalive))
                    used.append(_watch(traffic, pair.lab.router(ALICE).reboot))
            gaps = [max(outage.gaps) for outage in used]
            yield _row(f"{what}, with traffic", gaps, "s", goal=goal)


def _idle_reboot(pair: Pair, keepalive: int) -> float:
    """Return the seconds until both ends have heard of each other again, with nothing to say."""
    mesh, ways = pair.mesh, ((ALICE, BOB), (BOB, ALICE))
    time.sleep(random.uniform(1, 1 + keepalive))
    pair.lab.router(ALICE).reboot()
    begin = time.monotonic()
    heard = {way: mesh.peer(*way).rx_bytes for way in ways}
    mesh.wait(
        lambda: all(mesh.peer(*way).rx_bytes > heard[way] for way in ways),
        "packet both ways after a reboot",
        PATIENCE,
    )
    return time.monotonic() - begin


def _restarts(runs: int) -> t.Iterator[dict[str, t.Any]]:
    """Yield the rows about what may restart while a tunnel is in use."""
    with _pair() as pair, _traffic(pair) as traffic:
        for what, event in (
            ("the responder restarts", pair.restart_responder),
            ("the registry's WireGuard restarts", pair.restart_registry),
            ("both clients restart", pair.restart_clients),
        ):
            lost = []
            for _number in range(runs):
                _settle(pair, traffic)
                begin = time.monotonic()
                event()
                time.sleep(1.0)
                lost.append(traffic.lost(begin, time.monotonic()))
            yield _row(f"{what}: packets lost", lost, "", goal=Goal("max", "<=", 0))


def _settle(pair: Pair, traffic: Duplex) -> None:
    """Wait until the tunnel is as it was before anything happened."""
    pair.mesh.wait(lambda: traffic.is_steady(STEADY), "tunnel that is open both ways", 300.0)
    time.sleep(random.uniform(*SETTLING))


def _watch(traffic: Duplex, event: t.Callable[[], None]) -> Outage:
    """Let something happen, and wait until both ways are open again."""
    begin = time.monotonic()
    event()
    took = time.monotonic() - begin
    # A tunnel counts as back after what is open for a while: not before the event shows.
    time.sleep(2 * STEADY)
    while not traffic.is_steady(STEADY) and time.monotonic() < begin + PATIENCE:
        time.sleep(_POLL)
    end = time.monotonic()
    one, other = (way.longest_gap(begin, end) for way in traffic.ways)
    return Outage((one, other), took, os.getloadavg()[0])


def _row(what: str, values: t.Sequence[float], unit: str, **options: t.Any) -> dict[str, t.Any]:
    made = row(what, values, unit, **options)
    print(render([made]).splitlines()[1], flush=True)
    return made


def _median(values: t.Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
