# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's own next key: kept, switched to from wherever an earlier try has ended, and told."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import pathlib
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _files, _wg_key, _wg_poke
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_key import (
    OwnKey,
    Step,
    Whereabouts,
    public,
    steps,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import (
    DeviceError,
    NoDeviceError,
    UsageError,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import (
    PublicKey,
    decode_base64_key,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import (
    Device,
    Endpoint,
    Peer,
    PeerChange,
)

pytestmark = pytest.mark.unit

#: As WireGuard clamps them.
FIRST, NEXT = (base64.b64encode(bytes([8]) * 31 + bytes([n])).decode() for n in (65, 66))
CURRENT, COMING = public(FIRST, ""), public(NEXT, "")
CONF = f"""\
# My notes
[Interface]
Address = 10.0.0.1/24
PrivateKey = {FIRST} # do not touch

# Bob's laptop
[Peer]
PublicKey = {base64.b64encode(b"b" * 32).decode()}
AllowedIPs = 10.0.0.2/32
"""
WITH_HOOK = "[Interface]\nPostUp = wg set %i private-key {path}\n"


class FakeDevice:
    """A device that has a key."""

    kind = "userspace"

    def __init__(self, private_key: str = FIRST) -> None:
        self.private_key: bytes = decode_base64_key(private_key)
        self.runs = True
        self.deaf = False

    def open(self, _name: str) -> t.Any:
        if not self.runs:
            raise NoDeviceError("it does not run")
        return self

    def read(self) -> Device:
        key = public(base64.b64encode(self.private_key).decode(), "")
        return Device("wg0", key, 51820, 0, {})

    def configure(self, *, private_key: bytes) -> None:
        if not self.deaf:
            self.private_key = private_key

    def close(self) -> None:
        pass

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


class Host:
    """The folder and the device of a host."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.conf = folder / "wg0.conf"
        self.next = folder / "wg0.key-next"
        self.conf.write_text(CONF)
        self.device = FakeDevice()

    def own(self) -> OwnKey:
        return OwnKey("wg0", lambda _: (0, "", ""), folder=self.folder, opener=self.device.open)

    def switch(self) -> None:
        own = self.own()
        for step in steps(own.whereabouts()):
            own.do(step)


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose files may belong to whoever runs the tests."""
    monkeypatch.setattr(_files.os, "fchown", lambda *_: None)
    return Host(tmp_path)


def test_there_is_nothing_to_switch_to_without_a_next_key():
    assert steps(Whereabouts(CURRENT, CURRENT, None)) == ()


@pytest.mark.parametrize("device", [CURRENT, COMING, None])
@pytest.mark.parametrize("file", [CURRENT, COMING, None])
def test_from_everywhere_the_file_comes_first_and_the_next_key_goes_last(file, device):
    todo = steps(Whereabouts(file, device, COMING))
    assert (Step.WRITE_FILE in todo) == (file != COMING)
    assert (Step.SET_DEVICE in todo) == (device == CURRENT)
    assert todo[-1] is Step.FORGET_NEXT
    assert sorted(todo, key=list(Step).index) == list(todo)


@pytest.mark.parametrize("crash_after", range(4))
def test_a_rerun_completes_what_a_crash_has_left(host: Host, crash_after: int) -> None:
    host.own().keep(NEXT)
    own = host.own()
    for step in itertools.islice(steps(own.whereabouts()), crash_after):
        own.do(step)
    if crash_after < 2:
        assert host.own().whereabouts().current == CURRENT, "the others still know it by this"
    host.switch()
    where = host.own().whereabouts()
    assert where == Whereabouts(COMING, COMING, None)
    assert not host.next.exists()
    noted = f"{NEXT} # do not touch\n# Formerly = {CURRENT}"
    assert host.conf.read_text() == CONF.replace(f"{FIRST} # do not touch", noted)


def test_a_host_that_boots_in_the_middle_starts_with_the_key_that_others_expect(host: Host) -> None:
    host.own().keep(NEXT)
    own = host.own()
    own.do(steps(own.whereabouts())[0])
    host.device.private_key = decode_base64_key(NEXT)
    assert steps(host.own().whereabouts()) == (Step.FORGET_NEXT,)


def test_an_interface_that_does_not_run_gets_the_key_by_its_file(host: Host) -> None:
    host.device.runs = False
    host.own().keep(NEXT)
    host.switch()
    assert host.own().whereabouts() == Whereabouts(COMING, None, None)


def test_a_key_that_a_hook_loads_is_replaced_in_its_own_file(host: Host) -> None:
    key_file = host.folder / "private.key"
    key_file.write_text(f"{FIRST}\n")
    conf = WITH_HOOK.format(path=key_file)
    host.conf.write_text(conf)
    assert host.own().whereabouts().file == CURRENT
    host.own().keep(NEXT)
    host.switch()
    assert key_file.read_text() == f"{NEXT}\n"
    assert host.conf.read_text() == f"{conf}# Formerly = {CURRENT}\n"
    assert host.own().whereabouts() == Whereabouts(COMING, COMING, None)


def test_a_crash_before_the_key_file_is_written_loses_no_former_key(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = host.folder / "private.key"
    key_file.write_text(f"{FIRST}\n")
    host.conf.write_text(WITH_HOOK.format(path=key_file) + f"PrivateKey = {FIRST}\n")
    host.own().keep(NEXT)
    write = _wg_key.write_file

    def crash(path: pathlib.Path, state: t.Any) -> None:
        if path == key_file:
            raise KeyboardInterrupt
        write(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(_wg_key, "write_file", crash)
        with pytest.raises(KeyboardInterrupt):
            host.switch()
    assert host.own().whereabouts() == Whereabouts(CURRENT, CURRENT, COMING)
    host.switch()
    assert host.own().whereabouts() == Whereabouts(COMING, COMING, None)
    assert host.own().file.interface.former_keys == [CURRENT]


def test_the_last_keys_are_remembered_and_each_once(host: Host) -> None:
    secrets = [base64.b64encode(bytes([8]) * 31 + bytes([70 + n])).decode() for n in range(15)]
    for secret in (*secrets, FIRST):
        host.own().keep(secret)
        host.switch()
    former = host.own().file.interface.former_keys
    assert former == [public(secret, "") for secret in secrets[:2:-1]]


def test_a_next_key_is_for_root_alone(host: Host) -> None:
    host.own().keep(NEXT)
    assert host.next.stat().st_mode & 0o777 == 0o600
    assert host.own().next_state.text == f"{NEXT}\n"


def test_a_device_that_does_not_take_the_key_keeps_the_next_one_for_a_rerun(host: Host) -> None:
    host.device.deaf = True
    host.own().keep(NEXT)
    with pytest.raises(
        DeviceError, match=f"was given the key {COMING.base64[:8]}".replace("+", ".")
    ):
        host.switch()
    assert host.next.exists()


def test_what_is_no_key_is_refused_without_being_shown(host: Host) -> None:
    host.next.write_text("c2VjcmV0\n")
    with pytest.raises(UsageError) as caught:
        host.own().whereabouts()
    assert str(host.next) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_an_interface_without_a_file_is_told_what_to_do(host: Host) -> None:
    host.conf.unlink()
    with pytest.raises(UsageError, match=r"wgsd\.mesh\.site"):
        host.own()


# Poking.

BOB, CAROL = PublicKey(b"b" * 32), PublicKey(b"c" * 32)
HOME = Endpoint("192.0.2.20", 51820)
NOW = 1_800_000_000.0


def peer(key: PublicKey = BOB, **fields: t.Any) -> Peer:
    whole = {"endpoint": HOME, "allowed_ips": ("10.0.0.2/32",), "last_handshake": NOW - 60}
    return Peer(key, **{**whole, **fields})


def device(*peers: Peer) -> Device:
    return Device("wg0", COMING, 51820, 0, {p.public_key: p for p in peers})


@pytest.mark.parametrize(
    ("blocks", "addresses"),
    [
        (("10.0.0.2/32", "fd00::2/128"), ["10.0.0.2", "fd00::2"]),
        (("192.168.7.0/24",), ["192.168.7.1"]),
        (("10.0.0.8/31",), ["10.0.0.8"]),
        (("0.0.0.0/0", "::/0"), []),
    ],
)
def test_each_network_behind_a_peer_is_sent_something(blocks, addresses):
    assert list(_wg_poke.addresses_of(peer(allowed_ips=blocks))) == addresses


def test_a_peer_without_an_endpoint_is_left_alone():
    known = peer()
    assert _wg_poke.to_poke(device(known, peer(CAROL, endpoint=None))) == [known]


def test_who_had_no_session_is_not_waited_for():
    before = device(peer(), peer(CAROL, last_handshake=NOW - 600))
    assert _wg_poke.deaf(before, before, NOW) == [before.peers[BOB]]
    after = device(peer(last_handshake=NOW + 0.1), peer(CAROL, last_handshake=NOW - 600))
    assert _wg_poke.deaf(before, after, NOW) == []
    assert _wg_poke.deaf(before, device(), NOW) == []


class Poked:
    """A device whose peer answers at the given second, to the given try."""

    kind = "userspace"

    def __init__(self, at: float, to_try: int = 1) -> None:
        self.now = 0.0
        self.at, self.to_try = at, to_try
        self.changes: list[PeerChange] = []
        self.sent: list[str] = []
        self.peer = peer(preshared_key=b"p" * 32)
        self.before = self.read()

    def read(self) -> Device:
        if self.now >= self.at and len(self.sent) >= self.to_try:
            self.peer = dataclasses.replace(self.peer, last_handshake=NOW + self.now)
        return device(self.peer)

    def apply(self, changes: t.Sequence[PeerChange]) -> None:
        self.changes += changes

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self) -> list[PublicKey]:
        poking = _wg_poke.Poking(
            "wg0",
            t.cast(t.Any, self),
            self.before,
            NOW,
            steady=lambda: self.now,
            sleep=self.sleep,
            send=lambda _interface, addresses: self.sent.extend(addresses),
        )
        poking.begin()
        return poking.wait(10)


def test_a_peer_that_answers_is_not_touched():
    wg = Poked(0.2)
    assert wg.wait() == []
    assert (wg.sent, wg.changes) == (["10.0.0.2"], [])
    assert wg.now < 0.3


def test_a_peer_whose_handshake_was_lost_is_asked_anew_after_a_second():
    wg = Poked(1.0, to_try=2)
    assert wg.wait() == []
    assert wg.changes == [PeerChange.anew(wg.before.peers[BOB], HOME)]
    assert wg.now < 1.2


def test_a_peer_that_does_not_answer_is_named_in_the_end():
    wg = Poked(99)
    assert wg.wait() == [BOB]
    assert len(wg.changes) == 2
    assert wg.now == pytest.approx(10, abs=0.1)


def test_the_tunnels_are_poked_before_the_next_key_is_forgotten(host: Host, monkeypatch) -> None:
    told = []
    poking = t.cast(t.Any, _wg_poke.Poking)
    monkeypatch.setattr(poking, "begin", lambda _self: told.append(host.next.exists()))
    host.own().keep(NEXT)
    own = host.own()
    todo = steps(own.whereabouts())
    assert _wg_key.switch(own, todo, "wg0", 10, host.device.open) == []
    assert told == [True]
    assert not host.next.exists()
