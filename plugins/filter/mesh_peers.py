# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_peers: from the inventory's hosts to the peers of one WireGuard interface."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_peers
short_description: The peers of an interface, out of the inventory's hosts
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Turns hosts of the inventory into the list that the O(wgsd.mesh.wg_interface#module:peers)
    option of M(wgsd.mesh.wg_interface) takes.
  - A host whose public key is not known (yet) is left out. The module removes no peers unless
    O(wgsd.mesh.wg_interface#module:purge=true), so it stays configured where it already was.
  - All hosts are checked against each other, also the excluded one and those without a key. Two
    hosts with the same public key, name or tunnel address, or with overlapping networks, are an
    error that names both.
  - Only the variables named below are read. Defaults of roles are not visible in C(hostvars), so
    what a role sets for other hosts must be set in the inventory.
positional: hosts
options:
  _input:
    description:
      - The variables of the hosts, by host name. Usually C(hostvars).
      - C(wgsd_public_key), the host's public key, is usually a fact set on the host. Hosts
        without it are left out.
      - C(wgsd_address), the host's tunnel address in CIDR notation or a list of such, is required
        of hosts that have a key.
      - C(wgsd_allowed_ips) is a list of further networks behind the host.
      - C(wgsd_name) is the host's name in the zone. Without it, the first label of the inventory
        name is used, in lower case and with hyphens in place of characters that a name cannot have.
      - C(wgsd_endpoint), the public C(ADDRESS:PORT) or C(HOST:PORT) of a host that has one, becomes
        the peer's endpoint.
    type: dict
    required: true
  hosts:
    description:
      - The inventory names of the hosts, usually groups added up. Repeated names count once.
      - Give all hosts of the mesh in one call, because only hosts of one call are checked
        against each other.
    type: list
    elements: string
    required: true
  exclude:
    description:
      - The inventory name of a host to check but not to return, usually C(inventory_hostname).
    type: string
  keepalive:
    description:
      - The C(persistent_keepalive) in seconds of the peers that have an endpoint. Without it,
        the key is left out.
      - Peers without an endpoint never get one. A keepalive to nowhere would delay the first
        handshake by up to five seconds.
    type: integer
"""

EXAMPLES = r"""
- name: Make every host of the mesh a peer of this one
  wgsd.mesh.wg_interface:
    name: wg0
    address: "{{ wgsd_address }}"
    peers: >-
      {{ hostvars | wgsd.mesh.mesh_peers(groups['wgsd_registry'] + groups['wgsd_peers'],
                                         exclude=inventory_hostname, keepalive=25) }}

- name: Show what Alice's peers would be
  ansible.builtin.debug:
    msg: "{{ hosts | wgsd.mesh.mesh_peers(['alice', 'bob'], exclude='alice') }}"
  vars:
    hosts:
      alice:
        wgsd_address: 10.0.0.1/24
        wgsd_public_key: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
      bob:
        wgsd_address: 10.0.0.2/24
        wgsd_public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
        wgsd_allowed_ips: [192.0.2.0/24]
  # => [{"public_key": "NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=", "name": "bob",
  #      "allowed_ips": ["10.0.0.2/32", "192.0.2.0/24"]}]
"""

RETURN = r"""
_value:
  description:
    - The peers in the order of O(hosts).
    - Each has C(public_key), C(name) and C(allowed_ips), and, if the host has an endpoint,
      C(endpoint) and (with O(keepalive)) C(persistent_keepalive).
  type: list
  elements: dictionary
  sample:
    - public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
      name: bob
      allowed_ips: [10.0.0.2/32, 192.0.2.0/24]
"""

import ipaddress
import re
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import HostPort, parse_network
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import check_label

T = t.TypeVar("T")
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def mesh_peers(
    hostvars: t.Any,
    hosts: t.Any,
    exclude: str | None = None,
    keepalive: int | None = None,
) -> list[dict[str, t.Any]]:
    """Return the peers of the host *exclude* among *hosts*.

    Raises:
        AnsibleFilterError: a variable is wrong or two hosts collide; the message names them.
    """
    if isinstance(hosts, str) or not isinstance(hosts, (list, tuple)):
        raise AnsibleFilterError(f"mesh_peers: hosts must be a list of names, not {hosts!r}")
    for host in hosts:
        if host not in hostvars:
            raise AnsibleFilterError(f"mesh_peers: there is no host {host} in the inventory")
    known = {host: _Host(host, hostvars[host]) for host in dict.fromkeys(map(str, hosts))}
    _check_unique(known.values(), "public key", lambda host: host.public_key, "wgsd_public_key")
    _check_unique(known.values(), "name", lambda host: host.name, "wgsd_name")
    _check_networks(known.values())
    return [
        host.peer(keepalive) for host in known.values() if host.public_key and host.host != exclude
    ]


class _Host:
    """What the inventory says of one host of the mesh."""

    def __init__(self, host: str, variables: t.Mapping[str, t.Any]) -> None:
        self.host = host
        key = variables.get("wgsd_public_key") or None
        self.public_key = key and self._parsed("wgsd_public_key", PublicKey.from_base64, key)
        self.name = self._parsed(
            "wgsd_name", check_label, variables.get("wgsd_name") or default_name(host)
        )
        endpoint = variables.get("wgsd_endpoint") or None
        self.endpoint = endpoint and self._parsed("wgsd_endpoint", HostPort.parse, endpoint)
        addresses = _as_list(variables.get("wgsd_address"))
        if self.public_key and not addresses:
            raise AnsibleFilterError(
                f"mesh_peers: host {host} has no wgsd_address; set it in the inventory, in CIDR "
                "notation"
            )
        self.networks: list[Network] = [
            self._parsed("wgsd_address", _tunnel_network, address) for address in addresses
        ]
        self.networks += [
            self._parsed("wgsd_allowed_ips", _behind, block)
            for block in _as_list(variables.get("wgsd_allowed_ips"))
        ]

    def _parsed(self, variable: str, parse: t.Callable[[str], T], value: t.Any) -> T:
        try:
            return parse(str(value))
        except WgsdError as exc:
            raise AnsibleFilterError(f"mesh_peers: {variable} of host {self.host}: {exc}") from exc

    def peer(self, keepalive: int | None) -> dict[str, t.Any]:
        """Return the peer as wg_interface takes it."""
        peer: dict[str, t.Any] = {
            "public_key": str(self.public_key),
            "name": self.name,
            "allowed_ips": list(dict.fromkeys(map(str, self.networks))),
        }
        if self.endpoint:
            peer["endpoint"] = str(self.endpoint)
            if keepalive is not None:
                peer["persistent_keepalive"] = int(keepalive)
        return peer


def default_name(host: str) -> str:
    """Return the name of a host that has no ``wgsd_name``: a label made of its inventory name."""
    try:
        text = str(ipaddress.ip_address(host))
    except ValueError:
        text = host.partition(".")[0]
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[:63].strip("-") or "peer"


def _as_list(value: t.Any) -> list[t.Any]:
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
    hosts: t.Iterable[_Host], what: str, value_of: t.Callable[[_Host], t.Any], variable: str
) -> None:
    owners: dict[t.Any, _Host] = {}
    for host in hosts:
        value = value_of(host)
        other = owners.setdefault(value, host) if value else host
        if other is not host:
            raise AnsibleFilterError(
                f"mesh_peers: hosts {other.host} and {host.host} have the same {what} {value}; "
                f"give each its own {variable}"
            )


def _check_networks(hosts: t.Iterable[_Host]) -> None:
    """Refuse networks of two hosts that overlap; a default route overlaps only its like."""
    owned = sorted(
        ((network, host) for host in hosts for network in host.networks),
        key=lambda pair: (pair[0].version, int(pair[0].network_address), pair[0].prefixlen),
    )
    # Blocks nest or are apart: sorted this way, one that holds others stands before them.
    around: list[tuple[Network, _Host]] = []
    for network, host in owned:
        while around and not _contains(around[-1][0], network):
            around.pop()
        for outer, owner in around:
            if owner is not host and (outer.prefixlen > 0 or network.prefixlen == 0):
                raise AnsibleFilterError(
                    f"mesh_peers: hosts {owner.host} and {host.host} both claim {network} "
                    f"({owner.host} by {outer}); WireGuard sends an address to one peer only: "
                    "change wgsd_address or wgsd_allowed_ips of one of them"
                )
        around.append((network, host))


def _contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mesh_peers": mesh_peers}
