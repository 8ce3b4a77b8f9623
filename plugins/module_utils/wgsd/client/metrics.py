# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's figures for Prometheus: a file for the textfile collector of node_exporter."""

from __future__ import annotations

import collections
import contextlib
import logging
import pathlib
import time
import typing as t

from .. import __version__
from ..keys import PublicKey
from ..plan import Decision, State
from .agent import Look
from .report import Surroundings, replace_file

log = logging.getLogger("wgsd.client")

#: Seconds between two files: what scrapes are apart at the least.
PERIOD = 15.0

_Samples = t.Union[float, t.Mapping[str, float]]


class Metrics:
    """Counts what the client does, and writes it down.

    Attributes:
        due: Monotonic seconds at which `tick` is to be called.
    """

    def __init__(
        self,
        path: pathlib.Path,
        interface: str,
        *,
        wall: t.Callable[[], float] = time.time,
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare, without touching anything.

        Args:
            path: The file; its folder must be there.
            interface: What all figures are labelled with.
            wall: Seconds since the epoch.
        """
        self.due = monotonic()
        self._path = path
        self._interface = interface
        self._wall = wall
        self._monotonic = monotonic
        self._started = wall()
        self._last: dict[PublicKey, Decision] = {}
        self._entered: collections.Counter[str] = collections.Counter()
        self._tries = self._followed = 0
        self._around = Surroundings()
        self._counts: t.Mapping[str, int] = {}
        self._is_told = False

    def take(self, look: Look, around: Surroundings, counts: t.Mapping[str, int]) -> None:
        """Take what one look came to.

        Args:
            counts: What others have counted, by the names of `render`.
        """
        self._around, self._counts = around, counts
        for decision in look.decisions:
            before = self._last.get(decision.public_key)
            if before is decision:
                continue
            if before is None or before.state is not decision.state:
                self._entered[decision.state.value] += 1
            if decision.change is not None and decision.change.endpoint is not None:
                self._tries += decision.change.fresh
                self._followed += not decision.change.fresh
        self._last = {decision.public_key: decision for decision in look.decisions}

    def tick(self) -> None:
        """Write if it is time to."""
        now = self._monotonic()
        if now < self.due:
            return
        self.due = now + PERIOD
        try:
            replace_file(self._path, self._text())
            self._is_told = False
        except OSError as exc:
            if not self._is_told:
                log.warning(
                    "no metrics: %s: %s; see that this daemon's user may write in that folder",
                    *(self._path, exc.strerror),
                )
            self._is_told = True

    def close(self) -> None:
        """Remove the file: its figures would look like those of a client that runs."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _text(self) -> str:
        around, version = self._around, self._around.version
        states = collections.Counter(decision.state for decision in self._last.values())
        figures: dict[str, _Samples] = {
            "peers": {state.value: states[state] for state in State},
            "transitions_total": {state.value: self._entered[state.value] for state in State},
            "tries_total": self._tries,
            "moves_followed_total": self._followed,
            "zone_followed": around.copied,
            "servers_silent": len(around.silent),
            "start_time_seconds": self._started,
            **self._counts,
        }
        if version is not None:
            figures["zone_serial"] = version.serial
        if around.notified_at is not None:
            age = self._monotonic() - around.notified_at
            figures["last_notify_timestamp_seconds"] = self._wall() - age
        if around.moved is not None:
            figures["last_move_timestamp_seconds"] = around.moved[0]
        return render(figures, self._interface)


#: Each metric, its type, and what it means; a mapping of samples is labelled by state.
_METRICS = {
    "peers": ("gauge", "Peers by state."),
    "transitions_total": ("counter", "How often a peer came into a state."),
    "tries_total": ("counter", "Tries to start a session: a peer set anew with an endpoint."),
    "moves_followed_total": ("counter", "Sessions that were given another endpoint."),
    "probes_sent_total": ("counter", "Probes sent through tunnels."),
    "probes_answered_total": ("counter", "Probes that were answered."),
    "device_reads_total": ("counter", "Reads of the device."),
    "zone_followed": ("gauge", "1 while the zone is followed by transfers, 0 for queries."),
    "zone_serial": ("gauge", "The zone's serial."),
    "servers_silent": ("gauge", "DNS servers that owe an answer."),
    "last_notify_timestamp_seconds": ("gauge", "When the last NOTIFY came."),
    "last_move_timestamp_seconds": ("gauge", "When this host has moved last."),
    "start_time_seconds": ("gauge", "When the client started."),
}


def render(figures: t.Mapping[str, _Samples], interface: str) -> str:
    """Return figures in Prometheus' text format; those that are missing are left out."""
    lines = [
        "# HELP wgsd_client_build_info The engine that runs.",
        "# TYPE wgsd_client_build_info gauge",
        f'wgsd_client_build_info{{interface="{interface}",version="{__version__}"}} 1',
    ]
    for name, (kind, text) in _METRICS.items():
        if name not in figures:
            continue
        samples = figures[name]
        lines += [f"# HELP wgsd_client_{name} {text}", f"# TYPE wgsd_client_{name} {kind}"]
        labelled = samples if isinstance(samples, t.Mapping) else {"": samples}
        for state, value in labelled.items():
            more = f',state="{state}"' if state else ""
            number = f"{value:.3f}" if isinstance(value, float) else f"{value:d}"
            lines.append(f'wgsd_client_{name}{{interface="{interface}"{more}}} {number}')
    return "\n".join(lines) + "\n"
