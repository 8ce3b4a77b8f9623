# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running interface: read it, and carry a `LivePlan` out on it.

Private to this collection.
"""

from __future__ import annotations

import ipaddress

from ._wg_plan import LivePlan, LiveState
from ._wg_routes import Table
from .wgsd.device import link, open_device
from .wgsd.errors import DeviceError
from .wgsd.keys import PublicKey
from .wgsd.model import Device


def device(name: str) -> Device:
    """Take a snapshot of an interface's device.

    Raises:
        DeviceError: it is not WireGuard, or cannot be read.
    """
    with open_device(name) as backend:
        return backend.read()


def read(device: Device, table: Table, former: Table) -> LiveState:
    """Read the rest of an interface.

    Args:
        device: The snapshot of its device.
        table: The setting ``Table`` of its file.
        former: The same as it was before.

    Raises:
        DeviceError: it cannot be read.
    """
    name = device.name
    moved = former.number not in (None, table.number)
    return LiveState(
        device=device,
        addresses=link.addresses(name),
        mtu=link.mtu(name),
        is_up=link.is_up(name),
        routes=_routes(name, table.number),
        former_routes=_routes(name, former.number) if moved else (),
    )


def _routes(name: str, table: int | None) -> tuple[str, ...]:
    return () if table is None else tuple(str(route) for route in link.routes(name, table))


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
    if plan.private_key or plan.listen_port or plan.fwmark is not None or plan.peers:
        with open_device(name) as backend:
            before = backend.read().public_key
            backend.configure(
                private_key=plan.private_key, listen_port=plan.listen_port, fwmark=plan.fwmark
            )
            backend.apply(plan.peers)
            after = backend.read().public_key
        if after != (own_key if plan.private_key else before):
            raise DeviceError(
                f"{name} had the public key {before} before the change, and {after} after it",
                "another program configures it at the same time: find it and run this again",
            )
    routes = plan.routes
    for block in routes.remove:
        link.remove_route(name, ipaddress.ip_network(block), routes.table)
    for block in routes.add:
        link.add_route(name, ipaddress.ip_network(block), routes.table)
    for block in routes.leave_behind:
        link.remove_route(name, ipaddress.ip_network(block), routes.former)
