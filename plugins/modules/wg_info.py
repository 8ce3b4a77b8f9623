#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wg_info: the WireGuard interfaces of a host, as data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wg_info
short_description: Read the WireGuard interfaces of a host
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Reads the running WireGuard interfaces, of the kernel and of userspace, with their peers.
  - Also says whether the kernel has WireGuard.
  - Neither private nor preshared keys are returned.
options:
  interfaces:
    description:
      - Names of the interfaces to read. All WireGuard interfaces of the host if omitted.
      - An interface that is not there is no error. It is just not in the result.
      - An interface that is there and is no WireGuard one is an error.
      - The empty list reads none. This is enough for RV(kernel_support), and needs neither root nor
        a library.
    type: list
    elements: str
requirements:
  - Python >= 3.9
  - pyroute2 >= 0.7.2 (Debian package python3-pyroute2), if there is an interface to read
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
  - To find out about the kernel may make it load its WireGuard module, if the host has that and
    C(modprobe) does not know of it.
seealso:
  - module: wgsd.mesh.wg_interface
  - module: wgsd.mesh.wgsd_info
"""

EXAMPLES = r"""
- name: Read all WireGuard interfaces
  wgsd.mesh.wg_info:
  register: wireguard

- name: List the peers without a tunnel
  ansible.builtin.debug:
    msg: >-
      {{ wireguard.interfaces | map(attribute='peers') | flatten
         | rejectattr('has_session') | map(attribute='public_key') }}

- name: Read one interface
  wgsd.mesh.wg_info:
    interfaces: [wg0]
  register: wg0

- name: Fail unless it is up
  ansible.builtin.assert:
    that: wg0.interfaces | selectattr('is_up') | length == 1

- name: Only ask whether the kernel has WireGuard
  wgsd.mesh.wg_info:
    interfaces: []
  register: wireguard

- name: Install WireGuard for userspace where the kernel has none
  ansible.builtin.apt:
    name: wireguard-go
  when: not wireguard.kernel_support
