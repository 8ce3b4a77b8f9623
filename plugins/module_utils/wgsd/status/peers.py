# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How peers are reached: what the device shows, and what the client has reported of them."""

from __future__ import annotations

import pathlib
import typing as t

from ..client import report as client_report
from ..config import ResponderSettings, server_address
from ..device import open_device
from ..errors import DeviceError, UsageError
from ..keys import PublicKey
from ..model import Device, Peer
from ..plan import State, has_session, holders

DIRECTORY = "directory"
PACKETS = "its own packets"
CONFIGURATION = "configuration"

#: What the client says of the directory.
_DIRECTORY_FIELDS = (
    *("zone", "servers", "follows", "asks", "serial"),
    *("notified_at", "silent", "trouble", "seen_at"),
)
#: States that a handshake ends: the device may know of it before the client has reported it.
_WITHOUT_SESSION = frozenset(
    state.value for state in (State.UNKNOWN, State.KNOWN, State.PUNCHING, State.UNREACHABLE)
)

Status = dict[str, t.Any]


def collect(
    interface: str, report: pathlib.Path, now: float, names: t.Mapping[PublicKey, str]
) -> Status:
    """Return the state of *interface* and of its peers, ready for JSON.

    The fields are described in ``docs/configuration.md``.

    Args:
        interface: The WireGuard device to read.
        report: The file that the client of that interface writes; it need not exist.
        now: Seconds since the epoch.
        names: What peers are called, as far as it is known here.

    Raises:
        DeviceError: the device is out of reach.
    """
    with open_device(interface) as backend:
        device, kind = backend.read(), backend.kind
    found = client_report.read(report)
    told = found.report
    reported = told.get("peers", {})
    registries = _registries(device, told)
    peers = [
        _peer(
            peer,
            reported.get(key.base64),
            now,
            names.get(key),
            running=found.running,
            registry=registries.get(key),
            discovered=key.base64 in told.get("discovered", ()),
        )
        for key, peer in device.peers.items()
    ]
    return {
        "interface": interface,
        "backend": kind,
        "public_key": str(device.public_key) if device.public_key else None,
        "listen_port": device.listen_port,
        "agent": found.running,
        "client": _client(found),
        "directory": _directory(told) if found.running else None,
        "follows": told.get("follows") if found.running else None,
        "moved": told.get("moved") if found.running else None,
        "peers": sorted(peers, key=_rank),
        "not_added": _not_added(told) if found.running else [],
        "error": None,
    }


def out_of_reach(interface: str, error: DeviceError) -> Status:
    """Return what `collect` would of a device that cannot be read."""
    nothing = ("backend", "public_key", "listen_port", "client", "directory", "follows", "moved")
    return {
        "interface": interface,
        **dict.fromkeys(nothing),
        "agent": False,
        "peers": [],
        "not_added": [],
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


def _client(found: client_report.Found) -> Status:
    fields = ("version", "pid", "started", "written", "stopped")
    return {
        **{name: found.report.get(name) for name in fields},
        "problem": found.problem or None,
    }


def _not_added(told: t.Mapping[str, t.Any]) -> list[Status]:
    """Return the members that the client has not added as the zone has them, and why."""
    refused = (
        {"public_key": key, "name": name, "reason": reason}
        for key, (name, reason) in told.get("refused", {}).items()
    )
    return sorted(refused, key=lambda one: (one["name"] or "~", one["public_key"]))


def _directory(told: t.Mapping[str, t.Any]) -> Status:
    return {name: told.get(name) for name in _DIRECTORY_FIELDS}


def _registries(device: Device, told: t.Mapping[str, t.Any]) -> dict[PublicKey, str]:
    """Return the peers that lead to the registries, and what the client says of each."""
    servers: dict[PublicKey, list[str]] = {}
    for text in told.get("servers", ()):
        try:
            server = server_address(text)
        except UsageError:
            continue
        for key in holders(device, [server.address]):
            servers.setdefault(key, []).append(text)
    how = told.get("registries", {})
    return {
        key: f"registry, {' and '.join(texts)}: {how.get(key.base64, 'not heard of yet')}"
        for key, texts in servers.items()
    }


def _peer(
    peer: Peer,
    reported: t.Mapping[str, t.Any] | None,
    now: float,
    name: str | None,
    *,
    running: bool,
    registry: str | None,
    discovered: bool,
) -> Status:
    told = reported or {}
    # What the client has done stays true when it has ended; how it saw things does not.
    seen = told if running else {}
    session = has_session(peer, now)
    state = seen.get("state") or (State.DIRECT if session else State.UNKNOWN).value
    if session and state in _WITHOUT_SESSION:
        state = State.DIRECT.value
    directory = seen.get("directory")
    endpoint = str(peer.endpoint) if peer.endpoint else None
    return {
        "public_key": peer.public_key.base64,
        "name": name or told.get("name"),
        "registry": registry is not None,
        "discovered": discovered,
        "state": state,
        "direct": state == State.DIRECT.value,
        "since": seen.get("since"),
        "reason": registry if running and registry else seen.get("reason"),
        "endpoint": endpoint,
        "endpoint_source": CONFIGURATION if registry and endpoint else _source(endpoint, reported),
        "directory_endpoint": directory,
        "directory_failure": seen.get("failure"),
        "last_handshake": peer.last_handshake or None,
        "handshake_age": round(now - peer.last_handshake, 3) if peer.last_handshake else None,
        "answers_probes": seen.get("answers"),
        "rtt": seen.get("rtt"),
        "rx_bytes": peer.rx_bytes,
        "tx_bytes": peer.tx_bytes,
        "persistent_keepalive": peer.persistent_keepalive,
        "allowed_ips": list(peer.allowed_ips),
        "last_action": told.get("action"),
        "last_action_at": told.get("action_at"),
        "due": seen.get("due"),
    }


def _source(endpoint: str | None, reported: t.Mapping[str, t.Any] | None) -> str | None:
    """Return where an endpoint came from; None if that was before anybody has looked."""
    if endpoint is None or reported is None:
        return None
    if endpoint == reported.get("endpoint_set"):
        return DIRECTORY
    return CONFIGURATION if endpoint == reported.get("configured") else PACKETS


def _rank(peer: Status) -> tuple[bool, bool, str, str]:
    """Sort registries first, for all depends on them, then what is wrong, then by name."""
    return not peer["registry"], peer["direct"], peer["name"] or "~", peer["public_key"]
