# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zones that change at random, one of them signed, and a catalog of them."""

from __future__ import annotations

import dataclasses
import functools
import random

import dns.name

from tests.fuzz.ledger import Ledger
from tests.fuzz.packets import wire_name
from tests.unit.plugins.module_utils.wgsd.zone.asking import key
from tests.unit.plugins.module_utils.wgsd.zone.signed import Validator, zone_key
from wgsd.zone.answers import Authority
from wgsd.zone.catalog import Catalog
from wgsd.zone.history import History
from wgsd.zone.records import Zone, build
from wgsd.zone.serial import following
from wgsd.zone.signing import Signer
from wgsd.zone.transfer import Transfers
from wgsd.zone.version import Chain, Content, Delta, Instance, Version

#: The signed one is the one that `Validator` knows.
SIGNED, NESTED, CATALOG = "example.com.", "lab.example.com.", "catalog.example."
ZONES = (SIGNED, NESTED)
LOCAL = "127.0.0.1"
KEY = zone_key(secret=4711)
DAY = 86400
#: Of the first versions: some serials soon start anew.
SERIALS = (1, (1 << 32) - 5)
#: Names up to which a signed zone grows old: it replaces no more signatures in one version.
AGEING = 300


class Zones:
    """A registry's zones as they are now; each step is a delta for workers.

    Attributes:
        now: Seconds since the epoch, for signatures only.
        catalog: Never changes.
    """

    def __init__(self, randomness: random.Random, ledger: Ledger) -> None:
        """Make the first version of each."""
        self._random = randomness
        self._ledger = ledger
        self.now = 1_800_000_000.0
        self._signer = Signer(
            SIGNED, [KEY], 7 * DAY, wall=lambda: self.now, chance=randomness.random
        )
        self._versions: dict[str, Version] = {}
        self._incremental: dict[str, Zone | None] = {}
        self._histories: dict[str, History] = {}
        for zone in ZONES:
            nothing = Version(zone, randomness.choice(SERIALS))
            delta = Version(zone, nothing.serial, self._content(zone)).whole()
            self._versions[zone] = nothing.after(self._sealed(nothing, delta))
        self.catalog = Catalog(CATALOG, randomness.choice(SERIALS), ZONES)
        ledger.note(self.catalog)

    def chains(self) -> list[Chain]:
        """What a worker starts with."""
        return [Chain(version) for version in self._versions.values()]

    def serials(self) -> dict[str, int]:
        """The newest ones."""
        newest = {zone: version.serial for zone, version in self._versions.items()}
        return {**newest, CATALOG: self.catalog.serial}

    def validator(self) -> Validator | None:
        """What to validate answers from `SIGNED` with, if it is signed now."""
        return Validator(KEY, now=self.now) if self._versions[SIGNED].seals else None

    def serve(self, authority: Authority) -> None:
        """Hand all that there is to the complete path."""
        authority.serve_catalog(self.catalog)
        for version in self._versions.values():
            self._histories[version.zone] = History(version.zone)
            self._incremental[version.zone] = None
            self._serve(authority, version.whole())

    def step(self, authority: Authority) -> Delta | None:
        """Let a zone take a step, or the whole of it be forgotten or come anew.

        Returns:
            What leads there; None if nothing has changed after all.
        """
        delta = self._changed(self._versions[self._random.choice(ZONES)])
        if delta is not None:
            self._versions[delta.zone] = self._versions[delta.zone].after(delta)
            self._serve(authority, delta)
        return delta

    def _changed(self, before: Version) -> Delta | None:
        r = self._random
        content = before.content
        number = following(before.serial)
        pick = r.random()
        if content is None or pick < 0.03:
            content = self._content(before.zone)
        elif pick < 0.05:
            content = None
        elif pick < 0.07:
            # The keys are lost: all of the zone as it is, without seals.
            return Version(before.zone, number, content).whole() if before.seals else None
        elif pick < 0.1:
            content = Content(() if content.addresses == (LOCAL,) else (LOCAL,), content.instances)
        else:
            instances = dict(content.instances)
            for _time in range(r.choice((1, 1, 1, 2, 5, 40))):
                instance = _instance(r)
                instances.pop(instance.public_key, None)
                if r.random() < 0.7:
                    instances[instance.public_key] = instance
            content = Content(content.addresses, instances)
        delta = before.delta_to(number, content)
        return delta and self._sealed(before, delta)

    def _content(self, zone: str) -> Content:
        """Nobody, few, about as many as a datagram can list, more, and more than TCP can list."""
        r = self._random
        usual = [r.randrange(4, 9)] * 3 + [r.randrange(13, 19)] * 3
        # To sign very many, and to read all that again, takes its time.
        number = r.choice((0, 1, 3, *usual, 60, 150 if zone == SIGNED else 1000))
        instances = [_instance(r, most=max(60, number)) for _time in range(number)]
        return Content((LOCAL,), {instance.public_key: instance for instance in instances})

    def _sealed(self, before: Version, delta: Delta) -> Delta:
        """Return the delta, signed if it is of the signed zone, and in it what has grown old."""
        if before.zone != SIGNED:
            return delta
        if before.seals and not delta.whole and len(before.seals) < AGEING:
            self.now += self._random.randrange(2 * DAY)
            delta = dataclasses.replace(delta, seals=self._signer.refresh(before))
        return self._signer.seal(before, delta)

    def _serve(self, authority: Authority, delta: Delta) -> None:
        """Answer from a zone that is made anew each time, and not by steps as in a worker.

        Its order of names is another one then, so what is to be transferred is made by steps.
        """
        version, origin = self._versions[delta.zone], dns.name.from_text(delta.zone)
        history, before = self._histories[delta.zone], self._incremental[delta.zone]
        if version.content is None:
            authority.serve(origin, None)
            history.step(before, delta)
            self._incremental[delta.zone] = None
            return
        zone = build(delta.zone, delta.serial, version.content, version.seals)
        authority.serve(origin, zone)
        after = before.after(delta) if before else zone
        history.step(before, delta)
        difference = functools.partial(history.difference, after)
        authority.zones[origin].transfers = Transfers(after, difference)
        self._incremental[delta.zone] = after
        self._ledger.note(zone)


