# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh as one HTML page that needs nothing else: problems, hosts, a map and a matrix.

Problems and hosts are there as they are; map and matrix are drawn by the page's own script, from
data that lie in the page. Names come from hosts that others may control: whatever is text is
escaped here, and never becomes markup there.

Private to this collection.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import html
import json
import pathlib
import time
import typing as t

from . import _status_text as text
from ._status import ANSWERED, STATES, Entry, Mesh, Node
from ._status_problems import ERROR, NOTE, WARNING, Problem

#: A letter for each state of a cell, as page.js has them.
_LETTERS = dict(zip(STATES, "dkpnsu"))
_ABSENT, _SELF, _NO_ANSWER = ".", "-", "!"
_SOURCES = ("directory", "its own packets", "configuration")
#: Characters of what explains peers, at the most: the page stays small whatever hosts say.
_EXPLANATIONS = 1_000_000
_FIRST_PROBLEMS, _MOST_PROBLEMS = 12, 500
_FOLDER = pathlib.Path(__file__).parent / "status_page"
_SIGNS = {ERROR: "\N{HEAVY MULTIPLICATION X}", WARNING: "!", NOTE: "i"}

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p id="summary">{summary}</p>
<p id="when">As of <time id="time" datetime="{iso}">{when}</time><span id="ago"></span></p>
<nav aria-label="Parts of this page">
<a href="#problems">Problems</a> <a href="#hosts">Hosts</a> <a href="#map">Map</a>
<a href="#matrix">Matrix</a>
</nav>
</header>
<main>
<section id="problems" aria-labelledby="problems-title">
<h2 id="problems-title" class="{worst}">{problems_title}</h2>
{problems}</section>
<section id="hosts" aria-labelledby="hosts-title">
<h2 id="hosts-title">Hosts</h2>
<div class="scroll" role="region" aria-labelledby="hosts-title" tabindex="0">
<table>
<thead><tr>{header}</tr></thead>
<tbody>
{hosts}</tbody>
</table>
</div>
</section>
<noscript><p>The map and the matrix need JavaScript, of which this page has its own.</p></noscript>
<section id="map" aria-labelledby="map-title">
<h2 id="map-title">Map</h2>
<p id="map-text"></p>
<div id="map-drawing"></div>
<ul id="legend" aria-label="Legend"></ul>
</section>
<section id="matrix" aria-labelledby="matrix-title">
<h2 id="matrix-title">Matrix</h2>
<p id="matrix-text">Rows are hosts, columns the peers as that host sees them.
<span class="keys">Arrow keys, Home, End, Page Up and Page Down move; with Ctrl, Home and End go to
the corners.</span></p>
<form id="filter">
<label><input type="checkbox" id="only"> Only hosts with a link that is not direct</label>
<label for="find">Find <input type="search" id="find" autocomplete="off"></label>
<span id="shown" role="status"></span>
</form>
<div id="both">
<div class="scroll" id="grid-box">
<table role="grid" id="grid" aria-labelledby="matrix-title" aria-describedby="matrix-text"></table>
</div>
<div id="details" aria-live="polite" aria-atomic="true" role="region" aria-label="Details"
 tabindex="0"><p>Choose a cell to see how that host reaches that peer.</p></div>
</div>
</section>
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def render(mesh: Mesh, problems: t.Sequence[Problem]) -> str:
    """Return the page."""
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    title = html.escape(text.title(mesh))
    gmtime = time.gmtime(mesh.now)
    return _PAGE.format(
        policy=_policy(script),
        style=style,
        script=script,
        title=title[0].upper() + title[1:],
        summary=html.escape(text.headline(mesh)),
        iso=time.strftime("%Y-%m-%dT%H:%M:%SZ", gmtime),
        when=time.strftime("%Y-%m-%d %H:%M:%S UTC", gmtime),
        worst=problems[0].severity if problems else "well",
        problems_title=_problems_title(problems),
        problems=_problems(problems),
        header="".join(f'<th scope="col">{name}</th>' for name in _HOSTS),
        hosts=_hosts(mesh, problems),
        data=_embedded(_data(mesh)),
    )


