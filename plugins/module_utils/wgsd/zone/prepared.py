# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers as bytes: what the complete path has said to an ordinary query once is said again.

An ordinary query has one question, of class IN and a common type, and at most an OPT record without
options. Its answer depends on the zone, on the address and the transport that it came by, and on
nothing else: the ID is echoed, and so is the question, whose case does not matter. So the answer to
all queries of a kind is cut from the response that the complete path gave to the first of them.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from .message import DO, HEADER, OPT, TYPE_CLASS, TYPE_CLASS_TTL_LENGTH
from .records import CLASS_IN, PTR, Zone
from .seals import labels_of

if t.TYPE_CHECKING:
    from ..keys import PublicKey
    from .records import Labels
    from .version import Delta

#: Of a response: what comes before the question, without the ID, and what after it.
Parts = tuple[bytes, bytes]
#: Of one that denies a name, besides: the first labels that must not be denied.
Denial = tuple[bytes, bytes, t.Container[bytes]]
#: For queries that are the same from their second label on:
#: * returns the parts of the response by the query's bytes between the ID and the second label,
#: * denials by those between the ID and the first label (so by its length as well),
#: * the slots that count a response that is no denial, and one that is,
#: * the bytes of the query after its question.
#: All bytes of the query are in lower case. For an ordinary query that makes no difference beside
#: its name: it may be one type without records for another, one large UDP size for another.
Answers = tuple[t.Callable[[bytes], t.Optional[Parts]], dict[bytes, Denial], int, int, int]

#: What people and programs ask for: A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, NAPTR, DS, DNSKEY,
#: SVCB, HTTPS, ANY, CAA.
_TYPES = (1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 43, 48, 64, 65, 255, 257)
_TYPE_CLASSES = frozenset(TYPE_CLASS.pack(rdtype, CLASS_IN) for rdtype in _TYPES)
#: The header after its ID: RD, AD and CD as they like, one question, with or without OPT.
_HEADERS = frozenset(
    struct.pack("!5H", rd | ad | cd, 1, 0, 0, opt)
    for rd in (0, 0x0100)
    for ad in (0, 0x0020)
    for cd in (0, 0x0010)
    for opt in (0, 1)
)
#: UDP sizes that resolvers and stubs are known to offer.
_UDP_SIZES = (
    *(512, 1220, 1232, 1280, 1400, 1410, 1452, 1472, 1480, 1500),
    *(2048, 4096, 8192, 16384, 32768, 65494, 65535),
)
#: What may follow the question: nothing, or an OPT record without options.
_OPTS = frozenset(
    b"\0" + TYPE_CLASS_TTL_LENGTH.pack(OPT, size, do, 0) for size in _UDP_SIZES for do in (0, DO)
) | {b""}
_OPT_BYTES = 1 + TYPE_CLASS_TTL_LENGTH.size
_TC = 0x02
_NOERROR, _NXDOMAIN = 0, 3

#: Bytes of all answers together, about.
ROOM = 16 << 20
#: Addresses that there are answers for, times transports.
VIEWS = 32
#: Bytes that an answer takes besides those of its key and its value.
_OVERHEAD = 350


if t.TYPE_CHECKING:
    #: A table of responses, and a key in it.
    Place = tuple[dict[bytes, Parts], bytes]


@dataclasses.dataclass
class _Group:
    """What answers are made of for queries that are the same from their second label on."""

    slot: int
    slot_denied: int
    opt_bytes: int
    responses: dict[bytes, Parts] = dataclasses.field(default_factory=dict)
    denials: dict[bytes, Denial] = dataclasses.field(default_factory=dict)

    def answers(self) -> Answers:
        return self.responses.get, self.denials, self.slot, self.slot_denied, self.opt_bytes


@dataclasses.dataclass
class _Dependents:
    """Where the answers of one zone are, by what they depend on besides its addresses."""

    on_serial: list[Place] = dataclasses.field(default_factory=list)
    on_names: list[Place] = dataclasses.field(default_factory=list)
    on_instance: dict[PublicKey, list[Place]] = dataclasses.field(default_factory=dict)
    denying: set[bytes] = dataclasses.field(default_factory=set)


