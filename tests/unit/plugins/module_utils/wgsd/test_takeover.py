# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A peer that rotates its key: when its new entry takes over, what it gets, and what is left."""

from __future__ import annotations

import typing as t

import pytest

from tests.unit.plugins.module_utils.wgsd.fake_device import FakeDevice, device
from wgsd.cli import main
from wgsd.errors import NoDeviceError, UsageError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer, PeerChange
from wgsd.takeover import (
    CARE,
    Pair,
    Progress,
    Takeover,
    announcement,
    decide,
    is_alive,
    leftovers,
    run,
    succession,
)

pytestmark = pytest.mark.unit

OLD, NEW, OTHER, LATER = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3, 4))
PAIR = Pair(OLD, NEW)
SECRET = b"p" * 32
HOME, CAFE = Endpoint("192.0.2.1", 1000), Endpoint("192.0.2.2", 2000)
BLOCKS = ("10.0.0.2/32", "192.168.7.0/24")


def old(**fields: t.Any) -> Peer:
    whole: dict[str, t.Any] = {
        "endpoint": HOME,
        "allowed_ips": BLOCKS,
        "last_handshake": 1.0,
        "rx_bytes": 1000,
        "persistent_keepalive": 25,
        "preshared_key": SECRET,
    }
    return Peer(OLD, **{**whole, **fields})


def new(**fields: t.Any) -> Peer:
    return Peer(NEW, **{"preshared_key": SECRET, **fields})


class Story:
    """Runs a takeover in which things happen at given seconds."""

    def __init__(self, wg: FakeDevice, *pairs: Pair) -> None:
        self.wg = wg
        self.now = 0.0
        self.events: list[tuple[float, t.Callable[[], object]]] = []
        self.stop_at = float("inf")
        self.takeover = Takeover(
            "wg0",
            pairs or (PAIR,),
            wait=self._wait,
            opener=lambda _name: t.cast(t.Any, wg),
            steady=lambda: self.now,
        )

    def at(self, seconds: float, event: t.Callable[[], object]) -> None:
        self.events.append((seconds, event))

    def _wait(self, seconds: float) -> bool:
        self.now += seconds
        for event in [e for e in self.events if e[0] <= self.now]:
            self.events.remove(event)
            event[1]()
        return self.now >= self.stop_at


def announced(**fields: t.Any) -> FakeDevice:
    return FakeDevice(old(**fields), new(), Peer(OTHER, allowed_ips=("10.0.0.3/32",)))


def test_the_next_key_is_announced_with_the_preshared_key_and_without_a_way():
    change = announcement(old(), NEW)
    assert change == PeerChange(NEW, preshared_key=SECRET, create=True)
    assert "pppp" not in repr(change)


def test_nothing_changes_until_the_peer_uses_its_new_key():
    step = decide(device(old(), new()), Progress(PAIR), 0.0)
    assert (step.changes, step.progress) == ((), Progress(PAIR))


@pytest.mark.parametrize("sign", [{"rx_bytes": 148}, {"last_handshake": 5.0}])
def test_the_first_handshake_by_the_new_key_moves_everything_in_one_operation(sign):
    wg = announced()
    story = Story(wg)
    story.at(1.0, lambda: wg.see(NEW, endpoint=CAFE, **sign))
    assert story.takeover.run(600) == []
    assert len(wg.operations) == 1
    assert OLD not in wg.peers
    assert wg.peers[NEW].allowed_ips == BLOCKS
    assert wg.peers[NEW].persistent_keepalive == 25
    assert wg.peers[NEW].preshared_key == SECRET
    assert wg.peers[NEW].endpoint == CAFE, "where its own packets come from"
    assert 1.0 + CARE <= story.now < 2.0 + CARE


def test_allowed_ips_move_before_their_holder_goes():
    first, second = succession(old(), new(rx_bytes=148), PAIR)
    assert first.allowed_ips == BLOCKS
    assert second == PeerChange(OLD, remove=True)


def test_a_switch_is_noticed_within_20_ms():
    wg = announced()
    story = Story(wg)
    pauses = []
    story.takeover._wait = lambda seconds: bool(pauses.append(seconds)) or len(pauses) > 3
    story.takeover.run(600)
    assert max(pauses) <= 0.02
    assert min(pauses) > 0.01


def test_reads_that_cost_much_take_15_percent_of_the_time():
    wg = announced()
    story = Story(wg)
    pauses = []
    story.takeover._wait = lambda seconds: bool(pauses.append(seconds)) or len(pauses) > 3

    def costly() -> Device:
        story.now += 0.03
        return FakeDevice.read(wg)

    wg.read = costly
    story.takeover.run(600)
    assert pauses[0] == pytest.approx(0.03 / 0.15 - 0.03)


def test_an_old_entry_that_a_client_puts_back_from_an_older_snapshot_goes_again():
    wg = announced()
    story = Story(wg)
    story.at(1.0, lambda: wg.see(NEW, rx_bytes=148, endpoint=CAFE))
    story.at(1.5, lambda: wg.change(PeerChange.anew(old(), HOME)))
    assert story.takeover.run(600) == []
    assert OLD not in wg.peers
    assert wg.peers[NEW].allowed_ips == BLOCKS
    assert wg.peers[NEW].endpoint == CAFE


def test_a_new_entry_that_loses_its_allowed_ips_gets_them_back():
    wg = announced()
    story = Story(wg)
    story.at(1.0, lambda: wg.see(NEW, rx_bytes=148))
    story.at(1.5, lambda: wg.change(PeerChange.anew(new(), HOME)))
    assert story.takeover.run(600) == []
    assert wg.peers[NEW].allowed_ips == BLOCKS


