# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Batches of datagrams on real sockets, of IPv4 and IPv6."""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t

import pytest

from wgsd.responder.batches import BATCH, SLOT, Batch

pytestmark = pytest.mark.unit


class Pair(t.NamedTuple):
    """A batch, and a client that its datagrams come from."""

    batch: Batch
    client: socket.socket


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> t.Iterator[Pair]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with contextlib.ExitStack() as stack:
        server, client = (
            stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _end in range(2)
        )
        for end in (server, client):
            end.bind((request.param, 0))
            end.settimeout(5)
        client.connect(server.getsockname())
        yield Pair(Batch(server), client)


def put(batch: Batch, number: int, response: bytes) -> None:
    """Write a response where the query lies."""
    batch.area[number * SLOT : number * SLOT + len(response)] = response
    batch.sizes[number] = len(response)


def test_nothing_has_come(pair: Pair) -> None:
    assert pair.batch.receive() == []


def test_datagrams_lie_in_their_order_and_say_where_they_came_from(pair: Pair) -> None:
    sent = [b"", b"a", os.urandom(SLOT), b"b" * 100]
    for datagram in sent:
        pair.client.send(datagram)
    lengths = pair.batch.receive()
    area = pair.batch.area
    assert [area[n * SLOT : n * SLOT + length] for n, length in enumerate(lengths)] == sent
    places = {(pair.batch.source(n), pair.batch.port(n)) for n in range(4)}
    assert places == {pair.client.getsockname()[:2]}


def test_more_than_a_batch_is_left_for_the_next_one(pair: Pair) -> None:
    for number in range(BATCH + 5):
        pair.client.send(bytes([number]) * number)
    assert pair.batch.receive() == list(range(BATCH))
    assert pair.batch.receive() == list(range(BATCH, BATCH + 5))
    assert pair.batch.area[0:1] == bytes([BATCH])


def test_what_is_too_long_is_cut(pair: Pair) -> None:
    pair.client.send(bytes(SLOT + 1))
    pair.client.send(b"next")
    assert pair.batch.receive() == [SLOT, 4]


def test_each_response_goes_to_where_its_query_came_from(pair: Pair) -> None:
    with socket.socket(pair.client.family, socket.SOCK_DGRAM) as other:
        other.settimeout(5)
        other.connect(pair.client.getpeername())
        for number in range(6):
            (other if number % 2 else pair.client).send(b"query %d" % number)
        for number in range(len(pair.batch.receive())):
            put(pair.batch, number, b"response %d" % number)
        assert pair.batch.send(0, 6) == 0
        for number in range(6):
            client = other if number % 2 else pair.client
            assert client.recv(100) == b"response %d" % number


def test_a_part_of_a_batch_can_be_sent(pair: Pair) -> None:
    for number in range(5):
        pair.client.send(b"%d" % number)
    for number in range(len(pair.batch.receive())):
        put(pair.batch, number, b"%d" % number)
    assert pair.batch.send(0, 0) == pair.batch.send(1, 3) == pair.batch.send(4, 5) == 0
    assert [pair.client.recv(10) for _time in range(3)] == [b"1", b"2", b"4"]


def test_a_response_that_cannot_be_sent_does_not_hold_up_the_others(pair: Pair) -> None:
    for _time in range(4):
        pair.client.send(b"query")
    for number in range(len(pair.batch.receive())):
        put(pair.batch, number, b"%d" % number)
    # No datagram of that size exists.
    pair.batch.sizes[0] = pair.batch.sizes[2] = 70_000
    assert pair.batch.send(0, 4) == 2
    assert [pair.client.recv(10) for _time in range(2)] == [b"1", b"3"]


def test_a_batch_can_be_used_over_and_over(pair: Pair) -> None:
    for number in range(3 * BATCH):
        pair.client.send(b"%d" % number)
        assert len(pair.batch.receive()) == 1
        put(pair.batch, 0, b"response %d" % number)
        assert pair.batch.send(0, 1) == 0
        assert pair.client.recv(100) == b"response %d" % number
