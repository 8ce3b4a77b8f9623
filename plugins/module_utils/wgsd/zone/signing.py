# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signs a zone (RFC 4034, RFC 4035): what a step has changed, and what is about to expire."""

from __future__ import annotations

import dataclasses
import random
import struct
import time
import typing as t

from ..names import SERVICE
from .records import APEX_TTL, CLASS_IN, EXPIRE, INSTANCE_TTL, NEGATIVE_TTL, PTR, Zone, build
from .seals import DNSKEY, NSEC, RRSIG, RRSIG_HEAD, Ring, Seal, labels_of
from .version import Delta, Record, Version, pack

#: ECDSAP256SHA256 (RFC 6605).
ALGORITHM = 13
#: Seconds for which a signature is valid already when it is made: a validator's clock may be slow.
INCEPTION_SLACK = 3600
#: The part of its validity that a signature may lack, at random: what was signed together is not to
#: expire together.
JITTER = 0.2
#: Seconds by which signatures are replaced early if others are due: so they make fewer versions.
TOGETHER = 3600
#: Names whose signatures are replaced in one version.
REFRESH_MAX = 300
#: Seconds between two looks for what is due.
LOOK_PERIOD = 60
_RR_HEAD = struct.Struct("!HHI")
_LENGTH = struct.Struct("!H")

#: The TTL and the sorted data of the records at a name, by type.
_RRsets = dict[int, tuple[int, list[bytes]]]


class ZoneKey(t.NamedTuple):
    """A key of a zone.

    Attributes:
        dnskey: The data of its DNSKEY record.
        tag: Its key tag (RFC 4034 appendix B), another one for each key of a zone.
        sign: Makes the 64 bytes of a signature (RFC 6605 section 4).
        until: Seconds since the epoch at which the key leaves the zone; None if that is not known.
    """

    dnskey: bytes
    tag: int
    sign: t.Callable[[bytes], bytes]
    until: float | None = None


class _Term(t.NamedTuple):
    """When all signatures at a name are valid, in seconds since the epoch."""

    inception: int
    expiration: int


