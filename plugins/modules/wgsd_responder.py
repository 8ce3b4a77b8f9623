#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_responder: the DNS responder of a registry, as a service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_responder
short_description: Serve the endpoints of WireGuard peers by DNS
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Installs the responder on this host, configures it, and runs it as the unit C(wgsd-responder),
    or C(wgsd-responder@INSTANCE).
  - The responder reads the peers of a WireGuard interface and serves their endpoints as DNS-SD,
    below C(_wireguard._udp) of a zone.
  - What is installed is one file, C(/usr/local/bin/wgsd), made of the sources that this module
    comes with. It is also the command C(wgsd).
  - The new responder checks the new configuration before anything is replaced.
  - The service is reloaded only if something that it reads has changed, and restarted only if its
    unit has changed, or if it is of a version that cannot be reloaded. Neither loses a query.
  - When a reload fails, the responder goes on with what it had, and this module fails.
  - One responder serves any number of zones. A host that is the registry of several meshes can also
    have an O(instance) for each of them.
options:
  instance:
    description:
      - Name of the mesh, on a host that is the registry of several, as letters, digits and inner
        hyphens.
      - With V(lab), the unit is C(wgsd-responder@lab), and the configuration is
        C(/etc/wgsd/responder-lab.yml) instead of C(/etc/wgsd/responder.yml).
      - It is an error if that configuration is there, and has no zone and no interface in common
        with O(zones), or if another instance has one of these interfaces. To rename a zone and its
        interface at once, first remove the responder with O(state=absent).
      - If omitted or empty, the responder has no such name, as the only one of a host.
    type: str
  zones:
    description:
      - The zones to serve.
      - Required unless O(state=absent).
    type: list
    elements: dict
    suboptions:
      zone:
        description: Name of the zone.
        type: str
        required: true
      device:
        description: The WireGuard interface whose peers are served.
        type: str
        required: true
      self:
        description:
          - Also serve this host itself. V(true), or a dictionary.
          - The key C(endpoint) of the dictionary is the public C(ADDRESS:PORT) of this host.
            Without it, clients get the address that they asked at and the interface's port.
          - The key C(allowed_ips) is the list of this host's allowed IPs.
        type: raw
      names:
        description:
          - Friendly names of peers, by public key. Each gets an alias in the zone.
          - They are of letters, digits and inner hyphens. A peer goes without a name that is not,
            and so do all but the last of several with the same one. There is a warning then.
        type: dict
      allow_query:
        description:
          - Who may ask. Each entry is a network in CIDR notation, C(key NAME) for whoever signs
            with that one of O(keys), or V(tunnel) for whoever comes in by the interface.
          - If omitted, whoever comes in by the interface may ask at its addresses. Required when
            O(listen) has other addresses, and for each zone when one has it.
        type: list
        elements: str
      allow_transfer:
        description:
          - Who may transfer the zone. See O(zones[].allow_query).
          - V(tunnel) if omitted.
        type: list
        elements: str
      notify:
        description:
          - Secondaries to notify of changes, each as C(ADDRESS) or C(ADDRESS:PORT). To sign with
            one of O(keys), write C(ADDRESS key NAME).
          - Whoever has transferred the zone lately is notified anyway.
        type: list
        elements: str
      dnssec:
        description:
          - Whether to sign the zone. A boolean, or a dictionary.
          - The key C(validity) of the dictionary is the days for which a signature is valid.
          - The private key is made on this host and stays in O(state_dir). The zone's DS record is
            returned by M(wgsd.mesh.wgsd_dnssec).
          - Needs the Python library cryptography on the host.
        type: raw
      publish:
        description:
          - Authoritative servers that get the peers of the zone by dynamic update (RFC 2136).
        type: list
        elements: dict
        suboptions:
          server:
            description: The server, as C(ADDRESS) or C(ADDRESS:PORT).
            type: str
            required: true
          zone:
            description:
              - The zone there.
              - The one that is published if omitted.
            type: str
          key:
            description: Name of the one of O(keys) that updates are signed with.
            type: str
  catalog:
    description:
      - A catalog zone (RFC 9432) with all O(zones), for secondaries that configure themselves.
    type: dict
    suboptions:
      zone:
        description: Name of the catalog zone.
        type: str
        required: true
      allow_transfer:
        description: Who may transfer it. See O(zones[].allow_query). V(tunnel) if omitted.
        type: list
        elements: str
      notify:
        description: Secondaries to notify of its changes. See O(zones[].notify).
        type: list
        elements: str
  secondaries:
    description:
      - Other DNS servers that hold copies of the zones. Each may ask for all O(zones) and transfer
        them, in addition to whom they name, and is notified of their changes.
      - A secondary outside the tunnel needs an address in O(listen) that it can reach.
    type: list
    elements: dict
    suboptions:
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: The port at which it is notified.
        type: int
        default: 53
      key:
        description:
          - Name of the one of O(keys) that it signs with, and that messages to it are signed with.
          - Without one, whoever has its address is let in.
        type: str
      catalog:
        description: Whether it learns from O(catalog) which zones there are.
        type: bool
        default: false
  listen:
    description:
      - Addresses to listen on, as C(ADDRESS) or C(ADDRESS:PORT).
      - Port 53 of the interfaces' own addresses if omitted.
    type: list
    elements: str
  keys:
    description:
      - TSIG keys (RFC 8945) by name, which is a domain name. Each is a dictionary.
      - The key C(secret) of the dictionary is the secret in Base64. Without it, the key is the one
        that M(wgsd.mesh.wgsd_tsig_key) has made on this host. Each of its generations is accepted
        where its name is, and the oldest signs what the responder sends of its own accord.
      - The key C(algorithm) is V(hmac-sha224), V(hmac-sha256), V(hmac-sha384) or V(hmac-sha512);
        V(hmac-sha256) if omitted.
      - The configuration file, which holds them, can be read by root and by the responder alone.
    type: dict
  rate_limit:
    description:
      - UDP responses a second of each worker to one client network (/24 or /56) outside the
        tunnels; V(0) for any number. Clients that prove their address, by TCP, a cookie or a key,
        are not limited.
      - V(50) if omitted.
    type: int
  workers:
    description:
      - Processes that answer.
      - As many as there are processor cores if omitted.
    type: int
  metrics:
    description:
      - Where to serve metrics for Prometheus by HTTP, as C(ADDRESS) or C(ADDRESS:PORT); the port is
        9586 if omitted. Give a loopback address, or one within a tunnel.
      - None are served if omitted.
      - Needs the Python library prometheus_client on the host.
    type: str
  state_dir:
    description:
      - Folder for what has to survive a restart. It must be below C(/var/lib).
      - C(/var/lib/wgsd) if omitted, and with an O(instance) C(/var/lib/wgsd-INSTANCE).
    type: path
  state:
    description:
      - V(started) means installed, running, answering, and started at boot.
      - V(stopped) means installed, but neither running nor started at boot.
      - V(absent) means not installed, whatever its O(zones). What is in O(state_dir), the keys in
        C(/etc/wgsd/keys), and the system user C(wgsd) stay, and with another responder or client of
        this host the command C(wgsd) too.
    type: str
    choices: [started, stopped, absent]
    default: started
  timeout:
    description: Seconds that a reload may take, and to wait for the first answers after that.
    type: float
    default: 60
