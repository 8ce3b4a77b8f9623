# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a device is read, and what becomes a new version of a zone."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import logging
import typing as t

import pytest

from wgsd.config import ZoneSettings
from wgsd.errors import DeviceError, NoDeviceError, SlowDeviceError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer
from wgsd.responder import watcher as module
from wgsd.responder.state import new_chain
from wgsd.responder.stats import Board, Reading
from wgsd.responder.watcher import CHANGE_PERIOD, Signer, Watcher
from wgsd.zone import serial
from wgsd.zone.version import Chain, Delta, Instance, Version, content_of

pytestmark = pytest.mark.unit

ALICE = PublicKey(hashlib.sha256(b"alice").digest())
ZONE = ZoneSettings("example.com.", "wg0")
TUNNEL = ipaddress.ip_interface("10.0.0.254/24")
#: Seconds since the epoch, and the serial that belongs to them.
WALL = 1_700_000_000.0
CLOCK = serial.by_clock(WALL)


BOB = PublicKey(hashlib.sha256(b"bob").digest())
OWN = PublicKey(hashlib.sha256(b"registry").digest())


def device(port: int = 1000, rx_bytes: int = 0, others: t.Sequence[Peer] = ()) -> Device:
    """wg0 with Alice behind that port."""
    alice = Peer(ALICE, Endpoint("192.0.2.1", port), rx_bytes=rx_bytes)
    return Device("wg0", OWN, 51820, 0, {peer.public_key: peer for peer in (alice, *others)})


class Bed:
    """A watcher, with the device, the clock and the journal in the test's hands."""

    def __init__(self, chain: Chain | None = None, signer: Signer | None = None) -> None:
        self.now = 1000.0
        self.cpu = 0.0
        self.cost = 0.001
        self.index = 7
        self.state: Device | DeviceError = device()
        self.interfaces: list[t.Any] = [TUNNEL]
        self.kept: list[Delta] = []
        self.reads = self.opened = self.closed = self.address_reads = 0
        board = Board.create([ZONE.zone], 1, ["wg0"])
        self.account = board.devices["wg0"]
        self.watcher = Watcher(
            "wg0",
            [ZONE],
            {ZONE.zone: chain or new_chain(ZONE.zone, WALL)},
            interface_index=lambda _name: self.index,
            account=self.account,
            open_device=self.open_device,
            read_addresses=self.read_addresses,
            journals={ZONE.zone: self},
            signers={} if signer is None else {ZONE.zone: signer},
            monotonic=lambda: self.now,
            cpu=lambda: self.cpu,
            wall=lambda: WALL,
        )

    def keep(self, chain: Chain, step: Delta) -> None:
        assert chain.newest.serial == step.serial
        self.kept.append(step)

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


class Seal:
    """A signer that seals each version with its serial, and has in `due` what is to be replaced."""

    def __init__(self) -> None:
        self.due: dict[str, bytes] = {}

    def seal(self, before: Version, delta: Delta) -> Delta:
        assert serial.is_newer(delta.serial, before.serial)
        return dataclasses.replace(delta, seals={**delta.seals, "": b"%d" % delta.serial})

    def refresh(self, _version: Version) -> dict[str, bytes]:
        due, self.due = self.due, {}
        return due


def chain_at(number: int, port: int = 1000, seals: t.Mapping[str, bytes] | None = None) -> Chain:
    """What a run before has left: Alice behind that port."""
    content = content_of(ZONE, device(port), ("10.0.0.254",))
    return Chain(Version(ZONE.zone, number, content, seals or {}))


def test_the_first_read_is_the_first_version() -> None:
    (delta,) = Bed().poll()
    assert delta.serial == CLOCK
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
    assert delta.serial == CLOCK + 1
    assert not delta.whole
    assert [i.port for i in delta.changed] == [2000]


