# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wg-quick file: read, edited in place, masked."""

from __future__ import annotations

import base64
import ipaddress

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils._wg_file import WgQuickFile, masked
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit


def key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "big"))


SECRET = base64.b64encode(b"\x42" * 32).decode()
PRESHARED = base64.b64encode(b"\x43" * 32).decode()
ADOPTED = f"""\
# My own file. Hands off!

[interface]
  privatekey={SECRET}   # made in 2019
Address = 10.0.0.1/24,fd00::1/64
Address = 10.9.0.1/32
PostUp = iptables -A FORWARD -i %i -j ACCEPT; echo a=b
Table = 4242
ListenPort=51820

# Bob's laptop
[Peer]
# Name = bob
PublicKey = {key(1)}
AllowedIPs = 10.0.0.2/32
AllowedIPs = 10.7.3.9/16
PersistentKeepalive = off

# Carol
[PEER]
PublicKey = {key(2)}
PresharedKey = {PRESHARED}
Endpoint = carol.example.net:51820
"""


def parse(text: str) -> WgQuickFile:
    return WgQuickFile.parse(text, "/etc/wireguard/wg0.conf")


def test_renders_what_it_read_to_the_byte():
    assert parse(ADOPTED).render() == ADOPTED


def test_reads_settings_in_any_case_lists_on_several_lines_and_comments_after_values():
    settings = parse(ADOPTED).interface_settings()
    assert settings.private_key == SECRET
    assert settings.addresses == tuple(
        map(ipaddress.ip_interface, ("10.0.0.1/24", "fd00::1/64", "10.9.0.1/32"))
    )
    assert (settings.listen_port, settings.table, settings.mtu) == (51820, "4242", None)


def test_reads_peers_as_wg_does():
    bob, carol = parse(ADOPTED).peers().values()
    assert (bob.name, bob.allowed_ips) == ("bob", ("10.0.0.2/32", "10.7.0.0/16"))
    assert bob.persistent_keepalive is None
    assert (carol.name, carol.endpoint) == (None, "carol.example.net:51820")
    assert carol.preshared_key == PRESHARED


def test_setting_a_value_changes_its_line_only_and_keeps_the_comment_on_it():
    file = parse(ADOPTED)
    file.interface.set("ListenPort", "4500")
    file.interface.set("PrivateKey", PRESHARED)
    expected = ADOPTED.replace("ListenPort=51820", "ListenPort = 4500")
    expected = expected.replace(
        f"  privatekey={SECRET}   # made", f"PrivateKey = {PRESHARED} # made"
    )
    assert file.render() == expected


def test_setting_a_list_replaces_all_of_its_lines():
    file = parse(ADOPTED)
    file.interface.set("Address", "10.0.0.1/24")
    assert file.interface.values("address") == ["10.0.0.1/24"]
    assert file.render().count("Address") == 1


def test_a_new_setting_stands_before_the_blank_line_that_ends_the_section():
    file = parse(ADOPTED)
    file.interface.set("MTU", "1420")
    assert "ListenPort=51820\nMTU = 1420\n\n# Bob's laptop" in file.render()


def test_removing_a_peer_takes_the_comment_above_it_and_nothing_else():
    file = parse(ADOPTED)
    file.remove_peers([key(1)])
    start, end = ADOPTED.index("# Bob's"), ADOPTED.index("# Carol")
    assert file.render() == ADOPTED[:start] + ADOPTED[end:]
    file.remove_peers([key(2)])
    assert file.render() == ADOPTED[: start - 1]


def test_adding_and_removing_a_peer_gives_the_file_back():
    file = parse(ADOPTED)
    file.add_peer(key(3)).set_name("dave")
    assert file.render() == ADOPTED + f"\n[Peer]\n# Name = dave\nPublicKey = {key(3)}\n"
    file.remove_peers([key(3)])
    assert file.render() == ADOPTED


def test_a_name_is_changed_where_it_stands():
    file = parse(ADOPTED)
    file.peer_sections()[key(1)].set_name("robert")
    assert file.render() == ADOPTED.replace("# Name = bob", "# Name = robert")


