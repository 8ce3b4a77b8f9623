# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a mesh, the worst first; what has one cause is told once.

Private to this collection.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.table import age

from ._status import ANSWERED, FAILED, NOT_ASKED, UNREACHABLE, Link, Mesh, Node, clean
from ._status import number as number_of

ERROR, WARNING, NOTE = "error", "warning", "note"
_SEVERITIES = (ERROR, WARNING, NOTE)
#: Hosts that a sentence names.
_NAMED = 5
#: Links of a host from which on they are told together.
_TOGETHER = 4
#: States of a peer that is being tried just now.
_TRIED = frozenset(("known", "punching"))


class Problem(t.NamedTuple):
    """One thing that is wrong.

    Attributes:
        severity: `ERROR` (somebody is not reached), `WARNING` or `NOTE`.
        kind: A word for machines.
        nodes: Whom it is about, by their numbers in the mesh.
        text: A sentence.
        remedy: What to do, or where to look; empty if nothing better is known.
    """

    severity: str
    kind: str
    nodes: tuple[int, ...]
    text: str
    remedy: str = ""


def find_problems(mesh: Mesh) -> list[Problem]:
    """Return what is wrong, the worst first."""
    found = [
        *_silent(mesh),
        *_alone(mesh),
        *_hosts(mesh),
        *_down(mesh),
        *_one_sided(mesh),
        *_strangers(mesh),
        *_doubles(mesh),
        *_differences(mesh),
    ]
    # What comes first within a severity explains what comes after.
    return sorted(found, key=lambda problem: _SEVERITIES.index(problem.severity))


def _silent(mesh: Mesh) -> t.Iterator[Problem]:
    """Tell of hosts that did not answer, and whether the mesh reaches them."""
    unasked = [n for n in range(mesh.hosts) if mesh.nodes[n].outcome == NOT_ASKED]
    for number, node in enumerate(mesh.nodes[: mesh.hosts]):
        if node.outcome not in (UNREACHABLE, FAILED):
            continue
        count, down = mesh.tally.get(number, (0, 0))
        if not count:
            others = "and nobody else tells of it"
        elif down == count:
            others = f"and nobody has a tunnel to it ({count} of {count} say so)"
        else:
            others = (
                f"though {count - down} of {count} hosts have a tunnel to it{_last(mesh, number)}"
            )
        what = "cannot be reached by Ansible" if node.outcome == UNREACHABLE else "gave no status"
        said = f": {node.message}" if node.message else ""
        remedy = "is it on?" if down == count else f"try ssh {node.host}"
        if node.outcome == FAILED:
            remedy = "there: wgsd status"
        yield Problem(ERROR, "no-answer", (number,), f"{node.label} {what}, {others}{said}", remedy)
    if unasked:
        names = _names(mesh, unasked)
        text = f"{names} {'was' if len(unasked) == 1 else 'were'} not asked"
        yield Problem(NOTE, "not-asked", tuple(unasked), text, "run without --limit")


def _last(mesh: Mesh, number: int) -> str:
    """Say when somebody has heard of a host last: a session outlives a host by three minutes."""
    ages = [node.entries[number].handshake_age for node in mesh.nodes if number in node.entries]
    known = [seconds for seconds in ages if seconds is not None]
    return f", the last handshake {age(min(known))} ago" if known else ""


