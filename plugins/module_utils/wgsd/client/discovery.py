# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members of the zone that the device lacks, and what this client has added to it for them."""

from __future__ import annotations

import dataclasses
import logging
import math
import socket
import typing as t

from .. import clock
from ..config import ClientSettings
from ..device import link
from ..directory import unusable
from ..errors import DeviceError
from ..keys import PublicKey
from ..model import Device, Member, PeerChange, PeerRecord
from ..plan import Added, Membership, Refusal, decide_members

log = logging.getLogger("wgsd.client")

#: Seconds between two reads of the interface's addresses while a member is refused: hardly ever
#: do they change.
ADDRESS_PERIOD = 30.0
#: Seconds after which it is tried again to write down what is to be added.
RECORD_PERIOD = 10.0

#: Writes down, for whoever comes next, which peers are ours on the interface with that index.
#: Raises OSError if it cannot.
Record = t.Callable[[int, t.Mapping[PublicKey, t.Optional[str]]], None]
Lookup = t.Callable[[t.Iterable[PublicKey]], t.Mapping[PublicKey, t.Optional[PeerRecord]]]


@dataclasses.dataclass(frozen=True)
class Known:
    """What an agent before this one has left.

    Attributes:
        index: Of the interface that it has added peers to; None for none.
        names: The peers that it has added, and their friendly names.
    """

    index: int | None = None
    names: t.Mapping[PublicKey, str | None] = dataclasses.field(default_factory=dict)


NOTHING_KNOWN = Known()


class _Seen(t.NamedTuple):
    """What the last decision was based on."""

    members: t.Mapping[PublicKey, Member]
    allowed: t.Mapping[PublicKey, tuple[str, ...]]
    own: PublicKey | None


