#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_dnssec: the DNSSEC keys of a zone, made on the registry and rolled over."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_dnssec
short_description: Make and roll over the DNSSEC keys of a zone
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Makes the key with which the responder on this host signs a zone, and returns the DS records
    that belong into the parent zone. Private keys stay on this host, in O(state_dir).
  - The zone is signed once M(wgsd.mesh.wgsd_responder) has O(wgsd.mesh.wgsd_responder#module:zones)
    with C(dnssec) set.
  - A key is replaced in two steps, between which the parent zone is changed by whoever may. See the
    playbook C(wgsd.mesh.dnssec_rollover).
options:
  zone:
    description: Name of the zone.
    type: str
    required: true
  instance:
    description:
      - The instance of the responder, see M(wgsd.mesh.wgsd_responder).
      - If omitted or empty, the responder without such a name.
    type: str
  state_dir:
    description:
      - The folder in which the responder keeps its state.
      - C(/var/lib/wgsd) if omitted, and with an O(instance) C(/var/lib/wgsd-INSTANCE).
    type: path
  state:
    description:
      - V(present) makes the first key if there is none, and removes keys that have left the zone.
      - V(rolling) makes a successor, if there is none, and has the responder publish it. Put all of
        the returned RV(ds) into the parent zone then, and wait until the old DS RRset has expired
        from caches, which takes its TTL.
      - V(rolled) lets the successor sign, if there is one. The old DS record can then be removed
        from the parent zone. The old key leaves the zone a day later.
      - V(rolled) fails in the first ten minutes after V(rolling), while caches may not know the
        successor, and V(rolling) fails in the first day after V(rolled).
    type: str
    choices: [present, rolling, rolled]
    default: present
  timeout:
    description: Seconds that a reload of the responder may take.
    type: float
    default: 15
requirements:
  - cryptography (Debian package python3-cryptography)
extends_documentation_fragment:
  - wgsd.mesh.attributes
  - wgsd.mesh.attributes.libraries
attributes:
  check_mode:
    support: full
    details:
      - A key that would be made is not returned.
  diff_mode:
    support: full
notes:
  - Needs root.
seealso:
  - module: wgsd.mesh.wgsd_responder
"""

EXAMPLES = r"""
- name: Have a key, and its DS record
  wgsd.mesh.wgsd_dnssec:
    zone: mesh.example.com.
  register: dnssec

- name: Show what to put into the parent zone
  ansible.builtin.debug:
    msg: "{{ dnssec.ds | map('regex_replace', '^', 'mesh.example.com. IN DS ') }}"

- name: Begin a rollover
  wgsd.mesh.wgsd_dnssec:
    zone: mesh.example.com.
    state: rolling

- name: Finish it, once the parent zone has both DS records and caches know them
  wgsd.mesh.wgsd_dnssec:
    zone: mesh.example.com.
    state: rolled
"""

RETURN = r"""
ds:
  description:
    - The DS records that belong into the parent zone, without owner. One, and two during a
      rollover.
  returned: success
  type: list
  elements: str
  sample: [10556 13 2 76c1ed30cde0b12d2fd3593007c58f9eba5b4a825e89f9fd0c7b5e45d3eadeff]
dnskeys:
  description: The keys in the zone, the one that signs first.
  returned: success
  type: list
  elements: dict
  contains:
    tag:
      description: Its key tag.
      type: int
      sample: 10556
    role:
      description: V(active), V(successor) or V(retired).
      type: str
      sample: active
    since:
      description: When it got this role, in seconds since the epoch.
      type: int
      sample: 1795397285
    ds:
      description: Its DS record, without owner.
      type: str
      sample: 10556 13 2 76c1ed30cde0b12d2fd3593007c58f9eba5b4a825e89f9fd0c7b5e45d3eadeff
"""

import os
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils._module import command_runner, run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._reload import reload, running_since
from ansible_collections.wgsd.mesh.plugins.module_utils._systemd import Systemd
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    Instance,
    check_instance,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import check_zone
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.responder.keys import (
    FOLDER,
    Key,
    KeyStore,
    Role,
)


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the keys into the wanted state."""
    options = module.params
    zone = check_zone(options["zone"])
    instance = Instance("responder", check_instance(options["instance"] or ""))
    folder = pathlib.Path(options["state_dir"] or instance.state_dir)
    store = KeyStore(folder, zone, dry=module.check_mode)
    before = describe(store.read(), zone)
    if not folder.is_dir() and not module.check_mode:
        raise UsageError(f"{folder} is not there", "set up the responder first")
    if options["state"] == "present":
        store.have()
        changed = store.forget() or not before
    else:
        changed = _roll(module, store, instance)
    foreign = foreign_files(folder / FOLDER)
    if not module.check_mode:
        for path in foreign:
            os.chown(path, os.geteuid(), os.getegid())
    after = describe(store.read(), zone)
    return {
        "changed": changed or bool(foreign),
        "dnskeys": after,
        "ds": [key["ds"] for key in after if key["role"] != Role.RETIRED.value],
        "diff": {"before": _lines(before), "after": _lines(after)},
    }


def _roll(module: AnsibleModule, store: KeyStore, instance: Instance) -> bool:
    """Do a step of a rollover, have the responder follow it, and return whether that took anything.

    Raises:
        WgsdError: the step cannot be done yet, or the responder does not follow.
    """
    systemd = Systemd(command_runner(module))
    # Where the responder reports, as its unit has it.
    report = instance.runtime_dir / "status.json"
    if module.check_mode:
        is_read = True
    else:
        unit = systemd.unit(instance.unit)
        since = running_since(unit, report)
        if not unit.is_up or since is None:
            raise WgsdError(f"{instance.unit} does not run (it is {unit.active})", "start it first")
        is_read = store.changed_at < since
    if module.params["state"] == "rolling":
        changed = store.announce(anew=not is_read)
    elif not is_read and any(key.role is Role.SUCCESSOR for key in store.read()):
        raise WgsdError("the responder has not read the successor", "use state=rolling first")
    else:
        changed = store.promote()
    is_due = changed or not is_read
    if is_due and not module.check_mode:
        reload(systemd, instance.unit, report, module.params["timeout"])
    return is_due


def foreign_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return what there is of keys that the responder's user owns and root should.

    The watcher has the right to read them nevertheless. The workers, which face the network, have
    not; of them only the user is the same.
    """
    if not folder.is_dir():
        return []
    return [path for path in (folder, *folder.iterdir()) if path.stat().st_uid != os.geteuid()]


def describe(keys: t.Iterable[Key], zone: str) -> list[dict[str, t.Any]]:
    """Return keys as the module does."""
    return [
        {"tag": key.tag, "role": key.role.value, "since": key.since, "ds": key.ds(zone)}
        for key in keys
    ]


def _lines(keys: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    return "".join(f"{key['tag']} {key['role']}\n" for key in keys)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "zone": {"type": "str", "required": True},
            "instance": {"type": "str"},
            "state_dir": {"type": "path"},
            "state": {
                "type": "str",
                "choices": ["present", "rolling", "rolled"],
                "default": "present",
            },
            "timeout": {"type": "float", "default": 15},
        },
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
