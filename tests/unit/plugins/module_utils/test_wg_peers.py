# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The peers of wg_interface as a text in JSON."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _wg_peers
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError

pytestmark = pytest.mark.unit


def test_each_peer_has_all_suboptions_as_ansible_would_hand_them_over():
    text = json.dumps([{"public_key": "K", "persistent_keepalive": "25", "preshared_key": "S"}])
    (peer,) = _wg_peers.from_json(text)
    assert peer == {
        "public_key": "K",
        "name": None,
        "state": "present",
        "replace": True,
        "allowed_ips": None,
        "endpoint": None,
        "persistent_keepalive": 25,
        "preshared_key": "S",
        "former_keys": None,
    }
    assert _wg_peers.secrets([peer]) == {"S"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[{", "it is not JSON"),
        ("{}", "it is not a list"),
        ('[{"publickey": "K"}]', "publickey"),
        ('[{"state": "gone"}]', "state"),
        ('["bob"]', "peers_json"),
    ],
)
def test_what_is_no_list_of_peers_is_refused_with_a_reason(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        _wg_peers.from_json(text)
