# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is not WireGuard about an interface: its addresses, routes, MTU and state, by rtnetlink.

Each function raises `NoDeviceError` if there is no interface *name*, and `DeviceError` if the
kernel refuses.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import ipaddress
import os
import socket
import typing as t

from ..errors import DeviceError
from ..thirdparty import pyroute2
from . import base

Interface = t.Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

MAIN_TABLE = 254

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_IFF_UP = 1
_RTN_UNICAST = 1
_RTM_F_CLONED = 0x200
#: What ``ip route add BLOCK dev NAME`` sets, and so wg-quick.
_RTPROT_BOOT = 3
_SCOPES = {4: 253, 6: 0}
_DUMP_ATTEMPTS = 10

T = t.TypeVar("T")


class AddressChange(t.NamedTuple):
    """What `set_addresses` did; empty and false if there was nothing to do."""

    added: tuple[Interface, ...]
    removed: tuple[Interface, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def prepare() -> None:
    """Load what all this needs: a process that others are forked from spares them the time.

    Raises:
        DependencyError: a library is missing.
    """
    callable(pyroute2.IPRoute)


def addresses(name: str) -> tuple[Interface, ...]:
    """Return the addresses of an interface with their prefix lengths, in the kernel's order."""
    return _ask(name, _addresses)


def set_addresses(name: str, wanted: t.Iterable[Interface]) -> AddressChange:
    """Give an interface the addresses *wanted* and no other.

    Link-local IPv6 addresses, which the kernel makes itself, stay.
    """
    goal = tuple(dict.fromkeys(wanted))

    def change(route: t.Any, index: int) -> AddressChange:
        before = _addresses(route, index)
        surplus = tuple(a for a in before if a not in goal and not _is_kernels_own(a))
        for address in goal:
            if address not in before:
                route.addr("add", **_address_fields(address, index))
        for address in surplus:
            # Secondary addresses go with the first of their network, so some may be gone already.
            if address in _addresses(route, index):
                route.addr("del", **_address_fields(address, index))
        for address in goal:
            if surplus and address not in _addresses(route, index):
                route.addr("add", **_address_fields(address, index))
        return AddressChange(tuple(a for a in goal if a not in before), surplus)

    return _ask(name, change)


def routes(name: str, table: int = MAIN_TABLE) -> tuple[Network, ...]:
    """Return the blocks that *table* sends through an interface, the connected ones too."""

    def read(route: t.Any, index: int) -> tuple[Network, ...]:
        return tuple(
            _destination(message, version)
            for version, family in _FAMILIES.items()
            for message in route.get_routes(family=family)
            if message.get_attr("RTA_OIF") == index
            and (message.get_attr("RTA_TABLE") or message["table"]) == table
            and message["type"] == _RTN_UNICAST
            and not message["flags"] & _RTM_F_CLONED
        )

    return _ask(name, read)


def add_route(name: str, block: Network, table: int = MAIN_TABLE) -> None:
    """Send *block* through an interface. A route to it that is there already is an error."""
    _ask(name, lambda route, index: route.route("add", **_route_fields(block, index, table)))


def remove_route(name: str, block: Network, table: int = MAIN_TABLE) -> None:
    """Send *block* no longer through an interface; nothing happens if it is not."""

    def remove(route: t.Any, index: int) -> None:
        try:
            route.route("del", **_route_fields(block, index, table))
        except pyroute2.NetlinkError as exc:
            if exc.code not in (errno.ESRCH, errno.ENOENT):
                raise

    _ask(name, remove)


def mtu(name: str) -> int:
    """Return the largest packet that an interface takes, in bytes."""
    return int(_ask(name, lambda route, index: _link(route, index).get_attr("IFLA_MTU")))


def set_mtu(name: str, size: int) -> None:
    """Set the MTU, in bytes."""
    _ask(name, lambda route, index: route.link("set", index=index, mtu=size))


def is_up(name: str) -> bool:
    """Whether the interface is switched on."""
    return bool(_ask(name, lambda route, index: _link(route, index)["flags"] & _IFF_UP))


def set_up(name: str, up: bool = True) -> None:
    """Switch the interface on or off."""
    state = "up" if up else "down"
    _ask(name, lambda route, index: route.link("set", index=index, state=state))


def _ask(name: str, work: t.Callable[[t.Any, int], T]) -> T:
    """Return *work* done with an rtnetlink socket and the index of the interface."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        raise base.no_device(name) from None

    def session() -> T:
        with pyroute2.IPRoute() as route:
            for _attempt in range(_DUMP_ATTEMPTS):
                with contextlib.suppress(pyroute2.NetlinkDumpInterrupted):
                    return work(route, index)
        raise DeviceError(
            f"{name}: addresses or routes of this host changed during each of {_DUMP_ATTEMPTS} "
            "reads",
            "find out what changes them all the time, or try again later",
        )

    try:
        return _run_apart(session)
    except pyroute2.NetlinkError as exc:
        raise _error(name, exc.code) from None


def _run_apart(work: t.Callable[[], T]) -> T:
    """Return ``work()``, done in a thread of its own.

    pyroute2 0.9 runs an event loop in each of its sockets, which a thread that runs one already
    cannot. A new thread is in its maker's network namespace.
    """
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(work).result()


def _error(name: str, code: int) -> DeviceError:
    if code in (errno.ENODEV, errno.ENXIO):
        return base.no_device(name)
    remedies = {
        errno.EPERM: "run as root, or with the capability CAP_NET_ADMIN",
        errno.EEXIST: "another interface has it: find it with 'ip address' and 'ip route'",
        errno.ENETDOWN: f"switch the interface on: ip link set {name} up",
        errno.EACCES: "IPv6 is switched off here: set net.ipv6.conf.all.disable_ipv6 to 0",
    }
    return DeviceError(
        f"{name}: the kernel refuses the change of the interface: {os.strerror(code)}",
        remedies.get(code, "see 'dmesg'"),
    )


def _addresses(route: t.Any, index: int) -> tuple[Interface, ...]:
    return tuple(
        ipaddress.ip_interface(
            # The address of a point-to-point interface is the far end's; the local one is ours.
            f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}"
            f"/{message['prefixlen']}"
        )
        for message in route.get_addr(index=index)
    )


def _is_kernels_own(address: Interface) -> bool:
    return address.version == 6 and address.is_link_local


def _address_fields(address: Interface, index: int) -> dict[str, t.Any]:
    return {
        "index": index,
        "family": _FAMILIES[address.version],
        "address": str(address.ip),
        "prefixlen": address.network.prefixlen,
    }


def _route_fields(block: Network, index: int, table: int) -> dict[str, t.Any]:
    return {
        "family": _FAMILIES[block.version],
        "dst": str(block),
        "oif": index,
        "table": table,
        "proto": _RTPROT_BOOT,
        "scope": _SCOPES[block.version],
    }


def _destination(message: t.Any, version: int) -> Network:
    address = message.get_attr("RTA_DST") or ("0.0.0.0" if version == 4 else "::")
    return ipaddress.ip_network(f"{address}/{message['dst_len']}")


def _link(route: t.Any, index: int) -> t.Any:
    return next(iter(route.get_links(index)))
