# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the daemons run on, as plain data."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ..keys import PublicKey
from ..model import Endpoint, HostPort

DEFAULT_KEEPALIVE = 25
DEFAULT_RATE_LIMIT = 50
DEFAULT_STATE_DIR = pathlib.Path("/var/lib/wgsd")


@dataclasses.dataclass(frozen=True)
class SelfSettings:
    """How the registry's own device is served.

    Attributes:
        endpoint: None for the address that a query came in on and the device's listen port.
        allowed_ips: The registry's own allowed IPs as CIDR blocks.
    """

    endpoint: Endpoint | None = None
    allowed_ips: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TsigKey:
    """A shared secret (RFC 8945); the secret is never printed.

    Attributes:
        name: Absolute, lower case.
        algorithm: Such as ``hmac-sha256``.
    """

    name: str
    algorithm: str
    secret: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may do something: whom any of these lets in.

    Attributes:
        networks: CIDR blocks that a query may come from.
        keys: Names of TSIG keys that it may be signed with, absolute and lower case.
        tunnel: Whether it may come in through the zone's device, to one of its addresses.
    """

    networks: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    tunnel: bool = False


#: Who may do what nobody is named for.
TUNNEL_ONLY = Access(tunnel=True)


@dataclasses.dataclass(frozen=True)
class Remote:
    """Another DNS server.

    Attributes:
        key: The name of the TSIG key that messages to it are signed with, absolute, lower case.
    """

    endpoint: Endpoint
    key: str | None = None


@dataclasses.dataclass(frozen=True)
class DnssecSettings:
    """How a zone is signed.

    Attributes:
        validity: Seconds from the making of a signature to its expiration.
    """

    validity: int


@dataclasses.dataclass(frozen=True)
class PublishTarget:
    """An authoritative server that gets the zone's peers by dynamic update (RFC 2136).

    Attributes:
        zone: The zone there, absolute, lower case.
    """

    server: Remote
    zone: str


@dataclasses.dataclass(frozen=True)
class CatalogSettings:
    """A catalog zone (RFC 9432), whose members are the zones.

    Attributes:
        zone: Its name, absolute, lower case.
        notify: Secondaries to notify of its changes.
    """

    zone: str
    allow_transfer: Access = TUNNEL_ONLY
    notify: tuple[Remote, ...] = ()


@dataclasses.dataclass(frozen=True)
class ZoneSettings:
    """One zone and the device that it describes.

    Attributes:
        zone: Absolute, lower case.
        own: How the registry itself is served; None for not at all.
        names: Friendly names of keys, lower case.
        allow_query: None for whoever comes in through the device, to one of its addresses.
        notify: Secondaries to notify of changes, besides whoever has transferred the zone lately.
        dnssec: None for a zone that is not signed.
        publish: Where to push the zone's peers.
    """

    zone: str
    device: str
    own: SelfSettings | None = None
    names: t.Mapping[PublicKey, str] = dataclasses.field(default_factory=dict)
    allow_query: Access | None = None
    allow_transfer: Access = TUNNEL_ONLY
    notify: tuple[Remote, ...] = ()
    dnssec: DnssecSettings | None = None
    publish: tuple[PublishTarget, ...] = ()


@dataclasses.dataclass(frozen=True)
class ResponderSettings:
    """What ``wgsd responder`` runs on.

    Attributes:
        listen: Addresses to serve on; empty for port 53 on the zones' tunnel addresses. The
            unspecified address stands for all.
        workers: Processes that answer.
        metrics: Where to serve metrics over HTTP; None for nowhere.
        keys: TSIG keys by name.
        rate_limit: UDP responses a second of a worker to one network outside the tunnel; 0 for any.
    """

    zones: tuple[ZoneSettings, ...]
    listen: tuple[Endpoint, ...] = ()
    workers: int = 1
    metrics: Endpoint | None = None
    keys: t.Mapping[str, TsigKey] = dataclasses.field(default_factory=dict)
    catalog: CatalogSettings | None = None
    rate_limit: int = DEFAULT_RATE_LIMIT
    state_dir: pathlib.Path = DEFAULT_STATE_DIR


@dataclasses.dataclass(frozen=True)
class ClientSettings:
    """What ``wgsd client`` runs on.

    Attributes:
        registries: DNS servers of the zone, asked in this order.
        keepalive: Seconds between keepalives to peers that the client connects, 0 for none.
        key: What queries are signed with; None for nothing.
        anchors: Where the WireGuard device of a registry is to be found should it be lost, by the
            registry's DNS server; without an entry, where it was found last.
        metrics_file: Where to write metrics for node_exporter's textfile collector; None for
            nowhere.
        discover: Whether to add members of the zone that the device lacks.
    """

    interface: str
    zone: str
    registries: tuple[Endpoint, ...]
    keepalive: int = DEFAULT_KEEPALIVE
    key: TsigKey | None = None
    anchors: t.Mapping[Endpoint, HostPort] = dataclasses.field(default_factory=dict)
    metrics_file: pathlib.Path | None = None
    discover: bool = False
