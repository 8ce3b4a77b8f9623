# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""site.yml for a registry whose public endpoint is a host name."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.lab.topology import REGISTRY_ADDRESS
from tests.roles.site_playbook import Site

pytestmark = pytest.mark.roles
ENDPOINT = "registry.example.net:51820"
PEERS = ("alice", "bob")
NEW_ADDRESS = "203.0.113.9"
#: Seconds in which a client misses its registry and has resolved its name.
PATIENCE = 30.0


def test_a_registry_may_be_known_by_a_host_name(bare_hosts: Site, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.json"
    registry = {"registry": {"wgsd_endpoint": ENDPOINT}}
    inventory.write_text(json.dumps({"wgsd_registry": {"hosts": registry}}))
    lab = bare_hosts.lab
    for name in PEERS:
        line = f"{REGISTRY_ADDRESS} {ENDPOINT.partition(':')[0]}"
        lab.host(name).run(["sh", "-c", f"echo {line} >> /etc/hosts"])
    bare_hosts.build("--inventory", str(inventory))
    for name in PEERS:
        host = lab.host(name)
        assert f"Endpoint = {ENDPOINT}\n" in host.run(["cat", "/etc/wireguard/wg0.conf"]).stdout
        config = host.run(["cat", "/etc/wgsd/client.yml"]).stdout
        assert f'- address: "10.0.0.254"\n    endpoint: "{ENDPOINT}"\n' in config
        assert f"{REGISTRY_ADDRESS}:51820" in host.run(["wg", "show", "wg0", "endpoints"]).stdout
    assert "self:" not in lab.host("registry").run(["cat", "/etc/wgsd/responder.yml"]).stdout
    again = bare_hosts.build("--inventory", str(inventory))
    assert again.count("changed") == dict.fromkeys(("registry", *PEERS), 0), again.output
    # Within the sandbox of its unit the client can resolve names as well.
    move = f"sed 's/^{REGISTRY_ADDRESS} /{NEW_ADDRESS} /' /etc/hosts > /tmp/hosts"
    lab.host("alice").run(["sh", "-c", f"{move} && cat /tmp/hosts > /etc/hosts"])
    lab.host("registry").kill()
    deadline = time.monotonic() + PATIENCE
    while f"may have moved to {NEW_ADDRESS}" not in journal(bare_hosts, "alice"):
        assert time.monotonic() < deadline, journal(bare_hosts, "alice")
        time.sleep(0.5)


def journal(site: Site, name: str) -> str:
    """Return what the client of a host has said."""
    command = ["journalctl", "--unit=wgsd-client", "--output=cat"]
    return site.lab.host(name).run(command).stdout
