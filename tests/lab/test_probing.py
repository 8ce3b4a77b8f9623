# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes through real WireGuard: which peers are heard, past which firewalls, and how often."""

from __future__ import annotations

import selectors
import time
import typing as t

import pytest

from wgsd.client.prober import Prober
from wgsd.keys import PublicKey
from wgsd.model import Peer

from . import netns, wireguard
from .lock import locked
from .netns import Node
from .wireguard import WireGuard

pytestmark = pytest.mark.lab

PREFIX = "tprb"
NEAR, FAR = "192.0.2.1", "192.0.2.2"
#: Tunnel addresses, IPv4 and IPv6.
TUNNEL = {NEAR: ("10.0.0.1", "fd00::1"), FAR: ("10.0.0.2", "fd00::2")}
PORT = 51820
PATIENCE = 5.0
#: Seconds without an answer after which there will be none.
SILENCE = 0.3


def peer(name: str, *addresses: str) -> Peer:
    blocks = tuple(f"{address}/{128 if ':' in address else 32}" for address in addresses)
    return Peer(PublicKey(name.encode().ljust(32)), allowed_ips=blocks)


FAR_4, FAR_6 = (peer(f"far {address}", address) for address in TUNNEL[FAR])


class Tunnel:
    """Two hosts on one network with a tunnel, and a prober on the near one."""

    def __init__(self) -> None:
        self.near = netns.create_host(PREFIX, "near")
        self.far = netns.create_host(PREFIX, "far")
        ends = f"type veth peer name eth0 netns {self.far.pid}"
        self.near.run(["ip", "link", "add", "name", "eth0", *ends.split()])
        self.devices = {}
        for node, address in ((self.near, NEAR), (self.far, FAR)):
            node.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
            node.run(["ip", "link", "set", "eth0", "up"])
            self.devices[node.name] = self.start(node, address)
        # The kernel answers as often as it is asked, except where that is what we look at.
        self.limit_answers(0)
        self.introduce("far", "near")
        self.introduce("near", "far", "endpoint", f"{FAR}:{PORT}")
        self.selector = selectors.DefaultSelector()
        self.prober = Prober("wg0", self.selector, time.monotonic)

    def start(self, node: Node, address: str, **options: t.Any) -> WireGuard:
        ipv4, ipv6 = TUNNEL[address]
        device = wireguard.start(node, address=f"{ipv4}/24", listen_port=PORT, **options)
        node.run(["ip", "address", "add", f"{ipv6}/64", "dev", "wg0", "nodad"])
        return device

    def introduce(self, name: str, other: str, *settings: str) -> None:
        """Make one device know the other."""
        key = self.devices[other].public_key
        allowed = "{}/32,{}/128".format(*TUNNEL[NEAR if other == "near" else FAR])
        self.devices[name].set("peer", key, "allowed-ips", allowed, *settings)

    def limit_answers(self, milliseconds: int) -> None:
        """Have the far kernel send one ICMP error in that time, after a burst of six."""
        for name in ("net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"):
            self.far.run(["sysctl", "-qw", f"{name}={milliseconds}"])

    def probe(self, *peers: Peer) -> None:
        with self.near.network():
            self.prober.probe(peers)

    def heard(self, patience: float = SILENCE, number: int = 1) -> dict[PublicKey, float]:
        """Return who is heard: that many, or as many as there are within *patience* seconds."""
        heard: dict[PublicKey, float] = {}
        deadline = time.monotonic() + patience
        while len(heard) < number and (left := deadline - time.monotonic()) > 0:
            for key, _events in self.selector.select(left):
                key.data()
            heard.update(self.prober.heard())
        return heard

    def connect(self) -> None:
        """Wait until the tunnel carries packets."""
        self.probe(FAR_4)
        assert self.heard(PATIENCE), "no tunnel"

    def close(self) -> None:
        self.prober.close()
        self.selector.close()


@pytest.fixture
def tunnel() -> t.Iterator[Tunnel]:
    with locked(PREFIX):
        netns.remove(PREFIX)
        try:
            tunnel = Tunnel()
            yield tunnel
            tunnel.close()
        finally:
            netns.remove(PREFIX)


