# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wg_interface on real wg-quick and a real WireGuard device.

Only systemctl is a double, which knows wg-quick@ units; molecule runs the module under systemd.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from . import BareLab
from .bare import BareHost
from .module import run_module
from .wireguard import generate_key

pytestmark = pytest.mark.lab

CONF = "/etc/wireguard/wg0.conf"
SYSTEMCTL = """\
#!/bin/bash
# systemctl as far as wg-quick@wg0 needs it: is it active, is it enabled, start, stop.
cd /run/units || exit 1
echo "$@" >> log
case $1 in
show)
    echo "ActiveState=$([[ -e active ]] && echo active || echo inactive)"
    echo "UnitFileState=$([[ -e enabled ]] && echo enabled || echo disabled)" ;;
enable) touch enabled ;;
disable) rm enabled ;;
start) wg-quick up wg0 && touch active ;;
restart) wg-quick down wg0; wg-quick up wg0 && touch active ;;
stop) wg-quick down wg0 && rm active ;;
esac
"""
CONFIGURATIONS = {
    "client": "interface: {}\nzone: example.com.\nregistries: [10.0.0.254]\n",
    "responder": "zones: [{{zone: example.com., device: {}}}]\n",
}


def public_key(private_key: str) -> str:
    command = ["wg", "pubkey"]
    done = subprocess.run(command, input=private_key, capture_output=True, text=True, check=True)
    return done.stdout.strip()


BOB = public_key(generate_key())
CAROL = public_key(generate_key())


class Module:
    """Runs wg_interface on wg0 of a lab host."""

    def __init__(self, host: BareHost) -> None:
        self.host = host
        host.run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", "/etc/wireguard"])
        host.run(["mkdir", "/run/units", "/run/bin"])
        systemctl = host.path("/run/bin/systemctl")
        systemctl.write_text(SYSTEMCTL, encoding="utf-8")
        systemctl.chmod(0o755)

    def __call__(
        self, *, check_mode: bool = False, fails: bool = False, **options: t.Any
    ) -> dict[str, t.Any]:
        result = run_module(
            self.host,
            "wg_interface",
            {"name": "wg0", **options},
            check_mode=check_mode,
            fails=fails,
            folder="/run/bin",
        )
        self.said = json.dumps(result)
        return result

    def preshared_keys(self, *public_keys: str, **run: t.Any) -> dict[str, t.Any]:
        """Run wg_preshared_keys."""
        options = {"interface": "wg0", "public_keys": public_keys}
        return run_module(self.host, "wg_preshared_keys", options, **run)

    def configure(self, daemon: str, suffix: str, interface: str) -> Path:
        """Write the configuration of a daemon for *interface*, as far as it is looked at here."""
        if not self.host.path("/etc/wgsd").exists():
            # A folder /etc of its own, which the machine's is not changed by.
            own = "cp -a /etc /run/etc && mkdir /run/etc/wgsd && mount --bind /run/etc /etc"
            self.host.run(["sh", "-c", own])
        path = self.host.path(f"/etc/wgsd/{daemon}{suffix}.yml")
        path.write_text(CONFIGURATIONS[daemon].format(interface), encoding="utf-8")
        return path

    @property
    def file(self) -> str:
        """The interface's file."""
        return self.host.path(CONF).read_text(encoding="utf-8")

    @property
    def private_key(self) -> str:
        """The private key in the file."""
        return re.search(r"PrivateKey = (\S+)", self.file)[1]

    def ip(self, *arguments: str) -> str:
        """What ``ip`` prints."""
        return self.host.run(["ip", *arguments]).stdout

    def wg(self, what: str) -> str:
        """What ``wg show wg0`` prints."""
        return self.host.run(["wg", "show", "wg0", what]).stdout

    def systemctl_verbs(self) -> list[str]:
        """What systemctl was told to do since the last call."""
        log = self.host.path("/run/units/log")
        lines = log.read_text(encoding="utf-8").splitlines()
        log.write_text("", encoding="utf-8")
        return [line.split()[0] for line in lines if not line.startswith("show")]


