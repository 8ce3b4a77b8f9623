# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What roles do beside the mesh: own and shared keys, marks, MTU, and a host that leaves again."""

from __future__ import annotations

import base64
import json
import re
import typing as t

import pytest

from tests.lab.systemd import SystemdLab
from tests.roles.site_playbook import Run, Site, pinging
from tests.roles.test_site import NOTHING, wait_for_ping

pytestmark = [pytest.mark.roles, pytest.mark.long]

# As WireGuard has it: some bits of a private key are always the same (RFC 7748 section 5).
PRIVATE_KEY = base64.b64encode(bytes([0x40] * 32)).decode()
#: What stays of a run: packages, and what they and systemd keep for themselves.
_TREE = r"""
find /etc /usr/local /run/wgsd* /var/lib/wgsd* -printf '%p %y %m %u %s\n' 2>/dev/null | sort
ip -oneline link; ip rule; ip route show table all | sort; nft list ruleset
getent passwd; getent group
systemctl list-unit-files --no-legend --state=enabled
"""


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    with SystemdLab(prefix="options") as lab:
        yield Site(lab)


def with_options(**options: object) -> list[str]:
    return ["--extra-vars", json.dumps(options)]


def test_own_key_mtu_and_mark_are_on_the_running_interface(site: Site) -> None:
    site.build()
    alice = site.lab.host("alice")
    alice.run(["sh", "-c", "systemctl stop wgsd-client wg-quick@wg0; rm /etc/wireguard/wg0.conf"])
    own = f"{{{{ '{PRIVATE_KEY}' if inventory_hostname == 'alice' else omit }}}}"
    options = with_options(wgsd_private_key=own, wgsd_mtu=1380, wgsd_fwmark="0x51")
    run = site.run(*options)
    assert run.status == 0, run.output
    assert PRIVATE_KEY not in run.output
    assert alice.run(["wg", "show", "wg0", "private-key"]).stdout.strip() == PRIVATE_KEY
    for name in ("alice", "bob"):
        shown = site.lab.host(name).run(["sh", "-c", "wg show wg0 fwmark; ip link show wg0"]).stdout
        assert shown.startswith("0x51\n")
        assert " mtu 1380 " in shown
    wait_for_ping(site, "alice", "10.0.0.2")
    assert site.build(*options).count("changed") == NOTHING


def test_pairs_get_keys_of_their_own_and_live_tunnels_lose_no_packet(site: Site) -> None:
    wait_for_ping(site, "alice", "10.0.0.2")
    options = with_options(wgsd_preshared_keys=True)
    with pinging(site.lab.host("alice"), "10.0.0.2") as pings:
        run = site.build(*options)
    assert pings.lost == 0, pings.output
    assert all(run.count("changed").values()), run.output
    keys = {name: preshared_keys(site, name) for name in site.lab.hosts}
    publics = {name: public_key(site, name) for name in site.lab.hosts}
    shared = {
        frozenset((one, other)): keys[one][publics[other]]
        for one in keys
        for other in keys
        if one != other
    }
    assert len(set(shared.values())) == 3
    assert "(none)" not in shared.values()
    for one in keys:
        for other in keys:
            if one != other:
                assert keys[one][publics[other]] == keys[other][publics[one]]
    assert not any(secret in run.output for secret in shared.values())
    # They count from the next handshake on.
    for name in ("alice", "bob"):
        site.lab.host(name).run(["systemctl", "restart", "wg-quick@wg0"])
    wait_for_ping(site, "alice", "10.0.0.2")
    assert site.build(*options).count("changed") == NOTHING


def test_a_run_that_is_limited_to_one_host_gives_no_pair_a_key_on_one_side_only(site: Site) -> None:
    before = {name: preshared_keys(site, name) for name in site.lab.hosts}
    run = site.run(*with_options(wgsd_preshared_keys=True), "--limit", "alice,registry")
    assert run.status == 0, run.output
    assert {name: preshared_keys(site, name) for name in site.lab.hosts} == before


def test_a_host_that_leaves_is_as_it_was_and_the_others_forget_it(site: Site) -> None:
    bob = site.lab.host("bob")
    # Packages stay, so they are there before.
    site.build()
    assert remove(site, "bob").status == 0
    before = bob.run(["sh", "-c", _TREE]).stdout
    site.build()
    wait_for_ping(site, "alice", "10.0.0.2")
    bobs = public_key(site, "bob")
    # As a rotation leaves it that has not come to its end.
    bob.run(["install", "-m", "600", "/dev/null", "/etc/wireguard/wg0.key-next"])
    foreseen = remove(site, "bob", "--check")
    run = remove(site, "bob")
    assert run.status == 0, run.output
    assert foreseen.recap == run.recap, foreseen.output + run.output
    assert bob.run(["sh", "-c", _TREE]).stdout == before
    for name in ("alice", "registry"):
        assert bobs not in site.lab.host(name).run(["wg", "show", "wg0", "peers"]).stdout
    again = remove(site, "bob")
    assert again.count("changed") == NOTHING, again.output


def test_a_host_that_has_left_may_have_another_interface_of_that_name(site: Site) -> None:
    bob = site.lab.host("bob")
    assert remove(site, "bob").status == 0
    own = f"[Interface]\nPrivateKey = {PRIVATE_KEY}\nAddress = 192.0.2.1/32\n"
    bob.run(["sh", "-c", "cat > /etc/wireguard/wg0.conf"], stdin=own)
    bob.run(["systemctl", "enable", "--now", "wg-quick@wg0"])
    before = bob.run(["sh", "-c", _TREE]).stdout
    run = remove(site, "bob")
    assert run.status == 0, run.output
    assert run.count("changed") == NOTHING, run.output
    assert bob.run(["sh", "-c", _TREE]).stdout == before
    assert bob.run(["systemctl", "is-active", "wg-quick@wg0"]).stdout == "active\n"


def remove(site: Site, host: str, *arguments: str) -> Run:
    """Run the playbook that takes a host out of the mesh."""
    return site.run("-e", f"wgsd_remove={host}", *arguments, playbook="wgsd.mesh.remove")


def preshared_keys(site: Site, host: str) -> dict[str, str]:
    """Return the preshared keys on a host's device, by public key."""
    shown = site.lab.host(host).run(["wg", "show", "wg0", "preshared-keys"]).stdout
    return dict(re.findall(r"^(\S+)\t(\S+)$", shown, re.MULTILINE))


def public_key(site: Site, host: str) -> str:
    """Return the public key of a host's interface."""
    return site.lab.host(host).run(["wg", "show", "wg0", "public-key"]).stdout.strip()
