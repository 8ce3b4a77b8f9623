# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A WireGuard device that is a dict of peers: it does with changes what WireGuard does."""

from __future__ import annotations

import dataclasses
import typing as t

from wgsd.errors import NoDeviceError
from wgsd.keys import PublicKey
from wgsd.model import Device, Peer, PeerChange


def device(*peers: Peer, own: PublicKey | None = None) -> Device:
    """Return a snapshot with these peers."""
    return Device("wg0", own, 51820, 0, {peer.public_key: peer for peer in peers})


class FakeDevice:
    """A device that is a dict, which does what WireGuard does with changes."""

    kind = "userspace"

    def __init__(self, *peers: Peer) -> None:
        self.peers = {peer.public_key: peer for peer in peers}
        self.operations: list[list[PeerChange]] = []
        self.gone = False

    def read(self) -> Device:
        if self.gone:
            raise NoDeviceError("gone")
        return device(*self.peers.values())

    def apply(self, changes: t.Sequence[PeerChange]) -> None:
        if changes:
            self.operations.append(list(changes))
        for change in changes:
            self.change(change)

    def change(self, change: PeerChange) -> None:
        key = change.public_key
        if change.remove or change.fresh:
            self.peers.pop(key, None)
        if change.remove or (key not in self.peers and not change.create):
            return
        fields = {
            name: value
            for name in ("endpoint", "persistent_keepalive", "allowed_ips", "preshared_key")
            if (value := getattr(change, name)) is not None
        }
        for block in change.allowed_ips or ():
            for other, peer in self.peers.items():
                left = tuple(b for b in peer.allowed_ips if b != block)
                self.peers[other] = dataclasses.replace(peer, allowed_ips=left)
        self.peers[key] = dataclasses.replace(self.peers.get(key, Peer(key)), **fields)

    def see(self, key: PublicKey, **fields: t.Any) -> None:
        self.peers[key] = dataclasses.replace(self.peers[key], **fields)

    def close(self) -> None:
        pass