def _alone(mesh: Mesh) -> t.Iterator[Problem]:
    """Tell of hosts to which nobody has a tunnel, of many of them together."""
    told = (UNREACHABLE, FAILED)
    alone = [number for number in sorted(mesh.alone) if mesh.nodes[number].outcome not in told]
    for number in alone:
        node = mesh.nodes[number]
        if node.is_registry:
            count = mesh.tally[number][0]
            text = f"nobody has a tunnel to the registry {node.label} ({count} of {count} say so)"
            remedy = "does UDP get to its endpoint? There: wgsd status, wg show"
            yield Problem(ERROR, "alone", (number,), text, remedy)
    peers = [number for number in alone if not mesh.nodes[number].is_registry]
    remedy = "is it on, and does UDP leave its network? There: wgsd status"
    for numbers in [peers] if len(peers) >= _TOGETHER else [[number] for number in peers]:
        verb = "has" if len(numbers) == 1 else "have"
        count = mesh.tally[numbers[0]][0]
        many = (
            f" ({count} of {count} are down)" if len(numbers) == 1 else f" ({len(numbers)} hosts)"
        )
        text = f"{_names(mesh, numbers)} {verb} a tunnel to nobody{many}"
        yield Problem(ERROR, "alone", tuple(numbers), text, remedy)


def _hosts(mesh: Mesh) -> t.Iterator[Problem]:
    """Tell what each host says of itself."""
    for number, node in enumerate(mesh.nodes[: mesh.hosts]):
        if node.outcome != ANSWERED:
            continue
        here = (number,)
        if not node.part:
            text = f"{node.label} has no mesh on {node.interface}"
            yield Problem(ERROR, "no-interface", here, text, "run wgsd.mesh.site for it")
            continue
        error = clean(node.part.get("error"))
        if error:
            yield Problem(ERROR, "no-device", here, f"{node.label}: {error}", "there: wg show")
            continue
        yield from _daemons(node, here)
        yield from _directory(mesh, node, here)
        for one in _dicts(node.part.get("not_added")):
            who = clean(one.get("name"), 80) or f"{str(one.get('public_key'))[:12]}..."
            text = f"{node.label} has not added {who}: {clean(one.get('reason')) or 'no reason'}"
            yield Problem(WARNING, "not-added", here, text)


def _daemons(node: Node, here: tuple[int, ...]) -> t.Iterator[Problem]:
    client = clean(node.get("client").get("problem"))
    told = []
    if client and not node.is_registry:
        told.append(client)
        text = f"{node.label}: {client}; its tunnels follow nobody who moves"
        remedy = _look_at("client", node.instance)
        yield Problem(ERROR, "no-client", here, text, remedy)
    if node.is_registry:
        responder = node.get("responder")
        report = responder.get("report")
        problem = clean(responder.get("problem"))
        told += [problem] if problem else []
        if not responder:
            problem = f"no responder is configured for {node.interface}"
        elif not isinstance(report, dict) and not problem:
            problem = "the responder has not reported"
        if problem:
            instance = clean(responder.get("instance"), 80) or node.instance
            remedy = _look_at("responder", instance)
            text = f"the registry {node.label}: {problem}"
            yield Problem(ERROR, "no-responder", here, text, remedy)
        elif isinstance(report, dict):
            yield from _responder(node, here, report)
    for complaint in node.complaints:
        if not any(problem[:60] in complaint for problem in told):
            yield Problem(WARNING, "complaint", here, f"{node.label}: {complaint}")


def _look_at(daemon: str, instance: str) -> str:
    unit = f"wgsd-{daemon}" + (f"@{instance}" if instance else "")
    return f"there: systemctl status {unit}; journalctl -u {unit}"


def _responder(
    node: Node, here: tuple[int, ...], report: t.Mapping[str, t.Any]
) -> t.Iterator[Problem]:
    for zone in _dicts(report.get("zones")):
        if zone.get("known") is False and zone.get("device") == node.part.get("interface"):
            text = f"the registry {node.label} cannot serve {clean(zone.get('zone'), 80)}"
            yield Problem(ERROR, "zone-fails", here, text, "there: wgsd status")
    trouble = report.get("trouble")
    for each in filter(None, map(clean, trouble if isinstance(trouble, list) else ())):
        yield Problem(WARNING, "responder", here, f"the registry {node.label}: {each}")


