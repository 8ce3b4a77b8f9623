#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_status: how a host reaches its peers, by its own engine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_status
short_description: Read how a host reaches the peers of its meshes
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Returns what C(wgsd status --json) says on the host. Its client knows more of a peer than
    WireGuard does, such as where the endpoint came from, since when the peer is reached or not, and
    why.
  - The engine that is installed on the host is asked, so that hosts of several versions can be
    read.
options:
  interfaces:
    description:
      - Names of the interfaces to tell of. Those of all meshes of the host if omitted.
      - One that is in no mesh of the host is no error. It is just not in the result.
    type: list
    elements: str
  as_json:
    description:
      - Whether to return all as one text, RV(status_json), and nothing else.
      - Ansible looks at each value of a result. In a mesh of 300 hosts there are 90,000 peers to
        look at, which takes less time and memory if they are in one text for each host.
    type: bool
    default: false
requirements:
  - Python >= 3.9
  - the engine C(/usr/local/bin/wgsd), which M(wgsd.mesh.wgsd_client) and
    M(wgsd.mesh.wgsd_responder) install
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
notes:
  - Needs root to read interfaces.
seealso:
  - module: wgsd.mesh.mesh_status
  - module: wgsd.mesh.wg_info
    description: What WireGuard itself knows, also where there is no client.
  - module: wgsd.mesh.wgsd_client
"""

EXAMPLES = r"""
- name: Read how the peers are reached
  wgsd.mesh.wgsd_status:
  register: mesh

- name: Fail if the host has no direct tunnel to Bob
  ansible.builtin.assert:
    that: >-
      'direct' in mesh.interfaces | map(attribute='peers') | flatten
                  | selectattr('name', 'eq', 'bob') | map(attribute='state')

- name: Read one interface of many hosts
  wgsd.mesh.wgsd_status:
    interfaces: [wg0]
    as_json: true
  register: mesh_of_this_host
"""

RETURN = r"""
version:
  description: Version of the engine on the host, null if it does not say.
  returned: success and O(as_json) is false
  type: str
  sample: 0.1.0
now:
  description: The host's clock, in seconds since the epoch.
  returned: success and O(as_json) is false
  type: float
  sample: 1767225600.0
problems:
  description:
    - What the engine complains about, sentences with a remedy.
    - With O(interfaces) those that are about others are left out. A configuration that cannot be
      read is about none.
  returned: success and O(as_json) is false
  type: list
  elements: str
  sample: []
interfaces:
  description: The interfaces of the host's meshes, in the order in which C(wgsd status) shows them.
  returned: success and O(as_json) is false
  type: list
  elements: dict
  contains:
    interface:
      description: Name of the interface.
      type: str
    backend:
      description: What it runs on, V(kernel) or V(userspace).
      type: str
    mtu:
      description: Its MTU in bytes, null if it is not there.
      type: int
    public_key:
      description: Its public key, in base64.
      type: str
    listen_port:
      description: The UDP port that it listens on.
      type: int
    error:
      description: Why it cannot be read, null if it can.
      type: str
    agent:
      description: Whether a client runs for it. All that a client would say is null if not.
      type: bool
    client:
      description:
        - The client's C(version), C(pid), C(started), C(written) (its last report), C(stopped),
          and C(problem), why it tells nothing, null if it does.
      type: dict
    directory:
      description:
        - How the client knows of the zone, with C(zone), C(servers), C(follows), C(asks),
          C(serial), C(notified_at), C(silent) (servers that owe an answer), C(trouble), and
          C(seen_at), where the registry sees this host.
      type: dict
    moved:
      description: When this host has moved last (C(at)), and how that showed (C(how)).
      type: dict
    not_added:
      description: Members of the zone that the interface lacks.
      type: list
      elements: dict
      contains:
        public_key:
          description: The member's public key.
          type: str
        name:
          description: Its name.
          type: str
        reason:
          description: Why it has not been added.
          type: str
    problems:
      description: What the engine complains about this interface, sentences with a remedy.
      type: list
      elements: str
    responder:
      description:
        - On a registry, the responder's C(instance), C(report) and C(problem). Null elsewhere.
      type: dict
    peers:
      description: The peers, registries first, then those that are not reached directly.
      type: list
      elements: dict
      contains:
        public_key:
          description: The peer's public key, in base64.
          type: str
        name:
          description: Its name, null if nobody has told one.
          type: str
        registry:
          description: Whether it leads to a registry.
          type: bool
        discovered:
          description: Whether the client has added it, since the zone has it as a member.
          type: bool
        state:
          description:
            - V(direct), V(stale), V(punching), V(known), V(unreachable) or V(unknown).
          type: str
        direct:
          description: Whether it is reached directly.
          type: bool
        since:
          description: When it came into its state, in seconds since the epoch.
          type: float
        reason:
          description: Why it is in its state, or what has been done about it.
          type: str
        endpoint:
          description: Where packets for it are sent to.
          type: str
        endpoint_source:
          description: Where that came from, V(directory), V(its own packets) or V(configuration).
          type: str
        directory_endpoint:
          description: Where the zone has it.
          type: str
        directory_failure:
          description: Why the zone's record is of no use.
          type: str
        last_handshake:
          description: Time of the last handshake, in seconds since the epoch.
          type: float
        handshake_age:
          description: Seconds since the last handshake, null for never.
          type: float
        answers_probes:
          description: Whether it answers probes, null while that is not known.
          type: bool
        rtt:
          description: Round trip of the last probe, in seconds.
          type: float
        rx_bytes:
          description: Bytes that came from it.
          type: int
        tx_bytes:
          description: Bytes that were sent to it.
          type: int
        persistent_keepalive:
          description: Seconds between keepalives.
          type: int
        allowed_ips:
          description: Its allowed IPs in CIDR notation.
          type: list
          elements: str
        last_action:
          description: What the client has done about it last, and why.
          type: str
        last_action_at:
          description: When that was, in seconds since the epoch.
          type: float
        due:
          description: When time alone leads to the next step, in seconds since the epoch.
          type: float
  sample:
    - interface: wg0
      backend: kernel
      mtu: 1420
      public_key: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
      agent: true
      peers:
        - public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
          name: bob
          state: direct
          since: 1767225000.0
          endpoint: 203.0.113.5:51820
          endpoint_source: directory
          handshake_age: 42.0
          rtt: 0.018
