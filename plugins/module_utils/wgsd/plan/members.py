# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which members of the zone a device is to know besides the peers that it has anyway. Pure.

The rules, in words:

* A member that the device lacks is added if all its networks lie in the tunnel's own and are
  nobody else's: what the registry says then gives it no packet that is not meant for it.
* What was added follows the registry: its networks change as they do in the zone, and it is
  removed when it is no member any more. That ends its session, which is the point of expelling.
* Peers that somebody else has put on the device are never touched.
* A zone that does not even have this host as a member is no list of members.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import functools
import ipaddress
import math
import typing as t

from ..keys import PublicKey
from ..model import Device, Endpoint, Member, Peer, PeerChange

Interface = t.Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

#: Changes of one look at the most: a device that is new gets a large mesh in portions.
CHANGES_MAX = 64
#: Seconds after which a peer that was added counts as settled: if it is gone then, it is added at
#: once. If somebody takes it away earlier, the pauses double up to this.
SETTLED = 60.0
#: So often the networks of a peer may change one after the other, and then once in that time.
AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Added:
    """What is remembered of a peer that this client has added.

    Attributes:
        name: Its friendly name at that time.
        at: When it was added or changed last, in steady seconds.
        times: How often in a row it was added or changed again soon after.
        there: Whether it has been on the device ever since. One that was not, and is there again,
            was put there by somebody else.
    """

    name: str | None = None
    at: float = -math.inf
    times: int = 1
    there: bool = True


class MemberChange(t.NamedTuple):
    """A change of the device, and why.

    Attributes:
        name: The friendly name of the peer.
    """

    change: PeerChange
    name: str | None
    reason: str


class Refusal(t.NamedTuple):
    """Why a member is not on the device, or not with all its networks."""

    name: str | None
    reason: str


@dataclasses.dataclass(frozen=True)
class Membership:
    """What is to be done about the members of a zone.

    Attributes:
        changes: At most one for each peer; removals first.
        added: What to remember, whether the changes are carried out or not.
        refused: The members that are not added as the zone has them.
        due: Steady seconds at which time alone may lead to something else.
    """

    changes: tuple[MemberChange, ...] = ()
    added: t.Mapping[PublicKey, Added] = dataclasses.field(default_factory=dict)
    refused: t.Mapping[PublicKey, Refusal] = dataclasses.field(default_factory=dict)
    due: float = math.inf


def decide_members(
    device: Device,
    members: t.Mapping[PublicKey, Member],
    interfaces: t.Iterable[Interface],
    added: t.Mapping[PublicKey, Added],
    endpoints: t.Mapping[PublicKey, Endpoint],
    now: float,
    *,
    keepalive: int,
) -> Membership:
    """Decide which peers to add, to change and to remove.

    The same state gives no change: whoever carries a decision out and decides again changes nothing
    more, if there was not more than goes into one look.

    Args:
        device: A snapshot taken just before.
        members: Those of the zone, as a server that is heard vouches for them.
        interfaces: The addresses of the device, with the networks that they are in.
        added: What this client has added to this very device before.
        endpoints: Where members are, as far as that is known.
        now: Steady seconds.
        keepalive: Seconds, for peers that are added with an endpoint; 0 for none.
    """
    own = device.public_key
    kept = _kept(added, device, members)
    if own is None or own not in members:
        return Membership(added=kept)
    ours = kept.keys() & device.peers.keys()
    gone = sorted(key for key in ours if key not in members)
    changes = [_removal(device.peers[key], kept[key]) for key in gone]
    missing = [key for key in members if key not in device.peers and key != own]
    differing = [key for key in ours if key in members and _differs(device, members[key])]
    refused: dict[PublicKey, Refusal] = {}
    due = math.inf
    if missing or differing:
        # Peers that are about to go leave their networks to others in the same operation.
        staying = [peer for key, peer in device.peers.items() if key not in gone]
        scene = _Scene(members, staying, tuple(interfaces), own)
        for key in sorted([*missing, *differing]):
            if len(changes) >= CHANGES_MAX:
                # There is more to do than goes into one look.
                due = now
                break
            member = members[key]
            problem = scene.problem(member)
            if key in device.peers:
                change = _following(device.peers[key], member, problem)
                if change is not None and now < _calm(kept[key]):
                    due = min(due, _calm(kept[key]))
                    change = None
                if change is not None:
                    kept[key] = _noted(member, kept[key], now)
                    # What another one gives up in this look can be had in the next.
                    due = now
                if not problem:
                    scene.take(member)
            elif problem:
                change = None
            elif now < _again(kept.get(key)):
                due = min(due, _again(kept.get(key)))
                change = None
            else:
                change = _addition(member, endpoints.get(key), keepalive)
                kept[key] = _noted(member, kept.get(key), now)
                scene.take(member)
            if problem:
                refused[key] = Refusal(member.name, problem)
            if change is not None:
                changes.append(change)
    if len(changes) > CHANGES_MAX:
        due = now
    return Membership(tuple(changes[:CHANGES_MAX]), kept, refused, due)