@pytest.fixture
def lab() -> t.Iterator[BareLab]:
    with BareLab("wgif") as made:
        yield made


@pytest.fixture
def module(lab) -> Module:
    return Module(lab.registry)


def peer(key: str, address: str, **options: t.Any) -> dict[str, t.Any]:
    return {"public_key": key, "allowed_ips": [address], **options}


def test_makes_key_file_and_interface_and_finds_nothing_to_do_the_second_time(module):
    options = {
        "address": ["10.0.0.254/24", "fd00::fe/64"],
        "listen_port": 51820,
        "mtu": 1380,
        "peers": [
            peer(BOB, "10.0.0.2/32", name="bob"),
            peer(CAROL, "192.0.2.0/24", endpoint="198.51.100.10:4500", persistent_keepalive=25),
        ],
    }
    predicted = module(check_mode=True, **options)
    assert predicted["changed"]
    assert predicted["public_key"] is None
    assert not module.host.path(CONF).exists()

    made = module(**options)
    assert made["changed"]
    assert module.host.path(CONF).stat().st_mode & 0o777 == 0o600
    assert made["public_key"] == public_key(module.private_key)
    assert module.private_key not in module.said
    assert module.systemctl_verbs() == ["enable", "start"]
    assert made["backend"] in ("kernel", "userspace")
    assert made["peers_added"] == predicted["peers_added"] == [BOB, CAROL]
    assert [one["name"] for one in made["peers"]] == ["bob", None]
    assert module.wg("public-key").strip() == made["public_key"]
    assert "192.0.2.0/24" in module.ip("route", "show", "dev", "wg0")
    assert "mtu 1380" in module.ip("link", "show", "wg0")

    for check_mode in (True, False):
        again = module(check_mode=check_mode, **options)
        assert not again["changed"]
        assert again["public_key"] == made["public_key"]
    assert module.systemctl_verbs() == []


def test_changes_a_running_interface_by_the_difference(module):
    module(address=["10.0.0.254/24"], peers=[peer(BOB, "192.0.2.0/24", name="bob")])
    key = module.wg("public-key")
    module.systemctl_verbs()
    changes = {
        "address": ["10.0.0.253/24", "fd00::fe/64"],
        "listen_port": 4500,
        "mtu": 1300,
        "peers": [
            peer(BOB, "198.51.100.0/24", preshared_key=generate_key()),
            peer(CAROL, "10.0.0.3/32", endpoint="192.0.2.7:51820"),
        ],
    }
    predicted = module(check_mode=True, **changes)
    done = module(**changes)
    assert predicted["steps"] == done["steps"]
    assert (done["peers_added"], done["peers_changed"]) == ([CAROL], [BOB])
    assert changes["peers"][0]["preshared_key"] not in module.said
    assert module.wg("public-key") == key
    assert module.wg("listen-port").strip() == "4500"
    assert f"{BOB}\t198.51.100.0/24" in module.wg("allowed-ips")
    assert f"{CAROL}\t192.0.2.7:51820" in module.wg("endpoints")
    assert changes["peers"][0]["preshared_key"] in module.wg("preshared-keys")
    routes = module.ip("route", "show", "dev", "wg0")
    assert "198.51.100.0/24" in routes
    assert "192.0.2.0/24" not in routes
    addresses = module.ip("address", "show", "dev", "wg0")
    assert "10.0.0.253/24" in addresses
    assert "10.0.0.254/24" not in addresses
    assert "fd00::fe/64" in addresses
    assert "mtu 1300" in addresses
    assert module.systemctl_verbs() == []
    assert not module(**changes)["changed"]


