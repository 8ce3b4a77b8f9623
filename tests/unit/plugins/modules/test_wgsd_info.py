# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wgsd_info, against DNS servers on loopback."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import types
import typing as t

import dns.message
import dns.rcode
import dns.tsig
import pytest

from tests.unit.collection import COLLECTIONS, python_path

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import ServerError, UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import instance_name
from ansible_collections.wgsd.mesh.plugins.modules import wgsd_info

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE, lines_of
from tests.unit.plugins.module_utils.wgsd.scripted_dns import Script, ScriptedServer, respond

pytestmark = pytest.mark.unit

BOB, CAROL = PublicKey(b"b" * 32), PublicKey(b"c" * 32)
SOA = (ZONE, "SOA", f"ns1.{ZONE} hostmaster.{ZONE} 7 60 60 600 5")
SECRET = base64.b64encode(b"s" * 32).decode()
KEY = {"name": "Mesh.example.com", "algorithm": "hmac-sha256", "secret": SECRET}
#: The module as a process, whose Python lacks a library.
WITHOUT_DNSPYTHON = """
import json, sys
sys.modules["dns"] = None
from ansible.module_utils.testing import patch_module_args
from ansible_collections.wgsd.mesh.plugins.modules.wgsd_info import main
with patch_module_args({"zone": "example.com.", "servers": ["192.0.2.1"]}):
    main()
"""


def serving(ports: t.Mapping[PublicKey, int | None]) -> Script:
    """A server that transfers a zone of peers with these ports."""
    records = [line for key, port in ports.items() for line in lines_of(key, port)]
    return lambda query, _tcp: respond(query, [SOA, *records, SOA])


def task(*servers: ScriptedServer | str, **options: t.Any) -> dict[str, t.Any]:
    """Run the module as a task does."""
    asked = [one if isinstance(one, str) else str(one.endpoint) for one in servers]
    params = {"zone": "Example.com", "servers": asked, "key": None, "timeout": 1.0, **options}
    return wgsd_info.run(types.SimpleNamespace(params=params, check_mode=True))


def test_tells_the_zone_and_who_said_so():
    with ScriptedServer(serving({BOB: 51820})) as server:
        told = task(server)
    assert told == {
        "zone": ZONE,
        "serial": 7,
        "server": str(server.endpoint),
        "peers": [
            {
                "name": "bob",
                "public_key": BOB.base64,
                "endpoint": "192.0.2.20:51820",
                "address": "192.0.2.20",
                "port": 51820,
                "allowed_ips": ["10.0.0.2/32"],
                "instance": instance_name(BOB, ZONE),
            }
        ],
        "failures": {},
    }


def test_peers_of_one_name_come_in_the_order_of_their_keys():
    with ScriptedServer(serving({CAROL: 1000, BOB: 51820})) as server:
        told = task(server)
    assert [peer["public_key"] for peer in told["peers"]] == [BOB.base64, CAROL.base64]


def test_a_peer_without_an_endpoint_comes_last_and_without_one():
    with ScriptedServer(serving({BOB: None, CAROL: 1000})) as server:
        told = task(server)
    assert [peer["public_key"] for peer in told["peers"]] == [CAROL.base64, BOB.base64]
    assert [told["peers"][1][name] for name in ("endpoint", "address", "port")] == [None] * 3
    assert told["peers"][1]["allowed_ips"] == ["10.0.0.2/32"]


def test_records_that_are_of_no_use_are_failures_by_key():
    with ScriptedServer(serving({BOB: 51820, CAROL: 0})) as server:
        told = task(server)
    assert [peer["public_key"] for peer in told["peers"]] == [BOB.base64]
    assert told["failures"].keys() == {CAROL.base64}
    assert "port 0" in told["failures"][CAROL.base64]


def test_an_empty_zone_is_no_error():
    with ScriptedServer(serving({})) as server:
        assert task(server)["peers"] == []


def test_a_zone_that_the_server_does_not_know_is_an_error_with_a_remedy():
    def nowhere(query: dns.message.Message, _tcp: bool) -> bytes:
        return respond(query, rcode=dns.rcode.NXDOMAIN)

    with ScriptedServer(nowhere) as server, pytest.raises(ServerError) as caught:
        task(server)
    assert caught.value.message == f"{server.endpoint} does not know the zone {ZONE}"
    assert "check the name of the zone" in caught.value.remedy


def test_a_server_out_of_reach_is_named_with_a_remedy_and_the_next_one_is_asked():
    with ScriptedServer(serving({})) as server:
        closed = str(server.endpoint)
    with pytest.raises(ServerError, match=f"{closed}: .*check the tunnel"):
        task(closed, timeout=0.1)
    with ScriptedServer(serving({BOB: 51820})) as server:
        assert task(closed, server, timeout=0.1)["server"] == str(server.endpoint)


def test_queries_are_signed_with_the_key():
    name = dns.name.from_text("mesh.example.com.")
    keyring = {name: dns.tsig.Key(name, base64.b64decode(SECRET), "hmac-sha256")}
    signed: list[bool] = []

    def script(query: dns.message.Message, tcp: bool) -> bytes | None:
        signed.append(query.had_tsig)
        return serving({BOB: 51820})(query, tcp)

    with ScriptedServer(script, keyring=keyring) as server:
        told = task(server, key=KEY)
    assert signed == [True]
    assert len(told["peers"]) == 1
    assert SECRET not in json.dumps(told)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"zone": "example..com"}, "bad label"),
        ({"servers": []}, "no DNS server"),
        ({"servers": ["registry"]}, "'registry' is not an IP address"),
        ({"timeout": 0.0}, "timeout: 0 is out of range"),
        ({"key": {**KEY, "secret": "c2VjcmV0"}}, "key.secret: the secret has 6 bytes"),
        ({"key": {**KEY, "secret": "s3cr3t!"}}, "key.secret: not Base64"),
        ({"key": {**KEY, "name": "a..b"}}, "'a..b' cannot be the name of a key"),
    ],
)
def test_names_what_cannot_be_used_and_shows_no_secret(options, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        task("127.0.0.1:1", **options)
    assert caught.value.remedy
    assert "s3cr3t" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_library_that_is_missing_is_named_with_its_debian_package():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DNSPYTHON],
        env={**os.environ, "PYTHONPATH": python_path(COLLECTIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = json.loads(done.stdout)
    assert said["failed"]
    assert "apt install python3-dnspython" in said["msg"]
