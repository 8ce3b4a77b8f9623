# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup wgsd: endpoints and records of WireGuard peers, out of a zone."""

from __future__ import annotations

DOCUMENTATION = r"""
name: wgsd
short_description: Look up WireGuard peers in DNS
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Asks the DNS servers of a zone for the endpoints of WireGuard peers, as the module
    M(wgsd.mesh.wgsd_responder) serves them.
  - It runs on the controller, which must reach one of the servers.
  - A peer that cannot be found is an error, unless O(on_missing) says otherwise. A server that
    cannot be asked always is one.
requirements:
  - dnspython >= 2.3.0
options:
  _terms:
    description:
      - Public keys of the peers, in base64 or as the Base32 label that the zone has.
      - Without any, all peers of the zone are returned, sorted by name, then by key.
    type: list
    elements: string
  zone:
    description: Name of the zone.
    type: string
    required: true
    vars:
      - name: wgsd_zone
    env:
      - name: WGSD_ZONE
    ini:
      - section: wgsd_lookup
        key: zone
  server:
    description:
      - DNS servers of the zone, asked in this order, as C(ADDRESS), C(ADDRESS:PORT),
        C([ADDRESS]:PORT), or with a host name in place of the address.
    type: list
    elements: string
    required: true
    vars:
      - name: wgsd_server
    env:
      - name: WGSD_SERVER
    ini:
      - section: wgsd_lookup
        key: server
  port:
    description: Port of the servers that are given without one.
    type: integer
    default: 53
    vars:
      - name: wgsd_port
    ini:
      - section: wgsd_lookup
        key: port
  tcp:
    description: Ask by TCP from the start. Without it, TCP is used for what UDP cannot carry.
    type: boolean
    default: false
    ini:
      - section: wgsd_lookup
        key: tcp
  timeout:
    description: Seconds to wait for a server each time.
    type: float
    default: 1.0
    ini:
      - section: wgsd_lookup
        key: timeout
  retries:
    description: How often to ask all servers again, if none of them answers.
    type: integer
    default: 2
    ini:
      - section: wgsd_lookup
        key: retries
  on_missing:
    description:
      - What to do about a peer that the zone does not have, or whose record cannot be used.
      - V(warn) and V(skip) leave it out of the result, V(warn) with a warning.
    type: string
    choices: [error, warn, skip]
    default: error
  want:
    description:
      - V(endpoint) for strings, V(record) for dictionaries. See the return value.
    type: string
    choices: [endpoint, record]
    default: endpoint
notes:
  - Without terms, C(lookup()) gives one string with commas, or the one peer that there is. Use
    C(query()), which always gives a list.
seealso:
  - module: wgsd.mesh.wg_endpoint
  - module: wgsd.mesh.wgsd_responder
"""

EXAMPLES = r"""
- name: Where is Bob
  ansible.builtin.debug:
    msg: "{{ lookup('wgsd.mesh.wgsd', bob, zone='example.com.', server=['10.0.0.254']) }}"
  vars:
    bob: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=

- name: All peers of the zone, with what the zone knows of them
  ansible.builtin.debug:
    msg: "{{ query('wgsd.mesh.wgsd', want='record') }}"
  vars:
    wgsd_zone: example.com.
    wgsd_server: [10.0.0.254]

- name: Endpoints of those that are there
  ansible.builtin.debug:
    msg: "{{ query('wgsd.mesh.wgsd', *keys, on_missing='skip') }}"
  vars:
    wgsd_zone: example.com.
    wgsd_server: [10.0.0.254]
    keys:
      - NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
      - OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
"""

RETURN = r"""
_raw:
  description:
    - One item for each peer, in the order of the terms.
    - With O(want=endpoint), a string such as V(203.0.113.5:51820) or V([2001:db8::5]:51820).
    - With O(want=record), a dictionary with C(public_key), C(name) (or null), C(endpoint),
      C(address), C(port) and C(allowed_ips).
  type: list
  elements: raw
  sample: ["203.0.113.5:51820"]
"""

import socket
import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.directory import Directory
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Endpoint, PeerRecord

display = Display()

BASE64_LENGTH = 44


class LookupModule(LookupBase):
    """Where Ansible finds the lookup."""

    def run(self, terms: t.Any, variables: t.Any = None, **kwargs: t.Any) -> list[t.Any]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            records = self._records([parse_key(str(term)) for term in self._flatten(terms)])
        except WgsdError as exc:
            raise AnsibleLookupError(f"wgsd: {exc}") from exc
        if self.get_option("want") == "endpoint":
            return [str(record.endpoint) for record in records]
        return [as_dict(record) for record in records]

    def _records(self, keys: list[PublicKey]) -> list[PeerRecord]:
        directory = Directory(
            self.get_option("zone"),
            parse_servers(self.get_option("server"), self.get_option("port")),
            timeout=self.get_option("timeout"),
            retries=self.get_option("retries"),
            tcp=self.get_option("tcp"),
        )
        if not keys:
            records = directory.browse()
            for key, problem in directory.failures.items():
                self._missing(f"peer {key}: {problem}")
            return records
        found = directory.lookup(keys)
        records = []
        for key in keys:
            record = found.get(key)
            if record is not None:
                records.append(record)
            elif key in directory.failures:
                self._missing(f"peer {key}: {directory.failures[key]}")
            else:
                self._missing(f"the zone {directory.zone} has no peer {key}")
        return records

    def _missing(self, message: str) -> None:
        policy = self.get_option("on_missing")
        if policy == "error":
            raise AnsibleLookupError(
                f"wgsd: {message}; on_missing=skip or on_missing=warn leaves such peers out"
            )
        if policy == "warn":
            display.warning(f"wgsd: {message}")


def parse_key(text: str) -> PublicKey:
    """Return the key that a term names.

    Raises:
        UsageError: it is neither base64 nor a label.
    """
    text = text.strip()
    return PublicKey.from_base64(text) if len(text) == BASE64_LENGTH else _from_label(text)


def _from_label(text: str) -> PublicKey:
    try:
        return PublicKey.from_label(text.partition(".")[0])
    except UsageError:
        raise UsageError(
            f"{text!r} is not a public key", "give it in base64, or as the label that the zone has"
        ) from None


def parse_servers(servers: t.Iterable[str], port: int) -> list[Endpoint]:
    """Return the servers' addresses; names are resolved.

    Raises:
        UsageError: not an address and not a name that resolves.
    """
    return list(dict.fromkeys(one for server in servers for one in _addresses(server, port)))


def _addresses(server: str, default_port: int) -> list[Endpoint]:
    try:
        return [Endpoint.parse(server, default_port=default_port)]
    except UsageError:
        host, _colon, port = server.strip().partition(":")
        if not any(c.isalpha() for c in host) or (port and not port.isdecimal()):
            raise
    try:
        found = socket.getaddrinfo(host, int(port or default_port), type=socket.SOCK_DGRAM)
    except OSError as exc:
        raise UsageError(
            f"the server {server} cannot be found: {exc}", "give its address"
        ) from None
    return [Endpoint.make(info[4][0], info[4][1]) for info in found]


def as_dict(record: PeerRecord) -> dict[str, t.Any]:
    """Return a record as it is returned with ``want=record``."""
    return {
        "public_key": record.public_key.base64,
        "name": record.name,
        "endpoint": str(record.endpoint),
        "address": record.endpoint.address,
        "port": record.endpoint.port,
        "allowed_ips": list(record.allowed_ips),
    }
