# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wg_info: what is told of interfaces and peers, what is not, and of the kernel.

tests/lab/test_wg_info.py reads real devices.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import pathlib
import sys
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _wg_facts, _wg_own
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import (
    DependencyError,
    NoDeviceError,
    UsageError,
    WgsdError,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Device, Endpoint, Peer
from ansible_collections.wgsd.mesh.plugins.modules import wg_info

pytestmark = pytest.mark.unit

OWN, ALICE, BOB, CAROL = (PublicKey(letter * 32) for letter in (b"o", b"a", b"b", b"c"))
NOW = 1_800_000_000.0
SECRET = b"preshared".ljust(32, b"!")
PRIVATE = base64.b64encode(b"private".ljust(32, b"!")).decode()
CONF = f"""\
[Interface]
PrivateKey = {PRIVATE}

[Peer]
# Name = zoe
PublicKey = {ALICE}

# A laptop.
[Peer]
PublicKey = {CAROL}
PresharedKey = {base64.b64encode(SECRET).decode()}
# Name = bob
"""


class Host:
    """What the module finds on a host.

    Attributes:
        devices: Its devices by name.
        has_systemd: Whether systemctl works.
        modprobe_knows: Whether modprobe knows of WireGuard.
        commands: What was run.
        warnings: What the module warned of.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path) -> None:
        self.devices: dict[str, Device] = {}
        self.has_systemd, self.modprobe_knows = True, False
        self.commands: list[str] = []
        self.warnings: list[str] = []
        self.folder = folder
        monkeypatch.setattr(_wg_own, "FOLDER", folder)
        monkeypatch.setattr(wg_info, "LOADED", folder / "not-loaded")
        monkeypatch.setattr(wg_info, "has_wireguard", lambda: False)
        monkeypatch.setattr(wg_info, "find_devices", self._find)
        monkeypatch.setattr(wg_info, "open_device", self._open)
        monkeypatch.setattr(wg_info, "command_runner", lambda _module: self.run)
        monkeypatch.setattr(wg_info.time, "time", lambda: NOW)
        addresses = (ipaddress.ip_interface("10.0.0.1/24"), ipaddress.ip_interface("fd00::1/64"))
        monkeypatch.setattr(_wg_facts.link, "addresses", lambda _name: addresses)
        monkeypatch.setattr(_wg_facts.link, "mtu", lambda _name: 1420)
        monkeypatch.setattr(_wg_facts.link, "is_up", lambda _name: True)

    def add(self, name: str, *peers: Peer) -> None:
        """Give it a device."""
        by_key = {peer.public_key: peer for peer in peers}
        self.devices[name] = Device(name, OWN, 51820, 42, by_key)

    def task(self, **options: t.Any) -> dict[str, t.Any]:
        """Run the module as a task does."""
        module = types.SimpleNamespace(
            params={"interfaces": None, **options},
            check_mode=True,
            warn=self.warnings.append,
            get_bin_path=lambda name: f"/sbin/{name}",
        )
        return wg_info.run(module)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(" ".join(command))
        if command[0] == "/sbin/modprobe":
            return int(not self.modprobe_knows), "", ""
        if not self.has_systemd:
            return 1, "", "System has not been booted with systemd as init system"
        return 0, "ActiveState=active\nUnitFileState=disabled\n", ""

    def _find(self, names: t.Sequence[str] | None) -> list[str]:
        return sorted(name for name in self.devices if names is None or name in names)

    def _open(self, name: str) -> t.Any:
        return _Backend(self.devices[name])


class _Backend:
    kind = "userspace"

    def __init__(self, device: Device | None) -> None:
        self._device = device

    def read(self) -> Device:
        if self._device is None:
            raise NoDeviceError("it is gone")
        return self._device

    def __enter__(self) -> _Backend:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


@pytest.fixture
def host(monkeypatch, tmp_path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_tells_all_of_an_interface_and_its_peers(host):
    host.add(
        "wg0",
        Peer(
            BOB,
            Endpoint("2001:db8::5", 51820),
            ("10.0.0.2/32", "192.0.2.0/24"),
            last_handshake=NOW - 42.5,
            rx_bytes=11,
            tx_bytes=22,
            persistent_keepalive=25,
            preshared_key=SECRET,
        ),
    )
    (interface,) = host.task()["interfaces"]
    assert interface == {
        "name": "wg0",
        "backend": "userspace",
        "public_key": OWN.base64,
        "listen_port": 51820,
        "fwmark": 42,
        "addresses": ["10.0.0.1/24", "fd00::1/64"],
        "mtu": 1420,
        "is_up": True,
        "unit": {"active": True, "enabled": False},
        "peers": [
            {
                "public_key": BOB.base64,
                "name": None,
                "endpoint": "[2001:db8::5]:51820",
                "allowed_ips": ["10.0.0.2/32", "192.0.2.0/24"],
                "latest_handshake": int(NOW) - 43,
                "handshake_age": 42,
                "has_session": True,
                "rx_bytes": 11,
                "tx_bytes": 22,
                "persistent_keepalive": 25,
                "has_preshared_key": True,
            }
        ],
    }
    assert host.commands[0].endswith("wg-quick@wg0.service")


def test_what_a_peer_does_not_have_is_null_or_false(host):
    host.add("wg0", Peer(BOB))
    (peer,) = host.task()["interfaces"][0]["peers"]
    nothing = ("name", "endpoint", "latest_handshake", "handshake_age", "persistent_keepalive")
    assert {name for name, value in peer.items() if value is None} == set(nothing)
    assert not peer["has_session"]
    assert not peer["has_preshared_key"]


@pytest.mark.parametrize(
    ("ago", "age", "has_session"), [(179, 179, True), (180, 180, False), (-5, 0, True)]
)
def test_a_session_lasts_three_minutes_and_no_clock_makes_an_age_negative(ago, age, has_session):
    peer = wg_info.describe(Peer(BOB, last_handshake=NOW - ago), None, NOW)
    assert (peer["handshake_age"], peer["has_session"]) == (age, has_session)


def test_names_come_from_the_file_and_order_the_peers(host):
    (host.folder / "wg0.conf").write_text(CONF)
    host.add("wg0", Peer(ALICE), Peer(BOB), Peer(CAROL))
    (interface,) = host.task()["interfaces"]
    told = [(peer["name"], peer["public_key"]) for peer in interface["peers"]]
    assert told == [("bob", CAROL.base64), ("zoe", ALICE.base64), (None, BOB.base64)]


def test_no_private_and_no_preshared_key_is_told(host):
    (host.folder / "wg0.conf").write_text(CONF)
    host.add("wg0", Peer(CAROL, preshared_key=SECRET))
    said = json.dumps(host.task())
    assert PRIVATE not in said
    assert base64.b64encode(SECRET).decode() not in said
    assert SECRET.hex() not in said


def test_a_file_that_cannot_be_read_costs_the_names_and_is_a_warning(host):
    (host.folder / "wg0.conf").write_text(CONF + "[Pear]\n")
    host.add("wg0", Peer(ALICE))
    (peer,) = host.task()["interfaces"][0]["peers"]
    assert peer["name"] is None
    (warning,) = host.warnings
    assert warning.startswith("the names of the peers of wg0 are not known: ")
    assert "unknown section" in warning
    assert PRIVATE not in warning


def test_interfaces_are_sorted_and_one_that_goes_away_meanwhile_is_left_out(host):
    host.add("wg1")
    host.add("wg0")
    host.devices["wg2"] = None
    names = [interface["name"] for interface in host.task()["interfaces"]]
    assert names == ["wg0", "wg1"]
    assert [one["name"] for one in host.task(interfaces=["wg1", "wg7"])["interfaces"]] == ["wg1"]


def test_without_systemd_there_is_no_unit(host):
    host.add("wg0")
    host.has_systemd = False
    assert host.task()["interfaces"][0]["unit"] is None


def test_the_empty_list_asks_for_the_kernel_alone(host, monkeypatch):
    monkeypatch.setattr(wg_info, "find_devices", None)
    host.modprobe_knows = True
    assert host.task(interfaces=[]) == {"interfaces": [], "kernel_support": True}


@pytest.mark.parametrize("name", ["", "a/b", "much-too-long-a-name"])
def test_what_cannot_be_an_interface_is_an_error(host, name):
    with pytest.raises(UsageError, match="cannot be an interface"):
        host.task(interfaces=["wg0", name])


def test_the_kernel_has_wireguard_if_it_is_loaded_or_can_be_or_the_kernel_says_so(
    host, monkeypatch, tmp_path
):
    assert not host.task()["kernel_support"]
    assert host.commands == ["/sbin/modprobe --dry-run --quiet wireguard"]
    monkeypatch.setattr(wg_info, "has_wireguard", lambda: True)
    assert host.task()["kernel_support"]
    monkeypatch.setattr(wg_info, "has_wireguard", None)
    host.modprobe_knows = True
    assert host.task()["kernel_support"]
    host.commands.clear()
    monkeypatch.setattr(wg_info, "LOADED", tmp_path)
    assert host.task()["kernel_support"]
    assert host.commands == []


def test_a_library_that_is_missing_is_named_with_its_debian_package(host, monkeypatch):
    from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.device import link

    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(DependencyError, match="apt install python3-pyroute2"):
        link.mtu("lo")


def test_no_file_is_no_error_and_one_that_cannot_be_read_is(monkeypatch, tmp_path):
    path = tmp_path / "wg0.conf"
    assert wg_info.names_in(path) == {}
    path.mkdir()
    with pytest.raises(WgsdError, match=f"{path}: cannot be read"):
        wg_info.names_in(path)
