# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A steady flow of queries to a responder, each asked once, and what became of them."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import threading
import time
import typing as t

import dns.exception
import dns.message
import dns.query
import dns.rcode

from tests.lab.netns import Node

#: Queries a second.
UDP_RATE = 200
TCP_RATE = 10
#: Seconds after which a query has failed. One that is lost never has an answer, so this is only for
#: a machine that is busy.
PATIENCE = 3.0
_IDS = 1 << 16


@dataclasses.dataclass
class Outcome:
    """What became of the queries.

    Attributes:
        answered: How many got an answer in time.
        slowest: Seconds that the slowest of these took.
        failures: What became of the others, and when, in seconds since the first query.
    """

    answered: int = 0
    slowest: float = 0.0
    failures: list[str] = dataclasses.field(default_factory=list)

    def take(self, rcode: int, seconds: float) -> None:
        """Note an answer."""
        if rcode == dns.rcode.NOERROR:
            self.answered += 1
            self.slowest = max(self.slowest, seconds)
        else:
            self.failures.append(dns.rcode.to_text(dns.rcode.Rcode(rcode)))


@contextlib.contextmanager
def asking(
    node: Node, server: str, zone: str, *, timeout: float = PATIENCE, rate: int = UDP_RATE
) -> t.Iterator[tuple[Outcome, Outcome]]:
    """Ask *server* for the SOA of *zone* from within *node*, by UDP and by TCP, all the time.

    The outcomes, by UDP and by TCP, are complete once the block is left.

    Args:
        timeout: Seconds after which a query has failed.
        rate: Queries a second by UDP.
    """
    query = dns.message.make_query(zone, "SOA")
    udp, tcp = Outcome(), Outcome()
    end = threading.Event()

    def run(ask: t.Callable[..., None], outcome: Outcome, rate: int) -> None:
        with node.network():
            ask(outcome, query, server, timeout, rate, end)

    threads = [
        threading.Thread(target=run, args=(_ask_by_udp, udp, rate)),
        threading.Thread(target=run, args=(_ask_by_tcp, tcp, TCP_RATE)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield udp, tcp
    finally:
        end.set()
        for thread in threads:
            thread.join()


def _ask_by_udp(
    outcome: Outcome,
    query: dns.message.Message,
    server: str,
    timeout: float,
    rate: int,
    end: threading.Event,
) -> None:
    wire = query.to_wire()[2:]
    waiting: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53))
        sock.setblocking(False)
        begun = due = time.monotonic()
        number = 0
        while waiting or not end.is_set():
            now = time.monotonic()
            if now >= due and not end.is_set():
                due += 1 / rate
                number = (number + 1) % _IDS
                waiting[number] = now
                # What the kernel tells of a closed port is an answer that does not come.
                with contextlib.suppress(ConnectionRefusedError):
                    sock.send(number.to_bytes(2, "big") + wire)
            select.select([sock], [], [], max(0.0, min(due - now, 0.05)))
            with contextlib.suppress(BlockingIOError):
                while True:
                    with contextlib.suppress(ConnectionRefusedError):
                        answer = sock.recv(4096)
                        asked = waiting.pop(int.from_bytes(answer[:2], "big"), None)
                        if asked is not None:
                            outcome.take(answer[3] & 15, time.monotonic() - asked)
            late = [one for one, asked in waiting.items() if time.monotonic() - asked > timeout]
            for one in late:
                outcome.failures.append(f"no answer, asked after {waiting.pop(one) - begun:.3f} s")


def _ask_by_tcp(
    outcome: Outcome,
    query: dns.message.Message,
    server: str,
    timeout: float,
    rate: int,
    end: threading.Event,
) -> None:
    begun = due = time.monotonic()
    while not end.is_set():
        asked = time.monotonic()
        try:
            answer = dns.query.tcp(query, server, timeout=timeout)
            outcome.take(answer.rcode(), time.monotonic() - asked)
        except (OSError, EOFError, dns.exception.DNSException) as exc:
            outcome.failures.append(
                f"{type(exc).__name__} {exc}, asked after {asked - begun:.3f} s"
            )
        due += 1 / rate
        end.wait(max(0.0, due - time.monotonic()))
