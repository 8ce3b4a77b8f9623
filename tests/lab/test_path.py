# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What counts as a move of a host, by real changes of its addresses, routes and links."""

from __future__ import annotations

import selectors
import time
import typing as t

import pytest

from wgsd.client.path import PathWatcher

from . import netns, wireguard
from .lock import locked

pytestmark = pytest.mark.lab

PREFIX = "tpth"
REGISTRY_4, REGISTRY_6 = "203.0.113.4", "2001:db8:4::4"
#: The mark of packets that WireGuard sends, as wg-quick sets it.
FWMARK = 51820
PATIENCE = 5.0
#: Seconds without a move after which there will be none.
SILENCE = 0.3


class Host:
    """A host with an uplink, watched while its network changes."""

    def __init__(self) -> None:
        self.node = netns.create_host(PREFIX, "host")
        self.router = netns.create_host(PREFIX, "router")
        self.ip(f"link add name eth0 type veth peer name lan netns {self.router.pid}")
        self.router.run(["ip", "link", "set", "lan", "up"])
        self.ip(
            "link set eth0 up",
            "address add 192.0.2.10/24 dev eth0",
            "route add default via 192.0.2.1",
            "address add 2001:db8::10/64 dev eth0 nodad",
            "route add default via 2001:db8::1",
        )
        self.selector = selectors.DefaultSelector()
        self.woken = 0
        with self.node.network():
            self.watcher = PathWatcher(self.selector)
        self.watch(REGISTRY_4)

    def watch(self, *addresses: str, fwmark: int = 0) -> None:
        self.watcher.watch(addresses, fwmark)

    def ip(self, *commands: str) -> None:
        """Change the network, in one process."""
        self.node.run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")

    def moved(self, patience: float = SILENCE) -> bool:
        """Turn the loop until the host has moved, but no longer than *patience* seconds."""
        deadline = time.monotonic() + patience
        while (now := time.monotonic()) < deadline:
            until = deadline if self.watcher.due is None else self.watcher.due
            for key, _events in self.selector.select(max(0.0, until - now)):
                self.woken += 1
                key.data()
            self.watcher.tick()
            if self.watcher.moved():
                return True
        return False

    def close(self) -> None:
        self.watcher.close()
        self.selector.close()


@pytest.fixture
def host() -> t.Iterator[Host]:
    with locked(PREFIX):
        netns.remove(PREFIX)
        try:
            host = Host()
            assert not host.moved(0.05)
            yield host
            host.close()
        finally:
            netns.remove(PREFIX)


@pytest.mark.alone
def test_another_address_on_the_same_network_is_a_move_within_a_tenth_of_a_second(host):
    host.ip(
        "address delete 192.0.2.10/24 dev eth0",
        "address add 192.0.2.11/24 dev eth0",
        "route add default via 192.0.2.1",
    )
    changed = time.monotonic()
    assert host.moved(PATIENCE)
    assert time.monotonic() - changed < 0.1
    assert not host.moved()


def test_another_gateway_is_a_move(host):
    host.ip("route replace default via 192.0.2.2")
    assert host.moved(PATIENCE)


def test_another_network_is_a_move_once_there_is_a_route_again(host):
    host.ip("address delete 192.0.2.10/24 dev eth0")
    assert not host.moved()
    host.ip("address add 198.51.100.10/24 dev eth0")
    assert not host.moved()
    host.ip("route add default via 198.51.100.1")
    assert host.moved(PATIENCE)


def test_ipv6_paths_are_watched_in_the_same_way(host):
    host.watch(REGISTRY_6)
    host.ip("route replace default via 192.0.2.2")
    assert not host.moved()
    host.ip(
        "address delete 2001:db8::10/64 dev eth0",
        "address add 2001:db8::11/64 dev eth0 nodad",
    )
    assert host.moved(PATIENCE)
    host.ip("route change default via 2001:db8::2")
    assert host.moved(PATIENCE)


def test_an_address_that_new_packets_do_not_take_is_no_move(host):
    host.watch(REGISTRY_4, REGISTRY_6)
    host.ip("address add 192.0.2.11/24 dev eth0")
    host.ip("address add 2001:db8::ffff:11/64 dev eth0 nodad preferred_lft 0")
    assert not host.moved()


def test_a_cable_that_is_pulled_and_plugged_is_a_move_when_it_is_plugged(host):
    host.router.run(["ip", "link", "set", "lan", "down"])
    deadline = time.monotonic() + PATIENCE
    # The kernel may take up to a second to say so.
    while "NO-CARRIER" not in host.node.run(["ip", "link", "show", "dev", "eth0"]).stdout:
        assert time.monotonic() < deadline
        assert not host.moved(0.05)
    assert not host.moved()
    host.router.run(["ip", "link", "set", "lan", "up"])
    assert host.moved(PATIENCE)


def test_an_interface_that_is_switched_off_is_a_move_when_its_route_is_back(host):
    host.ip("link set eth0 down")
    assert not host.moved()
    host.ip("link set eth0 up", "route add default via 192.0.2.1")
    assert host.moved(PATIENCE)


def test_a_second_uplink_is_a_move_only_if_packets_take_it(host):
    host.ip(
        "link add name wlan0 type veth peer name other0",
        "link set wlan0 up",
        "link set other0 up",
        "address add 198.51.100.10/24 dev wlan0",
        "route add default via 198.51.100.1 metric 600",
    )
    assert not host.moved()
    host.ip("route delete default via 192.0.2.1")
    assert host.moved(PATIENCE)


def test_a_renewed_lease_is_no_move(host):
    host.ip(
        "address change 192.0.2.10/24 dev eth0 valid_lft 3600 preferred_lft 3600",
        "route replace default via 192.0.2.1",
    )
    assert not host.moved()
    host.ip(
        "address delete 192.0.2.10/24 dev eth0",
        "address add 192.0.2.10/24 dev eth0",
        "route replace default via 192.0.2.1",
    )
    assert not host.moved()


def test_containers_that_come_and_go_are_no_move_and_hardly_wake_the_host(host):
    begun = time.monotonic()
    for number in range(20):
        names = [f"veth{number}-{one}" for one in range(5)]
        host.ip(*(f"link add name {name} type veth peer name p{name}" for name in names))
        host.ip(*(f"link set {name} up" for name in names))
        host.ip(*(f"address add 172.17.{number}.1/24 dev {name}" for name in names))
        host.ip(*(f"link delete {name}" for name in names))
        assert not host.moved(0.01)
    assert host.woken <= 10 * (time.monotonic() - begun) + 4
    assert not host.moved()


def test_the_tunnel_s_own_addresses_are_no_move(host):
    device = wireguard.start(host.node, address="10.0.0.1/24")
    host.ip("address add 10.0.0.2/24 dev wg0", "route add 10.9.0.0/16 dev wg0")
    host.ip("address delete 10.0.0.1/24 dev wg0")
    device.stop()
    assert not host.moved()


def test_what_the_tunnel_s_packets_are_marked_with_decides_which_path_counts(host):
    # As wg-quick does for a peer that all packets shall go to.
    host.watch(REGISTRY_4, fwmark=FWMARK)
    device = wireguard.start(host.node, address="10.0.0.1/24")
    host.ip(
        f"route add default dev wg0 table {FWMARK}",
        f"rule add not fwmark {FWMARK} table {FWMARK}",
    )
    assert not host.moved()
    host.ip(f"rule add fwmark {FWMARK} table 100", "route add default via 192.0.2.2 table 100")
    assert host.moved(PATIENCE)
    device.stop()