def names() -> list[bytes]:
    """What to ask for: every name that a zone may have, a few that it must not, and the root."""
    texts = [".", "com.", "example.net.", "ns1.example.com.", "*.example.com.", CATALOG]
    texts += [f"version.{CATALOG}", f"zones.{CATALOG}"]
    for zone in ZONES:
        service = f"_wireguard._udp.{zone}"
        texts += [
            zone,
            f"ns1.{zone}",
            f"hostmaster.{zone}",
            f"_udp.{zone}",
            f"_dns-sd._udp.{zone}",
            service,
        ]
        texts += [f"{kind}._dns-sd._udp.{zone}" for kind in ("_services", "b", "db", "lb")]
        # What all ask for, and what most changes are about.
        texts += [f"_wireguard._tcp.{zone}", *[service] * 8]
        for number in range(6):
            peer = key(f"fuzzed {number}")
            labels = (peer.label, peer.unpadded_label, f"peer-{number}")
            texts += [f"{label}.{service}" for label in labels]
    # The root first: of all names the one that is answered whatever happens.
    return [wire_name(text) for text in texts]


def _instance(randomness: random.Random, most: int = 60) -> Instance:
    """One of *most* instances, with another endpoint and other allowed IPs each time."""
    number = randomness.randrange(most)
    address = randomness.choice(("198.51.100.1", "198.51.100.2", "2001:db8::1", None))
    octet = number % 256
    blocks = tuple(f"10.{octet}.{i}.0/24" for i in range(randomness.choice((0, 1, 2, 30))))
    name = f"peer-{number}" if randomness.random() < 0.5 else None
    port: int | None = randomness.randrange(1, 65536)
    if randomness.random() < 0.2:
        address = port = None
    return Instance(key(f"fuzzed {number}"), address, port, blocks, name)
