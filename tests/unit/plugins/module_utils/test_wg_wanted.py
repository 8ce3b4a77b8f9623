# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of wg_interface: checked, and worked into a file."""

from __future__ import annotations

import base64

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils._wg_file import WgQuickFile
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_wanted import (
    PeerEdits,
    check_options,
    check_own,
    check_private_key,
    edit,
    lasting_port,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Peer

pytestmark = pytest.mark.unit


def key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "big"))


def peer(number: int, **options) -> dict:
    unset = dict.fromkeys(
        (
            *("name", "allowed_ips", "endpoint", "persistent_keepalive", "preshared_key"),
            "former_keys",
        )
    )
    fixed = {"state": "present", "replace": True}
    return {**unset, **fixed, "public_key": key(number).base64, **options}


def absent(number: int | None = None, name: str | None = None) -> dict:
    return peer(number or 1, state="absent", name=name) | ({} if number else {"public_key": None})


def wanted(**options):
    left_out = ("private_key", "address", "listen_port", "mtu", "peers", "keepalive", "fw_mark")
    unset = dict.fromkeys((*left_out, "table", "instance"))
    fixed = {"name": "wg0", "purge": False, "skip_own": False, "state": "present"}
    return check_options({**unset, **fixed, **options})


def file_with(text: str = "") -> WgQuickFile:
    return WgQuickFile.parse(f"[Interface]\n{text}", "wg0.conf")


SECRET = base64.b64encode(b"\x42" * 32).decode()
PRESHARED = base64.b64encode(b"\x43" * 32).decode()
BOB = f"\n[Peer]\n# Name = bob\nPublicKey = {key(1)}\nAllowedIPs = 10.0.0.2/32\n"


def test_writes_an_interface_with_its_peers():
    file = file_with()
    edits = edit(
        file,
        wanted(
            address=["10.0.0.1/24", "fd00::1/64"],
            listen_port=51820,
            mtu=1420,
            peers=[
                peer(
                    1,
                    name="Bob",
                    allowed_ips=["10.0.0.2", "fd00::2/128"],
                    endpoint="[2001:DB8::5]:4500",
                    persistent_keepalive=25,
                    preshared_key=PRESHARED,
                ),
                peer(2),
            ],
        ),
    )
    assert file.render() == (
        "[Interface]\nAddress = 10.0.0.1/24, fd00::1/64\nListenPort = 51820\nMTU = 1420\n\n"
        f"[Peer]\n# Name = bob\nPublicKey = {key(1)}\nPresharedKey = {PRESHARED}\n"
        "AllowedIPs = 10.0.0.2/32, fd00::2/128\nEndpoint = [2001:db8::5]:4500\n"
        f"PersistentKeepalive = 25\n\n[Peer]\nPublicKey = {key(2)}\n"
    )
    assert edits.added == [key(1), key(2)]


def test_the_same_again_changes_nothing_whatever_the_order_and_spelling():
    file = file_with(
        "Address = fd00::1/64\nAddress = 10.0.0.1/24\nListenPort=51820\n\n[Peer]\n"
        f"PublicKey={key(1)}\nAllowedIPs = fd00::2/128,10.0.0.2/32\nPersistentKeepalive=25\n"
    )
    before = file.render()
    again = wanted(
        address=["10.0.0.1/24", "fd00::1/64"],
        listen_port=51820,
        peers=[peer(1, allowed_ips=["10.0.0.2/32", "fd00:0::2/128"], persistent_keepalive=25)],
        purge=True,
    )
    edits = edit(file, again)
    assert file.render() == before
    assert edits == PeerEdits()


def test_leaves_what_is_omitted_and_unknown_peers_as_they_are():
    file = file_with(f"MTU = 1300\n{BOB}PersistentKeepalive = 5\n")
    before = file.render()
    edits = edit(file, wanted(peers=[peer(1), peer(2, allowed_ips=["10.0.0.3/32"])]))
    added = f"\n[Peer]\nPublicKey = {key(2)}\nAllowedIPs = 10.0.0.3/32\n"
    assert file.render() == before + added
    assert edits.changed == []


