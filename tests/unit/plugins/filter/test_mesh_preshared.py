# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_preshared."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.filter.mesh_preshared import mesh_preshared

pytestmark = pytest.mark.unit

BOB = {"public_key": "B", "name": "bob"}


def test_both_sides_of_a_pair_get_the_makers_key():
    pairs = {"A": {"B": "made by A"}, "B": {"A": "left over"}}
    assert mesh_preshared([BOB], "A", pairs) == [{**BOB, "preshared_key": "made by A"}]
    alice = {"public_key": "A"}
    assert mesh_preshared([alice], "B", pairs) == [{**alice, "preshared_key": "made by A"}]


def test_a_key_that_only_the_other_side_has_is_kept():
    assert mesh_preshared([BOB], "A", {"A": {}, "B": {"A": "old"}})[0]["preshared_key"] == "old"


@pytest.mark.parametrize("pairs", [{"A": {"B": "x"}}, {"B": {"A": "x"}}, {"A": {}, "B": {}}, {}])
def test_a_pair_of_which_one_host_is_not_in_the_run_is_left_alone(pairs):
    assert mesh_preshared([BOB], "A", pairs) == [BOB]


def test_peers_that_leave_get_none():
    gone = {**BOB, "state": "absent"}
    assert mesh_preshared([gone, {"name": "x", "state": "absent"}], "A", {"A": {"B": "x"}}) == [
        gone,
        {"name": "x", "state": "absent"},
    ]
