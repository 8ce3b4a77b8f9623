# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names are resolved in the background, by a system's resolver that may be slow or fail."""

from __future__ import annotations

import selectors
import socket
import threading
import time

import pytest

from wgsd.client.resolver import PATIENCE, Resolver
from wgsd.model import Endpoint, HostPort

pytestmark = pytest.mark.unit

REGISTRY = HostPort("registry.example.com", 51820)
OTHER = HostPort("other.example.com", 4500)


class System:
    """A system's resolver that answers when it is let to."""

    def __init__(self) -> None:
        self.addresses = {
            "registry.example.com": ["203.0.113.4", "2001:db8::4", "203.0.113.4"],
            "other.example.com": ["203.0.113.5"],
        }
        self.asked: list[str] = []
        self.free = threading.Event()
        self.free.set()

    def getaddrinfo(self, host, port, *, type, flags):  # noqa: A002
        assert type == socket.SOCK_DGRAM
        self.asked.append(host)
        addresses = self.addresses.get(host)
        assert self.free.wait(10)
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (None, type, 0, "", (address, port, 0, 0) if ":" in address else (address, port))
            for address in addresses
        ]


class Bed:
    """A resolver, what it resolves by, and the loop of its owner."""

    def __init__(self) -> None:
        self.system = System()
        self.selector = selectors.DefaultSelector()
        self.now = 0.0
        self.resolver = Resolver(
            self.selector, getaddrinfo=self.system.getaddrinfo, clock=lambda: self.now
        )

    def turn(self, seconds: float = 5.0) -> None:
        """Wait for what comes next."""
        for key, _events in self.selector.select(seconds):
            key.data()


@pytest.fixture
def bed():
    bed = Bed()
    yield bed
    bed.system.free.set()
    bed.resolver.close()
    assert not bed.selector.get_map()
    bed.selector.close()


def test_the_addresses_of_a_name_come_once_without_repetition(bed):
    bed.resolver.ask(REGISTRY)
    bed.turn()
    assert bed.resolver.resolved == 1
    assert bed.resolver.take(REGISTRY) == [
        Endpoint("203.0.113.4", 51820),
        Endpoint("2001:db8::4", 51820),
    ]
    assert bed.resolver.take(REGISTRY) is None


def test_nobody_waits_for_a_slow_resolver(bed):
    bed.system.free.clear()
    begun = time.monotonic()
    bed.resolver.ask(REGISTRY)
    bed.turn(seconds=0)
    assert bed.resolver.take(REGISTRY) is None
    assert time.monotonic() - begun < 1
    bed.system.free.set()
    bed.turn()
    assert bed.resolver.take(REGISTRY)


def test_one_name_is_resolved_at_a_time_and_each_once(bed):
    bed.system.free.clear()
    for where in (REGISTRY, OTHER, REGISTRY, OTHER):
        bed.resolver.ask(where)
    bed.turn(seconds=0.05)
    assert bed.system.asked == ["registry.example.com"]
    bed.system.free.set()
    bed.turn()
    bed.turn()
    assert bed.system.asked == ["registry.example.com", "other.example.com"]
    assert bed.resolver.take(OTHER) == [Endpoint("203.0.113.5", 4500)]


def test_a_name_that_does_not_exist_has_no_addresses_and_is_told_once(bed, caplog):
    caplog.set_level("INFO", "wgsd.client")
    bed.system.addresses.clear()
    for _number in range(3):
        bed.resolver.ask(REGISTRY)
        bed.turn()
        assert bed.resolver.take(REGISTRY) == []
    assert caplog.messages == ["registry.example.com cannot be resolved: Name or service not known"]


def test_addresses_that_nothing_can_be_sent_to_are_left_out(bed, caplog):
    caplog.set_level("INFO", "wgsd.client")
    bed.system.addresses["other.example.com"] = ["0.0.0.0", "203.0.113.5"]
    bed.system.addresses["registry.example.com"] = ["0.0.0.0"]
    for where in (REGISTRY, OTHER):
        bed.resolver.ask(where)
        bed.turn()
    assert bed.resolver.take(REGISTRY) == []
    assert bed.resolver.take(OTHER) == [Endpoint("203.0.113.5", 4500)]
    assert "registry.example.com cannot be resolved: it has no address" in caplog.messages[0]


def test_a_resolver_that_hangs_is_given_up_at_the_next_question(bed):
    bed.system.free.clear()
    bed.resolver.ask(REGISTRY)
    bed.now += PATIENCE
    bed.resolver.ask(REGISTRY)
    assert bed.resolver.take(REGISTRY) == []
    bed.system.free.set()
    bed.resolver.ask(REGISTRY)
    bed.turn()
    assert len(bed.resolver.take(REGISTRY)) == 2


def test_what_is_under_way_when_it_is_closed_harms_nobody(bed):
    bed.system.free.clear()
    bed.resolver.ask(REGISTRY)
    bed.resolver.ask(OTHER)
    bed.resolver.close()
    bed.system.free.set()
    bed.turn(seconds=0.05)
    assert bed.resolver.resolved == 0


def test_the_name_of_this_host_is_resolved_by_the_real_system():
    with selectors.DefaultSelector() as selector:
        resolver = Resolver(selector)
        resolver.ask(HostPort("localhost", 51820))
        ((key, _events),) = selector.select(10)
        key.data()
        found = resolver.take(HostPort("localhost", 51820))
        assert {endpoint.address for endpoint in found} & {"127.0.0.1", "::1"}
        resolver.close()
