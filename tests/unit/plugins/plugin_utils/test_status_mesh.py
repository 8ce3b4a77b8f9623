# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh out of what its hosts tell, and what is found to be wrong with it."""

from __future__ import annotations

import json
import time
import typing as t

import pytest

pytest.importorskip("ansible")

import hypothesis
from ansible_collections.wgsd.mesh.plugins.plugin_utils import (
    _status,
    _status_page,
    _status_problems,
    _status_text,
)
from ansible_collections.wgsd.mesh.plugins.plugin_utils._status import Answer
from hypothesis import strategies as st

from tests.unit.plugins.plugin_utils.meshes import NOW, Fleet, key_of, peer, told

pytestmark = pytest.mark.unit


def problems(fleet: Fleet) -> list[_status_problems.Problem]:
    return _status_problems.find_problems(fleet.mesh())


def texts(fleet: Fleet, severity: str = "") -> list[str]:
    return [p.text for p in problems(fleet) if not severity or p.severity == severity]


def kinds(fleet: Fleet) -> list[str]:
    return [problem.kind for problem in problems(fleet)]


def test_a_mesh_that_is_well_has_no_problems():
    fleet = Fleet("alice", "bob")
    mesh = fleet.mesh()
    assert problems(fleet) == []
    assert [node.label for node in mesh.nodes] == ["registry", "alice", "bob"]
    assert mesh.zones == ("example.com.",)
    assert mesh.pairs == {"direct": 1}
    entry = mesh.nodes[1].entries[2]
    assert (entry.state, entry.since, entry.handshake_age, entry.rtt) == (
        "direct",
        7500.0,
        29.0,
        0.018,
    )
    assert entry.endpoint_source == "its own packets"


def test_a_host_alone_is_a_mesh():
    fleet = Fleet()
    mesh = fleet.mesh()
    assert (len(mesh.nodes), mesh.links, kinds(fleet)) == (1, [], [])
    assert "no pair of peers known" in _status_text.headline(mesh)


def test_a_mesh_without_any_host_is_empty():
    mesh = _status.assemble([], NOW)
    assert _status_problems.find_problems(mesh) == []
    assert "0 hosts" in _status_text.render(mesh, [])
    assert "<h1>Mesh</h1>" in _status_page.render(mesh, [])


def test_hosts_are_sorted_as_people_do_registries_first():
    fleet = Fleet("peer10", "peer2", "alice")
    labels = [node.label for node in fleet.mesh().nodes]
    assert labels == ["registry", "alice", "peer2", "peer10"]


def test_a_host_that_does_not_answer_is_told_once_with_what_the_others_say():
    fleet = Fleet("alice", "bob", "carol")
    fleet.lose("carol", message="Connection\ntimed out")
    (text,) = texts(fleet)
    assert text == (
        "carol cannot be reached by Ansible, and nobody has a tunnel to it (3 of 3 say so):"
        " Connection timed out"
    )


def test_a_host_that_only_ansible_does_not_reach_is_told_apart():
    fleet = Fleet("alice", "bob")
    fleet.lose("bob")
    fleet.see("alice", "bob", "direct")
    fleet.see("registry", "bob", "direct")
    (text,) = texts(fleet)
    assert "though 2 of 2 hosts have a tunnel to it" in text


def test_a_host_without_an_answer_is_recognised_by_its_name():
    fleet = Fleet("alice", "bob")
    fleet.lose("bob")
    mesh = fleet.mesh()
    assert mesh.hosts == len(mesh.nodes)
    assert mesh.nodes[2].public_key == key_of("bob")


def test_hosts_that_were_not_asked_are_a_note():
    fleet = Fleet("alice", "bob")
    fleet.outcomes["bob"] = ("not asked", "")
    del fleet.answers["bob"]
    (problem,) = problems(fleet)
    assert (problem.severity, problem.text) == ("note", "bob was not asked")


def test_ends_that_do_not_agree_are_told_with_both_views():
    fleet = Fleet("alice", "bob")
    fleet.see("bob", "alice", "stale", since=NOW - 60)
    (problem,) = problems(fleet)
    assert (problem.severity, problem.kind) == ("warning", "one-sided")
    assert problem.text == "alice sees bob direct for 2 h 5 m, and bob sees alice stale for 1 m"
    assert fleet.mesh().pairs == {"one-sided": 1}


def test_a_pair_without_a_tunnel_is_told_with_the_reasons():
    fleet = Fleet("alice", "bob")
    fleet.cut("alice", "bob")
    (problem,) = problems(fleet)
    assert (problem.severity, problem.kind) == ("error", "down")
    assert "alice and bob have no tunnel" in problem.text
    assert problem.text.count("no handshake with 192.0.2.30:40112") == 2


