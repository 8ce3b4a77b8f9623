# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes on the loopback interface, whose addresses the own kernel refuses as any peer's does."""

from __future__ import annotations

import selectors
import socket
import time
import typing as t

import pytest

from wgsd.client import prober as prober_module
from wgsd.client.prober import LATE, Prober, address_of
from wgsd.keys import PublicKey
from wgsd.model import Peer

pytestmark = pytest.mark.unit

PATIENCE = 5.0
#: Seconds without a packet after which nothing more is under way.
SILENCE = 0.02


def peer(number: int, *allowed_ips: str) -> Peer:
    return Peer(PublicKey(number.to_bytes(32, "big")), allowed_ips=allowed_ips)


BOB = peer(1, "127.0.0.2/32")
CAROL = peer(2, "::1/128")
#: An address that is not this host's, and so nobody's on loopback.
NOBODY = peer(3, "192.0.2.1/32")


class World:
    """A prober, its selector, and its clock, which the test moves."""

    def __init__(self, interface: str = "lo") -> None:
        self.now = 1000.0
        self.selector = selectors.DefaultSelector()
        self.prober = Prober(interface, self.selector, lambda: self.now)

    def work(self) -> None:
        """Let packets arrive until no more do."""
        while ready := self.selector.select(SILENCE):
            for key, _events in ready:
                key.data()

    def heard(self) -> dict[PublicKey, float]:
        """Return who was heard when no more packets arrive."""
        self.work()
        return self.prober.heard()

    def close(self) -> None:
        self.prober.close()
        assert not self.selector.get_map()
        self.selector.close()


@pytest.fixture
def world() -> t.Iterator[World]:
    world = World()
    yield world
    world.close()


class Listener:
    """A peer where somebody listens on the port that probes go to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.3", 0))
        self.socket.settimeout(PATIENCE)
        monkeypatch.setattr(prober_module, "PORT", self.socket.getsockname()[1])
        self.peer = peer(9, "127.0.0.3/32")

    def probes(self, number: int) -> list[tuple[bytes, t.Any]]:
        """Wait for that many probes; return what they carry, and whence they come."""
        return [self.socket.recvfrom(100) for _number in range(number)]


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Listener]:
    listener = Listener(monkeypatch)
    yield listener
    listener.socket.close()


@pytest.mark.parametrize(
    ("allowed_ips", "address"),
    [
        (("10.0.0.2/32",), "10.0.0.2"),
        (("192.168.0.0/24", "10.0.0.2/32", "fd00::2/128"), "10.0.0.2"),
        (("fd00::/64", "fd00::2/128"), "fd00::2"),
        (("fd00::/32", "0.0.0.0/0"), None),
        ((), None),
    ],
)
def test_a_peer_s_address_is_the_first_that_is_one_host_s(allowed_ips, address):
    assert address_of(peer(1, *allowed_ips)) == address


def test_peers_whose_kernels_refuse_are_heard_once(world):
    world.prober.probe([BOB, CAROL])
    assert not world.prober.has_heard
    world.work()
    assert world.prober.has_heard
    assert world.heard().keys() == {BOB.public_key, CAROL.public_key}
    assert not world.prober.has_heard
    assert world.heard() == {}


def test_who_is_not_there_is_not_heard(world):
    world.prober.probe([NOBODY, BOB, peer(4, "2001:db8::1/128")])
    assert world.heard().keys() == {BOB.public_key}


def test_a_peer_without_an_address_of_its_own_is_not_probed(world):
    world.prober.probe([peer(1, "127.0.0.0/8")])
    assert not world.selector.get_map()


def test_nothing_happens_while_there_is_no_interface():
    world = World("nosuch0")
    world.prober.probe([BOB])
    assert world.heard() == {}
    world.close()


def test_of_two_peers_with_one_address_the_last_is_heard(world):
    world.prober.probe([peer(1, "127.0.0.2/32"), peer(2, "127.0.0.2/32")])
    assert world.heard().keys() == {peer(2).public_key}


def test_the_seconds_are_those_since_the_newest_probe_that_was_answered(world):
    world.prober.probe([BOB])
    world.now += 1.0
    world.prober.probe([BOB])
    world.now += 0.25
    assert world.heard() == {BOB.public_key: 0.25}


def test_an_answer_belongs_to_the_probe_whose_number_it_brings_back(world, listener):
    world.prober.probe([listener.peer])
    world.now += 1.0
    world.prober.probe([listener.peer])
    world.now += 0.25
    (first, source), _second = listener.probes(2)
    listener.socket.sendto(first, source)
    assert world.heard() == {listener.peer.public_key: 1.25}


def test_an_answer_without_a_number_belongs_to_the_newest_probe(world, listener):
    world.prober.probe([listener.peer])
    world.now += 1.0
    world.prober.probe([listener.peer])
    world.now += 0.25
    (_first, source), _second = listener.probes(2)
    listener.socket.sendto(b"", source)
    assert world.heard() == {listener.peer.public_key: 0.25}


def test_an_answer_from_somebody_else_counts_for_nobody(world, listener):
    world.prober.probe([listener.peer, BOB])
    world.heard()
    ((number, source),) = listener.probes(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.4", prober_module.PORT))
        other.sendto(number, source)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.3", 0))
        other.sendto(number, source)
    assert world.heard() == {}


def test_a_late_answer_counts_for_nobody(world):
    world.prober.probe([BOB])
    world.now += LATE + 0.1
    assert world.heard() == {}


def test_what_was_not_answered_in_time_is_forgotten(world, listener):
    world.prober.probe([listener.peer])
    ((_number, source),) = listener.probes(1)
    world.now += LATE + 0.1
    world.prober.probe([BOB])
    listener.socket.sendto(b"", source)
    assert world.heard().keys() == {BOB.public_key}


def test_a_thousand_peers_are_heard_after_one_call(world):
    peers = [peer(n, f"127.{1 + n // 250}.0.{1 + n % 250}/32") for n in range(1000)]
    world.prober.probe(peers)
    deadline = time.monotonic() + PATIENCE
    heard = world.heard()
    while len(heard) < len(peers) and time.monotonic() < deadline:
        heard.update(world.heard())
    assert heard.keys() == {peer.public_key for peer in peers}


def test_it_can_be_used_again_after_it_was_closed(world):
    world.prober.probe([BOB])
    world.prober.close()
    assert world.heard() == {}
    world.prober.probe([BOB])
    assert world.heard().keys() == {BOB.public_key}