def _directory(mesh: Mesh, node: Node, here: tuple[int, ...]) -> t.Iterator[Problem]:
    directory = node.get("directory")
    silent = directory.get("silent")
    silent = [text for text in map(clean, silent if isinstance(silent, list) else ()) if text]
    trouble = clean(directory.get("trouble"))
    lost = [
        number
        for number, entry in node.entries.items()
        if entry.registry and not entry.is_direct and number not in mesh.alone
    ]
    if lost and not node.is_registry and mesh.alone.isdisjoint(here):
        text = f"{node.label} has no tunnel to the registry {_names(mesh, lost)}"
        remedy = (
            "tunnels stay, but moves are not heard of; does UDP get to the registry's endpoint?"
        )
        yield Problem(ERROR, "no-registry", (*here, *lost), text, remedy)
    elif silent:
        text = f"{node.label} has no answer from {', '.join(silent)}"
        yield Problem(WARNING, "silent-server", here, text, "on the registry: wgsd status")
    if trouble and not silent:
        yield Problem(WARNING, "directory", here, f"{node.label}: {trouble}")


def _down(mesh: Mesh) -> t.Iterator[Problem]:
    """Tell of links that are down, those of one host together where there are many."""
    rest = [
        link
        for link in mesh.links
        if not link.is_up
        and not mesh.alone.intersection((link.one, link.other))
        and not _is_told_of_the_registry(link)
    ]
    for number, mine in _grouped(rest):
        others = [link.other if link.one == number else link.one for link in mine]
        states = collections.Counter(link.state for link in mine)
        told = ", ".join(f"{count} {state}" for state, count in states.most_common())
        text = (
            f"{mesh.nodes[number].label} has no tunnel to {len(others)} of"
            f" {mesh.tally[number][0]} hosts ({told}): {_names(mesh, others)}"
        )
        remedy = "a NAT or firewall in front of it? There: wgsd status"
        yield Problem(ERROR, "down", (number, *others), text, remedy)
        rest = [link for link in rest if number not in (link.one, link.other)]
    for link in rest:
        yield _pair(mesh, link)


def _is_told_of_the_registry(link: Link) -> bool:
    """Whether `_directory` tells of the link: a host that has lost its registry."""
    return any(view.registry and not view.is_direct for view in link.views)


def _grouped(links: t.Sequence[Link]) -> t.Iterator[tuple[int, list[Link]]]:
    """Return the hosts that have many of the links, and which, each link once."""
    by_node: dict[int, list[Link]] = collections.defaultdict(list)
    for link in links:
        by_node[link.one].append(link)
        by_node[link.other].append(link)
    taken: set[int] = set()
    for number, mine in sorted(by_node.items(), key=lambda item: (-len(item[1]), item[0])):
        left = [link for link in mine if not taken.intersection((link.one, link.other))]
        if len(left) >= _TOGETHER:
            taken.add(number)
            yield number, left


def _pair(mesh: Mesh, link: Link) -> Problem:
    one, other = mesh.nodes[link.one], mesh.nodes[link.other]
    is_tried = all(view.state in _TRIED for view in link.views)
    says = [
        f"{node.label}: {view.state}{_lasting(view.since)}{_because(view.reason)}"
        for node, view in ((one, link.forth), (other, link.back))
        if view is not None
    ]
    missing = [
        node.label
        for node, view in ((one, link.forth), (other, link.back))
        if view is None and node.is_heard
    ]
    says += [f"{label} does not know the other" for label in missing]
    text = f"{one.label} and {other.label} have no tunnel. {'; '.join(says)}"
    if is_tried:
        return Problem(WARNING, "tried", (link.one, link.other), text, "look again in 20 s")
    return Problem(ERROR, "down", (link.one, link.other), text)