def test_repairs_what_was_changed_by_hand(module):
    options = {
        "address": ["10.0.0.254/24"],
        "listen_port": 51820,
        "peers": [peer(BOB, "192.0.2.0/24", name="bob"), peer(CAROL, "10.0.0.3/32")],
    }
    module(**options)
    wg = ["wg", "set", "wg0"]
    module.host.run([*wg, "listen-port", "4500"])
    module.host.run([*wg, "peer", BOB, "remove"])
    module.host.run([*wg, "peer", CAROL, "allowed-ips", "10.9.0.0/16"])
    module.host.run(["ip", "address", "flush", "dev", "wg0"])
    predicted = module(check_mode=True, **options)
    repaired = module(**options)
    assert predicted["steps"] == repaired["steps"]
    assert repaired["peers_added"] == []
    assert f"{BOB}\t192.0.2.0/24" in module.wg("allowed-ips")
    assert f"{CAROL}\t10.0.0.3/32" in module.wg("allowed-ips")
    assert module.wg("listen-port").strip() == "51820"
    assert "192.0.2.0/24" in module.ip("route", "show", "dev", "wg0")
    assert "10.0.0.254/24" in module.ip("address", "show", "dev", "wg0")
    assert not module(**options)["changed"]


def test_a_host_name_stays_in_the_file_and_is_resolved_again_at_each_run(module):
    hosts = module.host.path("/run/hosts")
    hosts.write_text("198.51.100.10 carol.example.net\n", encoding="utf-8")
    module.host.run(["mount", "--bind", "/run/hosts", "/etc/hosts"])
    endpoint = "carol.example.net:4500"
    options = {
        "address": ["10.0.0.254/24"],
        "peers": [peer(CAROL, "192.0.2.0/24", endpoint=endpoint, persistent_keepalive=25)],
    }
    assert module(**options)["peers"][0]["endpoint"] == endpoint
    assert module.wg("endpoints") == f"{CAROL}\t198.51.100.10:4500\n"
    assert not module(**options)["changed"]
    before = module.file
    assert f"Endpoint = {endpoint}\n" in before
    hosts.write_text("198.51.100.20 carol.example.net\n", encoding="utf-8")
    assert "198.51.100.20:4500 instead of 198.51.100.10:4500" in module(**options)["steps"][0]
    assert module.wg("endpoints") == f"{CAROL}\t198.51.100.20:4500\n"
    assert module.file == before
    assert not module(**options)["changed"]


def test_purge_removes_peers_from_file_and_device_and_omitted_peers_stay_without(module):
    module(address=["10.0.0.254/24"], peers=[peer(BOB, "10.0.0.2/32")])
    assert not module(peers=[])["changed"]
    assert module(peers=[], purge=True)["peers_removed"] == [BOB]
    assert BOB not in module.file
    assert module.wg("peers").strip() == ""


def test_an_absent_peer_goes_from_file_device_and_routes_wherever_it_is(module):
    bob, carol = peer(BOB, "192.0.2.0/24", name="bob"), peer(CAROL, "10.0.0.3/32", name="carol")
    module(address=["10.0.0.254/24"], peers=[bob, carol])
    gone = {"peers": [{"name": "bob", "state": "absent"}]}
    predicted = module(check_mode=True, **gone)
    done = module(**gone)
    assert predicted["steps"] == done["steps"] == ["remove peer bob", "remove route 192.0.2.0/24"]
    assert done["peers_removed"] == predicted["peers_removed"] == [BOB]
    assert BOB not in module.file
    assert module.wg("peers").split() == [CAROL]
    assert "192.0.2.0/24" not in module.ip("route", "show", "dev", "wg0")
    assert not module(**gone)["changed"]

    # As the client adds a member that it has found in the zone.
    module.host.run(["wg", "set", "wg0", "peer", BOB, "allowed-ips", "10.0.0.2/32"])
    assert not module(**gone)["changed"]
    by_key = {"peers": [{"public_key": BOB, "state": "absent"}]}
    assert module(**by_key)["peers_removed"] == [BOB]
    assert module.wg("peers").split() == [CAROL]
    assert not module(**by_key)["changed"]


