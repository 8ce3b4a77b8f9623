# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel backend where the kernel misbehaves: spoilt dumps, refusals, no WireGuard at all."""

from __future__ import annotations

import errno
import os
import typing as t

import pytest

from wgsd import device
from wgsd.device import kernel, netlink
from wgsd.device.netlink import attribute, nest
from wgsd.errors import DeviceError, NoDeviceError
from wgsd.keys import PublicKey
from wgsd.model import PeerChange

pytestmark = pytest.mark.unit

KEY = PublicKey(bytes(range(32)))
OTHER_KEY = PublicKey(bytes(range(1, 33)))
PEER = nest(8, [nest(0, [attribute(1, KEY)])])
OTHER_PEER = nest(8, [nest(0, [attribute(1, OTHER_KEY)])])

Step = t.Union[bytes, BaseException]


class Connection:
    """Plays a list of dumps, each a list of messages and exceptions, and refuses requests."""

    opened: t.ClassVar[list[Connection]] = []

    def __init__(self, dumps: list[list[Step]], refusal: OSError | None) -> None:
        self._dumps = dumps
        self._refusal = refusal
        self.closed = False
        self.opened.append(self)

    def close(self) -> None:
        self.closed = True

    def dump(self, _command: int, _attributes: bytes) -> t.Iterator[bytes]:
        for step in self._dumps.pop(0):
            if isinstance(step, BaseException):
                raise step
            yield step

    def request(self, _command: int, _attributes: bytes) -> None:
        if self._refusal:
            raise self._refusal


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., kernel.KernelBackend]:
    def start(*dumps: list[Step], refusal: OSError | None = None) -> kernel.KernelBackend:
        script = [[], *dumps]
        monkeypatch.setattr(Connection, "opened", [])
        monkeypatch.setattr(
            netlink,
            "GenericSocket",
            lambda _family: Connection(script, refusal),
        )
        # lo is there everywhere, and nothing real is asked.
        return kernel.KernelBackend("lo")

    return start


def test_a_dump_that_is_interrupted_is_read_again_from_the_start(
    play: t.Callable[..., kernel.KernelBackend],
) -> None:
    backend = play([PEER, netlink.DumpInterrupted()], [OTHER_PEER])
    assert list(backend.read().peers) == [OTHER_KEY]


def test_reads_share_a_socket_until_one_fails(
    play: t.Callable[..., kernel.KernelBackend],
) -> None:
    backend = play([PEER], [PEER], [PEER, netlink.DumpInterrupted()], [PEER], [failure(errno.EIO)])
    backend.read()
    backend.read()
    probe, first = Connection.opened
    assert (probe.closed, first.closed) == (True, False)
    backend.read()
    *_before, second = Connection.opened
    assert (len(Connection.opened), first.closed, second.closed) == (3, True, False)
    with pytest.raises(DeviceError):
        backend.read()
    assert second.closed


def test_a_closed_device_keeps_neither_socket_nor_peers(
    play: t.Callable[..., kernel.KernelBackend],
) -> None:
    backend = play([PEER], [PEER])
    before = backend.read().peers[KEY]
    backend.close()
    assert all(connection.closed for connection in Connection.opened)
    after = backend.read().peers[KEY]
    assert (after, after is before) == (before, False)


def test_an_unchanged_peer_stays_the_same_object_though_dumps_are_interrupted(
    play: t.Callable[..., kernel.KernelBackend],
) -> None:
    backend = play([PEER], [OTHER_PEER, netlink.DumpInterrupted()], [PEER, OTHER_PEER])
    before = backend.read().peers
    after = backend.read().peers
    assert list(after) == [KEY, OTHER_KEY]
    assert after[KEY] is before[KEY]


def test_a_device_that_changes_all_the_time_is_given_up(
    play: t.Callable[..., kernel.KernelBackend],
) -> None:
    backend = play(*[[netlink.DumpInterrupted()]] * kernel.DUMP_ATTEMPTS)
    with pytest.raises(DeviceError, match="changed during each of 10 reads"):
        backend.read()


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENODEV, NoDeviceError, "wg-quick up lo"),
        (errno.EPERM, DeviceError, "CAP_NET_ADMIN"),
        (errno.EOPNOTSUPP, DeviceError, "not a WireGuard one"),
        (errno.ENOENT, DeviceError, "modprobe wireguard"),
        (errno.EADDRINUSE, DeviceError, "listen port"),
        (errno.EINVAL, DeviceError, "Invalid argument"),
    ],
)
def test_the_kernels_refusals_say_what_to_do(
    play: t.Callable[..., kernel.KernelBackend], code: int, kind: type[DeviceError], words: str
) -> None:
    backend = play([failure(code)])
    with pytest.raises(DeviceError, match=words) as caught:
        backend.read()
    assert isinstance(caught.value, NoDeviceError) == (kind is NoDeviceError)
    assert "lo" in caught.value.message


def test_a_refused_change_names_its_peer(play: t.Callable[..., kernel.KernelBackend]) -> None:
    backend = play(refusal=failure(errno.EINVAL))
    with pytest.raises(DeviceError, match=f"for the peer {KEY}".replace("+", r"\+")):
        backend.apply([PeerChange(KEY, create=True)])


def test_a_kernel_that_does_not_answer_is_reported(
    play: t.Callable[..., kernel.KernelBackend],
) -> None:
    backend = play([TimeoutError("timed out")])
    with pytest.raises(DeviceError, match="no answer within 10 s"):
        backend.read()


def test_an_answer_that_makes_no_sense_is_reported(
    play: t.Callable[..., kernel.KernelBackend],
) -> None:
    backend = play([b"\1"])
    with pytest.raises(DeviceError, match="cannot be understood"):
        backend.read()


def test_if_neither_backend_may_be_reached_both_reasons_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(message: str, remedy: str) -> t.Callable[..., t.NoReturn]:
        def raise_it(_name: str, **_options: object) -> t.NoReturn:
            raise DeviceError(message, remedy)

        return raise_it

    monkeypatch.setattr(device, "UserspaceBackend", refuse("no socket", "CAP_DAC_OVERRIDE"))
    monkeypatch.setattr(device, "KernelBackend", refuse("no netlink", "CAP_NET_ADMIN"))
    with pytest.raises(DeviceError) as caught:
        device.open_device("wg0")
    for words in ("no socket", "no netlink", "CAP_DAC_OVERRIDE", "CAP_NET_ADMIN"):
        assert words in str(caught.value)
