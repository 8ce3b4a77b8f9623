# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How one host of a mesh is, without sending a packet: device, daemons, clock, firewall.

Private to this collection.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import time
import typing as t

from ._systemd import Run, Systemd
from ._wg_facts import interface_facts, names_in, peer_facts
from ._wg_own import path_of
from .wgsd import __version__
from .wgsd.client.report import birth, report_path
from .wgsd.config import CONFIG_FOLDER, Instance
from .wgsd.device import open_device
from .wgsd.errors import NoDeviceError, WgsdError
from .wgsd.keys import PublicKey
from .wgsd.model import Device, Peer
from .wgsd.responder import report as responder_report
from .wgsd.thirdparty import pyroute2

Facts = dict[str, t.Any]

#: Bytes of a digest: enough to tell keys apart, and of no use to whoever wants the key.
_DIGEST_BYTES = 8
_SCOPE_UNIVERSE = 0
_RULES_MAX = 6
_CHAIN = re.compile(r"^\s*chain (\S+) \{")
_TABLE = re.compile(r"^table (\S+ \S+) \{")
_HOOK = re.compile(r"type filter hook (input|prerouting|output)\b.*?policy (\w+)")
_DROPS = re.compile(r"\b(drop|reject)\b")


def interface(name: str, salt: bytes, now: float) -> tuple[Facts, Device | None]:
    """Return a device as documented, and as it is; no device if it cannot be read.

    Args:
        salt: What the digests of preshared keys are made with.
        now: Seconds since the epoch.
    """
    try:
        with open_device(name) as backend:
            device, kind = backend.read(), backend.kind
        names = _names(name)
        found = {
            **interface_facts(name, kind, device),
            "peers": [
                describe(peer, names.get(key), salt, now) for key, peer in device.peers.items()
            ],
            "error": None,
        }
    except NoDeviceError as exc:
        return {"name": name, "error": exc.message, "peers": []}, None
    return found, device


def describe(peer: Peer, name: str | None, salt: bytes, now: float) -> Facts:
    """Return a peer as documented; of its preshared key a digest that is good for this run."""
    shook_hands = peer.last_handshake > 0
    return {
        **peer_facts(peer, name),
        "last_handshake": peer.last_handshake if shook_hands else None,
        "handshake_age": round(now - peer.last_handshake, 1) if shook_hands else None,
        "preshared_digest": digest(peer.preshared_key, salt),
    }


def digest(key: bytes | None, salt: bytes) -> str | None:
    """Return what tells whether two hosts have the same preshared key, and nothing else of it."""
    if key is None:
        return None
    return hashlib.blake2s(key, key=salt[:32], digest_size=_DIGEST_BYTES).hexdigest()


def _names(interface: str) -> dict[PublicKey, str | None]:
    try:
        return names_in(path_of(interface))
    except WgsdError:
        return {}


def host_addresses(but: str) -> list[str]:
    """Return this host's addresses that are not of the interface *but*, nor of one link alone."""
    with pyroute2.IPRoute() as route:
        tunnel = route.link_lookup(ifname=but)
        return sorted(
            message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            for message in route.get_addr()
            if message["scope"] == _SCOPE_UNIVERSE and message["index"] not in tunnel
        )


def clock(controller_time: float | None) -> Facts:
    """Return this host's clock, and by how many seconds it is ahead of the controller's."""
    now = time.time()
    return {
        "now": now,
        "offset": None if controller_time is None else round(now - controller_time, 1),
    }


