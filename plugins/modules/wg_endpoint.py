#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wg_endpoint: set the endpoints of peers to what a zone says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wg_endpoint
short_description: Set the endpoints of WireGuard peers to what DNS says
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Looks peers of a running WireGuard interface up in a zone (SRV, A and AAAA records below
    C(_wireguard._udp)), and sets their endpoints so that the handshake follows at once.
  - It decides as the client does that M(wgsd.mesh.wgsd_client) installs, but once. The endpoint
    of a tunnel that lives is left alone, unless O(force=true).
  - Only the running interface is changed, not its file.
options:
  interface:
    description: Name of the interface.
    type: str
    required: true
  zone:
    description: Name of the zone that describes its peers.
    type: str
    required: true
  public_keys:
    description:
      - Public keys of the peers to look at, in base64. If one of these is not on the interface,
        not in the zone, or has no usable record, the module fails, after it has set the others.
      - All peers of the interface if omitted, except those that O(servers) are reached through.
        There it is no error if the zone does not have a peer.
    type: list
    elements: str
  force:
    description: Also move a tunnel that lives to the endpoint that the zone has.
    type: bool
    default: false
  keepalive:
    description:
      - Seconds between keepalives, for peers that get connected and have none, V(0) for none.
    type: int
    default: 25
extends_documentation_fragment:
  - wgsd.mesh.attributes
  - wgsd.mesh.attributes.libraries
  - wgsd.mesh.asking.servers
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
notes:
  - Needs root, or the capability CAP_NET_ADMIN for an interface of the kernel.
seealso:
  - module: wgsd.mesh.wgsd_client
  - plugin: wgsd.mesh.wgsd
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Connect all peers
  wgsd.mesh.wg_endpoint:
    interface: wg0
    zone: example.com.
    servers: [10.0.0.254]

- name: Connect Bob
  wgsd.mesh.wg_endpoint:
    interface: wg0
    zone: example.com.
    servers: [10.0.0.254]
    public_keys: [NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=]
"""

RETURN = r"""
peers:
  description: What was found and done, one item for each peer.
  returned: success, and on a failure that concerns some of the peers
  type: list
  elements: dict
  contains:
    public_key:
      description: The peer's public key, in base64.
      type: str
    state:
      description:
        - C(direct), there is a tunnel. C(known), there was none, and the zone has an endpoint.
          C(punching), the zone's endpoint was set already, and there is no handshake yet.
          C(unknown), the zone does not have the peer. C(failed), see C(reason).
      type: str
    before:
      description: The endpoint that the interface had, or null.
      type: str
    after:
      description: The endpoint that it has now (in check mode, would have), or null.
      type: str
    reason:
      description: Why this was done, or what is wrong.
      type: str
    changed:
      description: Whether the peer was (in check mode, would be) changed.
      type: bool
  sample:
    - public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
      state: known
      before: null
      after: 203.0.113.5:51820
      reason: no session; set 203.0.113.5:51820 where it had none
      changed: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import _asking
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd import clock
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    PERSISTENT_KEEPALIVE_MAX,
    check_interface,
    server_address,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.device import open_device
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.device.base import Backend
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.directory import Directory, unusable
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Device, Endpoint
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.plan import (
    NONE_YET,
    Decision,
    Policy,
    State,
    decide,
    holders,
    managed,
)

