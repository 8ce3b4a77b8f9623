# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a zone has to say at one serial, as plain data that processes hand to one another."""

from __future__ import annotations

import base64
import collections
import dataclasses
import ipaddress
import json
import struct
import typing as t

from ..config import ZoneSettings
from ..keys import PublicKey
from ..model import Device, Peer

Interface = t.Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]

#: What a chain keeps at most: steps, and instances and seals in them. Both bound the time that it
#: takes to go through a chain, and the second its bytes.
STEPS_MAX = 2000
CHANGES_MAX = 20000
_RECORD = struct.Struct("!HIH")


class Record(t.NamedTuple):
    """A record without its owner, whose class is IN.

    Attributes:
        ttl: Seconds.
        rdata: As in a message, without compression.
    """

    rdtype: int
    ttl: int
    rdata: bytes


def pack(records: t.Iterable[Record]) -> bytes:
    """Return records in the form that `unpack` reads.

    There are very many of them, and few are ever looked at.
    """
    return b"".join(
        _RECORD.pack(record.rdtype, record.ttl, len(record.rdata)) + record.rdata
        for record in records
    )


def unpack(packed: bytes) -> list[Record]:
    """Read what `pack` wrote."""
    records = []
    position = 0
    while position < len(packed):
        rdtype, ttl, length = _RECORD.unpack_from(packed, position)
        position += _RECORD.size + length
        records.append(Record(rdtype, ttl, packed[position - length : position]))
    return records


@dataclasses.dataclass(frozen=True)
class Instance:
    """One served peer: a DNS-SD instance, or a member of the mesh that is to become one.

    Attributes:
        address: A literal address without scope; None for the one that a query came in on.
        port: None for a member that has no endpoint yet, and so no address either.
        name: The friendly name, if it has one.
    """

    public_key: PublicKey
    address: str | None
    port: int | None
    allowed_ips: tuple[str, ...] = ()
    name: str | None = None

    @property
    def has_endpoint(self) -> bool:
        """Whether it is a service that can be listed and reached."""
        return self.port is not None

    @property
    def is_here(self) -> bool:
        """Whether its address is the one that a query came in on."""
        return self.port is not None and self.address is None


@dataclasses.dataclass(frozen=True)
class Content:
    """What the zone is made of, apart from its name and serial.

    Attributes:
        addresses: The registry's tunnel addresses: its name server's, and where it may be asked.
        instances: By public key, in no particular order.
    """

    addresses: tuple[str, ...]
    instances: t.Mapping[PublicKey, Instance]

    @property
    def listed(self) -> int:
        """How many instances have an endpoint."""
        return sum(instance.port is not None for instance in self.instances.values())


@dataclasses.dataclass(frozen=True)
class Delta:
    """The step of a zone to its next serial: what processes hand to one another.

    Attributes:
        addresses: All of them, as in `Content`; None: nothing is known of the zone (any more).
        changed: Instances that are new or not as they were.
        removed: Keys whose instances are gone.
        whole: Whatever was known before is to be forgotten, so the delta has all there is.
        seals: What DNSSEC adds (RRSIG, NSEC and DNSKEY records), packed, by owner: a name relative
            to the zone, in lower case, the apex being the empty one. All owners that are not
            sealed as they were, with everything that they are sealed with; nothing: not any more.
    """

    zone: str
    serial: int
    addresses: tuple[str, ...] | None
    changed: tuple[Instance, ...] = ()
    removed: tuple[PublicKey, ...] = ()
    whole: bool = False
    seals: t.Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def weight(self) -> int:
        """About how much there is in it."""
        return 1 + len(self.changed) + len(self.removed) + len(self.seals)

    def encode(self) -> bytes:
        """Return the delta in the form that `decode` reads."""
        changed = [
            (i.public_key.base64, i.address, i.port, i.allowed_ips, i.name) for i in self.changed
        ]
        removed = [key.base64 for key in self.removed]
        seals = {owner: base64.b64encode(seal).decode() for owner, seal in self.seals.items()}
        fields = (self.zone, self.serial, self.addresses, changed, removed, self.whole, seals)
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Delta:
        """Read what `encode` wrote in the same program; nothing else is expected here."""
        zone, serial, addresses, changed, removed, whole, seals = json.loads(encoded)
        return cls(
            zone,
            serial,
            None if addresses is None else tuple(addresses),
            tuple(
                Instance(PublicKey.from_base64(key), address, port, tuple(allowed_ips), name)
                for key, address, port, allowed_ips, name in changed
            ),
            tuple(PublicKey.from_base64(key) for key in removed),
            whole,
            {owner: base64.b64decode(seal) for owner, seal in seals.items()},
        )


