# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options by which plugins on the controller reach a zone, and what is said of bad ones."""

from __future__ import annotations

import base64

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.plugin_utils._connection import (
    Connection,
    parse_tsig,
    resolve_servers,
)

pytestmark = pytest.mark.unit

SECRET = base64.b64encode(b"s" * 32).decode()
OPTIONS = {
    "zone": "Example.com",
    "server": ["10.0.0.254"],
    "port": 53,
    "tcp": False,
    "timeout": 1.0,
    "retries": 2,
    "tsig": None,
}


def refuse_to_warn(message: str) -> None:
    raise AssertionError(message)


def connection(**options) -> Connection:
    return Connection.from_options({**OPTIONS, **options}.__getitem__, refuse_to_warn)


def test_reads_servers_as_addresses_with_or_without_port_and_as_names():
    servers = ["10.0.0.254", "[2001:db8::1]:5353", "localhost:53", "2001:db8::2", "10.0.0.254"]
    found = [str(server) for server in resolve_servers(servers, 5300, refuse_to_warn)]
    assert found[:2] == ["10.0.0.254:5300", "[2001:db8::1]:5353"]
    assert found[-1] == "[2001:db8::2]:5300"
    assert found.count("10.0.0.254:5300") == 1
    assert {"127.0.0.1:53", "[::1]:53"} & set(found)


def test_a_name_without_port_has_the_port_of_the_option():
    ports = {server.port for server in resolve_servers(["localhost"], 5300, refuse_to_warn)}
    assert ports == {5300}


@pytest.mark.parametrize("server", ["10.0.0.300", "192.0.2.1:0", "registry:port", "", "a b", "[::"])
def test_refuses_a_server_that_is_none(server):
    with pytest.raises(UsageError, match=r"^server: "):
        resolve_servers([server], 53, refuse_to_warn)


def test_a_name_that_cannot_be_resolved_is_left_out_if_there_is_another_server():
    said = []
    found = resolve_servers(["nowhere.invalid", "10.0.0.254"], 53, said.append)
    assert [str(server) for server in found] == ["10.0.0.254:53"]
    assert len(said) == 1
    assert "nowhere.invalid" in said[0]
    with pytest.raises(UsageError, match=r"nowhere\.invalid cannot be found"):
        resolve_servers(["nowhere.invalid"], 53, refuse_to_warn)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"zone": "a..b"}, "bad label"),
        ({"server": []}, "server: there is none"),
        ({"timeout": 0.0}, "timeout: 0 is out of range"),
        ({"timeout": float("nan")}, "timeout: nan is out of range"),
        ({"retries": -1}, "retries: -1 is out of range"),
        ({"port": 0}, "port 0 is out of range"),
    ],
)
def test_names_the_option_that_cannot_be_used(options, problem):
    with pytest.raises(UsageError, match=problem):
        connection(**options)


@pytest.mark.parametrize(
    ("value", "algorithm"),
    [
        ({"name": "Ops.example.com", "secret": SECRET}, "hmac-sha256"),
        ({"name": "ops.example.com.", "secret": SECRET, "algorithm": None}, "hmac-sha256"),
        ({"name": "ops.example.com", "secret": SECRET, "algorithm": "HMAC-SHA384"}, "hmac-sha384"),
        (f"ops.example.com:{SECRET}", "hmac-sha256"),
        (f"hmac-sha512:ops.example.com.:{SECRET}", "hmac-sha512"),
    ],
)
def test_reads_a_key_as_a_dictionary_or_as_dig_takes_it(value, algorithm):
    key = parse_tsig(value)
    assert key
    assert (key.name, key.algorithm, key.secret) == ("ops.example.com.", algorithm, b"s" * 32)


@pytest.mark.parametrize("value", [None, "", {}])
def test_no_key_is_none(value):
    assert parse_tsig(value) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"secret": SECRET}, "tsig.name is missing"),
        ({"name": "ops."}, "tsig.secret is missing"),
        ({"name": "ops.", "secret": SECRET[:-3]}, "tsig.secret: not Base64"),
        ({"name": "ops.", "secret": SECRET[:8]}, "tsig.secret: the secret has 6 bytes"),
        ({"name": "ops.", "key": SECRET}, "tsig.key is not known here"),
        ({"name": "a b", "secret": SECRET}, "'a b' cannot be the name of a key"),
        ({"name": "ops.", "secret": SECRET, "algorithm": "hmac-md5"}, "tsig.algorithm: 'hmac-md5'"),
        (SECRET, "tsig: it does not have the parts of a key"),
    ],
)
def test_a_key_that_is_none_is_refused_without_showing_its_secret(value, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        parse_tsig(value)
    assert SECRET[:8] not in str(caught.value)
