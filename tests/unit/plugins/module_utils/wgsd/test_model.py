# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Endpoints and networks."""

from __future__ import annotations

import pytest

from wgsd.errors import UsageError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, HostPort, Peer, PeerChange, parse_network

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.1:51820", Endpoint("192.0.2.1", 51820)),
        ("[2001:DB8::1]:1", Endpoint("2001:db8::1", 1)),
        ("[::ffff:192.0.2.1]:65535", Endpoint("192.0.2.1", 65535)),
    ],
)
def test_an_endpoint_is_parsed(text, endpoint):
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("127.9.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("fe80::1", True),
        ("febf::1", True),
        ("169.254.7.1", True),
        ("fec0::1", False),
        ("fe8::1", False),
        ("::127", False),
        ("12.70.0.1", False),
        ("1.127.0.0", False),
        ("169.25.4.1", False),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("fd00::1", False),
    ],
)
def test_loopback_and_link_local_addresses_mean_something_nearby_only(address, near):
    assert Endpoint.make(address, 7).is_near is near


@pytest.mark.parametrize("endpoint", ["192.0.2.1:51820", "[2001:db8::1]:51820"])
def test_an_endpoint_is_written_as_it_is_read(endpoint):
    assert str(Endpoint.parse(endpoint)) == endpoint


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1", "[2001:db8::1]"])
def test_the_default_port_is_for_addresses_without_one(text):
    assert Endpoint.parse(text, default_port=53).port == 53
    with pytest.raises(UsageError):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com:53",
        "192.0.2.1:0",
        "192.0.2.1:99999",
        "192.0.2.1:-1",
        "192.0.2.1:٣",
        "192.0.2.1:",
        "192.0.2.300:53",
        "0.0.0.0:53",
        "[::]:53",
        "[ff02::1]:53",
        "224.0.0.1:53",
        "255.255.255.255:53",
        "[2001:db8::1",
        "[2001:db8::1]53",
    ],
)
def test_what_packets_cannot_be_sent_to_is_refused(text):
    with pytest.raises(UsageError):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("registry.example.com:51820", "registry.example.com"),
        ("Registry:51820", "Registry"),
        ("registry.example.com.:51820", "registry.example.com."),
        ("4.example:51820", "4.example"),
    ],
)
def test_a_port_of_a_named_host_is_parsed_and_stands_for_no_endpoint(text, host):
    where = HostPort.parse(text)
    assert where == HostPort(host, 51820)
    assert where.endpoint is None
    assert str(where) == text


@pytest.mark.parametrize("text", ["192.0.2.1:51820", "[2001:db8::1]:51820"])
def test_a_port_of_an_addressed_host_is_an_endpoint(text):
    where = HostPort.parse(text)
    assert where.endpoint == Endpoint.parse(text)
    assert str(where) == text


@pytest.mark.parametrize(
    "text",
    [
        "registry.example.com",
        "registry.example.com:0",
        "registry.example.com:x",
        ":51820",
        "-x.example:51820",
        "a..b:51820",
        "a_b.example:51820",
        "192.0.2.300:51820",
        "192.0.2:51820",
        "0.0.0.0:51820",
        f"{'a.' * 127}b:51820",
        f"{'a' * 64}.example:51820",
        "räksmörgås.example:51820",
        "a.example\n:51820",
    ],
)
def test_what_is_neither_a_host_name_nor_an_address_with_a_port_is_refused(text):
    with pytest.raises(UsageError):
        HostPort.parse(text)


def test_a_network_gets_its_length_and_canonical_form():
    assert parse_network("10.0.0.1") == "10.0.0.1/32"
    assert parse_network("2001:DB8::/64") == "2001:db8::/64"
    with pytest.raises(UsageError, match="host bits"):
        parse_network("10.0.0.1/24")


def test_a_preshared_key_is_never_printed():
    key, secret = PublicKey(bytes(32)), b"s" * 32
    for thing in (Peer(key, preshared_key=secret), PeerChange(key, preshared_key=secret)):
        assert "sss" not in repr(thing)
