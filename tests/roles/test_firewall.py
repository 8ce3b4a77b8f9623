# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""wgsd_firewall on hosts that boot, whose firewalls drop what nobody has let in.

The registry has nftables, alice ufw, bob firewalld.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import socket
import subprocess
import time
import typing as t

import pytest

from tests.lab import Nat
from tests.lab.podman import Host
from tests.lab.systemd import SystemdLab
from tests.lab.topology import REGISTRY_ADDRESS
from tests.lab.wireguard import generate_key
from tests.roles.one_task import run_task
from tests.roles.site_playbook import pinging

pytestmark = [pytest.mark.roles, pytest.mark.long]

PORT = 51820
TUNNEL = {"registry": "10.0.0.254", "alice": "10.0.0.1", "bob": "10.0.0.2"}
ROUTERS = {"alice": "a", "bob": "b"}
BACKENDS = {"registry": "nftables", "alice": "ufw", "bob": "firewalld"}
WHICHEVER = "{{ omit }}"
CONF = "/etc/nftables.conf"
POLICY = """\
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept
\t\tiifname "lo" accept
\t}
}
"""
#: Seconds in which a handshake, a packet, a connection comes through or does not at all.
PATIENCE = 2.0
_ports = itertools.count(40001)


class Mesh:
    """Three hosts that have each other as peers, and that nothing stands between."""

    def __init__(self, lab: SystemdLab) -> None:
        self.lab = lab
        keys = {name: generate_key() for name in lab.hosts}
        self._public = {name: _public_key(key) for name, key in keys.items()}
        for name, host in lab.hosts.items():
            host.run(["apt-get", "install", "-qy", "wireguard-tools", "wireguard-go"])
            conf = [f"[Interface]\nPrivateKey = {keys[name]}\nAddress = {TUNNEL[name]}/24"]
            conf.append(f"ListenPort = {PORT}")
            for peer in lab.hosts:
                if peer != name:
                    conf.append(f"[Peer]\nPublicKey = {self._public[peer]}")
                    conf.append(f"AllowedIPs = {TUNNEL[peer]}/32")
            write(host, "/etc/wireguard/wg0.conf", "\n".join(conf) + "\n")
            host.run(["systemctl", "enable", "--now", "wg-quick@wg0"])

    def host(self, name: str) -> Host:
        return self.lab.host(name)

    def outside(self, name: str) -> str:
        """The address of a host's that everybody can send to."""
        router = ROUTERS.get(name)
        return self.lab.router(router).outside(name) if router else REGISTRY_ADDRESS

    def task(self, name: str, **options: t.Any) -> dict[str, t.Any]:
        """Run the module for wg0 with the host's own firewall."""
        module_options = {"interface": "wg0", "backend": BACKENDS[name], **options}
        return run_task(self.lab, name, "wgsd_firewall", **module_options)

    def shakes_hands(self, name: str, *, by: str) -> bool:
        """Whether a host that has never had a tunnel to *name* gets one.

        From another port each time: what a firewall remembers of the last one must not count.
        """
        target, other = self.host(name), self.host(by)
        # It may have been the other one before.
        _wg(target, "listen-port", str(PORT))
        _wg(target, "peer", self._public[by], "remove")
        _wg(target, "peer", self._public[by], "allowed-ips", f"{TUNNEL[by]}/32")
        peer = ["peer", self._public[name]]
        _wg(other, *peer, "remove")
        _wg(other, "listen-port", str(next(_ports)))
        endpoint = f"{self.outside(name)}:{PORT}"
        _wg(other, *peer, "allowed-ips", f"{TUNNEL[name]}/32", "endpoint", endpoint)
        other.run(["ping", "-qc1", "-W0.1", TUNNEL[name]], check=False)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            shown = other.run(["wg", "show", "wg0", "latest-handshakes"]).stdout
            if not re.search(rf"{re.escape(self._public[name])}\s+0$", shown, re.MULTILINE):
                return True
            time.sleep(0.1)
        return False

    def gets_in(self, name: str, address: str, protocol: str, port: int, *, by: str) -> bool:
        """Whether a packet or a connection from *by* to *address* reaches a program of *name*."""
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        with self.host(name).node.network():
            server = socket.socket(socket.AF_INET, kind)
        with self.host(by).node.network():
            client = socket.socket(socket.AF_INET, kind)
        with server, client:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("0.0.0.0", port))
            server.settimeout(PATIENCE)
            client.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                if kind == socket.SOCK_STREAM:
                    server.listen()
                    client.connect((address, port))
                else:
                    client.sendto(b"knock", (address, port))
                    server.recv(16)
                return True
        return False