def test_one_list_of_all_hosts_serves_each_of_them(module):
    made = module(address=["10.0.0.254/24"])
    everybody = [peer(made["public_key"], "10.0.0.254/32", name="me"), peer(BOB, "10.0.0.2/32")]
    assert "skip_own" in module(peers=everybody, fails=True)["msg"]
    assert module(peers=everybody, skip_own=True)["peers_added"] == [BOB]
    assert not module(peers=everybody, skip_own=True, purge=True)["changed"]


def test_a_private_key_that_nobody_has_clamped_is_the_one_that_wireguard_shows(module):
    """Some bits of a private key are always the same (RFC 7748 section 5), whatever is given."""
    loose = base64.b64encode(bytes([0xFF] * 32)).decode()
    options = {"address": ["10.0.0.254/24"], "private_key": loose}
    made = module(**options)
    assert made["public_key"] == public_key(loose) == module.wg("public-key").strip()
    shown = module.wg("private-key").strip()
    assert shown != loose
    for key in (loose, shown):
        for check_mode in (True, False):
            assert not module(check_mode=check_mode, **{**options, "private_key": key})["changed"]
            assert loose not in module.said
            assert shown not in module.said


def test_a_file_that_wg_quick_would_overwrite_is_refused_before_anything_is_done(module):
    module(address=["10.0.0.254/24"], peers=[peer(BOB, "10.0.0.2/32", name="bob")])
    file = module.host.path(CONF)
    saved = module.file.replace("[Interface]\n", "[Interface]\nsaveconfig = True\n")
    file.write_text(saved, encoding="utf-8")
    wanted = {"peers": [peer(CAROL, "10.0.0.3/32", name="carol")]}
    for check_mode in (True, False):
        refused = module(check_mode=check_mode, fails=True, **wanted)["msg"]
        assert f"{CONF}: SaveConfig is true" in refused
        assert "remove that line from the file" in refused
    assert module.file == saved
    assert CAROL not in module.wg("peers")
    file.write_text(saved.replace("= True", "= false"), encoding="utf-8")
    assert module(**wanted)["peers_added"] == [CAROL]


def test_brings_ones_own_key_and_refuses_another_later(module):
    mine, other = generate_key(), generate_key()
    options = {"address": ["10.0.0.254/24"], "private_key": mine}
    predicted = module(check_mode=True, **options)
    assert predicted["public_key"] == public_key(mine)
    assert mine not in module.said
    made = module(**options)
    assert made["public_key"] == public_key(mine) == module.wg("public-key").strip()
    assert mine not in module.said
    assert module.private_key == mine
    assert not module(**options)["changed"]
    before = module.file
    failed = module(private_key=other, fails=True)
    assert "wgsd.mesh.rotate_keys" in failed["msg"]
    assert other not in module.said
    assert mine not in module.said
    bad = "hunter2" * 6 + "=="
    assert "private_key: not a private key" in module(private_key=bad, fails=True)["msg"]
    assert bad not in module.said
    assert module.file == before


