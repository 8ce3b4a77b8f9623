# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory wgsd on a controller outside of the mesh, of a real responder."""

from __future__ import annotations

import json
import typing as t

import pytest

from .bare import BareLab
from .controller import KEY, NAME, PUBLIC6, WRONG, registry_for_controllers
from .responder import ALICE, BOB, CAROL, PUBLIC

pytestmark = pytest.mark.lab

NAMES = {str(ALICE): "alice", str(CAROL): "carol"}


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab("wgiv") as built:
        yield built


def hostvars(listed: str) -> dict[str, t.Any]:
    """The hosts and their variables; ``--list`` marks all text that must not become a template."""
    whole = json.loads(listed, object_hook=lambda pairs: pairs.get("__ansible_unsafe", pairs))
    return dict(whole["_meta"]["hostvars"])


def test_all_members_are_hosts_where_the_key_lets_the_zone_be_transferred(lab, tmp_path):
    access = {"allow_transfer": ["tunnel", f"key {KEY['name']}"]}
    with registry_for_controllers(lab, tmp_path, names=NAMES, **access) as (bed, controller):
        options = {"server": ["203.0.113.5", NAME], "timeout": 0.5, "tsig": KEY}
        code, listed = controller.inventory("--list", **options)
        assert code == 0, listed
        hosts = hostvars(listed)
        assert {name: one["ansible_host"] for name, one in hosts.items()} == {
            "alice": "10.0.0.1",
            BOB.unpadded_label: "10.0.0.2",
            "carol": "10.0.0.3",
        }
        assert hosts["alice"]["wgsd_peer"]["endpoint"] == "198.51.100.1:41414"
        assert hosts["alice"]["wgsd_peer"]["allowed_ips"] == ["10.0.0.1/32", "10.1.0.0/24"]
        assert hosts["carol"]["wgsd_peer"]["endpoint"] is None
        # Once the registry has seen Carol.
        bed.set(CAROL, "endpoint", "198.51.100.3:41415")
        bed.until(lambda: bed.port_of(CAROL) == 41415)
        groups = {"direct": "wgsd_peer.endpoint is not none"}
        code, graph = controller.inventory("--graph", "direct", groups=groups, **options)
        assert code == 0, graph
        assert graph.split() == ["@direct:", "|--alice", "|--carol", f"|--{BOB.unpadded_label}"]


def test_the_key_and_the_address_decide_who_is_told(lab, tmp_path):
    with registry_for_controllers(lab, tmp_path, names=NAMES) as (_bed, controller):
        for server, more in ((PUBLIC, {}), (f"[{PUBLIC6}]:53", {"tcp": True})):
            code, listed = controller.inventory("--list", server=server, tsig=KEY, **more)
            assert code == 0, listed
            # Without a transfer there is nothing of Carol, who has no endpoint.
            assert set(hostvars(listed)) == {"alice", BOB.unpadded_label}
        code, said = controller.inventory("--list", server=PUBLIC, tsig=WRONG)
        assert code != 0
        assert "check the key on both sides" in " ".join(said.split())
        code, said = controller.inventory("--list", server=PUBLIC)
        assert code != 0
        assert "allow_query" in " ".join(said.split())
