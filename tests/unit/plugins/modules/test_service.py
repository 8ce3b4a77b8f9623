# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A daemon as a service: what is written, in which order, and when it is reloaded or restarted.

systemd is a double here; molecule runs the same on systemd itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time
import types

import pytest
import yaml

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import (
    _files,
    _instances,
    _service,
    _units,
    _zipapp,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    Instance,
    load_client,
    load_responder,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import (
    DependencyError,
    UsageError,
    WgsdError,
)
from ansible_collections.wgsd.mesh.plugins.modules.wgsd_responder import algorithms, state_below

pytestmark = pytest.mark.unit

SETTINGS = {"interface": "wg0", "zone": "example.com.", "registries": ["10.0.0.254"]}


APART = {
    "client": _instances.keep_clients_apart,
    "responder": _instances.keep_responders_apart,
}
ZONES = [{"zone": "example.com.", "device": "wg0"}]
SECRET, NEW_SECRET = "b2xkIHNlY3JldCBvbGQgc2VjcmV0", "bmV3IHNlY3JldCBuZXcgc2VjcmV0"


class Host:
    """What the service module sees of a host: systemctl and its unit, in a folder."""

    def __init__(self, load) -> None:
        self.active, self.enabled, self.since, self.pid = "inactive", False, 0, 0
        self.commands: list[str] = []
        self.checks = 0
        self.has_group = False
        self.dies = False
        self.missing = ""
        self.can_reload = False
        self.dies_of_reload = self.refuses_reload = self.hangs_in_reload = False
        self.report: pathlib.Path | None = None
        self._load = load

    def run(self, command, data=None):
        text = " ".join(map(str, command))
        if command[:2] == ["systemctl", "show"]:
            return 0, self._show(), ""
        if command[0] == "journalctl":
            return 0, "the last words\n", ""
        if "-c" in command:
            return 0, "".join(f"{name}\n" for name in self.missing.split() if name in command), ""
        if "--check" in command:
            return self._check(command)
        self.commands.append(text)
        if command[0] == "timeout":
            command = command[2:]
        if command[0] == "systemd-sysusers":
            self.has_group = True
        elif command[1] == "restart":
            self.active, self.since, self.pid = "active", int(time.time()) + 1, self.pid + 1
            self._tell()
        elif command[1] == "reload":
            self.pid += self.dies_of_reload
            if self.hangs_in_reload:
                self.active = "reloading"
                return 124, "", ""
            if not self.refuses_reload:
                self._tell()
        elif command[1] == "stop":
            self.active = "inactive"
        elif command[1] in ("enable", "disable"):
            self.enabled = command[1] == "enable"
        return 0, "", ""

    def _tell(self) -> None:
        """Report as a daemon does that can reload; files that follow are newer than it."""
        if self.report:
            self.report.write_text(json.dumps({"pid": self.pid, "started": time.time()}))
            time.sleep(0.01)

    def _show(self) -> str:
        if self.dies:
            self.pid += 1
        enabled = "enabled" if self.enabled else "disabled"
        return (
            f"ActiveState={self.active}\nUnitFileState={enabled}\nMainPID={self.pid}\n"
            f"ActiveEnterTimestamp={f'@{self.since}' if self.since else ''}\n"
            f"NeedDaemonReload=no\nCanReload={'yes' if self.can_reload else 'no'}\n"
        )

    def _check(self, command):
        self.checks += 1
        self._load(pathlib.Path(command[command.index("--config") + 1]))
        assert command[0] == "/usr/bin/python3"
        return 0, "good\n", ""


class Daemon:
    """Runs the service module for a daemon on a `Host`."""

    def __init__(self, folder, host: Host, settings, instance, **fields) -> None:
        self.folder, self.host = folder, host
        self.warnings: list[str] = []
        self.unit_text = f"a unit of {instance.service}\n"
        self._settings, self._fields = settings, {"instance": instance, **fields}
        self._fields["keep_apart"] = APART[instance.daemon]

    def __call__(self, state="started", check_mode=False, answers=lambda: None, **settings):
        self.host.commands.clear()
        module = types.SimpleNamespace(
            params={"state": state},
            check_mode=check_mode,
            tmpdir=str(self.folder),
            host=self.host,
            warn=self.warnings.append,
        )
        service = _service.Service(
            settings={**self._settings, **settings},
            unit_text=lambda command: self.unit_text + command,
            answers=answers,
            **self._fields,
        )
        return _service.converge(module, service)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the host's files are."""
    for name in ("ENGINE", "CONFIG_FOLDER", "UNIT_FOLDER", "SYSUSERS"):
        real = getattr(_service, name)
        monkeypatch.setattr(_service, name, tmp_path / real.relative_to("/"))
    for name in ("usr/local/bin", "etc/systemd/system"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(_service, "SETTLE", 0.0)
    # Whoever runs the tests stands for root.
    own = _files.FileState
    monkeypatch.setattr(
        _service,
        "FileState",
        lambda content, mode, gid=None: own(content, mode, os.geteuid(), gid or os.getegid()),
    )
    return tmp_path


@pytest.fixture
def host(request, monkeypatch):
    host = Host(load_responder if "responder" in request.fixturenames else load_client)
    monkeypatch.setattr(_service, "command_runner", lambda module: module.host.run)
    monkeypatch.setattr(_service, "_group_id", lambda name: os.getegid() if host.has_group else -1)
    return host


@pytest.fixture
def client(folder, host):
    return Daemon(folder, host, SETTINGS, Instance("client"), load=load_client)


@pytest.fixture
def responder(folder, host):
    """A responder that runs and can be reloaded."""
    host.report = folder / "status.json"
    daemon = Daemon(
        folder,
        host,
        {"zones": ZONES},
        Instance("responder"),
        load=load_responder,
        has_secrets=True,
        report=host.report,
        timeout=0.2,
    )
    daemon()
    host.can_reload = True
    assert daemon()["steps"] == []
    return daemon


@pytest.fixture
def lab(folder, host):
    """The client of another mesh on the same host."""
    other = Host(load_client)
    other.has_group = True
    settings = {**SETTINGS, "interface": "wg1", "zone": "lab.example.com."}
    return Daemon(folder, other, settings, Instance("client", "lab"), load=load_client)


def test_installs_engine_configuration_user_and_unit_and_starts_it(client, host, folder):
    result = client()
    assert result["changed"]
    assert (folder / "usr/local/bin/wgsd").read_bytes() == _zipapp.build()
    assert (folder / "usr/local/bin/wgsd").stat().st_mode & 0o777 == 0o755
    config = yaml.safe_load((folder / "etc/wgsd/client.yml").read_text())
    assert config == SETTINGS
    assert host.commands == [
        f"systemd-sysusers {folder}/etc/sysusers.d/wgsd.conf",
        "systemctl daemon-reload",
        "systemctl enable wgsd-client.service",
        "systemctl restart wgsd-client.service",
    ]


def test_the_same_again_changes_nothing(client, host):
    client()
    assert not client()["changed"]
    assert host.commands == []


def test_what_runs_already_is_not_checked_again_but_what_is_down_is(client, host):
    client()
    client()
    assert host.checks == 1
    host.active = "failed"
    client()
    assert host.checks == 2


def test_a_change_of_configuration_restarts_without_a_reload(client, host):
    client()
    result = client(zone="example.net.")
    assert host.commands == ["systemctl restart wgsd-client.service"]
    (diff, _steps) = result["diff"]
    assert '"example.com."' in diff["before"]
    assert '"example.net."' in diff["after"]


def test_a_registry_goes_with_its_endpoint_into_a_configuration_that_the_client_takes(
    client, folder
):
    registry = {"address": "10.0.0.254", "endpoint": "registry.example.com:51820"}
    client(registries=[registry, "10.0.0.253"])
    settings = load_client(folder / "etc/wgsd/client.yml")
    first, second = settings.registries
    assert str(settings.anchors[first]) == registry["endpoint"]
    assert second not in settings.anchors


def test_check_mode_predicts_a_first_run_and_writes_nothing(client, host, folder):
    predicted = client(check_mode=True)
    assert host.commands == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    done = client()
    assert predicted == done
    assert not client(check_mode=True)["changed"]


def test_a_bad_configuration_replaces_nothing_and_is_named(client, host, folder):
    client()
    before = (folder / "etc/wgsd/client.yml").read_bytes()
    for check_mode in (True, False):
        with pytest.raises(UsageError, match=r"the new .*client\.yml:\d+: .*registries"):
            client(check_mode=check_mode, registries=["0.0.0.0"], zone="example.org.")
    assert (folder / "etc/wgsd/client.yml").read_bytes() == before
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


def test_a_change_of_configuration_reloads_a_daemon_that_can(responder, host):
    predicted = responder(check_mode=True, rate_limit=10)
    assert predicted["steps"] == ["reload wgsd-responder.service"]
    assert responder(rate_limit=10) == predicted
    assert host.commands == ["timeout 0.2 systemctl reload wgsd-responder.service"]
    assert not responder(rate_limit=10)["changed"]


def test_a_new_engine_reloads_a_daemon_that_can(responder, host, monkeypatch):
    monkeypatch.setattr(_zipapp, "build", lambda: b"another engine")
    assert responder()["steps"] == ["reload wgsd-responder.service"]
    assert not responder()["changed"]


def test_a_new_unit_restarts_a_daemon_that_can_reload(responder, host):
    responder.unit_text = "another unit\n"
    responder(rate_limit=10)
    assert host.commands == [
        "systemctl daemon-reload",
        "systemctl restart wgsd-responder.service",
    ]


def test_a_daemon_that_an_older_unit_runs_is_restarted(responder, host):
    host.can_reload = False
    assert responder(rate_limit=10)["steps"] == ["restart wgsd-responder.service"]


def test_a_daemon_that_does_not_know_reloads_is_not_sent_the_signal_it_would_die_of(
    responder, host
):
    host.report.unlink()
    assert responder(rate_limit=10)["steps"] == ["restart wgsd-responder.service"]
    # What another process has left says nothing of this one.
    host.report.write_text(json.dumps({"pid": host.pid + 1, "started": time.time()}))
    assert responder(rate_limit=20)["steps"] == ["restart wgsd-responder.service"]


def test_a_reload_that_changes_nothing_is_an_error_and_is_tried_again(responder, host):
    host.refuses_reload = True
    with pytest.raises(WgsdError, match=r"has not reloaded within 0\.2 s[^$]*the last words"):
        responder(rate_limit=10)
    host.refuses_reload = False
    assert responder(rate_limit=10)["steps"] == ["reload wgsd-responder.service"]
    assert responder(rate_limit=10)["steps"] == []


def test_a_reload_without_an_end_is_an_error_until_something_new_ends_it(responder, host):
    host.hangs_in_reload = True
    with pytest.raises(WgsdError, match=r"has not reloaded within 0\.2 s[^$]*the last words"):
        responder(rate_limit=10)
    # Its new main process has read everything already, yet nobody can tell whether it serves.
    host.report.write_text(json.dumps({"pid": host.pid, "started": time.time()}))
    with pytest.raises(WgsdError, match="it is reloading"):
        responder(rate_limit=10)
    assert host.commands == []
    assert responder(rate_limit=20)["steps"] == ["restart wgsd-responder.service"]


def test_a_daemon_that_dies_of_its_reload_is_an_error_with_its_last_words(responder, host):
    host.dies_of_reload = True
    with pytest.raises(WgsdError, match=r"did not survive its reload[^$]*the last words"):
        responder(rate_limit=10)


def test_secrets_are_kept_from_others_and_out_of_the_diff(responder, folder):
    def key(secret):
        return {"ops.example.com.": {"algorithm": "hmac-sha512", "secret": secret}}

    results = [responder(keys=key(secret)) for secret in (SECRET, NEW_SECRET)]
    config = folder / "etc/wgsd/responder.yml"
    assert NEW_SECRET in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o640
    # Written by hand in any other form, it is not shown at all.
    config.write_text(f"zones: []\nkeys: {{ops: {{'secret' : {SECRET}}}}}\n")
    results.append(responder(keys=key(NEW_SECRET)))
    results.append(responder(state="absent"))
    shown = json.dumps([result["diff"] for result in results])
    assert "hmac-sha512" in shown
    assert SECRET not in shown
    assert NEW_SECRET not in shown
    assert all(result["changed"] for result in results)
    assert {"prepared": f"{config}: a secret\n"} in results[1]["diff"]


def test_a_secret_that_is_taken_away_is_not_shown_either(client):
    key = {"name": "clients.", "algorithm": "hmac-sha256", "secret": SECRET}
    results = [client(key=key), client()]
    assert results[1]["changed"]
    assert SECRET not in json.dumps([result["diff"] for result in results])


def test_of_a_key_only_the_secret_is_one():
    keys = {"a.": {"algorithm": "hmac-sha256", "secret": SECRET}, "b.": {"secret": SECRET}, "c.": 1}
    assert algorithms(keys) == {"hmac-sha256"}
    assert algorithms(None) == set()


def test_stopped_keeps_everything_in_place(client, host, folder):
    client()
    client(state="stopped")
    assert host.commands == [
        "systemctl stop wgsd-client.service",
        "systemctl disable wgsd-client.service",
    ]
    assert (folder / "etc/wgsd/client.yml").exists()
    assert not client(state="stopped")["changed"]


def test_absent_removes_what_no_other_daemon_needs(client, host, folder):
    client()
    assert client(check_mode=True, state="absent")["steps"][-1] == "daemon-reload"
    other = folder / "etc/systemd/system/wgsd-responder.service"
    other.write_text("")
    client(state="absent")
    assert not (folder / "etc/wgsd/client.yml").exists()
    assert (folder / "usr/local/bin/wgsd").exists()
    other.unlink()
    assert client(state="absent")["changed"]
    assert not (folder / "usr/local/bin/wgsd").exists()
    assert not client(state="absent")["changed"]


def test_a_second_mesh_has_files_of_its_own_and_leaves_those_of_the_first(client, lab, folder):
    client()
    before = (folder / "etc/wgsd/client.yml").read_bytes()
    lab()
    assert load_client(folder / "etc/wgsd/client-lab.yml").interface == "wg1"
    assert (folder / "etc/systemd/system/wgsd-client@lab.service").exists()
    assert lab.host.commands == [
        "systemctl daemon-reload",
        "systemctl enable wgsd-client@lab.service",
        "systemctl restart wgsd-client@lab.service",
    ]
    assert (folder / "etc/wgsd/client.yml").read_bytes() == before
    assert not client()["changed"]


def test_an_engine_that_one_mesh_has_upgraded_restarts_the_daemon_of_the_other_in_its_run(
    client, lab, monkeypatch
):
    client()
    lab()
    # systemd tells whole seconds, and a test is over within one.
    for daemon in (client, lab):
        daemon.host.since -= 60
        os.utime(_service.ENGINE, (0, 0))
    for path in (*_service.CONFIG_FOLDER.iterdir(), *_service.UNIT_FOLDER.iterdir()):
        os.utime(path, (0, 0))
    assert not lab()["changed"]
    monkeypatch.setattr(_zipapp, "build", lambda: b"another engine")
    assert client()["steps"] == ["restart wgsd-client.service"]
    assert lab()["steps"] == ["restart wgsd-client@lab.service"]


def test_the_engine_goes_with_the_last_mesh(client, lab, folder):
    client()
    lab()
    client(state="absent")
    assert _service.ENGINE.exists()
    assert _service.SYSUSERS.exists()
    assert not lab()["changed"]
    # What somebody has added to a unit is no daemon.
    (folder / "etc/systemd/system/wgsd-client@lab.service.d").mkdir()
    lab(state="absent")
    assert not _service.ENGINE.exists()
    assert not _service.SYSUSERS.exists()


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_client_of_another_interface_is_not_replaced_but_told_to_be_an_instance(
    client, host, folder, check_mode
):
    client()
    path = folder / "etc/wgsd/client.yml"
    before = path.read_bytes()
    with pytest.raises(
        UsageError, match=rf"^{path} is there for wg0, not for wg1; .*give this one an instance"
    ):
        client(check_mode=check_mode, interface="wg1")
    assert path.read_bytes() == before
    assert host.commands == []


def test_an_interface_gets_another_name_once_its_client_is_removed(client, folder):
    client()
    client(state="absent", interface="wg1")
    assert client(interface="wg1")["changed"]
    assert load_client(folder / "etc/wgsd/client.yml").interface == "wg1"


def test_a_configuration_that_is_no_good_keeps_no_place(client, folder):
    client()
    (folder / "etc/wgsd/client.yml").write_text("interface: wg7\n")
    assert client()["changed"]
    assert load_client(folder / "etc/wgsd/client.yml").interface == "wg0"


def test_where_ansibles_python_cannot_read_it_the_engine_checks_a_configuration_alone(client, lab):
    def without_a_library(path):
        raise DependencyError("the library yaml is missing")

    client._fields["load"] = without_a_library
    client()
    assert client.warnings == []
    lab()
    client(zone="example.net.")
    (warning,) = client.warnings
    assert "was not compared with the others': the library yaml is missing" in warning


def test_an_interface_has_one_client(client, lab, folder):
    client()
    with pytest.raises(UsageError, match=rf"wg0 has a client already: {folder}/etc/wgsd/client.y"):
        lab(interface="wg0")
    assert not (folder / "etc/wgsd/client-lab.yml").exists()
    lab()
    client(state="absent")
    with pytest.raises(UsageError, match=r"'state: absent' and 'instance: lab' first"):
        client(interface="wg1")


@pytest.mark.parametrize(
    ("name", "interface", "problem"),
    [
        ("", "wg0", None),
        ("lab", "wg1", None),
        ("third", "wg2", None),
        ("", "wg2", "client.yml is there for wg0, not for wg2; .*give this one an instance"),
        ("lab", "wg2", "client-lab.yml is there for wg1, not for wg2; .*another instance"),
        ("third", "wg0", "wg0 has a client already: .*client.yml is there for it; change that"),
        ("third", "wg9", "wg9 has a responder already: .*responder-far.yml is there for it"),
        ("far", "wg3", "responder-far.yml is there for wg9, not for wg3"),
    ],
)
def test_an_interface_belongs_to_one_mesh(client, lab, folder, name, interface, problem):
    client()
    lab()
    configurations = folder / "etc/wgsd"
    (configurations / "responder-far.yml").write_text(
        "zones: [{zone: example.com., device: wg9}]\n", encoding="utf-8"
    )
    (configurations / "client-bad.yml").write_text("interface: [\n", encoding="utf-8")
    expected = pytest.raises(UsageError, match=problem) if problem else contextlib.nullcontext()
    with expected:
        _instances.keep_interface_apart(name, interface, configurations)
    has = _instances.has_interface(name, interface, configurations)
    assert has == ((name, interface) in {("", "wg0"), ("lab", "wg1")})


def test_two_clients_do_not_write_their_metrics_to_one_file(client, lab):
    client(metrics_file="/run/wgsd/client.prom")
    with pytest.raises(UsageError, match=r"metrics_file: .*client\.yml has /run/wgsd/client\.prom"):
        lab(metrics_file="/run/wgsd/client.prom")


def test_a_zone_and_its_device_change_one_at_a_time(responder, folder):
    responder(zones=[{"zone": "example.com.", "device": "wg1"}])
    responder(zones=[{"zone": "Example.net", "device": "wg1"}])
    path = folder / "etc/wgsd/responder.yml"
    for check_mode in (True, False):
        with pytest.raises(
            UsageError,
            match=rf"^{path} is there for example.net. of wg1, not for example.com. of wg0; .*inst",
        ):
            responder(check_mode=check_mode)
    responder(state="absent")
    assert responder()["changed"]


@pytest.mark.parametrize(
    ("own", "other", "problem"),
    [
        ({"device": "wg0"}, {}, "wg0 has a responder already: .*responder.yml is there for it"),
        ({"state_dir": "/var/lib/wgsd"}, {}, "state_dir: .*responder.yml has /var/lib/wgsd alr"),
        ({"metrics": "10.0.0.1"}, {"metrics": "10.0.0.1:9586"}, "metrics: .*has 10.0.0.1:9586"),
        ({"listen": ["192.0.2.1"]}, {"listen": ["192.0.2.1:53"]}, "listen: .*has 192.0.2.1:53"),
        ({"listen": ["192.0.2.1"]}, {"listen": ["0.0.0.0"]}, "listen: .*has 192.0.2.1:53"),
        ({"listen": ["192.0.2.1"]}, {"listen": ["192.0.2.1:54", "::"]}, None),
        ({}, {}, None),
    ],
)
def test_a_responder_takes_nothing_from_that_of_another_mesh(tmp_path, own, other, problem):
    def settings(name, device="wg1", **given):
        path = tmp_path / name
        path.write_text(_service.dump({"zones": [{**ZONES[0], "device": device}], **given}))
        return path, load_responder(path)

    there = {Instance("responder"): settings("responder.yml", device="wg0", **other)}
    lab = Instance("responder", "lab")
    _path, wanted = settings("responder-lab.yml", **{"state_dir": str(lab.state_dir), **own})
    if problem is None:
        _instances.keep_responders_apart(lab, wanted, there)
    else:
        with pytest.raises(UsageError, match=problem):
            _instances.keep_responders_apart(lab, wanted, there)


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


def test_an_instance_has_a_unit_with_folders_and_a_share_of_the_processor_of_its_own():
    arguments = ("wgsd responder", ["wg1"], pathlib.PurePath("wgsd-lab"))
    only, text = _units.responder(*arguments), _units.responder(*arguments, instance="lab")
    assert "systemctl edit wgsd-responder@lab.service\n" in text
    assert "RuntimeDirectory=wgsd-responder-lab\n" in text
    assert "Slice=system.slice\n" in text
    assert "RuntimeDirectory=wgsd-responder\n" in only
    assert "Slice=" not in only


def test_clients_share_the_folder_of_their_reports_and_none_takes_it_away():
    for instance in ("", "lab"):
        text = _units.client("wgsd client", "wg1", "/run/wgsd/lab.prom", instance=instance)
        assert "RuntimeDirectory=wgsd\n" in text
        assert "RuntimeDirectoryPreserve=yes\n" in text
        assert "ReadWritePaths" not in text


def test_the_clients_unit_may_write_where_its_metrics_go():
    for path, lines in (
        (None, []),
        ("/run/wgsd/client.prom", []),
        ("/srv/node 100%/wgsd.prom", ['ReadWritePaths="-/srv/node 100%%"']),
    ):
        text = _units.client("wgsd client", "wg0", path)
        found = [line for line in text.splitlines() if line.startswith("ReadWritePaths=")]
        assert found == lines


def test_a_reload_of_the_unit_checks_first():
    text = _units.responder("wgsd responder", ["wg0"], pathlib.PurePath("wgsd"))
    check, signal = (line for line in text.splitlines() if line.startswith("ExecReload="))
    assert check == "ExecReload=wgsd responder --check"
    assert "kill -HUP" in signal
