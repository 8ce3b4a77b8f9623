# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This host's peers as one list: what the device says, joined with what the agent reported."""

from __future__ import annotations

import json
import pathlib
import typing as t

from . import table
from .device import open_device
from .model import Peer
from .plan import State, has_session


def collect(interface: str, report: pathlib.Path, now: float) -> dict[str, t.Any]:
    """Return the state of *interface* and of its peers, ready for JSON.

    Args:
        interface: The WireGuard device to read.
        report: The file that the agent of that interface writes; it need not exist.
        now: Seconds since the epoch.

    Raises:
        DeviceError: the device is out of reach.
    """
    with open_device(interface) as backend:
        device, kind = backend.read(), backend.kind
    reported = _read_report(report)
    return {
        "interface": interface,
        "backend": kind,
        "public_key": str(device.public_key) if device.public_key else None,
        "listen_port": device.listen_port,
        "agent": bool(reported),
        "peers": [
            _peer(peer, reported.get(peer.public_key.base64), now) for peer in device.peers.values()
        ],
    }


def _read_report(path: pathlib.Path) -> dict[str, dict[str, str | None]]:
    try:
        peers = json.loads(path.read_text(encoding="utf-8"))["peers"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return peers if isinstance(peers, dict) else {}


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
    head = f"{status['interface']} ({status['backend']}), {key}, {agent}"
    rows = [
        (
            peer["public_key"],
            peer["state"],
            f"{table.age(peer['handshake_age'])} ago" if peer["last_handshake"] else "never",
            peer["endpoint"] or "-",
            peer["endpoint_source"] or "-",
            ", ".join(peer["allowed_ips"]) or "-",
        )
        for peer in status["peers"]
    ]
    header = ("PEER", "STATE", "HANDSHAKE", "ENDPOINT", "FROM", "ALLOWED IPS")
    return f"{head}\n{table.render(header, rows)}"