def test_a_pair_that_is_being_tried_is_no_error_yet():
    fleet = Fleet("alice", "bob")
    fleet.cut("alice", "bob", "punching")
    (problem,) = problems(fleet)
    assert (problem.severity, problem.kind) == ("warning", "tried")


def test_a_host_that_many_do_not_reach_is_told_once():
    fleet = Fleet.of(12)
    for number in range(2, 9):
        fleet.cut("peer1", f"peer{number}")
    fleet.cut("peer10", "peer11")
    one, other = texts(fleet)
    assert one.startswith("peer1 has no tunnel to 7 of 11 hosts (7 unreachable): peer2, peer3")
    assert other.startswith("peer10 and peer11 have no tunnel")


def test_who_has_lost_the_registry_says_so_and_nothing_is_told_twice():
    fleet = Fleet("alice", "bob")
    fleet.see("alice", "registry", "stale")
    assert texts(fleet) == ["alice has no tunnel to the registry registry"]


def test_a_registry_that_nobody_reaches_comes_first():
    fleet = Fleet("alice", "bob")
    for name in ("alice", "bob"):
        fleet.cut("registry", name)
    assert texts(fleet)[0].startswith("nobody has a tunnel to the registry registry (2 of 2")


def test_a_client_that_does_not_run_is_an_error_told_once():
    fleet = Fleet("alice", "bob")
    fleet.part("alice").update(
        agent=False, directory=None, client={"version": None, "problem": "the client has ended"}
    )
    fleet.answers["alice"]["problems"] = ["wg0: the client has ended, and client.yml is there"]
    (text,) = texts(fleet)
    assert text.startswith("alice: the client has ended")


def test_a_registry_needs_no_client_unless_it_has_one_configured():
    fleet = Fleet("alice")
    assert fleet.part("registry")["client"]["problem"] == "no client has reported"
    assert kinds(fleet) == []
    complaint = "wg0: no client has reported, and /etc/wgsd/client.yml is there"
    fleet.answers["registry"]["problems"] = [complaint]
    assert texts(fleet, "warning") == [f"registry: {complaint}"]


def test_a_responder_that_does_not_run_and_one_that_is_missing_are_errors():
    fleet = Fleet("alice")
    fleet.part("registry")["responder"] = {"report": None, "problem": "there is no report"}
    assert texts(fleet) == ["the registry registry: there is no report"]
    fleet.part("registry")["responder"] = None
    assert texts(fleet) == ["the registry registry: no responder is configured for wg0"]


def test_commands_are_for_the_units_of_the_mesh():
    fleet = Fleet("alice")
    gone = {"version": None, "problem": "the client has ended"}
    fleet.part("alice").update(agent=False, directory=None, client=gone)
    fleet.part("registry")["responder"] = {"report": None, "problem": "there is no report"}
    remedies = {problem.kind: problem.remedy for problem in problems(fleet)}
    assert remedies["no-client"].endswith("status wgsd-client; journalctl -u wgsd-client")
    assert remedies["no-responder"].endswith("status wgsd-responder; journalctl -u wgsd-responder")
    fleet.instances.update(alice="lab", registry="lab")
    remedies = {problem.kind: problem.remedy for problem in problems(fleet)}
    assert "systemctl status wgsd-client@lab; " in remedies["no-client"]
    assert "systemctl status wgsd-responder@lab; " in remedies["no-responder"]
    fleet.part("registry")["responder"]["instance"] = "other"
    remedies = {problem.kind: problem.remedy for problem in problems(fleet)}
    assert remedies["no-responder"].endswith("journalctl -u wgsd-responder@other")


def test_a_zone_that_is_not_served_and_trouble_are_told():
    fleet = Fleet("alice")
    report = fleet.part("registry")["responder"]["report"]
    report["zones"][0]["known"] = False
    report["trouble"] = ["wg0 cannot be read"]
    assert texts(fleet) == [
        "the registry registry cannot serve example.com.",
        "the registry registry: wg0 cannot be read",
    ]


def test_a_server_that_owes_an_answer_is_a_warning():
    fleet = Fleet("alice")
    fleet.part("alice")["directory"]["silent"] = ["10.0.0.254:53"]
    assert texts(fleet, "warning") == ["alice has no answer from 10.0.0.254:53"]


def test_an_interface_that_is_missing_or_cannot_be_read_is_an_error():
    fleet = Fleet("alice", "bob")
    fleet.part("alice")["interface"] = "wg1"
    fleet.part("bob").update(error="wg0: no such device", peers=[])
    assert texts(fleet, "error") == ["alice has no mesh on wg0", "bob: wg0: no such device"]


def test_hosts_that_do_not_know_each_other_are_a_warning():
    fleet = Fleet("alice", "bob")
    fleet.part("alice")["peers"] = [peer("registry")]
    assert texts(fleet) == ["alice does not know bob"]


