# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wgsd_dnssec: each state twice, in check mode, and where no responder follows.

systemd is a double here; the rollover itself is validated in the lab.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
import types

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _reload
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import instances
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.responder.keys import (
    ANNOUNCED,
    RETIRED,
    KeyStore,
)
from ansible_collections.wgsd.mesh.plugins.modules import wgsd_dnssec

pytestmark = pytest.mark.unit

ZONE = "example.com."
PID = 4321


class Registry:
    """A host with a state directory, and a responder that reloads if it is told to."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.state_dir = folder / "state"
        self.state_dir.mkdir()
        self.instance = ""
        self.report = folder / "wgsd-responder/status.json"
        self.report.parent.mkdir()
        self.active, self.reloads, self.follows = "active", 0, True
        self._started(time.time() - 60)

    def _started(self, at: float) -> None:
        self.report.write_text(json.dumps({"pid": PID, "started": at}))

    def run(self, command, data=None):
        if command[:2] == ["systemctl", "show"]:
            pid = PID if self.active == "active" else 0
            return 0, f"ActiveState={self.active}\nMainPID={pid}\n", ""
        if command[0] == "journalctl":
            return 0, "the last words\n", ""
        assert command[-3:] == ["systemctl", "reload", self.unit]
        self.reloads += 1
        if self.follows:
            self._started(time.time())
        return 0, "", ""

    @property
    def unit(self) -> str:
        return f"wgsd-responder{f'@{self.instance}' if self.instance else ''}.service"

    def converge(self, state: str, *, check: bool = False):
        params = {"zone": "example.com", "state_dir": str(self.state_dir)}
        params |= {"state": state, "timeout": 0.2, "instance": self.instance}
        return wgsd_dnssec.run(types.SimpleNamespace(params=params, check_mode=check))

    def age(self, seconds: float) -> None:
        """Let all keys have their roles since that much earlier."""
        index = self.state_dir / "keys" / f"{ZONE}json"
        keys = json.loads(index.read_text())
        for key in keys:
            key["since"] -= int(seconds)
        index.write_text(json.dumps(keys))
        os.utime(index, (0, 0))


@pytest.fixture
def registry(tmp_path, monkeypatch):
    registry = Registry(tmp_path)
    monkeypatch.setattr(wgsd_dnssec, "command_runner", lambda module: registry.run)
    monkeypatch.setattr(instances, "RUNTIME_FOLDER", tmp_path)
    monkeypatch.setattr(_reload, "_PAUSE", 0.01)
    return registry


def roles(result) -> list[str]:
    return [key["role"] for key in result["dnskeys"]]


def test_the_first_key_is_made_once(registry):
    first = registry.converge("present")
    assert first["changed"]
    assert (roles(first), len(first["ds"])) == (["active"], 1)
    again = registry.converge("present")
    assert not again["changed"]
    assert again["dnskeys"] == first["dnskeys"]
    assert registry.reloads == 0


def test_the_zone_can_be_written_in_any_way(registry):
    ds = registry.converge("present")["ds"]
    assert [key.ds(ZONE) for key in KeyStore(registry.state_dir, ZONE).read()] == ds


@pytest.mark.parametrize("state", ["present", "rolling"])
def test_check_mode_predicts_and_writes_nothing(registry, state):
    predicted = registry.converge(state, check=True)
    assert predicted["changed"]
    assert list(registry.state_dir.iterdir()) == []
    assert registry.reloads == 0


def test_no_private_part_is_returned_or_shown(registry):
    result = registry.converge("rolling")
    for pem in (registry.state_dir / "keys").glob("*.pem"):
        assert pem.read_text().splitlines()[1] not in json.dumps(result)


def test_rolling_has_the_responder_publish_a_successor_and_returns_both_ds_records(registry):
    first = registry.converge("present")
    rolling = registry.converge("rolling")
    assert rolling["changed"]
    assert registry.reloads == 1
    assert roles(rolling) == ["active", "successor"]
    assert rolling["ds"][0] == first["ds"][0]
    assert len(rolling["ds"]) == 2
    assert rolling["diff"]["after"].count("successor") == 1

    again = registry.converge("rolling")
    assert not again["changed"]
    assert again["ds"] == rolling["ds"]
    assert registry.reloads == 1


def test_a_responder_with_a_name_is_the_one_that_follows(registry):
    registry.instance = "lab"
    folder = registry.report.parent.rename(registry.report.parent.with_name("wgsd-responder-lab"))
    registry.report = folder / "status.json"
    registry.converge("present")
    assert roles(registry.converge("rolling")) == ["active", "successor"]
    assert registry.reloads == 1


def test_rolled_lets_the_successor_sign_once_caches_know_it(registry):
    second = registry.converge("rolling")["ds"][1]
    with pytest.raises(UsageError, match="try again in"):
        registry.converge("rolled")
    registry.age(ANNOUNCED)
    assert registry.converge("rolled", check=True)["changed"]
    rolled = registry.converge("rolled")
    assert rolled["changed"]
    assert (roles(rolled), rolled["ds"]) == (["active", "retired"], [second])
    assert registry.reloads == 2

    assert not registry.converge("rolled")["changed"]
    assert not registry.converge("present")["changed"]
    with pytest.raises(UsageError, match="not over"):
        registry.converge("rolling")


def test_present_removes_the_old_key_when_it_has_left_the_zone(registry):
    registry.converge("rolling")
    registry.age(ANNOUNCED)
    registry.converge("rolled")
    registry.age(RETIRED)
    assert registry.converge("present", check=True)["changed"]
    present = registry.converge("present")
    assert present["changed"]
    assert roles(present) == ["active"]
    assert len(list((registry.state_dir / "keys").glob("*.pem"))) == 1
    assert not registry.converge("present")["changed"]


def test_a_responder_that_does_not_follow_is_told_and_asked_again(registry):
    registry.follows = False
    with pytest.raises(WgsdError, match="has not reloaded within"):
        registry.converge("rolling")
    with pytest.raises(WgsdError, match="has not read the successor"):
        registry.converge("rolled")
    registry.follows = True
    assert registry.converge("rolling")["changed"]
    assert not registry.converge("rolling")["changed"]


def test_a_rollover_needs_a_responder_that_runs(registry):
    registry.converge("present")
    registry.active = "inactive"
    with pytest.raises(WgsdError, match="does not run"):
        registry.converge("rolling")
    assert roles(registry.converge("present")) == ["active"]


def test_without_a_state_directory_there_is_nothing_to_keep_keys_in(registry):
    registry.state_dir.rmdir()
    with pytest.raises(UsageError, match="set up the responder first"):
        registry.converge("present")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_keys_that_the_responder_made_are_taken_from_its_user(registry):
    KeyStore(registry.state_dir, ZONE).have()
    folder = registry.state_dir / "keys"
    paths = [folder, *folder.iterdir()]
    for path in paths:
        os.chown(path, 65534, 65534)
    assert registry.converge("present", check=True)["changed"]
    assert registry.converge("present")["changed"]
    assert {path.stat().st_uid for path in paths} == {0}
    assert not registry.converge("present")["changed"]
