# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which interfaces of this host are WireGuard devices.

Raw netlink, so that a host without any needs no library to say so.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import struct
import typing as t

from ..errors import DeviceError, NoDeviceError
from . import netlink
from .userspace import SOCKET_FOLDER, UserspaceBackend

WIREGUARD = "wireguard"

_RTM_GETLINK = 18
#: Family, type, index, flags, change mask (struct ifinfomsg of linux/rtnetlink.h).
_IFINFOMSG = struct.Struct("=BxHiII")
_IFLA_IFNAME = 3
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_SOCKET_SUFFIX = ".sock"
_DUMP_ATTEMPTS = 10


def find_devices(
    names: t.Iterable[str] | None = None,
    *,
    folder: pathlib.Path = SOCKET_FOLDER,
    links: t.Callable[[], t.Mapping[str, str]] | None = None,
) -> list[str]:
    """Return the WireGuard devices of this network namespace, sorted by name.

    Args:
        names: Those to look at, None for all; one that is no interface here is left out.
        folder: Where userspace devices have their sockets.
        links: Returns the kinds of the interfaces, as `link_kinds` does.

    Raises:
        DeviceError: one of *names* is an interface of another kind, or it cannot be found out.
    """
    kinds = (links or link_kinds)()
    wanted = sorted(kinds if names is None else kinds.keys() & set(names))
    sockets = _sockets(folder)
    found = []
    for name in wanted:
        if kinds[name] == WIREGUARD or (name in sockets and _is_listened_on(name, folder)):
            found.append(name)
        elif names is not None:
            raise DeviceError(
                f"{name} is an interface, but not a WireGuard one",
                "give the name of a WireGuard interface; 'wg show interfaces' lists them",
            )
    return found


def link_kinds() -> dict[str, str]:
    """Return the kind of each interface by its name; empty for hardware and loopback.

    Raises:
        DeviceError: the kernel does not say.
    """
    request = _IFINFOMSG.pack(0, 0, 0, 0, 0)
    try:
        for _attempt in range(_DUMP_ATTEMPTS):
            with contextlib.suppress(netlink.DumpInterrupted):
                return dict(map(_name_and_kind, netlink.dump_route(_RTM_GETLINK, request)))
    except (OSError, ValueError) as exc:
        raise DeviceError(
            f"the kernel does not list the interfaces of this host: {exc}", "see 'dmesg'"
        ) from None
    raise DeviceError(
        f"the interfaces of this host changed during each of {_DUMP_ATTEMPTS} reads",
        "find out what changes them all the time, or try again later",
    )


def _name_and_kind(message: bytes) -> tuple[str, str]:
    fields = dict(netlink.attributes(message[_IFINFOMSG.size :]))
    info = dict(netlink.attributes(fields.get(_IFLA_LINKINFO, b"")))
    return _text(fields.get(_IFLA_IFNAME, b"")), _text(info.get(_IFLA_INFO_KIND, b""))


def _text(value: bytes) -> str:
    return os.fsdecode(value.rstrip(b"\0"))


def _sockets(folder: pathlib.Path) -> set[str]:
    """Return the names of the devices that have, or had, a socket."""
    try:
        paths = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as exc:
        raise DeviceError(
            f"{folder}: cannot be read: {exc.strerror}",
            "run as root, or with the capability CAP_DAC_OVERRIDE",
        ) from None
    return {path.stem for path in paths if path.suffix == _SOCKET_SUFFIX}


def _is_listened_on(name: str, folder: pathlib.Path) -> bool:
    try:
        UserspaceBackend(name, folder=folder).close()
    except NoDeviceError:
        return False
    return True
