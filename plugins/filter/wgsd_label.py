# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter wgsd_label: from a public key to the label that a zone has for it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: wgsd_label
short_description: The DNS label of a WireGuard public key
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Writes a public key as the first label of its instance name, in Base32 (RFC 4648 section 6) and
    lower case.
options:
  _input:
    description:
      - A public key in base64, as C(wg show) prints it, or as a label or an instance name.
    type: string
    required: true
  padded:
    description:
      - Whether the label ends in C(====), as in the answers of the zone. The zone has each peer
        under the name without it too, for resolvers that refuse it.
    type: boolean
    default: true
seealso:
  - plugin: wgsd.mesh.wgsd_key
    plugin_type: filter
  - plugin: wgsd.mesh.wgsd_instance
    plugin_type: filter
  - plugin: wgsd.mesh.wgsd
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: The label of Bob
  ansible.builtin.debug:
    msg: "{{ 'NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=' | wgsd.mesh.wgsd_label }}"
  # => gzznutfz6z3jdhzwtxszaavdhilede6zc3pde2tb622klgyaoyma====
"""

RETURN = r"""
_value:
  description: The label.
  type: string
  sample: gzznutfz6z3jdhzwtxszaavdhilede6zc3pde2tb622klgyaoyma====
"""

import typing as t

from ansible_collections.wgsd.mesh.plugins.plugin_utils._keys import filtered_key


def wgsd_label(key: t.Any, padded: bool = True) -> str:
    """Return the label of a key.

    Raises:
        AnsibleFilterError: it is none.
    """
    public_key = filtered_key("wgsd_label", key)
    return public_key.label if padded else public_key.unpadded_label


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"wgsd_label": wgsd_label}
