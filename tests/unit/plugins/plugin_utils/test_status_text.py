# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh in a terminal of 100 columns, and as a document for machines."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.plugin_utils import _status_problems, _status_text

from tests.unit.plugins.plugin_utils.meshes import Fleet, key_of

pytestmark = pytest.mark.unit


def shown(fleet: Fleet) -> str:
    mesh = fleet.mesh()
    text = _status_text.render(mesh, _status_problems.find_problems(mesh))
    assert max(map(_status_text.width_of, text.splitlines())) <= _status_text.WIDTH
    return text


def test_a_small_mesh_is_shown_whole():
    text = shown(Fleet("alice", "bob"))
    assert text.startswith("mesh example.com. at 2027-01-15 08:00:00 UTC\n")
    assert "3 hosts, 3 of 3 answered, 1 of 1 pairs of peers direct" in text
    assert "No problems." in text
    assert re.search(r"^alice +answered +1 of 1 +direct +0\.1\.0 +wg0 +1420 +198\.51", text, re.M)
    assert re.search(
        r"^From alice\n.*\n.*\n  bob +direct +2 h 5 m +29 s ago +18 ms +192", text, re.M
    )


def test_problems_come_before_all_else_with_what_to_do():
    fleet = Fleet("alice", "bob", "carol")
    fleet.lose("carol", message="no route")
    text = shown(fleet)
    assert text.index("carol cannot be reached") < text.index("HOST ")
    assert "[is it on?]" in text
    assert re.search(r"^carol +no answer +-", text, re.M)


def test_what_is_not_direct_is_explained_below_its_row():
    fleet = Fleet("alice", "bob")
    fleet.cut("alice", "bob")
    assert re.search(
        r"^  bob +unreachable .*\n    no handshake with .*\n    the zone", shown(fleet), re.M
    )


def test_of_a_large_mesh_only_what_is_not_direct_is_listed():
    fleet = Fleet.of(300)
    fleet.cut("peer3", "peer4")
    text = shown(fleet)
    assert len(text.splitlines()) < 20
    assert re.search(r"^peer3 +answered +297 of 298", text, re.M)
    assert "298 other hosts see all their peers directly" in text
    assert re.search(r"^peer4 +peer3 +unreachable", text, re.M)


def test_of_a_large_mesh_a_host_that_is_down_is_not_told_by_everybody():
    fleet = Fleet.of(300)
    fleet.lose("peer7")
    text = shown(fleet)
    assert text.count("peer7") == 2
    assert "299 other hosts see all their peers directly, but for the 1 that nobody reaches" in text


def test_a_large_mesh_in_which_nothing_works_still_fits_a_few_screens():
    fleet = Fleet.of(80)
    for one in fleet.names:
        for other in fleet.names:
            if one != other:
                fleet.see(one, other, "unreachable")
    text = shown(fleet)
    assert len(text.splitlines()) < 100
    assert "and 74 more have a tunnel to nobody (79 hosts)" in text
    assert "... and 20 more that are not as they should be" in text


def test_long_names_and_addresses_give_way():
    fleet = Fleet("a" * 63, "\N{CJK UNIFIED IDEOGRAPH-8A9E}" * 30)
    long = "[2001:db8:1111:2222:3333:4444:5555:6666]:61907"
    fleet.see("a" * 63, "registry", "direct", endpoint=long)
    assert "\N{HORIZONTAL ELLIPSIS}" in shown(fleet)


def test_the_document_has_all_of_all_hosts():
    fleet = Fleet("alice", "bob", "carol")
    fleet.lose("carol")
    mesh = fleet.mesh()
    found = _status_text.document(mesh, _status_problems.find_problems(mesh))
    found = json.loads(json.dumps(found))
    assert (found["format"], found["zones"]) == (1, ["example.com."])
    assert found["pairs"] == {"all": 3, "direct": 1, "unreachable": 2}
    assert [p["kind"] for p in found["problems"]] == ["no-answer"]
    alice = found["hosts"][1]
    assert (alice["host"], alice["mtu"], alice["agent"]) == ("alice.example.net", 1420, True)
    assert (alice["direct"], alice["of"], alice["public_key"]) == (1, 2, key_of("alice"))
    assert alice["directory"]["seen_at"] == "198.51.100.10:61907"
    bob = next(p for p in alice["peers"] if p["name"] == "bob")
    assert (bob["state"], bob["rtt"], bob["handshake_age"], bob["since"]) == (
        "direct",
        0.018,
        29.0,
        7500.0,
    )
    assert found["hosts"][0]["responder"]["report"]["zones"][0]["serial"] == 774243419
    assert found["hosts"][3]["outcome"] == "unreachable"
