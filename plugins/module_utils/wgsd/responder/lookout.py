# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watcher's process: what runs in it, and how the supervisor hears from it."""

from __future__ import annotations

import dataclasses
import json
import logging
import select
import selectors
import socket
import time
import typing as t

from .. import privileges
from ..zone.version import Delta
from . import children, frames
from .watcher import Watcher

log = logging.getLogger(__name__)

#: Seconds between two signs of life from a watcher that has no news.
HEARTBEAT = 1.0
#: Seconds without a sign of life after which a watcher hangs: more than a device has to answer.
SILENCE_MAX = 30.0
#: Seconds between two starts of a watcher.
RESTART_PERIOD = 1.0
_DELTA, _SIGHTING, _ALIVE = b"D", b"S", b"A"

#: Makes watchers that call their argument again and again while they do what may take long.
MakeWatchers = t.Callable[[t.Callable[[], None]], t.Sequence[Watcher]]


@dataclasses.dataclass(frozen=True)
class Sighting:
    """What is known of a device besides its peers.

    Attributes:
        index: The interface's index; None while it is not there.
        addresses: The tunnel addresses; the last ones while it is not there.
        trouble: Why the device cannot be read, empty while it can.
    """

    index: int | None = None
    addresses: tuple[str, ...] = ()
    trouble: str = ""


def watch(
    control: socket.socket,
    watchers: t.Sequence[Watcher],
    monotonic: t.Callable[[], float] = time.monotonic,
) -> None:
    """Poll *watchers* and send what they find until the other end of *control* is closed."""
    told: dict[str, Sighting] = {}
    beat_due = 0.0
    pulse = _Pulse(control, monotonic)
    try:
        while True:
            for watcher in watchers:
                if watcher.due <= monotonic():
                    for delta in watcher.poll():
                        control.sendall(frames.frame(_DELTA + delta.encode()))
                    # Many slow devices together may take long.
                    pulse.beat()
            seen = {w.device: Sighting(w.index, w.addresses, w.trouble) for w in watchers}
            if seen != told or monotonic() >= beat_due:
                facts = {device: dataclasses.astuple(seen[device]) for device in seen}
                control.sendall(frames.frame(_SIGHTING + json.dumps(facts).encode()))
                told, beat_due = seen, monotonic() + HEARTBEAT
            due = min([beat_due, *(watcher.due for watcher in watchers)])
            if select.select([control], [], [], max(0.0, due - monotonic()))[0]:
                return  # Nothing is ever sent here: the supervisor has closed its end.
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        for watcher in watchers:
            watcher.close()


class _Pulse:
    """Signs of life from a watcher that is busy: to sign a large zone anew takes a while."""

    def __init__(self, control: socket.socket, monotonic: t.Callable[[], float]) -> None:
        self._control = control
        self._monotonic = monotonic
        self._due = 0.0

    def beat(self) -> None:
        """Give a sign of life, if it is time; may be called as often as one likes."""
        now = self._monotonic()
        if now >= self._due:
            self._control.sendall(frames.frame(_ALIVE))
            self._due = now + HEARTBEAT


class Lookout:
    """Keeps a watcher running. One that dies or hangs is replaced; its last word goes on standing.

    Attributes:
        sightings: By device.
        restarts: Watchers that had to be replaced.
    """

    def __init__(
        self,
        make_watchers: MakeWatchers,
        selector: selectors.BaseSelector,
        publish: t.Callable[[Delta], None],
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a lookout, which `keep` starts.

        Args:
            make_watchers: Is called in the watcher's own process.
            selector: Gets the watcher's control socket, with this object as its data.
            publish: Takes each delta.
        """
        self._make_watchers = make_watchers
        self._selector = selector
        self._publish = publish
        self._monotonic = monotonic
        self._pid = 0
        #: Whether that process was killed and has not ended yet.
        self._is_dying = False
        self._control: socket.socket | None = None
        self._incoming = bytearray()
        self._heard = 0.0
        self._next_start = 0.0
        self.sightings: dict[str, Sighting] = {}
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The watcher's process."""
        return self._pid if self._control else None

    def keep(self) -> float:
        """Start a watcher if there is none, replace one that hangs.

        Returns:
            Seconds until it has to be called again.
        """
        now = self._monotonic()
        if self._has_to_wait():
            return RESTART_PERIOD
        if self._control is None:
            if now >= self._next_start:
                self._start(now)
            else:
                return self._next_start - now
        elif now - self._heard > SILENCE_MAX:
            self._bury(f"silent for {SILENCE_MAX:.0f} s")
            return RESTART_PERIOD
        return max(0.0, self._heard + SILENCE_MAX - now)

    def handle(self, _mask: int) -> None:
        """React to an event on the watcher's control socket."""
        if self._control is None:
            return
        try:
            chunk = self._control.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._bury("")
            return
        self._heard = self._monotonic()
        self._incoming += chunk
        while (message := frames.take(self._incoming)) is not None:
            self._read(message)

    @property
    def trouble(self) -> str:
        """Why there is no watcher, empty if there is one or soon will be."""
        if not self._is_dying:
            return ""
        return (
            f"watcher {self._pid} was killed and does not end: the kernel keeps it, maybe for a"
            " disk that hangs; the last endpoints are served"
        )

    def stop(self) -> bool:
        """End the watcher; False if it does not."""
        if self._control is not None:
            self._let_go()
            self._is_dying = children.kill(self._pid) is None
        return not self._has_to_wait()

    def _has_to_wait(self) -> bool:
        """Whether a watcher is still there that was killed: two of them would undo one another."""
        self._is_dying = self._is_dying and children.has_ended(self._pid) is None
        return self._is_dying

    def _start(self, now: float) -> None:
        def task(control: socket.socket) -> None:
            privileges.keep_only(privileges.READ_DEVICE)
            watch(control, self._make_watchers(_Pulse(control, self._monotonic).beat))

        self._pid, self._control = children.fork("watcher", task)
        self._control.setblocking(False)
        self._selector.register(self._control, selectors.EVENT_READ, self)
        self._heard, self._next_start = now, now + RESTART_PERIOD

    def _read(self, message: bytes) -> None:
        kind, payload = message[:1], message[1:]
        if kind == _DELTA:
            self._publish(Delta.decode(payload))
        elif kind == _SIGHTING:
            self.sightings = {
                device: Sighting(index, tuple(addresses), trouble)
                for device, (index, addresses, trouble) in json.loads(payload).items()
            }

    def _bury(self, reason: str) -> None:
        self._let_go()
        ended = children.kill(self._pid)
        self._is_dying = ended is None
        self.restarts += 1
        log.error(
            "watcher %d ended unasked (%s); the last endpoints are served, starting another",
            self._pid,
            reason or ended or "killed",
        )

    def _let_go(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            self._selector.unregister(control)
            control.close()
        self._incoming.clear()