def test_mark_and_table_change_on_the_running_interface(module):
    lan = [peer(BOB, "192.0.2.0/24"), peer(CAROL, "2001:db8::/64")]
    module(address=["10.0.0.254/24", "fd00::fe/64"], peers=lan)
    for changes in ({"table": "4242", "fw_mark": "0x51"}, {"table": "17"}, {"table": "off"}):
        predicted = module(check_mode=True, **changes)
        done = module(**changes)
        assert predicted["steps"] == done["steps"] != []
        assert not [step for step in done["steps"] if "peer" in step]
        assert not module(**changes)["changed"]
        for version, block in (("-4", "192.0.2.0/24"), ("-6", "2001:db8::/64")):
            tables = re.findall(
                rf"^{block} dev wg0 table (\S+)",
                module.ip(version, "route", "show", "table", "all"),
                re.MULTILINE,
            )
            assert tables == [changes["table"]] * (changes["table"] != "off")
            assert block not in module.ip(version, "route", "show", "dev", "wg0")
    assert module.wg("fwmark").strip() == "0x51"
    # What wg-quick makes of the same file.
    assert module(state="absent")["changed"]
    module(table="4242")
    assert "192.0.2.0/24" in module.ip("route", "show", "dev", "wg0", "table", "4242")
    module(table="auto", fw_mark=0)
    assert module.wg("fwmark").strip() == "off"
    assert "192.0.2.0/24" in module.ip("route", "show", "dev", "wg0")
    assert "2001:db8::/64" in module.ip("-6", "route", "show", "dev", "wg0")
    assert "4242" not in module.ip("route", "show", "table", "all")
    assert not module(table="auto", fw_mark="off")["changed"]


def test_a_hosts_former_key_on_the_device_gives_way_to_its_new_one(module):
    module(address=["10.0.0.254/24"])
    module.host.run(["wg", "set", "wg0", "peer", BOB, "allowed-ips", "10.0.0.2/32"])
    options = {"peers": [peer(CAROL, "10.0.0.2/32", name="bob")]}
    predicted = module(check_mode=True, **options)
    done = module(**options)
    former = f"remove peer {BOB[:8]}…, whose allowed IP 10.0.0.2/32 now belongs to bob"
    assert predicted["steps"] == done["steps"] == [former, "add peer bob"]
    assert module.wg("allowed-ips") == f"{CAROL}\t10.0.0.2/32\n"
    assert not module(**options)["changed"]


def test_brings_an_interface_back_that_was_removed_under_its_unit(module):
    made = module(address=["10.0.0.254/24"])
    module.host.run(["ip", "link", "delete", "wg0"])
    back = module(address=["10.0.0.254/24"])
    assert back["steps"] == ["restart wg-quick@wg0.service"]
    assert module.wg("public-key").strip() == made["public_key"]


def test_takes_over_an_interface_that_was_brought_up_by_hand(module):
    options = {"address": ["10.0.0.254/24"]}
    module(**options)
    module.host.run(["sh", "-c", "rm /run/units/active /run/units/enabled"])
    assert module(**options)["steps"] == ["enable wg-quick@wg0.service"]
    assert module(state="absent")["steps"] == [
        "disable wg-quick@wg0.service",
        "wg-quick down wg0",
    ]
    assert "wg0" not in module.ip("link")


def test_adopts_a_file_with_its_key_comments_and_hooks(module):
    private_key = generate_key()
    mine = (
        f"# mine\n[Interface]\nprivatekey = {private_key} # old\nAddress=10.0.0.254/24\n"
        "PostUp = touch /run/hooked\n\n# Bob's laptop\n[Peer]\n"
        f"PublicKey = {BOB}\nAllowedIPs = 10.0.0.2/32\n"
    )
    module.host.path(CONF).write_text(mine, encoding="utf-8")
    adopted = module(peers=[peer(CAROL, "10.0.0.3/32", name="carol")])
    assert adopted["public_key"] == public_key(private_key)
    added = f"\n[Peer]\n# Name = carol\nPublicKey = {CAROL}\nAllowedIPs = 10.0.0.3/32\n"
    assert module.file == mine + added
    assert module.host.path("/run/hooked").exists()
    assert module.host.path(CONF).stat().st_mode & 0o777 == 0o600
    assert private_key not in module.said


