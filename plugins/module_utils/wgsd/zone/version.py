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
from ..model import Device

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
        instances: In the order of their labels (RFC 4034 section 6.1).
    """

    addresses: tuple[str, ...]
    instances: tuple[Instance, ...]


@dataclasses.dataclass(frozen=True)
class Version:
    """A zone's content at one serial; content None: nothing is known (any more)."""

    zone: str
    serial: int
    content: Content | None

    def encode(self) -> bytes:
        """Return the version in the form that `decode` reads."""
        fields: dict[str, object] = {"zone": self.zone, "serial": self.serial}
        if self.content is not None:
            fields["addresses"] = self.content.addresses
            fields["instances"] = [
                (i.public_key.base64, i.address, i.port, i.allowed_ips, i.name)
                for i in self.content.instances
            ]
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Version:
        """Read what `encode` wrote in the same program; nothing else is expected here."""
        fields = json.loads(encoded)
        content = None
        if "instances" in fields:
            content = Content(
                addresses=tuple(fields["addresses"]),
                instances=tuple(
                    Instance(PublicKey.from_base64(key), address, port, tuple(allowed_ips), name)
                    for key, address, port, allowed_ips, name in fields["instances"]
                ),
            )
        return cls(fields["zone"], fields["serial"], content)


def tunnel_addresses(interfaces: t.Iterable[Interface]) -> tuple[str, ...]:
    """Return the addresses that peers can ask: all but link-local ones, IPv4 first."""
    usable = [interface.ip for interface in interfaces if not interface.ip.is_link_local]
    return tuple(str(ip) for ip in sorted(usable, key=lambda ip: (ip.version, int(ip))))


def content_of(settings: ZoneSettings, device: Device, addresses: tuple[str, ...]) -> Content:
    """Pick from a device snapshot what the zone serves: the peers that have an endpoint.

    Args:
        addresses: As `tunnel_addresses` returns them.
    """
    instances = [
        Instance(
            peer.public_key,
            peer.endpoint.address,
            peer.endpoint.port,
            peer.allowed_ips,
            settings.names.get(peer.public_key),
        )
        for peer in device.peers.values()
        if peer.endpoint is not None
    ]
    own = _own_instance(settings, device)
    if own is not None:
        instances.append(own)
    instances.sort(key=lambda instance: instance.public_key.label)
    return Content(addresses, tuple(instances))


def _own_instance(settings: ZoneSettings, device: Device) -> Instance | None:
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
