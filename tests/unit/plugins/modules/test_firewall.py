# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Closing what bears the mesh's mark, in whichever firewall that is.

The commands are doubles here; tests/roles has the real ones.
"""

from __future__ import annotations

import json
import types

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import (
    _firewall_firewalld,
    _firewall_nftables,
    _firewall_ufw,
)
from ansible_collections.wgsd.mesh.plugins.modules import wgsd_firewall

pytestmark = pytest.mark.unit

RULE = 'udp dport 51820 accept comment "wgsd wg0"'
LOADED = f"table inet filter {{\n\tchain input {{\n\t\t{RULE} # handle 7\n\t}}\n}}\n"
ENTRY = {"zone": "public", "kind": "port", "value": "51820/udp", "permanent": True}


class Host:
    """A host with some firewalls, and what is in them."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.tools = {"nft", "ufw", "firewall-cmd"}
        self.loaded = ""
        self.commands: list[str] = []

    def run(self, command, data=None, **_options):
        told = " ".join(command)
        if command[0] not in self.tools:
            raise FileNotFoundError(2, "not there")
        if command[0] == "nft" and "list" in command:
            return (0, self.loaded, "") if self.loaded is not None else (1, "", "not permitted")
        if told == "ufw show added":
            return 0, "ufw allow 51820/udp comment 'wgsd wg0'\nufw allow 22/tcp\n", ""
        if "--list-all" in command:
            return 0, "public\n  ports: 51820/udp 22/tcp\n", ""
        self.commands.append(f"{told} < {data.strip()}" if data else told)
        return 0, "", ""

    def close(self, check_mode=False, **options):
        params = {
            "backend": None,
            "interface": "wg0",
            "listen_port": None,
            "dns": False,
            "trust_interface": False,
            "chain": ["inet filter input"],
            "zone": None,
            "state": "absent",
            **options,
        }
        module = types.SimpleNamespace(
            params=params,
            check_mode=check_mode,
            run_command=self.run,
            get_bin_path=lambda tool: tool if tool in self.tools else None,
        )
        return wgsd_firewall.run(module)


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(_firewall_nftables, "CONF", tmp_path / "nftables.conf")
    monkeypatch.setattr(_firewall_nftables, "FOLDER", tmp_path / "nftables.d")
    monkeypatch.setattr(_firewall_firewalld, "FOLDER", tmp_path / "records")
    monkeypatch.setattr(_firewall_ufw, "RULES", (tmp_path / "user.rules",))
    return Host(tmp_path)


def test_where_nothing_is_ours_no_firewall_is_changed_whichever_there_are(host):
    for tools in ({"nft", "ufw", "firewall-cmd"}, set()):
        host.tools = tools
        result = host.close()
        assert (result["changed"], result["removed"]) == (False, [])
    # A container may not look into its kernel's.
    host.tools, host.loaded = {"nft"}, None
    assert not host.close()["changed"]
    assert host.commands == []


def test_rules_that_are_loaded_go_and_so_does_the_file_that_brings_them_back(host):
    host.loaded = LOADED
    path = host.folder / "nftables.d/wgsd-wg0.nft"
    path.parent.mkdir()
    path.write_text("x\n", encoding="utf-8")
    predicted = host.close(check_mode=True)
    assert host.commands == []
    assert path.exists()
    closed = host.close()
    assert closed == predicted
    assert closed["removed"] == [f"inet filter input {RULE}"]
    assert host.commands == ["nft --file - < delete rule inet filter input handle 7"]
    assert not path.exists()


def test_rules_of_ufw_go_that_its_files_have_by_our_comment(host):
    assert host.close()["removed"] == []
    rules = host.folder / "user.rules"
    rules.write_text(f"### tuple ### allow udp 51820 in comment={b'wgsd wg01'.hex()}\n")
    assert host.close()["removed"] == []
    rules.write_text(f"### tuple ### allow udp 51820 in comment={b'wgsd wg0'.hex()}\n")
    assert host.close()["removed"] == ["allow 51820/udp"]
    assert host.commands == ["ufw --force delete allow 51820/udp"]


def test_entries_of_firewalld_go_that_our_record_has(host):
    record = host.folder / "records/firewalld-wg0.json"
    record.parent.mkdir()
    record.write_text(json.dumps([ENTRY]), encoding="utf-8")
    assert host.close()["removed"] == ["public (permanent): port 51820/udp"]
    assert host.commands[-1] == ("firewall-cmd --permanent --zone=public --remove-port=51820/udp")
    assert not record.exists()


def test_what_is_in_several_firewalls_is_told_together(host):
    host.loaded = LOADED
    rules = host.folder / "user.rules"
    rules.write_text(f"### tuple ### allow udp 51820 in comment={b'wgsd wg0'.hex()}\n")
    closed = host.close()
    assert closed["removed"] == ["allow 51820/udp", f"inet filter input {RULE}"]
    headers = {diff["after_header"] for diff in closed["diff"]}
    assert {"rules in nftables", "rules in ufw"} <= headers


def test_a_firewall_that_is_named_is_the_only_one(host):
    host.loaded = LOADED
    assert host.close(backend="ufw")["removed"] == ["allow 51820/udp"]
