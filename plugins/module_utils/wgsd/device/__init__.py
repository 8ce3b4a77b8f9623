# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard devices: read them and change them, in the kernel or in userspace."""

from __future__ import annotations

from .base import Backend
from .userspace import UserspaceBackend

__all__ = ["Backend", "open_device"]


def open_device(name: str) -> Backend:
    """Open the WireGuard device *name*.

    Raises:
        NoDeviceError: there is none.
        DeviceError: there is one, but it cannot be reached (rights, no WireGuard in the kernel).
    """
    return UserspaceBackend(name)
