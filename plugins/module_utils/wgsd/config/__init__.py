# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration files: YAML in, typed settings out, every error with its line and field."""

from __future__ import annotations

import os
import pathlib
import typing as t

from ..errors import UsageError
from ..keys import PublicKey
from ..model import Endpoint, HostPort, parse_network
from ..names import absolute, check_label, check_zone
from .fields import Field, read
from .instances import CONFIG_FOLDER, Instance, check_instance, configured
from .settings import (
    DEFAULT_KEEPALIVE,
    DEFAULT_RATE_LIMIT,
    DEFAULT_STATE_DIR,
    TUNNEL_ONLY,
    Access,
    CatalogSettings,
    ClientSettings,
    DnssecSettings,
    PublishTarget,
    Remote,
    ResponderSettings,
    SelfSettings,
    TsigKey,
    ZoneSettings,
)
from .tsig import (
    DEFAULT_TSIG_ALGORITHM,
    TSIG_ALGORITHMS,
    key_name,
    key_secret,
    read_key,
    read_keys,
)

__all__ = [
    "CONFIG_FOLDER",
    "DEFAULT_TSIG_ALGORITHM",
    "DEFAULT_VALIDITY",
    "DNS_PORT",
    "PERSISTENT_KEEPALIVE_MAX",
    "TSIG_ALGORITHMS",
    "TUNNEL_ONLY",
    "WORKERS_MAX",
    "Access",
    "CatalogSettings",
    "ClientSettings",
    "DnssecSettings",
    "Instance",
    "PublishTarget",
    "Remote",
    "ResponderSettings",
    "SelfSettings",
    "TsigKey",
    "ZoneSettings",
    "check_instance",
    "check_interface",
    "configured",
    "key_name",
    "key_secret",
    "load_client",
    "load_responder",
    "server_address",
]

DNS_PORT = 53
RATE_LIMIT_MAX = 1_000_000
METRICS_PORT = 9586
METRICS_SUFFIX = ".prom"
WORKERS_MAX = 64
DAY = 86400
#: Days that signatures are valid for: so long nobody has to look after a registry that is down, and
#: a secondary's copy has expired long before.
DEFAULT_VALIDITY, VALIDITY_MIN, VALIDITY_MAX = 7, 2, 90
#: IFNAMSIZ - 1: the longest interface name that Linux takes.
INTERFACE_NAME_MAX = 15


def load_responder(path: pathlib.Path) -> ResponderSettings:
    """Read the configuration of the responder.

    Raises:
        UsageError: the file cannot be read or a field is wrong; the message has file and line.
    """
    top = read(path)
    top.only("listen", "zones", "workers", "metrics", "keys", "catalog", "rate_limit", "state_dir")
    no_keys: dict[str, TsigKey] = {}
    keys = top.optional("keys", read_keys, no_keys)
    zones = _zones(top.required("zones"), keys)
    nowhere: tuple[Endpoint, ...] = ()
    listen = top.optional("listen", _listen, nowhere)
    return ResponderSettings(
        zones=zones,
        listen=listen,
        workers=top.optional("workers", lambda f: f.number(1, WORKERS_MAX), _cores()),
        metrics=top.optional("metrics", lambda f: _metrics_address(f, listen), None),
        keys=keys,
        catalog=top.optional("catalog", lambda f: _catalog(f, zones, keys), None),
        rate_limit=top.optional(
            "rate_limit", lambda f: f.number(0, RATE_LIMIT_MAX), DEFAULT_RATE_LIMIT
        ),
        state_dir=top.optional("state_dir", _absolute_path, DEFAULT_STATE_DIR),
    )


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return min(len(os.sched_getaffinity(0)), WORKERS_MAX)


def load_client(path: pathlib.Path) -> ClientSettings:
    """Read the configuration of the client.

    Raises:
        UsageError: the file cannot be read or a field is wrong; the message has file and line.
    """
    top = read(path)
    top.only("interface", "zone", "registries", "keepalive", "key", "metrics_file", "discover")
    registries = top.required("registries").each(_registry, at_least=1)
    return ClientSettings(
        interface=top.required("interface").parsed(check_interface),
        zone=top.required("zone").parsed(check_zone),
        registries=tuple(server for server, _anchor in registries),
        keepalive=top.optional(
            "keepalive", lambda f: f.number(0, PERSISTENT_KEEPALIVE_MAX), DEFAULT_KEEPALIVE
        ),
        key=top.optional("key", read_key, None),
        anchors={server: anchor for server, anchor in registries if anchor},
        metrics_file=top.optional("metrics_file", _metrics_file, None),
        discover=top.optional("discover", _yes_or_no, False),
    )