@dataclasses.dataclass(frozen=True)
class Version:
    """A zone at one serial.

    Attributes:
        content: None: nothing is known (any more).
        seals: By owner, as in `Delta`; empty where the zone is not signed.
    """

    zone: str
    serial: int
    content: Content | None = None
    seals: t.Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    def after(self, *deltas: Delta) -> Version:
        """Return the version that *deltas* lead to from this one, one after the other."""
        if not deltas:
            return self
        instances: dict[PublicKey, Instance] = {}
        if self.content is not None:
            instances.update(self.content.instances)
        seals = dict(self.seals)
        for delta in deltas:
            if delta.whole or delta.addresses is None:
                instances.clear()
                seals = {}
            for key in delta.removed:
                instances.pop(key, None)
            for instance in delta.changed:
                instances[instance.public_key] = instance
            for owner, seal in delta.seals.items():
                if seal:
                    seals[owner] = seal
                else:
                    seals.pop(owner, None)
        last = deltas[-1]
        content = None if last.addresses is None else Content(last.addresses, instances)
        return Version(self.zone, last.serial, content, seals)

    def delta_to(self, serial: int, content: Content | None) -> Delta | None:
        """Return the delta to *content* under the number *serial*; None if nothing differs."""
        before = self.content
        if content == before:
            return None
        if before is None or content is None:
            return Version(self.zone, serial, content).whole()
        return Delta(
            self.zone,
            serial,
            content.addresses,
            tuple(i for key, i in content.instances.items() if before.instances.get(key) != i),
            tuple(key for key in before.instances if key not in content.instances),
        )

    def delta_by(self, serial: int, changes: t.Mapping[PublicKey, Instance | None]) -> Delta | None:
        """Return the delta that *changes* of a known content make; None if they make none.

        Args:
            changes: Instances as they are now, None for those that are gone.
        """
        if self.content is None:
            raise ValueError(f"nothing is known of {self.zone} that could change")
        before = self.content.instances
        changed = tuple(i for key, i in changes.items() if i and before.get(key) != i)
        removed = tuple(key for key, i in changes.items() if i is None and key in before)
        if not changed and not removed:
            return None
        return Delta(self.zone, serial, self.content.addresses, changed, removed)

    def whole(self) -> Delta:
        """Return the delta that leads to this version from anything."""
        if self.content is None:
            return Delta(self.zone, self.serial, None)
        changed = tuple(self.content.instances.values())
        return Delta(
            self.zone,
            self.serial,
            self.content.addresses,
            changed,
            whole=True,
            seals=self.seals,
        )


class Chain:
    """The newest version of a zone and the steps that have led to it, as far back as is kept.

    Attributes:
        base: The version before the first of the steps.
        newest: The one after the last.
    """

    def __init__(self, base: Version, steps: t.Iterable[Delta] = ()) -> None:
        self.base = base
        self._steps = collections.deque(steps)
        self._weight = sum(step.weight for step in self._steps)
        self.newest = base.after(*self._steps)

    @property
    def steps(self) -> t.Sequence[Delta]:
        """The steps from the base on, none of which is whole."""
        return self._steps

    @classmethod
    def of(cls, deltas: t.Iterable[Delta]) -> Chain:
        """Return the chain that `deltas` returned these of."""
        base, *steps = deltas
        return cls(Version(base.zone, base.serial).after(base), steps)

    def deltas(self) -> list[Delta]:
        """Return the base as a delta from anything, and then the steps."""
        return [self.base.whole(), *self._steps]

    def step(self, delta: Delta) -> None:
        """Go on by *delta*; one that has all there is leaves nothing before it."""
        self.newest = self.newest.after(delta)
        if delta.whole or delta.addresses is None:
            self._steps.clear()
            self._weight = 0
            self.base = self.newest
            return
        self._steps.append(delta)
        self._weight += delta.weight
        if len(self._steps) > STEPS_MAX or self._weight > CHANGES_MAX:
            self._forget()

    def _forget(self) -> None:
        """Let the base take up the older half, so that this has to be done rarely."""
        folded = []
        while self._steps and (
            len(self._steps) > STEPS_MAX // 2 or self._weight > CHANGES_MAX // 2
        ):
            folded.append(self._steps.popleft())
            self._weight -= folded[-1].weight
        self.base = self.base.after(*folded)


def tunnel_addresses(interfaces: t.Iterable[Interface]) -> tuple[str, ...]:
    """Return the addresses that peers can ask: all but link-local ones, IPv4 first."""
    usable = [interface.ip for interface in interfaces if not interface.ip.is_link_local]
    return tuple(str(ip) for ip in sorted(usable, key=lambda ip: (ip.version, int(ip))))


def content_of(settings: ZoneSettings, device: Device, addresses: tuple[str, ...]) -> Content:
    """Pick from a device snapshot what the zone serves: all peers but those that say nothing.

    Args:
        addresses: As `tunnel_addresses` returns them.
    """
    instances = {}
    for peer in device.peers.values():
        instance = instance_of(settings, peer)
        if instance is not None:
            instances[peer.public_key] = instance
    own = own_instance(settings, device)
    if own is not None:
        instances[own.public_key] = own
    return Content(addresses, instances)


def instance_of(settings: ZoneSettings, peer: Peer) -> Instance | None:
    """Return what the zone serves of *peer*.

    Returns:
        None for a peer with neither an endpoint nor allowed IPs: a key that is announced, and not a
        member yet.
    """
    if peer.endpoint is None and not peer.allowed_ips:
        return None
    return Instance(
        peer.public_key,
        peer.endpoint.address if peer.endpoint else None,
        peer.endpoint.port if peer.endpoint else None,
        peer.allowed_ips,
        settings.names.get(peer.public_key),
    )


def own_instance(settings: ZoneSettings, device: Device) -> Instance | None:
    """Return what the zone serves of the registry itself, if it does."""
    if settings.own is None or device.public_key is None:
        return None
    endpoint = settings.own.endpoint
    port = endpoint.port if endpoint else device.listen_port
    if not port:
        return None
    return Instance(
        device.public_key,
        endpoint.address if endpoint else None,
        port,
        settings.own.allowed_ips,
        settings.names.get(device.public_key),
    )
