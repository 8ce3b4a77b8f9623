# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page: what is in it, and what never is. tests/browser opens it."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.plugin_utils import _status_page, _status_problems

from tests.unit.plugins.plugin_utils.meshes import Fleet, peer

pytestmark = pytest.mark.unit

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--]]>"


class Elements(html.parser.HTMLParser):
    """What a parser finds in a page.

    Attributes:
        tags: The names of all elements.
        attributes: All attributes, as pairs.
        texts: By element, the texts directly in it.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)


def page_of(fleet: Fleet) -> str:
    mesh = fleet.mesh()
    return _status_page.render(mesh, _status_problems.find_problems(mesh))


def data_of(page: str) -> dict[str, t.Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_the_data_have_each_cell():
    fleet = Fleet("alice", "bob")
    fleet.see("alice", "bob", "stale", endpoint="192.0.2.9:4500", rtt=None, answers_probes=False)
    data = data_of(page_of(fleet))
    assert [node["label"] for node in data["nodes"]] == ["registry", "alice", "bob"]
    row = data["rows"][1]
    assert row["state"] == "d-s"
    assert data["strings"][row["host"][2]] == "192.0.2.9"
    assert (row["port"][2], row["rtt"][2], row["rtt"][0], row["since"][2]) == (4500, -2, 180, 7500)
    assert [data["strings"][n] for n in row["notes"]["2"]][
        1
    ] == "the zone has it at 192.0.2.30:40112"
    assert data["sources"][row["source"][0]] == "its own packets"


def test_a_host_without_an_answer_has_no_row():
    fleet = Fleet("alice", "bob")
    fleet.lose("bob")
    data = data_of(page_of(fleet))
    assert data["rows"][2] is None
    assert data["alone"] == [2]


def test_problems_and_hosts_are_there_without_a_script():
    fleet = Fleet("alice", "bob")
    fleet.lose("bob", message="no route to host")
    page = page_of(fleet)
    static = page[: page.index("<noscript>")]
    assert "1 error</h2>" in static
    assert "no route to host" in static
    assert static.index("no route to host") < static.index("<table>")
    assert re.search(r'<th scope="row" title="alice.example.net"><bdi>alice</bdi></th>', static)


def test_a_mesh_that_is_well_says_so():
    assert '<h2 id="problems-title" class="well">No problems</h2>' in page_of(Fleet("alice"))


def test_hostile_names_stay_text():
    fleet = Fleet("alice", "bob")
    fleet.part("alice")["peers"].append({**peer("phone"), "name": HOSTILE})
    fleet.see("alice", "bob", "stale", reason=HOSTILE, endpoint=HOSTILE)
    fleet.part("alice")["directory"].update(zone=HOSTILE, trouble=HOSTILE, seen_at=HOSTILE)
    fleet.answers["bob"].update(version=HOSTILE, problems=[HOSTILE])
    fleet.part("bob")["error"] = HOSTILE
    page = page_of(fleet)
    harmless = Elements(page_of(Fleet("alice", "bob")))
    elements = Elements(page)
    assert set(elements.tags) <= {*harmless.tags, "ul", "li", "details", "summary"}
    assert elements.tags.count("script") == 2
    assert "img" not in elements.tags
    assert not [name for name, _value in elements.attributes if name.startswith("on")]
    assert HOSTILE not in page
    assert data_of(page)["nodes"][3]["label"] == HOSTILE[:80]


def test_nothing_is_asked_of_anybody():
    page = page_of(Fleet("alice"))
    for name, value in Elements(page).attributes:
        if name in ("src", "href", "action", "poster", "data", "srcset"):
            assert value.startswith(("#", "data:")), (name, value)
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_lets_this_script_run_and_no_other():
    page = page_of(Fleet("alice"))
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert found
    policy = found[1]
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src ")
    assert f"'sha256-{digest}'" in policy
    assert "img-src data:" in policy


def test_three_hundred_hosts_take_less_than_five_megabytes():
    fleet = Fleet.of(300)
    for one in fleet.names[:150]:
        for other in fleet.names[150:]:
            # No two of them alike, as behind NATs that give each peer another port.
            fleet.see(one, other, "unreachable", reason=f"{one} and {other}: " + "x" * 200)
    page = page_of(fleet)
    assert len(page.encode()) < 5_000_000
    assert len(data_of(page)["rows"][0]["state"]) == 300
    assert page.count("<li ") <= 500


def test_many_problems_are_folded_up():
    fleet = Fleet.of(40)
    for number in range(1, 39, 2):
        fleet.cut(f"peer{number}", f"peer{number + 1}")
    page = page_of(fleet)
    assert "<details><summary>7 more</summary>" in page
