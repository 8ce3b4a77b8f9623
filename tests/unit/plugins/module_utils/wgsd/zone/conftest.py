# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The zone that most tests here ask."""

from __future__ import annotations

import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    BOB,
    CAROL,
    REGISTRY,
    Asker,
    content,
)


@pytest.fixture
def ask() -> Asker:
    """Ask the zone of Alice, Bob, Carol and the registry itself."""
    return Asker(content(ALICE, BOB, CAROL, REGISTRY))
