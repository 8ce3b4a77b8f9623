#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_info: the peers that a zone has, as data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_info
short_description: Read the WireGuard peers of a zone
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Asks the DNS servers of a zone for all WireGuard peers that the zone has, as
    M(wgsd.mesh.wgsd_responder) serves them.
  - It asks from the managed host, which may reach servers inside the tunnel that the controller
    does not. The lookup P(wgsd.mesh.wgsd#lookup) asks from the controller.
  - The zone is transferred (RFC 5936). From a server that does not allow this, its peers are
    browsed and looked up one by one (RFC 6763).
  - Servers are asked in the order of O(servers), until one has told the whole zone.
options:
  zone:
    description: Name of the zone.
    type: str
    required: true
requirements:
  - Python >= 3.9
  - dnspython >= 2.3.0 (Debian package python3-dnspython)
extends_documentation_fragment:
  - wgsd.mesh.attributes
  - wgsd.mesh.asking.servers
  - wgsd.mesh.asking.key
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
notes:
  - Needs no special rights.
seealso:
  - module: wgsd.mesh.wg_info
  - module: wgsd.mesh.wg_endpoint
  - module: wgsd.mesh.wgsd_responder
  - plugin: wgsd.mesh.wgsd
    plugin_type: lookup
  - plugin: wgsd.mesh.wgsd
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Read the zone
  wgsd.mesh.wgsd_info:
    zone: example.com.
    servers: [10.0.0.254]
  register: mesh

- name: Fail if Bob is not in it
  ansible.builtin.assert:
    that: "'bob' in mesh.peers | map(attribute='name')"

- name: Read it with signed queries, from the first of two servers that answers
  wgsd.mesh.wgsd_info:
    zone: example.com.
    servers: [10.0.0.254, "203.0.113.53:5353"]
    key:
      name: mesh.example.com.
      secret: "{{ vault_mesh_secret }}"
"""

RETURN = r"""
zone:
  description: Name of the zone, absolute and in lower case.
  returned: success
  type: str
  sample: example.com.
serial:
  description: Serial of the version that was read, null if the server does not tell one.
  returned: success
  type: int
  sample: 3912345678
server:
  description: The server that told the zone.
  returned: success
  type: str
  sample: 10.0.0.254:53
peers:
  description:
    - The peers, sorted by name, then by key. Those without a name come last.
    - After those with an endpoint come those without one, which the registry has not heard from
      yet. Only a server that transfers the zone tells of them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The peer's name, null if the zone tells none.
      type: str
    public_key:
      description: Its public key, in base64.
      type: str
    endpoint:
      description: Where it is reached, null if the zone does not know.
      type: str
    address:
      description: The address of RV(peers[].endpoint), or null.
      type: str
    port:
      description: The port of RV(peers[].endpoint), or null.
      type: int
    allowed_ips:
      description: Its allowed IPs in CIDR notation.
      type: list
      elements: str
    instance:
      description: The name that its records have, a DNS-SD instance name.
      type: str
  sample:
    - name: bob
      public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
      endpoint: 203.0.113.5:51820
      address: 203.0.113.5
      port: 51820
      allowed_ips: [10.0.0.2/32]
      instance: >-
        gzznutfz6z3jdhzwtxszaavdhilede6zc3pde2tb622klgyaoyma====._wireguard._udp.example.com.
failures:
  description:
    - Peers that the zone lists and whose records are of no use.
    - The keys are public keys, in base64. The values say what is wrong.
  returned: success
  type: dict
  sample: {}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import _asking
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._zone_data import (
    describe,
    everybody,
    read_zone,
    signing_key,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import server_address
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Ask for the zone."""
    options = module.params
    if options["timeout"] <= 0:
        raise UsageError(
            f"timeout: {options['timeout']:g} is out of range", "give more than 0 seconds"
        )
    listing = read_zone(
        options["zone"],
        [server_address(text) for text in options["servers"]],
        signing_key("key", options["key"]) if options["key"] else None,
        timeout=options["timeout"],
    )
    return {
        "zone": listing.zone,
        "serial": listing.serial,
        "server": str(listing.server),
        "peers": [
            describe(peer, listing.zone)
            for peer in everybody(listing)
            if peer.public_key not in listing.failures
        ],
        "failures": {key.base64: reason for key, reason in listing.failures.items()},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "zone": {"type": "str", "required": True},
            **_asking.SERVERS,
            "key": _asking.key(secret_required=True),
        },
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