def _yes_or_no(field: Field) -> bool:
    if not field.is_bool():
        field.fail("true or false is expected here")
    return field.boolean()


def _metrics_file(field: Field) -> pathlib.Path:
    path = _absolute_path(field)
    if path.suffix != METRICS_SUFFIX:
        field.fail(f"{path} is not read by node_exporter", f"give it a name with {METRICS_SUFFIX}")
    return path


def _registry(field: Field) -> tuple[Endpoint, HostPort | None]:
    """Read a DNS server, or a mapping of it and of the endpoint of its WireGuard."""
    if not field.is_mapping():
        return field.parsed(server_address), None
    field.only("address", "endpoint")
    return (
        field.required("address").parsed(server_address),
        field.optional("endpoint", lambda f: f.parsed(HostPort.parse), None),
    )


#: The field is 16 bits wide.
PERSISTENT_KEEPALIVE_MAX = 65535


def server_address(text: str) -> Endpoint:
    """Parse a DNS server as ``ADDRESS`` or ``ADDRESS:PORT``; the port defaults to 53.

    Raises:
        UsageError: not such an address.
    """
    return Endpoint.parse(text, default_port=DNS_PORT)


def check_interface(name: str) -> str:
    """Return *name* if Linux would take it for an interface.

    Raises:
        UsageError: it would not.
    """
    if not name or len(name) > INTERFACE_NAME_MAX or name in (".", ".."):
        raise UsageError(
            f"{name!r} cannot be an interface", f"give 1 to {INTERFACE_NAME_MAX} characters"
        )
    if any(c.isspace() or c in "/:" for c in name):
        raise UsageError(f"{name!r} cannot be an interface", "leave out spaces, '/' and ':'")
    return name


def _zones(field: Field, keys: t.Container[str]) -> tuple[ZoneSettings, ...]:
    items = field.items(at_least=1)
    zones: list[ZoneSettings] = []
    for item in items:
        zone = _zone(item, keys)
        if zone.zone in [other.zone for other in zones]:
            item.required("zone").fail(
                f"zone {zone.zone} is already there", "give each zone one entry"
            )
        zones.append(zone)
    # Who asks a tunnel address of one zone could else ask for another zone by it.
    said = [zone.allow_query is not None for zone in zones]
    if any(said) and not all(said):
        items[said.index(False)].fail(
            "allow_query is missing, and another zone has it", "say for each zone who may ask"
        )
    return tuple(zones)


def _zone(field: Field, keys: t.Container[str]) -> ZoneSettings:
    field.only(
        *("zone", "device", "self", "names", "allow_query"),
        *("allow_transfer", "notify", "dnssec", "publish"),
    )

    def access(who: Field) -> Access:
        return _access(who, keys)

    zone = field.required("zone").parsed(check_zone)
    return ZoneSettings(
        zone=zone,
        device=field.required("device").parsed(check_interface),
        own=field.optional("self", _self, None),
        names=field.optional("names", _names, {}),
        allow_query=field.optional("allow_query", access, None),
        allow_transfer=field.optional("allow_transfer", access, TUNNEL_ONLY),
        notify=field.optional("notify", lambda f: _remotes(f, keys), ()),
        dnssec=field.optional("dnssec", _dnssec, None),
        publish=field.optional("publish", lambda f: _targets(f, zone, keys), ()),
    )


def _catalog(
    field: Field, zones: t.Iterable[ZoneSettings], keys: t.Container[str]
) -> CatalogSettings:
    field.only("zone", "allow_transfer", "notify")
    zone = field.required("zone").parsed(check_zone)
    if zone in [member.zone for member in zones]:
        field.required("zone").fail(
            f"{zone} is one of the zones", "give the catalog a name that nothing else has"
        )
    return CatalogSettings(
        zone,
        field.optional("allow_transfer", lambda f: _access(f, keys), TUNNEL_ONLY),
        field.optional("notify", lambda f: _remotes(f, keys), ()),
    )


def _remotes(field: Field, keys: t.Container[str]) -> tuple[Remote, ...]:
    return field.each(lambda item: _remote(item, keys))


def _remote(field: Field, keys: t.Container[str]) -> Remote:
    """Read ``ADDRESS[:PORT]``, or the same and ``key NAME``."""
    address, _space, rest = field.text().strip().partition(" ")
    endpoint = field.parse_with(server_address, address)
    if not rest:
        return Remote(endpoint)
    word, _space, name = rest.strip().partition(" ")
    if word != "key" or not name:
        field.fail(f"{rest!r} is not known here", "write it as 'ADDRESS key NAME'")
    return Remote(endpoint, _known_key(field, name, keys))


