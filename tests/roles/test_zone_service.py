# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The zone for other servers, as the role configures it: transferred, catalogued and signed."""

from __future__ import annotations

import json
import typing as t

import dns.dnssec
import dns.rdata
import pytest

from tests.lab.inventory import ZONE
from tests.lab.systemd import SystemdLab
from tests.lab.topology import REGISTRY_ADDRESS
from tests.roles.site_playbook import Run, Site

pytestmark = pytest.mark.roles
KEY, CATALOG = "ns2.example.com.", "catalog.example.com."
KEY_FILE = f"/etc/wgsd/keys/{KEY}key"
VARIABLES = {
    "wgsd_listen": ["10.0.0.254", REGISTRY_ADDRESS],
    "wgsd_tsig_keys": {KEY: {}},
    "wgsd_secondaries": [{"address": "192.0.2.53", "key": KEY, "catalog": True}],
    "wgsd_catalog": CATALOG,
    "wgsd_dnssec": True,
}


class Registry:
    """A registry with a secondary and a signed zone, and a peer that stands for the secondary."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.first = self.run()
        assert self.first.status == 0, self.first.output
        secret = site.lab.host("registry").run(["cat", KEY_FILE]).stdout
        site.lab.host("alice").run(["sh", "-c", f"umask 77; cat > /root/key <<'E'\n{secret}\nE"])

    def run(self, *arguments: str) -> Run:
        """Run the playbook."""
        return self.site.run("--extra-vars", json.dumps(VARIABLES), *arguments)

    def dig(self, *question: str) -> str:
        """Ask at the public address, from outside the tunnel; its columns have one space each."""
        dig = ["dig", "+tries=1", "+noall", "+answer", "+comments", f"@{REGISTRY_ADDRESS}"]
        lines = self.site.lab.host("alice").run([*dig, *question], check=False).stdout.splitlines()
        return "".join(f"{' '.join(line.split())}\n" for line in lines)


@pytest.fixture(scope="module", params=["trixie", pytest.param("bookworm", marks=pytest.mark.long)])
def registry(request: pytest.FixtureRequest) -> t.Iterator[Registry]:
    """A registry whose zone is for other servers too."""
    with SystemdLab(prefix="roles-zone", hosts=("registry", "alice"), suite=request.param) as lab:
        yield Registry(Site(lab))


def test_the_secondary_transfers_the_zone_with_its_key_and_nobody_else_does(
    registry: Registry,
) -> None:
    transferred = registry.dig("-k", "/root/key", ZONE, "AXFR")
    assert transferred.count(" IN SOA ") == 2
    assert " IN SRV " in transferred
    assert " IN SOA " not in registry.dig(ZONE, "AXFR")
    assert "REFUSED" in registry.dig(ZONE, "SOA")


def test_the_secondary_finds_the_zone_in_the_catalog(registry: Registry) -> None:
    catalog = registry.dig("-k", "/root/key", CATALOG, "AXFR")
    assert f" IN PTR {ZONE}\n" in catalog


def test_the_zone_is_signed_and_the_run_tells_its_ds(registry: Registry) -> None:
    answer = registry.dig("-k", "/root/key", "+dnssec", ZONE, "SOA")
    assert f" IN RRSIG SOA 13 {ZONE.count('.')} " in answer
    keys = registry.dig("-k", "/root/key", ZONE, "DNSKEY").splitlines()
    (key,) = (line.split(" IN DNSKEY ")[1] for line in keys if " IN DNSKEY " in line)
    ds = dns.dnssec.make_ds(ZONE, dns.rdata.from_text("IN", "DNSKEY", key), "SHA256")
    assert f'"{ZONE} IN DS {ds}"' in registry.first.output


def test_a_second_run_changes_nothing(registry: Registry) -> None:
    run = registry.run()
    assert run.status == 0, run.output
    assert run.count("changed") == {"registry": 0, "alice": 0}, run.output


@pytest.mark.long
def test_check_mode_finds_nothing_to_do_then(registry: Registry) -> None:
    foretold = registry.run("--check", "--diff")
    assert foretold.status == 0, foretold.output
    assert foretold.count("changed") == {"registry": 0, "alice": 0}