def test_takes_away_what_is_given_empty():
    file = file_with(f"{BOB}PersistentKeepalive = 5\nEndpoint = 192.0.2.1:9\n")
    empty = peer(1, allowed_ips=[], endpoint="", persistent_keepalive=0, preshared_key="")
    edits = edit(file, wanted(peers=[empty]))
    assert file.render() == f"[Interface]\n\n[Peer]\n# Name = bob\nPublicKey = {key(1)}\n"
    assert edits.changed == [key(1)]


def test_purge_removes_the_peers_that_are_not_listed():
    file = file_with(BOB)
    assert edit(file, wanted(peers=[], purge=True)).removed == [key(1)]
    assert file.render() == "[Interface]\n"


def test_a_new_key_under_a_known_name_takes_the_old_ones_place():
    file = file_with(BOB)
    edits = edit(file, wanted(peers=[peer(2, name="bob", allowed_ips=["10.0.0.2/32"])]))
    assert (edits.removed, edits.added) == ([key(1)], [key(2)])
    assert file.render() == "[Interface]\n" + BOB.replace(key(1).base64, key(2).base64)


@pytest.mark.parametrize("name", ["bob", "Bob", "bobby"])
def test_a_new_key_of_a_host_that_had_the_old_one_gets_all_that_the_file_says_of_it(name):
    """A host that was off while another rotated its key has to keep the secret of the two."""
    own = f"PresharedKey = {PRESHARED}\n# by phone\nPersistentKeepalive = 20\n"
    file = file_with(BOB.replace("bob", name) + own + CAROL)
    former = [key(8).base64, key(1).base64]
    told = peer(9, name="bob", allowed_ips=["10.0.0.2/32"], former_keys=former)
    assert edit(file, wanted(peers=[told])) == PeerEdits(added=[key(9)], removed=[key(1)])
    assert file.render() == "[Interface]\n" + BOB.replace(f"{key(1)}", f"{key(9)}") + own + CAROL
    assert edit(file, wanted(peers=[told])) == PeerEdits()


def test_a_section_goes_to_one_of_two_hosts_that_have_had_its_key():
    """One of them was cloned from the other, and both have had other keys since."""
    file = file_with(BOB + f"PresharedKey = {PRESHARED}\n")
    former = {"former_keys": [key(1).base64]}
    first = peer(8, name="bob", allowed_ips=["10.0.0.2/32"], **former)
    second = peer(9, name="carol", allowed_ips=["10.0.0.3/32"], **former)
    edits = edit(file, wanted(peers=[first, second]))
    assert edits == PeerEdits(added=[key(8), key(9)], removed=[key(1)])
    secrets = {number: file.peers()[key(number)].preshared_key for number in (8, 9)}
    assert secrets == {8: PRESHARED, 9: None}


def test_a_former_key_gives_nothing_to_hearsay_nor_if_it_is_to_go_or_somebodys():
    bob = BOB + f"PresharedKey = {PRESHARED}\n"
    told = peer(9, name="bob", former_keys=[key(1).base64])
    for others in ([absent(1)], [{**peer(1), "name": "carol"}]):
        file = file_with(bob)
        edit(file, wanted(peers=[told, *others]))
        assert file.peers()[key(9)].preshared_key is None
    file = file_with(bob)
    edit(file, wanted(peers=[{**told, "replace": False}]))
    assert file.render() == "[Interface]\n" + bob
    # One that is there has its own secret.
    file = file_with(bob + BOB.replace(f"{key(1)}", f"{key(9)}").replace("0.2/", "0.9/"))
    assert edit(file, wanted(peers=[told])) == PeerEdits(removed=[key(1)])
    assert file.peers()[key(9)].preshared_key is None


CAROL = BOB.replace("bob", "carol").replace(str(key(1)), str(key(2))).replace("0.2/", "0.3/")


@pytest.mark.parametrize(
    "item", [absent(1), absent(name="bob"), absent(name="BOB"), absent(1, name="bob")]
)
def test_an_absent_peer_goes_by_its_key_or_its_name_and_no_other_does(item):
    file = file_with(BOB + CAROL)
    assert edit(file, wanted(peers=[item])) == PeerEdits(removed=[key(1)])
    assert file.render() == "[Interface]\n" + CAROL
    assert edit(file, wanted(peers=[item])) == PeerEdits()


