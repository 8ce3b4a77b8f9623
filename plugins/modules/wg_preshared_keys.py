#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wg_preshared_keys: the secrets that pairs of hosts share."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wg_preshared_keys
short_description: Tell or make the preshared keys of pairs of WireGuard hosts
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Returns the preshared key of each pair that this host makes with another one, so that a playbook
    can hand it from host to host within one run. It is never on the controller's disk.
  - For each of O(public_keys) it is the one in this host's C(/etc/wireguard/NAME.conf). If the file
    has none, one of the two hosts makes it, namely the one whose public key comes first when both
    are compared as text in base64 (by the characters' ASCII codes). On the other host the result
    has nothing for that pair.
  - So of a pair the playbook takes what the host with the first key returned. If that host is not
    in the run it takes what the other one returned, and if there is nothing, the pair gets no
    preshared key yet.
  - Nothing is written. M(wgsd.mesh.wg_interface) writes the keys, given as
    O(wgsd.mesh.wg_interface#module:peers[].preshared_key) on both hosts. Until then each run makes
    others. A tunnel that lives goes on meanwhile, since the key counts at the next handshake, which
    is within two minutes. Set both ends in the same run.
options:
  interface:
    description: Name of the interface.
    type: str
    required: true
  public_keys:
    description:
      - Public keys of the other hosts that take part, in base64.
      - This host's own key among them is left out, so that all hosts can be given the same list.
    type: list
    elements: str
    required: true
requirements:
  - Python >= 3.9
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
    details:
      - Makes no keys. Pairs that have none yet are left out of the result.
  diff_mode:
    support: N/A
    details:
      - Nothing is changed.
notes:
  - Needs root.
  - The result holds secrets in the clear, as it must reach other tasks. Set C(no_log=true) on the
    task that registers it, and on each task that has one of its values in its options or its loop.
  - Do not keep the result with C(set_fact) and C(cacheable=true), which writes it to a disk.
seealso:
  - module: wgsd.mesh.wg_interface
"""

EXAMPLES = r"""
- name: Tell or make the preshared keys
  wgsd.mesh.wg_preshared_keys:
    interface: wg0
    public_keys: "{{ groups['mesh'] | map('extract', hostvars, 'wgsd_public_key') }}"
  no_log: true
  register: pairs

- name: Give this end of a pair what the maker of the secret has told
  wgsd.mesh.wg_interface:
    name: wg0
    peers:
      - public_key: "{{ theirs }}"
        preshared_key: "{{ ((mine < theirs) | ternary(here or there, there or here)) or omit }}"
  no_log: true
  vars:
    mine: "{{ pairs.public_key }}"
    theirs: "{{ hostvars['bob'].pairs.public_key }}"
    here: "{{ pairs.preshared_keys[theirs] | default('') }}"
    there: "{{ hostvars['bob'].pairs.preshared_keys[mine] | default('') }}"
"""

RETURN = r"""
public_key:
  description:
    - This host's own public key, in base64, which tells for which pairs it is the maker.
    - Null in check mode if it is still to be made.
  returned: success
  type: str
  sample: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
preshared_keys:
  description: The preshared keys, in base64, by the other hosts' public keys.
  returned: success
  type: dict
  sample:
    NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=: FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_preshared import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "public_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
