# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd-resolved and the zone of a mesh: the drop-in, what is set at once, what is left alone.

resolvectl and systemctl are doubles here; tests/roles has the real ones.
"""

from __future__ import annotations

import os
import socket
import types

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _files, _resolver
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.modules import wgsd_resolver

pytestmark = pytest.mark.unit

SETTINGS = ("dns", "domain", "default-route", "dnssec")
STEPS = [
    "resolvectl default-route wg0 no",
    "resolvectl domain wg0 ~example.com",
    "resolvectl dns wg0 10.0.0.254",
]


class Host:
    """A host with systemd-resolved and an interface wg0."""

    def __init__(self) -> None:
        self.runs = True
        self.interfaces = {"wg0"}
        self.global_dnssec = "no"
        self.commands: list[str] = []
        self.warnings: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self.link = dict(zip(SETTINGS, ("", "", "yes", self.global_dnssec)))

    def run(self, command, data=None):
        if command[:2] == ["systemctl", "show"]:
            is_up = command[-1] != "systemd-resolved.service" or self.runs
            return 0, f"ActiveState={'active' if is_up else 'inactive'}\n", ""
        if command[0] == "resolvectl":
            verb, *words = command[1:]
            if verb == "dnssec" and not words:
                return 0, f"Global: {self.global_dnssec}\nLink 2 (eth0): yes\n", ""
            if len(words) == 1 and verb != "revert":
                return 0, f"Link 7 (wg0): {self.link[verb]}\n", ""
            if verb == "revert":
                self._forget()
            else:
                self.link[verb] = " ".join(words[1:])
        self.commands.append(" ".join(command))
        return 0, "", ""

    def task(self, check_mode=False, **options):
        params = {
            "interface": "wg0",
            "zone": "example.com.",
            "servers": ["10.0.0.254"],
            "dnssec": False,
            "state": "present",
            **options,
        }
        module = types.SimpleNamespace(
            params=params, check_mode=check_mode, warn=self.warnings.append
        )
        return wgsd_resolver.run(module)


@pytest.fixture
def host(tmp_path, monkeypatch):
    double = Host()

    def index(name):
        if name not in double.interfaces:
            raise OSError
        return 7

    own = _files.FileState
    monkeypatch.setattr(_resolver, "UNITS", tmp_path)
    monkeypatch.setattr(socket, "if_nametoindex", index)
    monkeypatch.setattr(wgsd_resolver, "command_runner", lambda module: double.run)
    monkeypatch.setattr(
        wgsd_resolver,
        "FileState",
        lambda content, mode: own(content, mode, os.geteuid(), os.getegid()),
    )
    double.drop_in = tmp_path / "wg-quick@wg0.service.d" / "wgsd-resolver.conf"
    return double


def test_the_drop_in_makes_the_same_settings_as_are_made_at_once(host):
    result = host.task()
    assert result["steps"] == ["daemon-reload", *STEPS]
    assert [
        line.replace("ExecStartPost=-/usr/bin/", "")
        for line in host.drop_in.read_text().splitlines()
        if line.startswith("ExecStartPost")
    ] == STEPS


def test_the_same_again_changes_nothing(host):
    assert host.task()["changed"]
    host.commands.clear()
    assert not host.task()["changed"]
    assert host.commands == []


def test_what_somebody_changed_by_hand_is_set_again(host):
    host.task()
    host.link["domain"] = "~."
    assert host.task()["steps"] == ["resolvectl domain wg0 ~example.com"]


def test_check_mode_predicts_and_changes_nothing(host):
    predicted = host.task(check_mode=True)
    assert host.commands == []
    assert not host.drop_in.exists()
    assert predicted == host.task()


def test_an_interface_that_is_down_gets_the_settings_when_it_comes_up(host):
    host.interfaces.clear()
    assert host.task()["steps"] == ["daemon-reload"]
    assert host.drop_in.exists()
    assert not host.task()["changed"]


def test_another_server_is_written_and_set(host):
    host.task()
    result = host.task(servers=["10.0.0.254", "fd00::1", "10.0.0.253:5353"])
    servers = "10.0.0.254 fd00::1 10.0.0.253:5353"
    assert result["steps"] == ["daemon-reload", f"resolvectl dns wg0 {servers}"]
    assert f"resolvectl dns wg0 {servers}\n" in host.drop_in.read_text()


def test_validation_is_turned_off_only_where_it_is_on(host):
    host.task()
    assert "dnssec" not in host.drop_in.read_text()
    host.global_dnssec = host.link["dnssec"] = "yes"
    assert host.task()["steps"] == ["daemon-reload", "resolvectl dnssec wg0 no"]
    assert not host.task()["changed"]


def test_a_signed_zone_is_validated(host):
    host.global_dnssec = host.link["dnssec"] = "yes"
    assert "dnssec" not in " ".join(host.task(dnssec=True)["steps"])


def test_absent_leaves_neither_settings_nor_files(host):
    host.task()
    result = host.task(state="absent", zone=None, servers=None)
    assert result["steps"] == ["daemon-reload", "resolvectl revert wg0"]
    assert not host.drop_in.parent.exists()
    assert host.link["dns"] == ""
    assert not host.task(state="absent", zone=None, servers=None)["changed"]


def test_absent_leaves_settings_alone_that_are_somebody_else_s(host):
    host.link["dns"] = "192.0.2.53"
    assert not host.task(state="absent")["changed"]
    assert host.link["dns"] == "192.0.2.53"


def test_files_of_others_in_the_folder_stay(host):
    host.task()
    other = host.drop_in.with_name("other.conf")
    other.write_text("")
    host.task(state="absent")
    assert other.exists()


def test_without_our_drop_in_absent_asks_systemd_resolved_nothing(host, monkeypatch):
    monkeypatch.setattr(wgsd_resolver.Resolver, "_link", lambda _self: pytest.fail("it asks"))
    assert not host.task(state="absent")["changed"]


def test_without_systemd_resolved_the_error_names_the_package(host):
    host.runs = False
    with pytest.raises(UsageError, match="apt install systemd-resolved"):
        host.task()
    assert not host.drop_in.exists()
    assert host.task(check_mode=True)["steps"] == ["daemon-reload"]
    assert "apt install systemd-resolved" in host.warnings[0]


def test_without_systemd_resolved_absent_removes_the_drop_in(host):
    host.task()
    host.runs = False
    assert host.task(state="absent")["steps"] == ["daemon-reload"]
    assert not host.drop_in.exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"zone": "exa mple."}, "zone"),
        ({"zone": "."}, "zone"),
        ({"servers": []}, "servers"),
        ({"servers": ["registry"]}, "registry"),
        ({"interface": "wg/0"}, "interface"),
    ],
)
def test_what_cannot_be_used_is_refused_and_named(host, options, named):
    with pytest.raises(UsageError, match=named):
        host.task(**options)


def test_values_are_read_over_several_lines():
    output = "Link 7 (wg0): 10.0.0.254 10.0.0.253\n              fd00::1\nLink 8 (wg1): 192.0.2.1\n"
    assert _resolver.parse(output) == ("10.0.0.254", "10.0.0.253", "fd00::1")
    assert _resolver.parse("Link 7 (wg0):\n") == ()
