# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker in a process of its own, and beside it the complete path, which knows its answers."""

from __future__ import annotations

import contextlib
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
import dns.tsig
import dns.tsigkeyring

from tests.fuzz.checks import Checker, signed_answer
from tests.fuzz.ledger import Ledger
from tests.fuzz.packets import Packets, wire_name
from tests.fuzz.zones import CATALOG, LOCAL, NESTED, SIGNED, ZONES, Zones, names
from wgsd.config import (
    DNS_PORT,
    TUNNEL_ONLY,
    Access,
    CatalogSettings,
    ResponderSettings,
    SelfSettings,
    TsigKey,
    ZoneSettings,
)
from wgsd.model import Endpoint
from wgsd.responder import children, frames, stats
from wgsd.responder.batches import SLOT
from wgsd.responder.followers import Follower, decode
from wgsd.responder.sockets import listen
from wgsd.responder.worker import Worker, load_record_types
from wgsd.zone.answers import Authority
from wgsd.zone.served import LOOPBACK, Context

#: Who asks: one that may, and one that may only with a key where that is asked for.
SOURCES = (LOCAL, "127.9.9.9")
KEY_NAME, SECRET = "ops.example.com.", b"0123456789abcdef0123456789abcdef"
COOKIE_SECRET = bytes(range(16))
#: Packets sent before the responses are looked at: less than any socket's buffer.
BATCH = 32
#: Seconds without a response after which there will be none.
PATIENCE = 10.0
#: Times that are looked at for a message before it is signed: for its signature and its cookie.
LOOKS = 3
#: Messages of a transfer that are shown where something is wrong with it.
SHOWN = 3
#: Of the responses with signatures in them, one in so many is validated.
VALIDATED = 4
#: Who may ask and transfer what where the worker has to look at that, and where it has not.
GUARDED = {
    SIGNED: (Access(("127.0.0.0/24",), (KEY_NAME,)), Access(keys=(KEY_NAME,), tunnel=True)),
    NESTED: (Access(("127.0.0.0/24",), tunnel=True), Access(("127.9.9.0/24",))),
    CATALOG: (None, Access(("127.0.0.0/24",))),
}
OPEN = {
    SIGNED: (None, TUNNEL_ONLY),
    NESTED: (None, Access(("127.9.9.0/24",), (KEY_NAME,))),
    CATALOG: (None, Access(keys=(KEY_NAME,), tunnel=True)),
}
_LENGTH = struct.Struct("!H")


class WrongAnswerError(AssertionError):
    """The worker did not answer as the complete path does; says to which packet."""


