# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The peers of a device's last read and the bytes that described them: what is equal is kept."""

from __future__ import annotations

import dataclasses
import typing as t

from ..keys import PublicKey
from ..model import Peer

T = t.TypeVar("T")


class Counters(t.NamedTuple):
    """What traffic changes of a peer; see `Peer`."""

    last_handshake: float
    rx_bytes: int
    tx_bytes: int


class PeerMemory:
    """Turns descriptions of peers into `Peer` objects, and only those that differ from the last.

    Between two reads few peers change, and comparing a description takes a twentieth of the time
    of parsing it. Nothing is kept but the last read. The descriptions hold preshared keys, as the
    peers do, and live as long as this object or until `forget`.

    Args:
        parse: Makes a peer of its description alone: equal bytes, equal peers.
        counters: Returns the counters of the first description if nothing but counters differs
            between the two; None if more does, or if that is not plain to see.
    """

    def __init__(
        self,
        parse: t.Callable[[bytes], Peer],
        counters: t.Callable[[bytes, bytes], Counters | None],
    ) -> None:
        self._parse = parse
        self._counters = counters
        self._descriptions: t.Mapping[bytes, bytes] = {}
        self._peers: t.Mapping[PublicKey, Peer] = {}

    def peers(self, descriptions: t.Mapping[bytes, bytes]) -> t.Mapping[PublicKey, Peer]:
        """Return the peers that *descriptions*, a whole read by public key, are about.

        A peer that is as it was is the very same object; of one that is not, the endpoint and the
        allowed IPs are the same objects if they are equal. If no description changed, the mapping
        is that of the last read. A read that fails changes nothing.
        """
        last = self._descriptions.get
        differing = [key for key, text in descriptions.items() if last(key) != text]
        if differing or len(descriptions) != len(self._descriptions):
            # All that is parsed is parsed before anything is kept.
            changed = [self._peer(key, descriptions[key]) for key in differing]
            peers = {key: peer for key, peer in self._peers.items() if key in descriptions}
            peers.update((peer.public_key, peer) for peer in changed)
            self._peers = peers
        # Not the equal ones of the last read: these lie together in memory, as they were made.
        self._descriptions = descriptions
        return self._peers

    def forget(self) -> None:
        """Let go of everything."""
        self._descriptions = {}
        self._peers = {}

    def _peer(self, key: bytes, description: bytes) -> Peer:
        # A public key is equal to its bytes.
        earlier = self._peers.get(t.cast(PublicKey, key))
        if earlier is None:
            return self._parse(description)
        counters = self._counters(description, self._descriptions[key])
        if counters is not None:
            return Peer(
                earlier.public_key,
                earlier.endpoint,
                earlier.allowed_ips,
                *counters,
                persistent_keepalive=earlier.persistent_keepalive,
                preshared_key=earlier.preshared_key,
            )
        peer = self._parse(description)
        if peer == earlier:
            return earlier
        return dataclasses.replace(
            peer,
            public_key=earlier.public_key,
            endpoint=_same(peer.endpoint, earlier.endpoint),
            allowed_ips=_same(peer.allowed_ips, earlier.allowed_ips),
        )


def _same(value: T, earlier: T) -> T:
    """Return *earlier* if it says what *value* does."""
    return earlier if value == earlier else value
