# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a zone came to be as it is: the differences between its newest version and those before."""

from __future__ import annotations

import collections
import typing as t

from ..keys import PublicKey
from .records import SOA, Zone, build
from .version import CHANGES_MAX, STEPS_MAX, Chain, Content, Delta, Instance, Record

#: A name relative to the zone, as in `Zone.owners`, and a record there.
Owned = tuple[str, Record]


class Difference:
    """What leads from one version to another, without the SOA records (RFC 1995 section 4)."""

    def __init__(self, then: Zone, now: Zone, sealed: t.Iterable[str]) -> None:
        """Compare two versions, or as much of them as differs.

        Args:
            sealed: Owners that may have other seals, and perhaps nothing else.
        """
        self._then = then
        self._now = now
        self._owners = tuple(dict.fromkeys((*then.owners(), *now.owners(), *sealed)))

    def deleted(self) -> t.Iterator[Owned]:
        """Return the records that only the first version has."""
        return self._only_in(self._then, self._now)

    def added(self) -> t.Iterator[Owned]:
        """Return the records that only the second version has."""
        return self._only_in(self._now, self._then)

    def _only_in(self, zone: Zone, other: Zone) -> t.Iterator[Owned]:
        for owner in self._owners:
            common = set(other.records_at(owner))
            for record in zone.records_at(owner):
                if record not in common and record.rdtype != SOA:
                    yield owner, record


class _Undo(t.NamedTuple):
    """What a step has changed, as it was before.

    Attributes:
        serial: Before the step.
        instances: None for those that were not there.
        seals: Empty for owners that had none.
    """

    serial: int
    addresses: tuple[str, ...]
    instances: t.Mapping[PublicKey, Instance | None]
    seals: t.Mapping[str, bytes]


class History:
    """What the last steps of a zone have changed; how far back it goes is bounded like a `Chain`.

    To add a step and to make a difference takes a time that depends on how much has changed, and
    not on how much the zone has.
    """

    def __init__(self, zone: str) -> None:
        """Make the history of a zone of which nothing is known yet.

        Args:
            zone: Its name.
        """
        self._zone = zone
        self._undos: collections.deque[_Undo] = collections.deque()
        self._changes = 0
        self._serial = 0
        self._addresses: tuple[str, ...] = ()
        #: Instances whose address is one of the zone's, so that it may change without them.
        self._addressed: set[PublicKey] = set()

    @classmethod
    def of(cls, chain: Chain) -> History:
        """Return the history that a chain tells."""
        history = cls(chain.newest.zone)
        history.step(None, chain.base.whole())
        content = chain.base.content
        instances = dict(content.instances) if content else {}
        seals = dict(chain.base.seals)
        for delta in chain.steps:
            history._note(delta, instances.get, seals.get)
            for key in delta.removed:
                instances.pop(key, None)
            instances.update((instance.public_key, instance) for instance in delta.changed)
            seals.update(delta.seals)
        return history

    def step(self, before: Zone | None, delta: Delta) -> None:
        """Note a step.

        Args:
            before: The zone as it was; None if nothing was known of it.
        """
        if before is None or delta.whole or delta.addresses is None:
            self._undos.clear()
            self._addressed.clear()
            self._changes = 0
            self._go_on(delta)
        else:
            self._note(delta, before.instance, before.seals.get)

    def difference(self, newest: Zone, serial: int, most: int = CHANGES_MAX) -> Difference | None:
        """Return what leads from the version with that serial to the newest one.

        Args:
            newest: The zone after the last step.
            most: Changed instances and seals that are not too many.

        Returns:
            None if that version is not known, or not any more, or if there are too many changes.
        """
        instances: dict[PublicKey, Instance | None] = {}
        seals: dict[str, bytes] = {}
        for undo in reversed(self._undos):
            instances.update(undo.instances)
            seals.update(undo.seals)
            if len(instances) + len(seals) > most:
                return None
            if undo.serial == serial:
                break
        else:
            return None
        if undo.addresses != self._addresses:
            for key in self._addressed:
                instances.setdefault(key, newest.instance(key))
        # Both versions without what they have in common is all that is to be compared.
        then = self._build(serial, undo.addresses, instances, seals)
        now = self._build(
            newest.serial,
            self._addresses,
            {key: newest.instance(key) for key in instances},
            {owner: newest.seals.get(owner, b"") for owner in seals},
        )
        return Difference(then, now, seals)

    def _note(
        self,
        delta: Delta,
        instance: t.Callable[[PublicKey], Instance | None],
        seal: t.Callable[[str, bytes], bytes],
    ) -> None:
        keys = [*delta.removed, *(changed.public_key for changed in delta.changed)]
        instances = {key: instance(key) for key in keys}
        seals = {owner: seal(owner, b"") for owner in delta.seals}
        self._undos.append(_Undo(self._serial, self._addresses, instances, seals))
        self._changes += _weight(self._undos[-1])
        while len(self._undos) > STEPS_MAX or self._changes > CHANGES_MAX:
            self._changes -= _weight(self._undos.popleft())
        self._go_on(delta)

    def _go_on(self, delta: Delta) -> None:
        self._serial = delta.serial
        self._addresses = delta.addresses or ()
        self._addressed.difference_update(delta.removed)
        for changed in delta.changed:
            if changed.is_here:
                self._addressed.add(changed.public_key)
            else:
                self._addressed.discard(changed.public_key)

    def _build(
        self,
        serial: int,
        addresses: tuple[str, ...],
        instances: t.Mapping[PublicKey, Instance | None],
        seals: t.Mapping[str, bytes],
    ) -> Zone:
        there = {key: instance for key, instance in instances.items() if instance}
        return build(self._zone, serial, Content(addresses, there), seals)


def _weight(undo: _Undo) -> int:
    """About how much there is in it."""
    return 1 + len(undo.instances) + len(undo.seals)
