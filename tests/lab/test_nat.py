# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each kind of NAT does what its name says, seen with real UDP sockets (RFC 4787's terms)."""

from __future__ import annotations

import itertools
import socket
import time

import pytest

from tests.lab import KINDS, BareHost, BareLab, Nat, Node, Site

pytestmark = pytest.mark.lab

PREFIX = "tnat"
REGISTRY = "203.0.113.4"
REGISTRY6 = "2001:db8::4"
ELSEWHERE = "203.0.113.1"
PATIENCE = 0.25
CONES = ("full-cone", "address-restricted", "port-restricted", "double")


class Udp:
    """A UDP socket in a node; an IPv6 one, if its address is."""

    def __init__(self, node: Node, port: int = 0, address: str = "") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with node.network():
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.socket.settimeout(PATIENCE)

    def send(self, to: tuple[str, int], text: str = "x") -> None:
        self.socket.sendto(text.encode(), to)

    def receive(self) -> tuple[str, tuple[str, int]] | None:
        """Text and source of the next packet; None if none comes in time."""
        try:
            data, source = self.socket.recvfrom(100)
        except TimeoutError:
            return None
        return data.decode(), source[:2]

    def source(self) -> tuple[str, int] | None:
        """Where the next packet comes from."""
        received = self.receive()
        return received[1] if received else None


def lab_with(nat_a: Nat, nat_b: Nat | None = None) -> BareLab:
    return BareLab(PREFIX, [Site("alice", nat_a), Site("bob", nat_b or Nat())])


def mapping(host: Udp, server: Udp, at: tuple[str, int]) -> tuple[str, int]:
    """How ``server`` sees ``host``."""
    host.send(at)
    source = server.source()
    assert source, "a packet to the registry was lost"
    return source


@pytest.mark.parametrize("kind", CONES)
def test_a_cone_maps_a_socket_to_one_port_for_all_destinations_and_another_after_a_reboot(
    kind: str,
) -> None:
    with lab_with(Nat(kind)) as lab:
        assert mappings_of_one_socket(lab) == [("198.51.100.10", 4000)] * 4
        lab.router("a").reboot()
        alice, registry = Udp(lab.host("alice"), 4000), Udp(lab.registry, 5001)
        registry.send(("198.51.100.10", 4000))
        assert alice.receive() is None
        outside = mapping(alice, registry, (REGISTRY, 5001))
        registry.send(outside, "by the new mapping")
        assert alice.receive() == ("by the new mapping", (REGISTRY, 5001))
        for udp in (alice, registry):
            udp.socket.close()
        assert outside != ("198.51.100.10", 4000)
        assert mappings_of_one_socket(lab) == [outside] * 4


def test_a_symmetric_nat_maps_a_socket_to_another_port_for_each_destination() -> None:
    with lab_with(Nat("symmetric")) as lab:
        seen = mappings_of_one_socket(lab)
        assert {address for address, _port in seen} == {"198.51.100.10"}
        assert len({port for _address, port in seen}) == 4


def test_without_nat_a_host_is_seen_under_its_own_addresses_and_everybody_gets_in() -> None:
    with lab_with(Nat("none")) as lab:
        host = lab.host("alice")
        own = lab.router("a").site.public_address("alice")
        assert mappings_of_one_socket(lab) == [(own, 4000)] * 4
        assert host.outside == own
        alice = Udp(host, 4000, host.address6)
        Udp(lab.registry, 5001, REGISTRY6).send((host.address6, 4000))
        assert alice.source() == (REGISTRY6, 5001)


def mappings_of_one_socket(lab: BareLab) -> list[tuple[str, int]]:
    alice = Udp(lab.host("alice"), 4000)
    servers = [
        (Udp(lab.registry, 5001), (REGISTRY, 5001)),
        (Udp(lab.registry, 5002), (REGISTRY, 5002)),
        (Udp(lab.internet, 5001, ELSEWHERE), (ELSEWHERE, 5001)),
        (Udp(lab.internet, 5001, "192.0.2.1"), ("192.0.2.1", 5001)),
    ]
    seen = [mapping(alice, server, at) for server, at in servers]
    for udp in (alice, *(server for server, _at in servers)):
        udp.socket.close()
    return seen


