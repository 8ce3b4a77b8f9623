# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup wgsd, run by ansible-core, against DNS servers on loopback."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import dns.rcode
import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.lookup.wgsd import parse_key, parse_servers
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import (
    instance_name,
    service_name,
    txt_strings,
)

from tests.unit.engine.scripted_dns import ScriptedServer, respond

pytestmark = pytest.mark.unit

ROOT = pathlib.Path(__file__).parents[3]
ZONE = "example.com."
ALICE, BOB, NOBODY = (PublicKey(letter * 32) for letter in (b"a", b"b", b"n"))
ADDRESSES = {ALICE: ("AAAA", "2001:db8::1"), BOB: ("A", "192.0.2.20")}
NAMES = {ALICE: "zoe", BOB: "bob"}


def zone(query, _tcp):
    """Answer for Alice, whose name is Zoe, and for Bob."""
    name = str(query.question[0].name)
    if name == service_name(ZONE):
        return respond(query, [(name, "PTR", instance_name(key, ZONE)) for key in ADDRESSES])
    for key, address in ADDRESSES.items():
        if name == instance_name(key, ZONE):
            texts = txt_strings(key, ["10.0.0.2/32"], NAMES[key])
            return respond(
                query,
                [(name, "SRV", f"0 0 51820 {name}")],
                [(name, *address), (name, "TXT", " ".join(f'"{text}"' for text in texts))],
            )
    return respond(query, rcode=dns.rcode.NXDOMAIN)


@pytest.fixture
def server():
    with ScriptedServer(zone) as running:
        yield running


def template(expression: str, expected_code: int = 0, **variables) -> str:
    """Return what ansible-core makes of *expression*, or all it says if it fails."""
    done = subprocess.run(
        [
            pathlib.Path(sys.executable).parent / "ansible",
            "localhost",
            "--inventory=localhost,",
            "--connection=local",
            "--module-name=ansible.builtin.debug",
            "--args=" + json.dumps({"msg": "{{ " + expression + " }}"}),
            "--extra-vars=" + json.dumps({"wgsd_zone": ZONE, **variables}),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        check=False,
    )
    assert (done.returncode == 0) == (expected_code == 0), done.stdout + done.stderr
    if expected_code:
        return done.stdout + done.stderr
    return json.loads(done.stdout.partition("=>")[2])["msg"]


@pytest.mark.parametrize("name", ["wgsd.mesh.wgsd", "wgsd"])
def test_gives_an_endpoint_by_its_full_and_its_short_name(server, name):
    expression = f"lookup('{name}', '{BOB}', zone='{ZONE}', server=['{server.endpoint}'])"
    assert template(expression) == "192.0.2.20:51820"


def test_takes_labels_and_base64_in_the_order_of_the_terms(server):
    expression = f"query('wgsd.mesh.wgsd', '{BOB.label.upper()}', '{ALICE}', '{BOB}')"
    assert template(expression, wgsd_server=[str(server.endpoint)]) == [
        "192.0.2.20:51820",
        "[2001:db8::1]:51820",
        "192.0.2.20:51820",
    ]


def test_lists_the_whole_zone_by_name_as_records(server):
    found = template("query('wgsd.mesh.wgsd', want='record')", wgsd_server=[str(server.endpoint)])
    assert [record["name"] for record in found] == ["bob", "zoe"]
    assert found[0] == {
        "public_key": str(BOB),
        "name": "bob",
        "endpoint": "192.0.2.20:51820",
        "address": "192.0.2.20",
        "port": 51820,
        "allowed_ips": ["10.0.0.2/32"],
    }


def test_fails_for_a_peer_that_the_zone_does_not_have(server):
    said = template(f"query('wgsd.mesh.wgsd', '{NOBODY}')", 2, wgsd_server=[str(server.endpoint)])
    assert f"the zone {ZONE} has no peer {NOBODY}" in said
    assert "on_missing" in said


@pytest.mark.parametrize("policy", ["skip", "warn"])
def test_leaves_missing_peers_out_when_told_so(server, policy):
    expression = f"query('wgsd.mesh.wgsd', '{NOBODY}', '{BOB}', on_missing='{policy}')"
    found = template(expression, wgsd_server=[str(server.endpoint)])
    assert found == ["192.0.2.20:51820"]


def test_fails_whatever_the_policy_when_no_server_answers():
    with ScriptedServer(lambda query, _tcp: None) as silent:
        said = template(
            f"query('wgsd.mesh.wgsd', '{BOB}', on_missing='skip', timeout=0.2, retries=0)",
            2,
            wgsd_server=[str(silent.endpoint)],
        )
    assert "no answer within 0.2 s" in said


def test_reads_keys_in_both_spellings_and_refuses_others():
    assert parse_key(BOB.base64) == parse_key(BOB.unpadded_label) == BOB
    assert parse_key(instance_name(BOB, ZONE)) == BOB
    with pytest.raises(UsageError, match="'bob' is not a public key"):
        parse_key("bob")


def test_reads_servers_as_addresses_with_or_without_port_and_as_names():
    servers = ["10.0.0.254", "[2001:db8::1]:5353", "localhost:53", "2001:db8::2", "10.0.0.254"]
    found = [str(server) for server in parse_servers(servers, 5300)]
    assert found[:2] == ["10.0.0.254:5300", "[2001:db8::1]:5353"]
    assert found[-1] == "[2001:db8::2]:5300"
    assert found.count("10.0.0.254:5300") == 1
    assert {"127.0.0.1:53", "[::1]:53"} & set(found)


@pytest.mark.parametrize("server", ["10.0.0.300", "192.0.2.1:0", "registry:port", ""])
def test_refuses_a_server_that_is_none(server):
    with pytest.raises(UsageError):
        parse_servers([server], 53)
