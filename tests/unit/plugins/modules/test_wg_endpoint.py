# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module wg_endpoint where the zone says what is of no use; the rest is in tests/lab."""

from __future__ import annotations

import time
import types

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import (
    Device,
    Endpoint,
    Peer,
    PeerRecord,
)
from ansible_collections.wgsd.mesh.plugins.modules.wg_endpoint import connect

pytestmark = pytest.mark.unit

OWN, BOB = PublicKey(b"o" * 32), PublicKey(b"b" * 32)
HOME, NEAR = Endpoint("192.0.2.20", 51820), Endpoint("fe80::7", 51820)


@pytest.mark.parametrize("only", [None, [BOB]])
@pytest.mark.parametrize(("session", "state"), [(False, "failed"), (True, "direct")])
def test_an_endpoint_near_the_registry_replaces_none_and_only_who_needs_one_misses_it(
    session, state, only
):
    handshake = time.time() if session else 0.0
    bob = Peer(BOB, HOME, ("10.0.0.2/32",), last_handshake=handshake)
    applied: list = []
    backend = types.SimpleNamespace(
        read=lambda: Device("wg0", OWN, 51820, 0, {BOB: bob}), apply=applied.extend
    )
    directory = types.SimpleNamespace(
        zone="example.com.", failures={}, lookup=lambda _keys: {BOB: PeerRecord(BOB, NEAR)}
    )
    (told,) = connect(backend, directory, [], only, force=False, keepalive=25, dry_run=False)
    assert (told["state"], told["after"], told["changed"]) == (state, str(HOME), False)
    assert ("fe80::7" in told["reason"]) is not session
    assert applied == []
