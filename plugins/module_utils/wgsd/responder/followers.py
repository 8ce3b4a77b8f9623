# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who follows which zone: the secondaries of the configuration, and who transferred it lately."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import typing as t

from ..config import DNS_PORT, Remote

#: Seconds without a question after which a follower is forgotten: clients ask twice a minute,
#: secondaries only where they have missed a NOTIFY.
CLIENT_PATIENCE, SERVER_PATIENCE = 300.0, 86400.0
#: Followers in all, and of one zone at one address: a peer has as many ports as it likes.
FOLLOWERS_MAX, PORTS_MAX = 20000, 8

#: Zone, address and port.
Key = tuple[str, str, int]


class Follower(t.NamedTuple):
    """Who is to hear of a zone's changes.

    Attributes:
        zone: Absolute, lower case.
        port: `DNS_PORT` for a server; a client listens where it asked from.
        local: The address that it asked, and expects to hear from; empty for any.
        tsig: Name of the key that its transfer was signed with, absolute, lower case.
    """

    zone: str
    address: str
    port: int
    local: str = ""
    tsig: str | None = None

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        return self.zone, self.address, self.port

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


@dataclasses.dataclass
class Entry:
    """What is known of a follower.

    Attributes:
        configured: Whether it is there to stay.
        asked: When it transferred the zone last.
        acknowledges: Whether it has ever acknowledged a NOTIFY.
    """

    follower: Follower
    configured: bool
    asked: float
    acknowledges: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether it stays when it does not acknowledge: a server may only be down for a while."""
        server = self.follower.port == DNS_PORT
        return self.configured or (server and self.acknowledges)

    @property
    def is_client(self) -> bool:
        """Whether it is known to listen where it asked from."""
        elsewhere = self.follower.port != DNS_PORT
        return elsewhere and self.acknowledges and not self.configured

    def is_stale(self, now: float) -> bool:
        """Whether it has not asked for too long."""
        server = self.follower.port == DNS_PORT
        patience = SERVER_PATIENCE if server else CLIENT_PATIENCE
        return not self.configured and now - self.asked > patience


class Followers:
    """All followers of all zones. Times are seconds of one clock that never goes back.

    Attributes:
        changed: Whether they are others than at the last `dump`.
    """

    def __init__(self, configured: t.Mapping[str, t.Iterable[Remote]], now: float) -> None:
        """Start with the secondaries of the configuration.

        Args:
            configured: By zone; each zone that can be followed is there.
        """
        self._zones = frozenset(configured)
        #: In the order in which they asked last.
        self._entries: dict[Key, Entry] = {}
        self._ports: dict[tuple[str, str], list[int]] = {}
        for zone, remotes in configured.items():
            for remote in remotes:
                place = remote.endpoint
                follower = Follower(zone, place.address, place.port, tsig=remote.key)
                self._add(Entry(follower, True, now))
        self.changed = False

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        """Return what is known of a follower, if it is one."""
        return self._entries.get(key)

    def of(self, zone: str) -> list[Key]:
        """Return the followers of a zone, those that have not asked for longest first."""
        return [key for key in self._entries if key[0] == zone]

    def local_addresses(self) -> frozenset[str]:
        """Return the addresses that followers hear from; an empty one stands for any."""
        return frozenset(entry.follower.local for entry in self._entries.values())

    def follow(self, follower: Follower, now: float) -> bool:
        """Take up who has just transferred a zone, or note that it still does.

        Returns:
            Whether it is new.
        """
        if follower.zone not in self._zones:
            return False
        entry = self._known(follower)
        if entry is None:
            if follower.port == DNS_PORT and any(one.is_client for one in self._beside(follower)):
                return False
            self._make_room(follower)
            self._add(Entry(follower, False, now))
            return True
        known = entry.follower
        tsig = known.tsig if entry.configured else follower.tsig
        entry.follower = known._replace(local=follower.local, tsig=tsig)
        entry.asked = now
        self._entries[known.key] = self._entries.pop(known.key)
        return False

    def confirm(self, key: Key) -> None:
        """Note that a follower has acknowledged a NOTIFY.

        If it is a client, it was also the client that transferred the zone over TCP, and no server.
        """
        entry = self._entries[key]
        if not entry.acknowledges:
            entry.acknowledges = self.changed = True
        server = self._entries.get((*key[:2], DNS_PORT))
        if entry.is_client and server and not server.configured and not server.acknowledges:
            self.remove((*key[:2], DNS_PORT))

    def forget(self, now: float) -> None:
        """Remove who has not asked for too long."""
        for key in [key for key, entry in self._entries.items() if entry.is_stale(now)]:
            self.remove(key)

    def remove(self, key: Key) -> None:
        """Remove a follower."""
        del self._entries[key]
        zone, address, port = key
        ports = self._ports[zone, address]
        ports.remove(port)
        if not ports:
            del self._ports[zone, address]
        self.changed = True

    def dump(self, now: float, wall: float) -> bytes:
        """Return the followers that are not in the configuration, for `restore`.

        Args:
            wall: Seconds since the epoch.
        """
        self.changed = False
        found = [entry for entry in self._entries.values() if not entry.configured]
        return json.dumps(
            [[*one.follower, round(wall - now + one.asked), one.acknowledges] for one in found]
        ).encode()

    def restore(self, dumped: bytes, now: float, wall: float, keys: t.Container[str]) -> None:
        """Take up the followers of a run before.

        Args:
            wall: Seconds since the epoch.
            keys: The names of the TSIG keys that there are now.

        Raises:
            ValueError: `dump` has not written that.
        """
        try:
            for *fields, asked, acknowledges in json.loads(dumped):
                follower = _checked(Follower(*fields))
                entry = Entry(follower, False, now - max(0.0, wall - asked), bool(acknowledges))
                usable = follower.zone in self._zones and not entry.is_stale(now)
                if follower.tsig is not None and follower.tsig not in keys:
                    usable = False
                if usable and self._known(follower) is None:
                    self._make_room(follower)
                    self._add(entry)
        except (TypeError, OverflowError, RecursionError) as exc:
            raise ValueError(str(exc)) from None
        self.changed = False

    def _known(self, follower: Follower) -> Entry | None:
        """Return the entry of a follower, which as a server may be configured at another port."""
        entry = self._entries.get(follower.key)
        if entry is None and follower.port == DNS_PORT:
            beside = self._beside(follower)
            entry = next((other for other in beside if other.configured), None)
        return entry

    def _beside(self, follower: Follower) -> list[Entry]:
        """Return the entries of the same zone and address."""
        zone, address = follower.zone, follower.address
        return [self._entries[zone, address, port] for port in self._ports.get((zone, address), ())]

    def _add(self, entry: Entry) -> None:
        follower = entry.follower
        self._entries[follower.key] = entry
        self._ports.setdefault((follower.zone, follower.address), []).append(follower.port)
        self.changed = True

    def _make_room(self, follower: Follower) -> None:
        """Remove whoever has not asked for longest, if it takes that to have *follower*."""
        beside = [entry for entry in self._beside(follower) if not entry.configured]
        if len(beside) >= PORTS_MAX:
            self.remove(min(beside, key=lambda entry: entry.asked).follower.key)
        elif len(self._entries) >= FOLLOWERS_MAX:
            self.remove(next(key for key, one in self._entries.items() if not one.configured))


def _checked(follower: Follower) -> Follower:
    """Return *follower* if there can be one like that.

    Raises:
        ValueError: there cannot.
    """
    zone, address, port, local, tsig = follower
    if not all(isinstance(text, str) for text in (zone, address, local, tsig or "")):
        raise ValueError(f"{follower!r} is no follower")
    for literal in (address, local or address):
        ipaddress.ip_address(literal)
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ValueError(f"{port!r} is no port")
    return follower


def encode(follower: Follower) -> bytes:
    """Return *follower* in the form that `decode` reads."""
    zone, address, port, local, tsig = follower
    fields = {"zone": zone, "address": address, "port": port, "local": local, "key": tsig}
    return json.dumps(fields).encode()


def decode(encoded: bytes) -> Follower:
    """Read what `encode` wrote in the same program; nothing else is expected here."""
    fields = json.loads(encoded)
    return Follower(
        fields["zone"], fields["address"], fields["port"], fields["local"], fields["key"]
    )
