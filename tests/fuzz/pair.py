# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker in a process of its own, and beside it the complete path, which knows its answers."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import random
import socket
import struct
import time
import typing as t

import dns.message
import dns.name

from tests.fuzz.checks import Checker
from tests.fuzz.packets import Packets, wire_name
from tests.unit.zone.asking import key
from wgsd.config import Access, ResponderSettings, SelfSettings, TsigKey, ZoneSettings
from wgsd.model import Endpoint
from wgsd.responder import children, frames, stats
from wgsd.responder.batches import SLOT
from wgsd.responder.sockets import listen
from wgsd.responder.worker import Worker, load_record_types
from wgsd.zone.answers import Authority
from wgsd.zone.records import build
from wgsd.zone.served import LOOPBACK, Context
from wgsd.zone.version import Chain, Content, Instance, Version

ZONES = ("example.com.", "lab.example.com.")
LOCAL = "127.0.0.1"
#: Who asks: one that may, and one that may only with a key where that is asked for.
SOURCES = (LOCAL, "127.9.9.9")
KEY_NAME, SECRET = "ops.example.com.", b"0123456789abcdef0123456789abcdef"
COOKIE_SECRET = bytes(range(16))
#: Packets sent before the responses are looked at: less than any socket's buffer.
BATCH = 32
#: Seconds without a response after which there will be none.
PATIENCE = 10.0
#: What of an answer depends on the second in which it was made, and so may differ by that much.
SECONDS_APART = (0, 1, -1, 2)
_LENGTH = struct.Struct("!H")


class WrongAnswerError(AssertionError):
    """The worker did not answer as the complete path does; says to which packet."""


