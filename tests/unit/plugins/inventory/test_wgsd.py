# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory wgsd, run by ansible-core, against DNS servers on loopback."""

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

from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.wgsd.mesh.plugins.inventory.wgsd import InventoryModule
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import (
    Endpoint,
    Member,
    PeerRecord,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import (
    instance_name,
    service_name,
    txt_strings,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.replica import Listing
from ansible_collections.wgsd.mesh.plugins.plugin_utils._hosts import (
    hosts_of,
    peers_of,
    tunnel_address,
)

from tests.unit.collection import ROOT, ansible_environment, program
from tests.unit.plugins.module_utils.wgsd.scripted_dns import Script, ScriptedServer, respond

pytestmark = pytest.mark.unit

ZONE = "example.com."
ALICE, BOB, CAROL, DAVE = (PublicKey(letter * 32) for letter in (b"a", b"b", b"c", b"d"))
SERVER = Endpoint("192.0.2.53", 53)
Line = tuple[str, str, str]


def texts(*strings: str) -> str:
    return " ".join(f'"{string}"' for string in strings)


def lines(
    key: PublicKey, name: str | None, address: str, port: int | None = 51820, **more: str
) -> list[Line]:
    """The records of a peer; without a port, of a member that has no endpoint."""
    instance = instance_name(key, ZONE)
    strings = txt_strings(key, [address], name)
    told = [(instance, "TXT", more.get("text") or texts(*strings))]
    if port is not None:
        told += [
            (service_name(ZONE), "PTR", instance),
            (instance, "SRV", f"0 0 {port} {instance}"),
            (instance, "A", "192.0.2.20"),
        ]
    return told


MESH = [
    *lines(ALICE, "alice", "10.0.0.1/32"),
    *lines(BOB, None, "10.0.0.2/32"),
    *lines(CAROL, "carol", "10.0.0.3/32", None),
]


def serving(records: t.Sequence[Line], transfers: bool = True) -> Script:
    soa = (ZONE, "SOA", f"ns1.{ZONE} hostmaster.{ZONE} 7 60 60 600 5")

    def answer(query, _tcp):
        name, _class, rdtype = query.question[0].to_text().split()
        if rdtype == "AXFR":
            if not transfers:
                return respond(query, rcode=dns.rcode.REFUSED)
            return respond(query, [soa, *records, soa], max_size=65535)
        return respond(query, [line for line in (soa, *records) if line[:2] == (name, rdtype)])

    return answer


def read(listed: str) -> dict[str, t.Any]:
    """Read what ``--list`` says, which marks all text that must not become a template."""
    return json.loads(listed, object_hook=lambda pairs: pairs.get("__ansible_unsafe", pairs))


class Source:
    """An inventory file and the commands that read it."""

    def __init__(self, folder: pathlib.Path, server: ScriptedServer) -> None:
        self.path = folder / "lab.wgsd.yml"
        self._server = server

    def write(self, **options: t.Any) -> None:
        """Write the file; it is JSON, which is YAML."""
        plain = {"plugin": "wgsd.mesh.wgsd", "zone": ZONE, "server": str(self._server.endpoint)}
        self.path.write_text(json.dumps({**plain, **options}))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("ansible-inventory"), f"--inventory={self.path}", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={
                **ansible_environment(),
                "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
            },
            check=False,
        )

    def listed(self, *arguments: str, **options: t.Any) -> dict[str, t.Any]:
        """What ``--list`` says."""
        self.write(**options)
        done = self.run("--list", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return read(done.stdout)

    def failure(self, **options: t.Any) -> str:
        """What is said of a file that cannot be used."""
        self.write(**options)
        done = self.run("--list")
        assert done.returncode != 0, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def server() -> t.Iterator[ScriptedServer]:
    with ScriptedServer(serving(MESH)) as running:
        yield running


@pytest.fixture
def source(tmp_path: pathlib.Path, server: ScriptedServer) -> Source:
    return Source(tmp_path, server)


def test_peers_are_hosts_by_name_or_key_with_their_tunnel_address(source):
    listed = source.listed()
    assert set(listed["ungrouped"]["hosts"]) == {"alice", BOB.unpadded_label, "carol"}
    hostvars = listed["_meta"]["hostvars"]
    assert hostvars["alice"] == {
        "ansible_host": "10.0.0.1",
        "wgsd_peer": {
            "name": "alice",
            "public_key": str(ALICE),
            "endpoint": "192.0.2.20:51820",
            "address": "192.0.2.20",
            "port": 51820,
            "allowed_ips": ["10.0.0.1/32"],
            "instance": instance_name(ALICE, ZONE),
        },
    }
    assert hostvars[BOB.unpadded_label]["ansible_host"] == "10.0.0.2"
    carol = hostvars["carol"]
    assert carol["ansible_host"] == "10.0.0.3"
    assert (carol["wgsd_peer"]["endpoint"], carol["wgsd_peer"]["port"]) == (None, None)


def test_the_graph_has_composed_and_keyed_groups(source):
    source.write(
        groups={"reachable": "wgsd_peer.endpoint is not none"},
        keyed_groups=[{"key": "(wgsd_peer.port or '') | string", "prefix": "port"}],
        compose={"tunnel": "ansible_host ~ '!'"},
    )
    done = source.run("--graph", "--vars")
    assert "|--@reachable:\n  |  |--alice" in done.stdout, done.stdout + done.stderr
    assert "|--@port_51820:" in done.stdout
    assert "{tunnel = 10.0.0.1!}" in done.stdout
    assert "|--@ungrouped:\n  |  |--carol" in done.stdout


def test_a_host_does_not_have_the_name_of_a_group_of_the_same_file(source):
    listed = source.listed(groups={"alice": "wgsd_peer.name == 'alice'"})
    assert listed["alice"]["hosts"] == [ALICE.unpadded_label]


def test_strict_makes_an_expression_that_fails_an_error(source):
    wrong = {"groups": {"nobody": "nothing.at.all"}}
    assert "nobody" not in source.listed(**wrong)
    assert "nobody" in source.failure(strict=True, **wrong)


def test_a_cache_answers_until_it_is_flushed(source, server, tmp_path):
    caching = {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(tmp_path / "cache"),
    }
    first = source.listed(**caching)
    asked = len(server.asked)
    assert source.listed(**caching) == first
    assert len(server.asked) == asked
    assert source.listed("--flush-cache", **caching) == first
    assert len(server.asked) > asked
    asked = len(server.asked)
    # Another zone is not what was kept.
    source.failure(zone="example.net.", **caching)
    assert len(server.asked) > asked


def test_a_cache_answers_for_the_servers_alone_that_were_asked(source, tmp_path):
    caching = {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(tmp_path / "cache"),
    }
    source.listed(**caching)
    with ScriptedServer(serving(MESH[:1])) as other:
        listed = source.listed(server=str(other.endpoint), **caching)
        assert other.asked
    assert list(listed["_meta"]["hostvars"]) == ["alice"]


def test_without_a_transfer_peers_are_browsed(tmp_path):
    with ScriptedServer(serving(MESH, transfers=False)) as server:
        listed = Source(tmp_path, server).listed()
    assert set(listed["_meta"]["hostvars"]) == {"alice", BOB.unpadded_label}


def test_options_may_be_templates_and_come_from_variables(tmp_path):
    secret = base64.b64encode(b"s" * 32).decode()
    key = dns.tsig.Key("ops.example.com.", secret, "hmac-sha256")
    with ScriptedServer(serving(MESH, transfers=False), keyring={key.name: key}) as server:
        listed = Source(tmp_path, server).listed(
            "--extra-vars=" + json.dumps({"told": secret, "wgsd_retries": "{{ 0 }}"}),
            tsig={"name": "ops.example.com", "secret": "{{ told }}"},
            timeout="{{ 1 + 1 }}",
        )
    assert "alice" in listed["_meta"]["hostvars"]


def test_the_secret_may_be_vaulted_in_the_file(tmp_path):
    secret = base64.b64encode(b"s" * 32).decode()
    key = dns.tsig.Key("ops.example.com.", secret, "hmac-sha256")
    password = tmp_path / "password"
    password.write_text("open sesame")
    vaulted = VaultLib([("default", VaultSecret(b"open sesame"))]).encrypt(secret).decode()
    with ScriptedServer(serving(MESH, transfers=False), keyring={key.name: key}) as server:
        source = Source(tmp_path, server)
        lines = [
            "plugin: wgsd.mesh.wgsd",
            f"zone: {ZONE}",
            f"server: ['{server.endpoint}']",
            "tsig:",
            "  name: ops.example.com.",
            "  secret: !vault |",
            *(f"    {line}" for line in vaulted.splitlines()),
        ]
        source.path.write_text("\n".join(lines))
        done = source.run("--list", f"--vault-password-file={password}")
    assert "alice" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"server": "192.0.2.300"}, "wgsd: server: '192.0.2.300' is not an IP address"),
        ({"tsig": {"name": "ops."}}, "wgsd: tsig.secret is missing"),
        ({"zone": "example.net."}, "does not know the zone example.net."),
        ({"zone": "{{ nothing }}"}, "'nothing' is undefined"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, options, problem):
    def empty(query, _tcp):
        return respond(query, rcode=dns.rcode.NXDOMAIN)

    with ScriptedServer(empty) as server:
        assert problem in Source(tmp_path, server).failure(**options)