requirements:
  - systemd >= 248
  - PyYAML (Debian package python3-yaml)
  - prometheus_client (Debian package python3-prometheus-client) if O(metrics) is set
  - cryptography (Debian package python3-cryptography) if O(zones[].dnssec) is set
extends_documentation_fragment:
  - wgsd.mesh.attributes
  - wgsd.mesh.attributes.libraries
attributes:
  check_mode:
    support: full
    details:
      - Whether the configured interfaces are there is checked in a real run only.
      - The place of a responder that an earlier task would remove is still taken.
  diff_mode:
    support: full
notes:
  - Needs root.
seealso:
  - module: wgsd.mesh.wg_interface
  - module: wgsd.mesh.wgsd_client
  - module: wgsd.mesh.wgsd_tsig_key
"""

EXAMPLES = r"""
- name: Serve the peers of wg0 on its tunnel address
  wgsd.mesh.wgsd_responder:
    zones:
      - zone: example.com.
        device: wg0
        self:
          endpoint: 203.0.113.4:51820
          allowed_ips: [10.0.0.254/32]
        names:
          NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg=: bob

- name: Serve them on a public address too, to some
  wgsd.mesh.wgsd_responder:
    listen: ["10.0.0.254", "203.0.113.4:5353"]
    zones:
      - zone: example.com.
        device: wg0
        self: true
        allow_query: [10.0.0.0/24, 198.51.100.0/24, key ops.example.com.]
    keys:
      ops.example.com.:
        secret: "{{ vault_ops_secret }}"
    metrics: 10.0.0.254