def test_an_adopted_file_is_as_it_was_after_purge(module):
    path, copy = module.host.path(CONF), module.host.path(f"{CONF}.before-wgsd")
    private_key = generate_key()
    mine = f"# mine\n[Interface]\nPrivateKey = {private_key}\nAddress = 10.0.0.254/24\n"
    path.write_text(mine, encoding="utf-8")
    first = {"peers": [peer(BOB, "10.0.0.2/32")]}
    predicted = module(check_mode=True, **first)
    assert not copy.exists()
    done = module(**first)
    kept = f"keep {CONF} as it was in {CONF}.before-wgsd"
    assert predicted["steps"] == done["steps"]
    assert done["steps"][0] == kept
    assert copy.read_text(encoding="utf-8") == mine
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not module(**first)["changed"]
    assert kept not in module(peers=[peer(CAROL, "10.0.0.3/32")])["steps"]
    assert copy.read_text(encoding="utf-8") == mine

    predicted = module(check_mode=True, state="absent", purge=True)
    gone = module(state="absent", purge=True)
    assert predicted["steps"] == gone["steps"]
    assert gone["steps"][-1] == f"put {CONF}.before-wgsd back as {CONF}"
    assert gone["diff"][0]["before"].count("[Peer]") == 2
    assert gone["diff"][0]["after"] == mine.replace(private_key, "(hidden)")
    assert private_key not in module.said
    assert gone["public_key"] == public_key(private_key)
    assert module.file == mine
    assert not copy.exists()
    assert "wg0" not in module.ip("link")
    assert not module(state="absent", purge=True)["changed"]
    assert module.file == mine


def test_an_adopted_file_that_was_never_changed_has_no_copy_and_stays(module):
    mine = f"[Interface]\nPrivateKey = {generate_key()}\nAddress = 10.0.0.254/24\n"
    module.host.path(CONF).write_text(mine, encoding="utf-8")
    assert module(address=["10.0.0.254/24"])["changed"]
    assert not module.host.path(f"{CONF}.before-wgsd").exists()
    module(state="absent", purge=True)
    assert module.file == mine
    assert not module(state="absent", purge=True)["changed"]


def test_absent_stops_the_interface_and_keeps_the_key_unless_purge(module):
    made = module(address=["10.0.0.254/24"])
    gone = module(state="absent")
    assert gone["public_key"] == made["public_key"]
    assert "wg0" not in module.ip("link")
    assert not module(state="absent")["changed"]
    assert module(address=["10.0.0.254/24"])["public_key"] == made["public_key"]
    assert module(check_mode=True, state="absent", purge=True)["changed"]
    module(state="absent", purge=True)
    assert not module.host.path(CONF).exists()
    assert not module.host.path(f"{CONF}.before-wgsd").exists()
    assert not module(state="absent", purge=True)["changed"]


def test_an_interface_that_is_not_ours_stays_up_when_its_mesh_is_said(module):
    """As after an uninstall, when the operator has started again what was put back."""
    mine = f"[Interface]\nPrivateKey = {generate_key()}\nAddress = 10.0.0.254/24\n"
    module.host.path(CONF).write_text(mine, encoding="utf-8")
    leave = {"state": "absent", "purge": True, "instance": ""}
    module.host.run(["/run/bin/systemctl", "start", "wg-quick@wg0"])
    for by_hand in (False, True):
        if by_hand:
            module.host.run(["rm", "/run/units/active"])
        module.systemctl_verbs()
        left = module(**leave)
        assert (left["changed"], left["owned"], left["steps"]) == (False, False, [])
        assert module.systemctl_verbs() == []
        assert module.file == mine
        assert "wg0" in module.ip("link")
    assert "wg-quick down wg0" in module(state="absent")["steps"]


def test_a_prepared_key_goes_with_purge_and_also_if_nothing_else_is_left(module):
    made = {"address": ["10.0.0.254/24"]}
    leave = {"state": "absent", "purge": True, "instance": ""}
    module(**made)
    for is_left in (False, True):
        prepared = module.host.path("/etc/wireguard/wg0.key-next")
        prepared.write_text(f"{generate_key()}\n", encoding="utf-8")
        steps = [] if is_left else ["remove /etc/wireguard/wg0.conf"]
        for check_mode in (True, False):
            gone = module(check_mode=check_mode, **leave)
            told = [step for step in gone["steps"] if step.startswith("remove")]
            assert told == ["remove /etc/wireguard/wg0.key-next", *steps]
        assert not prepared.exists()
        assert not module(**leave)["changed"]