def test_what_the_zone_says_is_never_a_template(tmp_path):
    hostile = "{{ lookup('ansible.builtin.pipe', 'echo owned') }}"
    text = texts(f"pub={BOB}", "allowed=10.0.0.2/32", f"name={hostile}")
    records = [
        *lines(ALICE, "alice", "10.0.0.1/32"),
        *lines(BOB, None, "10.0.0.2/32", text=text),
        *lines(CAROL, "localhost", "10.0.0.3/32"),
        # An escape sequence for the terminal, as DNS writes bytes.
        *lines(DAVE, None, "10.0.0.4/32", text=texts(f"pub={DAVE}", r"name=\027[31mred")),
    ]
    with ScriptedServer(serving(records)) as server:
        source = Source(tmp_path, server)
        source.write(compose={"told": "wgsd_peer.name"})
        done = source.run("--list")
        hostvars = read(done.stdout)["_meta"]["hostvars"]
        assert set(hostvars) == {"alice", CAROL.unpadded_label}
        said = " ".join(done.stderr.split())
        assert f"peer {BOB}: " in said
        assert "cannot be a name in the zone" in said
        assert "its name localhost means something else in an inventory" in said
        assert f"peer {DAVE}: " in said
        assert "\x1b" not in done.stderr
        assert "owned" not in said.replace("echo owned", "")
        assert "on_missing=skip" in source.failure(on_missing="error")
        source.write(on_missing="skip")
        assert "cannot be a name" not in source.run("--list").stderr


