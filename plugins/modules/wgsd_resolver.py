#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_resolver: systemd-resolved asks the registries about the mesh's zone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_resolver
short_description: Let systemd-resolved ask the registries about the zone of a mesh
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Names in the zone are then asked for through the tunnel, and no other names are.
  - The settings are made whenever C(wg-quick@INTERFACE) brings the interface up, by a drop-in of
    its unit, and at once if it is up. The interface is never restarted.
  - systemd-resolved keeps them when it is restarted itself.
options:
  interface:
    description: The WireGuard interface.
    type: str
    required: true
  zone:
    description:
      - The zone of the mesh.
      - Required if O(state=present).
    type: str
  servers:
    description:
      - Tunnel addresses of the registries, as C(ADDRESS), C(ADDRESS:PORT) or C([ADDRESS]:PORT).
      - Required if O(state=present).
    type: list
    elements: str
  dnssec:
    description:
      - Whether the zone is signed so that systemd-resolved can validate it. It then does, if it is
        configured to validate at all.
      - With V(false), validation is turned off for O(interface) if systemd-resolved is configured
        to validate (on Debian it is not, by itself). Otherwise it would refuse all names of a zone
        that is not signed.
    type: bool
    default: false
  state:
    description:
      - With V(absent), the drop-in is removed, and what systemd-resolved knows of O(interface) is
        forgotten (C(resolvectl revert)).
    type: str
    choices: [present, absent]
    default: present
requirements:
  - systemd-resolved (Debian package systemd-resolved) that runs
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
    details:
      - Where systemd-resolved does not run yet, only the drop-in is predicted. There is a warning
        then.
  diff_mode:
    support: full
notes:
  - Needs root.
  - systemd-resolved is not installed by this module, since its package takes over
    C(/etc/resolv.conf).
  - Programs ask systemd-resolved if C(/etc/resolv.conf) names it (C(127.0.0.53)), or by the Debian
    package libnss-resolve.
seealso:
  - module: wgsd.mesh.wg_interface
  - module: wgsd.mesh.wgsd_responder
  - module: wgsd.mesh.wgsd_firewall
"""

EXAMPLES = r"""
- name: Look names of the mesh up at its registries
  wgsd.mesh.wgsd_resolver:
    interface: wg0
    zone: example.com.
    servers: [10.0.0.254]

- name: Do so no more
  wgsd.mesh.wgsd_resolver:
    interface: wg0
    state: absent
"""

RETURN = r"""
steps:
  description: What was done besides writing the drop-in, in words.
  returned: success
  type: list
  elements: str
  sample:
    - daemon-reload
    - resolvectl default-route wg0 no
    - resolvectl domain wg0 ~example.com
    - resolvectl dns wg0 10.0.0.254
"""

import dataclasses
import socket
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import _resolver
from ansible_collections.wgsd.mesh.plugins.module_utils._files import (
    FileState,
    read_file,
    remove_file,
    write_file,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._interface_name import check_interface
from ansible_collections.wgsd.mesh.plugins.module_utils._module import command_runner, run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._systemd import Systemd, UnitState
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError

_RESOLVED = "systemd-resolved.service"


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Have the zone looked up at the registries, or no more.

    Raises:
        WgsdError: it cannot be; see the message.
    """
    resolver = Resolver(module)
    return resolver.absent() if module.params["state"] == "absent" else resolver.present()


