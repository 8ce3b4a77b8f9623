# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes from a process every right that answering queries does not need."""

from __future__ import annotations

import ctypes
import os
import typing as t

# <linux/prctl.h> and <linux/capability.h>.
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES_MAX = 64
#: The user and group that own nothing.
NOBODY = 65534


def drop() -> None:
    """Give up root, all capabilities, and the way back to them.

    Raises:
        OSError: the kernel refused; the process must then not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_CAPABILITIES_MAX):
        # Fails for numbers that this kernel has not, and without CAP_SETPCAP, where the step
        # after the next does as well.
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Twice effective, permitted and inheritable; the ambient set follows the permitted one.
    _call(libc.capset, header, (ctypes.c_uint32 * 6)())


def _call(function: t.Callable[..., int], *arguments: t.Any) -> None:
    if function(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