class Pair:
    """Worker and complete path, asked the same.

    Attributes:
        asked: Packets so far.
    """

    def __init__(self, randomness: random.Random, *, guarded: bool) -> None:
        """Start a worker.

        Args:
            guarded: Whether it has to look at who asks; if not, whoever reaches it may.
        """
        self._random = randomness
        self.asked = 0
        access = Access(("127.0.0.0/24",), (KEY_NAME,)) if guarded else None
        zones = [ZoneSettings(zone, "lo", own=SelfSettings(), allow_query=access) for zone in ZONES]
        keys = {KEY_NAME: TsigKey(KEY_NAME, "hmac-sha256", SECRET)}
        settings = ResponderSettings(tuple(zones), keys=keys, rate_limit=0)
        self._versions = {zone: Version(zone, 1, _content(randomness)) for zone in ZONES}
        listener = dataclasses.replace(listen(Endpoint(LOCAL, 0)), guarded=guarded)
        self._udp_address = listener.udp.getsockname()
        self._tcp_address = listener.tcp.getsockname()
        self._ingress = LOOPBACK if guarded else None
        chains = [Chain(version) for version in self._versions.values()]
        self._board = stats.Board.create(ZONES, 1)
        recorder = self._board.worker(0)

        def serve(control: socket.socket) -> None:
            load_record_types()
            Worker(control, [listener], settings, chains, recorder, COOKIE_SECRET).run()

        keep = listener.descriptors
        self.pid, self._control = children.fork("fuzzed", serve, keep)
        listener.close()
        self._control.settimeout(PATIENCE)
        self._take_acknowledgement()
        #: What the time is when it is looked at first, and from then on.
        self._clock = [time.time()]
        self._authority = Authority(settings, COOKIE_SECRET, wall=self._wall)
        for version in list(self._versions.values()):
            self._serve(version)
        self._checker = Checker()
        self._packets = Packets(randomness, _names(), {KEY_NAME: SECRET})
        self._clients: dict[str, socket.socket] = {}
        for source in SOURCES:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            client.bind((source, 0))
            client.connect(self._udp_address)
            client.settimeout(PATIENCE)
            self._clients[source] = client

    def close(self) -> None:
        """End the worker, which must still be there."""
        for client in self._clients.values():
            client.close()
        ended = children.has_ended(self.pid)
        self._control.close()
        assert ended is None, f"the worker has ended: {ended}"
        deadline = time.monotonic() + PATIENCE
        while (ended := children.has_ended(self.pid)) is None:
            if time.monotonic() > deadline:
                children.kill(self.pid)
                raise AssertionError("the worker does not end when it is told to")
            time.sleep(0.005)
        assert ended == "exit code 0", f"the worker ended with {ended}"

    def memory(self) -> int:
        """Bytes of memory that the worker has, those that it shares with its parents included.

        Its share of these (PSS) would grow by itself, whenever a parent ends or writes to one.
        """
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * next(
            int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")
        )

    def answered(self) -> dict[str, int]:
        """How many queries the worker has answered by the fast and by the slow path."""
        by_path = {"fast": 0, "slow": 0}
        for (_rdtype, _rcode, path), count in zip(stats.ANSWERED, self._board.totals()):
            by_path[path] += count
        return by_path

    def step(self) -> None:
        """Ask some more, or let the zone change."""
        pick = self._random.random()
        if pick < 0.01:
            self._change()
        elif pick < 0.25:
            self._ask_by_stream()
        else:
            self._ask_by_datagrams()

    def _wall(self) -> float:
        return self._clock.pop(0) if len(self._clock) > 1 else self._clock[0]

    def _source(self) -> str:
        return SOURCES[self._random.random() < 0.15]

    def _ask_by_datagrams(self) -> None:
        source = self._source()
        client = self._clients[source]
        packets = [self._packets.packet() for _time in range(BATCH)]
        # What is sent last is answered for certain; its response says that all others are out.
        packets.append(self._packets.names[0].join((b"\0\0\0\0\0\1\0\0\0\0\0\0", b"\0\1\0\1")))
        for packet in packets:
            client.send(packet)
        seen = [packet[:SLOT] for packet in packets]
        context = Context(source, LOCAL, ingress=self._ingress)
        expected = self._expected(seen, context)
        for packet, wanted in zip(seen, expected):
            if wanted is None:
                continue
            try:
                response = client.recv(65536)
            except TimeoutError:
                response = None
            self._compare(packet, response, wanted, context)
        self.asked += len(packets)

    def _ask_by_stream(self) -> None:
        source = self._source()
        context = Context(source, LOCAL, tcp=True, ingress=self._ingress)
        packets = [self._packets.packet() for _time in range(self._random.randrange(1, BATCH))]
        pieces = self._packets.stream(packets)
        self.asked += len(packets)
        with socket.socket() as client:
            client.settimeout(PATIENCE)
            client.bind((source, 0))
            client.connect(self._tcp_address)
            if self._random.random() < 0.05:
                # One that goes away in the midst of it, and takes no answer.
                client.send(b"".join(pieces)[: self._random.randrange(1, 3000)])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := client.recv(1 << 18):
                received += chunk
        for packet, wanted in zip(packets, self._expected(packets, context)):
            if wanted is None:
                continue
            end = _LENGTH.size + (_LENGTH.unpack_from(received)[0] if len(received) > 1 else 0)
            response = received[_LENGTH.size : end] if len(received) >= end > 2 else None
            received = received[end:]
            self._compare(packet, response, wanted, context)
        assert not received, f"more came than was asked for: {received.hex()}"

    def _expected(self, packets: t.Sequence[bytes], context: Context) -> list[bytes | None]:
        self._clock = [time.time()]
        expected = []
        for packet in packets:
            wanted = self._respond(packet, context)
            try:
                self._checker.check(packet, wanted, tcp=context.tcp)
            except Exception as exc:
                raise WrongAnswerError(_told(packet, context, complete_path=wanted)) from exc
            if wanted is not None:
                self._packets.learn(wanted)
            expected.append(wanted)
        return expected

    def _respond(self, packet: bytes, context: Context) -> bytes | None:
        try:
            reply = self._authority.respond(packet, context)
        except Exception as exc:
            raise WrongAnswerError(_told(packet, context)) from exc
        return None if reply is None else reply.wire

    def _compare(
        self, packet: bytes, response: bytes | None, wanted: bytes, context: Context
    ) -> None:
        if response == wanted:
            return
        # Cookies and signatures tell the time, and a second may have ended between the two.
        now = self._clock[0]
        for apart, later in itertools.product(SECONDS_APART, (0, 1)):
            self._clock = [now + apart, now + apart + later]
            if response == self._respond(packet, context):
                return
        told = _told(packet, context, complete_path=wanted, worker=response)
        raise WrongAnswerError(told)

    def _change(self) -> None:
        """Let a zone take a step, or the whole of it be forgotten or come anew."""
        r = self._random
        before = self._versions[r.choice(ZONES)]
        content = before.content
        pick = r.random()
        if content is None or pick < 0.05:
            content = _content(r)
        elif pick < 0.07:
            content = None
        elif pick < 0.1:
            content = Content(() if content.addresses == (LOCAL,) else (LOCAL,), content.instances)
        else:
            instances = dict(content.instances)
            for _time in range(r.choice((1, 1, 5))):
                instance = _instance(r)
                instances.pop(instance.public_key, None)
                if r.random() < 0.7:
                    instances[instance.public_key] = instance
            content = Content(content.addresses, instances)
        delta = before.delta_to(before.serial + 1, content)
        if delta is None:
            return
        self._control.sendall(frames.frame(delta.encode()))
        self._take_acknowledgement()
        self._serve(before.after(delta))

    def _serve(self, version: Version) -> None:
        self._versions[version.zone] = version
        content = version.content
        zone = None if content is None else build(version.zone, version.serial, content)
        self._authority.serve(dns.name.from_text(version.zone), zone)

    def _take_acknowledgement(self) -> None:
        assert self._control.recv(1) == b".", "the worker is gone"


