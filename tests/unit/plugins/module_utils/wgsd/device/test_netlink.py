# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Netlink in bytes: splitting datagrams and attributes, and dumps and requests over a socket."""

from __future__ import annotations

import socket
import struct
import typing as t

import pytest

from wgsd.device import netlink

pytestmark = pytest.mark.unit

FAMILY = 31
CONTROL = 16
DONE, ERROR, DUMP_INTR = 3, 2, 0x10


def message(kind: int, body: bytes, flags: int = 0, sequence: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


class Kernel:
    """Stands for the kernel's end of a netlink socket: datagrams that it will send.

    The first one answers which number the family has.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *datagrams: bytes, first: bytes | None = None
    ) -> None:
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.send(message(CONTROL, NUMBER, sequence=1) if first is None else first)
        for datagram in datagrams:
            self._theirs.send(datagram)
        monkeypatch.setattr(netlink, "_open", lambda: _Netlink(ours))
        self.connection = netlink.GenericSocket("wireguard")
        self.asked = self.sent()

    def sent(self) -> bytes:
        return self._theirs.recv(65536)


#: What the kernel says of a family, as far as it matters: its name and its number.
NUMBER = (
    b"\x01\x02\0\0"
    + netlink.attribute(2, b"wireguard\0")
    + netlink.attribute(1, struct.pack("=H", FAMILY))
)


class _Netlink:
    """A socket that takes netlink's addresses and options, which a pair of sockets does not."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner

    def sendto(self, data: bytes, _address: tuple[int, int]) -> int:
        return self._inner.send(data)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option, value) == (270, 10, 1)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._inner, name)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., Kernel]:
    return lambda *datagrams, **first: Kernel(monkeypatch, *datagrams, **first)


def error(code: int) -> bytes:
    return struct.pack("=i", -code) + bytes(16)


def test_attributes_are_padded_and_read_back() -> None:
    raw = netlink.attribute(2, b"wg0\0\0") + netlink.nest(8, [netlink.attribute(1, b"k")])
    assert len(raw) % 4 == 0
    (first, second) = netlink.attributes(raw)
    assert first == (2, b"wg0\0\0")
    assert second[0] == 8
    assert list(netlink.attributes(second[1])) == [(1, b"k")]


@pytest.mark.parametrize("raw", [b"\1", b"\3\0\1\0", b"\0\0\0\0", b"\x09\0\1\0abcd"])
def test_an_attribute_that_is_cut_off_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        list(netlink.attributes(raw))


def test_the_number_of_the_family_is_asked_for_by_its_name(
    kernel: t.Callable[..., Kernel],
) -> None:
    asked = kernel().asked
    length, kind, flags, sequence, _port = struct.unpack("=IHHII", asked[:16])
    assert (length, kind, flags, sequence) == (len(asked), CONTROL, 1, 1)
    assert asked[16:] == b"\x03\x01\0\0" + netlink.attribute(2, b"wireguard\0")


def test_a_family_that_the_kernel_does_not_have_is_its_error(
    kernel: t.Callable[..., Kernel],
) -> None:
    with pytest.raises(FileNotFoundError):
        kernel(first=message(ERROR, error(2), sequence=1))


def test_a_family_without_a_number_is_no_netlink(kernel: t.Callable[..., Kernel]) -> None:
    with pytest.raises(ValueError, match="wireguard"):
        kernel(first=message(CONTROL, NUMBER[:4], sequence=1))


@pytest.mark.parametrize("cut", [1, 15, 17, 23])
def test_a_datagram_that_is_cut_off_is_refused(cut: int) -> None:
    datagram = message(FAMILY, b"\0\1\0\0" + b"abcd")
    with pytest.raises(ValueError, match="cut off"):
        list(netlink.messages(datagram[:cut]))


def test_a_dump_yields_the_attributes_of_all_its_messages(
    kernel: t.Callable[..., Kernel],
) -> None:
    end = kernel(
        message(FAMILY, b"\0\1\0\0first") + bytes(3) + message(FAMILY, b"\0\1\0\0late", sequence=9),
        message(FAMILY, b"\0\1\0\0second") + bytes(2) + message(DONE, error(0)),
    )
    assert list(end.connection.dump(7, b"what")) == [b"first", b"second"]
    length, kind, flags, _sequence, _port = struct.unpack("=IHHII", (request := end.sent())[:16])
    assert (length, kind, flags) == (len(request), FAMILY, 0x301)
    assert request[16:] == b"\x07\x01\0\0what"


def test_a_dump_of_something_that_changes_is_interrupted(kernel: t.Callable[..., Kernel]) -> None:
    end = kernel(
        message(FAMILY, b"\0\1\0\0first") + bytes(3),
        message(FAMILY, b"\0\1\0\0more", flags=DUMP_INTR),
    )
    dump = end.connection.dump(0, b"")
    assert next(dump) == b"first"
    with pytest.raises(netlink.DumpInterrupted):
        next(dump)


@pytest.mark.parametrize("kind", [ERROR, DONE])
def test_a_dump_that_fails_raises_the_kernels_error(
    kernel: t.Callable[..., Kernel], kind: int
) -> None:
    end = kernel(message(kind, error(19)))
    with pytest.raises(OSError, match="No such device") as caught:
        list(end.connection.dump(0, b""))
    assert caught.value.errno == 19


def test_a_request_waits_for_its_own_acknowledgement(kernel: t.Callable[..., Kernel]) -> None:
    end = kernel(message(ERROR, error(1), sequence=77), message(ERROR, error(0)))
    end.connection.request(1, b"")
    assert end.sent()[6:8] == b"\x05\0"


def test_a_request_that_fails_raises_the_kernels_error(kernel: t.Callable[..., Kernel]) -> None:
    end = kernel(message(ERROR, error(1)))
    with pytest.raises(PermissionError):
        end.connection.request(1, b"")