FAILED = "failed"


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look the peers up, decide, and set what there is to set."""
    options = module.params
    if not 0 <= options["keepalive"] <= PERSISTENT_KEEPALIVE_MAX:
        raise UsageError(
            f"keepalive: {options['keepalive']} is out of range",
            f"give 0 to {PERSISTENT_KEEPALIVE_MAX}",
        )
    servers = [server_address(text) for text in options["servers"]]
    directory = Directory(options["zone"], servers, timeout=options["timeout"])
    asked_for = options["public_keys"]
    only = None if asked_for is None else [PublicKey.from_base64(text) for text in asked_for]
    with open_device(check_interface(options["interface"])) as backend:
        peers = connect(
            backend,
            directory,
            servers,
            only,
            force=options["force"],
            keepalive=options["keepalive"],
            dry_run=module.check_mode,
        )
    result = {
        "changed": any(peer["changed"] for peer in peers),
        "peers": peers,
        "diff": {
            "before_header": options["interface"],
            "after_header": options["interface"],
            "before": _text(peers, "before"),
            "after": _text(peers, "after"),
        },
    }
    failed = [peer for peer in peers if peer["state"] == FAILED]
    if only is not None and failed:
        problems = "; ".join(f"peer {peer['public_key']}: {peer['reason']}" for peer in failed)
        module.fail_json(msg=problems, **result)
    for peer in failed:
        module.warn(f"peer {peer['public_key']}: {peer['reason']}")
    return result


def connect(
    backend: Backend,
    directory: Directory,
    servers: t.Iterable[Endpoint],
    only: t.Sequence[PublicKey] | None,
    *,
    force: bool,
    keepalive: int,
    dry_run: bool,
) -> list[dict[str, t.Any]]:
    """Set the endpoints of peers; returns an item for each as documented.

    Args:
        backend: The device.
        directory: The zone.
        servers: Its servers; the peers that lead to them are looked at only if asked for.
        only: The peers that were asked for, None for all.
        force: Also move tunnels that live.
        keepalive: Seconds, for peers that have none.
        dry_run: Decide, but change nothing.
    """
    device = backend.read()
    if only is None:
        protected = holders(device, [server.address for server in servers])
        policy = Policy(keepalive=keepalive, force=force, protected=protected)
    else:
        policy = Policy(keepalive=keepalive, force=force, only=frozenset(only))
    records = directory.lookup([peer.public_key for peer in managed(device, policy)])
    # The servers took their time: what the device says now decides, so that a tunnel that came
    # up meanwhile is left alone.
    device = backend.read()
    problems = dict(directory.failures)
    useless = {key: why for key, record in records.items() if (why := unusable(record))}
    records = {key: record for key, record in records.items() if key not in useless}
    decisions = {
        decision.public_key: decision
        for decision in decide(device, records, NONE_YET, clock.moment(), policy)
    }
    # Who has a tunnel needs no endpoint.
    lost = {key for key, one in decisions.items() if one.state is not State.DIRECT}
    problems.update((key, problem) for key, problem in useless.items() if key in lost)
    for key in only or ():
        if key not in decisions:
            problems[key] = f"it is not on the interface {device.name}; add it with wg_interface"
        elif key in records and records[key] is None:
            problems[key] = f"the zone {directory.zone} does not have it"
    changes = [decision.change for decision in decisions.values() if decision.change]
    if changes and not dry_run:
        backend.apply(changes)
    keys = list(dict.fromkeys(only)) if only is not None else list(decisions)
    return [_result(key, decisions.get(key), problems.get(key), device) for key in keys]


def _result(
    key: PublicKey, decision: Decision | None, problem: str | None, device: Device
) -> dict[str, t.Any]:
    peer = device.peers.get(key)
    before = peer.endpoint if peer else None
    change = decision.change if decision else None
    after = decision.after if decision and change else before
    return {
        "public_key": key.base64,
        "state": FAILED if problem or decision is None else decision.state.value,
        "before": str(before) if before else None,
        "after": str(after) if after else None,
        "reason": problem or (decision.reason if decision else ""),
        "changed": change is not None,
    }


def _text(peers: t.Iterable[t.Mapping[str, t.Any]], when: str) -> str:
    return "".join(f"{peer['public_key']} {peer[when] or '-'}\n" for peer in peers)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "zone": {"type": "str", "required": True},
            **_asking.SERVERS,
            "public_keys": {"type": "list", "elements": "str", "no_log": False},
            "force": {"type": "bool", "default": False},
            "keepalive": {"type": "int", "default": 25, "no_log": False},
        },
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
