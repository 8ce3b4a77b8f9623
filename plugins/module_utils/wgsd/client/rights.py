# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which capabilities the client keeps: those that its device takes, once it has been seen.

A kernel device takes CAP_NET_ADMIN. The sockets of userspace devices lie in a folder that is
root's alone, so these take CAP_DAC_OVERRIDE as well; which of the two a device is can change when
it is set up anew.
"""

from __future__ import annotations

import os

from .. import privileges
from ..errors import DeviceError, NoDeviceError


class Rights:
    """The capabilities of this process. Those of root, who owns the sockets, are left alone."""

    def __init__(self) -> None:
        self._given_up = False

    def suit(self, kind: str | None) -> None:
        """Give up for good what a device of this kind, as of a `Backend`, does not take.

        Raises:
            OSError: the kernel refused.
        """
        if kind == "kernel" and not self._given_up and os.geteuid() != 0:
            privileges.keep_only({privileges.CAP_NET_ADMIN})
            self._given_up = True

    def may_lack(self, fault: DeviceError) -> bool:
        """Whether a process with all rights could reach a device where this one met *fault*."""
        return self._given_up and not isinstance(fault, NoDeviceError)
