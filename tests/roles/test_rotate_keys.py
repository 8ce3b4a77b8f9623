# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""rotate_keys.yml on real hosts: what it costs under a running ping, and what it refuses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.lab.wireguard import generate_key
from tests.roles.site_playbook import PROJECT, RATE, Run, Site, pinging
from tests.roles.test_site import NOTHING, wait_for_ping

pytestmark = [pytest.mark.roles, pytest.mark.long]

PLAYBOOK = "wgsd.mesh.rotate_keys"
WAYS = (("alice", "10.0.0.2"), ("bob", "10.0.0.1"), ("alice", "10.0.0.254"))


def rotate(site: Site, hosts: str, *arguments: str) -> Run:
    return site.run("--extra-vars", f"wgsd_rotate={hosts}", *arguments, playbook=PLAYBOOK)


def keys(site: Site) -> dict[str, str]:
    """The public key that each host's interface runs with."""
    return {
        name: host.run(["wg", "show", "wg0", "public-key"]).stdout.strip()
        for name, host in site.lab.hosts.items()
    }


def secrets(site: Site) -> set[str]:
    """The private keys of all hosts."""
    shown = (host.run(["wg", "show", "wg0", "private-key"]) for host in site.lab.hosts.values())
    return {done.stdout.strip() for done in shown}


@contextlib.contextmanager
def pinging_all_ways(site: Site) -> t.Iterator[dict[str, int]]:
    """Ping on all ways; how many packets each has lost is there at the end."""
    for way in WAYS:
        wait_for_ping(site, *way)
    lost: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        pings = {
            f"{host} {address}": stack.enter_context(pinging(site.lab.host(host), address))
            for host, address in WAYS
        }
        yield lost
    lost.update({way: ping.lost for way, ping in pings.items()})
    sys.stdout.write(f"lost packets, {RATE} a second: {lost}\n")


def check_settled(site: Site, old: dict[str, str], changed: set[str]) -> None:
    """All know the keys of all, files and devices; nobody has any other; a rerun does nothing."""
    now = keys(site)
    assert {name for name in now if now[name] != old[name]} == changed
    for name, host in site.lab.hosts.items():
        others = {key for other, key in now.items() if other != name}
        assert set(host.run(["wg", "show", "wg0", "peers"]).stdout.split()) == others
        conf = host.run(["cat", "/etc/wireguard/wg0.conf"]).stdout
        assert set(re.findall(r"PublicKey = (\S+)", conf)) == others
        assert host.run(["ls", "/etc/wireguard"]).stdout.split() == ["wg0.conf"]
        units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "wgsd-takeover-*"]
        for _try in range(20):
            if not host.run(units).stdout:
                break
            host.run(["sleep", "0.5"])
        assert not host.run(units).stdout
    again = site.run()
    assert again.status == 0, again.output
    assert again.count("changed") == NOTHING, again.output


def test_one_host_replaces_its_key_and_no_other_tunnel_notices(mesh: Site) -> None:
    old, shown = keys(mesh), secrets(mesh)
    old_file = mesh.lab.host("alice").run(["cat", "/etc/wireguard/wg0.conf"]).stdout
    with pinging_all_ways(mesh) as lost:
        run = rotate(mesh, "alice", "-vvv")
    assert run.status == 0, run.output
    assert max(lost.values()) <= RATE
    check_settled(mesh, old, {"alice"})
    for secret in shown | secrets(mesh):
        assert secret not in run.output
    names = mesh.lab.host("bob").run(["wgsd", "peers", "--dns=10.0.0.254", "--zone=example.com"])
    assert re.search(rf"alice +{re.escape(keys(mesh)['alice'])}", names.stdout)
    # Whoever has the old key has nothing.
    old_key = re.search(r"PrivateKey = (\S+)", old_file)[1]
    thief = """
wg show wg0 private-key > /run/now; echo "$1" > /run/old; wg set wg0 private-key /run/old
! ping -c 3 -i 0.5 -W 1 10.0.0.254; said=$?
wg set wg0 private-key /run/now; rm /run/now /run/old; exit $said
"""
    alice = mesh.lab.host("alice")
    alice.run(["sh", "-c", thief, "sh", old_key])
    wait_for_ping(mesh, "alice", "10.0.0.254")
    wait_for_ping(mesh, "alice", "10.0.0.2")


