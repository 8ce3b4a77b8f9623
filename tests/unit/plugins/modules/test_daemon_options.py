# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the options of wgsd_client and wgsd_responder to the service that is to be there."""

from __future__ import annotations

import pathlib
import types

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _service
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.modules import wgsd_client, wgsd_responder

pytestmark = pytest.mark.unit

ZONE = {"zone": "example.com.", "device": "wg0"}
CLIENT = {
    **dict.fromkeys(("instance", "key", "metrics_file")),
    "interface": "wg0",
    "zone": "example.com.",
    "registries": ["10.0.0.254"],
    "keepalive": 25,
    "discover": False,
    "state": "started",
}
RESPONDER = {
    **dict.fromkeys(("instance", "listen", "rate_limit", "workers", "metrics", "state_dir")),
    **dict.fromkeys(("catalog", "secondaries", "keys")),
    "zones": [ZONE],
    "state": "started",
    "timeout": 15,
}
MODULES = {"client": (wgsd_client, CLIENT), "responder": (wgsd_responder, RESPONDER)}


@pytest.fixture
def wanted(monkeypatch):
    """Return the service that a module wants there."""

    def service_of(daemon, **options):
        found = []

        def converge(_module, service):
            found.append(service)
            return {}

        monkeypatch.setattr(_service, "converge", converge)
        module, given = MODULES[daemon]
        params = {**given, **options}
        assert params.keys() == given.keys()
        run = types.SimpleNamespace(params=params, check_mode=False, no_log_values=set())
        run.warn = service_of.warnings.append
        module.run(run)
        return found[0]

    service_of.warnings = []
    return service_of


@pytest.mark.parametrize("instance", [None, ""])
def test_without_an_instance_all_is_as_on_a_host_with_one_mesh(wanted, instance):
    client, responder = (wanted(daemon, instance=instance) for daemon in MODULES)
    assert [client.unit, responder.unit] == ["wgsd-client.service", "wgsd-responder.service"]
    assert client.config_path == pathlib.Path("/etc/wgsd/client.yml")
    assert responder.config_path == pathlib.Path("/etc/wgsd/responder.yml")
    assert responder.settings == {"state_dir": "/var/lib/wgsd", "zones": [ZONE]}
    assert responder.report == pathlib.Path("/run/wgsd-responder/status.json")
    assert "StateDirectory=wgsd\n" in responder.unit_text("x")


def test_an_instance_goes_into_the_names_of_all_that_is_its_own(wanted):
    client, responder = (wanted(daemon, instance="lab") for daemon in MODULES)
    units = [client.unit, responder.unit]
    assert units == ["wgsd-client@lab.service", "wgsd-responder@lab.service"]
    assert client.config_path == pathlib.Path("/etc/wgsd/client-lab.yml")
    assert responder.config_path == pathlib.Path("/etc/wgsd/responder-lab.yml")
    assert responder.settings["state_dir"] == "/var/lib/wgsd-lab"
    assert responder.report == pathlib.Path("/run/wgsd-responder-lab/status.json")
    assert "StateDirectory=wgsd-lab\n" in responder.unit_text("x")
    for service in (client, responder):
        assert f"systemctl edit {service.unit}\n" in service.unit_text("x")


def test_a_state_folder_that_is_given_wins_over_the_instance(wanted):
    responder = wanted("responder", instance="lab", state_dir="/var/lib/elsewhere")
    assert responder.settings["state_dir"] == "/var/lib/elsewhere"
    assert "StateDirectory=elsewhere\n" in responder.unit_text("x")


@pytest.mark.parametrize("daemon", MODULES)
def test_a_name_that_is_no_label_is_refused(wanted, daemon):
    with pytest.raises(UsageError, match=r"'\.\./lab' cannot be an instance"):
        wanted(daemon, instance="../lab")


def test_discovery_is_in_the_configuration_only_if_it_is_wanted(wanted):
    assert "discover" not in wanted("client").settings
    assert wanted("client", discover=True).settings["discover"] is True


def test_a_peer_whose_name_the_zone_cannot_have_goes_without_it(wanted):
    """As in a file that was there before, whose comments are for people."""
    one, two, three, four = (f"{letter * 42}A=" for letter in "abcd")
    names = {one: "phone.example.tld", two: "Bob", three: "bob's phone", four: "bob"}
    zones = [{**ZONE, "names": names}, {**ZONE, "device": "wg1", "names": {one: "Alice"}}]
    found = wanted("responder", zones=zones).settings["zones"]
    assert [zone["names"] for zone in found] == [{four: "bob"}, {one: "Alice"}]
    assert wanted.warnings == [
        f"example.com.: the peer {key} goes without its name: {why}"
        for key, why in (
            (
                one,
                "'phone.example.tld' cannot be a name in the zone; use letters, digits and "
                "inner hyphens",
            ),
            (two, f"the peer {four} is called bob as well; give each peer a name of its own"),
            (
                three,
                '"bob\'s phone" cannot be a name in the zone; use letters, digits and inner '
                "hyphens",
            ),
        )
    ]
