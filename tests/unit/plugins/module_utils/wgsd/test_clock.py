# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clocks, and what a suspended host shows in them."""

from __future__ import annotations

import pytest

from wgsd import clock

pytestmark = pytest.mark.unit


def test_a_host_that_slept_is_noticed_once():
    now = {"steady": 100.0, "awake": 50.0}
    sleep = clock.Sleep(lambda: now["steady"], lambda: now["awake"])
    now["steady"], now["awake"] = 160.0, 110.0
    assert not sleep.is_over(), "a minute awake"
    now["steady"] += 60.0
    assert sleep.is_over()
    assert not sleep.is_over()


def test_the_steady_clock_is_nobodys_to_set_and_never_goes_back():
    before = clock.moment()
    after = clock.moment()
    assert after.steady >= before.steady
    assert abs(after.wall - before.wall) < 60
