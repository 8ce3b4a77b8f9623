# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order in which processes share the tests' files: what takes longest first."""

from __future__ import annotations

import pytest

#: Files in the order of the time that they take; the others take a few seconds each.
LONGEST = (
    "roles/test_responder_service.py",
    "roles/test_keys.py",
    "roles/test_site.py",
    "roles/test_zone_service.py",
    "roles/test_artifact.py",
    "lab/test_wg_interface.py",
    "lab/test_responder.py",
    "lab/test_transfers.py",
    "lab/test_discovery.py",
    "lab/test_registry_moves.py",
    "lab/test_takeover.py",
    "lab/test_crashes.py",
    "lab/test_mesh.py",
    "lab/test_wg_endpoint.py",
    "lab/test_versions.py",
    "fuzz/test_zone_inputs.py",
    "lab/test_processes.py",
)
_RANK = {name: rank for rank, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that no process has one left when the others are done."""
    items.sort(key=lambda item: _RANK.get("/".join(item.path.parts[-2:]), len(LONGEST)))