class Pair:
    """Worker and complete path, asked the same.

    Attributes:
        asked: Packets so far.
        validated: Responses so far whose signatures were validated.
        followers: Whom the worker has told of.
    """

    def __init__(self, randomness: random.Random, *, guarded: bool) -> None:
        """Start a worker.

        Args:
            guarded: Whether it has to look at who asks; if not, whoever reaches it may.
        """
        self._random = randomness
        self.asked = self.validated = 0
        self.followers: set[Follower] = set()
        self._is_transfer = False
        #: When the worker was sent what is being looked at.
        self._began = 0.0
        settings = _settings(GUARDED if guarded else OPEN)
        ring = dns.tsigkeyring.from_text({})
        owner = dns.name.from_text(KEY_NAME)
        ring[owner] = dns.tsig.Key(owner, SECRET, "hmac-sha256")
        self._ledger = Ledger(ring)
        self._zones = Zones(randomness, self._ledger)
        chains, catalog = self._zones.chains(), self._zones.catalog
        listener = dataclasses.replace(listen(Endpoint(LOCAL, 0)), guarded=guarded)
        self._udp_address = listener.udp.getsockname()
        self._tcp_address = listener.tcp.getsockname()
        self._ingress = LOOPBACK if guarded else None
        self._board = stats.Board.create(ZONES, 1)
        recorder = self._board.worker(0)
        self._heard, told = socket.socketpair(type=socket.SOCK_DGRAM)
        #: Whoever the complete path says has got a zone: zone, address and key.
        self._transferred: set[tuple[str, str, str | None]] = set()

        def serve(control: socket.socket) -> None:
            load_record_types()
            Worker(
                *(control, [listener], settings, chains, recorder, COOKIE_SECRET),
                tell_follower=told,
                catalog=catalog,
            ).run()

        keep = [*listener.descriptors, told.fileno()]
        self.pid, self._control = children.fork("fuzzed", serve, keep)
        listener.close()
        told.close()
        self._control.settimeout(PATIENCE)
        self._take_acknowledgement()
        #: What the time is when it is looked at first, and from then on.
        self._clock: list[float] = [time.time()]
        self._authority = Authority(settings, COOKIE_SECRET, wall=self._wall)
        self._zones.serve(self._authority)
        self._checker = Checker()
        self._packets = Packets(randomness, names(), {KEY_NAME: SECRET})
        self._note_serials()
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
        for client in (*self._clients.values(), self._heard):
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

    @property
    def transfers(self) -> dict[str, int]:
        """Counts of the zone transfers that were looked at, by kind."""
        return dict(self._ledger.kinds)

    def answered(self) -> dict[str, int]:
        """How many queries the worker has answered by the fast and by the slow path."""
        by_path = {"fast": 0, "slow": 0}
        for (_rdtype, _rcode, path), count in zip(stats.ANSWERED, self._board.totals()):
            by_path[path] += count
        return by_path

    def step(self) -> None:
        """Ask some more, or let the zone change."""
        pick = self._random.random()
        if pick < 0.05:
            self._change()
        elif pick < 0.25:
            self._ask_by_stream()
        else:
            self._ask_by_datagrams()
        self._check_followers()

    def _check_followers(self) -> None:
        """Nobody may be called a follower who has not got a zone."""
        ports = {client.getsockname()[1] for client in self._clients.values()}
        with contextlib.suppress(BlockingIOError):
            while True:
                follower = decode(self._heard.recv(4096, socket.MSG_DONTWAIT))
                told = follower._replace(port=DNS_PORT, local=LOCAL)
                self.followers.add(told)
                assert (told.zone, told.address, told.tsig) in self._transferred, follower
                assert follower.local == LOCAL, follower
                assert follower.port in {DNS_PORT, *ports}, follower

    def _wall(self) -> float:
        return self._clock.pop(0) if len(self._clock) > 1 else self._clock[0]

    def _source(self) -> str:
        return SOURCES[self._random.random() < 0.15]

    def _ask_by_datagrams(self) -> None:
        self._began = time.time()
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
            self._compare(packet, response and [response], wanted, context)
        self.asked += len(packets)

    def _ask_by_stream(self) -> None:
        self._began = time.time()
        source = self._source()
        context = Context(source, LOCAL, tcp=True, ingress=self._ingress)
        packets = [
            self._packets.transfer() if self._random.random() < 0.15 else self._packets.packet()
            for _time in range(self._random.randrange(1, BATCH))
        ]
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
                # The worker may have begun to answer any of them.
                self._expected(packets, context)
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
            messages: list[bytes] = []
            # Of a transfer, only the first message has the question: no other response has records
            # without it. How many there are may depend on the second as well.
            while len(received) > 1:
                end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
                message = received[_LENGTH.size : end]
                if messages and (message[4:6] != b"\0\0" or message[6:8] == b"\0\0"):
                    break
                messages.append(message)
                received = received[end:]
            self._compare(packet, messages, wanted, context)
        assert not received, f"more came than was asked for: {received.hex()}"

    def _expected(self, packets: t.Sequence[bytes], context: Context) -> list[list[bytes] | None]:
        self._clock = [time.time()]
        expected = []
        for packet in packets:
            wanted = self._respond(packet, context)
            try:
                self._check(packet, wanted, tcp=context.tcp)
            except Exception as exc:
                raise WrongAnswerError(_told(packet, context, complete_path=wanted)) from exc
            if wanted is not None:
                self._packets.learn(wanted[0])
            expected.append(wanted)
        return expected

    def _check(self, packet: bytes, wanted: list[bytes] | None, *, tcp: bool) -> None:
        first = wanted[0] if wanted else None
        self._checker.check(packet, first, tcp=tcp, parse=not self._is_transfer)
        if wanted is None:
            return
        if self._is_transfer:
            self._ledger.check(packet, wanted, tcp=tcp)
        elif not self._random.randrange(VALIDATED):
            response = signed_answer(wanted[0], SIGNED, NESTED)
            validator = self._zones.validator()
            if response is not None and validator is not None:
                self.validated += 1
                validator.check_response(response)

    def _respond(self, packet: bytes, context: Context) -> list[bytes] | None:
        """Return the messages of the response of the complete path."""
        try:
            reply = self._authority.respond(packet, context)
            self._is_transfer = reply is not None and reply.rest is not None
            if reply is None:
                return None
            if reply.transferred:
                zone, key = reply.transferred
                self._transferred.add((zone, context.source, key))
            return [reply.wire, *(reply.rest or ())]
        except Exception as exc:
            raise WrongAnswerError(_told(packet, context)) from exc

    def _compare(
        self,
        packet: bytes,
        response: list[bytes] | None,
        wanted: list[bytes],
        context: Context,
    ) -> None:
        if response == wanted:
            return
        # Cookies and signatures tell the time, and the worker has answered in another second.
        signed = [float(when) for when in map(signed_at, response or ()) if when is not None]
        seconds = range(int(self._began), int(time.time()) + 1)
        for second, looks in itertools.product(seconds, range(LOOKS + 1)):
            self._clock = [second] * looks + (signed or [second + 1])
            if response == self._respond(packet, context):
                return
        told = _told(packet, context, complete_path=wanted, worker=response)
        raise WrongAnswerError(told)

    def _change(self) -> None:
        """Let a zone take a step."""
        delta = self._zones.step(self._authority)
        if delta is not None:
            self._control.sendall(frames.frame(delta.encode()))
            self._take_acknowledgement()
            self._note_serials()

    def _note_serials(self) -> None:
        for zone, serial in self._zones.serials().items():
            self._packets.note_serial(wire_name(zone), serial)

    def _take_acknowledgement(self) -> None:
        assert self._control.recv(1) == b".", "the worker is gone"


