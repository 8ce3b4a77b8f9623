# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A zone's peers as hosts of an inventory: what they are called, and where they are reached. Pure.

A zone is what its servers say, so nothing in it is trusted: names are labels of host names or keys,
and addresses are those of other hosts.

Private to this collection.
"""

from __future__ import annotations

import collections
import ipaddress
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils._zone_data import describe, everybody
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.replica import Listing

#: Names that mean the controller, or more than one host.
RESERVED = frozenset({"all", "localhost", "ungrouped"})


class InventoryHost(t.NamedTuple):
    """One host.

    Attributes:
        name: Its friendly name, or else the label of its key without padding.
        address: Its tunnel address; None if its allowed IPs have none.
        peer: What the zone says of it, as `describe` returns it.
    """

    name: str
    address: str | None
    peer: dict[str, t.Any]


def peers_of(listing: Listing) -> tuple[list[dict[str, t.Any]], list[str]]:
    """Return all peers of a zone, and what is wrong with others, as plain data that can be kept.

    Peers with an endpoint come first, sorted by name, then key; then the members without one.
    """
    peers = [describe(peer, listing.zone) for peer in everybody(listing)]
    problems = [f"peer {key}: {problem}" for key, problem in listing.failures.items()]
    return peers, problems


def hosts_of(
    peers: t.Iterable[dict[str, t.Any]], taken: t.Collection[str] = ()
) -> tuple[list[InventoryHost], list[str]]:
    """Return the peers as hosts, and which of their names were not used, and why.

    Args:
        peers: As `peers_of` returns them.
        taken: Names that hosts must not have, such as those of groups.
    """
    peers = list(peers)
    labels = {PublicKey.from_base64(peer["public_key"]).unpadded_label for peer in peers}
    counts = collections.Counter(peer["name"] for peer in peers)
    hosts, problems = [], []
    for peer in peers:
        name, label = peer["name"], PublicKey.from_base64(peer["public_key"]).unpadded_label
        problem = ""
        if name in RESERVED or name in taken:
            problem = "means something else in an inventory"
        elif name in labels:
            problem = "is the label of a key"
        elif name and counts[name] > 1:
            problem = "is that of several peers"
        if problem:
            problems.append(
                f"peer {peer['public_key']}: its name {name} {problem}; the host is called {label}"
            )
        host = label if problem or not name else name
        hosts.append(InventoryHost(host, tunnel_address(peer["allowed_ips"]), peer))
    return hosts, problems


def tunnel_address(allowed_ips: t.Iterable[str]) -> str | None:
    """Return the first single address among allowed IPs, IPv4 before IPv6; None if there is none.

    Addresses that do not lead to another host are passed over: a zone must not make a play for a
    peer one for the controller.
    """
    networks = [ipaddress.ip_network(block) for block in allowed_ips]
    addresses = [one.network_address for one in networks if one.num_addresses == 1]
    for address in sorted(addresses, key=lambda one: one.version):
        meant = getattr(address, "ipv4_mapped", None) or address
        if not (
            meant.is_loopback or meant.is_unspecified or meant.is_multicast or meant.is_link_local
        ):
            return str(address)
    return None