- name: Make a key for a secondary
  wgsd.mesh.wgsd_tsig_key:
    name: ns2.example.com.

- name: Serve them signed, to that secondary too
  wgsd.mesh.wgsd_responder:
    listen: ["10.0.0.254", "203.0.113.4"]
    zones:
      - zone: example.com.
        device: wg0
        self: true
        dnssec: true
    secondaries:
      - address: 198.51.100.53
        key: ns2.example.com.
    keys:
      ns2.example.com.: {}

- name: Serve the peers of wg1, which is of another mesh
  wgsd.mesh.wgsd_responder:
    instance: lab
    zones:
      - zone: lab.example.com.
        device: wg1
        self: true

- name: Remove the responder
  wgsd.mesh.wgsd_responder:
    state: absent
"""

RETURN = r"""
steps:
  description: What was done besides writing files, in words.
  returned: success
  type: list
  elements: str
  sample: [reload wgsd-responder.service]
"""

import functools
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import (
    _answers,
    _instances,
    _secondaries,
    _service,
    _tsig_keys,
    _units,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    Instance,
    check_instance,
    load_responder,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import check_label

STATE_ROOT = pathlib.PurePath("/var/lib")
METRICS_LIBRARY = {"prometheus_client": "python3-prometheus-client"}
SIGNING_LIBRARY = {"cryptography": "python3-cryptography"}
#: Options that go into the configuration as they are.
PLAIN = ("listen", "rate_limit", "workers", "metrics", "state_dir")


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the service into the wanted state."""
    instance = Instance("responder", check_instance(module.params["instance"] or ""))
    state_dir = module.params["state_dir"] or str(instance.state_dir)
    options = {**module.params, "state_dir": state_dir}
    is_absent = options["state"] == "absent"
    options["zones"] = [_with_usable_names(zone, module.warn) for zone in options["zones"] or []]
    keyring = _tsig_keys.Keyring(
        {} if is_absent else options["keys"] or {},
        _tsig_keys.FOLDER,
        predicting=module.check_mode,
    )
    module.no_log_values |= keyring.secrets
    settings = configuration(options, keyring)
    zones = settings["zones"]
    service = _service.Service(
        instance=instance,
        settings=settings,
        load=load_responder,
        unit_text=functools.partial(
            _units.responder,
            devices=[zone["device"] for zone in zones],
            state=state_below(state_dir),
            instance=instance.name,
        ),
        keep_apart=_instances.keep_responders_apart,
        answers=lambda: answers(service.config_path, options["timeout"]),
        libraries=_service.LIBRARIES
        | (METRICS_LIBRARY if options["metrics"] else {})
        | (SIGNING_LIBRARY if any(zone.get("dnssec") for zone in zones) else {}),
        has_secrets=True,
        report=instance.runtime_dir / "status.json",
        timeout=options["timeout"],
    )
    return _service.converge(module, service)


def configuration(options: t.Mapping[str, t.Any], keyring: _tsig_keys.Keyring) -> dict[str, t.Any]:
    """Return what goes into the configuration, with the keys by the names of their generations."""
    settings = _given({name: options[name] for name in PLAIN})
    settings["zones"] = [_given(zone) for zone in options["zones"] or []]
    if options["catalog"]:
        settings["catalog"] = _given(options["catalog"])
    settings = _secondaries.let_in(settings, options["secondaries"] or [])
    settings["zones"] = [_with_generations(zone, keyring) for zone in settings["zones"]]
    if "catalog" in settings:
        settings["catalog"] = _with_generations(settings["catalog"], keyring)
    if keyring.settings:
        settings["keys"] = keyring.settings
    return settings