def _kept(
    added: t.Mapping[PublicKey, Added], device: Device, members: t.Mapping[PublicKey, Member]
) -> dict[PublicKey, Added]:
    """Return what is still worth remembering of peers that this client has added."""
    kept = {}
    for key, one in added.items():
        if key in device.peers:
            if one.there:
                kept[key] = one
        elif key in members:
            kept[key] = dataclasses.replace(one, there=False) if one.there else one
    return kept


def _differs(device: Device, member: Member) -> bool:
    return set(device.peers[member.public_key].allowed_ips) != set(member.allowed_ips)


def _removal(peer: Peer, added: Added) -> MemberChange:
    reason = "removed: the registry no longer has it as a member"
    if peer.last_handshake:
        reason += ", so its session ends"
    return MemberChange(PeerChange(peer.public_key, remove=True), added.name, reason)


def _addition(member: Member, endpoint: Endpoint | None, keepalive: int) -> MemberChange:
    where = f"at {endpoint}" if endpoint else "without an endpoint, since the zone has none yet"
    change = PeerChange(
        member.public_key,
        endpoint=endpoint,
        # Without an endpoint it would only spend the one initiation that there is in 5 s.
        persistent_keepalive=keepalive if endpoint else None,
        allowed_ips=member.allowed_ips,
        create=True,
    )
    return MemberChange(change, member.name, f"added {where}: the zone has it as a member")


def _following(peer: Peer, member: Member, problem: str) -> MemberChange | None:
    """Return the change of a peer whose networks are others in the zone.

    One that must not have what it claims keeps what it has had and still claims.
    """
    blocks = member.allowed_ips
    if problem:
        blocks = tuple(block for block in peer.allowed_ips if block in member.allowed_ips)
        if len(blocks) == len(peer.allowed_ips):
            return None
    change = PeerChange(peer.public_key, allowed_ips=blocks)
    told = ", ".join(blocks) or "none"
    return MemberChange(change, member.name, f"its networks are {told} now, as the zone says")


def _again(added: Added | None) -> float:
    """Return when a peer may be added that somebody has taken away, in steady seconds."""
    if added is None:
        return -math.inf
    return added.at + min(2.0 ** min(added.times, 10), SETTLED)


def _calm(added: Added) -> float:
    """Return when a peer may be changed whose networks somebody else sets as well."""
    return added.at + (SETTLED if added.times > AT_ONCE else 0.0)


def _noted(member: Member, before: Added | None, now: float) -> Added:
    quick = before is not None and now - before.at < 2 * SETTLED
    return Added(member.name, now, before.times + 1 if before and quick else 1)


class _Block(t.NamedTuple):
    """A network by its numbers."""

    version: int
    first: int
    last: int
    length: int