class Signer:
    """Signs one version of a zone after the other, of each only what is not signed well already."""

    def __init__(
        self,
        zone: str,
        keys: t.Sequence[ZoneKey],
        validity: int,
        wall: t.Callable[[], float] = time.time,
        chance: t.Callable[[], float] = random.random,
        alive: t.Callable[[], None] = lambda: None,
    ) -> None:
        """Make a signer.

        Args:
            zone: As `wgsd.names.check_zone` returns it.
            keys: The first one signs. The others are in the zone, and sign the keys only.
            validity: Seconds from the making of a signature to its expiration.
            wall: Seconds since the epoch.
            chance: Returns a number from 0 to 1.
            alive: Is called for each name, since very many take long.
        """
        origin = zone.encode().split(b".")
        self._depth = len(origin) - 1
        self._apex = _wire(origin)
        self._keys = keys
        self._validity = validity
        # What a secondary cannot renew any more has to expire before its signatures do.
        self._margin = max(validity // 3, EXPIRE)
        self._wall = wall
        self._chance = chance
        self._alive = alive
        self._zone: Zone | None = None
        self._terms: dict[str, _Term] = {}
        self._looked = 0.0

    def seal(self, before: Version, delta: Delta) -> Delta:
        """Return *delta* with all the seals that the step takes.

        Args:
            before: The version that it follows on.
            delta: Seals in it, from `refresh`, are used.
        """
        old = self._known(before)
        plain = dataclasses.replace(delta, seals={})
        content = before.after(plain).content
        if content is None:
            self._zone, self._terms = None, {}
            return plain
        if old is None or delta.whole:
            new = build(delta.zone, delta.serial, content)
        else:
            new = old.after(plain)
        sealed = {**before.seals, **delta.seals}
        seals = self._replaced(old, new, sealed, _touched(before, old, new, delta), 0)
        for owner, seal in seals.items():
            self._note(owner, seal)
        known = {} if delta.whole else before.seals
        seals = {owner: seal for owner, seal in seals.items() if seal != known.get(owner, b"")}
        delta = dataclasses.replace(delta, seals=seals)
        if old is None or delta.whole:
            self._zone = build(delta.zone, delta.serial, content, seals)
        else:
            self._zone = old.after(delta)
        return delta

    def refresh(self, version: Version) -> t.Mapping[str, bytes]:
        """Return the seals of *version* that are due to be replaced, for a step that `seal` gets.

        To ask all the time costs next to nothing.
        """
        now = self._wall()
        if 0 <= now - self._looked < LOOK_PERIOD:
            return {}
        self._looked = now
        zone = self._known(version)
        if zone is None or not version.seals:
            return {}
        # A key may leave the zone.
        self._note("", version.seals[""])
        horizon = now + self._margin
        if not any(self._is_due(term, now, horizon) for term in self._terms.values()):
            return {}
        early = horizon + TOGETHER
        due = [owner for owner, term in self._terms.items() if self._is_due(term, now, early)]
        due.sort(key=lambda owner: self._terms[owner].expiration)
        if len(due) > REFRESH_MAX:
            self._looked = 0.0
        return self._replaced(zone, zone, version.seals, due[:REFRESH_MAX], TOGETHER)

    def _known(self, version: Version) -> Zone | None:
        """Return the zone of a version; None if nothing is known of it."""
        if version.content is None:
            return None
        if self._zone is None or self._zone.serial != version.serial:
            self._zone = build(version.zone, version.serial, version.content, version.seals)
            self._terms = {}
            for owner, seal in version.seals.items():
                self._note(owner, seal)
        return self._zone

    def _note(self, owner: str, packed: bytes) -> None:
        """Remember when a seal has to be replaced."""
        if not packed:
            self._terms.pop(owner, None)
            return
        terms = [self._term(*item) for item in Seal(packed).signatures.items()]
        self._terms[owner] = _Term(
            max(term.inception for term in terms), min(term.expiration for term in terms)
        )

    def _term(self, rdtype: int, signatures: t.Sequence[Record]) -> _Term:
        """Return when signatures of an RRset are valid: never if not all of its keys sign it."""
        heads = [RRSIG_HEAD.unpack_from(signature.rdata) for signature in signatures]
        if {head[6] for head in heads} != {key.tag for key in self._keys_for(rdtype)}:
            return _Term(0, 0)
        return _Term(max(head[5] for head in heads), min(head[4] for head in heads))

    @staticmethod
    def _is_due(term: _Term, now: float, horizon: float) -> bool:
        """Whether something expires before *horizon*, or is not valid yet: clocks are set back."""
        return term.expiration < horizon or term.inception > now

    def _keys_for(self, rdtype: int) -> list[ZoneKey]:
        """Return the keys that sign records of a type."""
        return self._published() if rdtype == DNSKEY else [self._keys[0]]

    def _published(self) -> list[ZoneKey]:
        now = self._wall()
        return [key for key in self._keys if key.until is None or now < key.until]

    def _replaced(
        self,
        old: Zone | None,
        new: Zone,
        sealed: t.Mapping[str, bytes],
        touched: t.Iterable[str],
        early: int,
    ) -> dict[str, bytes]:
        """Return the seals of names whose records may have changed, and of those before them.

        Args:
            old: The version that *sealed* is good for.
            early: Seconds by which signatures are replaced early.
        """
        rrsets = {owner: _rrsets_at(new, owner) for owner in touched}
        if old is None or old.ring is None:
            ring = Ring(owner for owner in rrsets if rrsets[owner])
        else:
            before = old.seals
            joined = [owner for owner in rrsets if rrsets[owner] and owner not in before]
            left = [owner for owner in rrsets if not rrsets[owner] and owner in before]
            ring = old.ring.after(joined, left)
            for owner in map(ring.previous, (*joined, *left)):
                if owner not in rrsets:
                    rrsets[owner] = _rrsets_at(new, owner)
        kept = set(sealed)
        if old and not new.has_the_peers_of(old):
            # To compare the lists would take longer than to sign the new one.
            kept.discard(SERVICE)
        seals = {}
        for owner, wanted in rrsets.items():
            self._alive()
            if wanted:
                had = _rrsets_at(old, owner) if old and owner in kept else {}
                following = ring.next(owner)
                seals[owner] = self._seal(owner, wanted, following, had, sealed.get(owner), early)
            elif owner in sealed:
                seals[owner] = b""
        return seals

    def _seal(
        self,
        owner: str,
        wanted: _RRsets,
        following: str,
        had: _RRsets,
        packed: bytes | None,
        early: int,
    ) -> bytes:
        """Return the seal of a name, with what of the one before, which *had* goes with, is good.

        Args:
            following: The name after it.
        """
        types = [*wanted, RRSIG, NSEC] if owner else [*wanted, RRSIG, NSEC, DNSKEY]
        target = _wire(labels_of(following)) + self._apex
        records = [Record(NSEC, NEGATIVE_TTL, target + _bitmap(types))]
        if not owner:
            records += [Record(DNSKEY, APEX_TTL, key.dnskey) for key in self._published()]
        wanted = {**wanted, **_rrsets(records)}
        before = Seal(packed or b"")
        had = {
            **had,
            **_rrsets(record for kind in (NSEC, DNSKEY) for record in before.records.get(kind, ())),
        }
        now = self._wall()
        term = _Term(
            int(now) - INCEPTION_SLACK,
            int(now + self._validity * (1 - JITTER * self._chance())),
        )
        horizon = now + self._margin + early
        for rdtype, rrset in wanted.items():
            signatures = before.signatures.get(rdtype, [])
            if had.get(rdtype) != rrset or self._is_due(
                self._term(rdtype, signatures), now, horizon
            ):
                signatures = [
                    self._signature(key, owner, rdtype, rrset, term)
                    for key in self._keys_for(rdtype)
                ]
            records += signatures
        return pack(records)

    def _signature(
        self, key: ZoneKey, owner: str, rdtype: int, rrset: tuple[int, list[bytes]], term: _Term
    ) -> Record:
        """Sign an RRset (RFC 4034 section 3.1.8.1); its data is in canonical form and order."""
        ttl, rdatas = rrset
        labels = labels_of(owner)
        head = RRSIG_HEAD.pack(
            *(rdtype, ALGORITHM, self._depth + len(labels), ttl),
            *(term.expiration, term.inception, key.tag),
        )
        start = _wire(labels) + self._apex + _RR_HEAD.pack(rdtype, CLASS_IN, ttl)
        signed = [head, self._apex]
        for rdata in rdatas:
            signed += (start, _LENGTH.pack(len(rdata)), rdata)
        return Record(RRSIG, ttl, head + self._apex + key.sign(b"".join(signed)))


def _touched(before: Version, old: Zone | None, new: Zone, delta: Delta) -> set[str]:
    """Return the names whose records may not be as they were."""
    if (
        old is None
        or before.content is None
        or delta.whole
        or not before.seals
        or old.addresses != new.addresses
    ):
        return {*new.owners(), *before.seals}
    touched = {"", *delta.seals}
    if not new.has_the_peers_of(old):
        touched.add(SERVICE)
    now = {instance.public_key: instance for instance in delta.changed}
    for key in (*delta.removed, *now):
        versions = (before.content.instances.get(key), now.get(key))
        aliases = [instance.name for instance in versions if instance and instance.name]
        names = (key.unpadded_label, key.label, *aliases)
        touched.update(f"{name}.{SERVICE}" for name in names)
    return touched


def _rrsets_at(zone: Zone, owner: str) -> _RRsets:
    """Return the records at a name without its seal."""
    if owner == SERVICE:
        # There may be very many.
        targets = zone.listed()
        return {PTR: (INSTANCE_TTL, targets)} if targets else {}
    return _rrsets(zone.unsealed_at(owner))


def _rrsets(records: t.Iterable[Record]) -> _RRsets:
    """Return records of one name by type."""
    rrsets: _RRsets = {}
    for rdtype, ttl, rdata in records:
        rrsets.setdefault(rdtype, (ttl, []))[1].append(rdata)
    for _ttl, rdatas in rrsets.values():
        rdatas.sort()
    return rrsets


def _wire(labels: t.Iterable[bytes]) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels)


def _bitmap(types: t.Sequence[int]) -> bytes:
    """Return types below 256 as NSEC has them (RFC 4034 section 4.1.2)."""
    bits = bytearray(max(types) // 8 + 1)
    for rdtype in types:
        bits[rdtype // 8] |= 0x80 >> rdtype % 8
    return bytes([0, len(bits)]) + bits
