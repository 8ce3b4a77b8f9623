# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent tells the host: a file for ``wgsd status``, a line for ``systemctl status``."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import logging
import math
import os
import pathlib
import time
import typing as t

from .. import __version__, clock, systemd
from ..clock import Moment
from ..config import ClientSettings
from ..directory import ZoneVersion
from ..errors import UsageError
from ..keys import PublicKey
from ..model import Endpoint
from ..plan import Decision, Keepalive, Refusal, State, keepalive_of
from .agent import Look
from .discovery import NOTHING_KNOWN, Known

log = logging.getLogger("wgsd.client")

RUNTIME_DIR = pathlib.Path("/run/wgsd")
#: Seconds between two files at the least.
PAUSE = 1.0
#: Seconds after which what nobody waits for, such as another round trip, is in the file.
PATIENCE = 10.0


def report_path(interface: str) -> pathlib.Path:
    """Return the file in which the agent of *interface* leaves its view of the peers."""
    return RUNTIME_DIR / f"client-{interface}.json"


def replace_file(path: pathlib.Path, text: str) -> None:
    """Replace the text in *path*; a reader sees the one or the other.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def birth(process: int) -> int | None:
    """Return when a process began, by the kernel's count; None if there is none (any more).

    Numbers of processes are used again, pairs of number and birth are not.
    """
    try:
        stat = pathlib.Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; after it comes the third field (proc(5)).
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) if fields[0] != "Z" else None


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What the decisions are based on, besides the device.

    Attributes:
        registries: How it is with the peers that lead to the DNS servers, in words.
        version: The version of the zone, and the server that told it.
        copied: Whether that server's zone is followed by transfers, and not asked by queries.
        notified_at: Monotonic seconds of its last NOTIFY; None if there was none.
        silent: The DNS servers that owe us an answer.
        trouble: Why the directory could not be asked; empty if it could.
        seen_at: Where the registry sees this host; None while that is not known.
        moved: When this host has moved last, in seconds since the epoch, and how that showed.
        index: The interface's index; None while it is not known, or nobody asks.
        discovered: The peers that this client has added to it, and their friendly names.
        refused: The members that are not on the device as the zone has them.
    """

    registries: t.Mapping[PublicKey, str] = dataclasses.field(default_factory=dict)
    version: ZoneVersion | None = None
    copied: bool = False
    notified_at: float | None = None
    silent: frozenset[Endpoint] = frozenset()
    trouble: str = ""
    seen_at: Endpoint | None = None
    moved: tuple[float, str] | None = None
    index: int | None = None
    discovered: t.Mapping[PublicKey, str | None] = dataclasses.field(default_factory=dict)
    refused: t.Mapping[PublicKey, Refusal] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class _Entry:
    """One peer. Times are seconds since the epoch.

    Attributes:
        since: When it came into its state.
        action: What was done about it last, and why.
        endpoint_set: The endpoint that this client has given it last.
        configured: The endpoint that it had before anybody had heard of it.
        text: The entry in the file; empty until it is written.
    """

    decision: Decision | None = None
    state: str = ""
    since: float = 0.0
    action: str | None = None
    action_at: float | None = None
    endpoint_set: str | None = None
    configured: str | None = None
    failure: str | None = None
    text: str = ""


#: Of these an agent that starts again goes on with what the one before has written.
_KEPT = ("state", "since", "action", "action_at", "endpoint_set", "configured")