@pytest.mark.parametrize(
    ("kind", "let_in"),
    [
        ("none", {"same", "other port", "other address"}),
        ("full-cone", {"same", "other port", "other address"}),
        ("address-restricted", {"same", "other port"}),
        ("port-restricted", {"same"}),
        ("symmetric", {"same"}),
        ("double", {"same"}),
    ],
)
@pytest.mark.parametrize("drop_inbound", [True, False])
def test_a_mapping_lets_in_packets_from(kind: str, let_in: set[str], drop_inbound: bool) -> None:
    with lab_with(Nat(kind, drop_inbound)) as lab:
        alice = Udp(lab.host("alice"))
        same = Udp(lab.registry, 5001)
        outside = mapping(alice, same, (REGISTRY, 5001))
        senders = {
            "same": same,
            "other port": Udp(lab.registry, 5002),
            "other address": Udp(lab.internet, 5001, ELSEWHERE),
        }
        for name, sender in senders.items():
            sender.send(outside, name)
        arrived = {received[0] for received in iter(alice.receive, None)}
        assert arrived == let_in


@pytest.mark.parametrize("kind", ["full-cone", "port-restricted", "symmetric"])
def test_nobody_gets_in_before_the_host_has_sent(kind: str) -> None:
    with lab_with(Nat(kind)) as lab:
        alice = Udp(lab.host("alice"), 4000)
        Udp(lab.registry, 5001).send(("198.51.100.10", 4000))
        assert alice.receive() is None


def test_a_double_nat_is_a_router_with_a_private_address_behind_a_provider() -> None:
    with lab_with(Nat("double")) as lab:
        wan = lab.router("a").node.run(["ip", "-brief", "address", "show", "wan"]).stdout
        assert "100.64.0.10/24" in wan


@pytest.mark.parametrize(("drop_inbound", "keeps_its_port"), [(True, True), (False, False)])
def test_an_early_packet_pushes_the_mapping_to_another_port_unless_dropped(
    drop_inbound: bool, keeps_its_port: bool
) -> None:
    with lab_with(Nat("port-restricted", drop_inbound)) as lab:
        registry = Udp(lab.registry, 5001)
        registry.send(("198.51.100.10", 4000))
        time.sleep(0.05)
        source = mapping(Udp(lab.host("alice"), 4000), registry, (REGISTRY, 5001))
        assert (source == ("198.51.100.10", 4000)) is keeps_its_port


def test_two_hosts_share_the_address_of_one_router() -> None:
    with BareLab(PREFIX, [Site("home", hosts=("alice", "amy"))]) as lab:
        registry = Udp(lab.registry, 5001)
        seen = [
            mapping(Udp(lab.host(name), 4000), registry, (REGISTRY, 5001))
            for name in ("alice", "amy")
        ]
        assert [address for address, _port in seen] == ["198.51.100.10"] * 2
        assert seen[0][1] != seen[1][1]


@pytest.mark.parametrize("kind", CONES)
def test_hosts_of_one_router_reach_each_other_by_their_mappings_only_with_hairpin(
    kind: str,
) -> None:
    with BareLab(PREFIX, [Site("home", Nat(kind), hosts=("alice", "amy"))]) as lab:
        router, registry = lab.router("home"), Udp(lab.registry, 5001)
        alice, amy = Udp(lab.host("alice"), 4000), Udp(lab.host("amy"), 4001)
        for udp in (alice, amy):
            udp.socket.settimeout(0.05)
        for hairpin, reboots in ((False, 0), (True, 0), (True, 1)):
            router.set_nat(Nat(kind, hairpin=hairpin))
            for _time in range(reboots):
                router.reboot()
            of_alice, of_amy = (mapping(udp, registry, (REGISTRY, 5001)) for udp in (alice, amy))
            for udp, to in ((alice, of_amy), (amy, of_alice), (alice, of_amy)):
                udp.send(to)  # if double, the router behind the provider's drops the first one
            assert set(iter(alice.source, None)) == ({of_amy} if hairpin else set())
            assert set(iter(amy.source, None)) == ({of_alice} if hairpin else set())


