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
  - A host whose public key is not known (yet) is left out. The module removes no peers unless it is
    told to, so it stays configured where it already was.
  - A host that is to leave the mesh is in the list as a peer with C(state=absent).
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
      - C(wgsd_former_keys) is a list of public keys that the host has had before, the last one
        first. The roles set it.
      - C(wgsd_address), the host's tunnel address in CIDR notation or a list of such, is required
        of hosts that have a key.
      - C(wgsd_allowed_ips) is a list of further networks behind the host.
      - C(wgsd_name) is the host's name in the zone. Without it, the first label of the inventory
        name is used, in lower case and with hyphens in place of characters that a name cannot have.
      - C(wgsd_endpoint), the public C(ADDRESS:PORT) or C(HOST:PORT) of a host that has one, becomes
        the peer's endpoint.
      - C(wgsd_state=absent) says that the host is to leave the mesh. Its other variables are not
        looked at, so that its address can be given to another host.
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
  known:
    description:
      - Peers that are known from elsewhere, as M(wgsd.mesh.wg_interface) returns them
        (RV(wgsd.mesh.wg_interface#module:peers)). Usually what the registries' files have, which
        know every host.
      - A host without C(wgsd_public_key) has the key of the one with its name, with
        C(replace=false), since the key may be one of the past. Nobody who has another loses it by
        that. If several keys are known by its name, it is left out.
    type: list
    elements: dictionary
    default: []
  removed:
    description:
      - Names of hosts that are to leave the mesh whatever their variables say. A name that is none
        of O(hosts) is that of a peer whose host is no longer in the inventory.
    type: list
    elements: string
    default: []
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
      C(endpoint) and (with O(keepalive)) C(persistent_keepalive). One that has had other keys has
      C(former_keys). One whose key is only known from elsewhere has C(replace=false).
  type: list
  elements: dictionary
  sample:
    - public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
      name: bob
      allowed_ips: [10.0.0.2/32, 192.0.2.0/24]
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.plugin_utils import _mesh
from ansible_collections.wgsd.mesh.plugins.plugin_utils._mesh import Host, MeshError


def mesh_peers(
    hostvars: t.Any,
    hosts: t.Any,
    exclude: str | None = None,
    keepalive: int | None = None,
    known: t.Any = (),
    removed: t.Any = (),
) -> list[dict[str, t.Any]]:
    """Return the peers of the host *exclude* among *hosts*.

    Raises:
        AnsibleFilterError: a variable is wrong or two hosts collide; the message names them.
    """
    if isinstance(hosts, str) or not isinstance(hosts, (list, tuple)):
        raise AnsibleFilterError(f"mesh_peers: hosts must be a list of names, not {hosts!r}")
    leaving = list(map(str, _mesh.as_list(removed)))
    try:
        mesh = _mesh.read_hosts(hostvars, hosts, leaving)
        for host in mesh:
            if host.public_key and not host.is_absent and not host.addresses:
                raise MeshError(
                    f"host {host.host} has no wgsd_address; set it in the inventory, in CIDR "
                    "notation"
                )
        _mesh.check_against_each_other(mesh)
    except MeshError as exc:
        raise AnsibleFilterError(f"mesh_peers: {exc}") from exc
    remembered = _remembered(mesh, known)
    peers = []
    for host in mesh:
        if host.host == exclude or host.is_absent:
            continue
        keys = remembered.get(host.name, [])
        if host.public_key:
            peers.append(_peer(host, str(host.public_key), keepalive))
        elif len(keys) == 1:
            # Whoever remembers it may have missed that the host has another by now.
            peers.append({**_peer(host, keys[0], keepalive), "replace": False})
    hosts_named = {host.host for host in mesh}
    gone: list[tuple[str, str | None]] = []
    for host in mesh:
        if host.is_absent:
            keys = [*([str(host.public_key)] if host.public_key else ())]
            keys += remembered.get(host.name, [])
            gone += [(host.name, key) for key in keys or [None]]
    gone += [(_mesh.default_name(name), None) for name in leaving if name not in hosts_named]
    staying = {host.name for host in mesh if not host.is_absent}
    return peers + [_absent(name, key) for name, key in gone if name not in staying]


def _remembered(hosts: t.Iterable[Host], known: t.Any) -> dict[str, list[str]]:
    """Return the keys that are known by each name, but for those of hosts of this run."""
    taken = {str(host.public_key) for host in hosts if host.public_key}
    remembered: dict[str, list[str]] = {}
    for peer in known or ():
        key, name = str(peer["public_key"]), (peer.get("name") or "").lower()
        if name and key not in taken and key not in remembered.setdefault(name, []):
            remembered[name].append(key)
    return remembered


def _peer(host: Host, key: str, keepalive: int | None) -> dict[str, t.Any]:
    """Return the peer as wg_interface takes it."""
    peer: dict[str, t.Any] = {
        "public_key": key,
        "name": host.name,
        "allowed_ips": list(dict.fromkeys(map(str, host.networks))),
    }
    if host.former_keys:
        peer["former_keys"] = list(map(str, host.former_keys))
    if host.endpoint:
        peer["endpoint"] = str(host.endpoint)
        if keepalive is not None:
            peer["persistent_keepalive"] = int(keepalive)
    return peer


def _absent(name: str, key: str | None) -> dict[str, t.Any]:
    """Return a peer that wg_interface is to remove.

    There is none for a name that another host has now: the module lets that one take its place.
    """
    peer = {"name": name, "state": _mesh.ABSENT}
    return {**peer, "public_key": key} if key else peer


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mesh_peers": mesh_peers}