def _known_key(field: Field, text: str, keys: t.Container[str]) -> str:
    name = absolute(text.strip())
    if name not in keys:
        field.fail(f"there is no key {name}", "define it under 'keys:'")
    return name


def _targets(field: Field, zone: str, keys: t.Container[str]) -> tuple[PublishTarget, ...]:
    def target(item: Field) -> PublishTarget:
        item.only("server", "zone", "key")
        return PublishTarget(
            Remote(
                item.required("server").parsed(server_address),
                item.optional("key", lambda f: _known_key(f, f.text(), keys), None),
            ),
            item.optional("zone", lambda f: f.parsed(check_zone), zone),
        )

    return field.each(target)


def _dnssec(field: Field) -> DnssecSettings | None:
    if field.is_bool():
        return DnssecSettings(DEFAULT_VALIDITY * DAY) if field.boolean() else None
    field.only("validity")
    days = field.optional("validity", lambda f: f.number(VALIDITY_MIN, VALIDITY_MAX), None)
    return DnssecSettings((days or DEFAULT_VALIDITY) * DAY)


def _access(field: Field, keys: t.Container[str]) -> Access:
    networks: list[str] = []
    names: list[str] = []
    tunnel = False
    for item in field.items():
        word, _space, name = item.text().strip().partition(" ")
        if word == "key":
            names.append(_known_key(item, name, keys))
        elif word == "tunnel" and not name:
            tunnel = True
        else:
            networks.append(item.parsed(parse_network))
    return Access(tuple(networks), tuple(names), tunnel)


def _self(field: Field) -> SelfSettings | None:
    if field.is_bool():
        return SelfSettings() if field.boolean() else None
    field.only("endpoint", "allowed_ips")
    return SelfSettings(
        endpoint=field.optional("endpoint", lambda f: f.parsed(Endpoint.parse), None),
        allowed_ips=field.optional("allowed_ips", _networks, ()),
    )


def _networks(field: Field) -> tuple[str, ...]:
    return field.each(lambda f: f.parsed(parse_network))


def _names(field: Field) -> dict[PublicKey, str]:
    names: dict[PublicKey, str] = {}
    for key_text, value in field.entries():
        key = value.parse_with(PublicKey.from_base64, key_text)
        name = value.parsed(check_label)
        if name in names.values():
            value.fail(f"the name {name} is given twice", "give each peer a name of its own")
        names[key] = name
    return names


def _listen(field: Field) -> tuple[Endpoint, ...]:
    """Read addresses, each of which can be bound beside the others."""
    found: list[Endpoint] = []
    for item in field.items():
        endpoint = _listen_address(item)
        if endpoint in found:
            item.fail(f"{endpoint} is already there", "give each address once")
        for other in found:
            if other.overlaps(endpoint):
                item.fail(f"{other} and {endpoint} overlap", "leave one of them out")
        found.append(endpoint)
    return tuple(found)


def _listen_address(field: Field) -> Endpoint:
    text = field.text()
    for wildcard in ("0.0.0.0", "[::]", "::"):
        if text == wildcard:
            return Endpoint(wildcard.strip("[]"), DNS_PORT)
        if text.startswith(wildcard + ":") and wildcard != "::":
            # Only the port needs a check; any unicast address lends itself to that.
            port = field.parse_with(Endpoint.parse, "192.0.2.1" + text[len(wildcard) :]).port
            return Endpoint(wildcard.strip("[]"), port)
    return field.parse_with(server_address, text)


def _metrics_address(field: Field, listen: t.Iterable[Endpoint]) -> Endpoint:
    text = field.text()
    if text.startswith(("0.0.0.0", "[::]")) or text == "::":
        field.fail(
            f"{text!r} would tell everyone", "give a loopback address or one within a tunnel"
        )
    metrics = field.parse_with(lambda address: Endpoint.parse(address, METRICS_PORT), text)
    for other in listen:
        if other.overlaps(metrics):
            field.fail(f"{metrics} overlaps with {other} in 'listen'", "give another port")
    return metrics


def _absolute_path(field: Field) -> pathlib.Path:
    path = pathlib.Path(field.text())
    if not path.is_absolute():
        field.fail(f"{str(path)!r} is not absolute", "start it with '/'")
    return path