def test_a_router_changes_its_nat_while_the_lab_is_up_and_forgets_its_mappings() -> None:
    with lab_with(Nat("full-cone")) as lab:
        alice, registry = Udp(lab.host("alice"), 4000), Udp(lab.registry, 5001)
        outside = mapping(alice, registry, (REGISTRY, 5001))
        lab.router("a").set_nat("symmetric")
        registry.send(outside)
        assert alice.receive() is None
        assert mapping(alice, registry, (REGISTRY, 5001)) != outside


def test_a_lossy_router_loses_about_the_percentage_of_packets_asked_for() -> None:
    with lab_with(Nat(loss=30)) as lab:
        alice, registry = Udp(lab.host("alice")), Udp(lab.registry, 5001)
        for _time in range(200):  # as many as a socket's buffer surely holds
            alice.send((REGISTRY, 5001))
        arrived = len(list(iter(registry.receive, None)))
        assert 100 < arrived < 180  # 140, and six standard deviations to either side


def test_loss_is_changed_for_both_families_without_a_change_of_mappings() -> None:
    with lab_with(Nat("symmetric")) as lab:
        sides = [
            (Udp(lab.host("alice")), Udp(lab.registry, 5001), (REGISTRY, 5001)),
            (
                Udp(lab.host("alice"), address=lab.host("alice").address6),
                Udp(lab.registry, 5001, REGISTRY6),
                (REGISTRY6, 5001),
            ),
        ]
        before = [mapping(*side) for side in sides]
        lab.router("a").set_loss(100)
        for alice, registry, at in sides:
            alice.send(at)
            assert registry.receive() is None
        lab.router("a").set_loss(0)
        assert [mapping(*side) for side in sides] == before


@pytest.mark.parametrize("kind", ["port-restricted", "double"])
def test_an_ipv6_firewall_lets_two_hosts_punch_and_nobody_else_in(kind: str) -> None:
    with lab_with(Nat(kind)) as lab:
        alice, bob = (
            Udp(lab.host(name), 51820, lab.host(name).address6) for name in ("alice", "bob")
        )
        registry = Udp(lab.registry, 5001, REGISTRY6)
        to_alice, to_bob = (mapping(udp, registry, (REGISTRY6, 5001)) for udp in (alice, bob))
        assert to_alice == (lab.host("alice").address6, 51820)
        Udp(lab.registry, 5002, REGISTRY6).send(to_alice)
        bob.send(to_alice)
        assert alice.receive() is None
        alice.send(to_bob)
        assert bob.source() == to_alice
        bob.send(to_alice)
        assert alice.source() == to_bob
        lab.router("a").reboot()
        bob.send(to_alice)
        assert alice.receive() is None
        assert mapping(alice, registry, (REGISTRY6, 5001)) == to_alice


# Where one side's port differs for each destination, and the other lets in only what it sent to.
HARD = {
    frozenset({"symmetric"}),
    frozenset({"symmetric", "port-restricted"}),
    frozenset({"symmetric", "double"}),
}


@pytest.mark.parametrize(
    ("kind_a", "kind_b"), list(itertools.combinations_with_replacement(KINDS, 2))
)
def test_two_hosts_punch_through_a_pair_of_nats_unless_it_is_a_hard_pair(
    kind_a: str, kind_b: str
) -> None:
    with lab_with(Nat(kind_a), Nat(kind_b)) as lab:
        assert punch(lab, lab.host("alice"), lab.host("bob")) is (
            frozenset({kind_a, kind_b}) not in HARD
        )


def punch(lab: BareLab, one: BareHost, other: BareHost) -> bool:
    """Both learn at the registry how the other is seen, and send there; do both hear something?

    As WireGuard does, each answers to where the last packet came from.
    """
    registry = Udp(lab.registry, 5001)
    a, b = Udp(one, 51820), Udp(other, 51820)
    to_b = mapping(b, registry, (REGISTRY, 5001))
    to_a = mapping(a, registry, (REGISTRY, 5001))
    a_heard = b_heard = False
    for udp in (a, b):
        udp.socket.settimeout(0.05)
    for _time in range(3):
        a.send(to_b)
        b.send(to_a)
        if source := a.source():
            a_heard, to_b = True, source
        if source := b.source():
            b_heard, to_a = True, source
    return a_heard and b_heard