def firewall(node: Node, hook: str, verdict: str) -> None:
    """Treat datagrams to the discard port in this way."""
    chain = f"type filter hook {hook} priority filter; udp dport 9 {verdict};"
    node.run(["nft", "-f", "-"], stdin=f"table inet probed {{ chain c {{ {chain} }}; }}\n")


def test_a_peer_is_heard_at_its_ipv4_and_its_ipv6_address(tunnel):
    tunnel.connect()
    tunnel.probe(FAR_4, FAR_6)
    heard = tunnel.heard(PATIENCE, number=2)
    assert heard.keys() == {FAR_4.public_key, FAR_6.public_key}
    assert max(heard.values()) < 0.2


def test_a_probe_brings_the_session_about_that_carries_it(tunnel):
    assert tunnel.devices["near"].show("latest-handshakes").endswith("\t0\n")
    tunnel.probe(FAR_4)
    assert tunnel.heard(PATIENCE)


def test_who_has_no_endpoint_or_no_session_or_is_gone_is_not_heard(tunnel):
    stranger = wireguard.generate_key()
    tunnel.connect()
    nobody = peer("nobody", "10.0.0.3")
    tunnel.devices["near"].set("peer", stranger, "allowed-ips", "10.0.0.3/32")
    tunnel.probe(nobody)
    assert tunnel.heard() == {}
    tunnel.devices["near"].set("peer", stranger, "endpoint", f"{FAR}:1")
    tunnel.probe(nobody, peer("unknown to WireGuard", "10.0.0.4"))
    assert tunnel.heard() == {}
    tunnel.devices["far"].stop()
    tunnel.probe(FAR_4, FAR_6)
    assert tunnel.heard() == {}


@pytest.mark.parametrize(
    ("verdict", "is_heard"),
    [("drop", False), ("reject", True), ("reject with icmpx admin-prohibited", True)],
)
def test_a_firewall_that_drops_makes_a_peer_silent_and_one_that_rejects_does_not(
    tunnel, verdict, is_heard
):
    tunnel.probe(FAR_4)
    assert tunnel.heard(PATIENCE)
    firewall(tunnel.far, "input", verdict)
    tunnel.probe(FAR_4, FAR_6)
    assert bool(tunnel.heard(number=2)) is is_heard


def test_what_the_own_host_rejects_is_not_taken_for_an_answer(tunnel):
    tunnel.connect()
    firewall(tunnel.near, "output", "reject")
    tunnel.probe(FAR_4, FAR_6)
    assert tunnel.heard() == {}


def test_no_probe_leaves_outside_the_tunnel(tunnel):
    tunnel.connect()
    address = TUNNEL[FAR][0]
    tunnel.near.run(["ip", "route", "add", f"{address}/32", "via", FAR, "dev", "eth0"])
    firewall(tunnel.near, "output", 'oifname "eth0" drop')
    tunnel.probe(FAR_4)
    assert tunnel.heard()


def test_six_probes_in_a_row_are_answered_and_then_one_a_second(tunnel):
    tunnel.limit_answers(1000)
    tunnel.connect()
    answers = []
    for _number in range(19):
        tunnel.probe(FAR_4)
        answers.append(bool(tunnel.heard(0.03)))
    assert all(answers[:5])
    assert sum(answers) <= 6
    time.sleep(1.0)
    tunnel.probe(FAR_4)
    assert tunnel.heard()


def test_a_device_that_took_the_name_of_another_is_probed(tunnel):
    tunnel.connect()
    before = tunnel.devices["near"]
    before.stop()
    tunnel.probe(FAR_4)
    assert tunnel.heard() == {}
    tunnel.devices["near"] = tunnel.start(tunnel.near, NEAR, private_key=before.private_key)
    tunnel.introduce("near", "far", "endpoint", f"{FAR}:{PORT}")
    tunnel.probe(FAR_4, FAR_6)
    assert len(tunnel.heard(PATIENCE, number=2)) == 2