class View:
    """The answers to those who ask one address by one transport.

    Whoever has no time to call `find` may look into the table first: it then has to be asked in
    lower case, and `find` has the answer to other spellings.

    Attributes:
        answers: By the query from its second label on, in lower case.
        opened: The origins of the zones that may be asked. Only these are looked after.
        size: Bytes of all this, about.
    """

    def __init__(
        self,
        zones: t.Mapping[Labels, Zone | None],
        opened: t.Collection[Labels],
        tcp: bool,
        slot: t.Callable[[int, int], int],
    ) -> None:
        """Make a view without answers.

        Args:
            zones: All that are served, by origin; None: nothing is known of it.
            slot: Returns what counts an answer, by the type asked for and the rcode.
        """
        self.answers: dict[bytes, Answers] = {}
        self.opened = opened
        self.size = 0
        self._zones = zones
        self._tcp = tcp
        self._slot = slot
        self._groups: dict[bytes, _Group] = {}
        self._dependents: dict[Labels, _Dependents] = {}

    def find(self, query: bytes) -> tuple[bytes, int] | None:
        """Return the response to a query in whatever case, and its slot; None if not known."""
        if len(query) <= HEADER.size:
            return None
        low = query.lower()
        second = HEADER.size + 1 + low[HEADER.size]
        answers = self.answers.get(low[second:])
        if answers is None:
            return None
        parts_by, denials, slot, slot_denied, opt_bytes = answers
        parts = parts_by(low[2:second])
        if parts is None:
            denial = denials.get(low[2 : HEADER.size + 1])
            if denial is None or low[HEADER.size + 1 : second] in denial[2]:
                return None
            parts, slot = denial[:2], slot_denied
        before, after = parts
        return query[:2] + before + query[HEADER.size : len(query) - opt_bytes] + after, slot

    def learn(self, query: bytes, response: bytes) -> None:
        """Keep what the complete path has answered, if more queries of the kind are to come.

        Args:
            query: `find` did not know it.
            response: To someone who may ask all zones in `opened`.
        """
        labels = _ordinary_name(query)
        # What is truncated is rare, and counted as such.
        if not labels or (response[2] & _TC and not self._tcp):
            return
        origin = next((labels[i:] for i in range(len(labels)) if labels[i:] in self._zones), ())
        zone = self._zones.get(origin)
        if zone is None or origin not in self.opened:
            return
        dependents = self._dependents.setdefault(origin, _Dependents())
        low = query.lower()
        second = HEADER.size + 1 + low[HEADER.size]
        rest, opt_bytes = low[second:], _OPT_BYTES if query[11] else 0
        end = len(query) - opt_bytes
        parts = response[2 : HEADER.size], response[end:]
        rdtype = TYPE_CLASS.unpack_from(query, end - TYPE_CLASS.size)[0]
        group = self._groups.get(rest)
        if group is None:
            slots = self._slot(rdtype, _NOERROR), self._slot(rdtype, _NXDOMAIN)
            group = _Group(*slots, opt_bytes)
            self._groups[rest] = group
            self.answers[rest] = group.answers()
            self.size += _cost(rest, b"")
        if response[3] & 0xF != _NXDOMAIN:
            key = low[2:second]
            group.responses[key] = parts
            self.size += _cost(key, parts[1])
            instance = zone.instance_of(labels)
            authorities, additionals = struct.unpack_from("!2H", response, 8)
            if instance is not None and not authorities:
                places = dependents.on_instance.setdefault(instance, [])
            elif rdtype == PTR and not authorities and additionals == query[11]:
                places = dependents.on_names
            else:
                places = dependents.on_serial
            places.append((group.responses, key))
            return
        if zone.seals and _wants_seals(low):
            # What proves that a name is missing does so for no other one of the group.
            return
        kept = self._labels_kept(zone, labels)
        if kept is not None and labels[0] not in kept:
            group.denials[low[2 : HEADER.size + 1]] = (*parts, kept)
            self.size += _cost(rest, parts[1])
            dependents.denying.add(rest)

    def forget(self, origin: Labels, before: Zone | None, delta: Delta) -> None:
        """Drop what may be another answer after the step of a zone."""
        zone = self._zones[origin]
        if before is None or zone is None or delta.whole or zone.addresses != before.addresses:
            self.clear()
            return
        if bool(zone.seals) != bool(before.seals):
            self.clear()
            return
        dependents = self._dependents.get(origin)
        if dependents is None:
            return
        for rest in dependents.denying:
            denials = self._groups[rest].denials
            self.size -= sum(_cost(rest, denial[1]) for denial in denials.values())
            denials.clear()
        dependents.denying.clear()
        self._drop(dependents.on_serial)
        if not zone.lists_the_same(before):
            self._drop(dependents.on_names)
        for instance in delta.changed:
            self._drop(dependents.on_instance.pop(instance.public_key, []))
        for public_key in delta.removed:
            self._drop(dependents.on_instance.pop(public_key, []))
        for owner in delta.seals:
            labels = (*labels_of(owner), *origin)
            instance_key = zone.instance_of(labels) or before.instance_of(labels)
            if instance_key is not None:
                self._drop(dependents.on_instance.pop(instance_key, []))
            elif owner:
                self._drop(dependents.on_names)

    def clear(self) -> None:
        """Drop all answers."""
        self.answers.clear()
        self._groups.clear()
        self._dependents.clear()
        self.size = 0

    def _drop(self, places: list[Place]) -> None:
        for responses, key in places:
            self.size -= _cost(key, responses.pop(key)[1])
        places.clear()

    def _labels_kept(self, zone: Zone, labels: Labels) -> t.Container[bytes] | None:
        """Return what beside a name must not be denied like it; None if that is not known."""
        if any(origin[1:] == labels[1:] for origin in self._zones):
            return None
        return zone.labels_below(labels[1:], len(labels[0]))


