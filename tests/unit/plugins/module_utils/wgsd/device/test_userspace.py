# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The userspace protocol: what is sent, what is understood, and faults that real devices lack."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import socket
import tempfile
import threading
import time
import typing as t

import pytest

from wgsd.device.userspace import UserspaceBackend
from wgsd.errors import DeviceError, NoDeviceError, SlowDeviceError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, PeerChange

pytestmark = pytest.mark.unit

KEY = PublicKey(bytes(range(32)))
OTHER_KEY = PublicKey(bytes(range(1, 33)))
THIRD_KEY = PublicKey(bytes(range(2, 34)))
# Of Alice in RFC 7748 section 6.1.
PRIVATE_HEX = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
PUBLIC_HEX = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
SECRET_HEX = "5ec2e7" + "ab" * 29

PEER = f"""public_key={KEY.hex()}
preshared_key={SECRET_HEX}
protocol_version=1
endpoint=192.0.2.1:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=250000000
tx_bytes=11
rx_bytes=22
persistent_keepalive_interval=25
allowed_ip=10.0.0.0/24
allowed_ip=2001:db8::/32
"""


class Scripted:
    """A userspace device that gives one reply to every request and keeps the requests.

    Attributes:
        reply: May be changed between two requests.
    """

    def __init__(self, path: pathlib.Path, reply: bytes, hold: bool) -> None:
        self.requests: list[str] = []
        self.reply = reply
        self._hold = hold
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            request = b""
            while not request.endswith(b"\n\n"):
                chunk = connection.recv(65536)
                if not chunk:
                    break
                request += chunk
            if request:
                self.requests.append(request.decode())
                connection.sendall(self.reply)
            if self._hold:
                self._open.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in self._open:
            connection.close()


@pytest.fixture
def folder() -> t.Iterator[pathlib.Path]:
    # The path of a Unix socket has 107 bytes at most, and pytest's own folders are long.
    path = pathlib.Path(tempfile.mkdtemp(prefix="wgd"))
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def device(
    folder: pathlib.Path, reply: str | bytes, *, hold: bool = True, timeout: float = 5.0
) -> t.Iterator[tuple[UserspaceBackend, Scripted]]:
    raw = reply.encode() if isinstance(reply, str) else reply
    scripted = Scripted(folder / "wg0.sock", raw, hold)
    try:
        yield UserspaceBackend("wg0", folder=folder, timeout=timeout), scripted
    finally:
        scripted.close()


def test_every_field_of_a_reply_is_read(folder: pathlib.Path) -> None:
    head = f"private_key={PRIVATE_HEX}\nlisten_port=51820\nfwmark=51820\n"
    with device(folder, f"{head}{PEER}public_key={OTHER_KEY.hex()}\nerrno=0\n\n") as (
        backend,
        _asked,
    ):
        snapshot = backend.read()
    assert (snapshot.name, snapshot.listen_port, snapshot.fwmark) == ("wg0", 51820, 51820)
    assert snapshot.public_key == PublicKey.from_hex(PUBLIC_HEX)
    assert PRIVATE_HEX not in repr(vars(backend))
    peer = snapshot.peers[KEY]
    assert peer.endpoint == Endpoint("192.0.2.1", 51820)
    assert peer.allowed_ips == ("10.0.0.0/24", "2001:db8::/32")
    assert peer.last_handshake == 1700000000.25
    assert (peer.tx_bytes, peer.rx_bytes, peer.persistent_keepalive) == (11, 22, 25)
    assert peer.preshared_key == bytes.fromhex(SECRET_HEX)
    bare = snapshot.peers[OTHER_KEY]
    assert (bare.endpoint, bare.allowed_ips, bare.preshared_key) == (None, (), None)


def test_an_unchanged_peer_is_the_same_object_and_a_changed_one_shares_what_it_can(
    folder: pathlib.Path,
) -> None:
    quiet = f"public_key={OTHER_KEY.hex()}\nendpoint=192.0.2.2:7\n"
    with device(folder, f"{PEER}{quiet}errno=0\n\n") as (backend, scripted):
        before = backend.read().peers
        # A Go map has no order.
        scripted.reply = f"{quiet}{PEER.replace('rx_bytes=22', 'rx_bytes=23')}errno=0\n\n".encode()
        after = backend.read().peers
        backend.close()
        anew = backend.read().peers
    assert after[OTHER_KEY] is before[OTHER_KEY]
    assert (before[KEY].rx_bytes, after[KEY].rx_bytes) == (22, 23)
    assert after[KEY].endpoint is before[KEY].endpoint
    assert after[KEY].allowed_ips is before[KEY].allowed_ips
    assert anew == after
    assert anew[OTHER_KEY] is not before[OTHER_KEY], "a closed device has kept its peers"


