# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks at a fixed rate, whatever comes back, and takes the time of every answer.

Run by itself; reads names from a file and writes one `Sample` per query to another, in the order in
which they were answered or given up.

A query leaves when its time has come and never waits for an answer (an open loop), so a responder
that stalls cannot slow the clock that measures it. The time is from just before the query is handed
to the kernel until the kernel has the answer (SO_TIMESTAMPNS): what the prober itself may have had
to wait for the processor does not count. How late it was is told apart.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import socket
import struct
import sys
import time
import typing as t

from . import wire

#: Seconds after which a query is lost; as long as dnsperf waits.
GIVE_UP = 5.0
#: Of <asm-generic/socket.h>; Python has no name for it.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_SAMPLE = struct.Struct("<qqIHh")
SAMPLE_BYTES = _SAMPLE.size
_RECEIVE_BUFFER = 1 << 21


class Sample(t.NamedTuple):
    """One query.

    Attributes:
        sent: When, in nanoseconds since the epoch.
        took: Nanoseconds; -1 if it was lost.
        index: Line of the name in the file, from 0.
        port: The port in the answer, 0 for none.
        rcode: -1 if it was lost, -2 for a response to another question.
    """

    sent: int
    took: int
    index: int
    port: int
    rcode: int


LOST = -1
NO_RESPONSE_TO_IT = -2


def read_samples(data: bytes) -> list[Sample]:
    """Read what a prober has written; a record that is not whole yet is left out."""
    end = len(data) - len(data) % _SAMPLE.size
    return [Sample(*fields) for fields in _SAMPLE.iter_unpack(memoryview(data)[:end])]


def command(
    server: str, names: pathlib.Path, output: pathlib.Path, rate: int, seconds: float
) -> list[str]:
    """Return the command line of a prober; it prints how late it was as JSON."""
    words = [sys.executable, "-m", "tests.bench.prober", server, str(names), str(output)]
    return [*words, str(rate), str(seconds)]


class Prober:
    """One run."""

    def __init__(self, server: str, questions: t.Sequence[bytes], output: t.BinaryIO) -> None:
        self._server = (server, 53)
        self._questions = questions
        self._output = output
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        #: Queries under way by their ID: index and time. The oldest come first.
        self._asked: dict[int, tuple[int, int]] = {}
        self._random = random.Random()
        self._number = 0
        self.late: list[int] = []

    def run(self, rate: int, seconds: float) -> None:
        """Ask so many queries a second."""
        period = 1e9 / rate
        begun = time.monotonic_ns()
        count = int(rate * seconds)
        sent = 0
        while sent < count or self._asked:
            now = time.monotonic_ns()
            while sent < count and begun + sent * period <= now:
                self.late.append(now - int(begun + sent * period))
                self._ask()
                sent += 1
                now = time.monotonic_ns()
            self._take_answers()
            self._give_up()
            due = begun + sent * period if sent < count else now + 1e7
            time.sleep(max(0.0, min(due - time.monotonic_ns(), 1e7) / 1e9))
        self._output.flush()

    def _ask(self) -> None:
        self._number = (self._number + 1) & 0xFFFF
        index = self._random.randrange(len(self._questions))
        self._asked[self._number] = (index, time.time_ns())
        self._socket.sendto(self._number.to_bytes(2, "big") + self._questions[index], self._server)

    def _take_answers(self) -> None:
        while True:
            try:
                response, ancillary, _flags, _source = self._socket.recvmsg(4096, 64)
            except BlockingIOError:
                return
            asked = self._asked.pop(int.from_bytes(response[:2], "big"), None)
            if asked is None:
                continue
            index, sent = asked
            seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
            try:
                rcode, port = wire.read_answer(response, self._questions[index])
            except (ValueError, struct.error):
                rcode, port = NO_RESPONSE_TO_IT, 0
            self._write(sent, seconds * 1_000_000_000 + nanoseconds - sent, index, port, rcode)

    def _give_up(self) -> None:
        horizon = time.time_ns() - int(GIVE_UP * 1e9)
        for number, (index, sent) in list(self._asked.items())[:64]:
            if sent > horizon:
                return
            del self._asked[number]
            self._write(sent, -1, index, 0, LOST)

    def _write(self, sent: int, took: int, index: int, port: int, rcode: int) -> None:
        self._output.write(_SAMPLE.pack(sent, took, index, port, rcode))


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench.prober", description=__doc__)
    parser.add_argument("server")
    parser.add_argument("names", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("rate", type=int)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    questions = [wire.query(name) for name in given.names.read_text(encoding="ascii").split()]
    with given.output.open("wb") as output:
        prober = Prober(given.server, questions, output)
        prober.run(given.rate, given.seconds)
    late = sorted(prober.late)
    print(json.dumps({"p99": late[int(len(late) * 0.99)] / 1e9, "max": late[-1] / 1e9}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
