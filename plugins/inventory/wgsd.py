# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory wgsd: the peers of a zone as hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: wgsd
short_description: WireGuard peers of a zone as inventory hosts
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Asks the DNS servers of a zone for all its WireGuard peers, as the module
    M(wgsd.mesh.wgsd_responder) serves them, and makes each of them a host.
  - Its source is a YAML file whose name is C(wgsd.yml), or ends in C(.wgsd.yml); C(.yaml) will do
    as well.
  - A host has the peer's friendly name. A peer that has none, or one that is not unique, is that
    of a group or has another meaning in an inventory, is called by the label of its key, without
    C(====).
  - The variable C(ansible_host) is the peer's address in the tunnel, which is the first single
    address among its allowed IPs, IPv4 before IPv6. It is not set for a peer that has none.
  - The variable C(wgsd_peer) is a dictionary of C(public_key), C(name) (or null), C(endpoint),
    C(address), C(port) (null if the zone does not know where the peer is), C(allowed_ips) and
    C(instance), as M(wgsd.mesh.wgsd_info) returns it.
  - Members without an endpoint are hosts, too, if the servers let the controller transfer the zone
    (RFC 5936), which C(wgsd_allow_transfer) decides, see the role
    R(wgsd.mesh.registry,ansible_collections.wgsd.mesh.registry_role). If they do not, the zone is
    browsed, and has only peers whose endpoint is known.
extends_documentation_fragment:
  - wgsd.mesh.zone
  - constructed
  - inventory_cache
options:
  plugin:
    description: Says that the file is for this plugin.
    type: string
    required: true
    choices: [wgsd.mesh.wgsd]
  on_missing:
    description:
      - What to do about a peer that the zone lists, and whose records cannot be used.
      - V(warn) and V(skip) leave it out of the inventory, V(warn) with a warning.
    type: string
    choices: [error, warn, skip]
    default: warn
    vars:
      - name: wgsd_on_missing
    ini:
      - section: wgsd_inventory
        key: on_missing
notes:
  - Variables that set options are extra variables (C(--extra-vars)), since others are not known
    yet.
  - Values of O(zone), O(server), O(port), O(tcp), O(timeout), O(retries), O(tsig) and O(on_missing)
    in the file may be templates, and those of O(tsig) may be vaulted.
  - Whoever controls the servers of the zone decides which hosts are in the inventory, and where
    they are. A host that another source of the inventory has under the same name is the same host,
    and the source that comes last sets C(ansible_host). Names, addresses and networks are checked,
    and nothing that the zone says is used as a template. Only the host keys of SSH tell who
    answers.
  - C(wgsd_peer) is one variable, since C(wgsd_endpoint), C(wgsd_address) and so on are what the
    roles of this collection are told.
seealso:
  - module: wgsd.mesh.wgsd_info
  - plugin: wgsd.mesh.wgsd
    plugin_type: lookup
"""

EXAMPLES = r"""
# mesh.wgsd.yml: all peers, asked for through the tunnel.
# See them with: ansible-inventory -i mesh.wgsd.yml --graph
plugin: wgsd.mesh.wgsd
zone: example.com.
server: 10.0.0.254

---
# From a controller outside of the mesh, with a key that the registry lets in.
plugin: wgsd.mesh.wgsd
zone: example.com.
server:
  - registry.example.net:5353
  - "[2001:db8::4]:5353"
tsig:
  name: ops.example.com.
  secret: "{{ lookup('ansible.builtin.env', 'WGSD_OPS_SECRET') }}"

---
# Hosts whose names begin with web are in the group web; who can be reached directly by IPv6 is in
# ipv6. Hosts are reached at their public addresses. Kept for 10 minutes.
plugin: wgsd.mesh.wgsd
zone: example.com.
server: 10.0.0.254
compose:
  ansible_host: wgsd_peer.address or ansible_host
groups:
  ipv6: "':' in (wgsd_peer.address or '')"
