# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a device is read, and what becomes a new version of a zone."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import typing as t

import pytest

from wgsd.config import ZoneSettings
from wgsd.errors import DeviceError, NoDeviceError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer
from wgsd.responder import watcher as module
from wgsd.responder.stats import Board, Reading
from wgsd.responder.watcher import Watcher, first_versions
from wgsd.zone.version import Delta, Version

pytestmark = pytest.mark.unit

ALICE = PublicKey(hashlib.sha256(b"alice").digest())
ZONE = ZoneSettings("example.com.", "wg0")
TUNNEL = ipaddress.ip_interface("10.0.0.254/24")


BOB = PublicKey(hashlib.sha256(b"bob").digest())


def device(port: int = 1000, rx_bytes: int = 0, others: t.Sequence[Peer] = ()) -> Device:
    """wg0 with Alice behind that port."""
    alice = Peer(ALICE, Endpoint("192.0.2.1", port), rx_bytes=rx_bytes)
    return Device("wg0", None, 51820, 0, {peer.public_key: peer for peer in (alice, *others)})


class Bed:
    """A watcher, with the device, the clock and the saved serials in the test's hands."""

    def __init__(
        self,
        saved: int | None = None,
        wall: float = 1_700_000_000.0,
        versions: dict[str, Version] | None = None,
    ) -> None:
        self.now = 1000.0
        self.cpu = 0.0
        self.cost = 0.001
        self.index = 7
        self.state: Device | DeviceError = device()
        self.interfaces: list[t.Any] = [TUNNEL]
        self.saved: dict[str, int] = {} if saved is None else {ZONE.zone: saved}
        self.reads = self.opened = self.closed = self.address_reads = 0
        board = Board.create([ZONE.zone], 1, ["wg0"])
        self.account = board.devices["wg0"]
        self.watcher = Watcher(
            "wg0",
            [ZONE],
            versions or first_versions([ZONE], self, wall),
            interface_index=lambda _name: self.index,
            account=self.account,
            open_device=self.open_device,
            read_addresses=self.read_addresses,
            serials=self,
            monotonic=lambda: self.now,
            cpu=lambda: self.cpu,
            wall=lambda: wall,
        )

    def load(self, zone: str) -> int | None:
        return self.saved.get(zone)

    def save(self, zone: str, serial: int) -> None:
        self.saved[zone] = serial

    def open_device(self, _name: str) -> t.Any:
        if isinstance(self.state, NoDeviceError):
            raise self.state
        self.opened += 1
        return self

    def read_addresses(self, _name: str) -> list[t.Any]:
        self.address_reads += 1
        return self.interfaces

    def read(self) -> Device:
        self.reads += 1
        self.cpu += self.cost
        self.now += self.cost
        if isinstance(self.state, DeviceError):
            raise self.state
        return self.state

    def close(self) -> None:
        self.closed += 1

    def poll(self) -> list[Delta]:
        """Wait until the next read is due, and read."""
        self.now = max(self.now, self.watcher.due)
        return self.watcher.poll()

    def go_on_for(self, seconds: float) -> list[Delta]:
        """Poll as the supervisor does, and collect what comes."""
        end, deltas = self.now + seconds, []
        while self.watcher.due < end:
            deltas += self.poll()
        self.now = end
        return deltas


def test_the_first_read_is_the_first_version() -> None:
    (delta,) = Bed().poll()
    assert delta.serial == 1_700_000_000
    assert delta.whole
    assert delta.addresses == ("10.0.0.254",)
    assert [i.public_key for i in delta.changed] == [ALICE]


def test_what_does_not_change_the_zone_is_no_new_version() -> None:
    bed = Bed()
    bed.poll()
    bed.state = device(rx_bytes=999)
    assert bed.go_on_for(10) == []


def test_a_changed_endpoint_is_the_next_serial() -> None:
    bed = Bed()
    bed.poll()
    bed.state = device(port=2000)
    (delta,) = bed.poll()
    assert delta.serial == 1_700_000_001
    assert not delta.whole
    assert [i.port for i in delta.changed] == [2000]
    assert bed.saved == {ZONE.zone: delta.serial}


def test_of_many_peers_only_those_that_changed_are_handed_on() -> None:
    others = [Peer(BOB, Endpoint("192.0.2.2", 1))]
    bed = Bed()
    bed.state = device(others=others)
    bed.poll()
    bed.state = device(port=2000, others=others)
    (delta,) = bed.poll()
    assert [i.public_key for i in delta.changed] == [ALICE]
    assert delta.removed == ()


@pytest.mark.parametrize("others", [[], [Peer(BOB)]], ids=["removed", "without an endpoint"])
def test_a_peer_that_is_gone_or_has_lost_its_endpoint_is_withdrawn(others: list[Peer]) -> None:
    bed = Bed()
    bed.state = device(others=[Peer(BOB, Endpoint("192.0.2.2", 1))])
    bed.poll()
    bed.state = device(others=others)
    (delta,) = bed.poll()
    assert (delta.changed, delta.removed) == ((), (BOB,))


