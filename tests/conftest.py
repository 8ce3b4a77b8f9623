# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pytest knows of all tests, also where ansible-test runs it, which reads no pyproject.toml.

The order in which processes share the tests' files: what takes long comes first.
"""

from __future__ import annotations

import pathlib
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
# The engine as `wgsd`, the helpers as `tests.lab`: now, since pytest imports other conftests next.
sys.path[:0] = [str(_ROOT / "plugins" / "module_utils"), str(_ROOT)]
_MARKERS = (
    "unit: needs nothing but Python",
    "lab: builds namespaces, NAT routers and userspace WireGuard; needs root",
    "systemd: runs hosts with systemd in the lab",
    "kernel: needs a kernel with WireGuard; run by `make test-kernel`",
    "browser: opens pages in Chromium; run by `make test-browser`",
    "roles: applies the roles or playbooks to lab hosts",
    "long: takes minutes; run by `make test-long`, not by `make test`",
    "alone: says what a whole machine does within a second, or keeps it busy; not beside others",
)
#: What to begin with; the other files take less than half a minute each. The longest come first,
#: but playbooks keep processors busy and labs wait, so these are between those.
FIRST = (
    "roles/test_keys.py",
    "roles/test_site.py",
    "roles/test_tutorial.py",
    "lab/test_doctor_registry.py",
    "lab/test_doctor_pair.py",
    "roles/test_doctor.py",
    "lab/test_wg_interface.py",
    "lab/test_crashes.py",
    "lab/test_registry_moves.py",
    "roles/test_responder_service.py",
    "lab/test_discovery.py",
    "playbooks/test_client_keys.py",
    "playbooks/test_preshared_in_batches.py",
    "lab/test_responder.py",
    "roles/test_zone_service.py",
    "lab/test_mesh.py",
    "lab/test_takeover.py",
    "lab/test_transfers.py",
    "lab/test_versions.py",
    "lab/test_processes.py",
    "lab/test_wg_endpoint.py",
)
_RANK = {name: rank for rank, name in enumerate(FIRST)}


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files, so that no process has a long one left when the others are done."""
    items.sort(key=lambda item: _RANK.get("/".join(item.path.parts[-2:]), len(FIRST)))
