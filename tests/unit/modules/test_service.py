# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A daemon as a service: what is written, in which order, and when it is restarted.

systemd is a double here; molecule runs the same on systemd itself.
"""

from __future__ import annotations

import os
import pathlib
import time
import types

import pytest
import yaml

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _files, _service, _units, _zipapp
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import load_client
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError
from ansible_collections.wgsd.mesh.plugins.modules.wgsd_responder import state_below

pytestmark = pytest.mark.unit

SETTINGS = {"interface": "wg0", "zone": "example.com.", "registries": ["10.0.0.254"]}


class Host:
    """What the service module sees of a host: systemctl and its unit, in a folder."""

    def __init__(self) -> None:
        self.active, self.enabled, self.since, self.pid = "inactive", False, 0, 0
        self.commands: list[str] = []
        self.has_user = False
        self.dies = False
        self.missing = ""

    def run(self, command, data=None):
        text = " ".join(map(str, command))
        if command[:2] == ["systemctl", "show"]:
            return 0, self._show(), ""
        if command[0] == "journalctl":
            return 0, "the last words\n", ""
        if "-c" in command:
            return 0, self.missing, ""
        if "--check" in command:
            return self._check(command)
        self.commands.append(text)
        if command[0] == "systemd-sysusers":
            self.has_user = True
        elif command[1] == "restart":
            self.active, self.since, self.pid = "active", int(time.time()) + 1, self.pid + 1
        elif command[1] == "stop":
            self.active = "inactive"
        elif command[1] in ("enable", "disable"):
            self.enabled = command[1] == "enable"
        return 0, "", ""

    def _show(self) -> str:
        if self.dies:
            self.pid += 1
        enabled = "enabled" if self.enabled else "disabled"
        return (
            f"ActiveState={self.active}\nUnitFileState={enabled}\nMainPID={self.pid}\n"
            f"ActiveEnterTimestamp={f'@{self.since}' if self.since else ''}\n"
            "NeedDaemonReload=no\n"
        )

    def _check(self, command):
        load_client(pathlib.Path(command[command.index("--config") + 1]))
        assert command[0] == "/usr/bin/python3"
        return 0, "good\n", ""


class Client:
    """Runs the service module for the client on a `Host`."""

    def __init__(self, folder: pathlib.Path, host: Host) -> None:
        self.folder, self.host = folder, host
        self.warnings: list[str] = []

    def __call__(self, state="started", check_mode=False, answers=lambda: None, **settings):
        self.host.commands.clear()
        module = types.SimpleNamespace(
            params={"state": state},
            check_mode=check_mode,
            tmpdir=str(self.folder),
            warn=self.warnings.append,
        )
        service = _service.Service(
            daemon="client",
            settings={**SETTINGS, **settings},
            load=load_client,
            unit_text=lambda command: _units.client(command, "wg0"),
            answers=answers,
        )
        return _service.converge(module, service)


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def client(tmp_path, monkeypatch, host):
    for name in ("ENGINE", "CONFIG_FOLDER", "UNIT_FOLDER", "SYSUSERS"):
        real = getattr(_service, name)
        monkeypatch.setattr(_service, name, tmp_path / real.relative_to("/"))
    for folder in ("usr/local/bin", "etc/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(_service, "command_runner", lambda module: host.run)
    monkeypatch.setattr(_service, "_has_user", lambda name: host.has_user)
    monkeypatch.setattr(_service, "SETTLE", 0.0)
    # Whoever runs the tests stands for root.
    own = _files.FileState
    monkeypatch.setattr(
        _service,
        "FileState",
        lambda content, mode: own(content, mode, os.geteuid(), os.getegid()),
    )
    return Client(tmp_path, host)


def test_installs_engine_configuration_user_and_unit_and_starts_it(client, host, tmp_path):
    result = client()
    assert result["changed"]
    assert (tmp_path / "usr/local/bin/wgsd").read_bytes() == _zipapp.build()
    assert (tmp_path / "usr/local/bin/wgsd").stat().st_mode & 0o777 == 0o755
    config = yaml.safe_load((tmp_path / "etc/wgsd/client.yml").read_text())
    assert config == SETTINGS
    assert host.commands == [
        f"systemd-sysusers {tmp_path}/etc/sysusers.d/wgsd.conf",
        "systemctl daemon-reload",
        "systemctl enable wgsd-client.service",
        "systemctl restart wgsd-client.service",
    ]


def test_the_same_again_changes_nothing(client, host):
    client()
    assert not client()["changed"]
    assert host.commands == []


def test_a_change_of_configuration_restarts_without_a_reload(client, host):
    client()
    result = client(zone="example.net.")
    assert host.commands == ["systemctl restart wgsd-client.service"]
    (diff, _steps) = result["diff"]
    assert '"example.com."' in diff["before"]
    assert '"example.net."' in diff["after"]


def test_check_mode_predicts_a_first_run_and_writes_nothing(client, host, tmp_path):
    predicted = client(check_mode=True)
    assert host.commands == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    done = client()
    assert predicted == done
    assert not client(check_mode=True)["changed"]


def test_a_bad_configuration_replaces_nothing_and_is_named(client, host, tmp_path):
    client()
    before = (tmp_path / "etc/wgsd/client.yml").read_bytes()
    for check_mode in (True, False):
        with pytest.raises(UsageError, match=r"the new .*client\.yml:\d+: .*registries"):
            client(check_mode=check_mode, registries=["0.0.0.0"], zone="example.org.")
    assert (tmp_path / "etc/wgsd/client.yml").read_bytes() == before
    assert host.commands == []


def test_names_the_packages_of_all_missing_libraries_before_anything_is_written(client, host):
    host.missing = "dns yaml\n"
    with pytest.raises(WgsdError, match=r"apt install python3-dnspython python3-yaml$"):
        client()
    assert host.commands == []
    assert not _service.ENGINE.exists()


def test_restarts_a_daemon_that_is_older_than_its_files(client, host):
    client()
    host.since -= 3600
    assert client()["steps"] == ["restart wgsd-client.service"]


def test_starts_a_daemon_that_was_stopped_by_hand(client, host):
    client()
    host.active = "failed"
    assert client()["steps"] == ["restart wgsd-client.service"]


def test_a_daemon_that_does_not_stay_up_is_an_error_with_its_last_words(client, host):
    host.dies = True
    with pytest.raises(WgsdError, match=r"did not stay up[^$]*the last words"):
        client()


def test_a_daemon_that_does_not_answer_is_an_error_with_its_last_words(client, host):
    def silent():
        raise WgsdError("10.0.0.254:53 does not answer")

    with pytest.raises(WgsdError, match=r"does not answer[^$]*the last words"):
        client(answers=silent)


def test_stopped_keeps_everything_in_place(client, host, tmp_path):
    client()
    client(state="stopped")
    assert host.commands == [
        "systemctl stop wgsd-client.service",
        "systemctl disable wgsd-client.service",
    ]
    assert (tmp_path / "etc/wgsd/client.yml").exists()
    assert not client(state="stopped")["changed"]


def test_absent_removes_what_no_other_daemon_needs(client, host, tmp_path):
    client()
    assert client(check_mode=True, state="absent")["steps"][-1] == "daemon-reload"
    other = tmp_path / "etc/systemd/system/wgsd-responder.service"
    other.write_text("")
    client(state="absent")
    assert not (tmp_path / "etc/wgsd/client.yml").exists()
    assert (tmp_path / "usr/local/bin/wgsd").exists()
    other.unlink()
    assert client(state="absent")["changed"]
    assert not (tmp_path / "usr/local/bin/wgsd").exists()
    assert not client(state="absent")["changed"]


@pytest.mark.parametrize(
    "settings",
    [
        {"a": "x: y", "b": ["- 1", "#"], "c": {}, "d": [], "e": True, "f": 25},
        {"zones": [{"zone": "z.", "self": {"endpoint": "192.0.2.1:1"}, "names": {"AB+/=": "bob"}}]},
        {"l": [["a", "b"], {"k": ["v"]}], "n": None, "text": "ö\n\"'\\"},
    ],
)
def test_writes_settings_as_yaml_that_reads_back(settings):
    assert yaml.safe_load(_service.dump(settings)) == settings


def test_takes_a_state_folder_below_var_lib_only():
    assert state_below("/var/lib/wgsd/one") == pathlib.PurePath("wgsd/one")
    for folder in ("/var/lib", "/srv/wgsd", "/var/lib/../../etc", "wgsd"):
        with pytest.raises(UsageError, match="state_dir"):
            state_below(folder)


def test_the_unit_orders_itself_after_its_interface():
    text = _units.responder("wgsd responder", ["wg0", "wg1", "wg0"], pathlib.PurePath("wgsd"))
    assert "After=wg-quick@wg0.service wg-quick@wg1.service\n" in text
    assert "StateDirectory=wgsd\n" in text
