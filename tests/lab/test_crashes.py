# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder is killed again and again, and its secondaries have the zone that it has."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import socket
import statistics
import struct
import threading
import time
import typing as t

import dns.message
import pytest

from wgsd.keys import PublicKey
from wgsd.zone import serial
from wgsd.zone.records import REFRESH

from .bare import BareLab
from .followed import SITES, Followed
from .responder import TUNNEL, ZONE, Responder

pytestmark = pytest.mark.lab

PREFIX = "wgtk"
KILLS = [12, pytest.param(50, marks=pytest.mark.long)]
#: So many that their transfer takes many messages; BIND takes no RRset of more than 64 KB.
CROWD = [PublicKey(struct.pack("!H", number) * 16) for number in range(1000, 1500)]
#: Bytes, less than the transfer of such a zone has.
ZONE_SIZE = 200_000
#: Seconds within which the responder writes a change down, or a transfer is on its way.
PATIENCE = 10.0


@pytest.fixture
def followed(tmp_path: pathlib.Path) -> t.Iterator[Followed]:
    with BareLab(PREFIX, SITES) as lab, Followed(lab, tmp_path) as one:
        assert one.bed.device
        one.bed.device.set(
            *(
                word
                for number, key in enumerate(CROWD)
                for word in ("peer", key.base64, "endpoint", f"192.0.2.7:{1000 + number}")
            )
        )
        yield one


class Mover:
    """Moves one of the crowd every few milliseconds, as long as the block lasts."""

    def __init__(self, followed: Followed) -> None:
        self._socket = followed.bed.host.path("/run/wireguard/wg0.sock")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, daemon=True)

    def __enter__(self) -> Mover:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _move(self) -> None:
        for number in itertools.count():
            key, port = CROWD[number % len(CROWD)], 2000 + number % 60000
            with socket.socket(socket.AF_UNIX) as device:
                device.connect(str(self._socket))
                device.sendall(
                    f"set=1\npublic_key={key.hex()}\nupdate_only=true\n"
                    f"endpoint=192.0.2.8:{port}\n\n".encode()
                )
                assert device.recv(100) == b"errno=0\n\n"
            if self._stop.wait(0.02):
                return


@contextlib.contextmanager
def half_a_transfer(followed: Followed) -> t.Iterator[None]:
    """Kill the responder in this block: a transfer has begun, and nobody has taken the rest."""
    query = dns.message.make_query(ZONE, "AXFR").to_wire()
    with followed.bed.host.network(), socket.socket(socket.AF_INET) as tcp:
        # The less fits in here, the more is still to come.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.settimeout(PATIENCE)
        tcp.connect((TUNNEL, 53))
        tcp.sendall(struct.pack("!H", len(query)) + query)
        assert tcp.recv(1)
        yield
        received = 1
        with contextlib.suppress(ConnectionResetError):
            while chunk := tcp.recv(65536):
                received += len(chunk)
        assert received < ZONE_SIZE


def wait_for_a_write(followed: Followed) -> None:
    """Return in the moment in which the journal grows, or is made anew."""
    journal = pathlib.Path(followed.responder.config.parent, f"{ZONE}journal")
    before = size = journal.stat().st_size
    deadline = time.monotonic() + PATIENCE
    while size == before:
        assert time.monotonic() < deadline, followed.responder.log
        size = journal.stat().st_size


def restart(responder: Responder, keep_sockets: bool) -> float:
    """Kill the responder and start it again; the seconds until it serves."""
    if not keep_sockets:
        for descriptor in responder.stored.values():
            os.close(descriptor)
        responder.stored.clear()
    begin = time.monotonic()
    responder.restart()
    responder.wait_ready()
    return time.monotonic() - begin


def served(followed: Followed) -> list[int]:
    """The serials that the secondaries serve, of those that serve one."""
    serials = [server.serial(ZONE) for server in followed.servers.values()]
    return [number for number in serials if number is not None]


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize(
    ("signed", "keep_sockets"),
    [(True, True), (False, False)],
    ids=["signed, sockets kept", "sockets anew"],
)
def test_a_responder_that_is_killed_in_the_middle_of_its_work_never_goes_back(
    followed: Followed, signed: bool, keep_sockets: bool, kills: int
) -> None:
    """Every other time in the middle of a transfer, and else in the middle of a state write."""
    followed.start(dnssec=signed)
    followed.wait_same()
    pauses = []
    with Mover(followed):
        for number in range(kills):
            before = followed.serial()
            assert before is not None
            if number % 2:
                with half_a_transfer(followed):
                    pauses.append(restart(followed.responder, keep_sockets))
            else:
                wait_for_a_write(followed)
                pauses.append(restart(followed.responder, keep_sockets))
            # Also of what was published in the last moment, the secondaries may have taken some.
            seen = [before, *served(followed)]
            now = followed.serial()
            assert now is not None, followed.responder.log
            for one in seen:
                assert now == one or serial.is_newer(now, one), f"kill {number}"
    # Who has asked for the first time just before a kill may be forgotten, and asks again in 30 s.
    followed.wait_same(patience=REFRESH + PATIENCE)
    print(f"serving again after {statistics.median(pauses):.2f} s, {max(pauses):.2f} s at most")
