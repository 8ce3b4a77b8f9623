# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the options of wgsd_responder to a configuration that the engine reads."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _service, _tsig_keys
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import Access, load_responder
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.modules.wgsd_responder import configuration

pytestmark = pytest.mark.unit

KEYS = {"ns2.": {"secret": "b2xkIHNlY3JldCBvbGQgc2VjcmV0"}}
ZONE = {"zone": "example.com.", "device": "wg0"}
OPTIONS = dict.fromkeys(("listen", "rate_limit", "workers", "metrics", "catalog", "secondaries"))
SIGNING = {"address": "198.51.100.53", "port": 53, "key": "ns2.", "catalog": False}
PLAIN = {"address": "2001:db8::53", "port": 5353, "key": None, "catalog": False}


@pytest.fixture
def settings(tmp_path):
    """Return what the engine reads in a configuration made of options."""

    def load(zone=None, keys=None, **options):
        given = {**OPTIONS, "state_dir": "/var/lib/wgsd", **options}
        given["zones"] = [{**ZONE, "allow_query": None, "notify": None, **(zone or {})}]
        keyring = _tsig_keys.Keyring(keys or KEYS, tmp_path, predicting=False)
        path = tmp_path / "responder.yml"
        path.write_text(_service.dump(configuration(given, keyring)))
        return load_responder(path)

    return load


def test_without_secondaries_only_the_tunnel_may_transfer(settings):
    (zone,) = settings().zones
    assert (zone.allow_query, zone.allow_transfer) == (None, Access(tunnel=True))
    assert zone.notify == ()


def test_secondaries_may_ask_and_transfer_and_are_notified(settings):
    (zone,) = settings(listen=["203.0.113.4"], secondaries=[SIGNING, PLAIN]).zones
    everybody = Access(("2001:db8::53/128",), ("ns2.",), tunnel=True)
    assert (zone.allow_query, zone.allow_transfer) == (everybody, everybody)
    notified = [(str(remote.endpoint), remote.key) for remote in zone.notify]
    assert notified == [("198.51.100.53:53", "ns2."), ("[2001:db8::53]:5353", None)]


def test_secondaries_come_beside_those_who_are_named(settings):
    (zone,) = settings(
        zone={"allow_query": ["192.0.2.0/24"], "notify": ["192.0.2.1"]}, secondaries=[SIGNING]
    ).zones
    assert zone.allow_query == Access(("192.0.2.0/24",), ("ns2.",))
    assert [str(remote.endpoint) for remote in zone.notify] == ["192.0.2.1:53", "198.51.100.53:53"]


def test_a_secondary_within_the_tunnel_changes_nothing_about_who_may_ask(settings):
    (zone,) = settings(secondaries=[SIGNING]).zones
    assert zone.allow_query is None


def test_a_secondary_that_learns_from_the_catalog_transfers_and_is_notified_of_it(settings):
    learning = {**SIGNING, "catalog": True}
    catalog = settings(catalog={"zone": "catalog."}, secondaries=[learning, PLAIN]).catalog
    assert catalog.allow_transfer == Access(keys=("ns2.",), tunnel=True)
    assert [remote.key for remote in catalog.notify] == ["ns2."]


def test_a_secondary_without_its_catalog_is_an_error_with_a_remedy(settings):
    with pytest.raises(UsageError, match=r"198\.51\.100\.53 .*; name the catalog zone"):
        settings(secondaries=[{**SIGNING, "catalog": True}])


def test_a_zone_is_signed_and_published_as_the_options_say(settings):
    target = {"server": "192.0.2.53", "zone": None, "key": "ns2."}
    (zone,) = settings(zone={"dnssec": {"validity": 3}, "publish": [target]}).zones
    assert zone.dnssec.validity == 3 * 86400
    (published,) = zone.publish
    assert (published.zone, published.server.key) == ("example.com.", "ns2.")
