# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_registries."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.filter.mesh_registries import mesh_registries

pytestmark = pytest.mark.unit

HOSTS = {
    "first": {"wgsd_address": "10.0.0.254/24", "wgsd_endpoint": "registry.example.com:51820"},
    "second": {
        "wgsd_address": ["10.0.0.253/24", "fd00::253/64"],
        "wgsd_endpoint": "[2001:DB8::4]:51820",
    },
    "third": {"wgsd_address": "10.0.0.252/24"},
}


def test_returns_each_tunnel_address_with_the_public_endpoint_of_its_host():
    assert mesh_registries(HOSTS, ["second", "first", "third"]) == [
        {"address": "10.0.0.253", "endpoint": "[2001:db8::4]:51820"},
        {"address": "fd00::253", "endpoint": "[2001:db8::4]:51820"},
        {"address": "10.0.0.254", "endpoint": "registry.example.com:51820"},
        {"address": "10.0.0.252"},
    ]


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, "host first has no wgsd_address"),
        ({"wgsd_address": []}, "host first has no wgsd_address"),
        ({"wgsd_address": "tunnel"}, "wgsd_address of host first: .*tunnel"),
        (
            {"wgsd_address": "10.0.0.254/24", "wgsd_endpoint": "registry.example.com"},
            "wgsd_endpoint of host first: .*no port",
        ),
    ],
)
def test_names_host_and_variable_of_a_bad_value(variables, problem):
    with pytest.raises(AnsibleFilterError, match=problem):
        mesh_registries({"first": variables}, ["first"])


@pytest.mark.parametrize(("hosts", "problem"), [("first", "list of names"), (["x"], "no host x")])
def test_refuses_hosts_that_are_none(hosts, problem):
    with pytest.raises(AnsibleFilterError, match=problem):
        mesh_registries(HOSTS, hosts)


def test_tells_the_names_in_the_zone_if_it_is_asked():
    hosts = {
        "r1.example.com": {"wgsd_address": "10.0.0.254/24"},
        "r2": {"wgsd_address": "10.0.0.253/24", "wgsd_name": "second"},
    }
    assert mesh_registries(hosts, list(hosts), names=True) == [
        {"address": "10.0.0.254", "name": "r1"},
        {"address": "10.0.0.253", "name": "second"},
    ]


def test_leaves_out_a_registry_that_leaves():
    hosts = {
        "old": {"wgsd_state": "absent"},
        "new": {"wgsd_address": "10.0.0.253/24"},
    }
    assert mesh_registries(hosts, ["old", "new"]) == [{"address": "10.0.0.253"}]