def test_a_peer_that_comes_and_goes_without_an_endpoint_is_no_change() -> None:
    bed = Bed()
    bed.poll()
    bed.state = device(others=[Peer(BOB)])
    assert bed.poll() == []
    bed.state = device()
    assert bed.poll() == []


def test_a_watcher_that_takes_over_goes_on_from_what_is_served() -> None:
    first = Bed()
    (delta,) = first.poll()
    served = Version(ZONE.zone, 0).after(delta)
    second = Bed(versions={ZONE.zone: served})
    assert second.poll() == []
    second.state = device(port=2000)
    (step,) = second.poll()
    assert (step.serial, step.whole) == (served.serial + 1, False)


def test_a_device_made_anew_between_two_reads_is_opened_anew() -> None:
    bed = Bed()
    bed.poll()
    address_reads = bed.address_reads
    bed.index = 8
    bed.poll()
    assert (bed.opened, bed.closed) == (2, 1)
    assert bed.address_reads == address_reads + 1
    assert bed.watcher.index == 8


@pytest.mark.parametrize(
    ("saved", "first"), [(1_800_000_000, 1_800_000_001), (1_600_000_000, 1_700_000_000)]
)
def test_serials_never_go_back_over_a_restart(saved: int, first: int) -> None:
    (delta,) = Bed(saved=saved).poll()
    assert delta.serial == first


@pytest.mark.parametrize(
    ("cost", "period"), [(0.0005, 0.05), (0.0075, 0.05), (0.06, 0.4), (0.3, 0.75)]
)
def test_a_costly_read_makes_the_period_longer_up_to_a_bound(cost: float, period: float) -> None:
    bed = Bed()
    bed.cost = cost
    bed.poll()
    reads = bed.reads
    bed.go_on_for(100 * period)
    assert bed.reads - reads == pytest.approx(100, abs=2)


def test_what_reading_costs_is_accounted_for() -> None:
    bed = Bed()
    bed.cost = 0.25
    bed.poll()
    bed.state = NoDeviceError("no wg0")
    bed.poll()
    found = {figure: bed.account.get(figure) for figure in Reading}
    assert found[Reading.READS] == found[Reading.FAILURES] == found[Reading.CHANGES] == 1
    assert found[Reading.CPU_NS] == pytest.approx(250_000_000, abs=1000)
    assert found[Reading.WALL_NS] == pytest.approx(250_000_000, abs=1000)
    assert (found[Reading.PEERS], found[Reading.PEERS_WITH_ENDPOINT]) == (1, 1)
    assert found[Reading.LAST_GOOD_NS] == 1_700_000_000_000_000_000


def test_a_device_that_is_gone_is_served_for_a_while_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bed = Bed()
    bed.poll()
    bed.state = NoDeviceError("no wg0")
    assert bed.go_on_for(module.GRACE - 1) == []
    assert [record.message for record in caplog.records] == [
        "no wg0; its last endpoints are served for 180 s at most"
    ]

    (withdrawn,) = bed.go_on_for(module.GRACE)
    assert withdrawn.addresses is None
    assert bed.closed == bed.opened == 1


def test_a_device_that_comes_back_in_time_goes_on_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    bed = Bed()
    bed.poll()
    bed.state = NoDeviceError("no wg0")
    bed.go_on_for(5)
    bed.state = device()
    assert bed.go_on_for(5) == []
    bed.state = device(port=2000)
    (delta,) = bed.poll()
    assert delta.serial == 1_700_000_001
    assert caplog.records[-1].message == "device wg0 can be read again"


def test_a_device_that_comes_back_late_makes_a_newer_version() -> None:
    bed = Bed()
    bed.poll()
    bed.state = NoDeviceError("no wg0")
    bed.go_on_for(module.GRACE + 5)
    bed.state = device()
    (delta,) = bed.poll()
    assert delta.whole
    assert delta.serial == 1_700_000_001


def test_a_device_that_was_never_there_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    bed = Bed()
    bed.state = NoDeviceError("no wg0")
    assert bed.go_on_for(module.GRACE * 2) == []
    assert [record.message for record in caplog.records] == ["no wg0; waiting for the device"]
    assert bed.watcher.trouble == "no wg0"
    bed.state = device()
    assert len(bed.poll()) == 1
    assert bed.watcher.trouble == ""


def test_addresses_are_looked_for_often_until_there_are_some_and_then_rarely() -> None:
    bed = Bed()
    bed.interfaces = []
    bed.go_on_for(1)
    assert bed.address_reads >= 3
    bed.interfaces = [TUNNEL]
    bed.go_on_for(1)
    assert bed.watcher.addresses == ("10.0.0.254",)
    before = bed.address_reads
    bed.go_on_for(20)
    assert bed.address_reads - before == 4
