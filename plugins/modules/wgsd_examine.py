#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_examine: what can be found out on one host about a tunnel that fails."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_examine
short_description: Examine a host of a mesh whose tunnels fail
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Finds out what one host of a mesh can tell about tunnels that fail. The playbook
    C(wgsd.mesh.doctor) runs it on two hosts and their registry, and the filter
    P(wgsd.mesh.mesh_diagnosis#filter) concludes from what it found there.
  - Reads the WireGuard interface, the client, the responder, the clock and what nftables drops.
  - With O(seconds), it also tries. It pings the O(peers) through the tunnel, asks O(servers) for
    the zone, sends datagrams to O(send_to), and watches WireGuard's packets on the network
    interfaces meanwhile, before a firewall of the host sees them.
  - To be of use, this has to run on the hosts at the same time.
  - Nothing is changed. Private and preshared keys are never returned.
options:
  name:
    description: What the host is called in the mesh. It goes into the datagrams to O(send_to).
    type: str
    required: true
  interface:
    description: Name of the WireGuard interface.
    type: str
    default: wg0
  instance:
    description: Instance of the daemons, on a host that is in several meshes.
    type: str
    default: ""
  daemons:
    description:
      - The daemons that the host should have. One that is not there is a finding.
    type: list
    elements: str
    choices: [client, responder]
    default: []
  controller_time:
    description:
      - The present on the controller, in seconds since the epoch.
      - Without it nothing is said about how far the host's clock is off.
    type: float
  salt:
    description:
      - Any text. Digests of preshared keys are made with it. Those of two hosts can be compared if
        they were made with the same one.
    type: str
    required: true
  peers:
    description: The hosts to try to reach.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the host is called in the mesh.
        type: str
        required: true
      address:
        description: Its tunnel address.
        type: str
        required: true
      public_key:
        description:
          - Its public key, in base64.
          - If it is not given, the interface's peer with O(peers[].address) is meant.
        type: str
  seconds:
    description:
      - For how many seconds to try. V(0) tries nothing, and sends no packet.
      - WireGuard repeats a handshake every 5 seconds, so less than 8 seconds may miss it.
    type: float
    default: 0
  large:
    description: Whether to ping with packets as large as the interface's MTU too.
    type: bool
    default: true
  zone:
    description: The zone to ask for.
    type: str
    default: ""
  servers:
    description: DNS servers of O(zone), as V(ADDRESS) or V(ADDRESS:PORT). None asks nobody.
    type: list
    elements: str
    default: []
  send_to:
    description:
      - UDP ports to send datagrams to from one socket, as V(ADDRESS:PORT). A host that watches
        these ports sees how a NAT maps them.
    type: list
    elements: str
    default: []
  watch:
    description: UDP ports that such datagrams of other hosts come to, besides WireGuard's.
    type: list
    elements: int
    default: []
  nonce:
    description: What these datagrams begin with. The same on all hosts, another in each run.
    type: str
    default: ""
requirements:
  - iproute2 (the command C(ip))
extends_documentation_fragment:
  - wgsd.mesh.attributes
  - wgsd.mesh.attributes.libraries
attributes:
  check_mode:
    support: full
    details:
      - In check mode it does the same.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
notes:
  - Needs root.
  - To ping a peer makes WireGuard try a handshake with it, as any packet does.
seealso:
  - module: wgsd.mesh.wg_info
  - plugin: wgsd.mesh.mesh_diagnosis
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at a host without sending a packet
  wgsd.mesh.wgsd_examine:
    name: alice
    daemons: [client]
    salt: "{{ 1000000 | random }}"
    controller_time: "{{ now().timestamp() }}"
  register: alice

- name: Try for ten seconds to reach others
  wgsd.mesh.wgsd_examine:
    name: alice
    salt: "{{ 1000000 | random }}"
    seconds: 10
    zone: example.com.
    servers: [10.0.0.254]
    peers:
      - name: bob
        address: 10.0.0.2
      - name: registry
        address: 10.0.0.254
  register: alice
"""

RETURN = r"""
name:
  description: As given.
  returned: success
  type: str
  sample: alice
version:
  description: Version of this collection's engine.
  returned: success
  type: str
  sample: 0.1.0
clock:
  description: The host's clock, before anything was tried.
  returned: success
  type: dict
  contains:
    now:
      description: Seconds since the epoch.
      type: float
    offset:
      description: Seconds that it is ahead of the controller's, null without O(controller_time).
      type: float
  sample: {now: 1767225600.5, offset: 0.5}
interface:
  description: The WireGuard interface, after all was tried.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the interface.
      type: str
    error:
      description: Why it cannot be read, null if it can. Then there are only its name and this.
      type: str
    backend:
      description: What it runs on, V(kernel) or V(userspace).
      type: str
    public_key:
      description: Its public key, in base64.
      type: str
    listen_port:
      description: The UDP port that it listens on.
      type: int
    fwmark:
      description: The mark of the packets that it sends, V(0) for none.
      type: int
    addresses:
      description: Its addresses in CIDR notation.
      type: list
      elements: str
    mtu:
      description: Its MTU in bytes.
      type: int
    is_up:
      description: Whether it is switched on.
      type: bool
    peers:
      description: Its peers.
      type: list
      elements: dict
      contains:
        public_key:
          description: The peer's public key, in base64.
          type: str
        name:
          description: The peer's name in the interface's file, null if it has none.
          type: str
        endpoint:
          description: Where packets for it go to, null if that is not known.
          type: str
        allowed_ips:
          description: Its allowed IPs in CIDR notation.
          type: list
          elements: str
        last_handshake:
          description: Time of the last handshake, in seconds since the epoch, null for never.
          type: float
        handshake_age:
          description:
            - Seconds since the last handshake, null for never. Less than V(0) if the clock was set
              back since.
          type: float
        rx_bytes:
          description: Bytes that came from the peer.
          type: int
        tx_bytes:
          description: Bytes that were sent to the peer.
          type: int
        persistent_keepalive:
          description: Seconds between keepalives, null for none.
          type: int
        preshared_digest:
          description: What tells one preshared key from another, null if the peer has none.
          type: str
  sample:
    name: wg0
    backend: kernel
    public_key: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
    listen_port: 61234
    fwmark: 0
    addresses: [10.0.0.1/24]
    mtu: 1420
    is_up: true
    error: null
    peers:
      - public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
        name: bob
        endpoint: 203.0.113.5:51820
        allowed_ips: [10.0.0.2/32]
        last_handshake: 1767225600.0
        handshake_age: 42.0
        rx_bytes: 1234
        tx_bytes: 5678
        persistent_keepalive: 25
        preshared_digest: null
addresses:
  description: Addresses of the host's other interfaces.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.10]
client:
  description: How the client is. Null if there is none, and O(daemons) expects none.
  returned: success
  type: dict
  contains:
    unit:
      description: Its unit.
      type: str
    unit_state:
      description: State of the unit, null where systemd does not run.
      type: str
    running:
      description: Whether it runs.
      type: bool
    problem:
      description: Why it does not, or null.
      type: str
    process_state:
      description: What its process does, as a letter (see proc(5)). V(T) is stopped.
      type: str
    other_version:
      description: Its version if that is not this collection's, or null.
      type: str
    report:
      description:
        - Of its last report, what matters here. Null without one.
        - C(peers) has by public key how it sees those of O(peers) that were tried, with C(state),
          C(reason), and C(due), when it does the next step, in seconds since the epoch.
      type: dict
  sample:
    unit: wgsd-client
    unit_state: active
    running: true
    problem: null
    process_state: S
    other_version: null
    report: {pid: 812, age: 3.2, zone: example.com., servers: ["10.0.0.254:53"], serial: 774243419}
responder:
  description: How the responder is. Null if there is none, and O(daemons) expects none.
  returned: success
  type: dict
  contains:
    unit:
      description: Its unit.
      type: str
    unit_state:
      description: State of the unit, null where systemd does not run.
      type: str
    running:
      description: Whether it runs.
      type: bool
    problem:
      description: Why it does not, or null.
      type: str
    report_age:
      description: Seconds since its last report, which it makes every second.
      type: float
    listening:
      description: Where it takes queries.
      type: list
      elements: str
    zones:
      description: The zones that it serves.
      type: list
      elements: str
    trouble:
      description: What keeps a zone from being served, in its own words.
      type: list
      elements: str
  sample: null
firewall:
  description: Policies and rules of nftables that drop packets, at most six.
  returned: success
  type: list
  elements: str
  sample: ["inet filter input: policy drop"]
probe:
  description: What came of trying. Null if O(seconds) is V(0).
  returned: success
  type: dict
  contains:
    window:
      description: When it began and ended, by the host's clock, in seconds since the epoch.
      type: list
      elements: float
    wire:
      description:
        - The packets from and to WireGuard's port that passed network interfaces of the host, in
          groups. C(direction) is V(in) or V(out), C(remote) the other end, C(kind) one of
          V(initiation), V(response), V(cookie), V(data) and V(other), C(ours) whether a handshake
          message is made for this host's key, C(count) and C(bytes) how many.
      type: list
      elements: dict
    wire_error:
      description: Why they could not be watched, or null.
      type: str
    nat:
      description:
        - Datagrams of others to O(send_to). The C(name) in it, its C(source), and the C(port).
      type: list
      elements: dict
    watched:
      description: The ports that were watched for them.
      type: list
      elements: int
    zone:
      description:
        - How the zone's server has answered. C(status) is V(ok), V(timeout), V(refused) if nobody
          listens, V(signature) if it rejects the key or the time that the query is signed with
          (C(said) has its words), or the status of the DNS answer. C(peers) has the endpoints of
          O(peers) by name.
      type: dict
    peers:
      description:
        - What came of each of O(peers), by name. C(small) and C(large) are pings, C(largest) is the
          largest packet that passes if large ones do not, C(rx) and C(tx) are the bytes that
          WireGuard has counted meanwhile, C(route) is how packets to the endpoint leave, and
          C(tunnel_route) the interface that the tunnel address is reached by.
      type: dict
  sample: null
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import _doctor_survey as survey
from ansible_collections.wgsd.mesh.plugins.module_utils._doctor_probe import Plan, Target, probe
from ansible_collections.wgsd.mesh.plugins.module_utils._module import command_runner, run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd import __version__
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    Instance,
    check_instance,
    check_interface,
    server_address,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Endpoint

#: So that a run ends, whatever is asked for.
SECONDS_MAX = 120.0


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Examine this host."""
    options = module.params
    interface = check_interface(options["interface"])
    instance = check_instance(options["instance"])
    seconds = options["seconds"]
    if not 0 <= seconds <= SECONDS_MAX:
        raise UsageError(
            f"seconds: {seconds:g} is out of range", f"give a number from 0 to {SECONDS_MAX:g}"
        )
    command = command_runner(module)
    clock = survey.clock(options["controller_time"])
    plan = plan_of(options, interface, Instance("client", instance))
    found = probe(plan, command) if seconds else None
    tried = [peer["public_key"] for peer in found["peers"].values()] if found else []
    return {
        "name": options["name"],
        "version": __version__,
        "clock": clock,
        "interface": survey.interface(interface, plan.salt, time.time())[0],
        "addresses": survey.host_addresses(interface),
        "client": survey.client(
            interface,
            Instance("client", instance),
            command,
            expected="client" in options["daemons"],
            peers=[key for key in tried if key],
        ),
        "responder": survey.responder(
            Instance("responder", instance), command, expected="responder" in options["daemons"]
        ),
        "firewall": survey.firewall(command),
        "probe": found,
    }


def plan_of(options: t.Mapping[str, t.Any], interface: str, client: Instance) -> Plan:
    """Return what the options ask to try.

    Raises:
        UsageError: one cannot be used; the message names it.
    """
    targets = []
    for number, peer in enumerate(options["peers"]):
        try:
            key = PublicKey.from_base64(peer["public_key"]) if peer["public_key"] else None
            address = Endpoint.make(peer["address"], 1).address
        except UsageError as exc:
            raise UsageError(f"peers[{number}]: {exc.message}", exc.remedy) from None
        targets.append(Target(peer["name"], address, key))
    return Plan(
        name=options["name"],
        interface=interface,
        seconds=options["seconds"],
        targets=targets,
        large=options["large"],
        zone=options["zone"],
        servers=[server_address(text) for text in options["servers"]],
        send_to=[Endpoint.parse(text) for text in options["send_to"]],
        watch=options["watch"],
        nonce=options["nonce"].encode("utf-8"),
        instance=client,
        salt=options["salt"].encode("utf-8"),
    )


def main() -> None:
    peer = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "public_key": {"type": "str", "no_log": False},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "interface": {"type": "str", "default": "wg0"},
            "instance": {"type": "str", "default": ""},
            "daemons": {
                "type": "list",
                "elements": "str",
                "choices": ["client", "responder"],
                "default": [],
            },
            "controller_time": {"type": "float"},
            "salt": {"type": "str", "required": True},
            "peers": {"type": "list", "elements": "dict", "options": peer, "default": []},
            "seconds": {"type": "float", "default": 0},
            "large": {"type": "bool", "default": True},
            "zone": {"type": "str", "default": ""},
            "servers": {"type": "list", "elements": "str", "default": []},
            "send_to": {"type": "list", "elements": "str", "default": []},
            "watch": {"type": "list", "elements": "int", "default": []},
            "nonce": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
