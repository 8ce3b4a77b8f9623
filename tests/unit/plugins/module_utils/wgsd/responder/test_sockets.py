# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses can be listened on before they exist, and a reply leaves from where it was asked."""

from __future__ import annotations

import os
import socket

import pytest

from wgsd.errors import UsageError
from wgsd.model import Endpoint
from wgsd.responder.sockets import inherited, listen
from wgsd.zone.served import LOOPBACK

pytestmark = pytest.mark.unit


def free_port() -> int:
    """A port that nobody has on loopback, for UDP and TCP."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return int(tcp.getsockname()[1])


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77"])
def test_an_address_that_does_not_exist_yet_can_be_listened_on(address: str) -> None:
    listen(Endpoint(address, free_port())).close()


def test_an_address_that_is_taken_is_refused_with_a_remedy() -> None:
    first = listen(Endpoint("127.0.0.1", free_port()))
    try:
        with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1.*ss -lntup"):
            listen(first.endpoint)
    finally:
        first.close()


@pytest.mark.parametrize(
    ("wildcard", "asked"), [("0.0.0.0", "127.0.0.2"), ("0.0.0.0", "127.0.0.3"), ("::", "::1")]
)
def test_a_reply_leaves_from_the_address_that_was_asked(wildcard: str, asked: str) -> None:
    listener = listen(Endpoint(wildcard, free_port()))
    family = socket.AF_INET6 if ":" in asked else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"hello", (asked, listener.endpoint.port))
        listener.udp.settimeout(5)
        data, source, local, ingress, ancillary = listener.receive(100)
        assert (data, local, ingress) == (b"hello", asked, LOOPBACK)
        listener.send(b"hi", source, ancillary)
        reply, server = client.recvfrom(100)
        assert (reply, server[0]) == (b"hi", asked)
    listener.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_tcp_connection_tells_by_which_interface_it_came(address: str) -> None:
    listener = listen(Endpoint(address, free_port()))
    asked = "::1" if ":" in address else "127.0.0.1"
    with socket.create_connection((asked, listener.endpoint.port), 5):
        listener.tcp.settimeout(5)
        accepted, _source = listener.tcp.accept()
        with accepted:
            assert listener.ingress_of(accepted) == LOOPBACK
    listener.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_comes_by_another_interface_never_reaches_a_worker(address: str) -> None:
    listener = listen(Endpoint(address, free_port()))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.connect((address, listener.endpoint.port))
        listener.admit_only({4711, 4712})
        client.send(b"kept out")
        with pytest.raises(BlockingIOError):
            listener.receive(100)
        with pytest.raises(OSError, match="timed out"):
            socket.create_connection((address, listener.endpoint.port), 0.2)
        listener.admit_only({4711, LOOPBACK})
        client.send(b"let in")
        assert listener.receive(100)[0] == b"let in"
        listener.admit_only({4711})
        listener.admit_all()
        client.send(b"let in")
        assert listener.receive(100)[0] == b"let in"
        listener.admit_all()
    listener.close()


def test_datagrams_that_found_no_room_are_counted() -> None:
    listener = listen(Endpoint("127.0.0.1", free_port()))
    assert listener.drops() == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", listener.endpoint.port))
        for _time in range(20_000):
            client.send(b"x" * 400)
            if listener.drops():
                break
    assert listener.drops() > 0
    listener.close()


def test_sockets_of_an_earlier_run_are_listened_on_again_and_strays_closed() -> None:
    first = listen(Endpoint("127.0.0.1", free_port()))
    second = listen(Endpoint("127.0.0.1", free_port()))
    left, right = socket.socketpair()
    readable, writable = os.pipe()
    passed = [os.dup(sock.fileno()) for sock in (first.tcp, second.udp, first.udp, left)]
    found = inherited([*passed, readable])
    assert list(found) == [first.endpoint]
    again = found[first.endpoint]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"waited", ("127.0.0.1", first.endpoint.port))
        assert again.receive(100)[0] == b"waited"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(passed[1])
    again.close()
    for one in (first, second, left, right):
        one.close()
    os.close(readable)
    os.close(writable)
