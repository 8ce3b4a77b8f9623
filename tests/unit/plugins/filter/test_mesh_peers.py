# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_peers."""

from __future__ import annotations

import base64
import time

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.filter.mesh_peers import mesh_peers
from ansible_collections.wgsd.mesh.plugins.plugin_utils._mesh import default_name

pytestmark = pytest.mark.unit


def key(number: int) -> str:
    return base64.b64encode(number.to_bytes(32, "big")).decode()


def mesh(**changes: dict) -> dict:
    hosts = {
        "registry": {
            "wgsd_address": "10.0.0.254/24",
            "wgsd_public_key": key(1),
            "wgsd_endpoint": "203.0.113.4:51820",
        },
        "alice.example.net": {"wgsd_address": ["10.0.0.1/24", "fd00::1/64"]},
        "bob": {"wgsd_address": "10.0.0.2/24", "wgsd_public_key": key(3)},
    }
    for host, variables in changes.items():
        hosts.setdefault(host, {}).update(variables)
    return hosts


def test_returns_hosts_with_a_key_with_their_addresses_and_networks():
    hosts = mesh(bob={"wgsd_allowed_ips": ["192.0.2.0/24"], "wgsd_name": "Bobby"})
    assert mesh_peers(hosts, list(hosts), exclude="alice.example.net") == [
        {
            "public_key": key(1),
            "name": "registry",
            "allowed_ips": ["10.0.0.254/32"],
            "endpoint": "203.0.113.4:51820",
        },
        {"public_key": key(3), "name": "bobby", "allowed_ips": ["10.0.0.2/32", "192.0.2.0/24"]},
    ]


def test_tells_the_keys_that_a_host_has_had_before():
    hosts = mesh(bob={"wgsd_former_keys": [key(5), key(4)]}, registry={"wgsd_former_keys": []})
    registry, bob = mesh_peers(hosts, ["registry", "bob"])
    assert "former_keys" not in registry
    assert bob["former_keys"] == [key(5), key(4)]


def test_takes_a_host_name_as_an_endpoint():
    hosts = mesh(registry={"wgsd_endpoint": "registry.example.com:51820"})
    (registry,) = mesh_peers(hosts, ["registry"])
    assert registry["endpoint"] == "registry.example.com:51820"


def test_gives_a_keepalive_only_to_peers_that_have_an_endpoint():
    hosts = mesh()
    registry, bob = mesh_peers(hosts, list(hosts), keepalive=25)
    assert registry["persistent_keepalive"] == 25
    assert "persistent_keepalive" not in bob


def test_leaves_out_hosts_whose_key_is_not_known_and_the_excluded_one():
    hosts = mesh()
    assert [p["name"] for p in mesh_peers(hosts, list(hosts), exclude="bob")] == ["registry"]


def test_takes_both_families_of_a_tunnel_address():
    hosts = mesh(**{"alice.example.net": {"wgsd_public_key": key(2)}})
    (alice,) = mesh_peers(hosts, ["alice.example.net"])
    assert alice["allowed_ips"] == ["10.0.0.1/32", "fd00::1/128"]
    assert alice["name"] == "alice"


def test_counts_a_host_of_two_groups_once():
    hosts = mesh()
    assert len(mesh_peers(hosts, ["bob", "registry", "bob"])) == 2


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"wgsd_address": "10.0.0.1/24"}, r"alice\.example\.net and carol both claim 10\.0\.0\.1"),
        ({"wgsd_address": ["10.0.0.9/24", "fd00::1/64"]}, "alice.example.net and carol both claim"),
        (
            {"wgsd_allowed_ips": ["10.0.0.0/30"]},
            "carol and .* both claim 10.0.0.1/32 .*10.0.0.0/30",
        ),
        ({"wgsd_public_key": key(3)}, "bob and carol have the same public key"),
        ({"wgsd_name": "BOB"}, "bob and carol have the same name bob"),
    ],
)
def test_names_both_hosts_that_collide_even_if_one_is_excluded(variables, complaint):
    hosts = mesh(carol={"wgsd_address": "10.0.0.3/24"} | variables)
    with pytest.raises(AnsibleFilterError, match=complaint):
        mesh_peers(hosts, list(hosts), exclude="carol")


def test_finds_an_overlap_behind_a_block_that_is_nested_in_another_ones():
    hosts = {
        "a": {"wgsd_allowed_ips": ["10.0.0.0/8", "10.1.0.0/16"]},
        "b": {"wgsd_allowed_ips": ["10.200.0.0/16"]},
    }
    with pytest.raises(AnsibleFilterError, match=r"a and b both claim 10\.200\.0\.0/16"):
        mesh_peers(hosts, list(hosts))


