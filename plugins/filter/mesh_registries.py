# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_registries: from the inventory's registries to those that a client asks."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_registries
short_description: The registries of a client, out of the inventory's hosts
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Turns hosts of the inventory into the list that the O(wgsd.mesh.wgsd_client#module:registries)
    option of M(wgsd.mesh.wgsd_client) takes.
  - A host with several tunnel addresses is there with each of them.
  - A host with C(wgsd_state=absent) is left out.
positional: hosts
options:
  _input:
    description:
      - The variables of the hosts, by host name. Usually C(hostvars).
      - C(wgsd_address), the host's tunnel address in CIDR notation or a list of such, is required.
      - C(wgsd_endpoint), the public C(ADDRESS:PORT) or C(HOST:PORT) of the host, is where clients
        look for a registry that they have lost.
    type: dict
    required: true
  hosts:
    description: The inventory names of the registries, in the order in which they are asked.
    type: list
    elements: string
    required: true
  names:
    description:
      - Whether to tell the name of each host in the zone as well (C(wgsd_name), or what
        P(wgsd.mesh.mesh_peers#filter) makes of its inventory name). A client has no use for it.
    type: boolean
    default: false
"""

EXAMPLES = r"""
- name: Connect the peers of wg0 directly
  wgsd.mesh.wgsd_client:
    interface: wg0
    zone: example.com.
    registries: "{{ hostvars | wgsd.mesh.mesh_registries(groups['wgsd_registry']) }}"

- name: Show the registries that a client would ask
  ansible.builtin.debug:
    msg: "{{ hosts | wgsd.mesh.mesh_registries(['registry']) }}"
  vars:
    hosts:
      registry:
        wgsd_address: 10.0.0.254/24
        wgsd_endpoint: registry.example.com:51820
  # => [{"address": "10.0.0.254", "endpoint": "registry.example.com:51820"}]
"""

RETURN = r"""
_value:
  description:
    - The registries in the order of O(hosts).
    - Each has C(address) and, if the host has a C(wgsd_endpoint), C(endpoint). With O(names), each
      has C(name) as well.
  type: list
  elements: dictionary
  sample:
    - address: 10.0.0.254
      endpoint: registry.example.com:51820
"""

import ipaddress
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import HostPort
from ansible_collections.wgsd.mesh.plugins.plugin_utils._mesh import (
    ABSENT,
    as_list,
    default_name,
)


def mesh_registries(hostvars: t.Any, hosts: t.Any, names: bool = False) -> list[dict[str, str]]:
    """Return the registries among *hosts*, one for each of their tunnel addresses.

    Raises:
        AnsibleFilterError: a variable is missing or wrong; the message names it and its host.
    """
    if isinstance(hosts, str) or not isinstance(hosts, (list, tuple)):
        raise AnsibleFilterError(f"mesh_registries: hosts must be a list of names, not {hosts!r}")
    found: list[dict[str, str]] = []
    for host in map(str, hosts):
        if host not in hostvars:
            raise AnsibleFilterError(f"mesh_registries: there is no host {host} in the inventory")
        variables = hostvars[host]
        if variables.get("wgsd_state") == ABSENT:
            continue
        endpoint = _endpoint(host, variables.get("wgsd_endpoint"))
        addresses = _addresses(host, variables.get("wgsd_address"))
        name = {"name": str(variables.get("wgsd_name") or default_name(host))} if names else {}
        found += [{"address": address, **endpoint, **name} for address in addresses]
    return found


def _endpoint(host: str, text: t.Any) -> dict[str, str]:
    if not text:
        return {}
    try:
        return {"endpoint": str(HostPort.parse(str(text)))}
    except UsageError as exc:
        raise AnsibleFilterError(f"mesh_registries: wgsd_endpoint of host {host}: {exc}") from exc


def _addresses(host: str, value: t.Any) -> list[str]:
    texts = as_list(value)
    if not texts:
        raise AnsibleFilterError(
            f"mesh_registries: host {host} has no wgsd_address; set it in the inventory, in CIDR "
            "notation"
        )
    try:
        return [str(ipaddress.ip_interface(str(text)).ip) for text in texts]
    except ValueError as exc:
        raise AnsibleFilterError(
            f"mesh_registries: wgsd_address of host {host}: {exc}; write it as 10.0.0.1/24"
        ) from exc


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mesh_registries": mesh_registries}
