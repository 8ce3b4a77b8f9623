# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running responder on a real device takes any flood: no process ends, none grows, it answers."""

from __future__ import annotations

import base64
import contextlib
import json
import multiprocessing
import pathlib
import random
import socket
import time
import typing as t

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.fuzz.packets import Packets, wire_name
from tests.lab.bare import BareHost, BareLab
from tests.lab.mesh import INTERFACE, SERVER, ZONE, Mesh
from tests.lab.netns import Node
from tests.lab.topology import REGISTRY, REGISTRY_ADDRESS
from wgsd.keys import PublicKey

pytestmark = pytest.mark.lab

PREFIX = "wgfz"
SERVICE, CATALOG = f"_wireguard._udp.{ZONE}", "catalog.example."
PEERS = [PublicKey(bytes([number]) * 32) for number in range(1, 41)]
KEY_NAME, SECRET = "ops.example.com.", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="
#: Packets that are made before they are sent; each is sent several times, between other ones.
POOL = 20_000
#: Packets sent in a row, and packets after which a sender makes a new pool.
BURST, ROUND = 100, 100_000
#: Messages on one TCP connection, of which there is one in so many bursts.
STREAM, STREAMED = 40, 4
#: What the senders' own queries are known by, among all that look like it.
CLIENT_COOKIE = b"wgsdfuzz"
#: Bytes by which all processes together may grow under a flood.
GROWTH = 16 << 20
#: Settings under which every part of the answer path works: keys, networks, limits, metrics.
EVERYTHING = {
    "listen": [f"{SERVER}:53", f"{REGISTRY_ADDRESS}:53"],
    "keys": {KEY_NAME: {"secret": SECRET}},
    "metrics": "127.0.0.1",
    "catalog": {"zone": CATALOG, "allow_transfer": ["tunnel", f"key {KEY_NAME}"]},
    "rate_limit": 50,
}
ALLOWED = ["10.0.0.0/24", "203.0.113.0/26", f"key {KEY_NAME}"]


class Flood:
    """A process that sends packets from some node to some address."""

    def __init__(self, node: Node, address: str, seed: str, inputs: int) -> None:
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_flood, args=(node, address, seed, inputs))
        self._process.start()

    def is_over(self) -> bool:
        """Whether all packets are sent. It must not have failed."""
        assert self._process.exitcode in (None, 0), "a sender failed, see above"
        return self._process.exitcode == 0

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


def _flood(node: Node, address: str, seed: str, inputs: int) -> None:
    randomness = random.Random(seed)
    names = [wire_name(name) for name in (ZONE, f"_udp.{ZONE}", SERVICE, f"ns1.{ZONE}", ".")]
    names += [wire_name(f"{key.label}.{SERVICE}") for key in PEERS]
    names += [wire_name(f"{key.unpadded_label}.{SERVICE}") for key in PEERS]
    packets = Packets(randomness, names, {KEY_NAME: base64.b64decode(SECRET)})
    for zone in (ZONE, CATALOG):
        packets.note_serial(wire_name(zone), 1)
    with node.network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, 53))
        client.settimeout(0.02)
        sent, cookie = 0, CLIENT_COOKIE
        while sent < inputs:
            if sent % ROUND == 0:
                pool = [packets.packet() for _time in range(POOL)]
            for packet in randomness.choices(pool, k=BURST):
                with contextlib.suppress(OSError):
                    client.send(packet)
            sent += BURST
            cookie = _wait_for_all(client, packets, cookie)
            if sent % (BURST * STREAMED) == 0:
                _stream(address, packets, randomness.choices(pool, k=STREAM))


def _wait_for_all(client: socket.socket, packets: Packets, cookie: bytes) -> bytes:
    """Take responses until the one comes that was asked for last; else most packets were lost.

    Returns:
        The cookie to come with the next time. With a good one, no rate limit holds.
    """
    option = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, cookie)
    query = dns.message.make_query(ZONE, "SOA", use_edns=0, options=[option]).to_wire()
    with contextlib.suppress(OSError):
        client.send(query)
        while True:
            response = client.recv(4096)
            packets.learn(response)
            at = response.find(CLIENT_COOKIE)
            if at > 0 and response[:2] == query[:2]:
                for rrset in dns.message.from_wire(response).answer:
                    packets.note_serial(wire_name(ZONE), rrset[0].serial)
                return response[at : at + 24]
    return cookie


