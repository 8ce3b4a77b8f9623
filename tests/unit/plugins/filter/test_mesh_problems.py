# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_problems."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.filter.mesh_problems import mesh_problems

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[4]
REGISTRY = {"wgsd_address": "10.0.0.254/24", "wgsd_endpoint": "203.0.113.4:51820"}
ALICE = {"wgsd_address": "10.0.0.1/24"}


def test_says_nothing_of_a_good_mesh():
    assert mesh_problems({"r": REGISTRY, "alice": ALICE}, ["r"], ["alice"], run=["alice"]) == []


def test_names_all_that_is_missing_at_once():
    hosts = {"r": {"wgsd_address": "10.0.0.254/24"}, "alice": {}, "bob": {}}
    address, endpoint = mesh_problems(hosts, ["r"], ["alice", "bob"])
    assert address.startswith("wgsd_address is not set for alice, bob. ")
    assert endpoint.startswith("wgsd_endpoint is not set for r. ")


def test_names_hosts_of_the_run_that_are_in_no_group_and_a_mesh_without_registry():
    none, stranger = mesh_problems({"alice": ALICE, "web": {}}, [], ["alice"], run=["web", "alice"])
    assert "wgsd_registry is empty" in none
    assert stranger.startswith("web: neither of the groups")


def test_names_the_variable_that_cannot_be_used():
    hosts = {"r": REGISTRY, "alice": {**ALICE, "wgsd_allowed_ips": ["10.0.0.300/8"]}}
    (problem,) = mesh_problems(hosts, ["r"], ["alice"])
    assert problem.startswith("wgsd_allowed_ips of host alice: '10.0.0.300/8' is not a network")


def test_names_two_hosts_that_claim_the_same():
    (problem,) = mesh_problems({"r": REGISTRY, "a": ALICE, "b": ALICE}, ["r"], ["a", "b"])
    assert "a and b both claim 10.0.0.1/32" in problem


def test_names_two_zones_of_one_mesh():
    hosts = {"r": {**REGISTRY, "wgsd_zone": "a.example."}, "b": {**ALICE, "wgsd_zone": "B.example"}}
    (problem,) = mesh_problems(hosts, ["r"], ["b"])
    assert "a.example for r, b.example for b" in problem


def test_does_not_look_at_hosts_that_leave():
    hosts = {"r": REGISTRY, "a": ALICE, "b": {**ALICE, "wgsd_state": "absent"}, "c": {}}
    assert mesh_problems(hosts, ["r"], ["a", "b", "c"], removed=["c"]) == []


def test_names_a_state_that_is_none():
    (problem,) = mesh_problems({"r": {**REGISTRY, "wgsd_state": "gone"}}, ["r"], [])
    assert "'gone' is neither present nor absent" in problem


def test_names_the_hosts_of_the_run_whose_variables_are_not_as_their_role_wants_them():
    hosts = {
        "r": {**REGISTRY, "wgsd_secondaries": [{"port": 53}], "wgsd_workers": "many"},
        "a": {**ALICE, "wgsd_keepalive": "often"},
        "b": {"wgsd_address": "10.0.0.2/24", "wgsd_keepalive": "often", "wgsd_workers": "many"},
        "c": {"wgsd_address": "10.0.0.3/24", "wgsd_keepalive": "never"},
    }
    problems = mesh_problems(hosts, ["r"], ["a", "b", "c"], run=["r", "a", "b"])
    workers, secondaries, keepalive = problems
    assert workers.startswith("r: argument 'wgsd_workers' is of type str")
    assert secondaries == (
        "r: missing required arguments: address found in wgsd_secondaries. "
        "See ansible-doc --type role wgsd.mesh.registry."
    )
    assert keepalive.startswith("a, b: argument 'wgsd_keepalive' is of type str")
    assert keepalive.endswith(" See ansible-doc --type role wgsd.mesh.peer.")


def test_counts_hosts_beyond_the_first_that_make_the_same_mistake():
    names = [f"h{number}" for number in range(9)]
    hosts = {
        name: {"wgsd_address": f"10.0.0.{number + 1}/24", "wgsd_firewall": "windows"}
        for number, name in enumerate(names)
    }
    (problem,) = mesh_problems({"r": REGISTRY, **hosts}, ["r"], names, run=names)
    assert problem.startswith("h0, h1, h2, h3, h4 and 4 more: value of wgsd_firewall must be one")


def test_hosts_that_leave_may_have_any_variables():
    hosts = {
        "r": REGISTRY,
        "a": {**ALICE, "wgsd_keepalive": "often"},
        "b": {"wgsd_state": "absent", "wgsd_keepalive": "often"},
    }
    assert mesh_problems(hosts, ["r"], ["a", "b"], run=["r", "a", "b"], removed=["a"]) == []


def test_what_only_the_role_can_resolve_is_left_to_it():
    hosts = {"r": REGISTRY, "a": {**ALICE, "wgsd_keepalive": object(), "wgsd_mtu": None}}
    assert mesh_problems(hosts, ["r"], ["a"], run=["a"]) == []


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("wgsd_preshared_key", "wgsd_preshared_keys"),
        ("wgsd_allowed_ip", "wgsd_allowed_ips"),
        ("wgsd_keep_alive", "wgsd_keepalive"),
        ("wgsd_intreface", "wgsd_interface"),
        ("wgsd_fw_mark", "wgsd_fwmark"),
        ("wgsd_allow_tranfser", "wgsd_allow_transfer"),
        ("wgsd_addresses", "wgsd_address"),
    ],
)
def test_a_misspelt_variable_is_not_taken_for_one_that_is_not_set(misspelt, meant):
    hosts = {"r": REGISTRY, "alice": {**ALICE, misspelt: True}}
    (problem,) = mesh_problems(hosts, ["r"], ["alice"], run=["r", "alice"])
    assert problem.startswith(f"alice: there is no variable {misspelt}. Is {meant} meant? ")
    assert not mesh_problems(hosts, ["r"], ["alice"], run=["r"])


def test_no_variable_of_the_collection_is_taken_for_a_misspelt_one():
    """Those of the playbooks and those that the roles set are in no argument spec."""
    files = [*(PROJECT / "playbooks").glob("*.yml"), *(PROJECT / "roles").rglob("*.yml")]
    names = {n for file in files for n in re.findall(r"\bwgsd_[a-z_]+", file.read_text())}
    assert len(names) > 50
    specs = [*(PROJECT / "roles").glob("*/meta/argument_specs.yml")]
    options = re.findall(r"^ +(wgsd_\w+):$", "".join(f.read_text() for f in specs), re.MULTILINE)
    others = {"wgsd_site": "Vienna", **dict.fromkeys(names.difference(options), "")}
    assert {"wgsd_public_key", "wgsd_rotate", "wgsd_hosts"} < set(others)
    hosts = {"r": REGISTRY, "alice": {**ALICE, **others}}
    assert not mesh_problems(hosts, ["r"], ["alice"], run=["r", "alice"])


def test_names_an_option_that_there_is_none_of():
    hosts = {"r": {**REGISTRY, "wgsd_secondaries": [{"address": "192.0.2.1", "prot": 53}]}}
    (problem,) = mesh_problems(hosts, ["r"], [], run=["r"])
    assert problem.startswith("r: unsupported: wgsd_secondaries.prot. Supported parameters include")
