# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the responder tells its host: one JSON file, anew every second, that `wgsd status` reads."""

from __future__ import annotations

import functools
import json
import logging
import os
import pathlib
import typing as t

from .. import __version__
from ..config import ResponderSettings
from ..model import Endpoint
from . import stats
from .stats import Board, Main, Reading, ZoneFigure

log = logging.getLogger(__name__)

_DEFAULT_FOLDER = "/run/wgsd-responder"
_NS = 1e9
_REFUSED = "REFUSED"


def path() -> pathlib.Path:
    """Return where the report is: in the unit's RuntimeDirectory, or where that would be."""
    # One unit may have several such folders (systemd.exec(5)).
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return pathlib.Path(folder or _DEFAULT_FOLDER, "status.json")


def snapshot(
    board: Board,
    settings: ResponderSettings,
    listening: t.Iterable[Endpoint],
    trouble: t.Sequence[str],
    now: float,
    before: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Return the report; its fields are described in ``docs/configuration.md``.

    Its cost does not depend on how many peers there are.

    Args:
        listening: Where queries are taken.
        trouble: What keeps the responder from serving, a sentence each.
        now: Seconds since the epoch.
        before: The report before this one; without it there is no rate of queries.
    """
    main, counts = board.supervisor, board.totals()
    queries = _queries(counts)
    return {
        "version": __version__,
        "pid": os.getpid(),
        "written": now,
        "started": main.get(Main.STARTED_NS) / _NS,
        "listening": [str(endpoint) for endpoint in listening],
        "metrics": str(settings.metrics) if settings.metrics else None,
        "trouble": list(trouble),
        "workers": main.get(Main.WORKERS),
        "workers_wanted": settings.workers,
        "worker_restarts": main.get(Main.WORKER_RESTARTS),
        "watcher_restarts": main.get(Main.WATCHER_RESTARTS),
        "reloads": main.get(Main.RELOADS),
        "zones": [
            {
                "zone": zone.zone,
                "device": zone.device,
                "serial": board.zones[zone.zone].get(ZoneFigure.SERIAL),
                "known": bool(board.zones[zone.zone].get(ZoneFigure.KNOWN)),
                "peers_served": board.zones[zone.zone].get(ZoneFigure.INSTANCES),
            }
            for zone in settings.zones
        ],
        "devices": [_device(name, block.get, now) for name, block in board.devices.items()],
        "queries": queries,
        "queries_per_second": _rate(queries, now, before) if before else None,
        "ignored": counts[stats.SILENT],
        "truncated": counts[stats.TRUNCATED],
        "limited": {
            "slipped": counts[stats.LIMITED_SLIPPED],
            "dropped": counts[stats.LIMITED_DROPPED],
        },
        "tcp": {
            "open": counts[stats.TCP_OPEN],
            "accepted": counts[stats.TCP_ACCEPTED],
            "evicted": counts[stats.TCP_EVICTED],
            "idle": counts[stats.TCP_IDLE],
        },
        "tsig_failed": counts[stats.TSIG_FAILED],
        "udp_send_failed": counts[stats.UDP_SEND_FAILED],
        "socket_drops": main.get(Main.SOCKET_DROPS),
    }


def write(path: pathlib.Path, report: t.Mapping[str, t.Any]) -> None:
    """Replace the report in *path* by *report*; a reader sees the one or the other.

    A file that cannot be written is told once: the service does not depend on it.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text(json.dumps(report, indent=1), encoding="utf-8")
        new.replace(path)
    except OSError as exc:
        _complain_once(path, exc.strerror)


@functools.lru_cache(maxsize=8)
def _complain_once(path: pathlib.Path, reason: str) -> None:
    log.warning("%s: %s; 'wgsd status' will know nothing of the responder", path, reason)


def _queries(counts: t.Sequence[int]) -> dict[str, t.Any]:
    by: dict[str, dict[str, int]] = {"type": {}, "rcode": {}, "path": {"fast": 0, "slow": 0}}
    for labels, count in zip(stats.ANSWERED, counts):
        for kind, label in zip(("type", "rcode", "path"), labels):
            if count:
                by[kind][label] = by[kind].get(label, 0) + count
    return {
        "answered": sum(by["path"].values()),
        "refused": by["rcode"].get(_REFUSED, 0),
        "by_type": by["type"],
        "by_rcode": by["rcode"],
        "by_path": by["path"],
    }


def _rate(
    queries: t.Mapping[str, t.Any], now: float, before: t.Mapping[str, t.Any]
) -> float | None:
    seconds = now - before["written"]
    # The clock may have been set back.
    if seconds <= 0:
        return None
    answered: int = queries["answered"] - before["queries"]["answered"]
    return round(answered / seconds, 1)


def _device(name: str, get: t.Callable[[Reading], int], now: float) -> dict[str, t.Any]:
    last_good = get(Reading.LAST_GOOD_NS) / _NS
    return {
        "device": name,
        "peers": get(Reading.PEERS),
        "peers_with_endpoint": get(Reading.PEERS_WITH_ENDPOINT),
        "read_age": round(max(0.0, now - last_good), 3) if last_good else None,
        "read_cpu": get(Reading.CPU_NS) / _NS,
        "read_duration": get(Reading.WALL_NS) / _NS,
        "reads": get(Reading.READS),
        "read_failures": get(Reading.FAILURES),
        "changes": get(Reading.CHANGES),
    }
