# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a WireGuard device can do, whichever way it is reached."""

from __future__ import annotations

import typing as t

from ..errors import NoDeviceError
from ..model import Device, PeerChange


class Backend(t.Protocol):
    """One WireGuard device. Not safe for use by several threads at once."""

    #: "kernel" or "userspace", for people to read.
    kind: str

    def read(self) -> Device:
        """Take a snapshot; cheap if few peers changed since the last one.

        A peer that is as it was in the last snapshot is the very same object, and so are the
        endpoint and the allowed IPs of one that is not, if they are equal.

        Raises:
            NoDeviceError: the device is gone.
            SlowDeviceError: it has not replied yet, and the reader wanted to wait no longer.
            DeviceError: it cannot be read (rights, protocol, no answer for 10 s).
        """

    def apply(self, changes: t.Sequence[PeerChange]) -> None:
        """Change peers, all in one device operation where the message size allows.

        Args:
            changes: At most one for each peer.

        Raises:
            NoDeviceError: the device is gone.
            DeviceError: the device refused; names the peer where that is known.
        """

    def configure(
        self,
        *,
        private_key: bytes | None = None,
        listen_port: int | None = None,
        fwmark: int | None = None,
    ) -> None:
        """Change the interface itself; None leaves a setting, fwmark 0 clears it.

        Raises:
            NoDeviceError: the device is gone.
            DeviceError: the device refused.
        """

    def close(self) -> None:
        """Free the sockets, and forget what was read: the device's preshared keys are in it."""

    def __enter__(self) -> Backend: ...

    def __exit__(self, *exc: object) -> None: ...


def no_device(name: str) -> NoDeviceError:
    """Return the error that says that there is no device *name*."""
    return NoDeviceError(
        f"there is no WireGuard device {name}", f"bring it up, for example with: wg-quick up {name}"
    )


def check_distinct(changes: t.Sequence[PeerChange]) -> None:
    """Make sure that *changes* may be applied in any order.

    Raises:
        ValueError: two of them are about one peer.
    """
    if len({change.public_key for change in changes}) < len(changes):
        raise ValueError("a peer has more than one change")