class Resolver:
    """systemd-resolved on this host, and what it knows of one interface."""

    def __init__(self, module: AnsibleModule) -> None:
        self._options = module.params
        self._module = module
        self._check_mode = bool(module.check_mode)
        self._run = command_runner(module)
        self._systemd = Systemd(self._run)
        self._interface = check_interface(module.params["interface"])
        self._path = _resolver.path(self._interface)
        self._unit = self._state(_resolver.unit(self._interface))
        self._is_up = self._state(_RESOLVED).is_up

    def present(self) -> dict[str, t.Any]:
        """Have the drop-in, and the settings now."""
        self._require_resolved()
        turn_off = not self._options["dnssec"] and self._is_up and self._validates()
        want = _resolver.wanted(
            self._options["zone"], self._options["servers"], turn_dnssec_off=turn_off
        )
        have = self._link() if self._is_up else None
        verbs = _resolver.due(have, want) if have else []
        steps = [[verb, self._interface, *values] for verb, values in verbs]
        after = dataclasses.replace(want, dnssec=want.dnssec or have.dnssec) if have else None
        return self._converge(_resolver.drop_in(self._interface, want), steps, have, after)

    def absent(self) -> dict[str, t.Any]:
        """Have neither the drop-in nor the settings."""
        # Settings that are there without our drop-in are somebody else's, and not looked at.
        have = self._link() if self._is_up and self._path.exists() else None
        is_ours = have is not None and (have.servers or have.domains)
        steps = [["revert", self._interface]] if is_ours else []
        return self._converge("", steps, have, None if is_ours else have)

    def _converge(
        self,
        text: str,
        steps: list[list[str]],
        have: _resolver.Settings | None,
        after: _resolver.Settings | None,
    ) -> dict[str, t.Any]:
        before = read_file(self._path)
        is_due = (before.text, before.mode) != (text, 0o644) if text else before.content is not None
        reload = is_due or self._unit.needs_reload
        if not self._check_mode:
            if is_due:
                self._write(text)
            if reload:
                self._systemd.daemon_reload()
            for step in steps:
                self._resolvectl(*step)
        told = ["daemon-reload"] if reload else []
        told += [f"resolvectl {' '.join(step)}" for step in steps]
        diffs = (
            (str(self._path), before.text, text),
            (f"systemd-resolved, {self._interface}", _resolver.shown(have), _resolver.shown(after)),
        )
        return {
            "changed": is_due or bool(told),
            "steps": told,
            "diff": [
                {"before_header": head, "after_header": head, "before": old, "after": new}
                for head, old, new in diffs
            ],
        }

    def _require_resolved(self) -> None:
        if self._is_up:
            return
        error = UsageError(
            "systemd-resolved does not run on this host",
            "apt install systemd-resolved, which is left to you since it takes over "
            "/etc/resolv.conf; if it is there, systemctl enable --now systemd-resolved",
        )
        if not self._check_mode:
            raise error
        self._module.warn(f"only the drop-in was predicted: {error}")

    def _state(self, unit: str) -> UnitState:
        try:
            return self._systemd.unit(unit)
        except WgsdError:
            if not self._check_mode:
                raise
            return UnitState()

    def _validates(self) -> bool:
        return _resolver.parse(self._resolvectl("dnssec"))[:1] != ("no",)

    def _link(self) -> _resolver.Settings | None:
        """Return what systemd-resolved knows of the interface; None if that is down."""
        try:
            socket.if_nametoindex(self._interface)
        except OSError:
            return None
        servers, domains, route, dnssec = (
            _resolver.parse(self._resolvectl(verb, self._interface))
            for verb in ("dns", "domain", "default-route", "dnssec")
        )
        return _resolver.Settings(servers, domains, route != ("no",), "".join(dnssec))

    def _resolvectl(self, *arguments: str) -> str:
        code, output, errors = self._run(["resolvectl", *arguments])
        if code:
            raise WgsdError(
                f"resolvectl {' '.join(arguments)} failed: {(errors or output).strip()}",
                f"see 'journalctl -u {_RESOLVED}'",
            )
        return output

    def _write(self, text: str) -> None:
        folder = self._path.parent
        if text:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_file(self._path, FileState(text.encode(), 0o644))
            return
        remove_file(self._path)
        if not any(folder.iterdir()):
            folder.rmdir()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "zone": {"type": "str"},
            "servers": {"type": "list", "elements": "str"},
            "dnssec": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("zone", "servers"))],
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
