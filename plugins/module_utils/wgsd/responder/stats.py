# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures that the responder's processes keep: each writes its own, any of them reads all.

They lie in one piece of shared memory as unsigned numbers of 64 bits, each aligned and stored at
once. So whoever reads while another process writes gets the old or the new value of a figure and
never a mixture (on a machine of 32 bits it could, at the moment in which the lower half overflows).
Figures that belong together may be apart by one publication, a quarter of a second at most.
"""

from __future__ import annotations

import enum
import mmap
import os
import typing as t
import weakref
import zlib

from ..config import WORKERS_MAX

_TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 16: "TXT", 28: "AAAA", 33: "SRV",
    251: "IXFR", 252: "AXFR", 255: "ANY",
}  # fmt: skip
_RCODES = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED",
    16: "BADVERS",
}  # fmt: skip
_OTHER = "other"
_TYPE_INDEX = {number: index for index, number in enumerate(_TYPES)}
_RCODE_INDEX = {number: index for index, number in enumerate(_RCODES)}

#: Of the slots of answered queries, in their order: type, rcode, and the path that answered.
ANSWERED: tuple[tuple[str, str, str], ...] = tuple(
    (rdtype, rcode, path)
    for rdtype in (*_TYPES.values(), _OTHER)
    for rcode in (*_RCODES.values(), _OTHER)
    for path in ("slow", "fast")
)

# The other slots of a worker.
#: Queries that got no reply.
SILENT = len(ANSWERED)
#: Responses that did not fit (TC).
TRUNCATED = SILENT + 1
#: Responses that rate limiting cut to nothing but TC, or did not send.
LIMITED_SLIPPED = SILENT + 2
LIMITED_DROPPED = SILENT + 3
#: TCP connections: taken, closed for a newer one, closed by time-out, and open now (a gauge).
TCP_ACCEPTED = SILENT + 4
TCP_EVICTED = SILENT + 5
TCP_IDLE = SILENT + 6
TCP_OPEN = SILENT + 7
#: Queries whose signature was not good.
TSIG_FAILED = SILENT + 8
#: UDP responses that the kernel did not take.
UDP_SEND_FAILED = SILENT + 9
#: Slots of a worker in all.
SLOTS = SILENT + 10


def slot(rdtype: int, rcode: int, fast: bool) -> int:
    """Return the slot that counts queries of type *rdtype* answered with *rcode*.

    Args:
        rdtype: 0 for a query whose type cannot be read.
        rcode: With its upper bits from EDNS.
        fast: Whether the bytes of the answer lay ready.
    """
    types = _TYPE_INDEX.get(rdtype, len(_TYPES))
    return (types * (len(_RCODES) + 1) + _RCODE_INDEX.get(rcode, len(_RCODES))) * 2 + fast


class Main(enum.IntEnum):
    """What the supervisor keeps."""

    #: When this run began, in nanoseconds since the epoch.
    STARTED_NS = 0
    #: Workers that are there now.
    WORKERS = 1
    #: Workers and watchers that ended unasked and were replaced.
    WORKER_RESTARTS = 2
    WATCHER_RESTARTS = 3
    #: Reloads that took effect.
    RELOADS = 4
    #: UDP packets that the kernel gave to no worker: the receive buffer was full, or the filter of
    #: a tunnel address kept them out, since they came by another way.
    SOCKET_DROPS = 5


class ZoneFigure(enum.IntEnum):
    """What the supervisor keeps for each zone."""

    SERIAL = 0
    #: Peers that are served, the registry's own included.
    INSTANCES = 1
    #: 1 if the content is known, 0 if the zone fails.
    KNOWN = 2


class Reading(enum.IntEnum):
    """What the watcher keeps for each device."""

    READS = 0
    FAILURES = 1
    #: Processor time of the last read, and of all of them.
    CPU_NS = 2
    CPU_ALL_NS = 3
    #: Time that the last read took by the clock.
    WALL_NS = 4
    #: When the last good read ended, in nanoseconds since the epoch; 0: there was none.
    LAST_GOOD_NS = 5
    PEERS = 6
    PEERS_WITH_ENDPOINT = 7
    #: Reads that led to a new version of a zone.
    CHANGES = 8


class Notifying(enum.IntEnum):
    """What the notifier keeps."""

    #: Who is notified of changes, once for each zone.
    FOLLOWERS = 0
    #: Messages sent, those sent again included.
    SENT = 1
    ACKNOWLEDGED = 2
    #: Followers that refused, or did not acknowledge however often it was tried.
    FAILED = 3


Figure = t.TypeVar("Figure", bound=enum.IntEnum)


class Block(t.Generic[Figure]):
    """Figures that one process writes and any reads."""

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells

    def get(self, figure: Figure) -> int:
        """Return a figure."""
        return int(self._cells[figure])

    def set(self, figure: Figure, value: int) -> None:
        """Set a figure to 0..2**64-1."""
        self._cells[figure] = value

    def add(self, figure: Figure, number: int = 1) -> None:
        """Add *number* to a figure."""
        self._cells[figure] += number


class Recorder:
    """What one worker counts.

    Attributes:
        counts: Of this process alone, so counting costs no more than adding to an item of a list;
            the slots are those of this module. Starts from what the worker before it had counted.
    """

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        self.counts: list[int] = cells.tolist()
        # The connections of the worker before it are gone.
        self.counts[TCP_OPEN] = 0
        self.publish()

    def publish(self) -> None:
        """Let the others see the counts. Call it every 0.25 s at most, and before waiting."""
        cells = self._cells
        # Item by item: a copy of the whole might be made in pieces of any size.
        for index, count in enumerate(self.counts):
            cells[index] = count


class _Header(enum.IntEnum):
    LAYOUT = 0
    NAMES = 1
    GENERATION = 2
    WORKERS_MOST = 3


_MAIN = len(_Header)
_NOTIFIER = _MAIN + len(Main)
_WORKERS = _NOTIFIER + len(Notifying)
_NAMED = _WORKERS + 2 * WORKERS_MAX * SLOTS
_CELL = 8
#: Says what lies where, so that an engine of another version does not take it for its own.
_LAYOUT = zlib.crc32(
    repr([ANSWERED, SLOTS, *_Header, *Main, *Notifying, *ZoneFigure, *Reading]).encode()
)


class Board:
    """All figures of a responder, in memory that outlives each of its processes.

    Attributes:
        supervisor: Written by the supervisor.
        notifier: Written by the notifier.
        zones: By name, written by the supervisor.
        devices: By name, written by the watcher.
    """

    def __init__(
        self, file: int, zones: t.Sequence[str], workers: int, devices: t.Sequence[str]
    ) -> None:
        if not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"{workers} workers, but there is room for 1 to {WORKERS_MAX}")
        self._file = file
        weakref.finalize(self, os.close, file)
        self._workers = workers
        cells = _NAMED + len(zones) * len(ZoneFigure) + len(devices) * len(Reading)
        if os.fstat(file).st_size < cells * _CELL:
            os.ftruncate(file, cells * _CELL)
        self._cells = memoryview(mmap.mmap(file, cells * _CELL)).cast("Q")
        names = zlib.crc32(repr([list(zones), list(devices)]).encode())
        if self._cells[_Header.NAMES] != names:
            for index in range(_NAMED, cells):
                self._cells[index] = 0
        self._cells[_Header.LAYOUT] = _LAYOUT
        self._cells[_Header.NAMES] = names
        # Kept here as well: a worker that has fallen to an attacker may write anything there.
        self._generation = self._cells[_Header.GENERATION] & 1
        self._workers_most = min(max(self._cells[_Header.WORKERS_MOST], workers), WORKERS_MAX)
        self._cells[_Header.WORKERS_MOST] = self._workers_most
        self.supervisor: Block[Main] = Block(self._part(_MAIN, len(Main)))
        self.notifier: Block[Notifying] = Block(self._part(_NOTIFIER, len(Notifying)))
        self.zones: dict[str, Block[ZoneFigure]] = {}
        self.devices: dict[str, Block[Reading]] = {}
        start = _NAMED
        for name in zones:
            self.zones[name] = Block(self._part(start, len(ZoneFigure)))
            start += len(ZoneFigure)
        for name in devices:
            self.devices[name] = Block(self._part(start, len(Reading)))
            start += len(Reading)

    @classmethod
    def create(cls, zones: t.Sequence[str], workers: int, devices: t.Sequence[str] = ()) -> Board:
        """Make a board on which all is 0, before any process is forked that writes on it.

        Args:
            workers: 1 to `WORKERS_MAX`.
        """
        return cls(os.memfd_create("wgsd-figures"), zones, workers, devices)

    @classmethod
    def inherit(
        cls, file: int, zones: t.Sequence[str], workers: int, devices: t.Sequence[str] = ()
    ) -> Board:
        """Take over the board of the program that this process was before it executed this one.

        Its workers may go on counting while the new ones already do; those of the run before it
        must be gone. The new board starts from 0 where an engine of another version, or one with
        other zones and devices, kept other figures.

        Args:
            file: `fileno` of that board, inherited; it belongs to the new board from now on.
        """
        header = os.pread(file, len(_Header) * _CELL, 0)
        if len(header) < len(_Header) * _CELL or memoryview(header).cast("Q")[0] != _LAYOUT:
            os.close(file)
            return cls.create(zones, workers, devices)
        board = cls(file, zones, workers, devices)
        board._generation ^= 1
        board._cells[_Header.GENERATION] = board._generation
        return board

    def fileno(self) -> int:
        """Return the file descriptor of the memory; it is closed on exec unless that is changed."""
        return self._file

    def worker(self, index: int) -> Recorder:
        """Return the recorder of worker *index*; one that replaces another has the same index."""
        return Recorder(self._block(self._generation, index))

    def totals(self) -> list[int]:
        """Return the sums of all workers' slots, those of former workers included."""
        everyone = range(self._workers_most)
        current = [self._block(self._generation, index).tolist() for index in everyone]
        former = [self._block(self._generation ^ 1, index).tolist() for index in everyone]
        sums = [sum(column) for column in zip(*current, *former)]
        # Of one that is no more nobody has set it to 0.
        sums[TCP_OPEN] = sum(counts[TCP_OPEN] for counts in current[: self._workers])
        return sums

    def _block(self, generation: int, index: int) -> memoryview:
        return self._part(_WORKERS + (generation * WORKERS_MAX + index) * SLOTS, SLOTS)

    def _part(self, start: int, length: int) -> memoryview:
        return self._cells[start : start + length]
