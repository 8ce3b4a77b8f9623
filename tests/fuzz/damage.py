# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many inputs a property is tried with, and what accidents make of good ones.

WGSD_FUZZ_EXAMPLES is the number of inputs for each test; the default is a short run.
"""

from __future__ import annotations

import os

import hypothesis
from hypothesis import strategies as st

many_examples = hypothesis.settings(
    max_examples=int(os.environ.get("WGSD_FUZZ_EXAMPLES", "400")),
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
edits = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=8)
cuts = st.none() | st.integers(0, 1000)


def damaged(sample: bytes, changes: list[tuple[int, int]], length: int | None) -> bytes:
    """Return *sample* with bytes changed at the given places, and cut off."""
    data = bytearray(sample)
    for position, value in changes:
        data[position % len(data)] = value
    return bytes(data[:length])