def test_of_many_peers_only_those_that_changed_are_handed_on() -> None:
    others = [Peer(BOB, Endpoint("192.0.2.2", 1))]
    bed = Bed()
    bed.state = device(others=others)
    bed.poll()
    bed.state = device(port=2000, others=others)
    (delta,) = bed.poll()
    assert [i.public_key for i in delta.changed] == [ALICE]
    assert delta.removed == ()


@pytest.mark.parametrize("others", [[], [Peer(BOB)]], ids=["removed", "without all"])
def test_a_peer_that_is_gone_or_has_nothing_left_is_withdrawn(others: list[Peer]) -> None:
    bed = Bed()
    bed.state = device(others=[Peer(BOB, Endpoint("192.0.2.2", 1))])
    bed.poll()
    bed.state = device(others=others)
    (delta,) = bed.poll()
    assert (delta.changed, delta.removed) == ((), (BOB,))


def test_a_member_that_loses_its_endpoint_stays_without_one() -> None:
    bed = Bed()
    bed.state = device(others=[Peer(BOB, Endpoint("192.0.2.2", 1), ("10.0.0.2/32",))])
    bed.poll()
    bed.state = device(others=[Peer(BOB, None, ("10.0.0.2/32",))])
    (delta,) = bed.poll()
    assert delta.changed == (Instance(BOB, None, None, ("10.0.0.2/32",)),)
    assert delta.removed == ()


HALF_MADE = [
    ("no private key", Device("wg0", None, 0, 0, {}), [TUNNEL]),
    ("no address", Device("wg0", OWN, 51820, 0, {}), []),
]


@pytest.mark.parametrize("half", HALF_MADE, ids=lambda half: half[0])
def test_a_device_that_is_still_being_made_does_not_empty_the_zone(half: t.Any) -> None:
    bed = Bed()
    bed.poll()
    _name, bed.state, bed.interfaces = half
    bed.index = 8
    assert bed.go_on_for(5) == []
    bed.state, bed.interfaces = device(port=2000), [TUNNEL]
    (delta,) = bed.go_on_for(1)
    assert [i.port for i in delta.changed] == [2000]
    assert delta.removed == ()


def test_a_peer_that_comes_and_goes_without_anything_is_no_change() -> None:
    bed = Bed()
    bed.poll()
    bed.state = device(others=[Peer(BOB)])
    assert bed.poll() == []
    bed.state = device()
    assert bed.poll() == []


def test_a_version_is_in_the_journal_before_anyone_is_told_of_it() -> None:
    bed = Bed()
    told = bed.poll()
    bed.state = device(port=2000)
    told += bed.poll()
    assert bed.kept == told
    assert len(told) == 2


def test_a_watcher_that_takes_over_goes_on_from_what_is_served() -> None:
    second = Bed(chain_at(CLOCK + 5))
    assert second.poll() == []
    second.state = device(port=2000)
    (step,) = second.poll()
    assert (step.serial, step.whole) == (CLOCK + 6, False)


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
    ("last", "first"),
    [(CLOCK - 864_000, CLOCK), (CLOCK, CLOCK + 1), (CLOCK + 864_000, CLOCK + 864_001)],
    ids=["a day ago", "now", "a day ahead of a clock that was set back"],
)
def test_a_run_begins_with_the_clock_or_after_the_last_serial_whichever_is_newer(
    last: int, first: int
) -> None:
    bed = Bed(chain_at(last, port=999))
    (delta,) = bed.poll()
    bed.state = device(port=2000)
    (following,) = bed.poll()
    assert (delta.serial, following.serial) == (first, first + 1)


def test_what_changes_soon_after_a_change_makes_one_version_within_100_ms() -> None:
    bed = Bed()
    bed.poll()
    bed.go_on_for(1)
    bed.state = device(port=2000)
    assert bed.poll(), "the first change waits for nothing"
    start, versions = bed.now, 0
    for number in range(1000):
        bed.state = device(port=3000 + number)
        while bed.watcher.due <= bed.now:
            versions += len(bed.poll())
        bed.now += 0.01
    assert bed.now - start == pytest.approx(10, abs=0.2)
    assert versions <= 10 / CHANGE_PERIOD
    assert versions >= 0.9 * 10 / CHANGE_PERIOD


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


