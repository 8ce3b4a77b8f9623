#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_client: the client of a peer, as a service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_client
short_description: Keep the endpoints of WireGuard peers up to date
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Installs the client on this host, configures it, and runs it as the unit C(wgsd-client), or
    C(wgsd-client@INSTANCE).
  - The client looks the peers of a WireGuard interface up in a zone, and sets the endpoints of
    those that have no tunnel. It never touches a tunnel that lives.
  - What is installed is one file, C(/usr/local/bin/wgsd), made of the sources that this module
    comes with. It is also the command C(wgsd).
  - The new client checks the new configuration before anything is replaced.
  - The service is restarted only if something that it reads has changed.
  - A host that belongs to several meshes has an O(instance) of the client for each of them.
options:
  instance:
    description:
      - Name of the mesh, on a host that belongs to several, as letters, digits and inner hyphens.
      - With V(lab), the unit is C(wgsd-client@lab), and the configuration is
        C(/etc/wgsd/client-lab.yml) instead of C(/etc/wgsd/client.yml).
      - It is an error if that configuration is there for another O(interface), or if another
        instance has this one. To rename an interface, first remove its client with
        O(state=absent).
      - If omitted or empty, the client has no such name, as the only one of a host.
    type: str
  interface:
    description:
      - The WireGuard interface.
      - Required unless O(state=absent).
    type: str
  zone:
    description:
      - The zone that describes its peers.
      - Required unless O(state=absent).
    type: str
  registries:
    description:
      - DNS servers of the zone, asked in this order.
      - Each is C(ADDRESS) or C(ADDRESS:PORT), or a dictionary with that as C(address), and with the
        public C(HOST:PORT) or C(ADDRESS:PORT) of the registry's WireGuard as C(endpoint). With it,
        the client finds a registry that has moved or restarted. A host name is resolved again
        whenever the registry is lost.
      - Required unless O(state=absent).
    type: list
    elements: raw
  keepalive:
    description: Seconds between keepalives to the peers that the client connects, V(0) for none.
    type: int
    default: 25
  metrics_file:
    description:
      - A file that the client writes metrics to, every 15 seconds, for the textfile collector of
        Prometheus' node_exporter. Its name ends in C(.prom).
      - Its folder must be there, and the user C(wgsd) must be able to write in it. In C(/run/wgsd)
        it is; a symbolic link in the collector's folder can lead there.
      - None are written if omitted.
    type: path
  discover:
    description: Whether to add members of the zone that the interface lacks.
    type: bool
    default: false
  state:
    description:
      - V(started) means installed, running, and started at boot.
      - V(stopped) means installed, but neither running nor started at boot.
      - V(absent) means not installed, whatever its O(interface). The system user C(wgsd) stays, and
        with another client or responder of this host the command C(wgsd) too.
    type: str
    choices: [started, stopped, absent]
    default: started
requirements:
  - systemd >= 248
  - PyYAML (Debian package python3-yaml)
extends_documentation_fragment:
  - wgsd.mesh.attributes
  - wgsd.mesh.attributes.libraries
  - wgsd.mesh.asking.known_key
attributes:
  check_mode:
    support: full
    details:
      - The place of a client that an earlier task would remove is still taken.
  diff_mode:
    support: full
notes:
  - Needs root.
seealso:
  - module: wgsd.mesh.wg_interface
  - module: wgsd.mesh.wg_endpoint
  - module: wgsd.mesh.wgsd_responder
  - module: wgsd.mesh.wgsd_tsig_key
"""

EXAMPLES = r"""
- name: Connect the peers of wg0 directly
  wgsd.mesh.wgsd_client:
    interface: wg0
    zone: example.com.
    registries: [10.0.0.254]

- name: Connect them, and follow a registry whose public address may change
  wgsd.mesh.wgsd_client:
    interface: wg0
    zone: example.com.
    registries:
      - address: 10.0.0.254
        endpoint: registry.example.com:51820