def test_a_reply_that_fails_leaves_the_peers_known(folder: pathlib.Path) -> None:
    whole = f"{PEER}errno=0\n\n".encode()
    with device(folder, whole) as (backend, scripted):
        before = backend.read().peers[KEY]
        scripted.reply = f"{PEER}public_key=abcd\nerrno=0\n\n".encode()
        with pytest.raises(DeviceError):
            backend.read()
        scripted.reply = whole
        assert backend.read().peers[KEY] is before


def test_the_name_in_a_zone_is_looked_up_at_each_read(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes = {"here0": 4}
    monkeypatch.setattr(socket, "if_nametoindex", indexes.__getitem__)
    peer = f"public_key={KEY.hex()}\nendpoint=[fe80::1%here0]:7\n"
    with device(folder, f"{peer}errno=0\n\n") as (backend, _asked):
        before = backend.read().peers[KEY]
        assert before.endpoint == Endpoint("fe80::1", 7, 4)
        assert backend.read().peers[KEY] is before
        indexes["here0"] = 5
        assert backend.read().peers[KEY].endpoint == Endpoint("fe80::1", 7, 5)


def test_a_device_without_anything_is_read(folder: pathlib.Path) -> None:
    with device(folder, "errno=0\n\n") as (backend, _asked):
        snapshot = backend.read()
    assert (snapshot.public_key, snapshot.listen_port, snapshot.peers) == (None, 0, {})


def test_the_public_key_of_boringtun_is_taken_as_it_is(folder: pathlib.Path) -> None:
    with device(folder, f"own_public_key={KEY.hex()}\nerrno=0\n\n") as (backend, _asked):
        assert backend.read().public_key == KEY


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("[2001:DB8:0::1]:7", Endpoint("2001:db8::1", 7)),
        ("[::ffff:192.0.2.1]:7", Endpoint("192.0.2.1", 7)),
        ("[fe80::1%1]:7", Endpoint("fe80::1", 7, 1)),
        ("[fe80::1%lo]:7", Endpoint("fe80::1", 7, 1)),
        ("[fe80::1%gone]:7", Endpoint("fe80::1", 7)),
    ],
)
def test_endpoints_come_in_one_spelling(
    folder: pathlib.Path, text: str, endpoint: Endpoint
) -> None:
    with device(folder, f"public_key={KEY.hex()}\nendpoint={text}\nerrno=0\n\n") as (
        backend,
        _asked,
    ):
        assert backend.read().peers[KEY].endpoint == endpoint


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"errno=0\n",
        PEER.encode(),
        b"listen_port=51820\n\n",
        b"errno=none\n\n",
        b"\xff\xfe\x00garbage\n\n",
        b"HTTP/1.1 400 Bad Request\nerrno=0\n\n",
        b"listen_port=many\nerrno=0\n\n",
        b"public_key=abcd\nerrno=0\n\n",
        b"private_key=abcd\nerrno=0\n\n",
        f"public_key={KEY.hex()}\nendpoint=here:51820\nerrno=0\n\n".encode(),
        f"public_key={KEY.hex()}\nendpoint=192.0.2.1\nerrno=0\n\n".encode(),
        f"public_key={KEY.hex()}\nallowed_ip=10.0.0.0\nerrno=0\n\n".encode(),
        f"public_key={KEY.hex()}\nlast_handshake_time_sec=x\nerrno=0\n\n".encode(),
    ],
)
def test_a_reply_that_is_cut_off_or_garbage_names_the_socket(
    folder: pathlib.Path, reply: bytes
) -> None:
    with (
        device(folder, reply, hold=False) as (backend, _asked),
        pytest.raises(DeviceError) as caught,
    ):
        backend.read()
    assert str(folder / "wg0.sock") in caught.value.message
    assert caught.value.remedy


def test_an_error_never_shows_a_secret(folder: pathlib.Path) -> None:
    reply = f"private_key={SECRET_HEX}zz\npublic_key={KEY.hex()}\n{SECRET_HEX}\nerrno=0\n\n"
    with device(folder, reply) as (backend, _asked), pytest.raises(DeviceError) as caught:
        backend.read()
    assert SECRET_HEX not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("code", ["22", "-22"])
def test_an_errno_is_an_error_in_words(folder: pathlib.Path, code: str) -> None:
    change = PeerChange(KEY, create=True)
    with device(folder, f"errno={code}\n\n") as (backend, _asked):
        with pytest.raises(DeviceError, match=r"wg0: .*Invalid argument \(errno 22\)"):
            backend.apply([change])
        with pytest.raises(DeviceError, match="Invalid argument"):
            backend.read()


def test_a_device_that_says_nothing_is_given_up_in_time(folder: pathlib.Path) -> None:
    refused = pytest.raises(DeviceError, match=r"no answer within 0\.05 s")
    with device(folder, b"", timeout=0.05) as (backend, _asked), refused as caught:
        backend.read()
    assert caught.value.remedy


