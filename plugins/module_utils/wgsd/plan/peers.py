# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which peers of a device decisions are about, and which lead to the registry."""

from __future__ import annotations

import functools
import ipaddress
import typing as t

from ..keys import PublicKey
from ..model import Device, Peer, PeerChange
from .states import Decision, Keepalive, Memory, Policy


def managed(device: Device, policy: Policy) -> t.Iterator[Peer]:
    """Yield the peers that the policy puts in our hands.

    Nothing can be sent to a peer without allowed IPs. It is the next key of one that is to rotate
    (`takeover`): to knock there would be in vain, and to start it over could harm its handshake.
    """
    for key, peer in device.peers.items():
        if (
            peer.allowed_ips
            and key not in policy.protected
            and (policy.only is None or key in policy.only)
        ):
            yield peer


def chosen_keepalive(memory: Memory, peer: Peer) -> int:
    """Return the keepalive that the operator has chosen for *peer*, in seconds; 0 for none."""
    return _chosen(memory, peer.persistent_keepalive)


def _chosen(memory: Memory, keepalive: int) -> int:
    return memory.chosen if keepalive in (0, memory.raised) else keepalive


def keepalive_of(decision: Decision) -> Keepalive:
    """Return whose the keepalive of a peer is once *decision* was carried out."""
    change, keepalive = decision.change, decision.peer.persistent_keepalive
    if change is not None and change.persistent_keepalive is not None:
        keepalive = change.persistent_keepalive
    return Keepalive(decision.memory.raised, _chosen(decision.memory, keepalive))


def renewals(device: Device) -> list[PeerChange]:
    """Return the changes that make *device* send from this host's present address.

    Userspace WireGuard goes on sending from the address at which a peer's last packet came in, also
    when the host no longer has it; setting the same endpoint again makes it forget that. Sessions
    are not touched. The kernel's WireGuard sees by itself that an address is gone.
    """
    return [
        PeerChange(key, endpoint=peer.endpoint)
        for key, peer in device.peers.items()
        if peer.endpoint is not None
    ]


def holders(device: Device, addresses: t.Iterable[str]) -> frozenset[PublicKey]:
    """Return the peers to which *device* routes *addresses*, as WireGuard does: longest prefix."""
    found: set[PublicKey] = set()
    for text in addresses:
        address = ipaddress.ip_address(text)
        host = f"{address}/{address.max_prefixlen}"
        best: tuple[int, PublicKey] | None = None
        for peer in device.peers.values():
            for block in peer.allowed_ips:
                # Most blocks are one host's: no need to keep what they mean.
                if block.endswith("/128" if ":" in block else "/32") and block != host:
                    continue
                network = _network(block)
                if (
                    network.version == address.version
                    and address in network
                    and (best is None or network.prefixlen > best[0])
                ):
                    best = (network.prefixlen, peer.public_key)
        if best:
            found.add(best[1])
    return frozenset(found)


@functools.lru_cache(maxsize=65536)
def _network(block: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(block)