def test_the_registry_replaces_its_key_and_direct_tunnels_lose_nothing(mesh: Site) -> None:
    old = keys(mesh)
    with pinging_all_ways(mesh) as lost:
        run = rotate(mesh, "registry")
    assert run.status == 0, run.output
    assert lost["alice 10.0.0.2"] == lost["bob 10.0.0.1"] == 0
    assert lost["alice 10.0.0.254"] <= RATE
    check_settled(mesh, old, {"registry"})


def test_all_hosts_replace_their_keys_in_one_run(mesh: Site) -> None:
    old = keys(mesh)
    with pinging_all_ways(mesh) as lost:
        run = rotate(mesh, "all")
    assert run.status == 0, run.output
    # Each tunnel has two ends.
    assert max(lost.values()) <= 2 * RATE
    check_settled(mesh, old, set(old))


def test_a_host_is_given_a_key_of_the_operator_s_choice(mesh: Site) -> None:
    old = keys(mesh)
    secret = generate_key()
    variables = mesh.lab.inventory.parent / "host_vars" / "bob.yml"
    variables.parent.mkdir(exist_ok=True)
    variables.write_text(f"wgsd_private_key: {secret}\n", encoding="utf-8")
    try:
        # The second run has nothing to replace.
        for _run in range(2):
            run = rotate(mesh, "bob", "-vvv")
            assert run.status == 0, run.output
            assert secret not in run.output
    finally:
        variables.unlink()
    assert secret in secrets(mesh)
    check_settled(mesh, old, {"bob"})


def share_a_secret(site: Site, public_keys: dict[str, str]) -> str:
    """Give Alice and Bob a preshared key by hand, and return it."""
    preshared = generate_key()
    script = """
echo "$2" > /run/psk; wg set wg0 peer "$1" preshared-key /run/psk; rm /run/psk
sed -i -e '/^PresharedKey/d' -e "s|^PublicKey = $1|&\\nPresharedKey = $2|" /etc/wireguard/wg0.conf
"""
    for name, other in (("alice", "bob"), ("bob", "alice")):
        site.lab.host(name).run(["sh", "-c", script, "sh", public_keys[other], preshared])
    return preshared


def test_preshared_keys_stay_with_the_peers_that_have_them(mesh: Site) -> None:
    old = keys(mesh)
    preshared = share_a_secret(mesh, old)
    with pinging_all_ways(mesh) as lost:
        run = rotate(mesh, "alice")
    assert run.status == 0, run.output
    assert max(lost.values()) <= RATE
    shown = mesh.lab.host("bob").run(["wg", "show", "wg0", "preshared-keys"]).stdout
    assert f"{keys(mesh)['alice']}\t{preshared}" in shown
    check_settled(mesh, old, {"alice"})


def test_nothing_is_done_if_nobody_is_named(mesh: Site) -> None:
    before = mesh.state()
    run = mesh.run(playbook=PLAYBOOK)
    assert run.status != 0
    assert "-e wgsd_rotate=all for the whole mesh" in run.output.replace("\n", " ")
    assert mesh.state() == before


def test_check_mode_changes_nothing(mesh: Site) -> None:
    before = mesh.state()
    run = rotate(mesh, "all", "--check")
    assert run.status == 0, run.output
    assert all(run.count("changed").values()), run.output
    assert mesh.state() == before


