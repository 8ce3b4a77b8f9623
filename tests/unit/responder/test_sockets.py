# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses can be listened on before they exist, and a reply leaves from where it was asked."""

from __future__ import annotations

import socket

import pytest

from wgsd.errors import UsageError
from wgsd.model import Endpoint
from wgsd.responder.sockets import listen

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
        with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1.*ss -lnup"):
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
        data, source, local, ancillary = listener.receive(100)
        assert (data, local) == (b"hello", asked)
        listener.send(b"hi", source, ancillary)
        reply, server = client.recvfrom(100)
        assert (reply, server[0]) == (b"hi", asked)
    listener.close()
