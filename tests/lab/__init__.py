# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mission's picture on one machine: an internet, a registry, and peers behind NATs."""

from __future__ import annotations

from .bare import BareHost, BareLab
from .errors import LabError
from .nat import KINDS, Nat
from .netns import Node
from .podman import Host
from .router import Router
from .systemd import SystemdLab
from .topology import Site
from .wireguard import WireGuard

__all__ = [
    "KINDS",
    "BareHost",
    "BareLab",
    "Host",
    "LabError",
    "Nat",
    "Node",
    "Router",
    "Site",
    "SystemdLab",
    "WireGuard",
]