def _settings(access: t.Mapping[str, tuple[Access | None, Access]]) -> ResponderSettings:
    """Everything that a worker has to do with."""
    zones = [
        ZoneSettings(
            zone, "lo", SelfSettings(), allow_query=access[zone][0], allow_transfer=access[zone][1]
        )
        for zone in ZONES
    ]
    return ResponderSettings(
        tuple(zones),
        keys={KEY_NAME: TsigKey(KEY_NAME, "hmac-sha256", SECRET)},
        catalog=CatalogSettings(CATALOG, access[CATALOG][1]),
        rate_limit=0,
    )


def signed_at(wire: bytes) -> int | None:
    """Return the second at which a message was signed, if it was."""
    # The question of an UPDATE that is refused comes back whatever it is, which dnspython would not
    # take: read it as that of a query.
    opcode = wire[2] & 0b01111000
    message = dns.message.from_wire(wire[:2] + bytes([wire[2] ^ opcode]) + wire[3:], keyring=False)
    return message.tsig[0].time_signed if message.tsig else None


def _told(packet: bytes, context: Context, **responses: list[bytes] | None) -> str:
    lines = [f"asked by {context}: {packet.hex()}"]
    for whose, messages in responses.items():
        lines.append(f"{whose}: {'silence' if messages is None else f'{len(messages)} messages'}")
        for wire in (messages or [])[:SHOWN]:
            lines.append(wire.hex())
            try:
                lines.append(str(dns.message.from_wire(wire, keyring=False)))
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
        transfers: Zone transfers that were held against the versions, by kind.
        validated: Responses whose signatures were.
        followers: Different ones that the worker told of.
    """

    halfway: int
    end: int
    answered: t.Mapping[str, int]
    transfers: t.Mapping[str, int]
    validated: int
    followers: int


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
    return Figures(
        *(halfway, end, pair.answered()),
        *(pair.transfers, pair.validated, len(pair.followers)),
    )