def _one_sided(mesh: Mesh) -> t.Iterator[Problem]:
    rest = [
        link
        for link in mesh.links
        if len({view.is_direct for view in link.views}) == 2 and not _is_told_of_the_registry(link)
    ]
    for number, mine in _grouped(rest):
        others = [link.other if link.one == number else link.one for link in mine]
        text = (
            f"{mesh.nodes[number].label} and {len(others)} others do not agree about their"
            f" tunnels: {_names(mesh, others)}"
        )
        yield Problem(WARNING, "one-sided", (number, *others), text, "look again in a minute")
        rest = [link for link in rest if number not in (link.one, link.other)]
    for link in rest:
        one, other = mesh.nodes[link.one], mesh.nodes[link.other]
        forth, back = link.views
        text = (
            f"{one.label} sees {other.label} {forth.state}{_lasting(forth.since)}, and"
            f" {other.label} sees {one.label} {back.state}{_lasting(back.since)}"
        )
        yield Problem(WARNING, "one-sided", (link.one, link.other), text, "look again in a minute")


def _strangers(mesh: Mesh) -> t.Iterator[Problem]:
    """Tell of hosts that do not know each other, and of peers that the inventory lacks."""
    for number, node in enumerate(mesh.nodes[: mesh.hosts]):
        if not node.is_heard:
            continue
        missing = [
            other
            for other in range(mesh.hosts)
            if other != number
            and other not in node.entries
            and mesh.nodes[other].public_key
            and mesh.nodes[other].public_key != node.public_key
        ]
        if missing:
            text = f"{node.label} does not know {_names(mesh, missing)}"
            yield Problem(
                WARNING, "not-known", (number, *missing), text, "run wgsd.mesh.site for it"
            )
    if len(mesh.nodes) > mesh.hosts:
        others = list(range(mesh.hosts, len(mesh.nodes)))
        text = f"the inventory does not have {_names(mesh, others)}, which hosts have as peers"
        yield Problem(NOTE, "stranger", tuple(others), text, "wgsd.mesh.remove takes peers away")


def _doubles(mesh: Mesh) -> t.Iterator[Problem]:
    for what, kind, of in (
        ("public key", "same-key", lambda node: node.public_key),
        ("name", "same-name", lambda node: node.name),
    ):
        by_value: dict[t.Any, list[int]] = collections.defaultdict(list)
        for number, node in enumerate(mesh.nodes):
            by_value[of(node)].append(number)
        for value, numbers in by_value.items():
            if value and len(numbers) > 1:
                names = _names(mesh, numbers)
                severity = ERROR if kind == "same-key" else WARNING
                text = f"{names} have the same {what} {value}"
                remedy = "was one cloned? wgsd.mesh.rotate_keys" if kind == "same-key" else ""
                yield Problem(severity, kind, tuple(numbers), text, remedy)


def _differences(mesh: Mesh) -> t.Iterator[Problem]:
    """Tell of what should be the same on all hosts."""
    for what, kind, of in (
        ("engine version", "versions", lambda node: node.version),
        ("MTU", "mtu", lambda node: number_of(node.part.get("mtu"))),
    ):
        by_value: dict[t.Any, list[int]] = collections.defaultdict(list)
        for number, node in enumerate(mesh.nodes[: mesh.hosts]):
            value = of(node)
            if value:
                by_value[value].append(number)
        if len(by_value) > 1:
            most, *rest = sorted(by_value.items(), key=lambda item: -len(item[1]))
            told = "; ".join(f"{value} on {_names(mesh, numbers)}" for value, numbers in rest[:3])
            text = f"the {what} differs: {told}; {most[0]} on {len(most[1])} others"
            numbers = tuple(number for _value, them in rest for number in them)
            yield Problem(NOTE, kind, numbers, text)
    if len(mesh.zones) > 1:
        yield Problem(ERROR, "zones", (), f"hosts have different zones: {', '.join(mesh.zones)}")


def _names(mesh: Mesh, numbers: t.Sequence[int]) -> str:
    names = [mesh.nodes[number].label for number in numbers[:_NAMED]]
    if len(numbers) > _NAMED:
        return f"{', '.join(names)} and {len(numbers) - _NAMED} more"
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _lasting(since: float | None) -> str:
    return "" if since is None else f" for {age(since)}"


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def _dicts(value: t.Any) -> list[dict[str, t.Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
