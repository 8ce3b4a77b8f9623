# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter wgsd_key: from the name that a zone has for a public key to the key."""

from __future__ import annotations

DOCUMENTATION = r"""
name: wgsd_key
short_description: The WireGuard public key that a DNS name stands for
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Writes the public key that a label or an instance name stands for in base64, as C(wg) does.
options:
  _input:
    description:
      - A label in Base32, in any case, with C(====) at its end or without, or a DNS-SD instance
        name that begins with one. A key in base64 is returned as it is.
    type: string
    required: true
  zone:
    description: The zone that O(_input) must be an instance name of. Any if omitted.
    type: string
seealso:
  - plugin: wgsd.mesh.wgsd_label
    plugin_type: filter
  - plugin: wgsd.mesh.wgsd_instance
    plugin_type: filter
  - plugin: wgsd.mesh.wgsd
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Whose record is that
  ansible.builtin.debug:
    msg: "{{ 'gzznutfz6z3jdhzwtxszaavdhilede6zc3pde2tb622klgyaoyma====' | wgsd.mesh.wgsd_key }}"
  # => NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=

- name: The keys of all peers that a resolver of this host finds
  ansible.builtin.debug:
    msg: "{{ names.stdout_lines | map('wgsd.mesh.wgsd_key', zone='example.com') }}"
"""

RETURN = r"""
_value:
  description: The public key in base64.
  type: string
  sample: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import (
    absolute,
    check_zone,
    service_name,
)
from ansible_collections.wgsd.mesh.plugins.plugin_utils._keys import filtered_key


def wgsd_key(name: t.Any, zone: t.Any = None) -> str:
    """Return the key that a name stands for, in base64.

    Raises:
        AnsibleFilterError: it stands for none, or is not a name of the zone.
    """
    public_key = filtered_key("wgsd_key", name)
    if zone is not None:
        try:
            service = service_name(check_zone(str(zone)))
        except UsageError as exc:
            raise AnsibleFilterError(f"wgsd_key: {exc}") from exc
        if absolute(str(name)).partition(".")[2] != service:
            raise AnsibleFilterError(
                f"wgsd_key: {name!r} is not an instance name of the zone {absolute(str(zone))}; "
                "leave out zone, or give a name that ends in it"
            )
    return public_key.base64


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"wgsd_key": wgsd_key}
