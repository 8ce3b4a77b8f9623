# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A copy of the zone: made by zone transfer, kept up to date by NOTIFY and incremental ones."""

from __future__ import annotations

from .contents import Contents
from .fetch import fetch
from .listing import Listing, list_peers
from .replica import Replica

__all__ = ["Contents", "Listing", "Replica", "fetch", "list_peers"]
