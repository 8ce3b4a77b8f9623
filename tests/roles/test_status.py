# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook status on real hosts, one of which is off, and of one alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.roles.site_playbook import Run, Site
from tests.roles.test_site import NOTHING, wait_for_ping

pytestmark = [pytest.mark.roles, pytest.mark.long]
MTU = ["cat", "/sys/class/net/wg0/mtu"]
HOSTS = {"registry", "alice", "bob"}


def status(site: Site, *arguments: str, **variables: str) -> Run:
    extra = ["--extra-vars", json.dumps(variables)] if variables else []
    return site.run(*arguments, *extra, playbook="wgsd.mesh.status")


def test_shows_who_is_reached_directly_and_who_does_not_answer(mesh: Site, tmp_path: Path) -> None:
    wait_for_ping(mesh, "alice", "10.0.0.2")
    before = mesh.state()
    page, data = tmp_path / "mesh.html", tmp_path / "mesh.json"

    well = status(mesh, wgsd_status_html=str(page), wgsd_status_json=str(data))
    assert well.status == 0, well.output
    assert well.count("changed") == NOTHING
    assert "3 hosts, 3 of 3 answered, 1 of 1 pairs of peers direct" in well.output
    assert "No problems." in well.output
    assert max(map(len, tables(well).splitlines())) <= 100
    found = json.loads(data.read_text())
    assert {host["name"] for host in found["hosts"]} == HOSTS
    alice = next(host for host in found["hosts"] if host["name"] == "alice")
    bob = next(peer for peer in alice["peers"] if peer["name"] == "bob")
    assert (bob["state"], bob["host"], alice["agent"]) == ("direct", "bob", True)
    assert bob["handshake_age"] < 180
    assert alice["mtu"] == int(mesh.lab.host("alice").run(MTU).stdout)
    assert alice["version"] in mesh.lab.host("alice").run(["wgsd", "--version"]).stdout
    (zone,) = found["hosts"][0]["responder"]["report"]["zones"]
    assert zone["known"]
    assert "No problems</h2>" in page.read_text()

    mesh.lab.host("bob").kill()
    try:
        page.unlink()
        checked = status(mesh, "--check", wgsd_status_html=str(page))
        limited = status(mesh, "--limit", "alice", wgsd_status_format="json")
    finally:
        mesh.lab.host("bob").start()
    assert checked.status == 0, checked.output
    assert checked.count("changed") == checked.count("failed") == NOTHING
    assert re.search(r"^  error +bob cannot be reached by Ansible", checked.output, re.MULTILINE)
    assert re.search(r"^bob +no answer ", checked.output, re.MULTILINE)
    assert "bob cannot be reached" in page.read_text()
    assert limited.count("changed") == {"alice": 0}, limited.output
    (line,) = re.findall(r"^\{.*\}$", limited.output, re.MULTILINE)
    assert {host["name"]: host["outcome"] for host in json.loads(line)["hosts"]} == {
        "registry": "not asked",
        "alice": "answered",
        "bob": "not asked",
    }
    assert mesh.state() == before


def tables(run: Run) -> str:
    """Return what the playbook prints of itself."""
    text = run.output[run.output.index("\nmesh ") : run.output.index("\nPLAY RECAP")]
    return text[: text.rindex("mesh.html: ")].rpartition("\n")[0]