@pytest.mark.parametrize("sign", ["header", "copy", "client", "responder"])
def test_an_interface_of_this_mesh_goes_whichever_sign_there_is_of_that(module, sign):
    if sign != "header":
        text = f"[Interface]\nPrivateKey = {generate_key()}\nAddress = 10.0.0.254/24\n"
        module.host.path(CONF).write_text(text, encoding="utf-8")
    module(address=["10.0.0.254/24"], **({"listen_port": 4500} if sign == "copy" else {}))
    if sign in CONFIGURATIONS:
        module.configure(sign, "-lab", "wg0")
    gone = module(state="absent", purge=True, instance="lab")
    assert gone["owned"]
    assert "wg0" not in module.ip("link")
    again = module(state="absent", purge=True, instance="lab")
    assert not again["changed"]


@pytest.mark.parametrize("daemon", ["client", "responder"])
def test_an_interface_of_another_mesh_is_not_taken_down_either(module, daemon):
    module(address=["10.0.0.254/24"])
    other = module.configure(daemon, "", "wg0")
    failed = module(state="absent", purge=True, instance="lab", fails=True)
    assert f"wg0 has a {daemon} already: /etc/wgsd/{daemon}.yml is there for it" in failed["msg"]
    module.configure(daemon, "-lab", "wg1")
    other.unlink()
    failed = module(state="absent", purge=True, instance="lab", fails=True)
    assert f"/etc/wgsd/{daemon}-lab.yml is there for wg1, not for wg0" in failed["msg"]
    assert "wg0" in module.ip("link")
    assert module.host.path(CONF).exists()


@pytest.mark.parametrize("purge", [False, True])
def test_bad_input_changes_nothing_on_disk_and_on_the_device(module, purge):
    module(address=["10.0.0.254/24"], peers=[peer(BOB, "10.0.0.2/32", name="bob")])
    before = module.file, module.wg("dump")
    twins = [peer(BOB, "10.0.0.2/32"), peer(CAROL, "10.0.0.2/32", name="carol")]
    failed = module(peers=twins, purge=purge, fails=True)
    assert "bob and carol both have the allowed IP 10.0.0.2/32" in failed["msg"]
    assert (module.file, module.wg("dump")) == before


def test_refuses_a_device_that_runs_on_another_key(module):
    module(address=["10.0.0.254/24"])
    text = module.file.replace(module.private_key, generate_key())
    module.host.path(CONF).write_text(text, encoding="utf-8")
    failed = module(listen_port=4500, fails=True)
    assert "runs with the public key" in failed["msg"]
    assert module.file == text


@contextlib.contextmanager
def pings(host: BareHost, address: str) -> t.Iterator[list[str]]:
    """Ping 20 times a second; the list has what ping said, once the block is left."""
    said: list[str] = []
    command = ["ping", "-n", "-i", "0.05", "-W", "1", address]
    process = host.popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield said
    finally:
        process.send_signal(2)
        said.append(process.communicate(timeout=10)[0])