def test_a_peer_that_the_inventory_lacks_is_a_note_and_has_a_column():
    fleet = Fleet("alice")
    fleet.part("alice")["peers"].append(peer("phone"))
    (problem,) = problems(fleet)
    assert (problem.severity, problem.kind) == ("note", "stranger")
    assert [node.label for node in fleet.mesh().nodes] == ["registry", "alice", "phone"]


def test_the_next_key_of_a_host_that_rotates_is_no_stranger():
    fleet = Fleet("alice", "bob")
    successor = {**peer("alice"), "public_key": key_of("next"), "allowed_ips": []}
    fleet.part("bob")["peers"].append(successor)
    assert kinds(fleet) == []


def test_two_hosts_with_one_name_are_told_apart_and_told_of():
    fleet = Fleet("alice", "bob")
    answers = [a._replace(name="twin") if not a.is_registry else a for a in fleet.hosts()]
    mesh = _status.assemble(answers, NOW)
    assert [n.label for n in mesh.nodes[1:]] == [
        "twin (alice.example.net)",
        "twin (bob.example.net)",
    ]
    found = _status_problems.find_problems(mesh)
    assert [p.kind for p in found] == ["same-name"]


def test_two_hosts_with_one_key_are_an_error():
    fleet = Fleet("alice", "bob")
    fleet.part("bob")["public_key"] = key_of("alice")
    (problem,) = (p for p in problems(fleet) if p.kind == "same-key")
    assert problem.severity == "error"
    assert problem.text.startswith("alice and bob (bob.example.net) have the same public key")


def test_other_versions_and_mtus_are_notes():
    fleet = Fleet("alice", "bob", "carol")
    fleet.answers["bob"]["version"] = "0.2.0"
    fleet.part("carol")["mtu"] = 1280
    assert texts(fleet) == [
        "the engine version differs: 0.2.0 on bob; 0.1.0 on 3 others",
        "the MTU differs: 1280 on carol; 1420 on 3 others",
    ]


def test_errors_come_before_warnings_and_notes():
    fleet = Fleet("alice", "bob", "carol")
    fleet.answers["bob"]["version"] = "0.2.0"
    fleet.see("bob", "alice", "stale")
    fleet.lose("carol")
    assert [p.severity for p in problems(fleet)] == ["error", "warning", "note"]


def test_control_characters_do_not_get_through_and_long_texts_are_cut():
    fleet = Fleet("alice")
    nasty = "\x1b]0;owned\x07\u202eevil\n" + "x" * 500
    fleet.see("alice", "registry", "stale", reason=nasty, endpoint=nasty)
    fleet.part("alice")["peers"].append({**peer("phone"), "name": nasty})
    mesh = fleet.mesh()
    found = _status_problems.find_problems(mesh)
    shown = _status_text.render(mesh, found)
    assert not any(c in shown for c in "\x1b\x07\u202e")
    assert max(len(n.label) for n in mesh.nodes) <= 80


def test_a_hundred_thousand_entries_take_seconds():
    fleet = Fleet.of(300)
    fleet.lose("peer7")
    begun = time.process_time()
    mesh = fleet.mesh()
    found = _status_problems.find_problems(mesh)
    assert [p.kind for p in found] == ["no-answer"]
    assert sum(len(node.entries) for node in mesh.nodes) == 299 * 299
    assert time.process_time() - begun < 15


numbers = st.floats() | st.integers() | st.sampled_from([10**400, 1e308, -(10**400)])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars)


@hypothesis.settings(max_examples=200)
@hypothesis.given(data=st.data())
def test_whatever_a_host_says_the_mesh_is_shown(data):
    """A host may run another version, or an attacker's: no value need be of the type it has."""
    fleet = Fleet("alice", "bob")
    part = fleet.part("alice")
    where: t.Any = data.draw(
        st.sampled_from(
            [
                fleet.answers["alice"],
                part,
                part["peers"][0],
                part["peers"][1],
                part["client"],
                part["directory"],
                fleet.part("registry")["responder"],
                fleet.part("registry")["responder"]["report"],
                fleet.part("registry")["responder"]["report"]["zones"][0],
            ]
        )
    )
    for name in data.draw(st.sets(st.sampled_from(sorted(where)), min_size=1)):
        where[name] = data.draw(values)
    mesh = fleet.mesh()
    found = _status_problems.find_problems(mesh)
    shown = _status_text.render(mesh, found)
    assert all(c.isprintable() or c == "\n" for c in shown)
    json.dumps(_status_text.document(mesh, found), allow_nan=False)
    _status_page.render(mesh, found)


def test_an_answer_may_be_empty():
    answers = [Answer("a", "a", False, "answered", told={}), Answer("b", "b", True, "answered")]
    mesh = _status.assemble(answers, NOW)
    assert {p.kind for p in _status_problems.find_problems(mesh)} == {"no-interface"}
    assert told("alice", [])["interfaces"][0]["peers"] == []
