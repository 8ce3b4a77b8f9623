# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the responder tells its host: a file of JSON, anew every second, for ``wgsd status``."""

from __future__ import annotations

import functools
import json
import logging
import os
import pathlib
import typing as t

from .. import __version__, table
from ..config import Instance, ResponderSettings
from ..errors import ServerError
from ..model import Endpoint
from . import stats
from .stats import Board, Main, Notifying, Reading, ZoneFigure

log = logging.getLogger(__name__)

_ONLY = Instance("responder")
_NAME = "status.json"
_NS = 1e9
#: Seconds after which a report says that nobody writes it any more.
STALE = 10.0


def path() -> pathlib.Path:
    """Return where the report is: in the unit's RuntimeDirectory, or where that would be."""
    # One unit may have several such folders (systemd.exec(5)).
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return pathlib.Path(folder, _NAME) if folder else path_of(_ONLY)


def path_of(instance: Instance) -> pathlib.Path:
    """Return where the unit of *instance* has the report."""
    return instance.runtime_dir / _NAME


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
        "notify": {figure.name.lower(): board.notifier.get(figure) for figure in Notifying},
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


class Found(t.NamedTuple):
    """What there is of a report.

    Attributes:
        report: As `snapshot` made it, also if it is stale; None if there is none of this engine's.
        problem: Why it does not tell how the responder is.
    """

    report: dict[str, t.Any] | None
    problem: ServerError | None


def read(path: pathlib.Path, now: float, service: str = _ONLY.service) -> Found:
    """Read the report in *path*.

    Args:
        now: Seconds since the epoch.
        service: What systemd calls the responder that writes it.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        age = now - report["written"]
        version = report["version"]
    except FileNotFoundError:
        return _nothing(
            f"there is no report of a responder in {path}",
            f"see whether it runs: systemctl status {service}",
        )
    except OSError as exc:
        return _nothing(
            f"the responder's report {path} cannot be read: {exc.strerror}", "run this as root"
        )
    except (ValueError, KeyError, TypeError):
        return _nothing(
            f"{path} is not a report of a responder",
            "remove it: the responder writes it anew every second",
        )
    if version != __version__:
        return _nothing(
            f"the responder that runs is of version {version}, this command of {__version__}",
            f"let the new one take over: systemctl reload {service}",
        )
    problem = None
    if age > STALE:
        problem = ServerError(
            f"the responder's report {path} is {table.age(age)} old: the responder (process"
            f" {report['pid']}) was killed or hangs",
            f"see: systemctl status {service}; journalctl -u {service}",
        )
    return Found(report, problem)


def _nothing(message: str, remedy: str) -> Found:
    return Found(None, ServerError(message, remedy))


def _queries(counts: t.Sequence[int]) -> dict[str, t.Any]:
    by: dict[str, dict[str, int]] = {"type": {}, "rcode": {}, "path": {"fast": 0, "slow": 0}}
    for labels, count in zip(stats.ANSWERED, counts):
        for kind, label in zip(("type", "rcode", "path"), labels):
            if count:
                by[kind][label] = by[kind].get(label, 0) + count
    return {
        "answered": sum(by["path"].values()),
        "refused": by["rcode"].get("REFUSED", 0),
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
    return float(round(answered / seconds, 1))


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
