# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The peers of a zone by all the names that they have in it."""

from __future__ import annotations

import typing as t

from ..keys import PADDED_LABEL_LENGTH, UNPADDED_LABEL_LENGTH
from .version import Delta, Instance

_PADDING = b"=" * (PADDED_LABEL_LENGTH - UNPADDED_LABEL_LENGTH)


class Peers:
    """The instances of a zone by all their names; never changed after it was made.

    Attributes:
        instances: By padded label, and sorted by it.
        listed: The labels of those that have an endpoint, in that order. The same object from
            version to version, as long as it has the same labels in it.
        friendly: Padded labels by friendly name.
        labels: All these names and the labels without padding, by their length. The same object
            from version to version, as long as it has the same names in it.
    """

    def __init__(
        self,
        instances: t.Mapping[bytes, Instance] | None = None,
        friendly: t.Mapping[bytes, bytes] | None = None,
        labels: t.Mapping[int, t.AbstractSet[bytes]] | None = None,
        listed: t.Sequence[bytes] = (),
    ) -> None:
        self.instances = instances or {}
        self.listed = listed
        self.friendly = friendly or {}
        self.labels = labels or {}

    def padded(self, label: bytes) -> bytes | None:
        """Return the padded form of the label of an instance, None if there is none of it."""
        if len(label) == UNPADDED_LABEL_LENGTH:
            label += _PADDING
        return label if label in self.instances else None

    def after(self, delta: Delta) -> Peers:
        """Return the instances that there are after the step."""
        changed = {instance.public_key.label.encode(): instance for instance in delta.changed}
        removed = [key.label.encode() for key in delta.removed]
        before = {label: self.instances.get(label) for label in (*removed, *changed)}
        instances = dict(self.instances)
        for label in removed:
            instances.pop(label, None)
        instances.update(changed)
        if all(
            old is not None and label in changed and old.name == changed[label].name
            for label, old in before.items()
        ):
            listed = self.listed
            if any(
                old is not None and old.has_endpoint != changed[label].has_endpoint
                for label, old in before.items()
            ):
                listed = _listed(instances)
            return Peers(instances, self.friendly, self.labels, listed)
        friendly = dict(self.friendly)
        for old in before.values():
            if old is not None and old.name:
                friendly.pop(old.name.encode(), None)
        for label, new in changed.items():
            if new.name:
                friendly[new.name.encode()] = label
        names = [
            one.name.encode() for one in (*before.values(), *delta.changed) if one and one.name
        ]
        touched = {*names, *before, *(label[:UNPADDED_LABEL_LENGTH] for label in before)}
        lengths = {len(label) for label in touched}
        copied = {length: set(self.labels.get(length, ())) for length in lengths}
        # Most of it is sorted already, so that this is quick.
        ordered = {label: instances[label] for label in sorted(instances)}
        listed = _listed(ordered)
        # Who joins without an endpoint changes nothing for those who browse.
        listed = self.listed if listed == self.listed else listed
        after = Peers(ordered, friendly, {**self.labels, **copied}, listed)
        for label in touched:
            if label in friendly or after.padded(label):
                copied[len(label)].add(label)
            else:
                copied[len(label)].discard(label)
        return after


def _listed(instances: t.Mapping[bytes, Instance]) -> tuple[bytes, ...]:
    return tuple(label for label, instance in instances.items() if instance.has_endpoint)