def test_all_peers_that_an_absent_item_names_go():
    file = file_with(BOB + CAROL)
    assert edit(file, wanted(peers=[absent(1, name="carol")])).removed == [key(1), key(2)]


def remembered(number: int, name: str = "bob", **options) -> dict:
    return peer(number, name=name, replace=False, allowed_ips=["10.0.0.2/32"], **options)


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("name", ["bob", "Bob"])
def test_a_key_that_is_to_replace_nobody_leaves_a_peer_of_that_name_as_it_is(name, purge):
    file = file_with(BOB.replace("bob", name))
    before = file.render()
    assert edit(file, wanted(peers=[remembered(2)], purge=purge)) == PeerEdits()
    assert file.render() == before


def test_a_key_that_is_to_replace_nobody_is_added_where_the_name_is_new():
    file = file_with(CAROL)
    assert edit(file, wanted(peers=[remembered(1)])).added == [key(1)]
    assert file.render() == "[Interface]\n" + CAROL + BOB
    # A peer that is there by that very key is changed as any other.
    moved = {**remembered(1), "allowed_ips": ["10.0.0.9/32"]}
    assert edit(file, wanted(peers=[moved])).changed == [key(1)]


def test_a_key_that_is_to_replace_nobody_takes_nothing_from_a_peer_on_the_device_alone():
    device = {key(n): Peer(key(n), allowed_ips=(f"10.0.0.{n}/32",)) for n in (2, 3)}
    file = file_with()
    assert edit(file, wanted(peers=[remembered(1)]), device) == PeerEdits()
    assert edit(file, wanted(peers=[remembered(2)]), device).added == [key(2)]
    going = [remembered(1), absent(2)]
    assert edit(file_with(), wanted(peers=going), device).added == [key(1)]
    assert edit(file_with(), wanted(peers=[remembered(1)], purge=True), device).added == [key(1)]


NEXT = BOB.replace(f"{key(1)}\n", f"{key(1)}\n# Successor = {key(2)}\nPresharedKey = {PRESHARED}\n")
SETTLED = BOB.replace(f"{key(1)}\n", f"{key(2)}\nPresharedKey = {PRESHARED}\n")
TAKEN_OVER = {key(2): Peer(key(2), allowed_ips=("10.0.0.2/32",))}


@pytest.mark.parametrize("peers", [None, [], [remembered(1)], [remembered(2)], [remembered(3)]])
def test_a_next_key_that_has_taken_over_is_the_one_that_counts(peers):
    file = file_with(NEXT)
    edits = edit(file, wanted(peers=peers), TAKEN_OVER)
    assert edits == PeerEdits(added=[key(2)], removed=[key(1)])
    assert file.render() == "[Interface]\n" + SETTLED
    assert edit(file, wanted(peers=peers), TAKEN_OVER) == PeerEdits()


@pytest.mark.parametrize("replace", [False, True])
def test_a_host_that_was_off_while_another_took_its_next_key_keeps_the_preshared_key(replace):
    file = file_with(NEXT)
    booted = {key(1): Peer(key(1), allowed_ips=("10.0.0.2/32",))}
    told = {**remembered(2), "replace": replace}
    assert edit(file, wanted(peers=[told]), booted).added == [key(2)]
    assert file.render() == "[Interface]\n" + SETTLED


def test_an_absent_peer_that_has_taken_its_next_key_goes_by_its_name():
    file = file_with(NEXT)
    edits = edit(file, wanted(peers=[absent(name="bob")]), TAKEN_OVER)
    assert edits == PeerEdits(removed=[key(1), key(2)])
    assert file.render() == "[Interface]\n"


