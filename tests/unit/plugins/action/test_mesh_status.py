# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action mesh_status: what is taken from the hosts' variables, and what is written."""

from __future__ import annotations

import os
import stat

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail
from ansible_collections.wgsd.mesh.plugins.action import mesh_status

from tests.unit.plugins.plugin_utils.meshes import key_of

pytestmark = pytest.mark.unit


def test_each_host_is_read_once_with_its_names():
    hosts = {
        "r.example.net": {"wgsd_interface": "wg7", "_status": {"status_json": '{"version": "1"}'}},
        "alice": {
            "wgsd_name": "Al",
            "wgsd_public_key": key_of("alice"),
            "wgsd_instance": "lab",
        },
        "bob": {"wgsd_state": "absent"},
    }
    registry, alice = mesh_status.read_answers(
        hosts, ["r.example.net"], ["r.example.net", "alice", "bob"], "_status"
    )
    assert (registry.name, registry.is_registry, registry.interface) == ("r", True, "wg7")
    assert (registry.outcome, registry.told) == ("answered", {"version": "1"})
    assert (alice.name, alice.is_registry, alice.interface) == ("al", False, "wg0")
    assert (alice.outcome, alice.public_key) == ("not asked", key_of("alice"))
    assert (registry.instance, alice.instance) == ("", "lab")


def test_a_host_that_is_not_in_the_inventory_is_an_error():
    with pytest.raises(AnsibleActionFail, match="no host carol"):
        mesh_status.read_answers({}, ["carol"], [], "_status")


@pytest.mark.parametrize(
    ("registered", "outcome", "message"),
    [
        (None, "not asked", ""),
        ({"skipped": True}, "not asked", ""),
        ({"unreachable": True, "msg": "Task failed: no route"}, "unreachable", "no route"),
        ({"failed": True, "msg": "no engine"}, "failed", "no engine"),
        ({"status_json": "["}, "failed", "its status cannot be read"),
        ({"status_json": "[]"}, "failed", "its status cannot be read"),
    ],
)
def test_what_became_of_a_host_is_told(registered, outcome, message):
    found = mesh_status.outcome_of(registered)
    assert (found["outcome"], found.get("message", "")) == (outcome, message)


def test_a_file_is_replaced_whole_with_the_rights_of_the_umask(tmp_path):
    path = tmp_path / "mesh.html"
    path.write_text("old")
    before = os.umask(0o027)
    try:
        assert mesh_status.write(str(path), "new") == str(path)
    finally:
        os.umask(before)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(AnsibleActionFail, match=r"No such file.*name a file in a folder"):
        mesh_status.write(str(tmp_path / "no/mesh.html"), "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AnsibleActionFail, match="folder"):
        mesh_status.write(str(tmp_path / "folder"), "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