class _Taken:
    """Blocks and whose they are; finds what overlaps another block without looking at each."""

    def __init__(self, blocks: t.Iterable[tuple[str, PublicKey]]) -> None:
        self._owners: dict[_Block, list[PublicKey]] = collections.defaultdict(list)
        self._lengths: dict[int, set[int]] = {4: set(), 6: set()}
        self._firsts: dict[int, list[_Block]] = {4: [], 6: []}
        for text, owner in blocks:
            block = _block(text)
            self._owners[block].append(owner)
            self._lengths[block.version].add(block.length)
        for block in self._owners:
            self._firsts[block.version].append(block)
        for firsts in self._firsts.values():
            firsts.sort()

    def add(self, text: str, owner: PublicKey) -> None:
        """Take one more."""
        block = _block(text)
        if block not in self._owners:
            self._lengths[block.version].add(block.length)
            bisect.insort(self._firsts[block.version], block)
        self._owners[block].append(owner)

    def inside(self, block: _Block, but: PublicKey) -> tuple[_Block, PublicKey] | None:
        """Return a block of others than *but* that is this one, or lies in it."""
        firsts = self._firsts[block.version]
        start = bisect.bisect_left(firsts, _Block(block.version, block.first, 0, 0))
        for index in range(start, len(firsts)):
            found = firsts[index]
            if found.first > block.last:
                break
            # A broader one may begin where this one does.
            if found.length >= block.length:
                owner = next((key for key in self._owners[found] if key != but), None)
                if owner is not None:
                    return found, owner
        return None

    def around(self, block: _Block, but: PublicKey) -> tuple[_Block, PublicKey] | None:
        """Return a block of others than *but* that this one is, or lies in."""
        bits = 32 if block.version == 4 else 128
        for length in self._lengths[block.version]:
            if length <= block.length:
                size = 1 << (bits - length)
                first = block.first - block.first % size
                found = _Block(block.version, first, first + size - 1, length)
                owner = next((key for key in self._owners.get(found, ()) if key != but), None)
                if owner is not None:
                    return found, owner
        return None


class _Scene:
    """What a member's networks are held against."""

    def __init__(
        self,
        members: t.Mapping[PublicKey, Member],
        peers: t.Sequence[Peer],
        interfaces: t.Sequence[Interface],
        own: PublicKey,
    ) -> None:
        self._members = members
        self._own = own
        self._interfaces = [one for one in interfaces if not one.ip.is_link_local]
        self._claimed = _Taken(
            (text, key) for key, member in members.items() for text in member.allowed_ips
        )
        self._taken = _Taken(
            [
                *((text, peer.public_key) for peer in peers for text in peer.allowed_ips),
                *((text, own) for text in members[own].allowed_ips),
            ]
        )

    def take(self, member: Member) -> None:
        """Note that a member is added."""
        for text in member.allowed_ips:
            self._taken.add(text, member.public_key)

    def problem(self, member: Member) -> str:
        """Return why a member cannot have its networks; empty if it can."""
        key = member.public_key
        for text in member.allowed_ips:
            network = _network(text)
            if not any(_is_in(network, one) for one in self._interfaces):
                return (
                    f"its network {text} is outside of the tunnel's own"
                    f"{self._networks()}: run the playbook for this host"
                )
            address = next((one.ip for one in self._interfaces if one.ip in network), None)
            if address is not None:
                return f"its network {text} has this host's own address {address}"
            block = _block(text)
            found = (
                self._taken.around(block, key)
                or self._taken.inside(block, key)
                # Of two members that claim the same the one that claims less is believed.
                or self._claimed.inside(block, key)
            )
            if found:
                return f"its network {text} overlaps {_text(found[0])} of {self._title(found[1])}"
        return ""

    def _networks(self) -> str:
        networks = ", ".join(str(one.network) for one in self._interfaces)
        return f" ({networks})" if networks else ", which has no address"

    def _title(self, key: PublicKey) -> str:
        if key == self._own:
            return "this host"
        member = self._members.get(key)
        return member.name if member and member.name else f"peer {key}"


def _is_in(network: Network, interface: Interface) -> bool:
    around = interface.network
    return (
        network.version == around.version
        and network.prefixlen >= around.prefixlen
        and network.network_address in around
    )


@functools.lru_cache(maxsize=65536)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


@functools.lru_cache(maxsize=65536)
def _block(text: str) -> _Block:
    network = _network(text)
    first, last = int(network.network_address), int(network.broadcast_address)
    return _Block(network.version, first, last, network.prefixlen)


def _text(block: _Block) -> str:
    kind = ipaddress.IPv4Address if block.version == 4 else ipaddress.IPv6Address
    return f"{kind(block.first)}/{block.length}"
