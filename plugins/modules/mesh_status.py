# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of the action mesh_status, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_status
short_description: Show how the hosts of a mesh reach each other
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Puts together what M(wgsd.mesh.wgsd_status) has returned for each host of a mesh, finds what is
    wrong, prints tables, and writes a page with a map and a matrix.
  - All of it happens on the controller, once for the play. No host is connected to.
  - It is what the playbook C(wgsd.mesh.status) consists of.
options:
  registries:
    description: The inventory names of the registries, usually C(groups['wgsd_registry']).
    type: list
    elements: str
    required: true
  peers:
    description:
      - The inventory names of the other hosts, usually C(groups['wgsd_peers']).
      - Hosts whose variable C(wgsd_state) is V(absent) are left out.
      - The variables C(wgsd_name), C(wgsd_interface), C(wgsd_instance) and C(wgsd_public_key) of
        each are read.
    type: list
    elements: str
    required: true
  registered:
    description:
      - Name of the variable under which each host has the result of M(wgsd.mesh.wgsd_status), which
        was called with O(wgsd.mesh.wgsd_status#module:as_json=true).
      - A host without it counts as not asked, one that was unreachable or failed as such.
    type: str
    required: true
  format:
    description:
      - What to print on standard output.
      - V(table) prints tables of at most 100 columns. Of more than eight hosts, peers that are
        direct are only counted.
      - V(json) prints all as one line of JSON.
    type: str
    choices: [table, json]
    default: table
  html:
    description:
      - Where to write the page on the controller, relative to the folder where Ansible was started.
      - None is written if omitted or empty.
    type: str
  json:
    description:
      - Where to write all as JSON on the controller, or V(-) for standard output, in one line and
        in place of the tables.
    type: str
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
    details:
      - The files are written in check mode too. They belong to the report, and are no change of the
        mesh.
  diff_mode:
    support: N/A
    details:
      - This action changes nothing on the hosts.
  platform:
    support: N/A
    description: It runs on the controller, whatever that is.
    platforms: posix
seealso:
  - module: wgsd.mesh.wgsd_status
"""

EXAMPLES = r"""
- name: Read how each host reaches its peers
  wgsd.mesh.wgsd_status:
    as_json: true
  register: status_of_host
  ignore_unreachable: true
  failed_when: false

- name: Show the mesh
  wgsd.mesh.mesh_status:
    registries: "{{ groups['wgsd_registry'] }}"
    peers: "{{ groups['wgsd_peers'] }}"
    registered: status_of_host
    html: mesh.html
  register: mesh
  run_once: true

- name: Fail if somebody is not reached
  ansible.builtin.assert:
    that: mesh.problems | selectattr('severity', 'eq', 'error') | length == 0
  run_once: true
"""

RETURN = r"""
summary:
  description: How the mesh is, in one sentence.
  returned: success
  type: str
  sample: 3 hosts, 3 of 3 answered, 1 of 1 pairs of peers direct
pairs:
  description:
    - How many pairs of hosts there are that are no registries (C(all)), and how many of them are in
      each state.
    - The state C(one-sided) is that of a pair of which one host sees a tunnel and the other does
      not.
  returned: success
  type: dict
  sample:
    all: 1
    direct: 1
problems:
  description: What is wrong, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    severity:
      description: V(error) if somebody is not reached, V(warning) or V(note).
      type: str
    kind:
      description: A word for it, as listed in C(docs/status.md).
      type: str
    hosts:
      description: The names of those whom it is about.
      type: list
      elements: str
    text:
      description: A sentence.
      type: str
    remedy:
      description: What to do or where to look, null if nothing better is known.
      type: str
  sample: []
html:
  description: Absolute path of the page.
  returned: when O(html) is given
  type: str
  sample: /srv/www/mesh.html
json:
  description: Absolute path of the JSON.
  returned: when O(json) is a path
  type: str
  sample: /srv/www/mesh.json
"""
