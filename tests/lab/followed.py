# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry with a real device, and secondaries of three makes that follow its zone.

Knot is a peer: it comes through the tunnel, has no key, and knows only the catalog zone. BIND and
NSD are hosts of the internet with a TSIG key. The responder is told of BIND and NSD, not of Knot.
PowerDNS is there for the test that starts it, with the key.
"""

from __future__ import annotations

import base64
import contextlib
import pathlib
import time
import typing as t

from wgsd.keys import PublicKey

from .bare import BareLab
from .nameservers import Key, Line, NameServer, serial_of, transfer
from .nat import Nat
from .responder import ALICE, PUBLIC, PYTHONS, TUNNEL, ZONE, Bed, Responder, instance
from .secondaries import Follow, running
from .topology import Site
from .wireguard import start

CATALOG = "catalog.example.net."
KEY = Key("field.example.net.", base64.b64encode(b"the field's very own shared key.").decode())
SITES = [Site("field", Nat("none"), hosts=("knot", "named", "nsd", "pdns"))]
KNOT = "10.0.0.20"
#: Seconds within which every secondary serves what has changed on the device.
FRESH = 1.0
#: Seconds within which everything else must happen.
PATIENCE = 10.0


class Followed:
    """The registry of a lab with `SITES`, and the secondaries that run.

    Attributes:
        servers: By make.
    """

    def __init__(self, lab: BareLab, folder: pathlib.Path) -> None:
        self.lab = lab
        self.bed = Bed(lab, folder, PYTHONS["debian"])
        self.servers: dict[str, NameServer] = {}
        self._stack = contextlib.ExitStack()
        self._running: dict[str, contextlib.ExitStack] = {}
        plan = lab.router("field").site
        self.follows = {
            "knot": Follow(KNOT, TUNNEL, catalog=CATALOG),
            **{
                make: Follow(plan.public_address(make), PUBLIC, (ZONE,), KEY)
                for make in ("named", "nsd", "pdns")
            },
        }

    def __enter__(self) -> Followed:
        with contextlib.ExitStack() as stack:
            stack.callback(self.bed.close)
            device = self.bed.start_device()
            knot = start(self.lab.host("knot"), "wg0", address=f"{KNOT}/24")
            stack.callback(knot.stop)
            device.set("peer", knot.public_key, "allowed-ips", f"{KNOT}/32")
            knot.set(
                *("peer", device.public_key, "endpoint", f"{PUBLIC}:{device.listen_port}"),
                *("persistent-keepalive", "25", "allowed-ips", f"{TUNNEL}/32"),
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def responder(self) -> Responder:
        """The responder that was started last."""
        assert self.bed.responder
        return self.bed.responder

    def settings(self, **zone: t.Any) -> dict[str, t.Any]:
        """The responder's settings; *zone* has more of the zone's."""
        named = [f"{self.follows[make].address} key {KEY.name}" for make in ("named", "nsd")]
        let_in = ["tunnel", f"key {KEY.name}"]
        return {
            "listen": [f"{TUNNEL}:53", f"{PUBLIC}:53"],
            "keys": {KEY.name: {"secret": KEY.secret}},
            "catalog": {"zone": CATALOG},
            "zone": {
                "self": {"endpoint": f"{PUBLIC}:51820", "allowed_ips": [f"{TUNNEL}/32"]},
                "names": {ALICE.base64: "alice"},
                "allow_query": let_in,
                "allow_transfer": let_in,
                "notify": named,
                **zone,
            },
        }

    def start(self, **zone: t.Any) -> None:
        """Start the responder, and the secondaries after it."""
        self.bed.start(**self.settings(**zone))
        for make in ("knot", "named", "nsd"):
            self.follow(make)

    def follow(self, make: str) -> NameServer:
        """Start a secondary; it goes on from what it had if it has run before."""
        stack = self._stack.enter_context(contextlib.ExitStack())
        self.servers[make] = stack.enter_context(
            running(self.lab.host(make), make, self.follows[make])
        )
        self._running[make] = stack
        return self.servers[make]

    def stop(self, make: str) -> None:
        """End a secondary as a service manager does."""
        del self.servers[make]
        self._running.pop(make).close()

    def serial(self) -> int | None:
        """The serial that the responder serves."""
        return serial_of(self.bed.host, TUNNEL, ZONE)

    def transfer(self) -> set[Line]:
        """The zone as the responder transfers it."""
        return transfer(self.bed.host, TUNNEL, ZONE)

    def wait(
        self, what: str, condition: t.Callable[[], object], patience: float = PATIENCE
    ) -> None:
        """Wait until *condition* holds."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"no {what}:\n{self.responder.log[-3000:]}"
            time.sleep(0.01)

    def wait_same(self, patience: float = PATIENCE) -> set[Line]:
        """Wait until all serve what the responder has, record for record, and return that."""
        for _time in range(10):
            self.wait("secondary with the newest serial", lambda: not self._behind(), patience)
            serial, whole = self.serial(), self.transfer()
            copies = {make: server.transfer(ZONE) for make, server in self.servers.items()}
            if self.serial() == serial and not self._behind():
                break
        for make, copy in copies.items():
            assert copy == whole, f"{make}: {sorted(copy ^ whole)[:10]}"
        return whole

    def _behind(self) -> list[str]:
        """The secondaries that do not serve the newest serial."""
        serial = self.serial()
        return [m for m, s in self.servers.items() if serial is None or s.serial(ZONE) != serial]

    def change(self, key: PublicKey, port: int) -> dict[str, float]:
        """Move a peer to a port; seconds until each secondary's SRV record has it."""
        delays: dict[str, float] = {}
        begin = time.monotonic()
        self.bed.set(key, "endpoint", f"198.51.100.1:{port}")

        def all_know() -> bool:
            for make, server in self.servers.items():
                if make not in delays and port_of(server, key) == port:
                    delays[make] = time.monotonic() - begin
            return len(delays) == len(self.servers)

        self.wait(f"port {port} at every secondary", all_know)
        return delays


def port_of(server: NameServer, key: PublicKey) -> int | None:
    """The port in a peer's SRV record at a secondary; None if it has none."""
    answer = server.ask(instance(key), "SRV")
    return int(answer.answer[0][0].port) if answer and answer.answer else None
