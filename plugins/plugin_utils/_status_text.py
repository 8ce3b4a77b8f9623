# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh for a terminal, and for machines.

Private to this collection.
"""

from __future__ import annotations

import collections
import textwrap
import time
import typing as t
import unicodedata

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd import table

from ._status import ANSWERED, DIRECT, NOT_ASKED, STATES, Entry, Mesh, Node, clean
from ._status import number as number_of
from ._status_problems import ERROR, NOTE, WARNING, Problem

#: Columns of a line at the most.
WIDTH = 100
#: Hosts up to which each peer of each is shown, and what is listed at the most beyond that.
SMALL = 8
_MOST_HOSTS, _MOST_PEERS, _MOST_PROBLEMS = 60, 40, 30
#: Version of the document for machines.
FORMAT = 1

#: What `status_of` says of a host whose own view is as it should be.
_WELL = frozenset(("answered", "registry"))
_SOURCES = {"its own packets": "own packets"}
_HOSTS = ("HOST", "STATUS", "DIRECT", "REGISTRY", "ENGINE", "INTERFACE", "MTU", "SEEN AT")
_PEERS = ("TO", "STATE", "SINCE", "HANDSHAKE", "RTT", "ENDPOINT", "FROM")


def headline(mesh: Mesh) -> str:
    """Return how the mesh is in one sentence."""
    nodes = mesh.nodes[: mesh.hosts]
    asked = [node for node in nodes if node.outcome != NOT_ASKED]
    answered = sum(node.outcome == ANSWERED for node in asked)
    pairs = mesh.pairs
    total = sum(pairs.values())
    parts = [
        f"{len(nodes)} host{'' if len(nodes) == 1 else 's'}, {answered} of {len(asked)} answered",
        f"{pairs[DIRECT]} of {total} pairs of peers direct" if total else "no pair of peers known",
    ]
    others = [state for state in (*STATES[1:], "one-sided") if pairs[state]]
    return ", ".join(parts + [f"{pairs[state]} {state}" for state in others])


def title(mesh: Mesh) -> str:
    """Return what to call the mesh."""
    return f"mesh {', '.join(mesh.zones)}" if mesh.zones else "mesh"


def render(mesh: Mesh, problems: t.Sequence[Problem]) -> str:
    """Return the mesh as tables of at most `WIDTH` columns.

    Of a large one hosts that are as they should be are counted, and of peers those are listed that
    are not direct.
    """
    large = mesh.hosts > SMALL
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(mesh.now))
    lines = [*_wrapped(f"{title(mesh)} at {when}"), *_wrapped(headline(mesh)), ""]
    lines += _problems(problems)
    lines += ["", *_hosts(mesh)]
    lines += ["", *(_not_direct(mesh) if large else _all_peers(mesh))]
    return "\n".join(lines).rstrip()


def document(mesh: Mesh, problems: t.Sequence[Problem]) -> dict[str, t.Any]:
    """Return all that is known, for machines, as described in ``docs/status.md``."""
    pairs = mesh.pairs
    return {
        "format": FORMAT,
        "written": mesh.now,
        "zones": list(mesh.zones),
        "summary": headline(mesh),
        "pairs": {"all": sum(pairs.values()), **{state: pairs[state] for state in sorted(pairs)}},
        "problems": [
            {
                "severity": problem.severity,
                "kind": problem.kind,
                "hosts": [mesh.nodes[number].label for number in problem.nodes],
                "text": problem.text,
                "remedy": problem.remedy or None,
            }
            for problem in problems
        ],
        "hosts": [_host_document(mesh, node) for node in mesh.nodes[: mesh.hosts]],
        "others": [
            {"name": node.label, "public_key": node.public_key} for node in mesh.nodes[mesh.hosts :]
        ],
    }


def counts(mesh: Mesh, node: Node) -> tuple[int, int]:
    """Return how many peers a host sees direct, of how many; registries are not counted."""
    others = [entry for number, entry in node.entries.items() if not mesh.nodes[number].is_registry]
    return sum(entry.is_direct for entry in others), len(others)


def registry_state(mesh: Mesh, node: Node) -> str | None:
    """Return how a host sees the registry, the worst of several; None if it says nothing."""
    states = [
        entry.state
        for number, entry in node.entries.items()
        if mesh.nodes[number].is_registry or entry.registry
    ]
    return max(states, key=STATES.index, default=None)


def served(node: Node) -> list[str]:
    """Return what a registry serves, a sentence for each zone."""
    report = node.get("responder").get("report")
    zones = report.get("zones") if isinstance(report, dict) else None
    return [
        f"serves {number_of(zone.get('peers_served'))} peers of {clean(zone.get('zone'), 80)},"
        f" serial {number_of(zone.get('serial'))}"
        for zone in (zones if isinstance(zones, list) else ())
        if isinstance(zone, dict) and zone.get("device") == node.part.get("interface")
    ]


def status_of(node: Node) -> str:
    """Return in a word or two how a host's own view is."""
    if node.outcome != ANSWERED:
        return "no answer" if node.outcome == "unreachable" else node.outcome
    if not node.is_heard:
        return "no interface"
    if not node.is_registry:
        return "answered" if node.part.get("agent") else "no client"
    return "no responder" if node.get("responder").get("problem") else "registry"


