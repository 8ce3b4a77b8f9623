# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""site.yml on real hosts, when all goes well and when something is wrong.

The tests share one lab: first those whose runs come to nothing, then that of the runs that build
the mesh, then those that leave the mesh as they find it. Check mode of whole meshes is molecule's.
"""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.lab.systemd import SystemdLab
from tests.roles.site_playbook import Run, Site, pinging

pytestmark = pytest.mark.roles
NOTHING = {"registry": 0, "alice": 0, "bob": 0}


@pytest.fixture(scope="module")
def hosts() -> t.Iterator[Site]:
    """Hosts on which the playbook has not run to its end, until there is `mesh`."""
    with SystemdLab(prefix="roles-site") as lab:
        yield Site(lab)


@pytest.fixture(scope="module")
def first_runs(hosts: Site) -> tuple[Run, Run]:
    """The runs that build the mesh: one in which Bob is down, and one in which he is there."""
    bob = hosts.lab.host("bob")
    bob.kill()
    try:
        without_bob = hosts.run()
    finally:
        bob.start()
    return without_bob, hosts.build()


@pytest.fixture(scope="module")
def mesh(hosts: Site, first_runs: tuple[Run, Run]) -> Site:
    """A finished mesh."""
    return hosts


def test_check_mode_before_the_first_run_foretells_changes_and_makes_none(hosts: Site) -> None:
    before = hosts.state()
    run = hosts.run("--check")
    assert run.status == 0, run.output
    assert all(count > 0 for count in run.count("changed").values()), run.output
    assert hosts.state() == before


def test_two_hosts_with_one_tunnel_address_are_refused_before_anything_is_changed(
    hosts: Site,
) -> None:
    before = hosts.state()
    run = hosts.run("--extra-vars", "wgsd_address=10.0.0.1/24")
    assert run.status != 0
    assert "both claim 10.0.0.1/32" in run.output
    assert hosts.state() == before


def test_a_new_host_without_its_registry_in_the_run_is_told_what_to_do(hosts: Site) -> None:
    run = hosts.run("--limit", "alice")
    assert run.status != 0
    assert "--limit alice,wgsd_registry" in run.output


def test_a_rerun_finishes_what_a_dead_host_held_up(mesh: Site, first_runs: tuple[Run, Run]) -> None:
    first = first_runs[0]
    assert first.count("unreachable") == {"registry": 0, "alice": 0, "bob": 1}, first.output
    assert first.count("failed") == NOTHING, first.output
    wait_for_ping(mesh, "alice", "10.0.0.2")
    wait_for_ping(mesh, "bob", "10.0.0.1")


def test_a_second_run_changes_nothing_and_costs_a_tunnel_no_packet(mesh: Site) -> None:
    wait_for_ping(mesh, "alice", "10.0.0.2")
    before = mesh.state()
    with pinging(mesh.lab.host("alice"), "10.0.0.2") as pings:
        run = mesh.run()
    assert run.status == 0, run.output
    assert pings.lost == 0, pings.output
    assert run.count("changed") == NOTHING, run.output
    assert mesh.state() == before


def test_a_package_source_that_is_broken_holds_nothing_up_where_all_is_installed(
    mesh: Site,
) -> None:
    alice = mesh.lab.host("alice")
    source = "/etc/apt/sources.list.d/broken.list"
    stamps = "/var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp"
    alice.run(["sh", "-c", f"echo 'deb file:/nowhere ./' > {source}"])
    alice.run(["sh", "-c", f"touch --no-create --date='2 days ago' {stamps}"])
    try:
        for mode in ((), ("--check",)):
            run = mesh.run("--limit", "alice,registry", *mode)
            assert run.status == 0, run.output
            assert set(run.count("changed").values()) == {0}, run.output
    finally:
        alice.run(["rm", source])


@pytest.mark.long
def test_a_package_that_is_missing_is_installed_by_lists_of_today(mesh: Site) -> None:
    alice = mesh.lab.host("alice")
    alice.run(["dpkg", "--purge", "--force-depends", "python3-pyroute2"])
    alice.run(["sh", "-c", "rm -r /var/lib/apt/lists/*"])
    run = mesh.run("--limit", "alice,registry")
    assert run.status == 0, run.output
    assert run.count("changed") == {"registry": 0, "alice": 1}, run.output
    alice.run(["dpkg", "--status", "python3-pyroute2"])


@pytest.mark.long
def test_comments_for_people_do_not_stop_a_registry(mesh: Site) -> None:
    registry = mesh.lab.host("registry")
    path = "/etc/wireguard/wg0.conf"
    before = registry.run(["cat", path]).stdout
    names = ("Bob's phone", "printer", "Printer")
    made = ["sh", "-c", "for name in 1 2 3; do wg genkey | wg pubkey; done"]
    keys = registry.run(made).stdout.split()
    sections = "".join(
        f"\n[Peer]\n# Name = {name}\nPublicKey = {key}\nAllowedIPs = 10.0.0.{number}/32\n"
        for number, (name, key) in enumerate(zip(names, keys), start=100)
    )
    registry.run(["sh", "-c", f"cat > {path}"], stdin=before + sections)
    try:
        run = mesh.run("--limit", "registry")
        assert run.status == 0, run.output
        assert run.output.count("goes without its name") == 2, run.output
        assert registry.run(["cat", path]).stdout == before + sections
        served = registry.run(["cat", "/etc/wgsd/responder.yml"]).stdout
        assert [name for name in names if f'"{name}"' in served] == ["Printer"]
        again = mesh.run("--limit", "registry")
        assert again.count("changed") == {"registry": 0}, again.output
    finally:
        registry.run(["sh", "-c", f"cat > {path}"], stdin=before)
        for key in keys:
            registry.run(["wg", "set", "wg0", "peer", key, "remove"])
        mesh.build()


def test_the_client_does_its_work_within_its_sandbox(mesh: Site) -> None:
    alice = mesh.lab.host("alice")
    wait_for_ping(mesh, "alice", "10.0.0.2")
    script = "until wgsd status --json | grep -q '\"answers_probes\": true'; do sleep 1; done"
    alice.run(["sh", "-c", script], timeout=30)
    journal = alice.run(["journalctl", "--output=cat", "--unit=wgsd-client"]).stdout
    assert "-> direct: " in journal
    for complaint in ("not permitted", "ermission denied", "unnoticed", "will know less"):
        assert complaint not in journal
    (status,) = json.loads(alice.run(["wgsd", "status", "--json"]).stdout)
    assert status["agent"]
    shown = ["systemctl", "show", "wgsd-client", "--property=StatusText,WatchdogUSec,NRestarts"]
    text = alice.run(shown).stdout
    assert "StatusText=1 of 1 peers direct, follows 10.0.0.254:53" in text
    assert "WatchdogUSec=1min" in text
    assert "NRestarts=0" in text


def test_a_run_limited_to_one_host_loses_nothing_of_the_others(mesh: Site) -> None:
    # The one that knows all; a peer alone is in test_keys.
    before = mesh.state()
    run = mesh.run("--limit", "registry")
    assert run.status == 0, run.output
    assert run.count("changed") == {"registry": 0}, run.output
    assert mesh.state() == before


def test_a_host_that_is_down_stays_configured_on_the_others(mesh: Site) -> None:
    before = mesh.state()
    bob = mesh.lab.host("bob")
    bob.kill()
    try:
        run = mesh.run()
        assert run.count("unreachable") == {"registry": 0, "alice": 0, "bob": 1}, run.output
        assert run.count("failed") == NOTHING
        assert run.count("changed") == NOTHING, run.output
    finally:
        bob.start()
    wait_for_ping(mesh, "bob", "10.0.0.1")
    foretold = mesh.run("--check")
    assert foretold.status == 0, foretold.output
    assert foretold.count("changed") == NOTHING, foretold.output
    assert mesh.state() == before


def test_a_reinstalled_host_takes_the_place_of_its_old_key(mesh: Site) -> None:
    alice = mesh.lab.host("alice")
    alice.run(["sh", "-c", "systemctl stop wgsd-client wg-quick@wg0; rm /etc/wireguard/wg0.conf"])
    mesh.build()
    wait_for_ping(mesh, "alice", "10.0.0.2")
    for host in mesh.lab.hosts.values():
        peers = host.run(["wg", "show", "wg0", "peers"]).stdout.splitlines()
        assert len(peers) == 2, f"{host.name} has the peers {peers}"


def test_what_a_registry_has_missed_takes_no_key_from_anybody(mesh: Site) -> None:
    """The registry was down, as it were, when Alice got the key that she has now."""
    wait_for_ping(mesh, "bob", "10.0.0.1")
    before = mesh.state()["bob"]
    now = mesh.lab.host("alice").run(["wg", "show", "wg0", "public-key"]).stdout.strip()
    script = """