def _policy(script: str) -> str:
    """Return what the page may do: nothing but to run its own script and to use its own style.

    A browser that knows of hashes (CSP level 2) runs this script and no other.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'unsafe-inline' 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(data: t.Any) -> str:
    """Return data as JSON that no parser of HTML takes for anything else."""
    found = json.dumps(data, separators=(",", ":"))
    for character in "<>&":
        found = found.replace(character, f"\\u{ord(character):04x}")
    return found


def _problems_title(problems: t.Sequence[Problem]) -> str:
    count = collections.Counter(problem.severity for problem in problems)
    told = [
        f"{count[word]} {word}{'' if count[word] == 1 else 's'}"
        for word in (ERROR, WARNING, NOTE)
        if count[word]
    ]
    return ", ".join(told) if told else "No problems"


def _problems(problems: t.Sequence[Problem]) -> str:
    if not problems:
        return "<p>All hosts answered, and all see their peers directly.</p>\n"
    shown, rest = problems[:_FIRST_PROBLEMS], problems[_FIRST_PROBLEMS:_MOST_PROBLEMS]
    found = f"<ul>\n{''.join(map(_problem, shown))}</ul>\n"
    if rest:
        left = len(problems) - len(shown)
        found += (
            f"<details><summary>{left} more</summary>\n"
            f"<ul>\n{''.join(map(_problem, rest))}</ul>\n</details>\n"
        )
    return found


def _problem(problem: Problem) -> str:
    sign, word = _SIGNS[problem.severity], problem.severity
    remedy = f'<span class="remedy">{html.escape(problem.remedy)}</span>' if problem.remedy else ""
    return (
        f'<li class="{word}"><span class="badge"><span aria-hidden="true">{sign}</span> {word}'
        f"</span> <bdi>{html.escape(problem.text)}</bdi> {remedy}</li>\n"
    )


_HOSTS = ("Host", "Status", "Direct", "Registry", "Engine", "Interface", "MTU", "Seen at")


def _hosts(mesh: Mesh, problems: t.Sequence[Problem]) -> str:
    """Return the rows of the hosts: those with errors first, then those with warnings."""
    rank: dict[int, int] = {}
    for problem in problems:
        pair = len(problem.nodes) == 2 and problem.kind in ("down", "one-sided", "tried")
        for number in problem.nodes if pair else problem.nodes[:1]:
            rank.setdefault(number, (ERROR, WARNING, NOTE).index(problem.severity))
    order = sorted(range(mesh.hosts), key=lambda number: (rank.get(number, 3), number))
    return "".join(_host(mesh, mesh.nodes[number], rank.get(number, 3)) for number in order)


def _host(mesh: Mesh, node: Node, rank: int) -> str:
    first, *cells = text.host_row(mesh, node)
    more = f' title="{html.escape(node.host)}"' if node.host and node.host != first else ""
    sign = "" if rank > 1 else f'<span class="sign" aria-hidden="true">{"✕!"[rank]}</span> '
    return (
        f'<tr class="{(ERROR, WARNING, NOTE, "well")[rank]}"><th scope="row"{more}>{sign}'
        f"<bdi>{html.escape(first)}</bdi></th>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
    )


def _data(mesh: Mesh) -> dict[str, t.Any]:
    """Return what page.js draws: 90,000 cells in some 3 MB."""
    strings = _Strings()
    return {
        "written": mesh.now,
        "hosts": mesh.hosts,
        "alone": sorted(mesh.alone),
        "sources": _SOURCES,
        "nodes": [_node(mesh, node) for node in mesh.nodes],
        "rows": [
            _row(mesh, number, node, strings)
            for number, node in enumerate(mesh.nodes[: mesh.hosts])
        ],
        "strings": strings.all,
    }


def _node(mesh: Mesh, node: Node) -> dict[str, t.Any]:
    facts = {
        "Inventory name": node.host,
        "Status": text.status_of(node),
        "No answer": node.message,
        "Engine": node.version,
        "Interface": node.part.get("interface"),
        "MTU": node.part.get("mtu"),
        "Backend": node.part.get("backend"),
        "Port": node.part.get("listen_port"),
        "Public key": node.public_key,
        "Registry sees it at": text.seen_at(node),
        "Follows": node.get("directory").get("follows"),
        "Serial": node.get("directory").get("serial"),
        "Registry": "; ".join(text.served(node)),
    }
    return {
        "label": node.label,
        "registry": node.is_registry,
        "answered": node.outcome == ANSWERED,
        "facts": [
            [name, text.clean(str(value))]
            for name, value in facts.items()
            if value is not None and value != ""
        ],
    }


class _Strings:
    """Texts that are there once, however many cells have them."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}
        self._left = _EXPLANATIONS

    def number(self, string: str, *, limited: bool = False) -> int | None:
        """Return a text's number; None if it is one too many."""
        found = self._numbers.get(string)
        if found is None:
            if limited:
                self._left -= len(string)
                if self._left < 0:
                    return None
            found = self._numbers[string] = len(self.all)
            self.all.append(string)
        return found


def _row(mesh: Mesh, number: int, node: Node, strings: _Strings) -> dict[str, t.Any] | None:
    """Return the cells of a host, one list for each of their values; None if it said nothing."""
    if not node.is_heard:
        return None
    states = [_ABSENT] * len(mesh.nodes)
    states[number] = _SELF
    count = len(mesh.nodes)
    age, rtt, since, host, port, source = ([-1] * count for _field in range(6))
    notes: dict[int, list[int]] = {}
    for other, entry in node.entries.items():
        states[other] = _LETTERS[entry.state]
        if entry.handshake_age is not None:
            age[other] = round(entry.handshake_age)
        if entry.rtt is not None:
            rtt[other] = round(entry.rtt * 10_000)
        elif entry.answers_probes is False:
            rtt[other] = -2
        if entry.since is not None:
            since[other] = round(entry.since)
        if entry.endpoint:
            address, _colon, tail = entry.endpoint.rpartition(":")
            is_port = tail.isascii() and tail.isdigit() and len(tail) < 6
            host[other] = strings.number(address if is_port else entry.endpoint)
            port[other] = int(tail) if is_port else -1
        if entry.endpoint_source in _SOURCES:
            source[other] = _SOURCES.index(entry.endpoint_source)
        told = [strings.number(each, limited=True) for each in _explained(entry)]
        if any(each is not None for each in told):
            notes[other] = [each for each in told if each is not None]
    return {
        "state": "".join(states),
        "age": age,
        "rtt": rtt,
        "since": since,
        "host": host,
        "port": port,
        "source": source,
        "notes": notes,
    }


def _explained(entry: Entry) -> t.Iterator[str]:
    if not entry.is_direct or entry.registry:
        yield from text.why(entry)
    if entry.discovered:
        yield "discovered: it is there because the zone has it as a member"
