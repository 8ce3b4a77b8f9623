# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much to fuzz, and with which randomness.

WGSD_FUZZ_INPUTS is the number of packets that two workers are asked, half of them each, and four
times the number of those that a running responder is flooded with; the default is a short run. Ten
million take some 45 minutes on two cores. WGSD_FUZZ_SEED makes a run what another one was.
"""

from __future__ import annotations

import os
import secrets

import pytest

DEFAULT_INPUTS = 60_000
SEED = os.environ.get("WGSD_FUZZ_SEED") or secrets.token_hex(4)


def pytest_report_header() -> str:
    return f"fuzzing: WGSD_FUZZ_SEED={SEED}"


@pytest.fixture(scope="session")
def fuzz_seed() -> str:
    """What all randomness is made from."""
    return SEED


@pytest.fixture(scope="session")
def fuzz_inputs() -> int:
    """How many packets."""
    return int(os.environ.get("WGSD_FUZZ_INPUTS", DEFAULT_INPUTS))