def seen_at(node: Node) -> str | None:
    """Return where the registry sees a host, by its client."""
    return clean(node.get("directory").get("seen_at"), 80)


def rtt_of(entry: Entry) -> str:
    """Return the round trip for people."""
    if entry.rtt is not None:
        return table.milliseconds(entry.rtt)
    return "no reply" if entry.answers_probes is False else "-"


def why(entry: Entry) -> t.Iterator[str]:
    """Say why a peer is as it is, and what the zone says of it."""
    if entry.reason:
        yield entry.reason
    if entry.directory_endpoint and entry.directory_endpoint != entry.endpoint:
        yield f"the zone has it at {entry.directory_endpoint}"
    if entry.directory_failure:
        yield f"of no use in the zone: {entry.directory_failure}"
    if entry.last_action and entry.last_action != entry.reason:
        yield f"last action: {entry.last_action}"


def width_of(text: str) -> int:
    """Return the columns that a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def fit(rows: t.Sequence[t.Sequence[str]], width: int = WIDTH) -> list[str]:
    """Return left-aligned columns, two spaces apart; the widest give way until all fit."""
    widths = [max(map(width_of, column)) for column in zip(*rows)]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        widths[widths.index(max(widths))] -= 1
    return [
        "  ".join(_cell(text, columns) for text, columns in zip(row, widths)).rstrip()
        for row in rows
    ]


def _cell(text: str, columns: int) -> str:
    surplus = width_of(text) - columns
    if surplus > 0:
        while width_of(text) > columns - 1:
            text = text[:-1]
        text += "\N{HORIZONTAL ELLIPSIS}"
    return text + " " * (columns - width_of(text))


def _wrapped(text: str, first: str = "", rest: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )


def _problems(problems: t.Sequence[Problem]) -> list[str]:
    if not problems:
        return ["No problems."]
    number = collections.Counter(problem.severity for problem in problems)
    told = [
        f"{number[word]} {word}{'' if number[word] == 1 else 's'}"
        for word in (ERROR, WARNING, NOTE)
        if number[word]
    ]
    lines = [f"Problems: {', '.join(told)}"]
    for problem in problems[:_MOST_PROBLEMS]:
        remedy = f" [{problem.remedy}]" if problem.remedy else ""
        lines += _wrapped(f"{problem.severity:7}  {problem.text}{remedy}", "  ", " " * 11)
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"  ... and {len(problems) - _MOST_PROBLEMS} more")
    return lines


def _hosts(mesh: Mesh) -> list[str]:
    nodes = mesh.nodes[: mesh.hosts]
    if mesh.hosts <= _MOST_HOSTS:
        return fit([_HOSTS, *(host_row(mesh, node) for node in nodes)])
    wrong = [node for number, node in enumerate(nodes) if not _is_well(mesh, number)]
    wrong.sort(
        key=lambda node: (
            status_of(node) in _WELL,
            -sum(not entry.is_direct for entry in node.entries.values()),
        )
    )
    lines = fit([_HOSTS, *(host_row(mesh, node) for node in wrong[:_MOST_HOSTS])])
    if len(wrong) > _MOST_HOSTS:
        lines.append(f"... and {len(wrong) - _MOST_HOSTS} more that are not as they should be")
    well = len(nodes) - len(wrong)
    if well:
        but = f", but for the {len(mesh.alone)} that nobody reaches" if mesh.alone else ""
        lines.append(f"{well} other hosts see all their peers directly{but}")
    return lines if wrong else lines[1:]


def _is_well(mesh: Mesh, number: int) -> bool:
    node = mesh.nodes[number]
    return (
        status_of(node) in _WELL
        and number not in mesh.alone
        and all(entry.is_direct or other in mesh.alone for other, entry in node.entries.items())
    )


def host_row(mesh: Mesh, node: Node) -> tuple[str, ...]:
    """Return the cells of a host, as in `_HOSTS`."""
    direct, count = counts(mesh, node)
    return (
        node.label,
        status_of(node),
        f"{direct} of {count}" if node.is_heard else "-",
        registry_state(mesh, node) or "-",
        node.version or "-",
        node.interface if node.is_heard else "-",
        str(number_of(node.part.get("mtu")) or "-"),
        seen_at(node) or ("; ".join(served(node)) or "-"),
    )


def _peer_row(mesh: Mesh, number: int, entry: Entry) -> tuple[str, ...]:
    source = entry.endpoint_source or "-"
    age = entry.handshake_age
    return (
        mesh.nodes[number].label,
        entry.state,
        "-" if entry.since is None else table.age(entry.since),
        "never" if age is None else f"{table.age(age)} ago",
        rtt_of(entry),
        entry.endpoint or "-",
        _SOURCES.get(source, source),
    )


def _all_peers(mesh: Mesh) -> list[str]:
    lines = []
    for node in mesh.nodes[: mesh.hosts]:
        if not node.entries:
            continue
        numbers = sorted(node.entries)
        rows = [_peer_row(mesh, number, node.entries[number]) for number in numbers]
        header, *rest = fit([_PEERS, *rows], WIDTH - 2)
        lines += [f"From {node.label}", f"  {header}"]
        for number, row in zip(numbers, rest):
            lines.append(f"  {row}")
            entry = node.entries[number]
            for text in () if entry.is_direct else why(entry):
                lines += _wrapped(text, "    ", "      ")
        lines.append("")
    return lines


def _not_direct(mesh: Mesh) -> list[str]:
    found = [
        (mesh.nodes[one].label, other, entry)
        for one in range(mesh.hosts)
        for other, entry in mesh.nodes[one].entries.items()
        if not entry.is_direct and one not in mesh.alone and other not in mesh.alone
    ]
    others = ", besides those that nobody reaches" if mesh.alone else ""
    if not found:
        return [f"No peer is not direct{others}."]
    found.sort(key=lambda each: -STATES.index(each[2].state))
    rows = [(label, *_peer_row(mesh, number, entry)) for label, number, entry in found]
    lines = [f"Not direct{others}:", *fit([("HOST", *_PEERS), *rows[:_MOST_PEERS]])]
    if len(rows) > _MOST_PEERS:
        lines.append(f"... and {len(rows) - _MOST_PEERS} more; wgsd_status_html has all")
    return lines


def _host_document(mesh: Mesh, node: Node) -> dict[str, t.Any]:
    direct, count = counts(mesh, node)
    fields = ("mtu", "backend", "listen_port", "error", "agent")
    sections = ("client", "directory", "moved", "responder")
    return {
        "host": node.host,
        "name": node.name,
        "registry": node.is_registry,
        "outcome": node.outcome,
        "message": node.message or None,
        "status": status_of(node),
        "version": node.version,
        "interface": node.interface,
        "public_key": node.public_key,
        **{field: _plain(node.part.get(field)) for field in (*fields, *sections)},
        "direct": direct,
        "of": count,
        "not_added": _plain(node.part.get("not_added")) or [],
        "problems": list(node.complaints),
        "peers": [
            {
                "host": mesh.nodes[number].host,
                "name": mesh.nodes[number].name,
                "public_key": mesh.nodes[number].public_key,
                **entry._asdict(),
            }
            for number, entry in node.entries.items()
        ],
    }


def _plain(value: t.Any) -> t.Any:
    """Return what a host has said with no number that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, str)) else number_of(value)
