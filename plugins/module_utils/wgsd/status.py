# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How this host is: its peers by the device and the agent's report, the responder by its own."""

from __future__ import annotations

import json
import pathlib
import typing as t

from . import table
from .config import ResponderSettings
from .device import open_device
from .errors import DeviceError
from .keys import PublicKey
from .model import Peer
from .plan import State, has_session
from .responder.report import STALE, Found


def collect(
    interface: str, report: pathlib.Path, now: float, names: t.Mapping[PublicKey, str]
) -> dict[str, t.Any]:
    """Return the state of *interface* and of its peers, ready for JSON.

    Args:
        interface: The WireGuard device to read.
        report: The file that the agent of that interface writes; it need not exist.
        now: Seconds since the epoch.
        names: What peers are called, as far as it is known here.

    Raises:
        DeviceError: the device is out of reach.
    """
    with open_device(interface) as backend:
        device, kind = backend.read(), backend.kind
    follows, reported = _read_report(report)
    return {
        "interface": interface,
        "backend": kind,
        "public_key": str(device.public_key) if device.public_key else None,
        "listen_port": device.listen_port,
        "agent": bool(reported),
        "follows": follows,
        "peers": [
            {
                **_peer(peer, reported.get(peer.public_key.base64), now),
                "name": names.get(peer.public_key),
            }
            for peer in device.peers.values()
        ],
        "error": None,
    }


def out_of_reach(interface: str, error: DeviceError) -> dict[str, t.Any]:
    """Return what `collect` would of a device that cannot be read."""
    return {
        "interface": interface,
        "backend": None,
        "public_key": None,
        "listen_port": None,
        "agent": False,
        "follows": None,
        "peers": [],
        "error": str(error),
    }


def names_of(registry: ResponderSettings, interface: str) -> dict[PublicKey, str]:
    """Return what the peers of *interface* are called in the zones that describe it."""
    return {
        key: name
        for zone in registry.zones
        if zone.device == interface
        for key, name in zone.names.items()
    }


def _read_report(path: pathlib.Path) -> tuple[str | None, dict[str, dict[str, str | None]]]:
    """Return the server that the agent follows, and what it says of each peer."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        follows, peers = report.get("follows"), report["peers"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, {}
    return follows, peers if isinstance(peers, dict) else {}


def _peer(peer: Peer, reported: dict[str, str | None] | None, now: float) -> dict[str, t.Any]:
    session = has_session(peer, now)
    endpoint = str(peer.endpoint) if peer.endpoint else None
    if endpoint is None:
        source = None
    elif reported is None:
        source = "configuration"
    elif endpoint == reported.get("endpoint_set"):
        source = "directory"
    else:
        source = "its own packets"
    state = State.DIRECT.value if session else State.UNKNOWN.value
    if reported and not session:
        state = reported.get("state") or state
    return {
        "public_key": peer.public_key.base64,
        "state": state,
        "direct": session,
        "endpoint": endpoint,
        "endpoint_source": source,
        "last_handshake": peer.last_handshake or None,
        "handshake_age": round(now - peer.last_handshake, 3) if peer.last_handshake else None,
        "rx_bytes": peer.rx_bytes,
        "tx_bytes": peer.tx_bytes,
        "persistent_keepalive": peer.persistent_keepalive,
        "allowed_ips": list(peer.allowed_ips),
        "last_action": (reported or {}).get("reason"),
    }


def render(status: dict[str, t.Any]) -> str:
    """Return `collect`'s result as a table."""
    key = status["public_key"] or "no key"
    agent = "agent runs" if status["agent"] else "no agent has reported"
    if status["follows"]:
        agent += f", follows {status['follows']}"
    head = f"{status['interface']} ({status['backend']}), {key}, {agent}"
    header: tuple[str, ...]
    header = ("NAME", "PEER", "STATE", "HANDSHAKE", "ENDPOINT", "FROM", "ALLOWED IPS")
    rows: list[tuple[str, ...]] = [
        (
            peer["name"] or "-",
            peer["public_key"],
            peer["state"],
            f"{table.age(peer['handshake_age'])} ago" if peer["last_handshake"] else "never",
            peer["endpoint"] or "-",
            peer["endpoint_source"] or "-",
            ", ".join(peer["allowed_ips"]) or "-",
        )
        for peer in status["peers"]
    ]
    if not any(peer["name"] for peer in status["peers"]):
        header, rows = header[1:], [row[1:] for row in rows]
    return f"{head}\n{table.render(header, rows)}"


def responder(found: Found) -> dict[str, t.Any]:
    """Return how the responder is, ready for JSON."""
    return {
        "report": found.report,
        "problem": str(found.problem) if found.problem else None,
    }


def render_responder(report: dict[str, t.Any], now: float) -> str:
    """Return a responder's report, with its zones as a table.

    Args:
        now: Seconds since the epoch.
    """
    age = now - report["written"]
    lines = [
        f"responder {report['version']} (process {report['pid']}),"
        f" serving for {table.age(report['written'] - report['started'])}"
        f" on {', '.join(report['listening']) or 'no address'}"
        + (f", as of {table.age(age)} ago" if age > STALE else ""),
        table.render(
            ("ZONE", "SERIAL", "SERVED", "DEVICE", "PEERS", "READ", "READING TAKES", "OF CPU"),
            _zone_rows(report),
        ),
        _queries_line(report),
        "notify: {followers} followers, {sent} messages sent, {acknowledged} acknowledged,"
        " {failed} followers failed".format(**report["notify"]),
        f"workers: {report['workers']} of {report['workers_wanted']};"
        f" restarts: {report['worker_restarts']} of workers,"
        f" {report['watcher_restarts']} of the watcher; reloads: {report['reloads']}",
        *(f"trouble: {trouble}" for trouble in report["trouble"]),
    ]
    return "\n".join(lines)


def _zone_rows(report: dict[str, t.Any]) -> t.Iterator[tuple[str, ...]]:
    devices = {device["device"]: device for device in report["devices"]}
    for zone in report["zones"]:
        device = devices[zone["device"]]
        age = device["read_age"]
        yield (
            zone["zone"],
            str(zone["serial"]),
            f"{zone['peers_served']} peers" if zone["known"] else "fails",
            zone["device"],
            str(device["peers"]),
            "never" if age is None else f"{table.age(age)} ago",
            f"{device['read_duration'] * 1e3:.1f} ms",
            f"{device['read_cpu'] * 1e3:.1f} ms",
        )


def _queries_line(report: dict[str, t.Any]) -> str:
    queries, rate = report["queries"], report["queries_per_second"]
    limited = report["limited"]["slipped"] + report["limited"]["dropped"]
    parts = [
        f"{queries['answered']} answered ({queries['by_path']['fast']} of them fast)",
        f"{queries['refused']} refused",
        f"{report['truncated']} truncated",
        f"{limited} rate-limited",
        f"{report['ignored']} ignored",
        f"{report['socket_drops']} lost in the kernel",
    ]
    if rate is not None:
        parts.insert(0, f"{rate:.0f} a second")
    return f"queries: {', '.join(parts)}"
