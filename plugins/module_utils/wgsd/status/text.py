# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a device's peers for people: what is wrong, since when, and what to do about it."""

from __future__ import annotations

import textwrap
import typing as t

from .. import table
from ..model import Endpoint
from ..plan import State
from .peers import PACKETS, Status

#: Characters of a key that tell peers without a name apart.
KEY_CHARACTERS = 12
#: Columns of a line at the most; endpoints of IPv6 make a table wider.
WIDTH = 116
_COLUMNS = ("NAME", "STATE", "SINCE", "HANDSHAKE", "RTT", "ENDPOINT", "FROM", "ALLOWED IPS")
#: What to do about peers that are not reached.
_ADVICE = {
    State.UNKNOWN.value: "the zone has no endpoint for it: is it on, and does it have a tunnel to"
    " the registry? On that host: wg show",
    State.UNREACHABLE.value: "is it on, and does its client run? If so, the NATs of the two hosts"
    " cannot be punched (one is symmetric and the other lets in known ports only), or they drop"
    " UDP: forward a port to one of the hosts and give that one wgsd_endpoint",
    State.STALE.value: "nothing comes from it any more; the client goes where the zone says as"
    " soon as that is another endpoint",
}
_REGISTRY_ADVICE = (
    "registry: there is no tunnel to it. Tunnels between peers stay, but no move is heard of. Does"
    " UDP get to its endpoint, and does it know this host's key? There: wgsd status, wg show"
)


def render(status: Status, now: float, *, verbose: bool = False) -> str:
    """Return `collect`'s result as a table; what is not as it should be is explained below its row.

    Args:
        now: Seconds since the epoch.
        verbose: Whether to explain every peer.
    """
    peers = status["peers"]
    header, *rows = table.render(_COLUMNS, [_row(peer, now) for peer in peers]).splitlines()
    lines = [line for text in _head(status, now) for line in _wrapped(text)]
    lines.append(header)
    for peer, row in zip(peers, rows):
        lines.append(row)
        for text in _below(peer, now, verbose, _own_address(status)):
            lines += _wrapped(text, "  ")
    for one in status["not_added"]:
        title = one["name"] or f"{one['public_key'][:KEY_CHARACTERS]}..."
        lines += _wrapped(f"not added, though a member of the zone: {title}: {one['reason']}")
    if status["agent"]:
        for text in _advice(peers):
            lines += _wrapped(text)
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _head(status: Status, now: float) -> t.Iterator[str]:
    key = status["public_key"] or "no key"
    yield f"{status['interface']} ({status['backend']}), port {status['listen_port']}, {key}"
    client, directory = status["client"], status["directory"]
    if directory is None:
        last = client["stopped"] or client["written"]
        heard = f", last heard of {table.ago(last, now)}" if last else ""
        yield f"{client['problem']}{heard}: what follows is the device's view alone"
        return
    runs = table.age(now - client["started"])
    yield f"client: process {client['pid']}, runs for {runs}; {_counts(status['peers'])}"
    yield f"zone {directory['zone']}: {_directory(directory, now)}"
    if directory["trouble"]:
        yield f"trouble: {directory['trouble']}"
    moved = status["moved"]
    how = f"has moved {table.ago(moved['at'], now)}: {moved['how']}" if moved else ""
    where = f"is seen at {directory['seen_at']} by the registry" if directory["seen_at"] else ""
    if how or where:
        yield f"this host {'; '.join(filter(None, (where, how)))}"


def _advice(peers: t.Iterable[Status]) -> t.Iterator[str]:
    """Say once what to do about each kind of trouble, however many have it."""
    troubled = [peer for peer in peers if not peer["direct"]]
    if any(peer["registry"] for peer in troubled):
        yield _REGISTRY_ADVICE
    states = {peer["state"] for peer in troubled if not peer["registry"]}
    yield from (f"{state}: {advice}" for state, advice in _ADVICE.items() if state in states)


def _counts(peers: t.Sequence[Status]) -> str:
    states = [peer["state"] for peer in peers if not peer["registry"]]
    parts = [f"{states.count(State.DIRECT.value)} of {len(states)} peers direct"]
    others = (s.value for s in State if s is not State.DIRECT)
    return ", ".join(parts + [f"{states.count(s)} {s}" for s in others if s in states])


def _directory(directory: Status, now: float) -> str:
    silent, serial = directory["silent"], directory["serial"]
    missing = f"no answer from {', '.join(silent)}"
    if directory["follows"]:
        notified = directory["notified_at"]
        news = f"NOTIFY {table.ago(notified, now)}" if notified else "never notified"
        text = f"follows {directory['follows']}, serial {serial}, {news}"
        return f"{text}; {missing}" if silent else text
    if directory["asks"] is None:
        return missing if silent else "nothing is known yet"
    if silent:
        return f"{missing}; goes by serial {serial}"
    return f"asks {directory['asks']} for each peer, serial {serial}"


def _row(peer: Status, now: float) -> tuple[str, ...]:
    first, *more = peer["allowed_ips"] or ["-"]
    source = peer["endpoint_source"] or "-"
    return (
        peer["name"] or _title(peer),
        peer["state"],
        table.age(now - peer["since"]) if peer["since"] else "-",
        table.ago(peer["last_handshake"], now) if peer["last_handshake"] else "never",
        _rtt(peer),
        peer["endpoint"] or "-",
        "own packets" if source == PACKETS else source,
        f"{first} +{len(more)}" if more else first,
    )


def _title(peer: Status) -> str:
    return "registry" if peer["registry"] else f"{peer['public_key'][:KEY_CHARACTERS]}..."


def _rtt(peer: Status) -> str:
    if peer["rtt"] is not None:
        return table.milliseconds(peer["rtt"])
    return "no reply" if peer["answers_probes"] is False else "-"


def _own_address(status: Status) -> str | None:
    seen_at = (status["directory"] or {}).get("seen_at")
    return Endpoint.parse(seen_at).address if seen_at else None


def _below(peer: Status, now: float, verbose: bool, own_address: str | None) -> t.Iterator[str]:
    """Explain a peer.

    Args:
        own_address: Where the registry sees this host.
    """
    if verbose:
        yield f"key {peer['public_key']}, allowed IPs {', '.join(peer['allowed_ips']) or 'none'}"
        if peer["discovered"]:
            yield "discovered: it is here because the zone has it as a member"
    explains = verbose or peer["registry"] or not peer["direct"]
    if peer["reason"] and explains and peer["reason"] != peer["last_action"]:
        yield peer["reason"]
    told = peer["directory_endpoint"]
    if told and told != peer["endpoint"]:
        yield f"the zone has it at {told}"
    if told and not peer["direct"] and Endpoint.parse(told).address == own_address:
        yield "it is behind the same address as this host: their router may not let them out and in"
    if peer["directory_failure"]:
        yield f"of no use in the zone: {peer['directory_failure']}"
    if peer["last_action"] and explains:
        yield f"last action {table.ago(peer['last_action_at'], now)}: {peer['last_action']}"
    if peer["due"] is not None and peer["due"] - now >= 1 and not peer["direct"]:
        yield f"next step in {table.age(peer['due'] - now)}"