def _stream(address: str, packets: Packets, messages: t.Sequence[bytes]) -> None:
    # The responder may well end a connection, and a client may well not wait for all answers.
    with contextlib.suppress(OSError), socket.create_connection((address, 53), timeout=1) as client:
        for piece in packets.stream(messages):
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):
            pass


class Processes:
    """A responder's process tree."""

    def __init__(self, host: BareHost) -> None:
        self._report = host.path("/run/wgsd-responder/status.json")

    def report(self) -> dict[str, t.Any]:
        """What it says of itself."""
        report: dict[str, t.Any] = json.loads(self._report.read_text())
        return report

    def pids(self) -> list[int]:
        """All of its processes that last, the supervisor first."""
        main = self.report()["pid"]
        children = pathlib.Path(f"/proc/{main}/task/{main}/children").read_text()
        return [main, *filter(_lasts, map(int, children.split()))]

    def memory(self) -> int:
        """Bytes of memory of all processes (PSS)."""
        lines = [
            line
            for pid in self.pids()
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        ]
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _lasts(pid: int) -> bool:
    """Whether a child is not the one that writes a file and ends."""
    try:
        return "keeper" not in pathlib.Path(f"/proc/{pid}/comm").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def ask(host: BareHost, key: PublicKey, *, tcp: bool) -> dns.message.Message | None:
    """Ask as a client does that tries a few times: in a flood, datagrams are lost."""
    query = dns.message.make_query(f"{key.label}.{SERVICE}", "SRV")
    ways = {True: dns.query.tcp, False: dns.query.udp}
    for _time in range(20):
        # The UDP port of the socket, and the query's ID, may well be those of a flood.
        with host.network(), contextlib.suppress(dns.exception.DNSException, OSError, EOFError):
            return ways[tcp](query, SERVER, timeout=0.5)
    return None


@pytest.mark.alone
@pytest.mark.parametrize("settings", ["by default", "with everything"])
def test_a_responder_stands_any_flood(settings: str, fuzz_seed: str, fuzz_inputs: int) -> None:
    with BareLab(PREFIX) as lab, Mesh(lab) as mesh, contextlib.ExitStack() as stack:
        host = lab.registry
        endpoints = [
            word
            for number, key in enumerate(PEERS)
            for word in ("peer", key.base64, "endpoint", f"198.51.100.1:{1000 + number}")
        ]
        mesh.devices[REGISTRY].set(*endpoints)
        zone: dict[str, t.Any] = {"zone": ZONE, "device": INTERFACE, "self": True}
        more: dict[str, t.Any] = {}
        if settings == "with everything":
            zone.update(allow_query=ALLOWED, allow_transfer=["tunnel", *ALLOWED], dnssec=True)
            more = EVERYTHING
        host.path("/run/wgsd-responder").mkdir()
        mesh.start_responder(zones=[zone], workers=2, **more)
        processes = Processes(host)
        mesh.wait(lambda: processes.report()["workers"] == 2, "two workers")
        from_outside = (lab.internet, REGISTRY_ADDRESS)
        from_inside = (host, SERVER)
        places = [from_inside, from_outside if more else from_inside]
        # A quarter of all packets: for each of the two settings, from each of two senders.
        inputs = fuzz_inputs // 16

        def flood(part: str, number: int) -> None:
            senders = [
                Flood(node, address, f"{fuzz_seed} {part} {place}", number)
                for place, (node, address) in enumerate(places)
            ]
            for sender in senders:
                stack.callback(sender.stop)
            while not all(sender.is_over() for sender in senders):
                for tcp in (False, True):
                    key = random.choice(PEERS)
                    answer = ask(host, key, tcp=tcp)
                    assert answer, f"no answer in a flood\n{mesh.log(REGISTRY, 'responder')}"
                    assert answer.answer[0][0].port == 1000 + PEERS.index(key)
                time.sleep(0.05)

        # The first part fills caches and free lists.
        flood("first", inputs // 4)
        before, memory = processes.pids(), processes.memory()
        start = time.monotonic()
        flood("second", inputs - inputs // 4)
        seconds = time.monotonic() - start
        grown = processes.memory() - memory
        time.sleep(1.5)
        report, log = processes.report(), mesh.log(REGISTRY, "responder")
        print(f"{2 * inputs} packets, the last three quarters in {seconds:.0f} s: {report}")
        print(f"PSS {memory >> 10} KiB before, grown by {grown >> 10} KiB")
        assert processes.pids() == before, log
        assert report["worker_restarts"] == report["watcher_restarts"] == 0, log
        assert "cannot answer" not in log
        assert "Traceback" not in log
        assert grown < GROWTH