- name: Connect them, with signed queries
  wgsd.mesh.wgsd_client:
    interface: wg0
    zone: example.com.
    registries: [10.0.0.254]
    key:
      name: mesh.example.com.
      secret: "{{ vault_mesh_secret }}"

- name: Connect the peers of wg1, which is of another mesh
  wgsd.mesh.wgsd_client:
    instance: lab
    interface: wg1
    zone: lab.example.com.
    registries: [10.1.0.254]

- name: Remove the client
  wgsd.mesh.wgsd_client:
    state: absent
"""

RETURN = r"""
steps:
  description: What was done besides writing files, in words.
  returned: success
  type: list
  elements: str
  sample: [daemon-reload, enable wgsd-client.service, restart wgsd-client.service]
key:
  description: Name of the key that queries are signed with.
  returned: if O(key) is given
  type: str
  sample: mesh.example.com.
"""

import base64
import functools
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import (
    _asking,
    _instances,
    _service,
    _tsig_keys,
    _units,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    Instance,
    TsigKey,
    check_instance,
    key_name,
    load_client,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError

SETTINGS = ("interface", "zone", "registries")


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the service into the wanted state."""
    options = module.params
    instance = Instance("client", check_instance(options["instance"] or ""))
    settings = {name: options[name] for name in (*SETTINGS, "keepalive")}
    key = None
    if options["key"] and options["state"] != "absent":
        there = key_in(_service.CONFIG_FOLDER / instance.config_name)
        key = signing_key(options["key"], there, predicting=module.check_mode)
        module.no_log_values.add(key["secret"])
        settings["key"] = key
    if options["metrics_file"] is not None:
        settings["metrics_file"] = options["metrics_file"]
    if options["discover"]:
        settings["discover"] = True
    service = _service.Service(
        instance=instance,
        settings=settings,
        load=load_client,
        has_secrets=key is not None,
        unit_text=functools.partial(
            _units.client,
            device=options["interface"],
            metrics_file=options["metrics_file"],
            instance=instance.name,
        ),
        keep_apart=_instances.keep_clients_apart,
        # It works when it stays up: a registry out of reach is its business, not a failure.
        answers=lambda: None,
    )
    result = _service.converge(module, service)
    return {**result, "key": key["name"]} if key else result


def signing_key(
    wanted: t.Mapping[str, t.Any], there: TsigKey | None, *, predicting: bool
) -> dict[str, str]:
    """Return the key that queries are to be signed with.

    Args:
        wanted: The option ``key``.
        there: The key that the client has.
        predicting: Whether an earlier task may be about to make it.

    Raises:
        UsageError: its secret is known neither in this run nor to the client.
    """
    name = key_name(wanted["name"])
    key = {"name": name, "algorithm": wanted["algorithm"]}
    if wanted["secret"] is not None:
        return {**key, "secret": wanted["secret"]}
    if there is not None and _tsig_keys.generation(there.name, name) is not None:
        secret = base64.b64encode(there.secret).decode()
        return {"name": there.name, "algorithm": there.algorithm, "secret": secret}
    if predicting:
        return {**key, "secret": _tsig_keys.UNKNOWN_SECRET}
    raise UsageError(
        f"the secret of the key {name} is not known in this run, and the client has none yet",
        "give it, or run the play for the registry that makes it too",
    )


def key_in(path: pathlib.Path) -> TsigKey | None:
    """Return the key that the configuration at *path* has; none if it is not there or no good."""
    try:
        return load_client(path).key
    except WgsdError:
        return None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str"},
            "interface": {"type": "str"},
            "zone": {"type": "str"},
            "registries": {"type": "list", "elements": "raw"},
            "keepalive": {"type": "int", "default": 25, "no_log": False},
            "key": _asking.key(secret_required=False),
            "metrics_file": {"type": "path"},
            "discover": {"type": "bool", "default": False},
            "state": {
                "type": "str",
                "choices": ["started", "stopped", "absent"],
                "default": "started",
            },
        },
        required_if=[("state", "started", SETTINGS), ("state", "stopped", SETTINGS)],
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