def test_a_host_that_cannot_be_reached_stops_it_before_anybody_has_switched(mesh: Site) -> None:
    old = keys(mesh)
    bob = mesh.lab.host("bob")
    # What the two share is not to be lost with the key that Bob knows.
    preshared = share_a_secret(mesh, old)
    bob.kill()
    try:
        run = rotate(mesh, "alice")
        assert run.status != 0
        assert "bob cannot be reached or is not in this run" in run.output.replace("\n", " ")
        alice = mesh.lab.host("alice")
        assert alice.run(["wg", "show", "wg0", "public-key"]).stdout.strip() == old["alice"]
        left = rotate(mesh, "alice", "--extra-vars", "wgsd_leave_behind=true")
        assert left.count("failed") == NOTHING, left.output
        assert alice.run(["wg", "show", "wg0", "public-key"]).stdout.strip() != old["alice"]
    finally:
        bob.start()
    assert mesh.run().status == 0
    # Alice, who has had no answer by her new key, may have given Bob up a moment ago: she is silent
    # until his router has forgotten her, and they meet at the next full minute of theirs.
    wait_for_ping(mesh, "bob", "10.0.0.1", patience=120)
    shown = bob.run(["wg", "show", "wg0", "preshared-keys"]).stdout
    assert f"{keys(mesh)['alice']}\t{preshared}" in shown
    check_settled(mesh, old, {"alice"})


def break_off(site: Site, hosts: str, at: str) -> None:
    """Rotate, and lose the controller when it says *at*."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--inventory"]
    command += [str(site.lab.inventory), "--extra-vars", f"wgsd_rotate={hosts}", PLAYBOOK]
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(at):
                break
        os.killpg(process.pid, signal.SIGKILL)
    assert said[-1].startswith(at), "".join(said)


def test_a_run_that_broke_off_after_the_switch_is_settled_by_one_without_the_host(
    mesh: Site,
) -> None:
    old = keys(mesh)
    break_off(mesh, "alice", "TASK [Remember the public key]")
    assert keys(mesh)["alice"] != old["alice"]
    wait_for_ping(mesh, "alice", "10.0.0.254")
    with pinging_all_ways(mesh) as lost:
        run = mesh.run("--limit", "bob")
        foretold = mesh.run("--limit", "registry", "--check")
        second = mesh.run("--limit", "registry")
    assert run.status == second.status == 0, run.output + second.output
    assert run.count("changed") == {"bob": 1}, run.output
    assert foretold.count("changed")["registry"] > 0, foretold.output
    assert set(lost.values()) == {0}
    check_settled(mesh, old, {"alice"})


def test_the_key_of_a_host_that_is_lost_while_it_switches_is_not_put_back(mesh: Site) -> None:
    old = keys(mesh)
    alice = mesh.lab.host("alice")
    # What the host does goes on, and nobody hears of it.
    script = """
until [ "$(wg show wg0 public-key)" != "$1" ]; do :; done
systemctl stop wgsd-lab-ssh.socket 'wgsd-lab-ssh@*'
"""
    with pinging_all_ways(mesh) as lost:
        watch = alice.popen(["sh", "-c", script, "sh", old["alice"]])
        run = rotate(mesh, "alice")
        assert watch.wait(timeout=30) == 0
    alice.run(["systemctl", "start", "wgsd-lab-ssh.socket"])
    assert run.count("unreachable")["alice"] > 0, run.output
    assert run.count("failed") == NOTHING, run.output
    assert max(lost.values()) <= RATE
    now = keys(mesh)
    assert now["alice"] != old["alice"]
    for name in ("bob", "registry"):
        conf = mesh.lab.host(name).run(["cat", "/etc/wireguard/wg0.conf"]).stdout
        assert f"PublicKey = {now['alice']}\n" in conf
    finished = rotate(mesh, "bob")
    assert finished.status == 0, finished.output
    check_settled(mesh, old, {"alice", "bob"})


def test_a_run_that_broke_off_is_finished_by_the_next(mesh: Site) -> None:
    """Alice has the key in her file and not on her device, and Bob has never heard of it."""
    old = keys(mesh)
    alice = mesh.lab.host("alice")
    script = """
umask 077; cd /etc/wireguard; wg genkey > wg0.key-next
sed -i "s|^PrivateKey = .*|PrivateKey = $(cat wg0.key-next)|" wg0.conf; wg pubkey < wg0.key-next
"""
    expected = alice.run(["sh", "-c", script]).stdout.strip()
    with pinging_all_ways(mesh) as lost:
        run = rotate(mesh, "alice")
    assert run.status == 0, run.output
    assert max(lost.values()) <= RATE
    assert keys(mesh)["alice"] == expected
    check_settled(mesh, old, {"alice"})
