# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup wgsd, run by ansible-core, against DNS servers on loopback."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess
import typing as t

import dns.rcode
import dns.tsig
import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import (
    instance_name,
    service_name,
    txt_strings,
)

from tests.unit.collection import ROOT, ansible_environment, program, python_path
from tests.unit.plugins.module_utils.wgsd.scripted_dns import ScriptedServer, respond

pytestmark = pytest.mark.unit

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


def template(
    expression: str,
    expected_code: int = 0,
    *,
    path: pathlib.Path | None = None,
    config: pathlib.Path | None = None,
    **variables,
) -> t.Any:
    """Return what ansible-core makes of *expression*, or all it says if it fails.

    *path* is where Python looks first; variables that are None are not set.
    """
    variables = {"wgsd_zone": ZONE, **variables}
    environment = ansible_environment()
    if path:
        environment["PYTHONPATH"] = python_path(path)
    if config:
        environment["ANSIBLE_CONFIG"] = str(config)
    done = subprocess.run(
        [
            program("ansible"),
            "localhost",
            "--inventory=localhost,",
            "--connection=local",
            "--module-name=ansible.builtin.debug",
            "--args=" + json.dumps({"msg": "{{ " + expression + " }}"}),
            "--extra-vars="
            + json.dumps({name: value for name, value in variables.items() if value is not None}),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
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
        "instance": instance_name(BOB, ZONE),
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


@pytest.mark.parametrize("policy", ["skip", "warn"])
def test_a_server_that_refuses_is_an_error_whatever_the_policy(policy):
    def refusing(query, _tcp):
        return respond(query, rcode=dns.rcode.REFUSED)

    with ScriptedServer(refusing) as server:
        expression = f"query('wgsd.mesh.wgsd', '{BOB}', on_missing='{policy}')"
        said = template(expression, 2, wgsd_server=[str(server.endpoint)])
    assert "REFUSED" in said
    assert "allow_query" in said


def test_several_terms_are_looked_up_in_one_go(server):
    keys = [str(PublicKey(bytes([number]) * 32)) for number in range(40)]
    expression = "query('wgsd.mesh.wgsd', *keys, on_missing='skip')"
    servers = [str(server.endpoint)]
    assert template(expression, wgsd_server=servers, keys=[*keys, str(BOB)]) == ["192.0.2.20:51820"]
    # A query for each, and nothing but that.
    assert len(server.asked) == 41


def test_a_query_selects_from_the_records(server):
    servers = [str(server.endpoint)]
    expressions = {
        "[].name": ["bob", "zoe"],
        "[?contains(address, ':')].endpoint": ["[2001:db8::1]:51820"],
        "[0].port": [51820],
        "{first: [0].name}": [{"first": "bob"}],
        "[7]": [],
    }
    asked = ", ".join(f"query('wgsd.mesh.wgsd', query=\"{one}\")" for one in expressions)
    assert template(f"[{asked}]", wgsd_server=servers) == list(expressions.values())


@pytest.mark.parametrize("expression", ["[", "nothing(@)", "abs([0].name)"])
def test_a_query_that_is_none_is_an_error_with_a_remedy(server, expression):
    said = template(
        f'query("wgsd.mesh.wgsd", query="{expression}")', 2, wgsd_server=[str(server.endpoint)]
    )
    assert f"query: '{expression}' cannot be used: " in said
    assert "see https://jmespath.org" in said


def test_without_jmespath_a_query_says_what_to_install(server, tmp_path):
    (tmp_path / "jmespath.py").write_text("raise ImportError('No module named jmespath')")
    servers = [str(server.endpoint)]
    said = template(
        "query('wgsd.mesh.wgsd', query='[].name')", 2, path=tmp_path, wgsd_server=servers
    )
    assert "jmespath cannot be imported (No module named jmespath)" in said
    assert "pip install jmespath" in said
    assert server.asked == []
    assert len(template("query('wgsd.mesh.wgsd')", path=tmp_path, wgsd_server=servers)) == 2


def test_queries_are_signed_with_a_key_out_of_variables():
    secret = base64.b64encode(b"s" * 32).decode()
    key = dns.tsig.Key("ops.example.com.", secret, "hmac-sha512")
    with ScriptedServer(zone, keyring={key.name: key}) as server:
        found = template(
            f"query('wgsd.mesh.wgsd', '{BOB}')",
            wgsd_server="{{ servers }}",
            servers=[str(server.endpoint)],
            wgsd_tsig={
                "name": "Ops.example.com",
                "algorithm": "hmac-sha512",
                "secret": "{{ vaulted }}",
            },
            vaulted=secret,
        )
    assert found == ["192.0.2.20:51820"]


def test_an_empty_list_of_keys_gives_nothing_and_asks_nobody():
    with ScriptedServer(zone) as server:
        assert template(f"query('wgsd.mesh.wgsd', [], server='{server.endpoint}')") == []
        assert not server.asked


def test_all_options_can_be_set_by_ini(tmp_path):
    secret = base64.b64encode(b"s" * 32).decode()
    key = dns.tsig.Key("ops.example.com.", secret, "hmac-sha256")
    with ScriptedServer(
        lambda query, tcp: zone(query, tcp) if tcp else None, keyring={key.name: key}
    ) as server:
        config = tmp_path / "ansible.cfg"
        config.write_text(
            f"[wgsd]\nzone = {ZONE}\nserver = 127.0.0.1\nport = {server.endpoint.port}\n"
            f"tsig = ops.example.com.:{secret}\ntcp = true\nretries = 0\ntimeout = 3\n"
            "[wgsd_lookup]\nwant = record\non_missing = skip\nquery = [].name\n"
        )
        expression = f"query('wgsd.mesh.wgsd', '{NOBODY}', '{BOB}')"
        assert template(expression, config=config, wgsd_zone=None) == ["bob"]


def test_all_options_have_a_variable_and_an_ini_key():
    done = subprocess.run(
        [program("ansible-doc"), "--type=lookup", "--json", "wgsd.mesh.wgsd"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ansible_environment(),
        check=True,
    )
    options = json.loads(done.stdout)["wgsd.mesh.wgsd"]["doc"]["options"]
    options.pop("_terms")
    assert len(options) == 10
    for name, option in options.items():
        assert [one["name"] for one in option["vars"]] == [f"wgsd_{name}"]
        assert {one["key"] for one in option["ini"]} == {name}


def test_what_the_zone_says_is_never_a_template():
    hostile = "{{ lookup('ansible.builtin.pipe', 'echo owned') }}"

    def lying(query, tcp):
        name = str(query.question[0].name)
        texts = [f"pub={BOB}", "allowed=10.0.0.2/32", f"name={hostile}"]
        quoted = " ".join(f'"{text}"' for text in texts)
        records = [(name, "SRV", f"0 0 51820 {name}")]
        more = [(name, "A", "192.0.2.20"), (name, "TXT", quoted)]
        return respond(query, records, more)

    with ScriptedServer(lying) as server:
        said = template(
            f"query('wgsd.mesh.wgsd', '{BOB}', want='record')",
            2,
            wgsd_server=[str(server.endpoint)],
        )
    assert "cannot be a name in the zone" in said
    assert "echo owned" in said
