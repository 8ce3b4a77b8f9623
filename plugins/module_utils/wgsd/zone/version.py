# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a zone has to say at one serial, as plain data that processes hand to one another."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import typing as t

from ..config import ZoneSettings
from ..keys import PublicKey
from ..model import Device, Peer

Interface = t.Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]


@dataclasses.dataclass(frozen=True)
class Instance:
    """One served peer: a DNS-SD instance.

    Attributes:
        address: A literal address without scope; None for the one that a query came in on.
        name: The friendly name, if it has one.
    """

    public_key: PublicKey
    address: str | None
    port: int
    allowed_ips: tuple[str, ...] = ()
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Content:
    """What the zone is made of, apart from its name and serial.

    Attributes:
        addresses: The registry's tunnel addresses: its name server's, and where it may be asked.
        instances: By public key, in no particular order.
    """

    addresses: tuple[str, ...]
    instances: t.Mapping[PublicKey, Instance]


@dataclasses.dataclass(frozen=True)
class Delta:
    """The step of a zone to its next serial: what processes hand to one another.

    Attributes:
        addresses: All of them, as in `Content`; None: nothing is known of the zone (any more).
        changed: Instances that are new or not as they were.
        removed: Keys whose instances are gone.
        whole: Whatever was known before is to be forgotten, so *changed* has all there is.
    """

    zone: str
    serial: int
    addresses: tuple[str, ...] | None
    changed: tuple[Instance, ...] = ()
    removed: tuple[PublicKey, ...] = ()
    whole: bool = False

    def encode(self) -> bytes:
        """Return the delta in the form that `decode` reads."""
        changed = [
            (i.public_key.base64, i.address, i.port, i.allowed_ips, i.name) for i in self.changed
        ]
        removed = [key.base64 for key in self.removed]
        fields = (self.zone, self.serial, self.addresses, changed, removed, self.whole)
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Delta:
        """Read what `encode` wrote in the same program; nothing else is expected here."""
        zone, serial, addresses, changed, removed, whole = json.loads(encoded)
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
        )


@dataclasses.dataclass(frozen=True)
class Version:
    """A zone's content at one serial; content None: nothing is known (any more)."""

    zone: str
    serial: int
    content: Content | None = None

    def after(self, delta: Delta) -> Version:
        """Return the version that *delta* leads to from this one."""
        if delta.addresses is None:
            return Version(self.zone, delta.serial, None)
        instances: dict[PublicKey, Instance] = {}
        if self.content is not None and not delta.whole:
            instances.update(self.content.instances)
        for key in delta.removed:
            instances.pop(key, None)
        for instance in delta.changed:
            instances[instance.public_key] = instance
        return Version(self.zone, delta.serial, Content(delta.addresses, instances))

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
        return Delta(self.zone, self.serial, self.content.addresses, changed, whole=True)


def tunnel_addresses(interfaces: t.Iterable[Interface]) -> tuple[str, ...]:
    """Return the addresses that peers can ask: all but link-local ones, IPv4 first."""
    usable = [interface.ip for interface in interfaces if not interface.ip.is_link_local]
    return tuple(str(ip) for ip in sorted(usable, key=lambda ip: (ip.version, int(ip))))


def content_of(settings: ZoneSettings, device: Device, addresses: tuple[str, ...]) -> Content:
    """Pick from a device snapshot what the zone serves: the peers that have an endpoint.

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
    """Return what the zone serves of *peer*; None if it has no endpoint."""
    if peer.endpoint is None:
        return None
    return Instance(
        peer.public_key,
        peer.endpoint.address,
        peer.endpoint.port,
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
