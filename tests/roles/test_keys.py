# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients' TSIG key: made on the registry, handed to the peers, replaced, never shown.

That a second run keeps it, and what check mode says of it, molecule's default scenario sees.
"""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest

from tests.lab.inventory import ZONE
from tests.lab.podman import Host
from tests.lab.systemd import SystemdLab
from tests.roles.asking import asking
from tests.roles.site_playbook import Run, Site

pytestmark = pytest.mark.roles
SERVER = "10.0.0.254"
NAME = "clients.example.com."
#: Where nobody reaches Alice: as a registry she is not asked here.
SECOND_REGISTRY = "192.0.2.1"
KEYS = "/etc/wgsd/keys"
PEERS = ("alice", "bob")
ALL_OF_IT = {"wgsd_client_key": NAME}
NOTHING = {"registry": 0, "alice": 0, "bob": 0}


class Mesh:
    """A mesh whose clients sign, and the secrets that were ever seen on its hosts."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.output = ""
        self.secrets: set[str] = set()

    def run(self, *arguments: str, playbook: str = "wgsd.mesh.site") -> Run:
        """Run a playbook, as talkative as can be."""
        variables = ("--extra-vars", json.dumps(ALL_OF_IT))
        run = self.site.run("-vvv", *variables, *arguments, playbook=playbook)
        self.output += run.output
        return run

    def host(self, name: str) -> Host:
        """Return a host of the lab."""
        return self.site.lab.host(name)

    def keys(self) -> dict[str, str]:
        """Return the secrets of the keys that are on the registry, by the keys' names."""
        files = self.host("registry").run(["sh", "-c", f"cat {KEYS}/*"]).stdout
        keys = dict(re.findall(r'key "(\S+)".*?secret "(\S+)"', files, re.DOTALL))
        self.secrets.update(keys.values())
        return keys

    def client(self, name: str) -> tuple[str, str]:
        """Return the name and the secret of the key that a peer's client signs with."""
        text = self.host(name).run(["cat", "/etc/wgsd/client.yml"]).stdout
        (key,) = re.findall(r'name: "(\S+)".*?secret: "(\S+)"', text, re.DOTALL)
        return str(key[0]), str(key[1])

    def asks_with(self, name: str, secret: str) -> str:
        """Return the status that a query signed with a key gets, asked by the registry."""
        dig = ["dig", "+noall", "+comments", f"@{SERVER}", ZONE, "SOA", "-y"]
        answer = self.host("registry").run([*dig, f"hmac-sha256:{name}:{secret}"], check=False)
        (status,) = re.findall(r"status: (\w+)", answer.stdout)
        return str(status)


def after(name: str) -> str:
    """Return the name that a rotation gives to the key after the one of *name*."""
    number = name.partition(".")[0]
    return f"{int(number) + 1 if number.isdigit() else 2}.{NAME}"


@pytest.fixture(scope="module")
def mesh() -> t.Iterator[Mesh]:
    """A finished mesh whose clients sign with a key of the registry."""
    with SystemdLab(prefix="roles-keys") as lab:
        built = Mesh(Site(lab))
        run = built.run()
        assert run.status == 0, run.output
        yield built


def test_the_clients_sign_with_the_key_that_was_made_on_the_registry(mesh: Mesh) -> None:
    (key,) = mesh.keys().items()
    assert key[0] == NAME
    assert mesh.asks_with(*key) == "NOERROR"
    for name in PEERS:
        assert mesh.client(name) == key
        stat = mesh.host(name).run(["stat", "--format=%a %U %G", "/etc/wgsd/client.yml"]).stdout
        assert stat == "640 root wgsd\n"
    stat = mesh.host("registry").run(["stat", "--format=%a %U", KEYS, f"{KEYS}/{NAME}key"]).stdout
    assert stat == "700 root\n600 root\n"


def test_a_run_without_the_registry_keeps_the_key_of_the_peer(mesh: Mesh) -> None:
    before = mesh.client("alice")
    run = mesh.run("--limit", "alice")
    assert run.status == 0, run.output
    assert run.count("changed") == {"alice": 0}, run.output
    assert mesh.client("alice") == before


def test_a_new_key_takes_the_place_of_the_old_one_without_a_query_that_fails(mesh: Mesh) -> None:
    (old,) = mesh.keys().items()
    with asking(mesh.host("registry").node, SERVER, ZONE) as outcomes:
        run = mesh.run(playbook="wgsd.mesh.tsig_rotate")
    assert run.status == 0, run.output
    assert [outcome.failures for outcome in outcomes] == [[], []]
    (new,) = mesh.keys().items()
    assert new[0] == f"2.{NAME}"
    assert new[1] != old[1]
    assert {mesh.client(name) for name in PEERS} == {new}
    assert mesh.asks_with(*new) == "NOERROR"
    assert mesh.asks_with(*old) == "NOTAUTH"
    again = mesh.run()
    assert again.count("changed") == NOTHING, again.output


@pytest.mark.long
def test_the_old_key_stays_until_the_last_client_has_moved(mesh: Mesh) -> None:
    (old,) = mesh.keys().items()
    bob = mesh.host("bob")
    bob.kill()
    try:
        run = mesh.run(playbook="wgsd.mesh.tsig_rotate")
    finally:
        bob.start()
    assert run.status != 0
    assert "bob could not be moved to the next key" in run.output
    both, name = mesh.keys(), after(old[0])
    assert both.keys() == {old[0], name}
    new = name, both[name]
    assert mesh.client("alice") == new
    assert mesh.client("bob") == old
    assert mesh.asks_with(*old) == mesh.asks_with(*new) == "NOERROR"
    finished = mesh.run(playbook="wgsd.mesh.tsig_rotate")
    assert finished.status == 0, finished.output
    assert mesh.keys().keys() == {name}
    assert mesh.client("bob") == new


@pytest.mark.long
def test_a_second_registry_gets_the_key_of_the_first(mesh: Mesh, tmp_path: Path) -> None:
    (first,) = mesh.keys()
    inventory = tmp_path / "inventory.json"
    second = {"alice": {"wgsd_endpoint": f"{SECOND_REGISTRY}:51820"}}
    inventory.write_text(json.dumps({"wgsd_registry": {"hosts": second}}))
    more = ("--inventory", str(inventory))
    run = mesh.run(*more)
    assert run.status == 0, run.output
    read = ["sh", "-c", f"cat {KEYS}/*"]
    files = [mesh.host(name).run(read).stdout for name in ("registry", "alice")]
    assert files[0] == files[1]
    alone = mesh.run(*more, "--limit", "alice")
    assert alone.count("changed") == {"alice": 0}, alone.output
    rotated = mesh.run(*more, playbook="wgsd.mesh.tsig_rotate")
    assert rotated.status == 0, rotated.output
    files = [mesh.host(name).run(read).stdout for name in ("registry", "alice")]
    assert files[0] == files[1]
    assert mesh.keys().keys() == {after(first)} == {mesh.client("bob")[0]}


def test_no_secret_is_in_what_was_said_about_all_this(mesh: Mesh) -> None:
    said = [mesh.output]
    said += [
        mesh.host(name).run(["journalctl", "--output=cat"]).stdout for name in ("registry", *PEERS)
    ]
    assert len(mesh.secrets) > 1
    assert not any(secret in text for secret in mesh.secrets for text in said)