def test_a_copy_is_edited_apart_and_what_was_not_changed_is_not_read_again():
    file = parse(ADOPTED)
    other = file.copy()
    other.peer_sections()[key(1)].set("AllowedIPs", "10.0.0.9/32")
    other.interface.set("MTU", "1300")
    other.add_peer(key(3)).set_name("dave")
    other.remove_peers([key(2)])
    assert file.render() == ADOPTED
    assert file.peers() == parse(ADOPTED).peers()
    assert other.peers() == parse(other.render()).peers()
    assert other.interface_settings() == parse(other.render()).interface_settings()
    assert file.peers()[key(1)] is file.peers()[key(1)]


def test_knows_a_file_of_its_own_by_the_header():
    made = WgQuickFile.new("wg0.conf")
    made.add_peer(key(1))
    assert made.made_here
    assert parse(made.render()).made_here
    assert not parse(ADOPTED).made_here


def test_knows_the_file_from_which_a_hook_loads_the_key():
    file = parse("[Interface]\nPostUp = wg set %i private-key /etc/wireguard/key; true\n")
    assert file.interface_settings().private_key_file == "/etc/wireguard/key"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "exactly one .Interface. section"),
        ("[Interface]\n[Interface]\n", "exactly one"),
        ("Address = 10.0.0.1/24\n[Interface]\n", "wg0.conf:1: not a setting"),
        ("[Interface]\nnonsense\n", "wg0.conf:2: not a setting"),
        ("[Interface]\n[Pear]\n", r"wg0.conf:2: unknown section \[Pear\]"),
        ("[Interface]\nListenPort = 99999\n", "ListenPort .*99999"),
        ("[Interface]\nFwMark = 0xg\n", "FwMark .*0xg"),
        ("[Interface]\nAddress = 10.0.0.300\n", "Address .*10.0.0.300"),
        ("[Interface]\n[Peer]\n", "wg0.conf:2: this .Peer. has no PublicKey"),
        ("[Interface]\n[Peer]\nPublicKey = abc\n", "wg0.conf:2: PublicKey"),
        (
            f"[Interface]\n[Peer]\nPublicKey={key(1)}\n[Peer]\nPublicKey={key(1)}\n",
            "wg0.conf:4: .*the same PublicKey as the one in line 2",
        ),
    ],
)
def test_names_the_line_of_what_wg_quick_would_not_take(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse(text)


def test_a_bad_secret_is_not_repeated_in_the_error():
    with pytest.raises(UsageError) as caught:
        parse("[Interface]\nPrivateKey = hunter2hunter2\n")
    assert "PrivateKey" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_masks_secrets_however_they_are_written_and_tells_that_they_changed():
    after = ADOPTED.replace(PRESHARED, SECRET)
    shown = masked(after, ADOPTED)
    assert SECRET not in shown
    assert PRESHARED not in shown
    assert "privatekey = (hidden)\n" in shown
    assert "PresharedKey = (hidden, changed)\n" in shown
    assert masked(ADOPTED).replace("hidden", "x") == masked(ADOPTED, ADOPTED).replace("hidden", "x")


_LINE = st.sampled_from(
    ["", "# a comment", "   ", "MTU = 1400", "PostUp = x=y # z", "AllowedIPs = 10.0.0.0/8", "\t#"]
)
_SECTION = st.tuples(st.lists(_LINE, max_size=4), st.lists(_LINE, max_size=4))


@given(st.lists(_SECTION, max_size=4), _SECTION)
def test_any_file_survives_reading_and_an_added_and_removed_peer(peers, interface):
    lines = ["[Interface]", *interface[0], *interface[1]]
    for number, (above, below) in enumerate(peers, start=1):
        lines += ["", "[Peer]", *above, f"PublicKey = {key(number)}", *below]
    text = "\n".join(lines) + "\n"
    file = parse(text)
    assert file.render() == text
    file.add_peer(key(99))
    file.remove_peers([key(99)])
    assert file.render().rstrip() == text.rstrip()
    for number in range(1, len(peers) + 1):
        file.remove_peers([key(number)])
    assert parse(file.render()).peers() == {}
