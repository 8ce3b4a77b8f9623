# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A peer that changes its key: its new entry takes the old one's place when the new key is used.

WireGuard gives an allowed IP to one peer only, and a host uses one key at a time. So both entries
are on the device for a while, the new one without allowed IPs. The first packet that WireGuard
counts for it is a handshake initiation, which nobody can make without the new private key: the host
has switched, and sends nothing by the old key any more. From then on the old entry is of no use.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
import time
import types
import typing as t

from . import systemd
from .device import Backend, open_device
from .errors import DeviceError, UsageError
from .keys import PublicKey
from .model import Device, Peer, PeerChange

log = logging.getLogger("wgsd.takeover")

#: Seconds between the starts of two reads of a device that is read quickly. This is what a host
#: loses at the most of what it sends while it rotates its key, besides a round trip.
READ_PERIOD = 0.02
#: The part of the time for which the device is being read: a costly read makes the period longer.
READ_SHARE = 0.15
READ_PERIOD_MAX = 0.5
#: Seconds between two looks for a device that is not there.
SEARCH_PERIOD = 0.25
#: Seconds for which an entry that took over is looked after: a client that had read the device just
#: before may put the old entry back, and take the allowed IPs with it.
CARE = 5.0
#: The characters of a key in base64, and what stands between the two of a pair.
_KEY_CHARACTERS = 44


@dataclasses.dataclass(frozen=True, order=True)
class Pair:
    """A peer's key, and the one that comes after it."""

    old: PublicKey
    new: PublicKey

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Parse ``OLD=NEW``, both in base64, which has an ``=`` of its own at its end.

        Raises:
            UsageError: *text* is something else.
        """
        old, equals, new = (
            text[:_KEY_CHARACTERS],
            text[_KEY_CHARACTERS : _KEY_CHARACTERS + 1],
            text[_KEY_CHARACTERS + 1 :],
        )
        if equals != "=":
            raise UsageError(f"{text!r} is not a pair of keys", "write it as OLD=NEW")
        pair = cls(PublicKey.from_base64(old), PublicKey.from_base64(new))
        if pair.old == pair.new:
            raise UsageError(f"{pair.old} cannot come after itself", "give the key that follows it")
        return pair

    def __str__(self) -> str:
        return f"{self.old}={self.new}"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a pair is.

    Attributes:
        heir: What the new entry was given; None while it waits.
        since: When that was, in steady seconds.
        over: Whether there is nothing more to do.
    """

    pair: Pair
    heir: Inheritance | None = None
    since: float = 0.0
    over: bool = False

    @property
    def waits(self) -> bool:
        """Whether the peer has not used its new key yet."""
        return self.heir is None and not self.over


