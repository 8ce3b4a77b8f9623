# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labs for the tests of the roles."""

from __future__ import annotations

import typing as t

import pytest

from tests.lab.systemd import SystemdLab
from tests.roles.site_playbook import Site


@pytest.fixture(scope="module")
def mesh(worker_id: str) -> t.Iterator[Site]:
    """A finished mesh, for tests that leave it as they find it; files may run side by side."""
    with SystemdLab(prefix=f"mesh-{worker_id}") as lab:
        site = Site(lab)
        site.build()
        yield site
