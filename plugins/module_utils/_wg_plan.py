# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running interface against its file: what to change so that no tunnel is dropped. Pure.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import typing as t

from ._wg_file import Address, InterfaceSettings, PeerSettings
from .wgsd.errors import UsageError
from .wgsd.keys import KEY_BYTES, PublicKey, decode_base64_key
from .wgsd.model import Device, Endpoint, PeerChange
from .wgsd.plan import has_session

NO_PRESHARED_KEY = bytes(KEY_BYTES)

#: Finds the addresses of a host name and port; raises OSError if there are none.
Resolve = t.Callable[[str, int], list[Endpoint]]


@dataclasses.dataclass(frozen=True)
class LiveState:
    """A running interface as it is.

    Attributes:
        routes: Blocks that the routing table has a route to, through the interface.
    """

    device: Device
    addresses: tuple[Address, ...]
    mtu: int
    is_up: bool
    routes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class LivePlan:
    """What to do to a running interface, and the same in words."""

    peers: tuple[PeerChange, ...] = ()
    private_key: bytes | None = dataclasses.field(default=None, repr=False)
    listen_port: int | None = None
    addresses: tuple[Address, ...] | None = None
    mtu: int | None = None
    bring_up: bool = False
    routes_to_add: tuple[str, ...] = ()
    routes_to_remove: tuple[str, ...] = ()
    table: int | None = None
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve(host: str, port: int) -> list[Endpoint]:
    """Find the addresses of a host name, as wg does.

    Raises:
        OSError: there are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return [Endpoint.make(str(info[4][0]).partition("%")[0], port) for info in found]


def plan(
    settings: InterfaceSettings,
    own_key: PublicKey | None,
    peers: t.Mapping[PublicKey, PeerSettings],
    before: t.Mapping[PublicKey, PeerSettings],
    state: LiveState,
    *,
    now: float,
    purge: bool,
    absent: t.Container[PublicKey] = frozenset(),
    resolver: Resolve = resolve,
) -> LivePlan:
    """Decide what makes a running interface what its file says.

    What the file does not say is left alone, and so is the endpoint of a tunnel that lives.

    Args:
        settings: The interface as the file now has it.
        own_key: The public key that belongs to the file's private key, None if not known.
        peers: The peers as the file now has them.
        before: The peers as the file had them: what was taken from it is taken from the device.
        state: The interface as it is.
        now: Seconds since the epoch.
        purge: Whether to remove peers that only the device has.
        absent: Peers to remove also if only the device has them.
        resolver: Finds the addresses of a host name.

    Raises:
        UsageError: the device runs on another key, or a peer that only the device has holds an
            allowed IP of one in the file.
    """
    planner = _Planner(settings, peers, state, now)
    return planner.plan(own_key, before, _Unlisted(purge, absent), resolver)


@dataclasses.dataclass(frozen=True)
class _Unlisted:
    """Which peers that the file does not have go from the device."""

    purge: bool
    absent: t.Container[PublicKey]

    def goes(self, key: PublicKey) -> bool:
        return self.purge or key in self.absent


class _Planner:
    """Collects the parts of a `LivePlan` and the words for them."""

    def __init__(
        self,
        settings: InterfaceSettings,
        peers: t.Mapping[PublicKey, PeerSettings],
        state: LiveState,
        now: float,
    ) -> None:
        self._now = now
        self._settings = settings
        self._peers = peers
        self._device = state.device
        self._state = state
        self._steps: list[str] = []
        self._warnings: list[str] = []

    def plan(
        self,
        own_key: PublicKey | None,
        before: t.Mapping[PublicKey, PeerSettings],
        unlisted: _Unlisted,
        resolver: Resolve,
    ) -> LivePlan:
        """See the function `plan`."""
        private_key = self._private_key(own_key)
        listen_port = self._listen_port()
        addresses, mtu = self._addresses(), self._mtu()
        if not self._state.is_up:
            self._steps.append("bring the link up")
        changes = self._removals(before, unlisted)
        gone = {change.public_key for change in changes}
        self._refuse_theft(gone)
        for peer in self._peers.values():
            change = self._peer(peer, before.get(peer.public_key), resolver)
            if change:
                changes.append(change)
        table = table_number(self._settings.table)
        add, remove = self._routes(gone, table)
        return LivePlan(
            peers=tuple(changes),
            private_key=private_key,
            listen_port=listen_port,
            addresses=addresses,
            mtu=mtu,
            bring_up=not self._state.is_up,
            routes_to_add=add,
            routes_to_remove=remove,
            table=table,
            steps=tuple(self._steps),
            warnings=tuple(self._warnings),
        )

    def _private_key(self, own_key: PublicKey | None) -> bytes | None:
        live = self._device.public_key
        if own_key is None or live == own_key or self._settings.private_key is None:
            return None
        if live is not None:
            raise UsageError(
                f"{self._device.name} runs with the public key {live}, but the private key in its "
                f"file belongs to {own_key}",
                "put back the right file, or restart the interface yourself: that drops all of "
                "its tunnels",
            )
        self._steps.append("give the device its private key back")
        return decode_base64_key(self._settings.private_key)

    def _listen_port(self) -> int | None:
        wanted, live = self._settings.listen_port, self._device.listen_port
        if not wanted or wanted == live:
            return None
        self._steps.append(f"listen on port {wanted} instead of {live}")
        return wanted

    def _addresses(self) -> tuple[Address, ...] | None:
        wanted = self._settings.addresses
        # Link-local ones that the file does not have are the kernel's own.
        live = [a for a in self._state.addresses if a in wanted or not a.ip.is_link_local]
        if set(wanted) == set(live):
            return None
        self._steps += [f"add address {a}" for a in wanted if a not in live]
        self._steps += [f"remove address {a}" for a in live if a not in wanted]
        return wanted

    def _mtu(self) -> int | None:
        wanted, live = self._settings.mtu, self._state.mtu
        if wanted is None or wanted == live:
            return None
        self._steps.append(f"set MTU {wanted} instead of {live}")
        return wanted

    def _removals(
        self, before: t.Mapping[PublicKey, PeerSettings], unlisted: _Unlisted
    ) -> list[PeerChange]:
        changes = []
        for key in self._device.peers:
            if key not in self._peers and (key in before or unlisted.goes(key)):
                title = before[key].title if key in before else f"{key.short}…"
                self._steps.append(f"remove peer {title}")
                changes.append(PeerChange(key, remove=True))
        return changes

    def _refuse_theft(self, gone: t.Container[PublicKey]) -> None:
        owners = {block: peer for peer in self._peers.values() for block in peer.allowed_ips}
        for key, live in self._device.peers.items():
            for block in () if key in self._peers or key in gone else live.allowed_ips:
                if block in owners:
                    raise UsageError(
                        f"peers {owners[block].title} and {key} both have the allowed IP {block}; "
                        "the second is on the running device only",
                        "change one of them, or remove the second with purge",
                    )

    def _peer(
        self, peer: PeerSettings, past: PeerSettings | None, resolver: Resolve
    ) -> PeerChange | None:
        live = self._device.peers.get(peer.public_key)
        preshared_key = decode_base64_key(peer.preshared_key) if peer.preshared_key else None
        if live is None:
            self._steps.append(f"add peer {peer.title}")
            return PeerChange(
                peer.public_key,
                endpoint=self._endpoint(peer, None, resolver),
                persistent_keepalive=peer.persistent_keepalive,
                allowed_ips=peer.allowed_ips,
                preshared_key=preshared_key,
                create=True,
            )
        changes: dict[str, t.Any] = {}
        if set(peer.allowed_ips) != set(live.allowed_ips):
            changes["allowed_ips"] = peer.allowed_ips
            self._say(peer, f"allowed IPs {', '.join(peer.allowed_ips) or 'none'}")
        if preshared_key != live.preshared_key:
            changes["preshared_key"] = preshared_key or NO_PRESHARED_KEY
            self._say(peer, "set preshared key" if preshared_key else "no preshared key")
        keepalive = peer.persistent_keepalive
        if keepalive is None and past and past.persistent_keepalive:
            keepalive = 0
        # One that the file does not tell may be the client's.
        if keepalive is not None and keepalive != live.persistent_keepalive:
            changes["persistent_keepalive"] = keepalive
            self._say(peer, f"keepalive {keepalive} s" if keepalive else "no keepalive")
        if not has_session(live, self._now):
            endpoint = self._endpoint(peer, live.endpoint, resolver)
            if endpoint:
                self._say(peer, f"endpoint {endpoint} instead of {live.endpoint}")
                return PeerChange.anew(live, endpoint, **changes)
        return PeerChange(peer.public_key, **changes) if changes else None

    def _endpoint(
        self, peer: PeerSettings, live: Endpoint | None, resolver: Resolve
    ) -> Endpoint | None:
        """Return the endpoint to set: none if the file has none, or the device has it already."""
        if peer.endpoint is None:
            return None
        host, _colon, port = peer.endpoint.rpartition(":")
        try:
            found = [Endpoint.parse(peer.endpoint)]
        except UsageError:
            try:
                found = resolver(host, int(port))
            except (OSError, ValueError, UsageError) as exc:
                self._warnings.append(
                    f"peer {peer.title}: endpoint {peer.endpoint} cannot be resolved ({exc}); the "
                    "device keeps what it has"
                )
                return None
        return None if live in found else found[0]

    def _routes(
        self, gone: t.Container[PublicKey], table: int | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Routes as wg-quick makes them: for allowed IPs that no route of the interface covers."""
        if self._settings.table and self._settings.table.lower() == "off":
            return (), ()
        if table is None and self._settings.table not in (None, "auto"):
            self._warnings.append(
                f"Table = {self._settings.table} is not a number: routes are left as they are"
            )
            return (), ()
        wanted = {block for peer in self._peers.values() for block in peer.allowed_ips}
        had = {block for peer in self._device.peers.values() for block in peer.allowed_ips}
        wanted |= {
            block
            for key, peer in self._device.peers.items()
            if key not in self._peers and key not in gone
            for block in peer.allowed_ips
        }
        own = {str(address.network) for address in self._settings.addresses} if not table else set()
        present = set(self._state.routes) | own
        remove = [
            block
            for block in sorted(had - wanted)
            if block in self._state.routes and block not in own
        ]
        add: list[str] = []
        covers = _Covers(present - set(remove))
        # Long prefixes last, so that one route covers what lies in it.
        for block in sorted(wanted, key=lambda block: int(block.rpartition("/")[2])):
            if block.endswith("/0") and not table:
                if block not in had:
                    self._warnings.append(
                        f"allowed IP {block}: wg-quick makes the default route when it starts, "
                        "so this one comes with the next restart of the interface"
                    )
            elif block in present if table else covers.has(block):
                continue
            else:
                add.append(block)
                covers.add(block)
        self._steps += [f"add route {block}" for block in add]
        self._steps += [f"remove route {block}" for block in remove]
        return tuple(add), tuple(remove)

    def _say(self, peer: PeerSettings, what: str) -> None:
        self._steps.append(f"peer {peer.title}: {what}")


class _Covers:
    """A set of blocks that can tell quickly whether one of them holds another block."""

    def __init__(self, blocks: t.Iterable[str]) -> None:
        self._blocks: set[tuple[int, int, int]] = set()
        self._lengths: set[tuple[int, int]] = set()
        for block in blocks:
            self.add(block)

    def add(self, block: str) -> None:
        """Add a block."""
        network = ipaddress.ip_network(block)
        self._lengths.add((network.version, network.prefixlen))
        self._blocks.add((network.version, network.prefixlen, int(network.network_address)))

    def has(self, block: str) -> bool:
        """Whether *block* lies within one of the blocks."""
        network = ipaddress.ip_network(block)
        address = int(network.network_address)
        for version, length in self._lengths:
            if version == network.version and length <= network.prefixlen:
                spare = network.max_prefixlen - length
                if (version, length, address >> spare << spare) in self._blocks:
                    return True
        return False


def table_number(text: str | None) -> int | None:
    """Return the routing table to use; None for the main one, as wg-quick's default is."""
    return int(text) if text and text.isascii() and text.isdigit() else None
