# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which registry is lost, which name is resolved for it, and what is changed."""

from __future__ import annotations

import dataclasses

import pytest

from wgsd.client.anchors import Anchors
from wgsd.config import ClientSettings
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, HostPort, Peer

pytestmark = pytest.mark.unit

OLD, NEW = Endpoint("203.0.113.4", 51820), Endpoint("203.0.113.9", 51820)
NEW_IPV6 = Endpoint("2001:db8::9", 51820)
FIRST, SECOND = Endpoint("10.0.0.254", 53), Endpoint("10.0.0.253", 53)
FIRST_IPV6 = Endpoint("fd00::254", 53)
NAME = HostPort("registry.example.com", 51820)


def peer(number: int, *allowed_ips: str, endpoint: Endpoint = OLD) -> Peer:
    return Peer(
        PublicKey(bytes([number]) * 32),
        endpoint=endpoint,
        allowed_ips=allowed_ips,
        last_handshake=1_800_000_000.0,
    )


class Names:
    """A resolver that is asked, and told what to answer."""

    def __init__(self) -> None:
        self.asked: list[HostPort] = []
        self.results: dict[HostPort, list[Endpoint]] = {}
        self.resolved = 0

    def ask(self, where: HostPort) -> None:
        self.asked.append(where)

    def take(self, where: HostPort) -> list[Endpoint] | None:
        return self.results.pop(where, None)

    def close(self) -> None:
        pass


class World:
    """A device with registries that never answer, and a clock."""

    def __init__(self, *peers: Peer, servers=(FIRST,), **anchors: HostPort) -> None:
        self.peers = {peer.public_key: peer for peer in peers}
        self.names = Names()
        self.now = 0.0
        places = {"first": FIRST, "second": SECOND, "first_ipv6": FIRST_IPV6}
        self.anchors = Anchors(
            ClientSettings(
                "wg0",
                "example.com.",
                tuple(servers),
                anchors={places[name]: where for name, where in anchors.items()},
            ),
            self.names,
            now=lambda: self.now,
        )
        self.look([])

    def look(self, silent) -> list[tuple[int, bool, Endpoint | None]]:
        device = Device("wg0", None, 51820, 0, self.peers)
        changes = self.anchors.look(device, self.peers, silent)
        for change in changes:
            before = self.peers[change.public_key]
            after = dataclasses.replace(before, endpoint=change.endpoint)
            if change.fresh:
                after = dataclasses.replace(after, tx_bytes=0, rx_bytes=0, last_handshake=0.0)
            self.peers[change.public_key] = after
        return [(bytes(c.public_key)[0], c.fresh, c.endpoint) for c in changes]

    def silence(self, seconds: float, silent) -> list[tuple[int, bool, Endpoint | None]]:
        """Queries leave for a while, and nothing comes in."""
        changes = []
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            for key, one in self.peers.items():
                self.peers[key] = dataclasses.replace(one, tx_bytes=one.tx_bytes + 144)
            changes += self.look(silent)
        return changes


def test_the_name_of_a_lost_registry_is_resolved_and_followed():
    world = World(peer(1, "10.0.0.254/32"), first=NAME)
    assert world.silence(3, [FIRST]) == []
    assert world.names.asked == [NAME]
    world.names.results[NAME] = [NEW]
    assert world.silence(1, [FIRST]) == []
    assert not world.anchors.acted
    assert world.silence(0.5, [FIRST]) == [(1, False, NEW)]
    assert world.anchors.acted


def test_the_endpoint_of_the_configuration_needs_no_resolving():
    world = World(peer(1, "10.0.0.254/32"), first=HostPort("203.0.113.9", 51820))
    assert world.silence(5, [FIRST]) == [(1, False, NEW)]
    assert world.names.asked == []


def test_an_address_of_the_family_that_has_worked_comes_first():
    world = World(peer(1, "10.0.0.254/32"), first=NAME)
    world.silence(3, [FIRST])
    world.names.results[NAME] = [NEW_IPV6, NEW]
    assert world.silence(3, [FIRST]) == [(1, False, NEW)]


def test_a_name_that_cannot_be_resolved_has_the_registry_started_over_where_it_was():
    world = World(peer(1, "10.0.0.254/32"), first=NAME)
    world.silence(3, [FIRST])
    world.names.results[NAME] = []
    assert world.silence(3, [FIRST]) == [(1, True, OLD)]


def test_what_a_name_stood_for_when_the_registry_was_lost_last_does_not_count():
    world = World(peer(1, "10.0.0.254/32"), first=NAME)
    world.silence(3, [FIRST])
    world.names.results[NAME] = [NEW]
    world.look([])
    assert world.silence(5, [FIRST]) == [(1, True, OLD)]


def test_only_the_registry_that_is_silent_is_touched():
    world = World(
        peer(1, "10.0.0.254/32"),
        peer(2, "10.0.0.253/32"),
        servers=(FIRST, SECOND),
        first=NAME,
        second=HostPort("203.0.113.9", 51820),
    )
    assert world.silence(5, [SECOND]) == [(2, False, NEW)]
    assert world.names.asked == []


def test_a_registry_with_two_addresses_is_there_while_one_of_them_answers():
    world = World(peer(1, "10.0.0.254/32", "fd00::254/128"), servers=(FIRST, FIRST_IPV6))
    assert world.silence(30, [FIRST_IPV6]) == []
    assert world.silence(5, [FIRST, FIRST_IPV6]) == [(1, True, OLD)]


def test_a_look_is_due_only_while_a_registry_is_missed():
    world = World(peer(1, "10.0.0.254/32"))
    assert world.anchors.due == float("inf")
    world.silence(1, [FIRST])
    assert world.now < world.anchors.due <= world.now + 2
    world.look([])
    assert world.anchors.due == float("inf")


def test_what_is_done_and_that_it_has_helped_is_logged(caplog):
    caplog.set_level("INFO", "wgsd.client")
    world = World(peer(1, "10.0.0.254/32"))
    world.silence(5, [FIRST])
    world.look([])
    assert caplog.messages == [
        "registry 10.0.0.254:53: nothing came from 203.0.113.4:51820 for 4 s; start over",
        "the registry is there again: it answers",
    ]
