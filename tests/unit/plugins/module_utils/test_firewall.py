# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is opened in which firewall: the rules, what changes, and what is left alone."""

from __future__ import annotations

import pathlib

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import (
    _firewall,
    _firewall_firewalld,
    _firewall_nftables,
    _firewall_ufw,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._interface_name import check_interface
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError

pytestmark = pytest.mark.unit

CHAIN = "inet filter input"
CONF = "flush ruleset\ntable inet filter {\n}\n"
LISTING = """\
table inet filter { # handle 1
\tset names {
\t\ttype ipv4_addr
\t\tcomment "wgsd wg0"
\t}

\tchain input { # handle 1
\t\ttype filter hook input priority filter; policy drop;
\t\tudp dport 51820 accept comment "wgsd wg0" # handle 5
\t\tudp dport 51821 accept comment "wgsd wg01" # handle 6
\t\tct state established accept # handle 2
\t}

\tchain forward { # handle 3
\t\ttype filter hook forward priority filter; policy drop;
\t\tiifname "wg0" accept comment "wgsd wg0" # handle 7
\t}
}
table ip nat { # handle 2
\tchain input { # handle 1
\t}
}
"""
ADDED = """\
Added user rules (see 'ufw status' for running firewall):
ufw allow 22/tcp
ufw allow 51820/udp comment 'wgsd wg0'
ufw limit log 443/tcp comment 'the shop'
ufw allow in on wg0 to any port 53 proto udp comment 'wgsd wg0'
"""
ZONE = """\
public (default, active)
  target: default
  icmp-block-inversion: no
  interfaces: eth0 eth1
  sources:
  services: dhcpv6-client ssh
  ports: 51820/udp 80/tcp
  protocols:
  rich rules:
\trule family="ipv4" destination address="10.0.0.254" port port="53" protocol="udp" accept
"""


def opened(interface="wg0", listen_port=51820, dns=False, trust_interface=False):
    return _firewall.openings(interface, listen_port, dns=dns, trust_interface=trust_interface)


def nft_rules(*chains, **options):
    return _firewall_nftables.rules(chains or (CHAIN,), opened(**options), "wg0")


def ufw_words(**options):
    return list(map(_firewall_ufw.words, opened(**options)))


def test_dns_is_opened_by_the_tunnel_alone():
    assert [one.interface for one in opened(dns=True) if one.port == 53] == ["wg0", "wg0"]


def test_a_trusted_tunnel_needs_no_opening_for_dns():
    assert opened(listen_port=None, dns=True, trust_interface=True) == (_firewall.Opening("wg0"),)


def test_without_a_port_nothing_is_opened_for_everybody():
    assert opened(listen_port=None) == ()


@pytest.mark.parametrize("port", [0, 65536])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(UsageError, match="listen_port"):
        opened(listen_port=port)


@pytest.mark.parametrize("name", ["wg*", "wg+", 'wg"', "", "-wg", "sixteen-letters-"])
def test_an_interface_that_a_firewall_takes_for_a_pattern_is_refused(name):
    with pytest.raises(UsageError, match="interface"):
        check_interface(name)


def test_of_two_equal_rules_one_is_too_much():
    assert _firewall.difference(["a", "a", "b"], ["a", "c"]) == _firewall.Change(("c",), ("a", "b"))


# nftables


def test_nftables_rules_are_spelled_as_nft_lists_them():
    assert [rule.text for rule in nft_rules(dns=True)] == [
        'udp dport 51820 accept comment "wgsd wg0"',
        'iifname "wg0" udp dport 53 accept comment "wgsd wg0"',
        'iifname "wg0" tcp dport 53 accept comment "wgsd wg0"',
    ]
    assert [rule.text for rule in nft_rules(listen_port=None, trust_interface=True)] == [
        'iifname "wg0" accept comment "wgsd wg0"'
    ]


def test_own_nftables_rules_are_found_by_their_comment_in_every_chain():
    loaded = _firewall_nftables.parse(LISTING, "wg0")
    assert [(rule.chain, rule.handle) for rule in loaded.rules] == [
        (CHAIN, 5),
        ("inet filter forward", 7),
    ]


def test_the_chains_that_decide_about_incoming_packets_are_known():
    loaded = _firewall_nftables.parse(LISTING, "wg0")
    assert loaded.chains == (CHAIN, "inet filter forward", "ip nat input")
    assert loaded.input_chains == (CHAIN,)


def test_only_the_difference_to_the_loaded_rules_is_made():
    loaded = _firewall_nftables.parse(LISTING, "wg0")
    change = _firewall.difference(loaded.rules, nft_rules(dns=True))
    assert _firewall_nftables.script(change.added, change.removed).splitlines() == [
        "delete rule inet filter forward handle 7",
        'insert rule inet filter input iifname "wg0" udp dport 53 accept comment "wgsd wg0"',
        'insert rule inet filter input iifname "wg0" tcp dport 53 accept comment "wgsd wg0"',
    ]


def test_two_chains_get_the_same_rules():
    rules = nft_rules("ip filter input", "ip6 filter input")
    assert [rule.chain for rule in rules] == ["ip filter input", "ip6 filter input"]


def test_a_chain_is_written_with_any_spaces():
    assert _firewall_nftables.check_chain(" inet  filter input ") == CHAIN


@pytest.mark.parametrize("text", ["input", "bridge filter input", "inet filter in;put", ""])
def test_what_is_no_chain_is_refused(text):
    with pytest.raises(UsageError, match="inet filter input"):
        _firewall_nftables.check_chain(text)


def test_no_rules_need_no_file():
    assert _firewall_nftables.file_text([], "wg0") == ""


def test_the_file_has_the_same_rules_as_what_is_loaded():
    text = _firewall_nftables.file_text(nft_rules(dns=True), "wg0")
    commands = [line for line in text.splitlines() if not line.startswith("#")]
    assert commands == [f"insert rule {rule}" for rule in nft_rules(dns=True)]


WG0, WG1 = map(_firewall_nftables.file_path, ("wg0", "wg1"))
INCLUDE = _firewall_nftables.INCLUDE


def test_the_include_is_appended_once():
    once = _firewall_nftables.with_include(CONF, [WG0])
    assert once == f"{CONF}{INCLUDE}\n"
    assert _firewall_nftables.with_include(once, [WG0, WG1]) == once


def test_the_include_begins_a_line_of_its_own():
    conf = _firewall_nftables.with_include(CONF.rstrip("\n"), [WG0])
    assert conf == f"{CONF}{INCLUDE}\n"


@pytest.mark.parametrize("pattern", ["/etc/nftables.d/*.nft", "nftables.d/*", str(WG0)])
def test_an_include_of_the_operator_s_is_enough(pattern):
    conf = f'{CONF}include "{pattern}"\n'
    assert _firewall_nftables.with_include(conf, [WG0]) == conf
    assert _firewall_nftables.with_include(f"{conf}{INCLUDE}\n", [WG0]) == conf


def test_an_include_that_names_another_file_is_not_enough():
    conf = f'{CONF}# include "{WG0}"\ninclude "{WG1}"\n'
    assert _firewall_nftables.with_include(conf, [WG0]) == f"{conf}{INCLUDE}\n"


def test_the_include_goes_when_nobody_needs_it_and_leaves_the_rest_as_it_was():
    conf = f"{CONF}{INCLUDE}\n# more\n"
    assert _firewall_nftables.with_include(conf, [WG1]) == conf
    assert _firewall_nftables.with_include(conf, []) == f"{CONF}# more\n"


def test_a_folder_that_the_operator_includes_is_not_ours():
    assert _firewall_nftables.mentions_folder('include "/etc/nftables.d/*.nft"\n')
    assert not _firewall_nftables.mentions_folder(CONF)


# ufw


def test_ufw_rules_are_spelled_as_ufw_lists_them():
    assert ufw_words(dns=True) == [
        "allow 51820/udp",
        "allow in on wg0 to any port 53 proto udp",
        "allow in on wg0 to any port 53 proto tcp",
    ]
    assert ufw_words(listen_port=None, trust_interface=True) == ["allow in on wg0"]


def test_ufw_gets_what_it_lacks_and_loses_what_is_no_longer_wanted():
    rules = _firewall_ufw.parse(ADDED)
    assert _firewall_ufw.plan(rules, ufw_words(dns=True), "wgsd wg0") == _firewall.Change(
        ("allow in on wg0 to any port 53 proto tcp",), ()
    )
    assert _firewall_ufw.plan(rules, [], "wgsd wg0").removed == (
        "allow 51820/udp",
        "allow in on wg0 to any port 53 proto udp",
    )


def test_rules_of_another_interface_are_left_alone():
    change = _firewall_ufw.plan(_firewall_ufw.parse(ADDED), [], "wgsd wg1")
    assert not change


@pytest.mark.parametrize(
    "rule", ["allow 51820/udp", "allow log 51820/udp", "allow 51820/udp comment 'VPN'"]
)
def test_an_opening_that_the_operator_made_is_not_taken_over(rule):
    rules = _firewall_ufw.parse(f"ufw {rule}\n")
    assert not _firewall_ufw.plan(rules, ufw_words(), "wgsd wg0")
    assert not _firewall_ufw.plan(rules, [], "wgsd wg0")


@pytest.mark.parametrize("rule", ["deny 51820/udp", "limit log 51820/udp"])
def test_a_rule_in_the_way_is_named_with_the_command_that_removes_it(rule):
    with pytest.raises(UsageError, match=f"ufw delete {rule}"):
        _firewall_ufw.plan(_firewall_ufw.parse(f"ufw {rule}\n"), ufw_words(), "wgsd wg0")


# firewalld


def firewalld_entries(addresses=("10.0.0.254",), interface_zone="public", **options):
    return _firewall_firewalld.entries(opened(**options), "public", interface_zone, list(addresses))


def test_firewalld_gets_everything_on_the_disk_and_in_the_running_firewall():
    assert [entry.options("add") for entry in firewalld_entries()] == [
        ["--permanent", "--zone=public", "--add-port=51820/udp"],
        ["--zone=public", "--add-port=51820/udp"],
    ]


def test_dns_is_opened_for_the_tunnel_s_addresses_in_the_zone_that_it_is_in():
    addresses = ("10.0.0.254", "fd00::254")
    found = firewalld_entries(addresses, "internal", listen_port=None, dns=True)
    assert {entry.zone for entry in found} == {"internal"}
    assert {entry.value for entry in found} == {
        f'rule family="{family}" destination address="{address}" '
        f'port port="53" protocol="{protocol}" accept'
        for family, address in zip(("ipv4", "ipv6"), addresses)
        for protocol in ("udp", "tcp")
    }


def test_a_trusted_tunnel_is_bound_to_the_zone_that_trusts():
    found = firewalld_entries(listen_port=None, trust_interface=True)
    assert {(entry.zone, entry.kind, entry.value) for entry in found} == {
        ("trusted", "interface", "wg0")
    }


def test_what_a_zone_has_is_read():
    rule = 'rule family="ipv4" destination address="10.0.0.254" '
    found = _firewall_firewalld.parse_zone(ZONE, "public", permanent=True)
    assert {(entry.kind, entry.value) for entry in found} == {
        ("interface", "eth0"),
        ("interface", "eth1"),
        ("port", "51820/udp"),
        ("port", "80/tcp"),
        ("rich-rule", f'{rule}port port="53" protocol="udp" accept'),
    }


def test_an_opening_that_was_there_before_is_never_removed():
    wanted = firewalld_entries()
    disk, running = wanted
    first = _firewall_firewalld.plan({disk}, wanted, ())
    assert first.change.added == first.record == (running,)
    last = _firewall_firewalld.plan({disk, running}, [], first.record)
    assert last.change.removed == (running,)
    assert last.record == ()


def test_what_is_recorded_and_was_removed_by_hand_is_added_again():
    wanted = firewalld_entries()
    again = _firewall_firewalld.plan(set(), wanted, wanted)
    assert set(again.change.added) == set(again.record) == set(wanted)


def test_a_record_is_read_as_it_was_written():
    wanted = firewalld_entries(dns=True)
    text = _firewall_firewalld.dump_record(wanted)
    assert set(_firewall_firewalld.load_record(text, pathlib.Path("record"))) == set(wanted)
    assert _firewall_firewalld.dump_record([]) == ""


def test_a_damaged_record_is_an_error_that_names_it():
    with pytest.raises(UsageError, match="record: is damaged"):
        _firewall_firewalld.load_record("[{]", pathlib.Path("record"))


def test_addresses_of_the_link_alone_are_not_the_tunnel_s():
    listing = """[{"addr_info": [{"local": "10.0.0.254", "scope": "global"},
        {"local": "fe80::1", "scope": "link"}]}]"""
    assert _firewall_firewalld.parse_addresses(listing) == ["10.0.0.254"]
