# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The preshared keys of pairs: who makes them, and that a pair ends up with one."""

from __future__ import annotations

import base64
import os

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils._wg_file import PeerSettings
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_preshared import (
    check_options,
    makes,
    preshared_keys,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

KEYS = st.binary(min_size=32, max_size=32).map(PublicKey)
MINE, OTHER = PublicKey(b"\1" * 32), PublicKey(b"\2" * 32)
KNOWN = base64.b64encode(b"\x43" * 32).decode()


@given(KEYS, KEYS)
def test_of_two_hosts_exactly_one_makes_the_secret(one, other):
    assert makes(one, other) + makes(other, one) == (one != other)


@given(st.sets(KEYS, min_size=2, max_size=5))
def test_every_pair_of_new_hosts_gets_one_secret_of_32_bytes(hosts):
    told = {host: preshared_keys(host, hosts, {}, os.urandom) for host in hosts}
    for host in hosts:
        assert host not in told[host]
        for other in hosts - {host}:
            (secret,) = filter(None, (told[host].get(other), told[other].get(host)))
            assert len(base64.b64decode(secret)) == 32
    secrets = [secret for keys in told.values() for secret in keys.values()]
    assert len(set(secrets)) == len(secrets)


@pytest.mark.parametrize(("own", "other"), [(MINE, OTHER), (OTHER, MINE)])
def test_a_secret_that_is_there_stays_whoever_would_make_it(own, other):
    peers = {other: PeerSettings(other, preshared_key=KNOWN)}
    assert preshared_keys(own, [other], peers, os.urandom) == {other: KNOWN}
    assert preshared_keys(own, [other], peers, None) == {other: KNOWN}


def test_makes_none_for_a_prediction_nor_without_a_key_of_its_own():
    assert preshared_keys(MINE, [OTHER], {OTHER: PeerSettings(OTHER)}, None) == {}
    assert preshared_keys(None, [OTHER], {}, os.urandom) == {}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"interface": "wg/0", "public_keys": []}, "^interface: "),
        ({"interface": "wg0", "public_keys": [MINE.base64, "abc"]}, r"^public_keys\[1\]: 'abc'"),
    ],
)
def test_names_the_option_that_cannot_be_used(options, complaint):
    with pytest.raises(UsageError, match=complaint):
        check_options(options)