class Discovery:
    """Decides at each look which members are to be added to the device, or removed from it.

    Attributes:
        due: Steady seconds at which time alone may lead to something else.
        refused: The members that are not on the device as the zone has them.
        index: The interface's index; None while it is not known.
        took_time: Whether the last look had to ask the kernel for more than the device.
    """

    def __init__(
        self,
        settings: ClientSettings,
        known: Known = NOTHING_KNOWN,
        *,
        record: Record = lambda _index, _names: None,
        interface_index: t.Callable[[str], int] = socket.if_nametoindex,
        read_addresses: t.Callable[[str], tuple[link.Interface, ...]] = link.addresses,
        now: t.Callable[[], float] = clock.steady,
    ) -> None:
        """Prepare, without touching anything.

        Args:
            known: What there is on the device of the agent before.
            record: Is called before anybody is added.
            interface_index: Raises OSError if there is no such interface.
            now: Steady seconds.
        """
        self.due = math.inf
        self.refused: t.Mapping[PublicKey, Refusal] = {}
        self.index: int | None = known.index
        self.took_time = False
        self._settings = settings
        self._record = record
        self._interface_index = interface_index
        self._read_addresses = read_addresses
        self._now = now
        self._added: t.Mapping[PublicKey, Added] = {
            key: Added(name) for key, name in known.names.items()
        }
        self._addresses: tuple[link.Interface, ...] = ()
        self._addresses_at = -math.inf
        self._seen: _Seen | None = None
        self._is_outsider = False
        self._fault = ""

    @property
    def names(self) -> dict[PublicKey, str | None]:
        """The peers on the device that this client has added, and their friendly names."""
        return _names(self._added)

    def look(
        self,
        device: Device,
        allowed: t.Mapping[PublicKey, tuple[str, ...]],
        members: t.Mapping[PublicKey, Member] | None,
        lookup: Lookup,
    ) -> list[PeerChange]:
        """Decide, and return what is to be changed.

        Args:
            device: As it is just now.
            allowed: The allowed IPs of its peers; the same object while they are the same.
            members: The members of the zone, the same object while they are the same; None while
                no server vouches for a copy of it.
            lookup: Returns what that copy says of peers.
        """
        now = self._now()
        self.took_time = False
        try:
            index = self._interface_index(self._settings.interface)
        except OSError:
            return []
        if index != self.index:
            # Made anew: what is on it now comes from its configuration.
            self.index, self._added, self._seen = index, {}, None
        if members is None:
            return []
        before = self._seen
        same = (
            before is not None
            and before.members is members
            and before.allowed is allowed
            and before.own == device.public_key
        )
        if same and now < self.due:
            return []
        if not same or now >= self._addresses_at + ADDRESS_PERIOD:
            self._look_at_addresses(now)
        self._seen = _Seen(members, allowed, device.public_key)
        missing = [key for key in members if key not in device.peers]
        records = lookup(missing) if missing else {}
        decided = decide_members(
            device,
            members,
            self._addresses,
            self._added,
            {
                key: record.endpoint
                for key, record in records.items()
                if record is not None and not unusable(record)
            },
            now,
            keepalive=self._settings.keepalive,
        )
        self._tell(device, members, decided.refused)
        fault = self._write_down(index, decided)
        if fault:
            decided = self._without_additions(decided, fault, now)
        for change in decided.changes:
            log.info("peer %s: %s", _title(change.change.public_key, change.name), change.reason)
        self._added, self.refused, self.due = decided.added, decided.refused, decided.due
        if self.refused:
            self.due = min(self.due, self._addresses_at + ADDRESS_PERIOD)
        return [change.change for change in decided.changes]

    def _write_down(self, index: int, decided: Membership) -> str:
        """Write down who is to be added; return why that cannot be done, empty if it is.

        Who is to go is written down as well, until it is gone: whatever ends us in between, the
        next client must go on.
        """
        if not any(change.change.create for change in decided.changes):
            return ""
        fault = ""
        try:
            self._record(index, _names(decided.added))
        except OSError as exc:
            fault = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)
            if fault != self._fault:
                log.warning(
                    "no member is added: %s; what is added must be known to the next client", fault
                )
        self._fault = fault
        return fault

    def _without_additions(self, decided: Membership, fault: str, now: float) -> Membership:
        """Return *decided* for when nobody can be added."""
        names = {one.change.public_key: one.name for one in decided.changes if one.change.create}
        reason = f"it cannot be written down that it was added: {fault}"
        return Membership(
            changes=tuple(one for one in decided.changes if not one.change.create),
            added={
                **{key: added for key, added in decided.added.items() if key not in names},
                **{key: added for key, added in self._added.items() if key in names},
            },
            refused={
                **decided.refused,
                **{key: Refusal(name, reason) for key, name in names.items()},
            },
            due=now + RECORD_PERIOD,
        )

    def _look_at_addresses(self, now: float) -> None:
        self._addresses_at, self.took_time = now, True
        try:
            self._addresses = self._read_addresses(self._settings.interface)
        except DeviceError as exc:
            # Nothing is added then; the next read of the device tells if there is more to it.
            self._addresses = ()
            log.warning("no member is added: %s", exc)

    def _tell(
        self,
        device: Device,
        members: t.Mapping[PublicKey, Member],
        refused: t.Mapping[PublicKey, Refusal],
    ) -> None:
        """Log once what keeps members off the device."""
        for key, refusal in refused.items():
            if refusal != self.refused.get(key):
                what = "keeps its networks" if key in device.peers else "not added"
                log.warning("member %s: %s: %s", _title(key, refusal.name), what, refusal.reason)
        is_outsider = device.public_key not in members
        if is_outsider and not self._is_outsider:
            log.warning("the zone does not have this host as a member: nobody is added or removed")
        self._is_outsider = is_outsider


def _names(added: t.Mapping[PublicKey, Added]) -> dict[PublicKey, str | None]:
    return {key: one.name for key, one in added.items() if one.there}


def _title(key: PublicKey, name: str | None) -> str:
    return f"{name} ({key})" if name else str(key)