def _public_key(private_key: str) -> str:
    done = subprocess.run(
        ["wg", "pubkey"], input=private_key, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _wg(host: Host, *arguments: str) -> None:
    host.run(["wg", "set", "wg0", *arguments])


def write(host: Host, path: str, text: str) -> None:
    host.run(["sh", "-c", f"cat > {path}"], stdin=text)


def restart(host: Host) -> None:
    """Cut the power and boot."""
    host.kill()
    host.start()
    host.wait_until_running()


@pytest.fixture(scope="module")
def mesh() -> t.Iterator[Mesh]:
    with SystemdLab(prefix="firewall", nats=[Nat("none"), Nat("none")]) as lab:
        yield Mesh(lab)


# nftables


@pytest.fixture
def dropping(mesh: Mesh) -> t.Iterator[Host]:
    """The registry, which drops what nobody has let in, and is found so again."""
    host = mesh.host("registry")
    write(host, CONF, POLICY)
    host.run(["systemctl", "enable", "--quiet", "nftables"])
    host.run(["systemctl", "restart", "nftables"])
    yield host
    mesh.task("registry", state="absent")
    assert host.run(["cat", CONF]).stdout == POLICY


def ruleset(host: Host) -> str:
    return host.run(["nft", "list", "ruleset"]).stdout


def test_nftables_lets_a_handshake_in_after_a_restart_and_a_boot_too(
    mesh: Mesh, dropping: Host
) -> None:
    assert not mesh.shakes_hands("registry", by="alice")
    predicted = mesh.task("registry", listen_port=PORT, check_mode=True)
    assert not mesh.shakes_hands("registry", by="alice")
    result = mesh.task("registry", listen_port=PORT)
    assert result["changed"]
    assert (predicted["added"], predicted["rules"]) == (result["added"], result["rules"])
    assert mesh.shakes_hands("registry", by="alice")
    assert not mesh.task("registry", listen_port=PORT)["changed"]
    loaded = ruleset(dropping)
    dropping.run(["systemctl", "restart", "nftables"])
    assert ruleset(dropping) == loaded
    restart(dropping)
    assert ruleset(dropping) == loaded
    assert not mesh.task("registry", listen_port=PORT)["changed"]
    assert mesh.shakes_hands("registry", by="alice")


def test_nftables_lets_queries_in_by_the_tunnel_alone(mesh: Mesh, dropping: Host) -> None:
    mesh.task("registry", listen_port=PORT)
    assert mesh.shakes_hands("registry", by="alice")
    way_in = ("registry", TUNNEL["registry"])
    assert not mesh.gets_in(*way_in, "udp", 53, by="alice")
    mesh.task("registry", listen_port=PORT, dns=True)
    for protocol in ("udp", "tcp"):
        assert mesh.gets_in(*way_in, protocol, 53, by="alice")
        assert not mesh.gets_in("registry", mesh.outside("registry"), protocol, 53, by="alice")
    assert not mesh.gets_in(*way_in, "tcp", 80, by="alice")


def test_nftables_lets_everything_in_by_a_tunnel_that_is_trusted(
    mesh: Mesh, dropping: Host
) -> None:
    mesh.task("registry", listen_port=PORT, trust_interface=True)
    assert mesh.shakes_hands("registry", by="alice")
    assert mesh.gets_in("registry", TUNNEL["registry"], "tcp", 80, by="alice")
    assert not mesh.gets_in("registry", mesh.outside("registry"), "tcp", 80, by="alice")


def test_nftables_is_afterwards_as_it_was_before(mesh: Mesh, dropping: Host) -> None:
    before = ruleset(dropping)
    mesh.task("registry", listen_port=PORT, dns=True)
    mesh.task("registry", interface="wg1", trust_interface=True)
    assert mesh.task("registry", state="absent", backend=WHICHEVER)["changed"]
    assert 'comment "wgsd wg1"' in ruleset(dropping)
    assert "nftables.d" in dropping.run(["cat", CONF]).stdout
    mesh.task("registry", interface="wg1", state="absent")
    assert ruleset(dropping) == before
    assert dropping.run(["cat", CONF]).stdout == POLICY
    assert dropping.run(["test", "-e", "/etc/nftables.d"], check=False).returncode == 1
    for backend in ("nftables", WHICHEVER):
        assert not mesh.task("registry", state="absent", backend=backend)["changed"]


def test_a_tunnel_that_lives_loses_no_packet(mesh: Mesh, dropping: Host) -> None:
    mesh.task("registry", listen_port=PORT, trust_interface=True)
    assert mesh.shakes_hands("registry", by="alice")
    with pinging(mesh.host("alice"), TUNNEL["registry"]) as pings:
        mesh.task("registry", listen_port=PORT, dns=True)
        mesh.task("registry", listen_port=PORT, trust_interface=True, dns=True)
        mesh.task("registry", state="absent")
    assert pings.lost == 0, pings.output


def test_what_the_operator_has_put_at_the_head_does_not_move(mesh: Mesh, dropping: Host) -> None:
    mesh.task("registry", listen_port=PORT)
    dropping.run(["nft", "insert rule inet filter input tcp dport 22 drop"])
    before = ruleset(dropping)
    assert not mesh.task("registry", listen_port=PORT)["changed"]
    assert ruleset(dropping) == before


def test_a_chain_that_is_not_there_is_an_error_that_names_those_that_are(
    mesh: Mesh, dropping: Host
) -> None:
    before = ruleset(dropping)
    result = mesh.task("registry", listen_port=PORT, chain="inet filter incoming", fails=True)
    assert "there is 'inet filter input'" in result["msg"]
    assert ruleset(dropping) == before


def test_a_chain_that_a_boot_would_not_bring_back_is_refused(mesh: Mesh, dropping: Host) -> None:
    dropping.run(["nft", "add table inet extra; add chain inet extra input"])
    result = mesh.task("registry", listen_port=PORT, chain="inet extra input", fails=True)
    assert "there would be no firewall after a reboot" in result["msg"]
    assert dropping.run(["cat", CONF]).stdout == POLICY


# ufw and firewalld


@dataclasses.dataclass(frozen=True)
class Manager:
    """A program that keeps the rules of a host, and drops or rejects what nobody has let in.

    Attributes:
        host: Which of the three has it.
        packages: Where it comes from; the last one is what the module names if it is not there.
        start: Starts it.
        reload: Has it load again what it has on the disk.
        rules: Shows what its operator has let in, stored and loaded.
        allow: Lets the port in, without the module.
        withdraw: Undoes that.
    """

    host: str
    packages: tuple[str, ...]
    start: str
    reload: str
    rules: str
    allow: str
    withdraw: str

    def __str__(self) -> str:
        return self.packages[-1]


MANAGERS = [
    Manager(
        host="alice",
        packages=("ufw",),
        start="ufw --force enable",
        reload="ufw reload",
        # Its own chains differ after each reload.
        rules="""
for family in ip ip6; do
    nft list table $family filter | grep -A99 -- '-user-input {' | sed '/^\t}/q' |
        sed 's/packets [0-9]* bytes [0-9]*//'
done
cat /etc/ufw/user.rules /etc/ufw/user6.rules
""",
        allow=f"ufw allow {PORT}/udp",
        withdraw=f"ufw delete allow {PORT}/udp",
    ),
    Manager(
        host="bob",
        packages=("netbase", "firewalld"),
        start="systemctl start firewalld",
        reload="firewall-cmd --reload",
        # All zones; it never removes the chains of one that is not used any more.
        rules="for scope in '' --permanent; do firewall-cmd $scope --list-all-zones; done",
        allow=f"for scope in '' --permanent; do firewall-cmd $scope --add-port={PORT}/udp; done",
        withdraw=(
            f"for scope in '' --permanent; do firewall-cmd $scope --remove-port={PORT}/udp; done"
        ),
    ),
]


class Managed:
    """A host whose firewall is in the hands of a manager."""

    def __init__(self, mesh: Mesh, manager: Manager) -> None:
        self.name, self.host, self.manager = manager.host, mesh.host(manager.host), manager
        self._mesh = mesh

    def do(self, command: str) -> str:
        return self.host.run(["sh", "-ec", command], timeout=120).stdout

    def task(self, **options: t.Any) -> dict[str, t.Any]:
        return self._mesh.task(self.name, **options)

    def shakes_hands(self) -> bool:
        return self._mesh.shakes_hands(self.name, by="registry")

    def gets_in(self, protocol: str, port: int, *, address: str | None = None) -> bool:
        """Whether the registry reaches a program, at the tunnel's address if none is given."""
        address = address or TUNNEL[self.name]
        return self._mesh.gets_in(self.name, address, protocol, port, by="registry")

    def outside(self) -> str:
        return self._mesh.outside(self.name)

    def rules(self) -> str:
        return self.do(self.manager.rules)


@pytest.fixture(scope="module", params=MANAGERS, ids=str)
def managed(request: pytest.FixtureRequest, mesh: Mesh) -> Managed:
    """A host with ufw, then one with firewalld."""
    manager: Manager = request.param
    managed = Managed(mesh, manager)
    result = managed.task(listen_port=PORT, fails=True)
    assert f"apt install {manager}" in result["msg"]
    managed.do(f"apt-get install -qy {' '.join(manager.packages)}")
    managed.do(manager.start)
    return managed


def test_a_manager_lets_a_handshake_in_after_a_reload_and_a_boot_too(managed: Managed) -> None:
    before = managed.rules()
    assert not managed.shakes_hands()
    predicted = managed.task(listen_port=PORT, dns=True, check_mode=True)
    assert managed.rules() == before
    result = managed.task(listen_port=PORT, dns=True)
    assert predicted["added"] == result["added"]
    assert managed.shakes_hands()
    for protocol in ("udp", "tcp"):
        assert managed.gets_in(protocol, 53)
        assert not managed.gets_in(protocol, 53, address=managed.outside())
    managed.do(managed.manager.reload)
    assert not managed.task(listen_port=PORT, dns=True)["changed"]
    assert managed.shakes_hands()
    restart(managed.host)
    assert not managed.task(listen_port=PORT, dns=True)["changed"]
    assert managed.shakes_hands()
    managed.task(state="absent")
    assert not managed.shakes_hands()


def test_a_manager_is_afterwards_as_it_was_before(managed: Managed) -> None:
    before = managed.rules()
    managed.task(listen_port=PORT, trust_interface=True)
    assert managed.shakes_hands()
    assert managed.gets_in("tcp", 80)
    assert managed.task(state="absent", backend=WHICHEVER)["changed"]
    assert managed.rules() == before
    assert managed.host.run(["ls", "/var/lib/wgsd-firewall"], check=False).returncode != 0
    assert not managed.task(state="absent")["changed"]
    assert not managed.task(state="absent", backend=WHICHEVER)["changed"]


def test_a_manager_keeps_an_opening_that_was_there_before(managed: Managed) -> None:
    managed.do(managed.manager.allow)
    opened = managed.rules()
    try:
        assert not managed.task(listen_port=PORT)["changed"]
        assert not managed.task(state="absent")["changed"]
        assert managed.rules() == opened
    finally:
        managed.do(managed.manager.withdraw)
