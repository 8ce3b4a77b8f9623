# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters between public keys and the names that a zone has for them."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.filter.wgsd_instance import wgsd_instance
from ansible_collections.wgsd.mesh.plugins.filter.wgsd_key import wgsd_key
from ansible_collections.wgsd.mesh.plugins.filter.wgsd_label import wgsd_label
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey

from tests.unit.collection import ROOT, ansible_environment, program

pytestmark = pytest.mark.unit

KEY = "NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg="
LABEL = "gzznutfz6z3jdhzwtxszaavdhilede6zc3pde2tb622klgyaoyma===="
INSTANCE = f"{LABEL}._wireguard._udp.example.com."


@given(st.binary(min_size=32, max_size=32))
def test_every_key_comes_back_from_all_its_names(raw):
    key = PublicKey(raw).base64
    for name in (
        wgsd_label(key),
        wgsd_label(key, padded=False),
        wgsd_label(key).upper(),
        wgsd_instance(key, "example.com"),
    ):
        assert wgsd_key(name) == key
    assert wgsd_key(wgsd_instance(key, "Example.com"), zone="example.com.") == key


def test_a_label_is_padded_base32_in_lower_case():
    assert wgsd_label(KEY) == LABEL
    assert wgsd_label(KEY, padded=False) == LABEL.rstrip("=")
    assert wgsd_instance(KEY, "Example.com") == INSTANCE


def test_any_spelling_of_a_key_is_taken():
    for name in (KEY, f" {KEY}\n", LABEL, LABEL.rstrip("="), INSTANCE.rstrip(".").upper()):
        assert wgsd_label(name) == LABEL
        assert wgsd_key(name) == KEY
        assert wgsd_instance(name, "example.net") == INSTANCE.replace("example.com", "example.net")


@pytest.mark.parametrize(
    "name", ["bob", "", KEY[:-1], LABEL[:-5] + "====", f"{LABEL}._ipp._tcp.example.com.", 7, None]
)
def test_what_names_no_key_is_refused_by_each_filter_by_name(name):
    for title, use in (
        ("wgsd_key", lambda: wgsd_key(name)),
        ("wgsd_label", lambda: wgsd_label(name)),
        ("wgsd_instance", lambda: wgsd_instance(name, "example.com")),
    ):
        with pytest.raises(AnsibleFilterError, match=f"^{title}: .*not a public key.*base64"):
            use()


@pytest.mark.parametrize("name", [KEY, LABEL, INSTANCE.replace("example", "example.example")])
def test_an_instance_of_another_zone_is_refused_where_a_zone_is_given(name):
    with pytest.raises(AnsibleFilterError, match="not an instance name of the zone"):
        wgsd_key(name, zone="example.com")


def test_a_zone_that_is_none_is_refused():
    with pytest.raises(AnsibleFilterError, match="bad label"):
        wgsd_instance(KEY, "a..b")
    with pytest.raises(AnsibleFilterError, match="bad label"):
        wgsd_key(INSTANCE, zone="a..b")


def test_templates_find_them_by_their_full_names():
    filters = ("wgsd_label", "wgsd_label(padded=false)", "wgsd_instance('example.com')", "wgsd_key")
    message = ", ".join(f"key | wgsd.mesh.{one}" for one in filters)
    done = subprocess.run(
        [
            program("ansible"),
            "localhost",
            "--inventory=localhost,",
            "--connection=local",
            "--module-name=ansible.builtin.debug",
            "--args=" + json.dumps({"msg": "{{ [" + message + "] }}"}),
            "--extra-vars=" + json.dumps({"key": KEY}),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ansible_environment(),
        check=True,
    )
    said = json.loads(done.stdout.partition("=>")[2])["msg"]
    assert said == [LABEL, LABEL.rstrip("="), INSTANCE, KEY]