def test_one_host_may_hold_the_default_route_but_not_two():
    hosts = mesh(bob={"wgsd_allowed_ips": ["0.0.0.0/0"]})
    bob = mesh_peers(hosts, list(hosts))[1]
    assert bob["allowed_ips"] == ["10.0.0.2/32", "0.0.0.0/0"]
    hosts = mesh(
        bob={"wgsd_allowed_ips": ["0.0.0.0/0"]}, registry={"wgsd_allowed_ips": ["0.0.0.0/0"]}
    )
    with pytest.raises(AnsibleFilterError, match=r"both claim 0\.0\.0\.0/0"):
        mesh_peers(hosts, list(hosts))


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"wgsd_public_key": "short"}, "wgsd_public_key of host bob"),
        ({"wgsd_address": "10.0.0.300/24"}, "wgsd_address of host bob"),
        ({"wgsd_address": ""}, "host bob has no wgsd_address"),
        ({"wgsd_allowed_ips": ["10.0.0.1/24"]}, "wgsd_allowed_ips of host bob"),
        ({"wgsd_endpoint": "203.0.113.4"}, "wgsd_endpoint of host bob"),
        ({"wgsd_name": "bob the peer"}, "wgsd_name of host bob"),
    ],
)
def test_names_host_and_variable_of_a_bad_value(variables, complaint):
    with pytest.raises(AnsibleFilterError, match=complaint):
        mesh_peers(mesh(bob=variables), ["bob"])


def test_names_a_host_that_the_inventory_does_not_have():
    with pytest.raises(AnsibleFilterError, match="no host nobody"):
        mesh_peers(mesh(), ["nobody"])


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("alice", "alice"),
        ("Web_1.example.com", "web-1"),
        ("192.0.2.7", "192-0-2-7"),
        ("2001:db8::1", "2001-db8--1"),
        ("___", "peer"),
    ],
)
def test_makes_a_name_of_the_inventory_name(host, name):
    assert default_name(host) == name


def test_the_work_grows_with_the_hosts_and_not_with_their_square():
    def cost(number):
        hosts = {
            f"h{n}": {"wgsd_address": f"10.{n >> 8}.{n & 255}.1/8", "wgsd_public_key": key(n)}
            for n in range(1, number + 1)
        }
        start = time.process_time()
        assert len(mesh_peers(hosts, list(hosts), exclude="h1")) == number - 1
        return time.process_time() - start

    # Ten times the hosts: ten times the work if linear, a hundred times if not.
    assert cost(10_000) < 40 * cost(1_000)


def test_takes_the_key_of_a_host_that_is_not_in_this_run_from_what_is_known():
    hosts = mesh()
    known = [
        {"name": "alice", "public_key": key(2)},
        # What this run says counts, and who has that key already is not another host.
        {"name": "bob", "public_key": key(9)},
        {"name": "registry", "public_key": key(3)},
        {"name": None, "public_key": key(5)},
    ]
    peers = mesh_peers(hosts, list(hosts), known=known)
    assert {p["name"]: p["public_key"] for p in peers} == {
        "registry": key(1),
        "alice": key(2),
        "bob": key(3),
    }


def test_only_a_key_of_this_run_takes_the_place_of_another():
    hosts = mesh()
    peers = mesh_peers(hosts, list(hosts), known=[{"name": "Alice", "public_key": key(2)}])
    assert {p["name"]: p.get("replace") for p in peers} == {
        "registry": None,
        "alice": False,
        "bob": None,
    }


def test_a_host_that_is_known_by_two_keys_is_left_out():
    hosts = mesh()
    known = [{"name": "alice", "public_key": key(n)} for n in (2, 2, 4)]
    assert [p["name"] for p in mesh_peers(hosts, list(hosts), known=known)] == ["registry", "bob"]
    same = mesh_peers(hosts, list(hosts), known=known[:2])
    assert [p["name"] for p in same] == ["registry", "alice", "bob"]


def test_a_host_that_was_removed_does_not_come_back_by_what_is_known():
    known = [{"name": "carol", "public_key": key(n)} for n in (7, 8)]
    hosts = mesh()
    assert "carol" not in {p["name"] for p in mesh_peers(hosts, list(hosts), known=known)}
    hosts = mesh(carol={"wgsd_state": "absent"})
    # By whichever of its keys somebody may still have it.
    assert mesh_peers(hosts, ["carol"], known=known) == [
        {"name": "carol", "state": "absent", "public_key": key(7)},
        {"name": "carol", "state": "absent", "public_key": key(8)},
    ]


def test_removes_hosts_that_are_to_be_absent_by_name_and_key():
    hosts = mesh(bob={"wgsd_state": "absent"}, carol={"wgsd_address": "10.0.0.2/24"})
    assert mesh_peers(hosts, list(hosts), exclude="registry") == [
        {"name": "bob", "state": "absent", "public_key": key(3)}
    ]


def test_removes_hosts_of_this_run_and_peers_whose_host_is_no_longer_in_the_inventory():
    hosts = mesh()
    peers = mesh_peers(hosts, list(hosts), exclude="registry", removed=["bob", "Dave.example.net"])
    assert peers == [
        {"name": "bob", "state": "absent", "public_key": key(3)},
        {"name": "dave", "state": "absent"},
    ]


def test_lets_a_host_take_over_the_name_of_one_that_leaves():
    hosts = mesh(bob={"wgsd_state": "absent"}, bob2={"wgsd_name": "bob", "wgsd_public_key": key(4)})
    hosts["bob2"]["wgsd_address"] = "10.0.0.2/24"
    assert mesh_peers(hosts, list(hosts), exclude="registry") == [
        {"public_key": key(4), "name": "bob", "allowed_ips": ["10.0.0.2/32"]}
    ]
