# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine's exceptions, one per exit code of the command line.

Every message names what was wrong and where; ``remedy`` says what to do next.
"""

from __future__ import annotations


class WgsdError(Exception):
    """Base of all errors that the engine raises on purpose.

    Args:
        message: What is wrong and where (file, field, peer, server).
        remedy: What the operator can do about it; empty if nothing better is known.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(WgsdError):
    """Bad usage, bad configuration or a value that cannot be parsed."""

    exit_code = 2


class DependencyError(UsageError):
    """A Python library that the engine needs is not installed on this host."""


class DeviceError(WgsdError):
    """The WireGuard device cannot be read or changed."""

    exit_code = 3


class NoDeviceError(DeviceError):
    """There is no WireGuard device of that name (yet, or any more)."""


class SlowDeviceError(DeviceError):
    """The WireGuard device has not replied yet: the next read goes on waiting for this reply."""


class ServerError(WgsdError):
    """No DNS server gave a usable answer."""

    exit_code = 3
