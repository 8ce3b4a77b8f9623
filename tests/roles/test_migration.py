# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/migration.md: a mesh made by hand, with old clients, moves host by host and stays in use."""

from __future__ import annotations

import base64
import typing as t
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import pytest

from tests.lab.inventory import ZONE, inventory, render
from tests.lab.systemd import SystemdLab
from tests.lab.topology import REGISTRY_ADDRESS, plan
from tests.roles.documents import File, read
from tests.roles.site_playbook import PROJECT, Run, Site, pinging
from tests.roles.test_site import wait_for_ping

pytestmark = [pytest.mark.roles, pytest.mark.long]
SERVER = "10.0.0.254"
TUNNEL = {"registry": SERVER, "alice": "10.0.0.1", "bob": "10.0.0.2"}
COMMENT = "# Made by hand in 2019."
_MAKE_KEY = """
apt-get install -y --no-install-recommends wireguard-tools wireguard-go iproute2 >&2
umask 077
wg genkey > /root/key
wg pubkey < /root/key
"""
_START = """
umask 077
sed "s|PRIVATE|$(cat /root/key)|" > /etc/wireguard/wg0.conf
systemctl enable --now wg-quick@wg0
"""


class OldMesh:
    """Hosts as they were: files made by hand, and a client that looks once."""

    def __init__(self, lab: SystemdLab) -> None:
        self.lab = lab
        self.site = Site(lab)
        self.keys = {
            name: lab.host(name).run(["sh", "-ec", _MAKE_KEY]).stdout.strip() for name in TUNNEL
        }
        for name, host in lab.hosts.items():
            host.run(["sh", "-ec", _START], stdin=self._file(name))

    def _file(self, name: str) -> str:
        lines = [COMMENT, "[Interface]", "PrivateKey = PRIVATE", f"Address = {TUNNEL[name]}/24"]
        if name == "registry":
            lines.append("ListenPort = 51820")
        for other in sorted(TUNNEL.keys() - {name}):
            lines += ["[Peer]", f"PublicKey = {self.keys[other]}"]
            lines += [f"AllowedIPs = {TUNNEL[other]}/32", "PersistentKeepalive = 5"]
            if other == "registry":
                lines.append(f"Endpoint = {REGISTRY_ADDRESS}:51820")
        return "\n".join(lines) + "\n"

    def move(self, *names: str, playbook: str, arguments: t.Sequence[str] = ()) -> Run:
        """Run a playbook with an inventory that has the registry and these peers alone."""
        data = inventory(self.lab.access, plan(self.lab.description.sites))
        peers = data["all"]["children"]["wgsd_peers"]["hosts"]
        data["all"]["children"]["wgsd_peers"]["hosts"] = {name: peers[name] for name in names}
        if not names:
            del data["all"]["children"]["wgsd_peers"]
        self.lab.inventory.write_text(render(data))
        run = self.site.run(*arguments, playbook=playbook)
        assert run.status == 0, run.output
        return run

    def old_client(self, name: str, other: str) -> None:
        """Do what the old client does for one peer: ask as it asks, and set what it reads."""
        host, port = self.ask_as_of_old(name, other, SERVER, 53)
        endpoint = ["endpoint", f"{host}:{port}"]
        self.lab.host(name).run(["wg", "set", "wg0", "peer", self.keys[other], *endpoint])

    def ask_as_of_old(self, node: str, other: str, server: str, port: int) -> tuple[str, int]:
        """Ask without EDNS, in upper case, and read the first additional record."""
        label = base64.b32encode(base64.b64decode(self.keys[other])).decode()
        query = dns.message.make_query(f"{label}._wireguard._udp.{ZONE}", dns.rdatatype.SRV)
        with self.lab.node(node).network():
            answer = dns.query.udp(query, server, port=port, timeout=5)
        assert not answer.flags & dns.flags.TC
        (srv,) = answer.answer[0]
        (address,) = answer.additional[0]
        return address.address, srv.port


@pytest.fixture(scope="module")
def mesh() -> t.Iterator[OldMesh]:
    with SystemdLab(prefix="migration") as lab:
        yield OldMesh(lab)


def test_the_registry_serves_all_peers_of_its_device_before_the_inventory_has_any(
    mesh: OldMesh,
) -> None:
    mesh.move(playbook="wgsd.mesh.site")
    for name in ("alice", "bob"):
        wait_for_ping(mesh.site, name, SERVER)
    peers = mesh.lab.host("registry").run(["wgsd", "peers", "--dns", SERVER, "--zone", ZONE])
    assert set(mesh.keys.values()) <= set(peers.stdout.split())
    mesh.old_client("alice", "bob")
    mesh.old_client("bob", "alice")
    wait_for_ping(mesh.site, "alice", TUNNEL["bob"])


def test_a_host_moves_without_a_packet_lost_and_keeps_its_key(mesh: OldMesh) -> None:
    alice = mesh.lab.host("alice")
    with pinging(alice, TUNNEL["bob"]) as pings:
        mesh.move("alice", playbook="wgsd.mesh.add", arguments=["-e", "wgsd_add=alice"])
    assert pings.lost == 0, pings.output
    assert alice.run(["wg", "show", "wg0", "public-key"]).stdout.strip() == mesh.keys["alice"]
    assert COMMENT in alice.run(["cat", "/etc/wireguard/wg0.conf"]).stdout
    assert COMMENT in alice.run(["cat", "/etc/wireguard/wg0.conf.before-wgsd"]).stdout


def test_an_old_client_and_a_new_one_get_a_tunnel(mesh: OldMesh) -> None:
    bob = mesh.lab.host("bob")
    bob.run(["systemctl", "restart", "wg-quick@wg0"])
    wait_for_ping(mesh.site, "bob", SERVER)
    mesh.old_client("bob", "alice")
    wait_for_ping(mesh.site, "bob", TUNNEL["alice"])


def test_the_responder_takes_the_place_of_coredns(mesh: OldMesh, tmp_path: Path) -> None:
    (file,) = [step for step in read(PROJECT / "docs/migration.md") if isinstance(step, File)]
    variables = tmp_path / "variables.yml"
    variables.write_text(file.text)
    only = ["--limit", "wgsd_registry", "-e", f"@{variables}"]
    mesh.move("alice", playbook="wgsd.mesh.site", arguments=only)
    found = mesh.ask_as_of_old("internet", "alice", REGISTRY_ADDRESS, 5353)
    assert found == mesh.ask_as_of_old("bob", "alice", SERVER, 53)


def test_without_our_client_a_host_is_as_of_old(mesh: OldMesh) -> None:
    alice = mesh.lab.host("alice")
    with pinging(alice, TUNNEL["bob"]) as pings:
        alice.run(["systemctl", "disable", "--now", "wgsd-client"])
        mesh.old_client("alice", "bob")
        wait_for_ping(mesh.site, "alice", TUNNEL["bob"])
        alice.run(["sleep", "2"])
    assert pings.lost == 0, pings.output