keyed_groups:
  - key: inventory_hostname | regex_search('^[a-z]+')
    separator: ""
    default_value: other
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/wgsd-inventory
cache_timeout: 600
"""

import typing as t

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import WgsdError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import check_zone
from ansible_collections.wgsd.mesh.plugins.plugin_utils._connection import (
    Connection,
    parse_tsig,
    render_variables,
)
from ansible_collections.wgsd.mesh.plugins.plugin_utils._hosts import (
    InventoryHost,
    hosts_of,
    peers_of,
)

FILES = ("wgsd.yml", "wgsd.yaml")
#: Expressions for each host, which are not rendered for the whole file.
EXPRESSIONS = ("compose", "groups", "keyed_groups")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Where Ansible finds the inventory.

    What it sets as variables is never a template: Ansible takes only text for one that has been
    marked as trusted, and nothing here is.
    """

    NAME = "wgsd.mesh.wgsd"

    def verify_file(self, path: str) -> bool:
        """Return whether a source is a file of this plugin, by its name."""
        name = path.rpartition("/")[2]
        mine = name in FILES or name.endswith(tuple(f".{file}" for file in FILES))
        return mine and bool(super().verify_file(path))

    def set_options(
        self,
        task_keys: t.Any = None,
        var_options: t.Any = None,
        direct: t.Any = None,
    ) -> None:
        """Set the options, with the templates in the file and in variables rendered."""
        if self.loader:
            self.templar.available_variables = self._vars or {}
            render = self.templar.template
            var_options = render_variables(self.option_definitions, var_options, render)
            direct = {
                name: value if name in EXPRESSIONS else render(value)
                for name, value in (direct or {}).items()
            }
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Add the hosts.

        Raises:
            AnsibleParserError: an option is wrong, or nobody tells the zone.
        """
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            told = self._told(path, cache)
        except WgsdError as exc:
            raise AnsibleParserError(f"wgsd: {exc}") from exc
        for problem in told["problems"]:
            self._missing(problem)
        groups = {*inventory.groups, *(self.get_option("groups") or ())}
        hosts, problems = hosts_of(told["peers"], groups)
        for problem in problems:
            self._warn(problem)
        for host in hosts:
            self._add(host)

    def _told(self, path: str, use_cache: bool) -> dict[str, t.Any]:
        """Return what the zone's servers say, or said at a time that is still good enough."""
        asked = self._asked()
        caching, key = self.get_option("cache"), self.get_cache_key(path)
        if caching and use_cache:
            kept = self._cache.get(key)
            if kept and kept.get("asked") == asked:
                return dict(kept)
        connection = Connection.from_options(self.get_option, self._warn)
        peers, problems = peers_of(connection.listing())
        told = {"asked": asked, "peers": peers, "problems": problems}
        if caching:
            self._cache[key] = told
        return told

    def _asked(self) -> dict[str, t.Any]:
        """Return what is asked, and whom: the same file may ask others, by a variable."""
        signed = parse_tsig(self.get_option("tsig"))
        return {
            "zone": check_zone(str(self.get_option("zone"))),
            "servers": [str(server) for server in self.get_option("server")],
            "port": self.get_option("port"),
            "key": signed.name if signed else "",
        }

    def _add(self, host: InventoryHost) -> None:
        name = self.inventory.add_host(host.name)
        if host.address:
            self.inventory.set_variable(name, "ansible_host", host.address)
        self.inventory.set_variable(name, "wgsd_peer", host.peer)
        strict = self.get_option("strict")
        known = self.inventory.get_host(name)
        self._set_composite_vars(self.get_option("compose"), known.get_vars(), name, strict=strict)
        variables = known.get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(
            self.get_option("keyed_groups"), variables, name, strict=strict
        )

    def _missing(self, message: str) -> None:
        policy = self.get_option("on_missing")
        if policy == "error":
            raise AnsibleParserError(
                f"wgsd: {message}; on_missing=skip or on_missing=warn leaves such peers out"
            )
        if policy == "warn":
            self._warn(message)

    def _warn(self, message: str) -> None:
        self.display.warning(f"wgsd: {message}")
