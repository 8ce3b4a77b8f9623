# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's pure parts: the plan of addresses, the inventory, the list of packages, image keys."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest
import yaml

from tests.lab import Nat, Site, image, inventory, machine, topology
from tests.lab.errors import LabError
from tests.lab.ssh import Access
from tests.lab.systemd import Description, SystemdLab

pytestmark = pytest.mark.unit


def test_every_node_of_the_largest_plan_has_addresses_of_its_own() -> None:
    plans = topology.plan([Site(f"site{number}") for number in range(topology.MAX_SITES)])
    outside = [plan.wan_address for plan in plans]
    outside += [plan.public_address(host) for plan in plans for host in plan.hosts]
    assert len(set(outside)) == 2 * topology.MAX_SITES
    assert topology.REGISTRY_ADDRESS not in outside


def test_a_host_gets_200_times_other_addresses_of_its_network() -> None:
    for site in topology.plan([Site(f"site{number}") for number in range(topology.MAX_SITES)]):
        numbered = [site.attachment(number) for number in range(200)]
        for addresses, gateway in (
            ([attachment.ipv4 for attachment in numbered], f"{topology.LAN_GATEWAY}/24"),
            ([attachment.ipv6 for attachment in numbered], f"{site.lan6}:1/64"),
        ):
            assert len({*addresses, gateway}) == 201
            assert len({ip_interface(text).network for text in (*addresses, gateway)}) == 1


def test_more_sites_than_addresses_are_refused() -> None:
    with pytest.raises(ValueError, match="25 sites"):
        topology.plan([Site(f"site{number}") for number in range(25)])


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two nodes of one name: registry"):
        topology.plan([Site("registry")])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"kind": "round"}, "unknown kind of NAT 'round'"), ({"loss": 101}, "from 0 to 100")],
)
def test_a_nat_that_cannot_be_is_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Nat(**arguments)  # type: ignore[arg-type]


def test_the_inventory_is_yaml_with_the_groups_and_variables_of_a_first_mesh() -> None:
    access = Access("demo", Path("/some where/state"))
    data = inventory.inventory(access, topology.plan([Site("alice"), Site("bob")]))
    read = yaml.safe_load(inventory.render(data))
    assert read == data
    groups = read["all"]["children"]
    assert groups["wgsd_registry"]["hosts"] == {
        "registry": {"wgsd_endpoint": "203.0.113.4:51820", "wgsd_address": "10.0.0.254/24"}
    }
    assert groups["wgsd_peers"]["hosts"] == {
        "alice": {"wgsd_address": "10.0.0.1/24"},
        "bob": {"wgsd_address": "10.0.0.2/24"},
    }
    assert read["all"]["vars"]["wgsd_zone"] == "example.com."
    assert read["all"]["vars"]["ansible_ssh_common_args"] == '-F "/some where/state/ssh_config"'


def test_hosts_have_a_router_each_unless_sites_say_which_share_one(tmp_path: Path) -> None:
    shared = (Site("home", Nat(hairpin=True), hosts=("alice", "amy")), Site("bob", delay=0.025))
    alone = SystemdLab("one", ["registry", "alice", "amy"], state=tmp_path)
    together = SystemdLab("two", sites=shared, state=tmp_path)
    assert alone.description.sites == (Site("alice"), Site("amy"))
    assert together.description.sites == shared


def test_a_lab_of_shared_routers_is_described_to_other_processes_as_it_is() -> None:
    sites = (
        Site("home", Nat(hairpin=True), hosts=("alice", "amy")),
        Site("bob"),
        Site("cafe", hosts=()),
    )
    described = Description("bookworm", sites)
    assert Description.from_json(described.to_json()) == described


def test_two_labs_have_different_folders_for_ansible_s_connections() -> None:
    folders = {Access(prefix, Path("/state")).control_dir for prefix in ("one", "two")}
    assert len(folders) == 2


def test_packages_whose_command_or_file_is_missing_are_named() -> None:
    listing = (
        "# a comment\nbash  # needs: bash\nfiles  # needs: /etc/passwd\n"
        "nonsense  # needs: no-such-command\nnothing  # needs: /no/such/file\n"
    )
    assert machine.missing_packages(listing) == ["nonsense", "nothing"]


def test_the_real_list_of_packages_is_understood_line_by_line() -> None:
    listing = (Path(machine.__file__).with_name("apt-packages.txt")).read_text()
    lines = [line for line in listing.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 5
    assert all(machine.package_of(line) for line in lines)


def test_images_of_two_suites_have_different_keys() -> None:
    assert image.recipe_key("bookworm") != image.recipe_key("trixie")


def test_an_unknown_suite_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="unknown Debian suite 'potato'"):
        image.ensure("potato", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_garbage_is_every_image_but_the_current_ones(tmp_path: Path) -> None:
    current = image.path("bookworm", tmp_path)
    for folder in (current, tmp_path / "images/bookworm-0ld", tmp_path / "images/.trixie-1.half"):
        (folder / "rootfs").mkdir(parents=True)
    assert image.collect_garbage(tmp_path) == [".trixie-1.half", "bookworm-0ld"]
    assert current.exists()
