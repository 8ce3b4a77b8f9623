# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The versions of a zone on a real disk: over restarts, crashes, and disks that are full."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
import socket
import threading
import time
import typing as t

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import dns.rrset
import pytest

from wgsd.zone import serial

from .bare import BareLab
from .responder import ALICE, BOB, PYTHONS, TUNNEL, ZONE, Bed

pytestmark = pytest.mark.lab

PREFIX = "wgtv"
#: Others are in test_crashes, with secondaries.
KILLS = [10, pytest.param(100, marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab(PREFIX) as built:
        yield built


@pytest.fixture
def bed(lab: BareLab, tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    """Debian's own Python and libraries, on a device with peers."""
    one = Bed(lab, tmp_path, PYTHONS["debian"])
    try:
        one.start_device()
        yield one
    finally:
        one.close()


@pytest.fixture
def small_disk(bed: Bed) -> t.Iterator[str]:
    """A folder on a file system of its own with room for a few versions."""
    path = "/run/wgsd-versions"
    bed.host.run(["mkdir", path])
    bed.host.run(["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", path])
    try:
        yield path
    finally:
        bed.host.run(["umount", "--lazy", path])
        bed.host.run(["rmdir", path])


def serial_of(bed: Bed) -> int:
    """The zone's serial, as soon as there is one."""
    while True:
        with contextlib.suppress(dns.exception.Timeout):
            answer = bed.ask(ZONE, "SOA", timeout=0.2).answer
            if answer:
                return int(answer[0][0].serial)


def ixfr(bed: Bed, since: int) -> dns.message.Message:
    """Ask over UDP for what has changed since a serial."""
    query = dns.message.make_query(ZONE, "IXFR", use_edns=0, payload=1232)
    held = dns.rrset.from_text(ZONE, 0, "IN", "SOA", f". . {since} 0 0 0 0")
    query.authority.append(held)
    with bed.host.network(), socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        return dns.query.udp(query, TUNNEL, timeout=5, sock=sock, one_rr_per_rrset=True)


def is_served(bed: Bed, port: int) -> t.Callable[[], bool]:
    """A condition: that the zone has got as far as this port of Alice."""
    return lambda: bed.port_of(ALICE) == port


@contextlib.contextmanager
def changing(bed: Bed) -> t.Iterator[None]:
    """Give Bob one endpoint after the other, more often than there are versions."""
    done = threading.Event()

    def change() -> None:
        port = 1024
        while not done.is_set():
            port = port + 1 if port < 65535 else 1024
            bed.set(BOB, "endpoint", f"198.51.100.2:{port}")
            time.sleep(0.03)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_restart_without_a_change_goes_on_with_the_same_version(bed: Bed) -> None:
    responder = bed.start()
    before = serial_of(bed)
    responder.restart()
    assert serial_of(bed) == before
    responder.wait_ready()
    time.sleep(0.5)
    assert serial_of(bed) == before


def test_what_changed_while_it_was_down_is_a_newer_version(bed: Bed) -> None:
    responder = bed.start()
    bed.until(is_served(bed, 41414))
    before = serial_of(bed)
    os.kill(responder.children("watcher")[0], signal.SIGSTOP)
    bed.set(ALICE, "endpoint", "198.51.100.1:5000")
    responder.restart()
    bed.until(is_served(bed, 5000))
    assert serial.is_newer(serial_of(bed), before)


def test_who_has_a_version_of_before_a_restart_gets_only_what_has_changed(bed: Bed) -> None:
    responder = bed.start()
    bed.until(is_served(bed, 41414))
    before = serial_of(bed)
    responder.restart()
    bed.set(ALICE, "endpoint", "198.51.100.1:5000")
    bed.until(is_served(bed, 5000))
    # New and old SOA record, what was deleted, the new one, what was added, and the new one again.
    answer = ixfr(bed, before).answer
    versions = [rrset[0].serial for rrset in answer if rrset.rdtype == dns.rdatatype.SOA]
    assert versions == [serial_of(bed), before, serial_of(bed), serial_of(bed)]
    ports = [rrset[0].port for rrset in answer if rrset.rdtype == dns.rdatatype.SRV]
    assert ports == [41414, 41414, 5000, 5000]


@pytest.mark.parametrize("kills", KILLS)
def test_kills_in_the_middle_of_changes_never_send_the_serial_back(bed: Bed, kills: int) -> None:
    chance = random.Random(4)
    responder = bed.start(workers=1)
    seen = [serial_of(bed)]
    with changing(bed):
        for _number in range(kills):
            end = time.monotonic() + chance.uniform(0, 0.2)
            while time.monotonic() < end:
                seen.append(serial_of(bed))
            responder.restart()
            responder.wait_ready()
            seen.append(serial_of(bed))
    backwards = [
        (one, other)
        for one, other in zip(seen, seen[1:])
        if one != other and not serial.is_newer(other, one)
    ]
    assert backwards == []
    assert len(set(seen)) > kills


def test_a_lost_journal_sends_the_serial_forward(bed: Bed, tmp_path: pathlib.Path) -> None:
    responder = bed.start()
    with changing(bed):
        serial_of(bed)
        time.sleep(2)
    bed.set(ALICE, "endpoint", "198.51.100.1:5000")
    bed.until(is_served(bed, 5000))
    before = serial_of(bed)
    (journal,) = tmp_path.glob("*/*.journal")
    journal.unlink()
    responder.restart()
    assert serial.is_newer(serial_of(bed), before)


def test_a_full_disk_is_told_once_and_does_not_send_the_serial_back(
    bed: Bed, small_disk: str
) -> None:
    responder = bed.start(state_dir=small_disk)
    with changing(bed):
        bed.until(lambda: "cannot be written" in responder.log, patience=30)
        time.sleep(0.5)
    bed.set(ALICE, "endpoint", "198.51.100.1:5000")
    bed.until(is_served(bed, 5000))
    assert responder.log.count("the journal of example.com. cannot be written") == 1
    assert "No space left on device" in responder.log
    before = serial_of(bed)
    responder.restart()
    assert serial.is_newer(serial_of(bed), before)


def test_a_file_system_that_can_only_be_read_is_told_and_does_not_send_the_serial_back(
    bed: Bed, small_disk: str
) -> None:
    before_that = bed.start(state_dir=small_disk)
    before = serial_of(bed)
    before_that.stop()
    bed.host.run(["mount", "-o", "remount,ro", small_disk])
    responder = bed.start(state_dir=small_disk)
    after = serial_of(bed)
    assert serial.is_newer(after, before)
    bed.set(ALICE, "endpoint", "198.51.100.1:5000")
    bed.until(is_served(bed, 5000))
    assert serial.is_newer(serial_of(bed), after)
    assert responder.log.count("the journal of example.com. cannot be written") == 1
