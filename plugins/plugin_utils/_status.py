# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole mesh, put together from what each of its hosts says of its peers.

All names and texts come from hosts and from the zone, which others may control: what is kept of
them has no control characters and a length that fits on a screen.

Private to this collection.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
import typing as t

#: What became of asking a host.
ANSWERED, UNREACHABLE, FAILED, NOT_ASKED = "answered", "unreachable", "failed", "not asked"

#: How a host sees a peer, the best first.
DIRECT = "direct"
STATES = (DIRECT, "known", "punching", "unknown", "stale", "unreachable")
#: One end sees a tunnel and the other does not.
ONE_SIDED = "one-sided"

_MAX_NAME, _MAX_TEXT, _MAX_NUMBER = 80, 300, 10**15
_KEY_CHARACTERS = 12
_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


class Answer(t.NamedTuple):
    """What became of asking a host.

    Attributes:
        host: Its inventory name.
        name: Its name in the mesh.
        is_registry: Whether it is one.
        outcome: One of the four above.
        message: Why there is no answer.
        told: What `wgsd.mesh.wgsd_status` returned; empty if there is no answer.
        interface: The interface of this mesh.
        public_key: As far as the inventory or this run knows it.
        instance: What its daemons for this mesh are called; empty without a name.
    """

    host: str
    name: str
    is_registry: bool
    outcome: str
    message: str = ""
    told: t.Mapping[str, t.Any] = {}
    interface: str = "wg0"
    public_key: str | None = None
    instance: str = ""


class Entry(t.NamedTuple):
    """How a host sees a peer. Durations are seconds, up to when the host was asked."""

    state: str
    since: float | None
    handshake_age: float | None
    rtt: float | None
    answers_probes: bool | None
    endpoint: str | None
    endpoint_source: str | None
    directory_endpoint: str | None
    directory_failure: str | None
    reason: str | None
    last_action: str | None
    registry: bool
    discovered: bool

    @property
    def is_direct(self) -> bool:
        return self.state == DIRECT


@dataclasses.dataclass
class Node:
    """A host of the mesh, or a peer that is none of the inventory's.

    Attributes:
        label: What it is called here, different from all others.
        name: Its name in the mesh.
        host: Its inventory name; None if the inventory does not have it.
        public_key: None if nobody has told it.
        instance: What its daemons for this mesh are called; empty without a name.
        part: What it says of the interface; empty if it says nothing.
        version: Of its engine.
        complaints: What its engine complains about.
        entries: How it sees others, by their number in the mesh.
    """

    label: str
    name: str
    host: str | None = None
    is_registry: bool = False
    outcome: str = NOT_ASKED
    message: str = ""
    interface: str = ""
    public_key: str | None = None
    instance: str = ""
    part: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    version: str | None = None
    complaints: tuple[str, ...] = ()
    entries: dict[int, Entry] = dataclasses.field(default_factory=dict)

    @property
    def is_heard(self) -> bool:
        """Whether its view of the others is known."""
        return self.outcome == ANSWERED and bool(self.part) and not self.part.get("error")

    def get(self, section: str) -> t.Mapping[str, t.Any]:
        """Return a section of what it says; empty if it has nothing of the kind."""
        found = self.part.get(section)
        return found if isinstance(found, dict) else {}


class Link(t.NamedTuple):
    """Two nodes of which at least one has told how it sees the other."""

    one: int
    other: int
    forth: Entry | None
    back: Entry | None

    @property
    def views(self) -> tuple[Entry, ...]:
        return tuple(view for view in (self.forth, self.back) if view is not None)

    @property
    def is_up(self) -> bool:
        """Whether anybody sees a tunnel."""
        return any(view.is_direct for view in self.views)

    @property
    def state(self) -> str:
        states = {view.state for view in self.views}
        if DIRECT in states:
            return DIRECT if len(states) == 1 else ONE_SIDED
        return max(states, key=STATES.index)