class Shelf:
    """All views of a process, in a bounded number of bytes.

    Attributes:
        zones: By origin; None: nothing is known of it.
    """

    def __init__(
        self,
        origins: t.Iterable[Labels],
        open_zones: t.Callable[[str], t.Collection[Labels]],
        slot: t.Callable[[int, int], int],
    ) -> None:
        """Make a shelf without views.

        Args:
            open_zones: Returns the zones that anyone may ask who is let in at a local address.
            slot: Returns what counts an answer, by the type asked for and the rcode.
        """
        self.zones: dict[Labels, Zone | None] = dict.fromkeys(origins)
        self._open_zones = open_zones
        self._slot = slot
        self._views: dict[tuple[str, bool, bool], View] = {}

    def view(self, local: str, tcp: bool) -> View:
        """Return the view of those whom the kernel lets in at a tunnel address."""
        key = (local, tcp, False)
        if key not in self._views:
            self._views[key] = View(self.zones, self._open_zones(local), tcp, self._slot)
        return self._views[key]

    def guarded_view(self, local: str, tcp: bool) -> View | None:
        """Return the view of those who may ask every zone at whatever address of ours.

        Returns:
            None if there are very many addresses.
        """
        key = (local, tcp, True)
        if key not in self._views and len(self._views) < VIEWS:
            self._views[key] = View(self.zones, self.zones, tcp, self._slot)
        return self._views.get(key)

    def step(self, origin: Labels, zone: Zone | None, delta: Delta) -> None:
        """Replace a zone; *delta* has led to it."""
        before, self.zones[origin] = self.zones[origin], zone
        for (local, _tcp, guarded), view in self._views.items():
            view.forget(origin, before, delta)
            if not guarded:
                view.opened = self._open_zones(local)

    def learn(self, view: View, query: bytes, response: bytes) -> None:
        """Have *view* learn, and make room for that if need be."""
        if sum(one.size for one in self._views.values()) > ROOM:
            for one in self._views.values():
                one.clear()
        view.learn(query, response)


def _cost(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD


def _wants_seals(query: bytes) -> bool:
    """Whether an ordinary query has an OPT record with the DO flag."""
    return bool(query[11]) and bool(query[-4] << 8 & DO)


def _end_of_name(query: bytes) -> int:
    """Return where the name of an ordinary query ends."""
    return len(query) - TYPE_CLASS.size - (_OPT_BYTES if query[11] else 0)


def _ordinary_name(query: bytes) -> Labels | None:
    """Return the name that is asked for, in lower case; None if the query is not ordinary."""
    if query[2:12] not in _HEADERS:
        return None
    asked = _end_of_name(query)
    end = asked + TYPE_CLASS.size
    if query[asked:end] not in _TYPE_CLASSES or query[end:] not in _OPTS:
        return None
    return _labels(query[HEADER.size : asked].lower())


def _labels(name: bytes) -> Labels | None:
    """Return the labels of a name on the wire; None if these bytes are not one name."""
    labels = []
    position = 0
    while position < len(name):
        end = position + 1 + name[position]
        labels.append(name[position + 1 : end])
        if end == position + 1:
            break
        position = end
    return tuple(labels) if labels and position + 1 == len(name) else None