def _with_usable_names(
    zone: t.Mapping[str, t.Any], warn: t.Callable[[str], object]
) -> dict[str, t.Any]:
    """Return *zone* without the names that it cannot have; they are not worth its other peers."""
    if not zone.get("names"):
        return dict(zone)
    owners: dict[str, str] = {}
    problems: dict[str, UsageError] = {}
    # wg_interface puts the peers that it is given at the end, and what it finds may be old.
    for key, name in reversed(zone["names"].items()):
        try:
            label = check_label(str(name))
        except UsageError as exc:
            problems[key] = exc
            continue
        if owners.setdefault(label, key) != key:
            problems[key] = UsageError(
                f"the peer {owners[label]} is called {label} as well",
                "give each peer a name of its own",
            )
    names = {}
    for key, name in zone["names"].items():
        if key in problems:
            warn(f"{zone['zone']}: the peer {key} goes without its name: {problems[key]}")
        else:
            names[key] = name
    return {**zone, "names": names}


def _with_generations(zone: t.Mapping[str, t.Any], keyring: _tsig_keys.Keyring) -> dict[str, t.Any]:
    given = dict(zone)
    for name in ("allow_query", "allow_transfer"):
        if name in given:
            given[name] = keyring.accepting(given[name])
    if "notify" in given:
        given["notify"] = [keyring.signing_to(server) for server in given["notify"]]
    if "publish" in given:
        given["publish"] = [_given(target) for target in given["publish"]]
        for target in given["publish"]:
            if "key" in target:
                target["key"] = keyring.signing(target["key"])
    return given


def state_below(folder: str) -> pathlib.PurePath:
    """Return *folder* relative to the folder in which systemd makes state directories.

    Raises:
        UsageError: it is not below it.
    """
    path = pathlib.PurePath(folder)
    if path == STATE_ROOT or STATE_ROOT not in path.parents or ".." in path.parts:
        raise UsageError(f"state_dir: {folder} is not below {STATE_ROOT}", "choose a folder there")
    return path.relative_to(STATE_ROOT)


def answers(config_path: pathlib.Path, timeout: float) -> None:
    """Wait until the responder answers on all of its addresses."""
    settings = load_responder(config_path)
    _answers.await_answers(settings, _answers.listened_on(settings), timeout)


def algorithms(keys: t.Mapping[str, t.Any] | None) -> set[str]:
    """Return the algorithms that *keys* name."""
    found = {key.get("algorithm") for key in (keys or {}).values() if isinstance(key, dict)}
    return {algorithm for algorithm in found if isinstance(algorithm, str)}


def _given(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in options.items() if value is not None}


def main() -> None:
    secondary = {
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "default": 53},
        "key": {"type": "str", "no_log": False},
        "catalog": {"type": "bool", "default": False},
    }
    target = {
        "server": {"type": "str", "required": True},
        "zone": {"type": "str"},
        "key": {"type": "str", "no_log": False},
    }
    zone = {
        "zone": {"type": "str", "required": True},
        "device": {"type": "str", "required": True},
        "self": {"type": "raw"},
        "names": {"type": "dict"},
        "allow_query": {"type": "list", "elements": "str"},
        "allow_transfer": {"type": "list", "elements": "str"},
        "notify": {"type": "list", "elements": "str"},
        "dnssec": {"type": "raw"},
        "publish": {"type": "list", "elements": "dict", "options": target},
    }
    catalog = {
        "zone": {"type": "str", "required": True},
        "allow_transfer": {"type": "list", "elements": "str"},
        "notify": {"type": "list", "elements": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str"},
            "zones": {"type": "list", "elements": "dict", "options": zone},
            "listen": {"type": "list", "elements": "str"},
            "catalog": {"type": "dict", "options": catalog},
            "secondaries": {"type": "list", "elements": "dict", "options": secondary},
            "keys": {"type": "dict", "no_log": True},
            "rate_limit": {"type": "int"},
            "workers": {"type": "int"},
            "metrics": {"type": "str"},
            "state_dir": {"type": "path"},
            "state": {
                "type": "str",
                "choices": ["started", "stopped", "absent"],
                "default": "started",
            },
            "timeout": {"type": "float", "default": 60},
        },
        required_if=[("state", "started", ("zones",)), ("state", "stopped", ("zones",))],
        supports_check_mode=True,
    )
    # Of a key only the secret is one: errors shall name its algorithm.
    module.no_log_values -= algorithms(module.params["keys"])
    run_guarded(module, run)


if __name__ == "__main__":
    main()
