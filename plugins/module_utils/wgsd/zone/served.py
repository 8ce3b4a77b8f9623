# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A zone that we are the authority for: as it is now, and who may ask for what of it."""

from __future__ import annotations

import ipaddress
import typing as t

from ..config import TUNNEL_ONLY, Access, CatalogSettings, ZoneSettings
from .records import Zone
from .transfer import DifferenceFrom, Transfers

#: The index of ``lo``, in every network namespace.
LOOPBACK = 1

InterfaceIndex = t.Callable[[str], int]


class Context(t.NamedTuple):
    """How a query came in.

    Attributes:
        source: A literal address without scope.
        local: The same: where it came to.
        ingress: The index of the interface that it came in by; None where the kernel has already
            kept out what came neither by the zone's device nor from this host.
    """

    source: str
    local: str
    tcp: bool = False
    ingress: int | None = None


class Gate:
    """Lets in whom an `Access` names."""

    def __init__(self, access: Access) -> None:
        self._keys = access.keys
        self._networks = tuple(ipaddress.ip_network(network) for network in access.networks)
        #: Whether it lets in who comes through the tunnel.
        self.tunnel = access.tunnel

    def names(self, context: Context, key: str | None) -> bool:
        """Whether it has the network that a message came from, or the key that it is signed with.

        Args:
            key: None for a message that is not signed.
        """
        if key in self._keys:
            return True
        if not self._networks:
            return False
        source = ipaddress.ip_address(context.source)
        return any(source in network for network in self._networks)


class Served:
    """A zone and its gates.

    A secondary that is named for transfers asks for the SOA before, so it may ask for anything. The
    other way round, where queries need more than to come through the tunnel, transfers do as well.

    Attributes:
        zone: None while nothing is known of it.
        transfers: None just then.
    """

    def __init__(self, settings: ZoneSettings, interface_index: InterfaceIndex) -> None:
        self.zone: Zone | None = None
        self.transfers: Transfers | None = None
        self._device = settings.device
        self._interface_index = interface_index
        self._queries = Gate(settings.allow_query or TUNNEL_ONLY)
        self._transfers = Gate(settings.allow_transfer)

    @property
    def is_open(self) -> bool:
        """Whether whoever comes through the tunnel may ask."""
        return self._queries.tunnel

    def become(self, zone: Zone | None, difference: DifferenceFrom | None = None) -> None:
        """Be this version from now on.

        Args:
            difference: As for `Transfers`.
        """
        self.zone = zone
        self.transfers = Transfers(zone, difference) if zone else None

    def lets_in(self, context: Context, key: str | None = None) -> bool:
        """Whether a query that came so, and is signed with *key*, may be answered."""
        return (
            (self._queries.tunnel and self.comes_by_tunnel(context))
            or self._queries.names(context, key)
            or self._transfers.names(context, key)
        )

    def lets_transfer(self, context: Context, key: str | None) -> bool:
        """The same for a zone transfer."""
        by_tunnel = self._transfers.tunnel and self.comes_by_tunnel(context)
        return self._transfers.names(context, key) or (by_tunnel and self.lets_in(context, key))

    def comes_by_tunnel(self, context: Context) -> bool:
        """Whether a message came out of the zone's device, to one of its addresses."""
        if self.zone is None or context.local not in self.zone.addresses:
            return False
        if context.ingress in (None, LOOPBACK):
            return True
        try:
            return context.ingress == self._interface_index(self._device)
        except OSError:
            return False


class ServedCatalog(Served):
    """The catalog zone and its gate: who may transfer it may ask it, and nobody else.

    It has no device. Whoever comes by the tunnel of one of its members comes by its own.
    """

    def __init__(
        self,
        settings: CatalogSettings,
        members: t.Collection[Served],
        interface_index: InterfaceIndex,
    ) -> None:
        access = settings.allow_transfer
        as_zone = ZoneSettings(settings.zone, "", allow_query=access, allow_transfer=access)
        super().__init__(as_zone, interface_index)
        self._members = members

    def comes_by_tunnel(self, context: Context) -> bool:
        """See `Served.comes_by_tunnel`."""
        return any(member.comes_by_tunnel(context) for member in self._members)
