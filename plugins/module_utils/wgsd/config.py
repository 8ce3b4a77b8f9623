# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration files: YAML in, typed settings out, every error with its line and field."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
import pathlib
import typing as t

from .errors import UsageError
from .keys import PublicKey
from .model import Endpoint, parse_network
from .names import absolute, check_label, check_zone
from .thirdparty import yaml

DNS_PORT = 53
DEFAULT_KEEPALIVE = 25
DEFAULT_RATE_LIMIT = 50
RATE_LIMIT_MAX = 1_000_000
DEFAULT_STATE_DIR = pathlib.Path("/var/lib/wgsd")
METRICS_PORT = 9586
WORKERS_MAX = 64
TSIG_ALGORITHMS = ("hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
DEFAULT_TSIG_ALGORITHM = "hmac-sha256"
#: Characters of an absolute domain name (RFC 1035 section 2.3.4 without its length bytes).
KEY_NAME_MAX = 254
#: Bytes; what is shorter can be guessed by trying.
TSIG_SECRET_MIN = 16
DAY = 86400
#: Days that signatures are valid for: so long nobody has to look after a registry that is down, and
#: a secondary's copy has expired long before.
DEFAULT_VALIDITY, VALIDITY_MIN, VALIDITY_MAX = 7, 2, 90
#: IFNAMSIZ - 1: the longest interface name that Linux takes.
INTERFACE_NAME_MAX = 15

T = t.TypeVar("T")


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
    """

    interface: str
    zone: str
    registries: tuple[Endpoint, ...]
    keepalive: int = DEFAULT_KEEPALIVE
    key: TsigKey | None = None


def load_responder(path: pathlib.Path) -> ResponderSettings:
    """Read the configuration of the responder.

    Raises:
        UsageError: the file cannot be read or a field is wrong; the message has file and line.
    """
    top = _read(path)
    top.only("listen", "zones", "workers", "metrics", "keys", "catalog", "rate_limit", "state_dir")
    no_keys: dict[str, TsigKey] = {}
    keys = top.optional("keys", _keys, no_keys)
    zones = _zones(top.required("zones"), keys)
    return ResponderSettings(
        zones=zones,
        listen=top.optional("listen", lambda f: f.each(_listen_address), ()),
        workers=top.optional("workers", lambda f: f.number(1, WORKERS_MAX), _cores()),
        metrics=top.optional("metrics", _metrics_address, None),
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
    top = _read(path)
    top.only("interface", "zone", "registries", "keepalive", "key")
    return ClientSettings(
        interface=top.required("interface").parsed(check_interface),
        zone=top.required("zone").parsed(check_zone),
        registries=top.required("registries").each(lambda f: f.parsed(server_address), at_least=1),
        keepalive=top.optional(
            "keepalive", lambda f: f.number(0, PERSISTENT_KEEPALIVE_MAX), DEFAULT_KEEPALIVE
        ),
        key=top.optional("key", _own_key, None),
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


def _keys(field: Field) -> dict[str, TsigKey]:
    keys: dict[str, TsigKey] = {}
    for text, value in field.entries():
        name = value.parse_with(key_name, text)
        if name in keys:
            value.fail(f"the key {name} is already there", "give each key a name of its own")
        value.only("algorithm", "secret")
        keys[name] = _tsig_key(name, value)
    return keys


def _own_key(field: Field) -> TsigKey:
    field.only("name", "algorithm", "secret")
    return _tsig_key(field.required("name").parsed(key_name), field)


def _tsig_key(name: str, field: Field) -> TsigKey:
    algorithm = field.optional("algorithm", _algorithm, DEFAULT_TSIG_ALGORITHM)
    return TsigKey(name, algorithm, _secret(field.required("secret")))


def key_name(text: str) -> str:
    """Return the name of a TSIG key as `absolute` writes it.

    Raises:
        UsageError: no domain name.
    """
    name = absolute(text)
    labels = name[:-1].split(".")
    if len(name) > KEY_NAME_MAX or not all(_is_key_label(label) for label in labels):
        raise UsageError(
            f"{text!r} cannot be the name of a key", "write it like a domain name: a.example.com."
        )
    return name


def _is_key_label(label: str) -> bool:
    good = 0 < len(label) <= 63 and label.isascii()
    return good and all(c.isalnum() or c in "-_" for c in label)


def _algorithm(field: Field) -> str:
    name = field.text().lower().rstrip(".")
    if name in ("hmac-sha1", "hmac-md5", "hmac-md5.sig-alg.reg.int"):
        field.fail(f"{name} is too weak", f"make a key for one of: {', '.join(TSIG_ALGORITHMS)}")
    if name not in TSIG_ALGORITHMS:
        field.fail(f"{name!r} is not known", f"give one of: {', '.join(TSIG_ALGORITHMS)}")
    return name


def _secret(field: Field) -> bytes:
    # What was written goes into no error: it may be a secret with a slip of the pen.
    remedy = "make one with: openssl rand -base64 32"
    try:
        secret = base64.b64decode(field.text(), validate=True)
    except (binascii.Error, ValueError):
        field.fail("not Base64", remedy)
    if len(secret) < TSIG_SECRET_MIN:
        field.fail(f"the secret has {len(secret)} bytes, not {TSIG_SECRET_MIN} or more", remedy)
    return secret


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


def _metrics_address(field: Field) -> Endpoint:
    text = field.text()
    if text.startswith(("0.0.0.0", "[::]")) or text == "::":
        field.fail(
            f"{text!r} would tell everyone", "give a loopback address or one within a tunnel"
        )
    return field.parse_with(lambda address: Endpoint.parse(address, METRICS_PORT), text)


def _absolute_path(field: Field) -> pathlib.Path:
    path = pathlib.Path(field.text())
    if not path.is_absolute():
        field.fail(f"{str(path)!r} is not absolute", "start it with '/'")
    return path


def _read(path: pathlib.Path) -> Field:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        remedy = "run as root" if isinstance(exc, PermissionError) else "check its path and mode"
        raise UsageError(f"{path}: cannot be read: {reason}", remedy) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(exc, "problem", None) or exc
        raise UsageError(f"{where}: not valid YAML: {problem}", "mend the line") from None
    if node is None:
        raise UsageError(f"{path}: the file is empty", "see docs/configuration.md for an example")
    return Field(path, "", node)


class Field:
    """One node of the YAML tree that knows its file, line and path (``zones[0].self``)."""

    def __init__(self, path: pathlib.Path, name: str, node: yaml.Node) -> None:
        self._path = path
        self._name = name
        self._node = node

    def fail(self, message: str, remedy: str = "") -> t.NoReturn:
        """Raise a `UsageError` that names file, line and field."""
        line = self._node.start_mark.line + 1
        field = f"field {self._name}: " if self._name else ""
        raise UsageError(f"{self._path}:{line}: {field}{message}", remedy)

    def parse_with(self, parse: t.Callable[[str], T], text: str) -> T:
        """Return ``parse(text)``, with this field named in the error."""
        try:
            return parse(text)
        except UsageError as exc:
            self.fail(exc.message, exc.remedy)

    def parsed(self, parse: t.Callable[[str], T]) -> T:
        """Return this field's text through *parse*."""
        return self.parse_with(parse, self.text())

    def text(self) -> str:
        """Return a scalar as it is written; a bare number counts as text."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag.endswith(":null"):
            self.fail("a text is expected here")
        return str(self._node.value)

    def number(self, low: int, high: int) -> int:
        """Return an integer within *low*..*high*."""
        text = self.text()
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            self.fail(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    def is_bool(self) -> bool:
        """Whether the field is ``true`` or ``false``."""
        return bool(self._node.tag == "tag:yaml.org,2002:bool")

    def boolean(self) -> bool:
        """Return a boolean, spelled as YAML 1.1 allows."""
        return str(self._node.value).lower() in ("true", "yes", "on")

    def items(self, at_least: int = 0) -> list[Field]:
        """Return the fields of a sequence."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail("a list is expected here", "write each item on a line that starts with '- '")
        if len(self._node.value) < at_least:
            self.fail("the list is empty", f"give at least {at_least}")
        return [
            Field(self._path, f"{self._name}[{i}]", node) for i, node in enumerate(self._node.value)
        ]

    def each(self, parse: t.Callable[[Field], T], at_least: int = 0) -> tuple[T, ...]:
        """Return the fields of a sequence, each through *parse*."""
        return tuple(parse(item) for item in self.items(at_least))

    def entries(self) -> list[tuple[str, Field]]:
        """Return the keys of a mapping and their fields; a key that comes twice is an error."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail("a mapping is expected here", "write it as 'key: value'")
        found: dict[str, Field] = {}
        for key_node, value_node in self._node.value:
            key = str(key_node.value)
            name = f"{self._name}.{key}" if self._name else key
            if key in found:
                Field(self._path, name, key_node).fail("is given twice", "remove one of them")
            found[key] = Field(self._path, name, value_node)
        return list(found.items())

    def only(self, *known: str) -> None:
        """Refuse keys that are not in *known*."""
        for key, field in self.entries():
            if key not in known:
                field.fail("unknown key", f"known here: {', '.join(known)}")

    def required(self, key: str) -> Field:
        """Return the field of *key*, which must be there."""
        for name, field in self.entries():
            if name == key:
                return field
        self.fail(f"{key} is missing", f"add '{key}:'")

    def optional(self, key: str, parse: t.Callable[[Field], T], default: T) -> T:
        """Return the field of *key* through *parse*, or *default* if it is not there."""
        for name, field in self.entries():
            if name == key:
                return parse(field)
        return default
