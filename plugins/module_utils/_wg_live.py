# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running interface: read it, and carry a `LivePlan` out on it.

Private to this collection.
"""

from __future__ import annotations

import ipaddress

from ._wg_plan import LivePlan, LiveState, table_number
from .wgsd.device import link, open_device
from .wgsd.errors import DeviceError
from .wgsd.keys import PublicKey


def read(name: str, table: str | None) -> LiveState:
    """Read an interface.

    Args:
        name: Its name.
        table: The setting ``Table`` of its file.

    Raises:
        DeviceError: it is not WireGuard, or cannot be read.
    """
    with open_device(name) as backend:
        device = backend.read()
    number = table_number(table) or link.MAIN_TABLE
    return LiveState(
        device=device,
        addresses=link.addresses(name),
        mtu=link.mtu(name),
        is_up=link.is_up(name),
        routes=tuple(str(route) for route in link.routes(name, number)),
    )


def kind(name: str) -> str:
    """Return what an interface runs on, ``kernel`` or ``userspace``.

    Raises:
        DeviceError: it is not WireGuard.
    """
    with open_device(name) as backend:
        return backend.kind


def apply(name: str, plan: LivePlan, own_key: PublicKey | None) -> None:
    """Carry *plan* out.

    Args:
        name: The interface.
        plan: What to do.
        own_key: The public key that the interface must still have in the end.

    Raises:
        DeviceError: the device or the kernel refused, or the key is not *own_key*.
    """
    if plan.addresses is not None:
        link.set_addresses(name, plan.addresses)
    if plan.mtu is not None:
        link.set_mtu(name, plan.mtu)
    if plan.bring_up:
        link.set_up(name)
    if plan.private_key or plan.listen_port or plan.peers:
        with open_device(name) as backend:
            before = backend.read().public_key
            backend.configure(private_key=plan.private_key, listen_port=plan.listen_port)
            backend.apply(plan.peers)
            after = backend.read().public_key
        if after != (own_key if plan.private_key else before):
            raise DeviceError(
                f"{name} had the public key {before} before the change, and {after} after it",
                "another program configures it at the same time: find it and run this again",
            )
    table = plan.table or link.MAIN_TABLE
    for block in plan.routes_to_remove:
        link.remove_route(name, ipaddress.ip_network(block), table)
    for block in plan.routes_to_add:
        link.add_route(name, ipaddress.ip_network(block), table)