def client(
    interface: str,
    instance: Instance,
    run: Run,
    *,
    expected: bool,
    peers: t.Collection[str] = (),
) -> Facts | None:
    """Return how the client is; None if there is none, and none is expected.

    Args:
        peers: The public keys of those whose state in its report is wanted.
    """
    path = report_path(interface)
    report = _json(path)
    unit = _unit(instance, run)
    is_configured = (CONFIG_FOLDER / instance.config_name).exists()
    if not (report or is_configured or expected):
        return None
    now = time.time()
    version, pid = report.get("version"), report.get("pid")
    state = process_state(pid)
    is_same = state is not None and birth(pid) == report.get("birth")
    problem = None
    if unit is not None and unit != "active":
        problem = f"{instance.service} is {unit}"
    elif not report:
        problem = "no client has reported"
    elif report.get("stopped") is not None:
        problem = "the client has ended"
    elif not is_same:
        problem = f"the client (process {pid}) was killed or has crashed"
    told = ("zone", "servers", "serial", "follows", "asks", "trouble", "seen_at")
    return {
        "unit": instance.service,
        "unit_state": unit,
        "running": problem is None,
        "problem": problem,
        "process_state": state if is_same else None,
        "other_version": version if report and version != __version__ else None,
        "report": {
            "pid": pid,
            "age": round(now - report["written"], 1),
            **{name: report.get(name) for name in told},
            "peers": views(report, peers),
        }
        if report.get("written")
        else None,
    }


def views(report: Facts, peers: t.Collection[str]) -> Facts:
    """Return how a client sees peers by its report, by their public keys."""
    told = report.get("peers")
    entries = {key: told.get(key) for key in peers} if isinstance(told, dict) else {}
    return {
        key: {name: entry.get(name) for name in ("state", "reason", "due")}
        for key, entry in entries.items()
        if isinstance(entry, dict)
    }


def responder(instance: Instance, run: Run, *, expected: bool) -> Facts | None:
    """Return how the responder is; None if there is none, and none is expected."""
    report = _json(responder_report.path_of(instance))
    unit = _unit(instance, run)
    is_configured = (CONFIG_FOLDER / instance.config_name).exists()
    if not (report or is_configured or expected):
        return None
    pid, written = report.get("pid"), report.get("written")
    state = process_state(pid)
    old = None if written is None else time.time() - written
    problem = None
    if unit is not None and unit not in ("active", "reloading"):
        problem = f"{instance.service} is {unit}"
    elif not report:
        problem = "no responder has reported"
    elif state is None:
        problem = f"the responder (process {pid}) has ended"
    elif old is not None and old > responder_report.STALE:
        problem = f"the responder (process {pid}) hangs: its last report is {old:.0f} s old"
    return {
        "unit": instance.service,
        "unit_state": unit,
        # Where no service manager says otherwise, only the report could.
        "running": problem is None,
        "problem": problem,
        "report_age": None if old is None else round(old, 1),
        "listening": report.get("listening"),
        "zones": [zone["zone"] for zone in report.get("zones", ())],
        "trouble": report.get("trouble"),
    }


def process_state(pid: int | None) -> str | None:
    """Return the letter for what a process does (proc(5)); None if there is none."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[0]


def firewall(run: Run) -> list[str]:
    """Return what nftables may drop of packets that come in or go out, rule by rule.

    iptables makes rules of nftables on a Debian of our days. A host without ``nft`` has none.
    """
    code, output, _errors = run(["nft", "--stateless", "list", "ruleset"])
    return dropping(output) if code == 0 else []


def dropping(ruleset: str) -> list[str]:
    """Return the rules and policies of a ruleset's filter chains that drop."""
    found = []
    table = chain = hook = ""
    for line in ruleset.splitlines():
        if match := _TABLE.match(line):
            table, hook = match.group(1), ""
        elif match := _CHAIN.match(line):
            chain, hook = match.group(1), ""
        elif match := _HOOK.search(line):
            hook = match.group(1)
            if match.group(2) == "drop":
                found.append(f"{table} {chain}: policy drop")
        elif hook and _DROPS.search(line):
            found.append(f"{table} {chain}: {line.strip()[:80]}")
    return found[:_RULES_MAX]


def _unit(instance: Instance, run: Run) -> str | None:
    """Return how a unit is; None where systemd does not run."""
    try:
        return Systemd(run).unit(instance.unit).active
    except WgsdError:
        return None


def _json(path: pathlib.Path) -> Facts:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