@contextlib.contextmanager
def slow_device(
    folder: pathlib.Path, timeout: float = 5.0
) -> t.Iterator[tuple[UserspaceBackend, socket.socket]]:
    """A device that accepts and replies when the test does, and a reader without much patience."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "wg0.sock"))
        listener.listen()
        backend = UserspaceBackend("wg0", folder=folder, timeout=timeout, patience=0.01)
        listener.accept()[0].close()
        with backend:
            yield backend, listener


def test_a_reader_without_patience_gets_the_reply_when_it_is_there(folder: pathlib.Path) -> None:
    with slow_device(folder) as (backend, listener):
        for _time in range(2):
            with pytest.raises(SlowDeviceError, match="wg0"):
                backend.read()
        connection, _address = listener.accept()
        with connection:
            assert connection.recv(100) == b"get=1\n\n"
            for part in ("listen_port=7\n", PEER):
                connection.sendall(part.encode())
                with pytest.raises(SlowDeviceError):
                    backend.read()
            connection.sendall(b"errno=0\n\n")
            found = backend.read()
            assert (found.listen_port, list(found.peers)) == (7, [KEY])
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()


def test_a_reader_without_patience_gives_up_in_time_too_and_then_asks_anew(
    folder: pathlib.Path,
) -> None:
    with slow_device(folder, timeout=0.1) as (backend, listener):
        with pytest.raises(SlowDeviceError):
            backend.read()
        time.sleep(0.1)
        with pytest.raises(DeviceError, match=r"no answer within 0\.1 s") as caught:
            backend.read()
        assert not isinstance(caught.value, SlowDeviceError)
        with pytest.raises(SlowDeviceError):
            backend.read()
        assert listener.accept()[0].recv(100) == b"get=1\n\n"
        assert listener.accept()[0].recv(100) == b"get=1\n\n"


def test_a_device_that_ends_while_it_is_waited_for_is_no_device(folder: pathlib.Path) -> None:
    with slow_device(folder) as (backend, listener):
        with pytest.raises(SlowDeviceError):
            backend.read()
        listener.close()
        with pytest.raises(NoDeviceError):
            backend.read()


def test_a_socket_file_without_a_listener_is_no_device(folder: pathlib.Path) -> None:
    with device(folder, "errno=0\n\n") as (backend, _asked):
        assert backend.read().peers == {}
    assert (folder / "wg0.sock").exists()
    with pytest.raises(NoDeviceError, match="wg0"):
        backend.read()
    with pytest.raises(NoDeviceError, match="wg0"):
        UserspaceBackend("wg0", folder=folder)


def test_all_changes_go_in_one_request_that_touches_only_what_is_given(
    folder: pathlib.Path,
) -> None:
    endpoint = Endpoint.make("2001:db8::7", 4500)
    with device(folder, "errno=0\n\n") as (backend, scripted):
        backend.apply(
            [
                PeerChange(KEY, endpoint),
                PeerChange(OTHER_KEY, remove=True),
                PeerChange(THIRD_KEY, allowed_ips=("10.0.0.0/24",), create=True),
            ]
        )
    assert scripted.requests == [
        "set=1\n"
        f"public_key={KEY.hex()}\nupdate_only=true\nendpoint=[2001:db8::7]:4500\n"
        f"public_key={THIRD_KEY.hex()}\nreplace_allowed_ips=true\nallowed_ip=10.0.0.0/24\n"
        f"public_key={OTHER_KEY.hex()}\nremove=true\n"
        "\n"
    ]


def test_a_fresh_peer_is_removed_and_added_in_one_request(folder: pathlib.Path) -> None:
    fresh = PeerChange(KEY, Endpoint.make("192.0.2.1", 7), 25, ("10.0.0.2/32",), fresh=True)
    with device(folder, "errno=0\n\n") as (backend, scripted):
        backend.apply([fresh])
    assert scripted.requests == [
        f"set=1\npublic_key={KEY.hex()}\nremove=true\n"
        f"public_key={KEY.hex()}\nendpoint=192.0.2.1:7\nreplace_allowed_ips=true\n"
        "allowed_ip=10.0.0.2/32\npersistent_keepalive_interval=25\n\n"
    ]


def test_peers_that_get_a_keepalive_come_last(folder: pathlib.Path) -> None:
    with device(folder, "errno=0\n\n") as (backend, scripted):
        backend.apply(
            [
                PeerChange(KEY, persistent_keepalive=25),
                PeerChange(OTHER_KEY, persistent_keepalive=0),
                PeerChange(THIRD_KEY, allowed_ips=(), create=True),
            ]
        )
    (request,) = scripted.requests
    order = [line[11:] for line in request.splitlines() if line.startswith("public_key=")]
    assert order == [OTHER_KEY.hex(), THIRD_KEY.hex(), KEY.hex()]


def test_nothing_to_change_sends_nothing(folder: pathlib.Path) -> None:
    with device(folder, "errno=0\n\n") as (backend, scripted):
        backend.apply([])
        backend.configure()
    assert scripted.requests == []