class Report:
    """Keeps what has happened to each peer and writes it down, once a second at the most.

    Attributes:
        due: Monotonic seconds at which `tick` is to be called; None if all is written.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        now: t.Callable[[], Moment] = clock.moment,
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Take up what an agent before this one has left."""
        self.due: float | None = None
        self._settings = settings
        self._path = report_path(settings.interface)
        self._now = now
        self._monotonic = monotonic
        self._started = now().wall
        self._around = Surroundings()
        self._entries: dict[PublicKey, _Entry] = {}
        self._before = _peers_of(self._path)
        self._written = -math.inf
        self._status = ""
        self._in_fault = False
        self._is_told = False

    def publish(self, look: Look, around: Surroundings) -> None:
        """Take what one look came to."""
        now = self._now()
        is_news = (
            math.isinf(self._written)
            or around != self._around
            or len(look.decisions) != len(self._entries)
        )
        is_detail = False
        # Whoever comes after us must know what is ours.
        is_urgent = (around.index, around.discovered) != (
            self._around.index,
            self._around.discovered,
        )
        self._around = around
        for decision in look.decisions:
            key = decision.public_key
            entry = self._entries.get(key)
            failure = look.failures.get(key) if look.failures else None
            if entry is None:
                entry = self._entries[key] = self._first(decision, now)
            elif entry.decision is decision and entry.failure == failure:
                continue
            is_detail = True
            is_news |= self._take(entry, decision, failure, now)
        if len(self._entries) > len(look.decisions):
            there = {decision.public_key for decision in look.decisions}
            self._entries = {key: self._entries[key] for key in self._entries if key in there}
        if is_news or self._in_fault:
            self._in_fault = False
            self._tell(self._summary())
        if is_urgent:
            self._write()
        elif is_news or is_detail:
            self._plan(PAUSE if is_news else PATIENCE, is_news)

    def record(self, index: int, discovered: t.Mapping[PublicKey, str | None]) -> None:
        """Write down at once what this client adds: whoever comes next must know that it is ours.

        Args:
            index: Of the interface.
            discovered: As in `Surroundings`, with those that are about to be added.

        Raises:
            OSError: it cannot be written.
        """
        before = self._around
        self._around = dataclasses.replace(before, index=index, discovered=discovered)
        try:
            self._replace(None)
        except OSError:
            self._around = before
            raise

    def keepalives(self, added: t.Iterable[PublicKey]) -> dict[PublicKey, Keepalive]:
        """Return whose keepalives are, as the agent before has written it, as far as it has any.

        Args:
            added: The peers that it has added. What it has not come to write of one is that it has
                given it the keepalive.
        """
        ours = Keepalive(self._settings.keepalive)
        found = dict.fromkeys(added, ours)
        for text, entry in self._before.items():
            raised, chosen = entry.get("raised"), entry.get("chosen")
            if isinstance(raised, int) and isinstance(chosen, int):
                with contextlib.suppress(UsageError):
                    found[PublicKey.from_base64(text)] = Keepalive(raised, chosen)
        return {key: keepalive for key, keepalive in found.items() if any(keepalive)}

    def stop(self, left: t.Collection[PublicKey] = ()) -> None:
        """Write that the agent has ended.

        Of one that has seen nothing there is nothing to write: what the one before knew stays.

        Args:
            left: The peers that were at rest, and have got their endpoints back.
        """
        if self.due is None and math.isinf(self._written):
            return
        now = self._now()
        for key in left:
            entry = self._entries.get(key)
            if entry is not None and entry.decision is not None:
                memory = entry.decision.memory
                entry.endpoint_set, entry.action_at = str(memory.target), now.wall
                entry.action = f"set {memory.target}: the client ended"
                entry.text = ""
        self._write(stopped=now.wall)

    def tell_manager(self, fault: str) -> None:
        """Tell the service manager why there is nothing to publish."""
        self._in_fault = True
        self._tell(fault)

    def tick(self) -> None:
        """Do what is due."""
        if self.due is not None and self._monotonic() >= self.due:
            self._write()

    def _plan(self, pause: float, is_news: bool) -> None:
        at = self._monotonic()
        due = max(self._written + PAUSE, at if is_news else at + pause)
        self.due = due if self.due is None else min(self.due, due)

    def _first(self, decision: Decision, now: Moment) -> _Entry:
        peer, before = decision.peer, self._before.pop(decision.public_key.base64, None)
        entry = _Entry(since=now.wall)
        if before is not None:
            entry = _Entry(**{name: before[name] for name in _KEPT if name in before})
        elif decision.public_key in self._around.discovered:
            entry.action, entry.action_at = "added: the zone has it as a member", now.wall
            entry.endpoint_set = str(peer.endpoint) if peer.endpoint else None
        elif peer.endpoint and not peer.last_handshake:
            entry.configured = str(peer.endpoint)
        return entry

    @staticmethod
    def _take(entry: _Entry, decision: Decision, failure: str | None, now: Moment) -> bool:
        """Note a decision; return whether it is one that people wait for."""
        state, change = decision.state.value, decision.change
        last = entry.decision
        is_news = last is None or state != entry.state or failure != entry.failure
        if state != entry.state:
            entry.state, entry.since = state, now.wall
        if change is not None and decision is not last:
            # In a large mesh some peer that is off is tried all the time.
            is_news |= decision.state is not State.UNREACHABLE
            entry.action_at = now.wall
            entry.action = decision.reason
            if change.endpoint is not None:
                entry.endpoint_set = str(change.endpoint)
            elif not change.fresh:
                entry.action = f"keepalive {change.persistent_keepalive} s: {decision.reason}"
        entry.decision, entry.failure = decision, failure
        entry.text = ""
        return is_news

    def _tell(self, status: str) -> None:
        if status != self._status:
            self._status = status
            systemd.notify(f"STATUS={status}")

    def _summary(self) -> str:
        decisions = [entry.decision for entry in self._entries.values() if entry.decision]
        counts = collections.Counter(decision.state for decision in decisions)
        parts = [f"{counts[State.DIRECT]} of {len(decisions)} peers direct"]
        parts += [f"{counts[s]} {s.value}" for s in State if s is not State.DIRECT and counts[s]]
        version = self._around.version
        if self._around.trouble:
            parts.append(self._around.trouble)
        elif version is not None:
            parts.append(f"{'follows' if self._around.copied else 'asks'} {version.server}")
        return ", ".join(parts)

    def _write(self, stopped: float | None = None) -> None:
        self.due, self._written = None, self._monotonic()
        try:
            self._replace(stopped)
            self._is_told = False
        except OSError as exc:
            if not self._is_told:
                log.warning("%s: %s; 'wgsd status' will know less", self._path, exc.strerror)
            self._is_told = True

    def _replace(self, stopped: float | None) -> None:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(self._path, self._text(stopped))

    def _text(self, stopped: float | None) -> str:
        around, now = self._around, self._now()
        wall = now.wall
        for entry in self._entries.values():
            # Most of a thousand are as they were.
            entry.text = entry.text or _text(entry, now)
        version, notified = around.version, around.notified_at
        head = {
            "version": __version__,
            "pid": os.getpid(),
            "birth": birth(os.getpid()),
            "started": self._started,
            "written": wall,
            "stopped": stopped,
            "zone": self._settings.zone,
            "servers": [str(server) for server in self._settings.registries],
            "follows": str(version.server) if version and around.copied else None,
            "asks": str(version.server) if version and not around.copied else None,
            "serial": version.serial if version else None,
            "notified_at": wall - (self._monotonic() - notified) if notified else None,
            "silent": sorted(map(str, around.silent)),
            "trouble": around.trouble or None,
            "seen_at": str(around.seen_at) if around.seen_at else None,
            "moved": dict(zip(("at", "how"), around.moved)) if around.moved else None,
            "registries": {key.base64: how for key, how in around.registries.items()},
            "index": around.index,
            "discovered": {key.base64: name for key, name in around.discovered.items()},
            "refused": {key.base64: tuple(refusal) for key, refusal in around.refused.items()},
        }
        lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
        peers = (f'  "{key.base64}": {entry.text}' for key, entry in self._entries.items())
        if not self._entries:
            # Before the first look all that is known is what the one before has left.
            peers = (f'  "{key}": {json.dumps(entry)}' for key, entry in self._before.items())
        lines.append(' "peers": {\n' + ",\n".join(peers) + "\n }")
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _text(entry: _Entry, now: Moment) -> str:
    """Return the entry as JSON."""
    decision = entry.decision
    if decision is None:
        return "{}"
    record, memory = decision.record, decision.memory
    fields = {name: getattr(entry, name) for name in (*_KEPT, "failure")}
    fields.update(
        name=record.name if record else None,
        reason=decision.reason,
        directory=str(record.endpoint) if record else None,
        answers=memory.answers,
        rtt=memory.rtt if memory.answers else None,
        **keepalive_of(decision)._asdict(),
        due=None if math.isinf(decision.due) else now.wall + decision.due - now.steady,
    )
    return json.dumps(fields)


