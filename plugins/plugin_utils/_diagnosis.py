# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why one host does not reach another: from what was found on them to a few lines of words. Pure.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import textwrap
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.table import age, milliseconds

from . import _causes
from ._causes import BACK, LARGE, PAIR, TUNNEL, ZONE, Cause
from ._findings import Case, Host, dig, question

#: Columns of a line.
WIDTH = 100

#: Causes that are none where another one explains the same packets: a firewall is what is left
#: over when keys, clocks and addresses are as they should be.
_LAST_RESORTS = frozenset({"firewall", "registry_port", "symmetric_nat"})
_BETTER = frozenset(
    {"interface", "clock", "wrong_key", "preshared_key", "endpoint", "duplicate_address"}
)


def diagnose(findings: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what keeps one host from reaching another.

    Args:
        findings: ``from``, ``to`` and ``registry`` are names; ``hosts`` has for each of them
            ``address``, ``endpoint``, ``trouble``, ``survey``, ``alone`` and ``probe``, all of them
            optional; ``addresses`` has the tunnel addresses of all hosts of the inventory.

    Returns:
        ``reached`` (None if nobody could try), ``well``, ``problems``, ``notes`` and ``lines``.
    """
    case = Case(findings)
    symptoms = symptoms_of(case)
    causes = _ranked(_merged(_told(case)), symptoms)
    if PAIR in symptoms and not any(PAIR in cause.explains for cause in causes):
        causes += _unexplained(case)
    if not causes:
        # The two may well go on without the registry, for as long as neither moves.
        causes = [
            _unknown(case, (host, case.registry), TUNNEL + host.name)
            for host in case.peers
            if TUNNEL + host.name in symptoms
        ]
    notes = _notes(case, causes)
    head = _head(case)
    well = bool(case.is_reached) and not causes
    return {
        "reached": case.is_reached,
        "well": well,
        "problems": [
            {
                "cause": cause.code,
                "text": cause.text,
                "evidence": list(cause.evidence),
                "remedy": cause.remedy,
            }
            for cause in causes
        ],
        "notes": notes,
        "lines": _lines(head, causes, notes, well),
    }


def symptoms_of(case: Case) -> set[str]:
    """Return what does not work."""
    found = set()
    if case.is_reached is False:
        found.add(PAIR)
    for host in case.peers:
        if case.reached(host, case.registry) is False:
            found.add(TUNNEL + host.name)
        told = question(host)
        if told is not None and told.status != "ok":
            found.add(ZONE + host.name)
        alone = dig(case.registry.alone, "peers", host.name, "small", default={})
        if alone.get("sent") and not alone.get("received"):
            found.add(BACK + host.name)
    for near, far in ((case.a, case.b), (case.b, case.a)):
        toward = near.toward(far)
        if dig(toward, "large", "sent") and not dig(toward, "large", "received"):
            found.add(LARGE)
    return found


def _told(case: Case) -> t.Iterator[tuple[frozenset[str], Cause]]:
    """Yield the causes; one that is left over only where nothing better explains its symptoms."""
    explained: set[str] = set()
    for find in _causes.ALL:
        for cause in find(case):
            if cause.code in _LAST_RESORTS and cause.explains & explained:
                continue
            if cause.code in _BETTER:
                explained |= cause.explains
            yield cause.explains, cause


def _merged(causes: t.Iterable[tuple[frozenset[str], Cause]]) -> list[Cause]:
    """Return each cause once, with the evidence of all who have told of it."""
    merged: dict[tuple[str, str], Cause] = {}
    for _explains, cause in causes:
        key = cause.code, cause.text
        before = merged.get(key)
        if before is not None:
            evidence = tuple(dict.fromkeys([*before.evidence, *cause.evidence]))
            cause = Cause(
                cause.code, cause.text, evidence, before.remedy, before.explains | cause.explains
            )
        merged[key] = cause
    return list(merged.values())


def _ranked(causes: list[Cause], symptoms: set[str]) -> list[Cause]:
    """Sort what explains most of the symptoms first; the order of equals stays."""
    return sorted(causes, key=lambda cause: -len(cause.explains & symptoms))


def _unexplained(case: Case) -> list[Cause]:
    """Return why a host does not reach the other where none of the causes shows."""
    shared = sorted(case.translated(case.a) & case.translated(case.b))
    is_lost = all(
        case.departures(near, far) and not case.arrivals(far, near)
        for near, far in ((case.a, case.b), (case.b, case.a))
    )
    if is_lost:
        return [_lost(case, shared)]
    nats = _nats(case, shared)
    silent = [
        dataclasses.replace(cause, evidence=(*cause.evidence, *nats))
        for cause in _causes.silence(case)
    ]
    return [*silent, *_causes.not_set(case)] or [_unknown(case, (case.a, case.b), PAIR, nats)]


def _nats(case: Case, shared: t.Sequence[str]) -> list[str]:
    """Return what is known of the NATs in between, as evidence.

    Args:
        shared: The addresses at which both are seen.
    """
    found = [
        f"NAT of {host.name}: {told}"
        for host in (case.a, case.b)
        if host in case.peers and host.probe and (told := _causes.mapping(case, host)[1])
    ]
    if shared:
        found.append(f"both are seen at {shared[0]}: they share a NAT, which has to do hairpin")
    return found


def _tried(case: Case, one: Host, other: Host) -> list[str]:
    """Return what became of the packets between two hosts, as evidence."""
    return [
        f"{near.name} to {far.name}: {case.departures(near, far)} packets left for"
        f" {next(iter(case.goals(near, far)), 'no endpoint')},"
        f" {sum(seen['count'] for seen in case.arrivals(near, far))} came"
        for near, far in ((one, other), (other, one))
        if near.probe
    ]


def _lost(case: Case, shared: t.Sequence[str]) -> Cause:
    evidence = (*_tried(case, case.a, case.b), *_nats(case, shared))
    if shared:
        return Cause(
            "hairpin",
            f"{case.a.name} and {case.b.name} are behind one NAT, which does not send back inside"
            " what they send to one another's mappings",
            evidence,
            "turn on hairpin (NAT loopback, NAT reflection) at their router; or give them one"
            " another's addresses in the local network as endpoints, in peers that no client"
            " manages",
            frozenset({PAIR}),
        )
    return Cause(
        "blocked",
        f"UDP between {case.a.name} and {case.b.name} gets lost on the way: both send, and"
        " nothing arrives",
        evidence,
        "let UDP pass in the routers of both; or forward a port to one of them and give that"
        " one wgsd_endpoint",
        frozenset({PAIR}),
    )


def _unknown(
    case: Case, pair: tuple[Host, Host], symptom: str, more: t.Iterable[str] = ()
) -> Cause:
    text = "none of the usual causes shows"
    if symptom != PAIR:
        text = f"{pair[0].name} does not reach {pair[1].name}, and {text}"
    hosts: dict[str, list[str]] = {}
    for host in pair:
        daemon = "responder" if host is case.registry else "client"
        hosts.setdefault(host.unit(daemon), []).append(host.name)
    return Cause(
        "unknown",
        text,
        (*_tried(case, *pair), *more),
        "; ".join(
            f"on {' and '.join(names)}: wgsd status --verbose, and journalctl -u {unit}"
            for unit, names in hosts.items()
        ),
        frozenset({symptom}),
    )


def _head(case: Case) -> str:
    a, b = case.a, case.b
    if case.is_reached is None:
        return f"Whether {a.name} reaches {b.name} could not be tried."
    if not case.is_reached:
        return f"{a.name} does not reach {b.name}."
    figures = []
    near, far = (a, b) if a.answers(b) else (b, a)
    toward = near.toward(far)
    rtt = dig(toward, "small", "rtt")
    if rtt is not None:
        figures.append(f"round trip {milliseconds(rtt)}")
    shaken = near.peer(far.key).get("handshake_age")
    if shaken is not None:
        figures.append(f"handshake {age(shaken)} ago")
    large = toward.get("large") or {}
    if large.get("received") and large.get("size"):
        figures.append(f"packets of {large['size']} bytes pass")
    if toward.get("endpoint"):
        figures.append(f"{far.name} is at {toward['endpoint']}")
    return f"{a.name} reaches {b.name}" + (f": {', '.join(figures)}." if figures else ".")


def _notes(case: Case, causes: list[Cause]) -> list[str]:
    notes = [
        f"{host.name} could not be examined ({host.trouble}): what is said of it is what the others"
        " see"
        for host in case.hosts
        if host.trouble
    ]
    notes += [
        f"{host.name}: {host.probe['wire_error']}"
        for host in case.hosts
        if host.probe.get("wire_error")
    ]
    codes = {cause.code for cause in causes}
    if case.is_reached is False and codes <= {"client"}:
        for host in case.peers:
            if host.probe and case.registry.probe:
                symmetric, told = _causes.mapping(case, host)
                if symmetric is None and case.reached(host, case.registry):
                    notes.append(f"whether the NAT of {host.name} is symmetric {told}")
    return notes


def _lines(head: str, causes: list[Cause], notes: list[str], well: bool) -> list[str]:
    lines = _wrapped("", f"{head} All is well." if well else head)
    for number, cause in enumerate(causes, start=1):
        lines += _wrapped(f"{number}. ", _sentence(cause.text))
        for evidence in cause.evidence:
            lines += _wrapped("   seen: ", evidence)
        lines += _wrapped("   do: ", cause.remedy)
    for note in notes:
        lines += _wrapped("note: ", note)
    return lines


def _wrapped(begin: str, text: str) -> list[str]:
    """Return lines that a terminal has room for, also between quotation marks."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


__all__ = ["Host", "diagnose", "symptoms_of"]
