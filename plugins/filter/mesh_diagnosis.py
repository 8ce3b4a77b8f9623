# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_diagnosis: why one host of a mesh does not reach another, in words."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_diagnosis
short_description: Why one host of a mesh does not reach another
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Concludes from what M(wgsd.mesh.wgsd_examine) has found on two hosts and their registry why the
    one does not reach the other. The playbook C(wgsd.mesh.doctor) brings both together.
  - What was not found out, since a host cannot be reached, is passed over.
  - All of it happens on the controller.
positional: from, to, registry, hosts
options:
  _input:
    description:
      - The variables of the hosts, by host name. Usually C(hostvars).
      - V(wgsd_address), V(wgsd_endpoint), V(wgsd_zone) and V(wgsd_interface) of the inventory are
        read, and three results of M(wgsd.mesh.wgsd_examine). V(_wgsd_survey) is from before any
        packet was sent, V(_wgsd_alone) from when the registry alone tried, and V(_wgsd_probe) from
        when all did. Each may be missing.
    type: dict
    required: true
  from:
    description: The inventory name of the host that does not reach the other.
    type: string
    required: true
  to:
    description: The inventory name of the other.
    type: string
    required: true
  registry:
    description: The inventory name of their registry.
    type: string
    required: true
  hosts:
    description: The inventory names of all hosts of the mesh, whose addresses must differ.
    type: list
    elements: string
    default: []
"""

EXAMPLES = r"""
- name: Say why alice does not reach bob
  ansible.builtin.debug:
    msg: "{{ (hostvars | wgsd.mesh.mesh_diagnosis('alice', 'bob', 'registry')).lines }}"
"""

RETURN = r"""
_value:
  description: What was found.
  type: dict
  contains:
    reached:
      description: Whether the one reaches the other. Null if that could not be tried.
      type: bool
    well:
      description: Whether it does, and nothing is wrong.
      type: bool
    problems:
      description: What is wrong. What explains most comes first.
      type: list
      elements: dict
      contains:
        cause:
          description: What it is called in C(docs/troubleshooting.md).
          type: str
        text:
          description: What is wrong, in a sentence.
          type: str
        evidence:
          description: What was seen.
          type: list
          elements: str
        remedy:
          description: What to do.
          type: str
    notes:
      description: What could not be found out.
      type: list
      elements: str
    lines:
      description: All of it as lines for people.
      type: list
      elements: str
  sample:
    reached: false
    well: false
    problems:
      - cause: preshared_key
        text: alice and bob have different preshared keys for one another
        evidence: ["digest on alice: 4f2b9c1d0a3e5f66", "digest on bob: 90ab12cd34ef5678"]
        remedy: ansible-playbook wgsd.mesh.site --limit alice,bob
    notes: []
    lines:
      - alice does not reach bob.
      - 1. alice and bob have different preshared keys for one another.
"""

import typing as t

from ansible_collections.wgsd.mesh.plugins.plugin_utils._diagnosis import diagnose
from ansible_collections.wgsd.mesh.plugins.plugin_utils._mesh import as_list

DEFAULT_ZONE = "mesh.internal."
DEFAULT_INTERFACE = "wg0"


def mesh_diagnosis(
    hostvars: t.Any, one: t.Any, other: t.Any, registry: t.Any, hosts: t.Iterable[t.Any] = ()
) -> dict[str, t.Any]:
    """Return why host *one* does not reach the *other*."""
    names = [str(name) for name in (one, other, registry)]
    mesh = hostvars[names[2]]
    return diagnose(
        {
            "from": names[0],
            "to": names[1],
            "registry": names[2],
            "zone": str(mesh.get("wgsd_zone") or DEFAULT_ZONE).rstrip(".") + ".",
            "interface": str(mesh.get("wgsd_interface") or DEFAULT_INTERFACE),
            "addresses": {
                name: [str(address) for address in as_list(hostvars[name].get("wgsd_address"))]
                for name in map(str, hosts)
                if hostvars[name].get("wgsd_state") != "absent"
            },
            "hosts": {name: _facts(hostvars[name]) for name in names},
        }
    )


def _facts(variables: t.Any) -> dict[str, t.Any]:
    """Return what is known of a host; a result without a clock is that of a module that failed."""
    results = {}
    for name in ("survey", "alone", "probe"):
        result = variables.get(f"_wgsd_{name}") or {}
        results[name] = result if result.get("clock") else None
    trouble = ""
    if results["survey"] is None:
        told = variables.get("_wgsd_survey") or {}
        trouble = (str(told.get("msg") or "").strip() or "it was not in the run").splitlines()[0]
        # As ansible-core begins what it says since 2.19.
        trouble = trouble.replace("Task failed: ", "", 1)[:200]
    return {
        "address": next(iter(as_list(variables.get("wgsd_address"))), ""),
        "endpoint": variables.get("wgsd_endpoint") or "",
        "trouble": trouble,
        **results,
    }


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mesh_diagnosis": mesh_diagnosis}
