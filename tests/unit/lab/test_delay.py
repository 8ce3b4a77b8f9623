# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When frames arrive that are under way on a delayed line."""

from __future__ import annotations

import random

import pytest

from tests.lab.delay import DelayLine

pytestmark = pytest.mark.unit

ONE, OTHER = 3, 4


def test_frames_arrive_after_the_delay_in_the_order_in_which_they_were_sent() -> None:
    line = DelayLine(0.5, 0.0, random.Random(1))
    for frame in (b"first", b"second"):
        line.put(10.0, ONE, frame)
    line.put(10.25, OTHER, b"third")
    assert list(line.arrived(10.25)) == []
    assert line.wait(10.25) == 0.25
    assert list(line.arrived(10.5)) == [(ONE, b"first"), (ONE, b"second")]
    assert list(line.arrived(11.0)) == [(OTHER, b"third")]
    assert line.wait(11.0) is None


def test_jitter_spreads_arrivals_evenly_around_the_delay() -> None:
    line = DelayLine(0.5, 0.25, random.Random(1))
    for _time in range(1000):
        line.put(0.0, ONE, b"")
    assert list(line.arrived(0.25)) == []
    assert 400 < len(list(line.arrived(0.5))) < 600
    assert 400 < len(list(line.arrived(0.75))) < 600


def test_a_line_that_is_full_drops_what_comes_next() -> None:
    line = DelayLine(0.5, 0.0, random.Random(1), limit=2)
    for frame in (b"first", b"second", b"third"):
        line.put(0.0, ONE, frame)
    assert [frame for _to, frame in line.arrived(1.0)] == [b"first", b"second"]
