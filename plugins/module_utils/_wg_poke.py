# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Something into every tunnel, so that those which carry nothing get a new session as well.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
import typing as t

from .wgsd.device import Backend
from .wgsd.keys import PublicKey
from .wgsd.model import Device, Peer, PeerChange
from .wgsd.plan import has_session

#: The discard port (RFC 863): nobody listens there.
PORT = 9
#: Seconds between two reads of the device.
PERIOD = 0.05
#: Seconds after which a peer that has not answered is asked anew. WireGuard itself waits for 5.
AGAIN = (1.0, 3.0)


def addresses_of(peer: Peer) -> t.Iterator[str]:
    """Yield one address of each of the networks that are reached through *peer*."""
    for block in peer.allowed_ips:
        network = ipaddress.ip_network(block)
        # Of all the world, no address is this peer's for sure.
        if network.prefixlen:
            yield str(network[1] if network.num_addresses > 2 else network[0])


def to_poke(device: Device) -> list[Peer]:
    """Return the peers that can be sent something.

    To ask one without an endpoint would be in vain, and keep WireGuard from asking again for 5 s.
    """
    return [peer for peer in device.peers.values() if peer.endpoint and peer.allowed_ips]


def deaf(before: Device, device: Device, now: float) -> list[Peer]:
    """Return the peers that had a session before and have not had a handshake since.

    Args:
        before: The device before its key was changed.
        device: The device.
        now: When that was, in seconds since the epoch.
    """
    late = []
    for key, peer in before.peers.items():
        current = device.peers.get(key)
        if current is None or not peer.allowed_ips or not has_session(peer, now):
            continue
        if current.last_handshake in (0.0, peer.last_handshake):
            late.append(current)
    return late


class Poking:
    """Sends something to all peers of a device, and waits for their handshakes.

    Args:
        before: The device before its key was changed.
        began: When that was, in seconds since the epoch.
    """

    def __init__(
        self,
        interface: str,
        backend: Backend,
        before: Device,
        began: float,
        *,
        steady: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
        send: t.Callable[[str, t.Iterable[str]], None] | None = None,
    ) -> None:
        self._interface = interface
        self._backend = backend
        self._before = before
        self._began = began
        self._steady = steady
        self._sleep = sleep
        self._send = send or _send

    def begin(self) -> None:
        """Send something to everybody."""
        self._poke(to_poke(self._before))

    def wait(self, patience: float) -> list[PublicKey]:
        """Return who has not answered within *patience* seconds."""
        start = self._steady()
        again = list(AGAIN)
        while True:
            late = deaf(self._before, self._backend.read(), self._began)
            passed = self._steady() - start
            if not late or passed >= patience:
                return [peer.public_key for peer in late]
            if again and passed >= again[0]:
                again.pop(0)
                self._start_over(late)
            self._sleep(PERIOD)

    def _start_over(self, late: t.Iterable[Peer]) -> None:
        """Ask anew. No session is lost: nothing can be sent by the ones that there were."""
        peers = [peer for peer in late if peer.endpoint]
        self._backend.apply([PeerChange.anew(peer, peer.endpoint) for peer in peers])
        self._poke(peers)

    def _poke(self, peers: t.Iterable[Peer]) -> None:
        self._send(self._interface, (address for peer in peers for address in addresses_of(peer)))


def _send(interface: str, addresses: t.Iterable[str]) -> None:
    """Send an empty datagram to each address; what cannot be sent is no harm."""
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.sendto(b"", (address, PORT))
