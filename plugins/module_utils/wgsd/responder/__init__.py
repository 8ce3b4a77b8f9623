# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The daemon on the registry: a watcher that reads the device, workers that answer."""

from __future__ import annotations

import functools
import ipaddress
import typing as t

from .. import privileges
from ..config import DNS_PORT, Access, Remote, ResponderSettings, ZoneSettings
from ..device import open_device
from ..device.link import addresses, prepare
from ..errors import DeviceError, UsageError
from ..model import Endpoint
from ..thirdparty import dns
from ..zone.version import Interface, tunnel_addresses
from . import exporter, keys
from .reload import Bound, bound
from .sockets import listen, listen_tcp
from .supervisor import Supervisor
from .watcher import READ_PATIENCE

#: The longest zone, in bytes on the wire, whose SRV answers with two allowed IPs fit 512 bytes.
COMFORTABLE_ZONE = 100


def run(settings: ResponderSettings) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code.

    It logs a line per event and never one per query; where to is the caller's choice.

    Raises:
        UsageError: an address cannot be listened on, or a library is missing.
    """
    prepare()
    # The watcher takes them up again; whoever faces the network never has them.
    privileges.set_aside(privileges.READ_DEVICE)
    patient = functools.partial(open_device, patience=READ_PATIENCE)
    Supervisor(settings, open_device=patient, read_addresses=addresses).run()
    return 0


def check(settings: ResponderSettings) -> list[str]:
    """Return warnings about what would keep the responder from being of use.

    Nothing is bound and nothing written: another responder may be running. If that is one which
    asks before it reloads, what it would have to bind anew is bound for a moment.

    Raises:
        DependencyError: a library is missing.
        UsageError: a reload could not bind an address.
    """
    warnings: list[str] = []
    if (responder := bound()) is not None:
        _check_addresses(settings, responder)
    if settings.metrics is not None:
        exporter.check()
        warnings += _metrics_warnings(settings, settings.metrics)
    keys.check(settings)
    for zone in settings.zones:
        if len(dns.name.from_text(zone.zone).to_wire() or b"") > COMFORTABLE_ZONE:
            warnings.append(
                f"zone {zone.zone} is so long that answers may not fit the 512 bytes of clients"
                " without EDNS"
            )
        warnings += _device_warnings(settings, zone)
        warnings += _copy_warnings(zone)
        warnings += _notify_warnings(settings, zone.zone, zone.allow_transfer, zone.notify)
    if settings.catalog:
        catalog = settings.catalog
        warnings += _notify_warnings(settings, catalog.zone, catalog.allow_transfer, catalog.notify)
    # One that is not there yet is made by the unit's StateDirectory.
    if settings.state_dir.exists() and not settings.state_dir.is_dir():
        warnings.append(
            f"state_dir {settings.state_dir} is no directory; serials start from the clock"
        )
    return warnings


def _check_addresses(settings: ResponderSettings, responder: Bound) -> None:
    """See whether *responder* could go on with *settings*.

    Raises:
        UsageError: it could not bind an address.
    """
    inside = [
        Endpoint(address, DNS_PORT)
        for device in dict.fromkeys(zone.device for zone in settings.zones)
        for address in tunnel_addresses(_interfaces(device))
    ]
    for endpoint in settings.listen or inside:
        for one in responder.listen:
            # Its workers answer there until those that come after them do elsewhere.
            if one != endpoint and one.overlaps(endpoint):
                raise UsageError(
                    f"cannot listen on {endpoint} while the responder is bound to {one}",
                    "restart the service instead of reloading it",
                )
    for endpoint in settings.listen:
        if not any(one.overlaps(endpoint) for one in (*responder.listen, *responder.metrics)):
            listen(endpoint).close()
    metrics = settings.metrics
    if metrics and not any(
        one.overlaps(metrics) for one in (*responder.listen, *responder.metrics)
    ):
        listen_tcp(metrics, "metrics").close()


def _metrics_warnings(settings: ResponderSettings, metrics: Endpoint) -> t.Iterator[str]:
    """Whoever reads the metrics learns how many peers there are, and when they come and go."""
    inside = {zone.device for zone in settings.zones}
    known: set[str] = set()
    for device in inside:
        known.update(tunnel_addresses(_interfaces(device)))
    if not ipaddress.ip_address(metrics.address).is_loopback and metrics.address not in known:
        yield (
            f"metrics {metrics} is neither loopback nor a tunnel address: everyone who reaches it"
            " can read them"
        )


def _device_warnings(settings: ResponderSettings, zone: ZoneSettings) -> t.Iterator[str]:
    try:
        open_device(zone.device).close()
        reachable = set(tunnel_addresses(addresses(zone.device)))
    except DeviceError as exc:
        yield f"zone {zone.zone}: {exc}; the zone fails until the device can be read"
        return
    if not reachable and not (settings.listen and zone.allow_query is not None):
        yield f"zone {zone.zone}: {zone.device} has no address yet on which it could be asked"
    by_name = zone.allow_transfer.networks or zone.allow_transfer.keys
    for endpoint in settings.listen:
        on_all = ipaddress.ip_address(endpoint.address).is_unspecified
        lets_in = on_all or by_name or zone.allow_query is not None
        if not lets_in and endpoint.address not in reachable:
            yield (
                f"zone {zone.zone}: {endpoint} is not a tunnel address of {zone.device}, so"
                " queries there are refused; say in allow_query who may ask"
            )


def _copy_warnings(zone: ZoneSettings) -> t.Iterator[str]:
    """A copy of a zone cannot say the address that a query came in on."""
    by_name = zone.allow_transfer.networks or zone.allow_transfer.keys
    copied = by_name or zone.notify or zone.publish
    if zone.own and zone.own.endpoint is None and (copied or zone.dnssec):
        yield (
            f"zone {zone.zone}: 'self' has no endpoint, so"
            f" {'what is signed' if zone.dnssec else 'a copy elsewhere'} says the first tunnel"
            " address for the registry; set self.endpoint to its public one"
        )


def _notify_warnings(
    settings: ResponderSettings, zone: str, allowed: Access, notified: t.Iterable[Remote]
) -> t.Iterator[str]:
    """A secondary that is notified must be able to do something about it."""
    inside = [
        interface.network
        for device in dict.fromkeys(one.device for one in settings.zones)
        for interface in _interfaces(device)
    ]
    for remote in notified:
        address = ipaddress.ip_address(remote.endpoint.address)
        in_tunnel = any(address in network for network in inside)
        by_network = any(address in ipaddress.ip_network(one) for one in allowed.networks)
        if not (by_network or remote.key in allowed.keys or (in_tunnel and allowed.tunnel)):
            yield (
                f"zone {zone}: {remote.endpoint} is notified of changes, but may not transfer them;"
                " add its network or its key to allow_transfer"
            )
        elif not in_tunnel and inside and not settings.listen:
            yield (
                f"zone {zone}: {remote.endpoint} is outside the tunnel, where nothing is listened"
                " on; add an address that it can reach to listen"
            )


def _interfaces(device: str) -> t.Iterable[Interface]:
    try:
        return addresses(device)
    except DeviceError:
        return ()
