# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wgsd_status: what a host's own engine says, and what it says when it cannot."""

from __future__ import annotations

import json
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import WgsdError
from ansible_collections.wgsd.mesh.plugins.modules import wgsd_status

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0
PARTS = [
    {"interface": "wg0", "agent": True, "peers": [{"name": "bob", "state": "direct"}]},
    {"interface": "wg1", "agent": False, "peers": []},
]


class Host:
    """A host on which the engine says what a test wants.

    Attributes:
        status: Exit status, output and errors of ``wgsd status --json``.
        version: The same of ``wgsd --version``.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: t.Any) -> None:
        self.status = (0, json.dumps(PARTS), "")
        self.version = (0, "0.1.0\n", "")
        monkeypatch.setattr(wgsd_status, "NETWORK", folder)
        monkeypatch.setattr(wgsd_status, "command_runner", lambda _module: self.run)
        monkeypatch.setattr(wgsd_status.time, "time", lambda: NOW)
        (folder / "wg0").mkdir()
        (folder / "wg0/mtu").write_text("1420\n")

    def run(self, command: list[str]) -> tuple[int, str, str]:
        assert command[0] == "/usr/local/bin/wgsd"
        return {("status", "--json"): self.status, ("--version",): self.version}[tuple(command[1:])]

    def task(self, **options: t.Any) -> dict[str, t.Any]:
        params = {"interfaces": None, "as_json": False, **options}
        return wgsd_status.run(types.SimpleNamespace(params=params, check_mode=True))


@pytest.fixture
def host(monkeypatch, tmp_path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_tells_what_the_engine_says_with_the_mtu_and_the_version(host):
    result = host.task()
    assert result["interfaces"] == [{**PARTS[0], "mtu": 1420}, {**PARTS[1], "mtu": None}]
    assert (result["version"], result["now"], result["problems"]) == ("0.1.0", NOW, [])
    assert "changed" not in result


def test_tells_only_the_interfaces_that_were_asked_for(host):
    (found,) = host.task(interfaces=["wg1", "wg7"])["interfaces"]
    assert found["interface"] == "wg1"


def test_tells_all_as_one_text_if_that_is_wanted(host):
    result = host.task(as_json=True, interfaces=["wg0"])
    assert list(result) == ["status_json"]
    told = json.loads(result["status_json"])
    assert told == {
        "version": "0.1.0",
        "now": NOW,
        "interfaces": [{**PARTS[0], "mtu": 1420}],
        "problems": [],
    }


def test_complaints_are_told_beside_what_is_known(host):
    host.status = (3, json.dumps(PARTS), "wgsd status: wg0: no client; see: systemctl\n\n")
    assert host.task()["problems"] == ["wg0: no client; see: systemctl"]


def test_complaints_about_other_meshes_are_left_out_where_some_interfaces_are_asked_for(host):
    own, both, other = "wg0: no client", "no report of a responder", "wg1: no client"
    parts = [{**PARTS[0], "problems": [own, both]}, {**PARTS[1], "problems": [both, other]}]
    errors = ["client-lab.yml:1: registries is missing", both, own, other]
    host.status = (3, json.dumps(parts), "".join(f"wgsd status: {text}\n" for text in errors))
    assert host.task()["problems"] == errors
    assert host.task(interfaces=["wg0"])["problems"] == errors[:3]
    # What belongs to no interface may be why one is missing.
    assert host.task(interfaces=["wg7"])["problems"] == errors[:1]


def test_a_host_without_the_engine_is_told_what_to_do(host):
    host.status = host.version = (127, "", "/usr/local/bin/wgsd: No such file or directory")
    with pytest.raises(WgsdError, match=r"no /usr/local/bin/wgsd.*wgsd\.mesh\.site"):
        host.task()


@pytest.mark.parametrize("output", ["", "[", '{"interface": "wg0"}', "[1]"])
def test_an_engine_that_says_nothing_of_use_is_an_error_with_its_own_words(host, output):
    host.status = (2, output, "wgsd status: there is neither a client.yml nor a responder.yml\n")
    with pytest.raises(WgsdError, match=r"there is neither a client.yml"):
        host.task()


def test_an_engine_that_cannot_say_its_version_still_has_a_status(host):
    host.version = (1, "Traceback", "")
    assert host.task()["version"] is None


def test_a_name_that_is_no_interface_is_refused(host):
    with pytest.raises(WgsdError, match="interface"):
        host.task(interfaces=["../wg0"])
