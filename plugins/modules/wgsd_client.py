#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_client: the client of a peer, as a service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_client
short_description: Keep the endpoints of WireGuard peers up to date
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Installs the client on this host, configures it, and runs it as the unit C(wgsd-client).
  - The client looks the peers of a WireGuard interface up in a zone, and sets the endpoints of
    those that have no tunnel. It never touches a tunnel that lives.
  - What is installed is one file, C(/usr/local/bin/wgsd), made of the sources that this module
    comes with. It is also the command C(wgsd).
  - The new client checks the new configuration before anything is replaced.
  - The service is restarted only if something that it reads has changed.
options:
  interface:
    description:
      - The WireGuard interface.
      - Required unless O(state=absent).
    type: str
  zone:
    description:
      - The zone that describes its peers.
      - Required unless O(state=absent).
    type: str
  registries:
    description:
      - DNS servers of the zone, as C(ADDRESS) or C(ADDRESS:PORT), asked in this order.
      - Required unless O(state=absent).
    type: list
    elements: str
  keepalive:
    description: Seconds between keepalives to the peers that the client connects, V(0) for none.
    type: int
    default: 25
  state:
    description:
      - V(started) means installed, running, and started at boot.
      - V(stopped) means installed, but neither running nor started at boot.
      - V(absent) means not installed. The system user C(wgsd) stays.
    type: str
    choices: [started, stopped, absent]
    default: started
requirements:
  - systemd >= 248
  - PyYAML (Debian package python3-yaml)
extends_documentation_fragment:
  - wgsd.mesh.attributes
  - wgsd.mesh.attributes.libraries
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
notes:
  - Needs root.
seealso:
  - module: wgsd.mesh.wg_interface
  - module: wgsd.mesh.wg_endpoint
  - module: wgsd.mesh.wgsd_responder
"""

EXAMPLES = r"""
- name: Connect the peers of wg0 directly
  wgsd.mesh.wgsd_client:
    interface: wg0
    zone: example.com.
    registries: [10.0.0.254]

- name: Remove the client
  wgsd.mesh.wgsd_client:
    state: absent
"""

RETURN = r"""
steps:
  description: What was done besides writing files, in words.
  returned: success
  type: list
  elements: str
  sample: [daemon-reload, enable wgsd-client.service, restart wgsd-client.service]
"""

import functools
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import _service, _units
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import load_client

SETTINGS = ("interface", "zone", "registries")


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the service into the wanted state."""
    options = module.params
    service = _service.Service(
        daemon="client",
        settings={name: options[name] for name in (*SETTINGS, "keepalive")},
        load=load_client,
        unit_text=functools.partial(_units.client, device=options["interface"]),
        # It works when it stays up: a registry out of reach is its business, not a failure.
        answers=lambda: None,
    )
    return _service.converge(module, service)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str"},
            "zone": {"type": "str"},
            "registries": {"type": "list", "elements": "str"},
            "keepalive": {"type": "int", "default": 25, "no_log": False},
            "state": {
                "type": "str",
                "choices": ["started", "stopped", "absent"],
                "default": "started",
            },
        },
        required_if=[("state", "started", SETTINGS), ("state", "stopped", SETTINGS)],
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
