# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes from a process every right that its work does not need (capabilities(7))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import typing as t

# <linux/capability.h>
CAP_DAC_OVERRIDE = 1
CAP_NET_ADMIN = 12
# <linux/prctl.h>
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES_MAX = 64
#: The user and group that own nothing.
NOBODY = 65534

#: What reading a device takes: the second opens the sockets of userspace WireGuard.
READ_DEVICE = frozenset({CAP_NET_ADMIN, CAP_DAC_OVERRIDE})


def set_aside(capabilities: t.Collection[int]) -> None:
    """Make capabilities ineffective, but keep them for children to take up.

    Raises:
        OSError: the kernel refused.
    """
    effective, permitted, inheritable = _capabilities()
    _set_capabilities(effective & ~_mask(capabilities), permitted, inheritable)


@contextlib.contextmanager
def taken_up(capability: int) -> t.Iterator[None]:
    """Make a capability that was set aside effective for a moment, if this process has it.

    Raises:
        OSError: the kernel refused.
    """
    effective, permitted, inheritable = _capabilities()
    _set_capabilities(effective | permitted & _mask([capability]), permitted, inheritable)
    try:
        yield
    finally:
        _set_capabilities(effective, permitted, inheritable)


def keep_only(capabilities: t.Collection[int]) -> None:
    """Take up those of *capabilities* that this process may have, and give up all others.

    Raises:
        OSError: the kernel refused; the process must then not go on.
    """
    kept = _capabilities()[1] & _mask(capabilities)
    _call(_libc().prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _set_capabilities(kept, kept, 0)


def drop() -> None:
    """Give up root, all capabilities, and the way back to them.

    Raises:
        OSError: the kernel refused; the process must then not go on.
    """
    libc = _libc()
    for capability in range(_CAPABILITIES_MAX):
        # Fails for numbers that this kernel has not, and without CAP_SETPCAP, where the step
        # after the next does as well.
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # The ambient set follows the permitted one.
    _set_capabilities(0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mask(capabilities: t.Iterable[int]) -> int:
    return sum(1 << capability for capability in capabilities)


def _capabilities() -> tuple[int, int, int]:
    """Return this process's effective, permitted and inheritable sets as bit masks."""
    header, data = _header(), (ctypes.c_uint32 * 6)()
    _call(_libc().capget, header, data)
    low, high = data[:3], data[3:]
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high))
    return effective, permitted, inheritable


def _set_capabilities(*sets: int) -> None:
    words = [mask & 0xFFFFFFFF for mask in sets] + [mask >> 32 for mask in sets]
    _call(_libc().capset, _header(), (ctypes.c_uint32 * 6)(*words))


def _header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)


def _call(function: t.Callable[..., int], *arguments: t.Any) -> None:
    if function(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