@dataclasses.dataclass
class Mesh:
    """All that is known.

    Attributes:
        nodes: Registries first, then the other hosts, then peers that the inventory lacks.
        hosts: How many of the nodes are hosts of the inventory.
        zones: The names of the zone; more than one if hosts differ.
        now: When it was put together, in seconds since the epoch.
    """

    nodes: list[Node]
    hosts: int
    zones: tuple[str, ...]
    now: float

    @functools.cached_property
    def links(self) -> list[Link]:
        """Each pair of hosts once. Peers that the inventory lacks are not among them."""
        return [
            Link(one, other, forth, self.nodes[other].entries.get(one))
            for one, node in enumerate(self.nodes)
            for other, forth in node.entries.items()
            if other < self.hosts and (one < other or one not in self.nodes[other].entries)
        ]

    @functools.cached_property
    def tally(self) -> dict[int, tuple[int, int]]:
        """By host, how many links it has, and how many of these nobody sees a tunnel on."""
        count: collections.Counter[int] = collections.Counter()
        down: collections.Counter[int] = collections.Counter()
        for link in self.links:
            is_down = not link.is_up
            for end in (link.one, link.other):
                count[end] += 1
                down[end] += is_down
        return {number: (count[number], down[number]) for number in count}

    @functools.cached_property
    def alone(self) -> frozenset[int]:
        """The hosts to which nobody has a tunnel: what is said of each once, explains the rest."""
        return frozenset(number for number, (count, down) in self.tally.items() if count == down)

    @functools.cached_property
    def pairs(self) -> collections.Counter[str]:
        """How many pairs of hosts that are no registries are in each state."""
        return collections.Counter(
            link.state
            for link in self.links
            if not self.nodes[link.one].is_registry and not self.nodes[link.other].is_registry
        )


def assemble(answers: t.Iterable[Answer], now: float) -> Mesh:
    """Put the mesh together; the time this takes grows with the number of entries.

    Args:
        answers: One for each host of the mesh.
        now: Seconds since the epoch.
    """
    nodes = [_node(answer) for answer in sorted(answers, key=_order)]
    hosts = len(nodes)
    by_key: dict[str, int] = {}
    for number, node in enumerate(nodes):
        if node.public_key:
            by_key.setdefault(node.public_key, number)
    _recognise(nodes, by_key)
    for number, node in enumerate(nodes[:hosts]):
        for told, now_there in _peers_of(node):
            key = told["public_key"]
            if key not in by_key and not told.get("allowed_ips"):
                # The next key of a host that is about to replace its own.
                continue
            if key not in by_key:
                by_key[key] = len(nodes)
                name = clean(told.get("name"), _MAX_NAME) or f"{key[:_KEY_CHARACTERS]}..."
                nodes.append(Node(name, name, public_key=key))
            if by_key[key] != number:
                nodes[number].entries[by_key[key]] = _entry(told, now_there)
    _label(nodes)
    zones = dict.fromkeys(
        clean(zone, _MAX_NAME) for node in nodes for zone in _zones_of(node) if zone
    )
    return Mesh(nodes, hosts, tuple(filter(None, zones)), now)


def clean(value: t.Any, longest: int = _MAX_TEXT) -> str | None:
    """Return a text that is safe to be shown; None for what is no text or empty."""
    if not isinstance(value, str) or not value:
        return None
    if len(value) <= longest and value.isprintable():
        return value
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:longest])
    return text if len(value) <= longest else f"{text[:-1]}\N{HORIZONTAL ELLIPSIS}"