def test_what_a_third_peer_has_got_meanwhile_is_its_own():
    wg = announced()
    story = Story(wg)
    story.at(1.0, lambda: wg.see(NEW, rx_bytes=148))
    moved = PeerChange(OTHER, allowed_ips=("10.0.0.3/32", BLOCKS[1]))
    story.at(1.5, lambda: wg.change(moved))
    assert story.takeover.run(600) == []
    assert wg.peers[NEW].allowed_ips == BLOCKS[:1]


def test_a_peer_that_rotates_once_more_is_left_to_its_next_takeover():
    wg = announced()
    story = Story(wg)
    story.at(1.0, lambda: wg.see(NEW, rx_bytes=148))
    later = Pair(NEW, LATER)
    story.at(1.5, lambda: wg.apply(succession(wg.peers[NEW], None, later)))
    assert story.takeover.run(600) == []
    assert set(wg.peers) == {LATER, OTHER}
    assert wg.peers[LATER].allowed_ips == BLOCKS


def test_when_time_runs_out_nothing_is_left_of_a_key_that_nobody_used():
    wg = announced()
    story = Story(wg)
    assert story.takeover.run(3.0) == [PAIR]
    assert set(wg.peers) == {OLD, OTHER}
    assert wg.peers[OLD] == old()
    assert 3.0 <= story.now < 3.1


def test_one_that_is_stopped_leaves_nothing_either():
    wg = announced()
    story = Story(wg)
    story.stop_at = 1.0
    assert story.takeover.run(600) == [PAIR]
    assert set(wg.peers) == {OLD, OTHER}


def test_one_of_two_peers_is_told_as_missing_and_the_other_is_looked_after():
    carol, next_carol = PublicKey(b"c" * 32), PublicKey(b"d" * 32)
    wg = announced()
    wg.peers[carol] = Peer(carol, allowed_ips=("10.0.0.9/32",))
    wg.peers[next_carol] = Peer(next_carol)
    story = Story(wg, PAIR, Pair(carol, next_carol))
    story.at(2.9, lambda: wg.see(NEW, rx_bytes=148))
    assert story.takeover.run(3.0) == [Pair(carol, next_carol)]
    assert set(wg.peers) == {NEW, OTHER, carol}
    assert story.now >= 2.9 + CARE


def test_a_new_key_that_has_its_place_already_is_done_at_once_and_stays():
    wg = FakeDevice(new(allowed_ips=BLOCKS))
    assert Story(wg).takeover.run(600) == []
    assert wg.operations == []


def test_unused_entries_that_have_their_place_are_not_left_over():
    waiting = [Progress(PAIR)]
    assert leftovers(device(old(), new(allowed_ips=BLOCKS)), waiting) == ()
    assert leftovers(device(old(), new(rx_bytes=148)), waiting) == ()
    assert leftovers(device(old(), new()), waiting) == (PeerChange(NEW, remove=True),)


def test_a_peer_that_is_removed_meanwhile_does_not_come_back():
    wg = announced()
    story = Story(wg)
    story.at(1.0, lambda: (wg.peers.pop(OLD), wg.peers.pop(NEW)))
    assert story.takeover.run(600) == []
    assert set(wg.peers) == {OTHER}


def test_a_new_key_without_a_predecessor_gets_no_allowed_ips():
    wg = announced()
    story = Story(wg)
    story.at(1.0, lambda: wg.peers.pop(OLD))
    story.at(1.5, lambda: wg.see(NEW, rx_bytes=148))
    assert story.takeover.run(3.0) == [PAIR]
    assert wg.peers[NEW].allowed_ips == ()


def test_a_device_that_starts_again_learns_the_next_key_again():
    wg = announced()
    story = Story(wg)

    def restart() -> None:
        wg.gone = False
        del wg.peers[NEW]

    story.at(1.0, lambda: setattr(wg, "gone", True))
    story.at(2.0, restart)
    story.at(3.0, lambda: wg.see(NEW, rx_bytes=148))
    assert story.takeover.run(600) == []
    assert wg.peers[NEW].allowed_ips == BLOCKS
    assert wg.peers[NEW].preshared_key == SECRET


def test_a_device_that_is_not_there_is_an_error_and_no_wait():
    wg = announced()
    wg.gone = True
    with pytest.raises(NoDeviceError):
        Story(wg).takeover.run(600)


def test_only_what_is_authentic_counts_as_a_sign_of_life():
    assert not is_alive(new(endpoint=HOME))
    assert is_alive(new(rx_bytes=148))


def test_a_pair_is_written_with_the_padding_of_its_keys():
    assert Pair.parse(str(PAIR)) == PAIR
    assert str(PAIR) == f"{OLD.base64}={NEW.base64}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OLD.base64, "write it as OLD=NEW"),
        (f"{OLD}{NEW}", "write it as OLD=NEW"),
        (f"{OLD}=", "not a WireGuard public key"),
        (f"{OLD}={OLD}", "cannot come after itself"),
    ],
)
def test_what_is_no_pair_is_refused(text, message):
    with pytest.raises(UsageError) as caught:
        Pair.parse(text)
    assert message in str(caught.value)


def test_a_key_in_two_pairs_is_refused():
    with pytest.raises(UsageError, match="is in two pairs"):
        run("wg0", [PAIR, Pair(OLD, OTHER)], 1)


def test_the_command_tells_of_a_missing_device(capsys):
    assert main(["takeover", "--interface", "wgnone0", str(PAIR)]) == 3
    assert "wgnone0" in capsys.readouterr().err
