# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wg_info on real WireGuard devices; only systemctl is a double."""

from __future__ import annotations

import json
import socket
import time
import typing as t

import pytest

from . import BareLab
from .bare import BareHost
from .module import run_module
from .wireguard import WireGuard, generate_key, kind

pytestmark = pytest.mark.lab

SYSTEMCTL = """\
#!/bin/sh
# systemctl as far as wg_info needs it: wg-quick@wg0 is active and enabled, and nothing else is.
case "$*" in
*wg-quick@wg0.service) echo "ActiveState=active"; echo "UnitFileState=enabled" ;;
*) echo "ActiveState=inactive"; echo "UnitFileState=" ;;
esac
"""
ASK_THE_KERNEL = (
    "test -d /sys/module/wireguard || modprobe --dry-run --quiet wireguard"
    " || genl ctrl get name wireguard"
)
TUNNEL = "10.0.0.254"


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab("wginfo") as made:
        yield made


@pytest.fixture(scope="module")
def devices(lab: BareLab) -> dict[str, WireGuard]:
    """Alice's devices: wg0 with a tunnel to the registry and another peer, and wg1, which is off.

    A socket that nobody listens on is what a device leaves that crashed.
    """
    alice = lab.host("alice")
    alice.run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", "/etc/wireguard"])
    alice.run(["mkdir", "/run/bin"])
    systemctl = alice.path("/run/bin/systemctl")
    systemctl.write_text(SYSTEMCTL, encoding="utf-8")
    systemctl.chmod(0o755)
    made = {
        "wg1": alice.start_wireguard("wg1", listen_port=4500),
        "wg0": alice.start_wireguard("wg0", address="10.0.0.1/24"),
        "registry": lab.registry.start_wireguard("wg0", address=f"{TUNNEL}/24"),
    }
    alice.run(["ip", "link", "set", "wg1", "down"])
    leave_a_socket(alice, "eth0")
    key = made["registry"].public_key
    made["registry"].set("peer", made["wg0"].public_key, "allowed-ips", "10.0.0.1/32")
    made["wg0"].set("fwmark", "0x2a")
    made["wg0"].set(
        *("peer", key, "endpoint", f"{lab.registry.address}:51820"),
        *("persistent-keepalive", "25", "allowed-ips", f"{TUNNEL}/32,fd00::fe/128"),
    )
    alice.run(["ping", "-c1", "-W5", TUNNEL])
    return made


def leave_a_socket(host: BareHost, name: str) -> None:
    """Leave a socket of a userspace device behind that is gone."""
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(host.path(f"/run/wireguard/{name}.sock")))


def wg_info(lab: BareLab, **options: t.Any) -> dict[str, t.Any]:
    flags = {flag: options.pop(flag) for flag in ("check_mode", "fails") if flag in options}
    return run_module(lab.host("alice"), "wg_info", options, folder="/run/bin", **flags)


def names(result: dict[str, t.Any]) -> list[str]:
    return [interface["name"] for interface in result["interfaces"]]


def test_tells_all_devices_as_they_are(lab, devices):
    result = wg_info(lab)
    assert names(result) == ["wg0", "wg1"]
    wg0, wg1 = result["interfaces"]
    assert wg0["backend"] == wg1["backend"] == kind()
    assert wg0["public_key"] == devices["wg0"].public_key
    assert wg1["public_key"] == devices["wg1"].public_key
    assert (wg0["listen_port"], wg1["listen_port"]) == (51820, 4500)
    assert (wg0["fwmark"], wg1["fwmark"]) == (42, 0)
    assert "10.0.0.1/24" in wg0["addresses"]
    assert wg1["addresses"] == []
    link = lab.host("alice").run(["ip", "link", "show", "wg0"]).stdout
    assert f"mtu {wg0['mtu']} " in link
    assert (wg0["is_up"], wg1["is_up"]) == (True, False)
    assert wg0["unit"] == {"active": True, "enabled": True}
    assert wg1["unit"] == {"active": False, "enabled": False}
    assert wg1["peers"] == []
    assert not result.get("changed", False)


def test_tells_a_peer_as_wg_does(lab, devices):
    (peer,) = wg_info(lab, interfaces=["wg0"])["interfaces"][0]["peers"]
    line = devices["wg0"].show("dump").splitlines()[1].split("\t")
    key, _preshared, endpoint, allowed, handshake, rx_bytes, tx_bytes, keepalive = line
    assert peer["public_key"] == key == devices["registry"].public_key
    assert peer["endpoint"] == endpoint == f"{lab.registry.address}:51820"
    assert set(peer["allowed_ips"]) == set(allowed.split(","))
    assert peer["latest_handshake"] == int(handshake)
    assert 0 <= peer["handshake_age"] <= time.time() - int(handshake)
    assert peer["has_session"]
    # A keepalive may have come or gone between the two looks.
    assert 0 < peer["rx_bytes"] <= int(rx_bytes)
    assert 0 < peer["tx_bytes"] <= int(tx_bytes)
    assert peer["persistent_keepalive"] == int(keepalive) == 25
    assert not peer["has_preshared_key"]
    assert peer["name"] is None


def test_names_peers_by_their_comments_and_tells_no_secret(lab, devices):
    secret, other = generate_key(), generate_key()
    key = devices["registry"].public_key
    alice = lab.host("alice")
    alice.path("/run/psk").write_text(secret, encoding="utf-8")
    bob = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
    devices["wg1"].set("peer", bob, "preshared-key", "/run/psk")
    devices["wg1"].set("peer", key, "allowed-ips", "10.1.0.254/32")
    alice.path("/etc/wireguard/wg1.conf").write_text(
        f"[Interface]\nPrivateKey = {other}\n\n[Peer]\n# Name = registry\nPublicKey = {key}\n",
        encoding="utf-8",
    )
    result = wg_info(lab, interfaces=["wg1"], check_mode=True)
    told = [
        (peer["name"], peer["public_key"], peer["has_preshared_key"], peer["has_session"])
        for peer in result["interfaces"][0]["peers"]
    ]
    assert told == [("registry", key, False, False), (None, bob, True, False)]
    said = json.dumps(result)
    for private in (secret, other, devices["wg0"].private_key, devices["wg1"].private_key):
        assert private not in said


def test_an_interface_that_is_not_there_is_just_not_told(lab, devices):
    assert names(wg_info(lab, interfaces=["wg7", "wg0"])) == ["wg0"]
    assert names(wg_info(lab, interfaces=["wg7"])) == []


@pytest.mark.parametrize("name", ["lo", "eth0"])
def test_an_interface_of_another_kind_is_an_error_with_a_remedy(lab, devices, name):
    failed = wg_info(lab, interfaces=["wg0", name], fails=True)
    assert f"{name} is an interface, but not a WireGuard one" in failed["msg"]
    assert "wg show interfaces" in failed["msg"]


def test_a_host_without_a_device_has_none(lab, devices):
    assert run_module(lab.host("bob"), "wg_info", {})["interfaces"] == []


def test_knows_of_the_kernel_what_a_shell_finds_out(lab, devices):
    shell = lab.host("alice").run(["sh", "-c", ASK_THE_KERNEL], check=False)
    assert wg_info(lab, interfaces=[])["kernel_support"] == (shell.returncode == 0)
