# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard devices: read them and change them, in the kernel or in userspace."""

from __future__ import annotations

from ..errors import DeviceError, NoDeviceError
from .base import Backend, no_device
from .kernel import KernelBackend, has_wireguard
from .listing import find_devices
from .userspace import UserspaceBackend

__all__ = ["Backend", "find_devices", "has_wireguard", "open_device"]


def open_device(name: str, patience: float | None = None) -> Backend:
    """Open the WireGuard device *name*: the userspace one if its socket accepts, else the kernel's.

    Args:
        patience: See `UserspaceBackend`; the kernel replies at once.

    Raises:
        NoDeviceError: there is neither.
        DeviceError: there is one, but it cannot be reached (rights, no WireGuard in the kernel).
    """
    unreachable: DeviceError | None = None
    try:
        return UserspaceBackend(name, patience=patience)
    except NoDeviceError:
        pass
    except DeviceError as exc:
        # The folder of the sockets is root's alone, but CAP_NET_ADMIN is enough for the kernel.
        unreachable = exc
    try:
        return KernelBackend(name)
    except NoDeviceError:
        raise unreachable or no_device(name) from None
    except DeviceError as exc:
        if unreachable is None:
            raise
        raise DeviceError(
            f"{unreachable.message}; {exc.message}", f"{unreachable.remedy}; or {exc.remedy}"
        ) from None
