# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_problems: what is wrong with a mesh as the inventory describes it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_problems
short_description: What is wrong with a mesh, before anything is changed
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Looks at every host of a mesh in the inventory, also at those that are not in this run, and says
    what the roles of this collection could not work with.
  - All of it happens on the controller. Once for a run is enough.
positional: registries, peers
options:
  _input:
    description:
      - The variables of the hosts, by host name. Usually C(hostvars).
      - See P(wgsd.mesh.mesh_peers#filter) for the variables that are read. C(wgsd_zone) is as well.
    type: dict
    required: true
  registries:
    description: The inventory names of the registries, usually C(groups['wgsd_registry']).
    type: list
    elements: string
    required: true
  peers:
    description: The inventory names of the other hosts, usually C(groups['wgsd_peers']).
    type: list
    elements: string
    required: true
  run:
    description:
      - The inventory names of the hosts in this run. Each must be one of the mesh, and its
        variables must be as the argument spec of its role says.
      - A variable that begins with C(wgsd_) and is almost, but not quite, called like one of the
        specs is taken for a misspelt one.
    type: list
    elements: string
    default: []
  removed:
    description: See the option of that name of P(wgsd.mesh.mesh_peers#filter).
    type: list
    elements: string
    default: []
"""

EXAMPLES = r"""
- name: Refuse a mesh with a mistake in it
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: >-
      {{ hostvars | wgsd.mesh.mesh_problems(groups['wgsd_registry'], groups['wgsd_peers']) }}
  run_once: true

- name: Show what is wrong with a mesh
  ansible.builtin.debug:
    msg: "{{ hosts | wgsd.mesh.mesh_problems(['registry'], ['alice']) }}"
  vars:
    hosts:
      registry:
        wgsd_address: 10.0.0.254/24
        wgsd_endpoint: 203.0.113.4:51820
      alice: {}
  # => ["wgsd_address is not set for alice. Give each of these hosts a tunnel address of its own in
  #      the inventory, such as 10.0.0.1/24."]
"""

RETURN = r"""
_value:
  description: Sentences for people, each with its remedy. Empty if all is well.
  type: list
  elements: string
  sample: []
"""

import typing as t

from ansible_collections.wgsd.mesh.plugins.plugin_utils import _mesh
from ansible_collections.wgsd.mesh.plugins.plugin_utils._mesh import Host, MeshError
from ansible_collections.wgsd.mesh.plugins.plugin_utils._variables import spec_problems


def mesh_problems(
    hostvars: t.Any, registries: t.Any, peers: t.Any, run: t.Any = (), removed: t.Any = ()
) -> list[str]:
    """Return what is wrong with the mesh of *registries* and *peers*, in sentences."""
    names = list(dict.fromkeys([*map(str, registries), *map(str, peers)]))
    strangers = [name for name in map(str, run) if name not in names]
    problems = []
    if not registries:
        problems.append(
            "The group wgsd_registry is empty. Put the host that has a public address into it."
        )
    if strangers:
        problems.append(
            f"{', '.join(strangers)}: neither of the groups wgsd_registry and wgsd_peers has it. "
            "Put each host of the mesh into one."
        )
    leaving = list(map(str, _mesh.as_list(removed)))
    # Each look for a host makes all of its variables.
    variables = {name: hostvars[name] for name in names if name in hostvars}
    roles = {
        name: "registry" if name in registries else "peer"
        for name in map(str, run)
        if name in variables and name not in leaving and not _mesh.is_absent(variables[name])
    }
    mistaken = spec_problems(roles, variables)
    if mistaken:
        return [*problems, *mistaken]
    try:
        hosts = _mesh.read_hosts(variables, names, leaving)
    except MeshError as exc:
        return [*problems, _sentence(exc)]
    problems += _lacking(hosts, set(map(str, registries)))
    problems += _zones(hosts)
    try:
        _mesh.check_against_each_other(hosts)
    except MeshError as exc:
        problems.append(_sentence(exc))
    return problems


def _lacking(hosts: t.Iterable[Host], registries: t.Container[str]) -> list[str]:
    """Say which hosts lack what each of them needs."""
    staying = [host for host in hosts if not host.is_absent]
    no_address = [host.host for host in staying if not host.addresses]
    no_endpoint = [host.host for host in staying if host.host in registries and not host.endpoint]
    problems = []
    if no_address:
        problems.append(
            f"wgsd_address is not set for {', '.join(no_address)}. Give each of these hosts a "
            "tunnel address of its own in the inventory, such as 10.0.0.1/24."
        )
    if no_endpoint:
        problems.append(
            f"wgsd_endpoint is not set for {', '.join(no_endpoint)}. Set it in the inventory to "
            "the public ADDRESS:PORT or HOST:PORT at which peers reach the registry, such as "
            "203.0.113.4:51820."
        )
    return problems


def _zones(hosts: t.Iterable[Host]) -> list[str]:
    """Say so if hosts of one mesh are given different zones."""
    first: dict[str, str] = {}
    for host in hosts:
        if host.zone:
            first.setdefault(host.zone, host.host)
    if len(first) < 2:
        return []
    told = ", ".join(f"{zone} for {host}" for zone, host in first.items())
    return [f"wgsd_zone differs: {told}. Give all hosts of a mesh the same zone."]


def _sentence(error: MeshError) -> str:
    return f"{error}."


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mesh_problems": mesh_problems}