past=$(wg genkey | wg pubkey); sed -i "s|$1|$past|" /etc/wireguard/wg0.conf
wg set wg0 peer "$1" remove; wg set wg0 peer "$past" allowed-ips 10.0.0.1/32
"""
    mesh.lab.host("registry").run(["sh", "-c", script, "sh", now])
    with pinging(mesh.lab.host("bob"), "10.0.0.1") as pings:
        run = mesh.run("--limit", "registry,bob")
    assert run.status == 0, run.output
    assert pings.lost == 0, pings.output
    assert run.count("changed")["bob"] == 0, run.output
    assert mesh.state()["bob"] == before
    # A run with Alice in it tells the registry.
    mesh.build()
    wait_for_ping(mesh, "alice", "10.0.0.254")


def test_hosts_that_are_added_together_are_all_let_in(mesh: Site) -> None:
    for name in ("alice", "bob"):
        script = "systemctl stop wgsd-client wg-quick@wg0; rm /etc/wireguard/wg0.conf"
        mesh.lab.host(name).run(["sh", "-c", script])
    run = mesh.run("-e", "wgsd_add=alice,bob", playbook="wgsd.mesh.add")
    assert run.status == 0, run.output
    assert all(run.count("changed").values()), run.output
    wait_for_ping(mesh, "alice", "10.0.0.2")
    assert mesh.build().count("changed") == NOTHING


def test_a_host_that_boots_again_is_reached_directly_at_once(mesh: Site) -> None:
    wait_for_ping(mesh, "alice", "10.0.0.2")
    bob = mesh.lab.host("bob")
    bob.kill()
    bob.start()
    # Far less than it takes Alice to notice that her old session with him is dead.
    wait_for_ping(mesh, "bob", "10.0.0.1", patience=10)


def wait_for_ping(site: Site, host: str, address: str, patience: float = 30) -> None:
    """Return once an address of the tunnel answers; fail after *patience* seconds."""
    script = f"until ping -c 1 -W 1 {address}; do :; done"
    site.lab.host(host).run(["sh", "-c", script], timeout=patience)