"""

RETURN = r"""
interfaces:
  description: The interfaces, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the interface.
      type: str
    backend:
      description: What it runs on, V(kernel) or V(userspace).
      type: str
    public_key:
      description: Its public key, in base64, null if it has no key.
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
    unit:
      description:
        - The unit C(wg-quick@NAME) of the interface.
        - Null if systemd does not run on the host.
      type: dict
      contains:
        active:
          description: Whether it is active.
          type: bool
        enabled:
          description: Whether it starts at boot.
          type: bool
    peers:
      description: Its peers, sorted by name, then by key. Those without a name come last.
      type: list
      elements: dict
      contains:
        public_key:
          description: The peer's public key, in base64.
          type: str
        name:
          description:
            - The peer's name, null if it has none.
            - It comes from the comment C(# Name =) in C(/etc/wireguard/NAME.conf), as
              M(wgsd.mesh.wg_interface) writes it.
          type: str
        endpoint:
          description: Where the interface sends packets for the peer to, null if it does not know.
          type: str
        allowed_ips:
          description: Its allowed IPs in CIDR notation.
          type: list
          elements: str
        latest_handshake:
          description: Time of the last handshake, in seconds since the epoch, null for never.
          type: int
        handshake_age:
          description: Seconds since the last handshake, null for never.
          type: int
        has_session:
          description:
            - Whether the last handshake is less than 180 seconds old.
            - WireGuard makes a new one every two minutes while packets flow, and gives a session up
              after three.
          type: bool
        rx_bytes:
          description: Bytes that came from the peer.
          type: int
        tx_bytes:
          description: Bytes that were sent to the peer.
          type: int
        persistent_keepalive:
          description: Seconds between keepalives, null for none.
          type: int
        has_preshared_key:
          description: Whether it has a preshared key.
          type: bool
  sample:
    - name: wg0
      backend: kernel
      public_key: OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y=
      listen_port: 61234
      fwmark: 0
      addresses: [10.0.0.1/24]
      mtu: 1420
      is_up: true
      unit:
        active: true
        enabled: true
      peers:
        - public_key: NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=
          name: bob
          endpoint: 203.0.113.5:51820
          allowed_ips: [10.0.0.2/32]
          latest_handshake: 1767225600
          handshake_age: 42
          has_session: true
          rx_bytes: 1234
          tx_bytes: 5678
          persistent_keepalive: 25
          has_preshared_key: false
kernel_support:
  description:
    - Whether the kernel has WireGuard, or can load it.
    - Without it, an interface needs an implementation of userspace, such as wireguard-go.
  returned: success
  type: bool
  sample: true
"""

import pathlib
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils._module import command_runner, run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._systemd import Run, Systemd
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_facts import (
    interface_facts,
    names_in,
    peer_facts,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_own import path_of
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import check_interface
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.device import (
    find_devices,
    has_wireguard,
    open_device,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import NoDeviceError, WgsdError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Peer
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.plan.observe import has_session

#: There while the module is loaded, in containers as well.
LOADED = pathlib.Path("/sys/module/wireguard")


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Read what was asked for."""
    names = module.params["interfaces"]
    if names is not None:
        names = [check_interface(name) for name in names]
    found = find_devices(names) if names is None or names else []
    command = command_runner(module)
    interfaces = []
    for name in found:
        try:
            interfaces.append(read(name, module.warn))
        except NoDeviceError:
            # It went away meanwhile.
            continue
        interfaces[-1]["unit"] = unit(name, command)
    modprobe = module.get_bin_path("modprobe") or "modprobe"
    return {"interfaces": interfaces, "kernel_support": kernel_support(command, modprobe)}


def read(name: str, warn: t.Callable[[str], None]) -> dict[str, t.Any]:
    """Read an interface as documented, its unit aside.

    Args:
        name: Its name.
        warn: Is told why peers have no names, if their file cannot be read.

    Raises:
        NoDeviceError: it is gone.
        DeviceError: it cannot be read.
    """
    with open_device(name) as backend:
        device = backend.read()
    now = time.time()
    names: dict[PublicKey, str | None] = {}
    try:
        names = names_in(path_of(name))
    except WgsdError as exc:
        warn(f"the names of the peers of {name} are not known: {exc}")
    peers = [describe(peer, names.get(key), now) for key, peer in device.peers.items()]
    return {
        **interface_facts(name, backend.kind, device),
        "peers": sorted(peers, key=lambda p: (p["name"] is None, p["name"] or "", p["public_key"])),
    }


def describe(peer: Peer, name: str | None, now: float) -> dict[str, t.Any]:
    """Return a peer as documented; nothing of its preshared key but that it is there.

    Args:
        peer: As its device has it.
        name: Its name.
        now: Seconds since the epoch.
    """
    shook_hands = peer.last_handshake > 0
    return {
        **peer_facts(peer, name),
        "latest_handshake": int(peer.last_handshake) if shook_hands else None,
        # The clock may have been set back since.
        "handshake_age": max(0, int(now - peer.last_handshake)) if shook_hands else None,
        "has_session": has_session(peer, now),
        "has_preshared_key": peer.preshared_key is not None,
    }


def unit(name: str, command: Run) -> dict[str, bool] | None:
    """Return how wg-quick's unit of an interface is, None where systemd does not run."""
    try:
        state = Systemd(command).unit(f"wg-quick@{name}.service")
    except WgsdError:
        return None
    return {"active": state.is_up, "enabled": state.enabled}


def kernel_support(command: Run, modprobe: str = "modprobe") -> bool:
    """Whether the kernel has WireGuard or can load it.

    A container has neither the module's files nor the right to load it. But to ask its kernel for
    the netlink family makes the kernel itself load the module, if there is one.

    Args:
        command: Runs a command.
        modprobe: What to run for ``modprobe``.
    """
    return (
        LOADED.is_dir()
        or command([modprobe, "--dry-run", "--quiet", "wireguard"])[0] == 0
        or has_wireguard()
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={"interfaces": {"type": "list", "elements": "str"}},
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
