# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory says of a mesh: its hosts, checked one by one and against each other.

Private to this collection.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import HostPort, parse_network
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import check_label

T = t.TypeVar("T")
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

PRESENT, ABSENT = "present", "absent"


class MeshError(Exception):
    """The inventory is wrong; the message names hosts, variables and the remedy."""


class Host:
    """One host of the mesh, as its variables describe it.

    Args:
        host: Its inventory name.
        variables: Its variables.
        removed: Whether this run removes it, whatever its variables say.

    Raises:
        MeshError: a variable cannot be used.

    Attributes:
        name: Its name in the zone.
        public_key: None if it is not known in this run.
        former_keys: Those that it has had before.
        is_absent: Whether it is to leave the mesh. Nothing more is known of such a host.
        zone: As given, None if the inventory does not say.
    """

    def __init__(
        self, host: str, variables: t.Mapping[str, t.Any], *, removed: bool = False
    ) -> None:
        self.host = host
        key = variables.get("wgsd_public_key") or None
        self.public_key = key and self._parsed("wgsd_public_key", PublicKey.from_base64, key)
        self.name = self._parsed(
            "wgsd_name", check_label, variables.get("wgsd_name") or default_name(host)
        )
        state = variables.get("wgsd_state") or PRESENT
        if state not in (PRESENT, ABSENT):
            raise MeshError(f"wgsd_state of host {host}: {state!r} is neither present nor absent")
        self.is_absent = removed or is_absent(variables)
        self.former_keys: list[PublicKey] = []
        self.endpoint: HostPort | None = None
        self.addresses: list[str] = []
        self.networks: list[Network] = []
        self.zone = None
        if not self.is_absent:
            self._read(variables)

    def _read(self, variables: t.Mapping[str, t.Any]) -> None:
        zone = variables.get("wgsd_zone") or None
        self.zone = zone and str(zone).rstrip(".").lower()
        self.former_keys = [
            self._parsed("wgsd_former_keys", PublicKey.from_base64, key)
            for key in as_list(variables.get("wgsd_former_keys"))
        ]
        endpoint = variables.get("wgsd_endpoint") or None
        self.endpoint = endpoint and self._parsed("wgsd_endpoint", HostPort.parse, endpoint)
        self.addresses = [str(address) for address in as_list(variables.get("wgsd_address"))]
        self.networks = [
            self._parsed("wgsd_address", _tunnel_network, address) for address in self.addresses
        ]
        self.networks += [
            self._parsed("wgsd_allowed_ips", _behind, block)
            for block in as_list(variables.get("wgsd_allowed_ips"))
        ]

    def _parsed(self, variable: str, parse: t.Callable[[str], T], value: t.Any) -> T:
        try:
            return parse(str(value))
        except WgsdError as exc:
            raise MeshError(f"{variable} of host {self.host}: {exc}") from exc


def read_hosts(
    hostvars: t.Any, hosts: t.Iterable[t.Any], removed: t.Collection[str] = ()
) -> list[Host]:
    """Return the hosts, each once.

    Raises:
        MeshError: one is not in the inventory, or a variable of one cannot be used.
    """
    names = list(dict.fromkeys(map(str, hosts)))
    for name in names:
        if name not in hostvars:
            raise MeshError(f"there is no host {name} in the inventory")
    return [Host(name, hostvars[name], removed=name in removed) for name in names]


def is_absent(variables: t.Mapping[str, t.Any]) -> bool:
    """Whether a host of these variables is to leave the mesh."""
    return bool(variables.get("wgsd_state") == ABSENT)


def check_against_each_other(hosts: t.Iterable[Host]) -> None:
    """Check that no two hosts claim the same.

    Raises:
        MeshError: two hosts have the same public key, name or address, or networks that overlap.
    """
    present = [host for host in hosts if not host.is_absent]
    _check_unique(present, "public key", lambda host: host.public_key, "wgsd_public_key")
    _check_unique(present, "name", lambda host: host.name, "wgsd_name")
    _check_networks(present)


def default_name(host: str) -> str:
    """Return the name of a host that has no ``wgsd_name``: a label made of its inventory name."""
    try:
        text = str(ipaddress.ip_address(host))
    except ValueError:
        text = host.partition(".")[0]
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[:63].strip("-") or "peer"


def as_list(value: t.Any) -> list[t.Any]:
    """Return *value* as a list: one thing is a list of one, nothing is an empty one."""
    if not value:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _tunnel_network(text: str) -> Network:
    """Return the one-address block of a tunnel address, whatever the tunnel's prefix length."""
    try:
        address = ipaddress.ip_interface(text).ip
    except ValueError:
        raise UsageError(
            f"{text!r} is not an address in CIDR notation", "write it as 10.0.0.1/24"
        ) from None
    return ipaddress.ip_network(address)


def _behind(text: str) -> Network:
    return ipaddress.ip_network(parse_network(text))


def _check_unique(
    hosts: t.Iterable[Host], what: str, value_of: t.Callable[[Host], t.Any], variable: str
) -> None:
    owners: dict[t.Any, Host] = {}
    for host in hosts:
        value = value_of(host)
        other = owners.setdefault(value, host) if value else host
        if other is not host:
            raise MeshError(
                f"hosts {other.host} and {host.host} have the same {what} {value}; "
                f"give each its own {variable}"
            )


def _check_networks(hosts: t.Iterable[Host]) -> None:
    """Refuse networks of two hosts that overlap; a default route overlaps only its like."""
    owned = sorted(
        ((network, host) for host in hosts for network in host.networks),
        key=lambda pair: (pair[0].version, int(pair[0].network_address), pair[0].prefixlen),
    )
    # Blocks nest or are apart: sorted this way, one that holds others stands before them.
    around: list[tuple[Network, Host]] = []
    for network, host in owned:
        while around and not _contains(around[-1][0], network):
            around.pop()
        for outer, owner in around:
            if owner is not host and (outer.prefixlen > 0 or network.prefixlen == 0):
                raise MeshError(
                    f"hosts {owner.host} and {host.host} both claim {network} "
                    f"({owner.host} by {outer}); WireGuard sends an address to one peer only: "
                    "change wgsd_address or wgsd_allowed_ips of one of them"
                )
        around.append((network, host))


def _contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)
