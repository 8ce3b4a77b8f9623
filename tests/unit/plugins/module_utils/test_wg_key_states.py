# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The states of the module wg_key: what changes, what a second run does, what is predicted.

systemd and the device are doubles here; tests/roles runs the same on real ones.
"""

from __future__ import annotations

import base64
import functools
import json
import pathlib
import time
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import (
    _files,
    _wg_key,
    _wg_key_states,
    _wg_poke,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_key import OwnKey, public
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import (
    NoDeviceError,
    UsageError,
    WgsdError,
)

from tests.unit.plugins.module_utils.wgsd.fake_device import FakeDevice, device
from wgsd.keys import PublicKey, decode_base64_key
from wgsd.model import Endpoint, Peer

pytestmark = pytest.mark.unit

FIRST, NEXT, GIVEN = (base64.b64encode(bytes([8]) * 31 + bytes([n])).decode() for n in (65, 66, 67))
CURRENT, COMING = public(FIRST, ""), public(NEXT, "")
OLD, NEW, STRANGER, STRANGE = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3, 4))
PRESHARED = base64.b64encode(b"p" * 32).decode()
CONF = f"""\
[Interface]
PrivateKey = {FIRST}

# Since 2019
[Peer]
# Name = bob
PublicKey = {OLD}
AllowedIPs = 10.0.0.2/32
PresharedKey = {PRESHARED}
"""
SUCCESSORS = [{"old": OLD.base64, "new": NEW.base64, "name": "bob"}]


class OwnDevice(FakeDevice):
    """One that has a key of its own."""

    def __init__(self) -> None:
        super().__init__(
            Peer(OLD, Endpoint("192.0.2.1", 7), ("10.0.0.2/32",), preshared_key=b"p" * 32)
        )
        self.private_key = decode_base64_key(FIRST)

    def read(self) -> t.Any:
        super().read()
        own = public(base64.b64encode(self.private_key).decode(), "")
        return device(*self.peers.values(), own=own)

    def configure(self, *, private_key: bytes) -> None:
        self.private_key = private_key

    def __enter__(self) -> OwnDevice:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


class Host:
    """A host with its files, its device and systemd."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.conf, self.next = folder / "wg0.conf", folder / "wg0.key-next"
        self.conf.write_text(CONF)
        self.device = OwnDevice()
        self.units: dict[str, float] = {}
        self.commands: list[list[str]] = []
        self.warnings: list[str] = []
        self.start_fails = False
        owned = functools.partial(OwnKey, folder=folder, opener=self._open)
        monkeypatch.setattr(_wg_key_states, "OwnKey", owned)
        monkeypatch.setattr(_wg_key_states, "open_device", self._open)
        switch = functools.partial(_wg_key.switch, opener=self._open)
        monkeypatch.setattr(_wg_key_states._wg_key, "switch", switch)
        # Files of a test belong to whoever runs it.
        monkeypatch.setattr(_files.os, "fchown", lambda *_: None)
        monkeypatch.setattr(_wg_poke, "_send", lambda *_: None)

    def run(self, state: str, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        defaults = {"private_key": None, "successors": None, "seconds": 600, "patience": 1}
        module = types.SimpleNamespace(
            params={"name": "wg0", "state": state, **defaults, **options},
            check_mode=check,
            run_command=self._command,
            warn=self.warnings.append,
        )
        result = _wg_key_states.run(t.cast(t.Any, module))
        for secret in (FIRST, NEXT, GIVEN, PRESHARED):
            assert secret not in json.dumps(result)
        return result

    def _open(self, _name: str) -> t.Any:
        if self.device.gone:
            raise NoDeviceError("it does not run")
        return self.device

    def _command(self, command: list[str], **_options: t.Any) -> tuple[int, str, str]:
        self.commands.append(command)
        unit = command[-1]
        if command[:2] == ["wg", "genkey"]:
            return 0, f"{NEXT}\n", ""
        if command[:2] == ["systemctl", "show"]:
            since = self.units.get(unit)
            active = "inactive" if since is None else "active"
            return 0, f"ActiveState={active}\nActiveEnterTimestamp=@{since or 0:.0f}\n", ""
        if command[:2] == ["systemctl", "stop"]:
            del self.units[unit]
            self.device.peers.pop(NEW, None)
            return 0, "", ""
        if command[0] == "systemd-run":
            if self.start_fails:
                return 1, "", "no such thing"
            (name,) = (word[7:] for word in command if word.startswith("--unit="))
            self.units[name] = time.time()
            return 0, "", ""
        return 0, "", ""


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_the_next_key_is_made_once_and_only_its_public_half_is_told(host: Host) -> None:
    predicted = host.run("prepared", check=True)
    assert (predicted["changed"], predicted["next_public_key"]) == (True, None)
    assert not host.next.exists()
    first = host.run("prepared")
    assert first["changed"]
    assert (first["public_key"], first["next_public_key"]) == (str(CURRENT), str(COMING))
    assert predicted["diff"] == first["diff"]
    host.commands.clear()
    monkey = host.next.read_text()
    second = host.run("prepared")
    assert second["next_public_key"] == str(COMING)
    assert host.next.read_text() == monkey
    assert ["wg", "genkey"] not in host.commands


def test_an_operator_s_own_key_takes_the_place_of_one_that_was_made(host: Host) -> None:
    host.run("prepared")
    given = host.run("prepared", private_key=GIVEN)
    assert given["next_public_key"] == str(public(GIVEN, ""))
    assert host.next.read_text() == f"{GIVEN}\n"
    assert host.run("prepared", private_key=FIRST)["next_public_key"] == str(CURRENT)
    assert not host.next.exists()
    assert not host.run("prepared", private_key=FIRST)["changed"]


def test_what_is_given_in_vain_is_refused_without_being_shown(host: Host) -> None:
    with pytest.raises(UsageError, match="goes with state=prepared only"):
        host.run("switched", private_key=GIVEN)
    with pytest.raises(UsageError) as caught:
        host.run("prepared", private_key="c2VjcmV0")
    assert "c2VjcmV0" not in str(caught.value)


def test_a_switch_is_predicted_done_and_done_once(host: Host) -> None:
    host.run("prepared")
    predicted = host.run("switched", check=True)
    assert host.conf.read_text() == CONF
    done = host.run("switched")
    assert predicted == done
    assert done["changed"]
    assert (done["public_key"], done["next_public_key"]) == (str(COMING), None)
    assert done["diff"][0]["before"] == f"{CURRENT}\n"
    assert done["diff"][0]["after"] == f"{COMING}\n"
    assert host.conf.read_text() == CONF.replace(FIRST, f"{NEXT}\n# Formerly = {CURRENT}")
    assert not host.next.exists()
    again = host.run("switched")
    assert (again["changed"], again["diff"], again["public_key"]) == (False, [], str(COMING))


def test_a_peer_without_a_session_after_the_switch_is_a_warning(host: Host) -> None:
    host.run("prepared")
    host.device.see(OLD, last_handshake=time.time() - 10)
    done = host.run("switched")
    assert done["unconfirmed"] == ["bob"]
    assert "no session with bob" in host.warnings[0]


def test_the_next_key_of_a_peer_is_announced_with_somebody_who_waits_for_it(host: Host) -> None:
    predicted = host.run("announced", successors=SUCCESSORS, check=True)
    assert NEW not in host.device.peers
    done = host.run("announced", successors=SUCCESSORS)
    assert predicted == done
    assert done["changed"]
    assert host.device.peers[NEW] == Peer(NEW, preshared_key=b"p" * 32)
    assert len(host.units) == 1
    # Whatever run comes next can tell by this which key took the other's place.
    noted = CONF.replace(f"{OLD}\n", f"{OLD}\n# Successor = {NEW}\n")
    assert host.conf.read_text() == noted
    again = host.run("announced", successors=SUCCESSORS)
    assert (again["changed"], again["diff"]) == (False, [])


def test_somebody_who_waits_no_longer_for_long_is_replaced(host: Host) -> None:
    host.run("announced", successors=SUCCESSORS)
    (unit,) = host.units
    host.units[unit] -= 400
    done = host.run("announced", successors=SUCCESSORS)
    assert done["steps"] == [f"start {unit}"]
    assert ["systemctl", "stop", unit] in host.commands
    assert NEW in host.device.peers
    assert host.units[unit] > time.time() - 100


def test_a_watcher_that_does_not_start_leaves_nothing_and_says_what_to_do(host: Host) -> None:
    host.start_fails = True
    with pytest.raises(WgsdError, match=r"(?s)no such thing.*wgsd\.mesh\.site"):
        host.run("announced", successors=SUCCESSORS)
    assert set(host.device.peers) == {OLD}
    assert host.conf.read_text() == CONF


def test_nobody_waits_where_there_is_nothing_to_wait_for(host: Host) -> None:
    unknown = [{"old": str(STRANGER), "new": str(STRANGE), "name": "carol"}]
    own = [{"old": str(CURRENT), "new": str(COMING), "name": "alice"}]
    done = host.run("announced", successors=unknown + own)
    assert (done["changed"], done["unknown"]) == (False, ["carol"])
    assert not [command for command in host.commands if command[0] == "systemd-run"]


def test_an_interface_that_does_not_run_cannot_get_to_know_anybody(host: Host) -> None:
    host.device.gone = True
    with pytest.raises(UsageError, match="systemctl start wg-quick@wg0"):
        host.run("announced", successors=SUCCESSORS)


def test_a_new_key_is_settled_in_the_file_with_all_that_was_there(host: Host) -> None:
    host.run("announced", successors=SUCCESSORS)
    before = host.conf.read_text()
    predicted = host.run("settled", successors=SUCCESSORS, check=True)
    assert host.conf.read_text() == before
    assert set(host.device.peers) == {OLD, NEW}
    done = host.run("settled", successors=SUCCESSORS)
    assert predicted == done
    assert host.conf.read_text() == CONF.replace(str(OLD), str(NEW))
    assert set(host.device.peers) == {NEW}
    assert host.device.peers[NEW].allowed_ips == ("10.0.0.2/32",)
    assert host.device.peers[NEW].preshared_key == b"p" * 32
    again = host.run("settled", successors=SUCCESSORS)
    assert (again["changed"], again["diff"], again["unknown"]) == (False, [], [])


def test_a_device_that_refuses_leaves_the_file_for_a_rerun(host: Host, monkeypatch) -> None:
    def refuse(_changes: object) -> None:
        raise WgsdError("refused")

    with monkeypatch.context() as patch:
        patch.setattr(host.device, "apply", refuse)
        with pytest.raises(WgsdError, match="refused"):
            host.run("settled", successors=SUCCESSORS)
    assert host.conf.read_text() == CONF
    assert host.run("settled", successors=SUCCESSORS)["changed"]
