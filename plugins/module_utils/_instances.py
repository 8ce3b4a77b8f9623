# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one mesh of a host must not take from another: its place, its interface, its addresses.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

from .wgsd.config import (
    ClientSettings,
    Instance,
    ResponderSettings,
    configured,
    load_client,
    load_responder,
)
from .wgsd.errors import UsageError, WgsdError
from .wgsd.model import Endpoint

_WILDCARDS = ("0.0.0.0", "::")

Settings = t.TypeVar("Settings")
#: The configurations of a daemon that are on the host, and where.
There = t.Mapping[Instance, tuple[pathlib.Path, Settings]]


def readable(
    paths: t.Mapping[Instance, pathlib.Path], load: t.Callable[[pathlib.Path], Settings]
) -> dict[Instance, tuple[pathlib.Path, Settings]]:
    """Read the configurations at *paths*. One that is no good belongs to nobody."""
    there = {}
    for instance, path in paths.items():
        with contextlib.suppress(WgsdError):
            there[instance] = path, load(path)
    return there


def keep_interface_apart(name: str, interface: str, folder: pathlib.Path) -> None:
    """See that the mesh of the instance *name* may have *interface*, before that is changed.

    Its daemons would be refused as well, but not before the interface of another mesh has this
    one's addresses and peers.

    Args:
        folder: Where the configurations of the daemons are.

    Raises:
        UsageError: another instance has it, or this one has another.
    """
    for instance, path, devices in _devices_there(folder):
        _keep_device_apart(instance, path, devices, name, interface)


def has_interface(name: str, interface: str, folder: pathlib.Path) -> bool:
    """Whether a daemon of the instance *name* is configured for *interface*."""
    return any(
        instance.name == name and interface in devices
        for instance, _path, devices in _devices_there(folder)
    )


def keep_clients_apart(
    instance: Instance, wanted: ClientSettings, there: There[ClientSettings]
) -> None:
    """See that a client may have the configuration *wanted* besides what is there.

    Raises:
        UsageError: it would take something from another one.
    """
    for other, (path, settings) in there.items():
        if other == instance:
            if settings.interface != wanted.interface:
                _refuse_place(instance, path, settings.interface, wanted.interface)
        elif settings.interface == wanted.interface:
            _refuse(f"{wanted.interface} has a client already", other, path)
        elif wanted.metrics_file and settings.metrics_file == wanted.metrics_file:
            _refuse_share("metrics_file", wanted.metrics_file, path)


def keep_responders_apart(
    instance: Instance, wanted: ResponderSettings, there: There[ResponderSettings]
) -> None:
    """See that a responder may have the configuration *wanted* besides what is there.

    A zone may move to another device and a device get another zone, one at a time. Two meshes may
    call their zones the same.

    Raises:
        UsageError: it would take something from another one.
    """
    zones, devices = _zones(wanted), _devices(wanted)
    for other, (path, settings) in there.items():
        if other == instance:
            if zones.isdisjoint(_zones(settings)) and devices.isdisjoint(_devices(settings)):
                _refuse_place(instance, path, _told(settings), _told(wanted))
            continue
        for device in sorted(devices & _devices(settings)):
            _refuse(f"{device} has a responder already", other, path)
        if settings.state_dir == wanted.state_dir:
            _refuse_share("state_dir", wanted.state_dir, path)
        if wanted.metrics and settings.metrics == wanted.metrics:
            _refuse_share("metrics", wanted.metrics, path)
        for endpoint in wanted.listen:
            if any(_overlap(endpoint, taken) for taken in settings.listen):
                _refuse_share("listen", endpoint, path)


def _devices_there(
    folder: pathlib.Path,
) -> t.Iterator[tuple[Instance, pathlib.Path, set[str]]]:
    for instance, (path, client) in readable(configured("client", folder), load_client).items():
        yield instance, path, {client.interface}
    responders = readable(configured("responder", folder), load_responder)
    for instance, (path, responder) in responders.items():
        yield instance, path, _devices(responder)


def _keep_device_apart(
    instance: Instance, path: pathlib.Path, devices: set[str], name: str, interface: str
) -> None:
    if instance.name != name and interface in devices:
        _refuse(f"{interface} has a {instance.daemon} already", instance, path)
    if instance.name == name and interface not in devices:
        _refuse_place(instance, path, ", ".join(sorted(devices)), interface)


def _refuse_place(instance: Instance, path: pathlib.Path, old: str, new: str) -> t.NoReturn:
    name = "another instance" if instance.name else "an instance, such as 'instance: lab'"
    raise UsageError(
        f"{path} is there for {old}, not for {new}",
        f"for one more mesh, give this one {name}; if {new} is to take the place of {old}, remove"
        f" the {instance.daemon} with 'state: absent' first",
    )


def _refuse(problem: str, other: Instance, path: pathlib.Path) -> t.NoReturn:
    name = f" and 'instance: {other.name}'" if other.name else " and without an instance"
    raise UsageError(
        f"{problem}: {path} is there for it",
        f"change that {other.daemon}, or remove it with 'state: absent'{name} first",
    )


def _refuse_share(option: str, value: object, path: pathlib.Path) -> t.NoReturn:
    raise UsageError(f"{option}: {path} has {value} already", "give each instance its own")


def _zones(settings: ResponderSettings) -> set[str]:
    return {zone.zone for zone in settings.zones}


def _devices(settings: ResponderSettings) -> set[str]:
    return {zone.device for zone in settings.zones}


def _told(settings: ResponderSettings) -> str:
    return ", ".join(f"{zone.zone} of {zone.device}" for zone in settings.zones)


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    same_family = (":" in one.address) == (":" in other.address)
    wild = one.address in _WILDCARDS or other.address in _WILDCARDS
    return one.port == other.port and same_family and (wild or one.address == other.address)
