# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running interface against its file: what to change so that no tunnel is dropped. Pure.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import socket
import typing as t

from ._wg_file import Address, InterfaceSettings, PeerSettings
from ._wg_routes import NO_ROUTE_CHANGES, RouteChanges, Routing, Table
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
        former_routes: The same of the table that the file named before, if that was another one.
    """

    device: Device
    addresses: tuple[Address, ...]
    mtu: int
    is_up: bool
    routes: tuple[str, ...]
    former_routes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LivePlan:
    """What to do to a running interface, and the same in words."""

    peers: tuple[PeerChange, ...] = ()
    private_key: bytes | None = dataclasses.field(default=None, repr=False)
    listen_port: int | None = None
    fwmark: int | None = None
    addresses: tuple[Address, ...] | None = None
    mtu: int | None = None
    bring_up: bool = False
    routes: RouteChanges = NO_ROUTE_CHANGES
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
    past: InterfaceSettings | None = None,
    unmark: bool = False,
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
        past: The interface as the file had it; None if there was no file.
        unmark: Whether to take a firewall mark away also if only the device has it.
        resolver: Finds the addresses of a host name.

    Raises:
        UsageError: the device runs on another key, or a peer that only the device has, and has a
            session with, holds an allowed IP of one in the file.
    """
    planner = _Planner(settings, past or settings, peers, state, now)
    return planner.plan(own_key, before, _Unlisted(purge, absent, unmark), resolver)


@dataclasses.dataclass(frozen=True)
class _Unlisted:
    """Which peers that the file does not have go from the device, and whether its mark does."""

    purge: bool
    absent: t.Container[PublicKey]
    mark: bool

    def goes(self, key: PublicKey) -> bool:
        return self.purge or key in self.absent


class _Planner:
    """Collects the parts of a `LivePlan` and the words for them."""

    def __init__(
        self,
        settings: InterfaceSettings,
        past: InterfaceSettings,
        peers: t.Mapping[PublicKey, PeerSettings],
        state: LiveState,
        now: float,
    ) -> None:
        self._now = now
        self._settings = settings
        self._past = past
        self._table, self._former = Table.parse(settings.table), Table.parse(past.table)
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
        self._refuse_lost_rules()
        listen_port = self._listen_port()
        fwmark = self._fwmark(unlisted.mark)
        addresses, mtu = self._addresses(), self._mtu()
        if not self._state.is_up:
            self._steps.append("bring the link up")
        changes = self._removals(before, unlisted)
        gone = {change.public_key for change in changes}
        changes += self._dispossess(gone)
        gone = {change.public_key for change in changes}
        for peer in self._peers.values():
            change = self._peer(peer, before.get(peer.public_key), resolver)
            if change:
                changes.append(change)
        routes = self._routes(gone)
        return LivePlan(
            peers=tuple(changes),
            private_key=private_key,
            listen_port=listen_port,
            fwmark=fwmark,
            addresses=addresses,
            mtu=mtu,
            bring_up=not self._state.is_up,
            routes=routes,
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

    def _has_rules(self) -> bool:
        """Whether wg-quick has made a default route, with rules that go by the device's mark."""
        blocks = (b for peer in self._device.peers.values() for b in peer.allowed_ips)
        return (
            self._former.is_auto
            and bool(self._device.fwmark)
            and any(block.endswith("/0") for block in blocks)
        )

    def _refuse_lost_rules(self) -> None:
        if not self._table.is_auto and self._has_rules():
            raise UsageError(
                f"Table: wg-quick has made a default route for {self._device.name}, which it takes "
                "away only with the table 'auto' in the file",
                "stop the interface first, with state=absent",
            )

    def _fwmark(self, unmark: bool) -> int | None:
        wanted, live = self._settings.fwmark, self._device.fwmark
        if wanted is None and (unmark or self._past.fwmark):
            wanted = 0
        if wanted is None or wanted == live:
            return None
        if self._has_rules():
            # A packet without the mark of the rules would go into the tunnel that it comes from.
            if wanted:
                self._warnings.append(
                    f"FwMark {wanted:#x}: wg-quick has made the default route with {live:#x}, so "
                    "this one comes with the next restart of the interface"
                )
            return None
        self._steps.append(
            f"set firewall mark {wanted:#x}" if wanted else f"take firewall mark {live:#x} away"
        )
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

    def _dispossess(self, gone: t.Container[PublicKey]) -> list[PeerChange]:
        """Remove peers that only the device has and that hold an allowed IP of one in the file.

        Such a one may be a host's former key, which the client has learned from the zone. One that
        has a session is in use, and no key of the past.
        """
        changes = []
        owners = {block: peer for peer in self._peers.values() for block in peer.allowed_ips}
        for key, live in self._device.peers.items():
            if key in self._peers or key in gone:
                continue
            block = next((block for block in live.allowed_ips if block in owners), None)
            if block is None:
                continue
            owner = owners[block].title
            if has_session(live, self._now):
                raise UsageError(
                    f"peers {owner} and {key} both have the allowed IP {block}; the second is on "
                    "the running device only, and its tunnel lives",
                    "if these are two keys of one host, run the playbook with that host in it; "
                    "else change one of them, or remove the second, with state=absent or purge",
                )
            self._steps.append(
                f"remove peer {key.short}…, whose allowed IP {block} now belongs to {owner}"
            )
            changes.append(PeerChange(key, remove=True))
        return changes

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

    def _routes(self, gone: t.Container[PublicKey]) -> RouteChanges:
        """Return what to do about the routes, and say so."""
        table, former = self._table, self._former
        if table.name:
            self._warnings.append(
                f"Table = {table.name} is not a number: routes are left as they are"
            )
            return NO_ROUTE_CHANGES
        if former.name:
            self._warnings.append(
                f"Table was {former.name}, which is not a number: its routes are left as they are"
            )
        wanted = {block for peer in self._peers.values() for block in peer.allowed_ips}
        had = {block for peer in self._device.peers.values() for block in peer.allowed_ips}
        wanted |= {
            block
            for key, peer in self._device.peers.items()
            if key not in self._peers and key not in gone
            for block in peer.allowed_ips
        }
        routing = Routing(
            table=table,
            former=former,
            own=frozenset(str(address.network) for address in self._settings.addresses),
            present=frozenset(self._state.routes),
            present_formerly=frozenset(self._state.former_routes),
        )
        changes = routing.changes(wanted, had)
        where = f" to table {table}" if changes.leave_behind or table != former else ""
        self._steps += [f"add route {block}{where}" for block in changes.add]
        self._steps += [f"remove route {block}" for block in changes.remove]
        self._steps += [f"remove route {b} from table {former}" for b in changes.leave_behind]
        self._warnings += [
            f"allowed IP {block}: wg-quick makes the default route when it starts, so this one "
            "comes with the next restart of the interface"
            for block in changes.defaults
        ]
        return changes

    def _say(self, peer: PeerSettings, what: str) -> None:
        self._steps.append(f"peer {peer.title}: {what}")