def _content(randomness: random.Random) -> Content:
    """Nobody, few, about as many as a datagram can list, more, and more than TCP can list."""
    r = randomness
    number = r.choice((0, 1, 3, *[r.randrange(4, 9)] * 3, *[r.randrange(13, 19)] * 3, 60, 1000))
    instances = [_instance(r, most=max(60, number)) for _time in range(number)]
    return Content((LOCAL,), {instance.public_key: instance for instance in instances})


def _instance(randomness: random.Random, most: int = 60) -> Instance:
    """One of *most* instances, with another endpoint and other allowed IPs each time."""
    number = randomness.randrange(most)
    address = randomness.choice(("198.51.100.1", "198.51.100.2", "2001:db8::1", None))
    octet = number % 256
    blocks = tuple(f"10.{octet}.{i}.0/24" for i in range(randomness.choice((0, 1, 2, 30))))
    name = f"peer-{number}" if randomness.random() < 0.5 else None
    return Instance(key(f"fuzzed {number}"), address, randomness.randrange(1, 65536), blocks, name)


def _names() -> list[bytes]:
    """What to ask for: every name that a zone may have, a few that it must not, and the root."""
    texts = [".", "com.", "example.net.", "ns1.example.com."]
    for zone in ZONES:
        service = f"_wireguard._udp.{zone}"
        texts += [
            zone,
            f"ns1.{zone}",
            f"hostmaster.{zone}",
            f"_udp.{zone}",
            f"_dns-sd._udp.{zone}",
            service,
        ]
        texts += [f"{kind}._dns-sd._udp.{zone}" for kind in ("_services", "b", "db", "lb")]
        # What all ask for, and what most changes are about.
        texts += [f"_wireguard._tcp.{zone}", *[service] * 8]
        for number in range(6):
            peer = key(f"fuzzed {number}")
            labels = (peer.label, peer.unpadded_label, f"peer-{number}")
            texts += [f"{label}.{service}" for label in labels]
    # The root first: of all names the one that is answered whatever happens.
    return [wire_name(text) for text in texts]


def _told(packet: bytes, context: Context, **responses: bytes | None) -> str:
    lines = [f"asked by {context}: {packet.hex()}"]
    for whose, wire in responses.items():
        lines.append(f"{whose}: {'silence' if wire is None else wire.hex()}")
        try:
            lines.append(str(dns.message.from_wire(wire or b"", keyring=False)))
        except Exception as exc:
            lines.append(repr(exc))
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a run came to.

    Attributes:
        halfway: Bytes of the worker's memory after the first half of the packets.
        end: The same at the end.
        answered: Answers by path.
    """

    halfway: int
    end: int
    answered: t.Mapping[str, int]


def run(seed: str, inputs: int, *, guarded: bool) -> Figures:
    """Ask that many packets of a pair.

    Raises:
        AssertionError: says what went wrong.
    """
    pair = Pair(random.Random(seed), guarded=guarded)
    halfway = 0
    try:
        while pair.asked < inputs:
            pair.step()
            if not halfway and pair.asked >= inputs / 2:
                halfway = pair.memory()
        end = pair.memory()
    except BaseException:
        children.kill(pair.pid)
        raise
    pair.close()
    return Figures(halfway, end, pair.answered())