status_json:
  description: RV(version), RV(now), RV(problems) and RV(interfaces) as one text in JSON.
  returned: success and O(as_json) is true
  type: str
  sample: '{"version": "0.1.0", "now": 1767225600.0, "problems": [], "interfaces": []}'
"""

import json
import pathlib
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils._module import command_runner, run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import check_interface
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import ServerError

ENGINE = "/usr/local/bin/wgsd"
NETWORK = pathlib.Path("/sys/class/net")
_NOT_THERE = 127


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Ask the engine of this host."""
    names = module.params["interfaces"]
    if names is not None:
        names = [check_interface(name) for name in names]
    command = command_runner(module)
    code, output, errors = command([ENGINE, "status", "--json"])
    if code == _NOT_THERE:
        raise ServerError(
            f"there is no {ENGINE} on this host",
            "set the host up with the playbook wgsd.mesh.site",
        )
    found = parts(code, output, errors)
    wanted = [part for part in found if names is None or part["interface"] in names]
    others = {text for part in found if part not in wanted for text in problems_of(part)}
    others.difference_update(text for part in wanted for text in problems_of(part))
    told = {
        "version": version(command),
        "now": time.time(),
        "interfaces": [{**part, "mtu": mtu(part["interface"])} for part in wanted],
        "problems": [text for text in complaints(errors) if text not in others],
    }
    return {"status_json": json.dumps(told)} if module.params["as_json"] else told


def parts(code: int, output: str, errors: str) -> list[dict[str, t.Any]]:
    """Return what the engine says of each interface.

    Raises:
        ServerError: it says nothing of use; the message has its complaints.
    """
    try:
        found = json.loads(output)
        if isinstance(found, list) and all(isinstance(part["interface"], str) for part in found):
            return found
    except (ValueError, TypeError, KeyError):
        pass
    said = "; ".join(complaints(errors)) or f"exit status {code} and nothing of use"
    raise ServerError(f"wgsd status: {said}", f"see for yourself: {ENGINE} status")


def problems_of(part: dict[str, t.Any]) -> list[str]:
    """Return what the engine complains about an interface; earlier ones do not say it."""
    found = part.get("problems")
    return found if isinstance(found, list) else []


def complaints(errors: str) -> list[str]:
    """Return what the engine has said on standard error, a sentence each."""
    return [line.removeprefix("wgsd status: ") for line in errors.splitlines() if line.strip()]


def version(command: t.Callable[[list[str]], tuple[int, str, str]]) -> str | None:
    """Return the version of the engine that is installed, None if it does not say."""
    code, output, _errors = command([ENGINE, "--version"])
    return output.strip() or None if code == 0 else None


def mtu(interface: str) -> int | None:
    """Return an interface's MTU in bytes, None if it is not there."""
    try:
        return int((NETWORK / interface / "mtu").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interfaces": {"type": "list", "elements": "str"},
            "as_json": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