def test_an_absent_peer_may_have_settings_which_are_not_looked_at():
    item = {**absent(name="bob"), "allowed_ips": ["nonsense"], "endpoint": "nonsense"}
    assert wanted(peers=[item]).absent_names == {"bob"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"peers": [peer(1, public_key=None, name="bob")]},
            r"peers\[0\] \(bob\)\.public_key: .*missing",
        ),
        ({"peers": [absent()]}, r"peers\[0\]: nothing tells which peer"),
        ({"peers": [absent(name="bob the peer")]}, r"peers\[0\] \(bob the peer\)\.name"),
        ({"peers": [peer(1, name="bob"), absent(1)]}, "bob is to be present and absent"),
        ({"peers": [peer(1, name="bob"), absent(name="bob")]}, "bob is to be present and absent"),
        ({"name": "wg/0"}, "^name: "),
        ({"name": "a-name-that-is-too-long"}, "^name: "),
        ({"name": "wg0;reboot"}, "^name: "),
        ({"address": ["10.0.0.1/24", "10.0.0.1"]}, r"address\[1\]: .*no prefix length"),
        ({"address": ["10.0.0.1/33"]}, r"address\[0\]: '10\.0\.0\.1/33'"),
        ({"listen_port": 0}, "listen_port: 0 is out of range; give a number from 1 to 65535"),
        ({"listen_port": 99999}, "listen_port: 99999"),
        ({"mtu": 10}, "mtu: 10"),
        ({"fw_mark": "0x"}, "fw_mark: '0x' is not a firewall mark"),
        ({"fw_mark": "-1"}, "fw_mark: "),
        ({"fw_mark": "4294967296"}, "fw_mark: .*give a number up to 0xffffffff, or 'off'"),
        ({"table": "main"}, "table: 'main' is not a routing table"),
        ({"table": "0"}, "table: "),
        ({"instance": "-lab"}, "instance: '-lab' cannot be an instance"),
        ({"table": "4294967296"}, "table: "),
        ({"peers": [peer(1, public_key="abc")]}, r"peers\[0\]\.public_key: 'abc'"),
        ({"peers": [peer(1, name="bob the peer")]}, r"peers\[0\] \(bob the peer\)\.name"),
        (
            {"peers": [peer(1, name="bob", allowed_ips=["10.0.0.2/24"])]},
            r"peers\[0\] \(bob\)\.allowed_ips\[0\]: .*host bits",
        ),
        ({"peers": [peer(1, endpoint="192.0.2.1")]}, r"peers\[0\]\.endpoint: .*no port"),
        ({"peers": [peer(1, endpoint="0.0.0.0:9")]}, r"peers\[0\]\.endpoint: 0\.0\.0\.0"),
        ({"peers": [peer(1, endpoint="bob.example.net:0")]}, r"peers\[0\]\.endpoint: port 0"),
        ({"peers": [peer(1, endpoint="bob\n[Peer]:5")]}, r"peers\[0\]\.endpoint"),
        ({"peers": [peer(1, persistent_keepalive=70000)]}, r"peers\[0\]\.persistent_keepalive"),
        (
            {"peers": [peer(1, name="bob"), peer(1, name="carol")]},
            "bob and carol have the same public key",
        ),
        ({"purge": True}, "purge: there are no peers"),
    ],
)
def test_names_the_option_that_cannot_be_used(options, complaint):
    with pytest.raises(UsageError, match=complaint):
        wanted(**options)


@pytest.mark.parametrize(
    ("before", "options", "after"),
    [
        ("", {"fw_mark": "0x51"}, "FwMark = 0x51\n"),
        ("", {"fw_mark": "81"}, "FwMark = 0x51\n"),
        ("FwMark = 81\n", {"fw_mark": "0x51"}, "FwMark = 81\n"),
        ("FwMark = off\n", {"fw_mark": "0"}, "FwMark = off\n"),
        ("fwmark = 0x51 # ours\n", {"fw_mark": "off"}, ""),
        ("FwMark = 81\n", {}, "FwMark = 81\n"),
        ("", {"table": "4242"}, "Table = 4242\n"),
        ("", {"table": "auto"}, ""),
        ("Table = auto\n", {"table": "auto"}, "Table = auto\n"),
        ("table = 4242\n", {"table": "auto"}, ""),
        # What YAML makes of a bare off.
        ("Table = 4242\n", {"table": "False"}, "Table = off\n"),
        ("Table = 4242\n", {}, "Table = 4242\n"),
    ],
)
def test_mark_and_table_are_changed_only_if_they_mean_something_else(before, options, after):
    file = file_with(before)
    edit(file, wanted(**options))
    assert file.render() == f"[Interface]\n{after}"


