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
  - jmespath, for O(query)
extends_documentation_fragment:
  - wgsd.mesh.zone
options:
  _terms:
    description:
      - Public keys of the peers, in base64, as the Base32 label that the zone has, or as an
        instance name.
      - All terms of a call are looked up at once, so give many to one call rather than call often.
      - Without any, all peers of the zone that have an endpoint are returned, sorted by name, then
        by key. The zone is transferred for that, or browsed if its server does not transfer it.
      - An empty list is a term, and gives an empty list. Hand over a list as it is, without the
        C(*) of which nothing remains if it is empty.
    type: list
    elements: string
  on_missing:
    description:
      - What to do about a peer that the zone does not have, or whose record cannot be used.
      - V(warn) and V(skip) leave it out of the result, V(warn) with a warning.
    type: string
    choices: [error, warn, skip]
    default: error
    vars:
      - name: wgsd_on_missing
    ini:
      - section: wgsd_lookup
        key: on_missing
  want:
    description:
      - V(endpoint) for strings, V(record) for dictionaries. See the return value.
    type: string
    choices: [endpoint, record]
    default: endpoint
    vars:
      - name: wgsd_want
    ini:
      - section: wgsd_lookup
        key: want
  query:
    description:
      - A JMESPath expression (U(https://jmespath.org)) that is applied to the list of
        dictionaries which O(want=record) would give. What it selects is returned, whatever O(want)
        says.
      - A value that is not a list is returned as a list of one, and V(null) as an empty one.
    type: string
    vars:
      - name: wgsd_query
    ini:
      - section: wgsd_lookup
        key: query
notes:
  - Without terms, C(lookup()) gives one string with commas, or the one peer that there is. Use
    C(query()), which always gives a list.
  - A server outside the mesh answers only those whom its C(allow_query) names, see the role
    R(wgsd.mesh.registry,ansible_collections.wgsd.mesh.registry_role). To have a zone transferred
    from there takes C(allow_transfer).
seealso:
  - module: wgsd.mesh.wgsd_info
  - plugin: wgsd.mesh.wgsd
    plugin_type: inventory
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

- name: Names of the peers that reach us by IPv6
  ansible.builtin.debug:
    msg: "{{ query('wgsd.mesh.wgsd', query=\"[?contains(address, ':')].name\") }}"
  vars:
    wgsd_zone: example.com.
    wgsd_server: [10.0.0.254]

- name: Ask from outside of the mesh, with a key that the registry lets in
  ansible.builtin.debug:
    msg: "{{ query('wgsd.mesh.wgsd', want='record') }}"
  vars:
    wgsd_zone: example.com.
    wgsd_server: ["registry.example.net:5353", "[2001:db8::4]:5353"]
    wgsd_tsig:
      name: ops.example.com.
      secret: "{{ vault_wgsd_ops_secret }}"

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
      C(address), C(port), C(allowed_ips) and C(instance), as M(wgsd.mesh.wgsd_info) returns it.
    - With O(query), what that selects.
  type: list
  elements: raw
  sample: ["203.0.113.5:51820"]
"""

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.wgsd.mesh.plugins.module_utils._zone_data import describe
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import (
    DependencyError,
    UsageError,
    WgsdError,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import PeerRecord
from ansible_collections.wgsd.mesh.plugins.plugin_utils._connection import (
    Connection,
    render_variables,
)
from ansible_collections.wgsd.mesh.plugins.plugin_utils._keys import parse_key

JMESPATH_PROBLEM = ""
try:
    import jmespath
except ImportError as exc:
    jmespath = None
    JMESPATH_PROBLEM = str(exc)

display = Display()


class LookupModule(LookupBase):
    """Where Ansible finds the lookup."""

    def run(self, terms: t.Any, variables: t.Any = None, **kwargs: t.Any) -> list[t.Any]:
        set_by = render_variables(self.option_definitions, variables, self._templar.template)
        self.set_options(var_options=set_by, direct=kwargs)
        try:
            keys = [parse_key(str(term)) for term in self._flatten(terms)]
            # Peers were named, and there are none: not everybody is meant.
            return [] if terms and not keys else self._run(keys)
        except WgsdError as exc:
            raise AnsibleLookupError(f"wgsd: {exc}") from exc

    def _run(self, keys: list[PublicKey]) -> list[t.Any]:
        expression = self.get_option("query")
        select = compiled(str(expression)) if expression else None
        connection = Connection.from_options(self.get_option, self._warn)
        records = self._found(connection, keys) if keys else self._all(connection)
        if select is None and self.get_option("want") == "endpoint":
            return [str(record.endpoint) for record in records]
        described = [describe(record, connection.zone) for record in records]
        return described if select is None else select(described)

    def _all(self, connection: Connection) -> list[PeerRecord]:
        listing = connection.listing()
        for key, problem in listing.failures.items():
            self._missing(f"peer {key}: {problem}")
        return list(listing.records)

    def _found(self, connection: Connection, keys: list[PublicKey]) -> list[PeerRecord]:
        directory = connection.directory()
        found = directory.lookup(keys)
        # A server that refuses says nothing about who is missing.
        for problem in directory.unanswered.values():
            raise problem
        records = []
        for key in keys:
            record = found.get(key)
            if record is not None:
                records.append(record)
            elif key in directory.failures:
                self._missing(f"peer {key}: {directory.failures[key]}")
            else:
                self._missing(f"the zone {directory.zone} has no peer {key} with an endpoint")
        return records

    def _missing(self, message: str) -> None:
        policy = self.get_option("on_missing")
        if policy == "error":
            raise AnsibleLookupError(
                f"wgsd: {message}; on_missing=skip or on_missing=warn leaves such peers out"
            )
        if policy == "warn":
            self._warn(message)

    @staticmethod
    def _warn(message: str) -> None:
        display.warning(f"wgsd: {message}")


def compiled(expression: str) -> t.Callable[[list[dict[str, t.Any]]], list[t.Any]]:
    """Return what applies a JMESPath expression, before anybody is asked.

    Raises:
        DependencyError: jmespath is not there.
        UsageError: it is no such expression. What is returned raises it if the expression does not
            fit the data.
    """
    if jmespath is None:
        raise DependencyError(
            f"query: the Python library jmespath cannot be imported ({JMESPATH_PROBLEM})",
            "install it on the controller, for the Python that runs Ansible: pip install jmespath",
        )
    try:
        parsed = jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as exc:
        raise bad_query(expression, exc) from None

    def select(records: list[dict[str, t.Any]]) -> list[t.Any]:
        try:
            selected = parsed.search(records)
        except jmespath.exceptions.JMESPathError as exc:
            raise bad_query(expression, exc) from None
        if selected is None:
            return []
        return selected if isinstance(selected, list) else [selected]

    return select


def bad_query(expression: str, problem: Exception) -> UsageError:
    """Return the error about an expression; jmespath's own text has several lines."""
    reason = " ".join(str(problem).split())
    return UsageError(f"query: {expression!r} cannot be used: {reason}", "see https://jmespath.org")