def test_a_living_tunnel_loses_no_packet_and_keeps_its_endpoint(lab, module):
    made = module(
        address=["10.0.0.254/24"], listen_port=51820, peers=[peer(BOB, "10.0.0.9/32", name="bob")]
    )
    alice = lab.host("alice").start_wireguard("wg0", address="10.0.0.1/24")
    alice.set("peer", made["public_key"], "allowed-ips", "10.0.0.254/32")
    alice.set("peer", made["public_key"], "endpoint", f"{lab.registry.address}:51820")
    # Where Alice was, according to the file: her tunnel shows where she is.
    known = peer(alice.public_key, "10.0.0.1/32", name="alice", endpoint="192.0.2.99:51820")
    module(peers=[known])
    lab.host("alice").run(["ping", "-c1", "-W5", "10.0.0.254"])
    endpoint = f"{alice.public_key}\t{lab.host('alice').outside}:51820"
    assert endpoint in module.wg("endpoints")
    handshakes = module.wg("latest-handshakes")
    with pings(lab.host("alice"), "10.0.0.254") as said:
        time.sleep(0.2)
        module(
            mtu=1300,
            address=["10.0.0.254/24", "fd00::fe/64"],
            peers=[known | {"allowed_ips": ["10.0.0.1/32", "192.0.2.0/24"]}],
        )
        module(peers=[peer(CAROL, "10.0.0.3/32")])
        module(peers=[known], purge=True)
    assert " 0% packet loss" in said[0]
    assert endpoint in module.wg("endpoints")
    alices = [line for line in handshakes.splitlines() if line.startswith(alice.public_key)]
    assert module.wg("latest-handshakes").splitlines() == alices


def test_tells_the_preshared_keys_of_its_pairs_and_makes_its_share_of_them(module):
    assert "make the interface first" in module.preshared_keys(BOB, fails=True)["msg"]
    assert module.preshared_keys(BOB, check_mode=True)["preshared_keys"] == {}
    mine = module(address=["10.0.0.254/24"])["public_key"]
    before = module.file
    told = module.preshared_keys(BOB, CAROL, mine)
    assert not told["changed"]
    assert told["public_key"] == mine
    assert set(told["preshared_keys"]) == {other for other in (BOB, CAROL) if mine < other}
    assert module.preshared_keys(BOB, CAROL, check_mode=True)["preshared_keys"] == {}
    assert module.file == before
    shared = generate_key()
    module(peers=[peer(BOB, "10.0.0.2/32", preshared_key=shared)])
    assert module.preshared_keys(BOB)["preshared_keys"] == {BOB: shared}
    assert module.preshared_keys(BOB, check_mode=True)["preshared_keys"] == {BOB: shared}


def test_pings_go_on_while_both_ends_get_a_preshared_key(lab, module):
    alice = lab.host("alice").start_wireguard("wg0", address="10.0.0.1/24")
    known = peer(alice.public_key, "10.0.0.1/32", name="alice")
    made = module(address=["10.0.0.254/24"], listen_port=51820, peers=[known])
    registry = ("peer", made["public_key"])
    whole = ("allowed-ips", "10.0.0.254/32", "endpoint", f"{lab.registry.address}:51820")
    alice.set(*registry, *whole)
    lab.host("alice").run(["ping", "-c1", "-W5", "10.0.0.254"])
    handshakes = module.wg("latest-handshakes")
    shared = generate_key()
    lab.host("alice").path("/run/shared").write_text(shared, encoding="utf-8")
    with pings(lab.host("alice"), "10.0.0.254") as said:
        time.sleep(0.2)
        done = module(peers=[known | {"preshared_key": shared}])
        time.sleep(2)
        alice.set(*registry, "preshared-key", "/run/shared")
        time.sleep(1)
    assert done["steps"] == ["peer alice: set preshared key"]
    assert " 0% packet loss" in said[0]
    assert module.wg("latest-handshakes") == handshakes
    # It counts at the next handshake, which only the right key gets through.
    alice.set(*registry, "remove")
    alice.set(*registry, *whole)
    assert lab.host("alice").run(["ping", "-c1", "-W1", "10.0.0.254"], check=False).returncode
    alice.set(*registry, "remove")
    alice.set(*registry, *whole, "preshared-key", "/run/shared")
    lab.host("alice").run(["ping", "-c1", "-W5", "10.0.0.254"])