def number(value: t.Any) -> float | None:
    """Return a number; None for what is none, or none of this world."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -_MAX_NUMBER < value < _MAX_NUMBER else None


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return what sorts names as people do: peer2 before peer10."""
    # Digits of other scripts are digits to a pattern and to int(), superscripts to neither.
    parts = re.findall(r"[0-9]+|[^0-9]+", text[:_MAX_NAME].lower())
    return tuple((0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in parts)


def _order(answer: Answer) -> tuple[bool, t.Any, str]:
    return not answer.is_registry, natural(answer.name), answer.host


def _node(answer: Answer) -> Node:
    told = answer.told
    parts = told.get("interfaces")
    found = [p for p in parts if isinstance(p, dict)] if isinstance(parts, list) else []
    mine = next((part for part in found if part.get("interface") == answer.interface), {})
    name = clean(answer.name, _MAX_NAME) or "?"
    return Node(
        label=name,
        name=name,
        host=clean(answer.host, _MAX_NAME) or "?",
        is_registry=answer.is_registry,
        outcome=answer.outcome,
        message=clean(" ".join(answer.message.split())) or "",
        interface=answer.interface,
        public_key=_key(mine.get("public_key")) or _key(answer.public_key),
        instance=clean(answer.instance, _MAX_NAME) or "",
        part={**mine, "now": told.get("now")} if mine else {},
        version=clean(told.get("version"), _MAX_NAME),
        complaints=_complaints(told) if answer.outcome == ANSWERED else (),
    )


def _key(value: t.Any) -> str | None:
    """Return a public key in base64; None for what is none."""
    return value if isinstance(value, str) and _KEY.fullmatch(value) else None


def _complaints(told: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    found = told.get("problems")
    return tuple(filter(None, map(clean, found if isinstance(found, list) else ())))


def _peers_of(node: Node) -> t.Iterator[tuple[t.Mapping[str, t.Any], float | None]]:
    """Return the peers of a host that can be told apart, and the host's clock."""
    peers = node.part.get("peers")
    now = number(node.part.get("now"))
    for told in peers if isinstance(peers, list) else ():
        if isinstance(told, dict) and _key(told.get("public_key")):
            yield told, now


def _recognise(nodes: t.Sequence[Node], by_key: dict[str, int]) -> None:
    """Find the hosts that have not told their keys by the names that others give their peers."""
    unknown: dict[str, int] = {}
    for index, node in enumerate(nodes):
        if not node.public_key:
            unknown.setdefault(node.name, index)
    if not unknown:
        return
    said: dict[int, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for node in nodes:
        for told, _now in _peers_of(node):
            index = unknown.get(clean(told.get("name"), _MAX_NAME) or "")
            if index is not None and told["public_key"] not in by_key and told.get("allowed_ips"):
                said[index][told["public_key"]] += 1
    for index, keys in said.items():
        key = keys.most_common(1)[0][0]
        nodes[index].public_key = key
        by_key[key] = index


def _entry(told: t.Mapping[str, t.Any], now: float | None) -> Entry:
    state, since, answers = told.get("state"), number(told.get("since")), told.get("answers_probes")
    age = number(told.get("handshake_age"))
    return Entry(
        state=state if state in STATES else "unknown",
        since=None if since is None or now is None else round(max(0.0, now - since), 1),
        handshake_age=None if age is None else round(max(0.0, age), 1),
        rtt=number(told.get("rtt")),
        answers_probes=answers if isinstance(answers, bool) else None,
        endpoint=clean(told.get("endpoint"), _MAX_NAME),
        endpoint_source=clean(told.get("endpoint_source"), _MAX_NAME),
        directory_endpoint=clean(told.get("directory_endpoint"), _MAX_NAME),
        directory_failure=clean(told.get("directory_failure")),
        reason=clean(told.get("reason")),
        last_action=clean(told.get("last_action")),
        registry=told.get("registry") is True,
        discovered=told.get("discovered") is True,
    )


def _label(nodes: t.Sequence[Node]) -> None:
    """Tell nodes of the same name apart."""
    count = collections.Counter(node.name for node in nodes)
    for node in nodes:
        if count[node.name] > 1:
            more = node.host or f"key {(node.public_key or '?')[:_KEY_CHARACTERS]}"
            node.label = f"{node.name} ({more})"


def _zones_of(node: Node) -> list[t.Any]:
    report = node.get("responder").get("report")
    served = report.get("zones") if isinstance(report, dict) else None
    mine = node.part.get("interface")
    return [
        node.get("directory").get("zone"),
        *(
            zone.get("zone")
            for zone in (served if isinstance(served, list) else ())
            if isinstance(zone, dict) and zone.get("device") == mine
        ),
    ]
