# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter wgsd_instance: from a public key to the name that its records have in a zone."""

from __future__ import annotations

DOCUMENTATION = r"""
name: wgsd_instance
short_description: The DNS-SD instance name of a WireGuard public key
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Writes a public key as the name that the peer's SRV and TXT records have in a zone (RFC 6763
    section 4.1).
positional: zone
options:
  _input:
    description:
      - A public key in base64, as C(wg show) prints it, or as a label or an instance name.
    type: string
    required: true
  zone:
    description: Name of the zone.
    type: string
    required: true
seealso:
  - plugin: wgsd.mesh.wgsd_key
    plugin_type: filter
  - plugin: wgsd.mesh.wgsd_label
    plugin_type: filter
  - plugin: wgsd.mesh.wgsd
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: What to ask for with dig
  ansible.builtin.debug:
    msg: "dig SRV {{ bob | wgsd.mesh.wgsd_instance('example.com') }}"
  vars:
    bob: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
"""

RETURN = r"""
_value:
  description: The name, absolute and in lower case.
  type: string
  sample: gzznutfz6z3jdhzwtxszaavdhilede6zc3pde2tb622klgyaoyma====._wireguard._udp.example.com.
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import check_zone, instance_name
from ansible_collections.wgsd.mesh.plugins.plugin_utils._keys import filtered_key


def wgsd_instance(key: t.Any, zone: t.Any) -> str:
    """Return the instance name of a key in a zone.

    Raises:
        AnsibleFilterError: it is no key, or no zone.
    """
    public_key = filtered_key("wgsd_instance", key)
    try:
        return instance_name(public_key, check_zone(str(zone)))
    except UsageError as exc:
        raise AnsibleFilterError(f"wgsd_instance: {exc}") from exc


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"wgsd_instance": wgsd_instance}
