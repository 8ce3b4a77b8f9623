# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A zone as data: what modules and plugins are given to ask for it, and what they return of it.

Private to this collection.
"""

from __future__ import annotations

import typing as t

from .wgsd.config import TsigKey, key_name, key_secret
from .wgsd.directory import by_name
from .wgsd.errors import ServerError, UsageError
from .wgsd.model import Endpoint, Member, PeerRecord
from .wgsd.names import instance_name
from .wgsd.replica import Listing, list_peers


def read_zone(
    zone: str, servers: t.Sequence[Endpoint], key: TsigKey | None, **options: t.Any
) -> Listing:
    """Ask for the whole zone.

    Args:
        options: Those of `list_peers`.

    Raises:
        UsageError: no server or a bad zone name.
        ServerError: no server tells it, or the one that answers does not know it.
    """
    listing = list_peers(zone, servers, key, **options)
    if listing.serial is None and not listing.records and not listing.failures:
        # A resolver says of names that are nowhere no less.
        raise ServerError(
            f"{listing.server} does not know the zone {listing.zone}",
            "check the name of the zone, and give servers that serve it",
        )
    return listing


def everybody(listing: Listing) -> list[PeerRecord | Member]:
    """Return all peers of a zone: those with an endpoint, sorted, and then mere members, sorted."""
    known = {record.public_key for record in listing.records}
    rest = (member for key, member in (listing.members or {}).items() if key not in known)
    return [*listing.records, *by_name(rest)]


def signing_key(option: str, wanted: t.Mapping[str, str]) -> TsigKey:
    """Return the TSIG key that an option describes by name, algorithm and secret.

    Args:
        option: What the option is called.

    Raises:
        UsageError: its name or its secret is none.
    """
    try:
        secret = key_secret(wanted["secret"])
    except UsageError as exc:
        raise UsageError(f"{option}.secret: {exc.message}", exc.remedy) from None
    return TsigKey(key_name(wanted["name"]), wanted["algorithm"], secret)


def describe(peer: PeerRecord | Member, zone: str) -> dict[str, t.Any]:
    """Return a peer as documented; a mere member has no endpoint.

    Args:
        zone: Its zone, absolute.
    """
    endpoint = peer.endpoint if isinstance(peer, PeerRecord) else None
    return {
        "name": peer.name,
        "public_key": peer.public_key.base64,
        "endpoint": str(endpoint) if endpoint else None,
        "address": endpoint.address if endpoint else None,
        "port": endpoint.port if endpoint else None,
        "allowed_ips": list(peer.allowed_ips),
        "instance": instance_name(peer.public_key, zone),
    }
