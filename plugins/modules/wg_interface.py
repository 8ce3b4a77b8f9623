#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wg_interface: a wg-quick interface, its key and its peers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wg_interface
short_description: Manage a WireGuard interface, its key and its peers
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Writes C(/etc/wireguard/NAME.conf) and runs the interface as C(wg-quick@NAME).
  - The key pair is made on the host, unless O(private_key) is given. The private key is in that
    file only. It is never returned, logged or shown in a diff.
  - A file that is already there is adopted. Its key, its comments, its order and all settings that
    this module was not asked to change stay as they are. Before its first change it is copied to
    C(/etc/wireguard/NAME.conf.before-wgsd), which only root can read, as it holds the private key.
  - A file with C(SaveConfig = true) is refused, since wg-quick would overwrite it.
  - A running interface is changed to what the file says by the difference alone. Neither the
    interface nor a tunnel is restarted. What differs for another reason is repaired as well, such
    as a peer that was removed by hand.
  - The endpoint of a peer whose tunnel lives is left as it is on the running interface, since
    WireGuard itself follows a peer that moves. The same goes for the endpoint and the keepalive
    of a peer for which the file has none. These are the client's, see M(wgsd.mesh.wgsd_client).
  - A peer whose next key was announced with M(wgsd.mesh.wg_key), and has taken over on the running
    interface, gets that key in the file, whoever is in the run. The comment C(# Successor) of the
    file tells which key that is.
  - A peer that only the running interface has stays, as the client may have added it. If it holds
    an allowed IP of a peer in the file, it is removed if it has no session, since it is mostly the
    former key of the same host. With a session it is an error.
  - Routes are made as wg-quick makes them, for allowed IPs outside of the interface's own
    networks, in the table that the setting C(Table) of the file names. Only a default route waits
    for the next start of the interface.
  - All of O(peers) is checked first. Nothing is written if one of them cannot be used.
options:
  name:
    description: Name of the interface.
    type: str
    required: true
  state:
    description:
      - V(present) means that the interface is configured, up, and starts at boot.
      - V(absent) means that it is down and does not start at boot. Its file, and with it the
        private key, stays, unless O(purge=true).
    type: str
    choices: [present, absent]
    default: present
  private_key:
    description:
      - A private key of your own for a new interface, in base64, as C(wg genkey) makes it.
      - If the file has another key already, the module fails, since all tunnels would drop. The
        playbook C(wgsd.mesh.rotate_keys) changes the key of a host without that.
      - One is made on the host if omitted. That is better, since no other machine knows it then.
    type: str
  address:
    description:
      - Addresses of the interface in CIDR notation.
      - Left as they are if omitted.
    type: list
    elements: str
  listen_port:
    description:
      - UDP port to listen on, 1 to 65535.
      - Left as it is if omitted. A new file then gets a port from 61000 on, made from the names of
        the host and the interface. A host that boots again keeps its holes in other hosts' NATs.
    type: int
  mtu:
    description:
      - MTU of the interface, 576 to 65535.
      - Left as it is if omitted. Without any, wg-quick finds one.
    type: int
  fw_mark:
    description:
      - The mark of the encrypted packets, for rules of the firewall and of routing, as a decimal
        number or a hexadecimal one with C(0x).
      - V(off) or V(0) takes it away.
      - Where wg-quick has made a default route, another mark waits for the next start of the
        interface, since the rules of that route go by it.
      - Left as it is if omitted.
    type: str
  table:
    description:
      - The routing table that has the routes to the peers' allowed IPs, 1 to 4294967295. V(auto) is
        the main table, and V(off) makes no routes at all.
      - If it changes, the routes of a running interface move at once. Where wg-quick has made a
        default route, with V(auto), this is an error, since it could not take that away later.
      - Left as it is if omitted, and V(auto) in a new file.
    type: str
  instance:
    description:
      - Name of the mesh that the interface is for, on a host that belongs to several, as
        M(wgsd.mesh.wgsd_client) and M(wgsd.mesh.wgsd_responder) have it. It is empty
        for the one without a name.
      - It is an error if a client or a responder of another instance has the interface, or if those
        of this one have another. Nothing is changed then.
      - With O(state=absent), an interface is left alone, running or not, if it is somebody else's.
        It is this mesh's if this module has made or changed its file, or if a client or a responder
        of this instance has it.
      - Not looked at if omitted.
    type: str
  peers:
    description:
      - Peers to add or to change. All other peers are left alone, unless O(purge=true).
      - A peer with the O(peers[].name) of another one in the file, which itself is not in this
        list, takes that one's place, unless O(peers[].replace=false). It is the same host with a
        new key.
      - Left as they are if omitted.
    type: list
    elements: dict
    suboptions:
      public_key:
        description:
          - The peer's public key, in base64.
          - Needed with O(peers[].state=present). An absent peer is named by it, by O(peers[].name)
            or by both.
        type: str
      name:
        description:
          - The peer's name. It is kept in a comment of the file.
          - Letters, digits and inner hyphens, as in one label of a host name.
        type: str
      state:
        description:
          - V(absent) removes all peers of that O(peers[].public_key) or that O(peers[].name) from
            the file and from the running interface, with their routes. A peer with that key goes
            also if only the running interface has it. All other settings of the item are ignored.
        type: str
        choices: [present, absent]
        default: present
      replace:
        description:
          - With V(false), the item adds a peer or changes the one that has its key, and takes
            nobody's place. It is left out if the file has another peer of that name, which then
            stays as it is, or if a peer that only the running interface has holds one of its
            allowed IPs.
          - For keys that are known by hearsay, and may be older than those that are there.
        type: bool
        default: true
      allowed_ips:
        description:
          - Networks that are reached through the peer, and from which it may send, in CIDR
            notation.
          - Two peers cannot have the same.
        type: list
        elements: str
      endpoint:
        description:
          - Where the peer is reached, as C(ADDRESS:PORT), C([ADDRESS]:PORT) or C(HOSTNAME:PORT).
          - Leave it out for peers behind NATs. The client finds them.
          - An empty string takes it away.
        type: str
      persistent_keepalive:
        description:
          - Seconds between keepalives, V(0) for none.
          - Give one only to peers that have an O(peers[].endpoint). A peer that has a keepalive
            but no endpoint connects up to five seconds late once its endpoint is known.
        type: int
      preshared_key:
        description:
          - A secret that both peers share, in base64, as C(wg genpsk) makes it.
          - A tunnel that lives goes on when it changes. Both ends need the same one by their next
            handshake, which is within two minutes. M(wgsd.mesh.wg_preshared_keys) makes it.
          - An empty string takes it away.
        type: str
      former_keys:
        description:
          - Public keys that the peer has had before, in base64, the last one first, as
            RV(former_keys) tells them on that host.
          - If the file has the peer by one of these, and not by its O(peers[].public_key), the
            section stays as it is, with its comments and its preshared key, and gets the new
            public key. A peer that merely has the same O(peers[].name) was installed anew, and has
            no preshared key either, so the section that replaces the other one has none.
          - Ignored with O(peers[].replace=false).
        type: list
        elements: str
  peers_json:
    description:
      - The same list as O(peers) as a text in JSON, which Ansible passes on as it is. For a
        thousand peers that saves the controller a fifth of a second for each host.
      - It is not shown, since it may have preshared keys in it.
    type: str
  return_peers:
    description: Whether to return RV(peers). Without it, a run on many hosts takes less memory.
    type: bool
    default: true
  keepalive:
    description:
      - The O(peers[].persistent_keepalive) of those peers that have an O(peers[].endpoint) and none
        of their own. It may differ from host to host where the list is the same for all.
    type: int
  skip_own:
    description:
      - Leave the item of O(peers) out that has this host's own public key, so that all hosts can be
        given the same list.
      - Without it such an item is an error.
    type: bool
    default: false
  purge:
    description:
      - With O(state=present), remove peers that are not in O(peers), from the file and from the
        running interface.
      - With O(state=absent), also remove the file with the private key. If the file was adopted, it
        gets the content that it had before the first change instead, and if this module has never
        changed it, it stays as it is. The interface is down in any case, unless it is somebody
        else's by O(instance). A key that M(wgsd.mesh.wg_key) has prepared is removed too.
    type: bool
    default: false
requirements:
  - C(wg) and C(wg-quick) (Debian package wireguard-tools)
  - systemd
  - pyroute2 >= 0.7.2 (Debian package python3-pyroute2)
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
    details:
      - Without pyroute2, a running interface cannot be compared. There is a warning then.
  diff_mode:
    support: full
    details:
      - Secrets are masked.
notes:
  - Needs root.
seealso:
  - plugin: wgsd.mesh.mesh_peers
    plugin_type: filter
  - module: wgsd.mesh.wg_endpoint
  - module: wgsd.mesh.wg_preshared_keys
"""

EXAMPLES = r"""
- name: Make an interface with a key of its own
  wgsd.mesh.wg_interface:
    name: wg0
    address: [10.0.0.1/24]
  register: wg0

- name: Tell its public key
  ansible.builtin.debug:
    var: wg0.public_key

- name: Make an interface with a key that was made elsewhere
  wgsd.mesh.wg_interface:
    name: wg1
    address: [10.1.0.1/24]
    private_key: "{{ vault_wg1_private_key }}"

- name: Add a peer that has a public address, and one that the client will find
  wgsd.mesh.wg_interface:
    name: wg0
    peers:
      - name: registry
        public_key: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
        allowed_ips: [10.0.0.254/32]
        endpoint: 203.0.113.4:51820
        persistent_keepalive: 25
      - name: bob
        public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
        allowed_ips: [10.0.0.2/32]

- name: Remove a peer that is no longer part of the mesh
  wgsd.mesh.wg_interface:
    name: wg0
    peers:
      - name: bob
        state: absent

- name: Remove all peers
  wgsd.mesh.wg_interface:
    name: wg0
    peers: []
    purge: true

- name: Stop the interface, but keep its key
  wgsd.mesh.wg_interface:
    name: wg0
    state: absent

- name: Remove the interface and its key, if it is that of a mesh of this collection
  wgsd.mesh.wg_interface:
    name: wg0
    state: absent
    purge: true
    instance: ""
"""

RETURN = r"""
public_key:
  description:
    - The interface's public key, in base64.
    - Null in check mode if the key is still to be made, and if there is no file.
  returned: success
  type: str
  sample: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
former_keys:
  description:
    - Public keys that the interface has had before, in base64, the last one first. At most twelve.
    - M(wgsd.mesh.wg_key) notes them in comments C(# Formerly) of the file.
  returned: success
  type: list
  elements: str
  sample: []
backend:
  description: What the interface runs on, V(kernel) or V(userspace); null if it does not run.
  returned: success
  type: str
  sample: kernel
listen_port:
  description: The UDP port that the file has (in check mode, would have), or null.
  returned: success
  type: int
  sample: 51820
peers_with_endpoint:
  description:
    - Names, or for peers without one public keys, of the peers that have an endpoint in the file
      (in check mode, would have).
  returned: success
  type: list
  elements: str
  sample: [registry]
peers:
  description: All peers that the file has (in check mode, would have).
  returned: success and O(return_peers=true)
  type: list
  elements: dict
  contains:
    public_key:
      description: The peer's public key, in base64.
      type: str
    name:
      description: The peer's name, null if it has none.
      type: str
    allowed_ips:
      description: Its allowed IPs.
      type: list
      elements: str
    endpoint:
      description: Its endpoint, null if the file has none.
      type: str
    persistent_keepalive:
      description: Its keepalive in seconds, null if the file has none.
      type: int
  sample:
    - public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
      name: bob
      allowed_ips: [10.0.0.2/32]
      endpoint: null
      persistent_keepalive: null
peers_added:
  description: Public keys of the peers that were added to the file.
  returned: success
  type: list
  elements: str
  sample: [NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=]
peers_changed:
  description: Public keys of the peers that were changed in the file.
  returned: success
  type: list
  elements: str
  sample: []
peers_removed:
  description:
    - Public keys of the peers that were removed from the file, and of the absent ones that were
      removed from the running interface only.
  returned: success
  type: list
  elements: str
  sample: []
owned:
  description:
    - Whether the interface is this mesh's or nobody's, see O(instance). Always true without that.
  returned: O(state=absent)
  type: bool
  sample: true
steps:
  description:
    - What was done to the running interface and its unit, in words, and whether an adopted file was
      copied or put back, or a file removed.
  returned: success
  type: list
  elements: str
  sample: [add peer bob]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_interface import run
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_peers import PEER_OPTIONS


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "private_key": {"type": "str", "no_log": True},
            "address": {"type": "list", "elements": "str"},
            "listen_port": {"type": "int"},
            "mtu": {"type": "int"},
            "fw_mark": {"type": "str"},
            "table": {"type": "str"},
            "instance": {"type": "str"},
            "peers": {"type": "list", "elements": "dict", "options": PEER_OPTIONS},
            "peers_json": {"type": "str", "no_log": True},
            "return_peers": {"type": "bool", "default": True},
            "skip_own": {"type": "bool", "default": False},
            "keepalive": {"type": "int", "no_log": False},
            "purge": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("peers", "peers_json")],
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