def test_a_bad_preshared_key_is_not_repeated_in_the_error():
    with pytest.raises(UsageError) as caught:
        wanted(peers=[peer(1, preshared_key="hunter2hunter2")])
    assert "peers[0].preshared_key" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["", "hunter2hunter2", SECRET[:-4], SECRET[:-2] + "x=", base64.b64encode(bytes(32)).decode()],
)
def test_a_bad_private_key_is_not_repeated_in_the_error(value):
    with pytest.raises(UsageError, match=r"^private_key: not a private key \(") as caught:
        wanted(private_key=value)
    assert not value or value not in str(caught.value)


def test_a_private_key_of_ones_own_is_taken_without_blanks_and_never_printed():
    mine = wanted(private_key=f"{SECRET}\n")
    assert mine.private_key == SECRET
    assert SECRET not in repr(mine)


def test_refuses_another_private_key_than_the_file_has_and_says_what_to_do():
    settings = file_with().interface_settings()
    check_private_key("wg0.conf", settings, None, key(1))
    check_private_key("wg0.conf", settings, key(1), key(1))
    with pytest.raises(UsageError, match=r"wg0.conf has another key.*wgsd\.mesh\.rotate_keys"):
        check_private_key("wg0.conf", settings, key(2), key(1))
    hook = file_with("PostUp = wg set %i private-key /etc/wireguard/key\n").interface_settings()
    with pytest.raises(UsageError, match="loads its key from /etc/wireguard/key"):
        check_private_key("wg0.conf", hook, None, key(1))


def test_names_both_peers_that_would_have_one_allowed_ip():
    both = [
        peer(1, name="bob", allowed_ips=["10.0.0.2/32"]),
        peer(2, name="carol", allowed_ips=["10.0.0.3/32", "10.0.0.2/32"]),
    ]
    with pytest.raises(UsageError, match=r"bob and carol both have the allowed IP 10.0.0.2/32"):
        edit(file_with(), wanted(peers=both))
    with pytest.raises(UsageError, match=r"bob and carol both have the allowed IP 10.0.0.2/32"):
        edit(file_with(BOB), wanted(peers=both[1:]))


def test_refuses_this_host_itself_as_a_peer_by_key_and_by_address():
    file = file_with("Address = 10.0.0.2/24\n" + BOB)
    with pytest.raises(UsageError, match="bob has the public key of this host"):
        check_own(file, key(1))
    with pytest.raises(UsageError, match=r"bob has this host's own tunnel address 10.0.0.2/32"):
        check_own(file, key(9))


def test_leaves_this_host_itself_out_of_its_peers_if_told_so():
    everybody = [peer(n, allowed_ips=[f"10.0.0.{n}/32"]) for n in (1, 2)]
    file = file_with("Address = 10.0.0.1/24\n")
    edits = edit(file, wanted(peers=everybody, skip_own=True, purge=True).for_host(key(1)))
    check_own(file, key(1))
    assert edits.added == [key(2)]
    edit(file, wanted(peers=everybody).for_host(key(1)))
    with pytest.raises(UsageError, match=r"public key of this host.*skip_own"):
        check_own(file, key(1))


def test_gives_this_hosts_keepalive_to_peers_with_an_endpoint_that_have_none() -> None:
    peers = [
        peer(1, endpoint="203.0.113.4:51820"),
        peer(2),
        peer(3, endpoint="203.0.113.5:51820", persistent_keepalive=0),
    ]
    found = wanted(peers=peers, keepalive=25).for_host(None).peers
    assert [one.persistent_keepalive for one in found] == [25, None, 0]


def test_a_new_interface_has_a_port_of_its_own_that_stays_the_same() -> None:
    ports = {lasting_port(host, name) for host in ("alice", "bob") for name in ("wg0", "wg1")}
    assert len(ports) == 4
    assert ports == {lasting_port(h, name) for h in ("alice", "bob") for name in ("wg0", "wg1")}
    assert all(61000 <= port <= 65535 for port in ports)
