#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wg_key: the key of a WireGuard interface, replaced without dropping a tunnel."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wg_key
short_description: Replace the key of a WireGuard interface without dropping its tunnels
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - A host replaces its key in four steps, of which each is a state of this module. The playbook
    C(wgsd.mesh.rotate_keys) goes through them on all hosts of a mesh.
  - First the host prepares its next key (O(state=prepared)). Then all other hosts get to know it
    (O(state=announced)). Then the host switches to it (O(state=switched)). In the end the others
    put it into their files (O(state=settled)).
  - WireGuard gives an allowed IP to one peer only. So on the other hosts the next key is a peer
    without allowed IPs at first, and a short-lived unit, C(wgsd takeover), moves them to it as soon
    as the first handshake comes by the next key. This takes 20 milliseconds and a round trip at
    the most.
  - Private keys are made on their host and stay there. They are never returned, logged or shown in
    a diff.
  - Each state can be asked for again. What was interrupted is completed.
options:
  name:
    description: Name of the interface.
    type: str
    required: true
  state:
    description:
      - V(prepared) makes the next key and keeps it in C(/etc/wireguard/NAME.key-next), which root
        alone can read. One that is there is kept.
      - V(announced) makes O(successors) known to the running interface, and starts a unit that lets
        each of them take its predecessor's place once its host uses it. After O(seconds) the unit
        ends, and removes those that nobody has used. Until all is settled, a comment of the file
        says which key comes next, for M(wgsd.mesh.wg_interface) to go by if the run breaks off.
      - V(switched) replaces the key in the interface's file (or in the file that a hook of it
        loads), then that of the running interface, and removes C(/etc/wireguard/NAME.key-next). It
        then sends something to all peers, so that idle tunnels go on as well, and waits for their
        handshakes. Without a next key nothing happens.
      - V(settled) puts O(successors) into the file, in the sections of their predecessors. A
        preshared key, comments and all else stay. If the running interface still has a predecessor,
        the successor takes its place.
    type: str
    choices: [prepared, announced, switched, settled]
    required: true
  private_key:
    description:
      - The next key, in base64, if it is not to be made on the host. It takes the place of one that
        was prepared before.
      - If it is the key that the interface has already, there is nothing to be replaced.
      - Only with O(state=prepared).
    type: str
  successors:
    description:
      - Keys of peers, and those that come after them. This host's own key may be among them, and is
        left out.
      - Required with O(state=announced) and O(state=settled).
    type: list
    elements: dict
    suboptions:
      old:
        description: The peer's public key, in base64.
        type: str
        required: true
      new:
        description: The public key that comes after it, in base64.
        type: str
        required: true
      name:
        description:
          - The peer's name in the interface's file. If O(successors[].old) is not known here, since
            this host has missed an earlier rotation, the peer is found by its name.
        type: str
  seconds:
    description: How long a key that was announced may take until it is used.
    type: int
    default: 600
  patience:
    description:
      - With O(state=switched), the seconds to wait until all peers that had a session before have
        one by the new key. Those that have not are returned in RV(unconfirmed), with a warning.
    type: int
    default: 10
requirements:
  - C(wg) (Debian package wireguard-tools)
  - systemd, and the engine C(/usr/local/bin/wgsd), which M(wgsd.mesh.wgsd_client) and
    M(wgsd.mesh.wgsd_responder) install, with O(state=announced)
  - pyroute2 >= 0.7.2 (Debian package python3-pyroute2)
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
    details:
      - A key that is still to be made has no public key yet, so that what follows from it cannot be
        predicted.
  diff_mode:
    support: full
    details:
      - Public keys only. Secrets are masked.
notes:
  - Needs root.
seealso:
  - module: wgsd.mesh.wg_interface
  - module: wgsd.mesh.wgsd_client
"""

EXAMPLES = r"""
- name: Prepare Alice's next key
  wgsd.mesh.wg_key:
    name: wg0
    state: prepared
  register: alice
  when: inventory_hostname == 'alice'

- name: Let the others know it
  wgsd.mesh.wg_key:
    name: wg0
    state: announced
    successors: &successors
      - name: alice
        old: "{{ hostvars['alice']['alice'].public_key }}"
        new: "{{ hostvars['alice']['alice'].next_public_key }}"
  when: inventory_hostname != 'alice'

- name: Switch to it
  wgsd.mesh.wg_key:
    name: wg0
    state: switched
  when: inventory_hostname == 'alice'

- name: Put it into the others' files
  wgsd.mesh.wg_key:
    name: wg0
    state: settled
    successors: *successors
  when: inventory_hostname != 'alice'
"""

RETURN = r"""
public_key:
  description:
    - The public key of the interface, in base64. While it runs with another key than its file has,
      since a switch was interrupted, the one that it runs with.
    - Null if the interface has no key.
  returned: success
  type: str
  sample: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
next_public_key:
  description:
    - The public key that comes next, in base64. Null if none is prepared, and in check mode if it
      is still to be made.
  returned: success
  type: str
  sample: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
steps:
  description: What was done, in words.
  returned: success
  type: list
  elements: str
  sample: [give the next key to the running interface]
unknown:
  description:
    - Names (or public keys) of the peers in O(successors) that this host does not have. The
      playbook C(wgsd.mesh.site) adds them.
  returned: with O(state=announced) and O(state=settled)
  type: list
  elements: str
  sample: []
unconfirmed:
  description:
    - Names (or public keys) of the peers that had a session before the switch, and none within
      O(patience) seconds after it.
  returned: with O(state=switched)
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_key_states import run


def main() -> None:
    successor = {
        "old": {"type": "str", "required": True, "no_log": False},
        "new": {"type": "str", "required": True, "no_log": False},
        "name": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["prepared", "announced", "switched", "settled"],
                "required": True,
            },
            "private_key": {"type": "str", "no_log": True},
            "successors": {"type": "list", "elements": "dict", "options": successor},
            "seconds": {"type": "int", "default": 600},
            "patience": {"type": "int", "default": 10},
        },
        required_if=[("state", "announced", ["successors"]), ("state", "settled", ["successors"])],
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
