# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which interfaces are WireGuard devices: by their kind, or by a socket that somebody serves."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import struct
import tempfile
import typing as t

import pytest

from wgsd.device import listing, netlink
from wgsd.device.listing import find_devices, link_kinds
from wgsd.errors import DeviceError

pytestmark = pytest.mark.unit

KINDS = {"lo": "", "eth0": "", "wg1": "wireguard", "wg0": "tun", "tun0": "tun"}


@pytest.fixture
def folder() -> t.Iterator[pathlib.Path]:
    """Where devices have their sockets; somebody listens on wg0's, and nobody on tun0's."""
    # pytest's own folders have names that are too long for sockets.
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        for device in ("wg0", "tun0", "elsewhere"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(f"{name}/{device}.sock")
            if device != "tun0":
                listener.listen()
        yield pathlib.Path(name)


def find(folder: pathlib.Path, names: t.Sequence[str] | None = None) -> list[str]:
    return find_devices(names, folder=folder, links=lambda: KINDS)


def test_finds_devices_of_the_kernel_and_those_of_userspace_that_live(folder):
    assert find(folder) == ["wg0", "wg1"]


def test_without_a_folder_of_sockets_there_are_those_of_the_kernel(tmp_path):
    assert find(tmp_path / "nowhere") == ["wg1"]


def test_of_those_that_are_named_it_leaves_out_what_is_not_there(folder):
    assert find(folder, ["wg1", "wg7", "wg1", "elsewhere"]) == ["wg1"]
    assert find(folder, []) == []


@pytest.mark.parametrize("name", ["eth0", "tun0"])
def test_one_that_is_named_and_of_another_kind_is_an_error_with_a_remedy(folder, name):
    with pytest.raises(DeviceError, match=f"{name} is an interface, but not .*wg show interfaces"):
        find(folder, ["wg0", name])


def test_a_folder_that_cannot_be_read_is_an_error_with_a_remedy(monkeypatch, tmp_path):
    def refuse(_path: pathlib.Path) -> t.NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "iterdir", refuse)
    with pytest.raises(DeviceError, match=f"{tmp_path}: cannot be read: .*run as root"):
        find(tmp_path)


def test_the_kernel_tells_the_interfaces_of_this_host():
    kinds = link_kinds()
    assert kinds.keys() == {name for _index, name in socket.if_nameindex()}
    assert kinds["lo"] == ""


def link(name: bytes, *more: bytes) -> bytes:
    return bytes(16) + netlink.attribute(3, name + b"\0") + b"".join(more)


def test_the_kind_is_read_from_what_the_kernel_says_of_a_link(monkeypatch):
    said = [
        link(b"lo"),
        link(b"wg0", netlink.nest(18, [netlink.attribute(1, b"wireguard\0")])),
        link(b"eth0", netlink.attribute(4, struct.pack("=I", 1500))),
    ]
    monkeypatch.setattr(netlink, "dump_route", lambda *_request: iter(said))
    assert link_kinds() == {"lo": "", "wg0": "wireguard", "eth0": ""}


def test_a_list_that_changes_while_it_is_read_is_read_again_but_not_for_ever(monkeypatch):
    reads: list[int] = []

    def spoiled(*_request: t.Any) -> t.Iterator[bytes]:
        reads.append(1)
        yield link(b"lo")
        if len(reads) < 3:
            raise netlink.DumpInterrupted

    monkeypatch.setattr(netlink, "dump_route", spoiled)
    assert link_kinds() == {"lo": ""}
    assert len(reads) == 3

    def never_done(*_request: t.Any) -> t.Iterator[bytes]:
        yield link(b"lo")
        raise netlink.DumpInterrupted

    monkeypatch.setattr(netlink, "dump_route", never_done)
    with pytest.raises(DeviceError, match="changed during each of 10 reads"):
        link_kinds()


@pytest.mark.parametrize("fault", [OSError(1, "Operation not permitted"), ValueError("cut off")])
def test_what_the_kernel_does_not_say_is_an_error(monkeypatch, fault):
    def refuse(*_request: t.Any) -> t.NoReturn:
        raise fault

    monkeypatch.setattr(listing.netlink, "dump_route", refuse)
    with pytest.raises(DeviceError, match="does not list the interfaces"):
        link_kinds()