def test_a_device_that_has_not_replied_yet_is_asked_again_soon_and_is_no_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bed = Bed()
    bed.poll()
    bed.state = SlowDeviceError("wg0 has not replied yet")
    reads = bed.reads
    assert bed.go_on_for(5) == []
    assert bed.reads - reads == pytest.approx(100, abs=5)
    assert (bed.opened, bed.closed, bed.watcher.trouble) == (1, 0, "")
    assert caplog.text == ""
    bed.state = device(port=2000)
    (delta,) = bed.poll()
    assert [one.port for one in delta.changed] == [2000]
    # What it took is what passed since it was asked, and makes the period longer.
    assert bed.account.get(Reading.WALL_NS) == pytest.approx(5e9, rel=0.02)


def test_a_device_that_never_replies_is_given_up_and_its_zone_withdrawn() -> None:
    bed = Bed()
    bed.poll()
    bed.state = DeviceError("wg0 gives no reply")
    bed.poll()
    assert bed.watcher.trouble == "wg0 gives no reply"
    bed.state = SlowDeviceError("wg0 has not replied yet")
    (withdrawn,) = bed.go_on_for(module.GRACE + 1)
    assert withdrawn.addresses is None
    assert bed.watcher.trouble == "wg0 gives no reply"


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
    assert delta.serial == CLOCK + 1
    assert caplog.records[-1].message == "device wg0 can be read again"


def test_a_device_that_comes_back_late_makes_a_newer_version() -> None:
    bed = Bed()
    bed.poll()
    bed.state = NoDeviceError("no wg0")
    bed.go_on_for(module.GRACE + 5)
    bed.state = device()
    (delta,) = bed.poll()
    assert delta.whole
    assert delta.serial == CLOCK + 2


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


def test_a_version_is_signed_before_it_is_kept() -> None:
    bed = Bed(signer=Seal())
    (delta,) = bed.poll()
    assert delta.seals == {"": b"%d" % CLOCK}
    assert bed.kept == [delta]


def test_seals_that_are_due_make_a_version_of_their_own() -> None:
    signer = Seal()
    bed = Bed(signer=signer)
    bed.poll()
    assert bed.go_on_for(1) == []
    signer.due = {"ns1": b"new"}
    (delta,) = bed.go_on_for(1)
    seals = {"": b"%d" % (CLOCK + 1), "ns1": b"new"}
    assert delta == Delta(ZONE.zone, CLOCK + 1, ("10.0.0.254",), seals=seals)
    assert bed.kept[-1] == delta


def test_seals_that_are_due_come_with_a_change_even_if_there_is_one_at_every_read() -> None:
    signer = Seal()
    bed = Bed(signer=signer)
    bed.poll()
    for number in range(3):
        bed.state = device(port=2000 + number)
        signer.due = {f"name{number}": b"new"}
        (delta,) = bed.poll()
        assert [one.port for one in delta.changed] == [2000 + number]
        assert sorted(delta.seals) == ["", f"name{number}"]
    assert bed.poll() == []


@pytest.mark.parametrize("signed", [True, False])
def test_a_zone_that_is_signed_from_now_on_or_not_any_more_is_made_anew(signed: bool) -> None:
    seals = {} if signed else {"": b"of before"}
    bed = Bed(chain_at(CLOCK - 9, seals=seals), signer=Seal() if signed else None)
    (delta,) = bed.go_on_for(5)
    assert (delta.whole, delta.serial) == (True, CLOCK)
    assert [i.public_key for i in delta.changed] == [ALICE]
    assert bool(delta.seals) == signed