@pytest.mark.parametrize(
    ("name", "mine"),
    [
        ("wgsd.yml", True),
        ("wgsd.yaml", True),
        ("lab.wgsd.yml", True),
        ("lab.wgsd.yaml", True),
        ("labwgsd.yml", False),
        ("wgsd.yml.bak", False),
        ("hosts.yml", False),
    ],
)
def test_only_files_of_its_name_are_its_own(tmp_path, name, mine):
    path = tmp_path / name
    path.touch()
    assert InventoryModule().verify_file(str(path)) is mine
    assert InventoryModule().verify_file(str(tmp_path / "missing.wgsd.yml")) is False


def listing(*names: str | None, members: t.Iterable[Member] = ()) -> Listing:
    keys = [PublicKey(bytes([number + 1]) * 32) for number in range(len(names))]
    records = tuple(
        PeerRecord(key, Endpoint("192.0.2.20", 51820), ("10.0.0.1/32",), name)
        for key, name in zip(keys, names)
    )
    return Listing(ZONE, SERVER, 7, records, {}, {one.public_key: one for one in members})


def named(*names: str | None, taken: t.Collection[str] = ()) -> tuple[list[str], list[str]]:
    """The names of the hosts, or ``label`` for those of keys, and what is said."""
    peers, _problems = peers_of(listing(*names))
    hosts, problems = hosts_of(peers, taken)
    labels = {PublicKey(bytes([number + 1]) * 32).unpadded_label for number in range(len(names))}
    return ["label" if host.name in labels else host.name for host in hosts], problems


def test_names_that_mean_something_else_are_not_used():
    label = PublicKey(b"\2" * 32).unpadded_label
    names = ["bob", label, "localhost", "all", "ungrouped", "web", None]
    hosts, problems = named(*names, taken={"web"})
    assert hosts == ["bob", *["label"] * 6]
    assert len(problems) == 5
    assert "is the label of a key" in problems[0]
    assert "its name web means something else" in problems[-1]


def test_a_name_that_two_peers_have_is_that_of_neither():
    hosts, problems = named("bob", "bob", "carol")
    assert hosts == ["label", "label", "carol"]
    assert len(problems) == 2
    assert "is that of several peers" in problems[0]


def test_members_without_an_endpoint_come_after_the_others_and_only_once():
    members = [
        Member(DAVE, ("10.0.0.4/32",)),
        Member(CAROL, ("10.0.0.3/32",), "carol"),
        Member(PublicKey(b"\1" * 32), ("10.0.0.1/32",), "zoe"),
    ]
    peers, _problems = peers_of(listing("zoe", members=members))
    assert [peer["public_key"] for peer in peers][1:] == [str(CAROL), str(DAVE)]
    assert [peer["endpoint"] for peer in peers] == ["192.0.2.20:51820", None, None]


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        (["10.0.0.2/32"], "10.0.0.2"),
        (["10.9.0.0/24", "fd00::2/128", "10.0.0.2/32", "10.0.0.3/32"], "10.0.0.2"),
        (["fd00::2/128"], "fd00::2"),
        (["10.9.0.0/24"], None),
        ([], None),
        (["127.0.0.1/32", "::1/128", "0.0.0.0/32", "224.0.0.1/32", "169.254.0.1/32"], None),
        (["fe80::1/128", "::ffff:127.0.0.1/128", "10.0.0.2/32"], "10.0.0.2"),
    ],
)
def test_the_tunnel_address_is_the_first_single_address_that_leads_to_another_host(
    allowed, address
):
    assert tunnel_address(allowed) == address