def _peers_of(path: pathlib.Path) -> dict[str, dict[str, t.Any]]:
    try:
        peers = json.loads(path.read_text(encoding="utf-8"))["peers"]
        return {key: entry for key, entry in peers.items() if entry.get("state")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def known_of(path: pathlib.Path) -> Known:
    """Return which peers on which device an agent before this one has added."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        index, discovered = report["index"], report["discovered"].items()
        names = {PublicKey.from_base64(key): name for key, name in discovered}
        return Known(int(index), names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError):
        return NOTHING_KNOWN


def process_of(path: pathlib.Path) -> int | None:
    """Return the process that has written the report in *path*, of whatever version.

    Returns:
        None if it runs no more, or hides from us.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        pid, born, stopped = (report[name] for name in ("pid", "birth", "stopped"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    runs = isinstance(pid, int) and stopped is None and born is not None and birth(pid) == born
    return pid if runs else None


class Found(t.NamedTuple):
    """What there is of a report.

    Attributes:
        report: As it was written; empty if there is none of this engine's.
        running: Whether the agent that has written it runs.
        problem: Why it does not say how the agent sees the peers now; empty if it does.
    """

    report: dict[str, t.Any]
    running: bool
    problem: str


def read(path: pathlib.Path) -> Found:
    """Read the report in *path*."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        version, pid, born, stopped = (report[n] for n in ("version", "pid", "birth", "stopped"))
        peers = report["peers"].items()
    except FileNotFoundError:
        return Found({}, False, "no client has reported")
    except OSError as exc:
        return Found({}, False, f"the client's report {path} cannot be read: {exc.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Found({}, False, f"{path} is not a report of this version's client")
    if version != __version__ or not all(isinstance(entry, dict) for _key, entry in peers):
        return Found({}, False, f"{path} is a report of a client of version {version}")
    if stopped is not None:
        return Found(report, False, "the client has ended")
    if birth(pid) != born:
        return Found(report, False, f"the client (process {pid}) was killed or has crashed")
    return Found(report, True, "")
