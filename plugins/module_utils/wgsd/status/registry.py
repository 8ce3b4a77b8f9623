# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the responder on this host is, by its own report."""

from __future__ import annotations

import typing as t

from .. import table
from ..config import Instance
from ..responder.report import STALE, Found

_ONLY = Instance("responder")


def responder(found: Found, instance: Instance = _ONLY) -> dict[str, t.Any]:
    """Return how the responder is, ready for JSON."""
    return {
        "instance": instance.name or None,
        "report": found.report,
        "problem": str(found.problem) if found.problem else None,
    }


def render_responder(report: dict[str, t.Any], now: float, instance: Instance = _ONLY) -> str:
    """Return a responder's report, with its zones as a table.

    Args:
        now: Seconds since the epoch.
    """
    age = now - report["written"]
    lines = [
        f"{instance.service.removeprefix('wgsd-')} {report['version']} (process {report['pid']}),"
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
