# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an instance of a daemon is called, and what is its own."""

from __future__ import annotations

import pytest

from wgsd.config import Instance, check_instance, configured
from wgsd.errors import UsageError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("instance", "names"),
    [
        (
            Instance("client"),
            ["wgsd-client.service", "client.yml", "/var/lib/wgsd", "/run/wgsd"],
        ),
        (
            Instance("client", "lab"),
            ["wgsd-client@lab.service", "client-lab.yml", "/var/lib/wgsd-lab", "/run/wgsd"],
        ),
        (
            Instance("responder"),
            ["wgsd-responder.service", "responder.yml", "/var/lib/wgsd", "/run/wgsd-responder"],
        ),
        (
            Instance("responder", "lab-2"),
            [
                *("wgsd-responder@lab-2.service", "responder-lab-2.yml"),
                *("/var/lib/wgsd-lab-2", "/run/wgsd-responder-lab-2"),
            ],
        ),
    ],
)
def test_only_a_named_instance_has_its_name_in_what_is_its_own(instance, names):
    own = (instance.unit, instance.config_name, instance.state_dir, instance.runtime_dir)
    assert list(map(str, own)) == names


@pytest.mark.parametrize("name", ["", "lab", "Lab2", "a-b", "1", "x" * 63])
def test_an_instance_is_called_by_one_label(name):
    assert check_instance(name) == name


@pytest.mark.parametrize(
    "name",
    ["-lab", "lab-", "l ab", "../lab", "lab.", "l@b", "l_b", "läb", "lab\n", "x" * 64],
)
def test_anything_else_is_refused_with_what_is_allowed(name):
    with pytest.raises(UsageError, match="cannot be an instance; use 1 to 63 letters, digits and"):
        check_instance(name)


def test_the_instances_of_a_daemon_are_found_by_their_configurations(tmp_path):
    for name in ("b", "a-1"):
        (tmp_path / f"client-{name}.yml").touch()
    for name in ("client.yml", "client-.yml", "client-a.b.yml", "clients.yml", "client-c.yml~"):
        (tmp_path / name).touch()
    (tmp_path / "responder-b.yml").touch()
    found = configured("client", tmp_path)
    assert [instance.name for instance in found] == ["", "a-1", "b"]
    assert found[Instance("client", "b")] == tmp_path / "client-b.yml"
    assert list(configured("responder", tmp_path)) == [Instance("responder", "b")]
    assert configured("client", tmp_path / "absent") == {}