@dataclasses.dataclass(frozen=True)
class Inheritance:
    """What passes from the old entry to the new one; the endpoint is that of its own packets."""

    allowed_ips: tuple[str, ...]
    persistent_keepalive: int


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done about a pair: the changes, and how far it is after them."""

    progress: Progress
    changes: tuple[PeerChange, ...] = ()
    note: str = ""


def announcement(old: Peer, new: PublicKey) -> PeerChange:
    """Return the change that makes the device know the key that comes after *old*'s.

    It has no endpoint, so that no zone lists it before its host uses it.
    """
    return PeerChange(new, preshared_key=old.preshared_key, create=True)


def succession(old: Peer, new: Peer | None, pair: Pair) -> tuple[PeerChange, ...]:
    """Return the changes by which the new entry takes the place of *old*, for one operation.

    The allowed IPs move before the old entry goes, so that there is no moment without them.
    """
    heir = _inheritance(old, new)
    return (
        PeerChange(
            pair.new,
            # One that has not come yet is reached where the old one was.
            endpoint=old.endpoint if new is None or new.endpoint is None else None,
            persistent_keepalive=heir.persistent_keepalive,
            allowed_ips=heir.allowed_ips,
            preshared_key=old.preshared_key if new is None else None,
            create=True,
        ),
        PeerChange(pair.old, remove=True),
    )


def is_alive(peer: Peer) -> bool:
    """Whether anything has come by the key of *peer* that WireGuard holds to be genuine."""
    return bool(peer.rx_bytes or peer.last_handshake)


def decide(device: Device, progress: Progress, now: float) -> Step:
    """Decide about one pair. Pure.

    Args:
        device: A snapshot.
        now: Steady seconds.
    """
    pair = progress.pair
    old, new = device.peers.get(pair.old), device.peers.get(pair.new)
    if progress.heir is not None:
        return _care(device, progress, progress.heir, now)
    if new is None:
        if old is None:
            # The peer was removed, under whichever key. What removed it has the last word.
            return Step(dataclasses.replace(progress, over=True), note="the peer was removed")
        return Step(progress, (announcement(old, pair.new),), "known again; it was gone")
    if old is None:
        if new.allowed_ips:
            return Step(dataclasses.replace(progress, over=True), note="it has its place already")
        return Step(progress)
    if not is_alive(new):
        return Step(progress)
    heir = _inheritance(old, new)
    return Step(
        dataclasses.replace(progress, heir=heir, since=now),
        succession(old, new, pair),
        f"the peer uses its new key: {', '.join(heir.allowed_ips) or 'nothing'} is reached by it",
    )


def leftovers(device: Device, pairs: t.Iterable[Progress]) -> tuple[PeerChange, ...]:
    """Return the changes that remove new entries which nobody has used, when time has run out."""
    unused = (device.peers.get(p.pair.new) for p in pairs if p.waits)
    return tuple(
        PeerChange(peer.public_key, remove=True)
        for peer in unused
        if peer is not None and not peer.allowed_ips and not is_alive(peer)
    )


def _inheritance(old: Peer, new: Peer | None) -> Inheritance:
    own = new.allowed_ips if new else ()
    keepalive = old.persistent_keepalive or (new.persistent_keepalive if new else 0)
    return Inheritance(tuple(dict.fromkeys((*old.allowed_ips, *own))), keepalive)


def _care(device: Device, progress: Progress, heir: Inheritance, now: float) -> Step:
    """See to it that a new entry keeps what it was given; take nothing from third peers."""
    pair = progress.pair
    old, new = device.peers.get(pair.old), device.peers.get(pair.new)
    if new is None or now >= progress.since + CARE:
        # Whoever removed it knows why: another key may have come after this one.
        return Step(dataclasses.replace(progress, over=True))
    if old is not None:
        return Step(progress, succession(old, new, pair), "the old entry was put back; undone")
    others = {
        block for key, peer in device.peers.items() if key != pair.new for block in peer.allowed_ips
    }
    lost = [b for b in heir.allowed_ips if b not in new.allowed_ips and b not in others]
    if not lost:
        return Step(progress)
    change = PeerChange(pair.new, allowed_ips=(*new.allowed_ips, *lost))
    return Step(progress, (change,), f"{', '.join(lost)} was lost; given back")


class Takeover:
    """Watches one device until all pairs are through.

    Args:
        wait: Waits for as many seconds; returns whether to stop.
        opener: Opens a device by its name.
        steady: Returns steady seconds.
    """

    def __init__(
        self,
        interface: str,
        pairs: t.Iterable[Pair],
        *,
        wait: t.Callable[[float], bool],
        opener: t.Callable[[str], Backend] = open_device,
        steady: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._interface = interface
        self._progress = [Progress(pair) for pair in dict.fromkeys(pairs)]
        self._wait = wait
        self._opener = opener
        self._steady = steady
        self._backend: Backend | None = None
        self._trouble = ""

    def run(self, seconds: float) -> list[Pair]:
        """Watch until all is done, time has run out, or `wait` says stop.

        Returns:
            The pairs whose new key nobody has used; their new entries are gone again.

        Raises:
            DeviceError: the device is out of reach from the beginning.
        """
        end = self._steady() + seconds
        unused: list[Pair] = []
        stopped = False
        try:
            self._opened().read()
            count = len(self._progress)
            log.info("%s: waiting until %d peer(s) use their new keys", self._interface, count)
            systemd.notify("READY=1")
            while True:
                pause = self._look()
                if stopped or self._steady() >= end:
                    unused += self._give_up()
                # What was taken over shortly before the end is looked after all the same.
                if stopped or all(progress.over for progress in self._progress):
                    return unused
                waiting = sum(progress.waits for progress in self._progress)
                systemd.notify(f"STATUS=waiting for {waiting} of {len(self._progress)} peers")
                stopped = self._wait(pause)
        finally:
            self._close()

    def _look(self) -> float:
        """Look once; return the seconds until the next look."""
        started = self._steady()
        try:
            backend = self._opened()
            device = backend.read()
            now = self._steady()
            steps = [
                Step(progress) if progress.over else decide(device, progress, now)
                for progress in self._progress
            ]
            backend.apply([change for step in steps for change in step.changes])
        except DeviceError as exc:
            self._close()
            self._tell(str(exc))
            return SEARCH_PERIOD
        self._tell("")
        for step in steps:
            if step.note:
                pair = step.progress.pair
                log.info("peer %s, now %s: %s", pair.old, pair.new, step.note)
        self._progress = [step.progress for step in steps]
        period = min(max(READ_PERIOD, (now - started) / READ_SHARE), READ_PERIOD_MAX)
        return max(0.0, started + period - self._steady())

    def _give_up(self) -> list[Pair]:
        """Remove what nobody has used, and wait for it no longer."""
        waiting = [progress for progress in self._progress if progress.waits]
        if waiting:
            try:
                backend = self._opened()
                backend.apply(leftovers(backend.read(), waiting))
            except DeviceError as exc:
                # The entries went with the device, or there is nothing better to do.
                self._tell(str(exc))
        self._progress = [
            dataclasses.replace(progress, over=progress.over or progress.waits)
            for progress in self._progress
        ]
        return [progress.pair for progress in waiting]

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble

    def _opened(self) -> Backend:
        if self._backend is None:
            self._backend = self._opener(self._interface)
        return self._backend

    def _close(self) -> None:
        if self._backend is not None:
            self._backend.close()
            self._backend = None


def run(interface: str, pairs: t.Sequence[Pair], seconds: float) -> list[Pair]:
    """Watch a device until all *pairs* are through, for *seconds* at the most, or until SIGTERM.

    Returns:
        The pairs that are not.

    Raises:
        UsageError: a key is in two pairs.
        DeviceError: the device is out of reach from the beginning.
    """
    for keys in ([pair.old for pair in pairs], [pair.new for pair in pairs]):
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise UsageError(f"{twice} is in two pairs", "give each peer once")
    stop = threading.Event()

    def on_signal(_number: int, _frame: types.FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return Takeover(interface, pairs, wait=stop.wait).run(seconds)
