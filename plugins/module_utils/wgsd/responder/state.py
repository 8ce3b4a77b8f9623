# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What outlives the responder: the chain of versions of each zone, in a journal.

``ZONE.journal`` in the state directory has a heading, the base of the chain, and its steps, each in
a line: a checksum over it and all lines before, and the encoded delta. A step is appended, and is
on the disk, before anyone is told of it. So all that a crash can leave undone is the end of the
last line, and nobody knows of that step.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import time
import typing as t
import zlib

from ..errors import WgsdError
from ..zone import serial
from ..zone.version import Chain, Delta, Version
from .disk import sync_folder

log = logging.getLogger(__name__)

#: To be changed with the form of the lines, and with the records that are made of equal content:
#: zones then start anew, from the clock.
HEADING = b"wgsd journal 1"
#: Seconds after which a journal that could not be written is tried again.
RETRY_PERIOD = 60.0


class DamagedError(Exception):
    """A journal does not hold what was written to it."""


class Journal:
    """The journal of one zone. Trouble with it is told once, and the zone is served all the same.

    As long as it cannot be written there is none: a serial that is behind the one served last
    would be worse than none, after which a run starts from the clock.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        zone: str,
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = folder / f"{zone}journal"
        self._new = folder / f"{zone}journal.new"
        self._zone = zone
        self._monotonic = monotonic
        self._file: int | None = None
        #: The base that the open file begins with, and the checksum that it ends with.
        self._base: Version | None = None
        self._checksum = 0
        self._retry_due = 0.0
        self._complained = False

    def load(self) -> Chain | None:
        """Return what was kept last; None if there is nothing that could be relied on."""
        # Where nothing can be written, what is there may be of a run long before the last.
        if not os.access(self._path.parent, os.W_OK):
            self._complain(f"{self._path.parent} is read-only, not ours, or not there")
            return None
        try:
            return parse(self._path.read_bytes(), self._zone)
        except FileNotFoundError:
            return None
        except (OSError, DamagedError) as exc:
            log.warning(
                "the journal of %s cannot be used (%s); its serial starts from the clock, and"
                " secondaries get the whole zone anew. If that happens again, check the disk",
                self._zone,
                exc if isinstance(exc, OSError) else f"{self._path}, {exc}",
            )
            return None

    def keep(self, chain: Chain, step: Delta) -> None:
        """Put *step*, the last one of *chain*, on the disk."""
        if self._file is None and self._monotonic() < self._retry_due:
            return
        try:
            if self._file is None or chain.base is not self._base:
                self._rewrite(chain)
            else:
                self._append(self._file, [step])
        except OSError as exc:
            self.close()
            for path in (self._new, self._path):
                with contextlib.suppress(OSError):
                    path.unlink()
            self._retry_due = self._monotonic() + RETRY_PERIOD
            self._complain(str(exc))
            return
        if self._complained:
            log.info("the journal of %s is written again", self._zone)
            self._complained = False

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _rewrite(self, chain: Chain) -> None:
        """Begin a new file, which a crash leaves either not there or whole."""
        self.close()
        self._file = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _write(self._file, HEADING + b"\n")
        self._base, self._checksum = chain.base, zlib.crc32(HEADING)
        self._append(self._file, chain.deltas())
        self._new.replace(self._path)
        sync_folder(self._path.parent)

    def _append(self, file: int, deltas: t.Iterable[Delta]) -> None:
        lines = bytearray()
        for delta in deltas:
            encoded = delta.encode()
            self._checksum = zlib.crc32(encoded, self._checksum)
            lines += b"%08x %s\n" % (self._checksum, encoded)
        _write(file, lines)
        os.fsync(file)

    def _complain(self, reason: str) -> None:
        if not self._complained:
            log.error(
                "the journal of %s cannot be written (%s): the zone is served, but after a restart"
                " its serial starts from the clock. Make room or make the folder writable",
                self._zone,
                reason,
            )
        self._complained = True


def parse(text: bytes, zone: str) -> Chain:
    """Read a journal; the end of a line that was not written completely does not count.

    Raises:
        DamagedError: it is not what was written for *zone*.
    """
    heading, *lines = text.split(b"\n")[:-1] or [b""]
    if heading != HEADING:
        raise DamagedError(f"line 1: it is damaged or of another version, not {HEADING.decode()!r}")
    checksum = zlib.crc32(HEADING)
    deltas = []
    for number, line in enumerate(lines, 2):
        encoded = line[9:]
        checksum = zlib.crc32(encoded, checksum)
        if line[:9] != b"%08x " % checksum:
            raise DamagedError(f"line {number}: the checksum is wrong")
        try:
            deltas.append(Delta.decode(encoded))
        except (ValueError, TypeError, AttributeError, WgsdError) as exc:
            raise DamagedError(f"line {number}: it is no step of a zone ({exc})") from None
        if deltas[-1].zone != zone:
            raise DamagedError(f"line {number}: it is about {deltas[-1].zone}")
    if not deltas:
        raise DamagedError("line 2: there is none")
    return Chain.of(deltas)


def new_chain(zone: str, now: float) -> Chain:
    """Return a chain without content that goes on with the serial of the clock.

    Args:
        now: Seconds since the epoch.
    """
    return Chain(Version(zone, serial.by_clock(now - 1 / serial.RATE)))


def _write(file: int, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
