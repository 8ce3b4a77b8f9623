# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the responder remembers between runs: the serial of each zone, a file each."""

from __future__ import annotations

import logging
import pathlib

log = logging.getLogger(__name__)


class SerialFiles:
    """The last serial of each zone in ``ZONE.serial`` under the state directory.

    A directory that cannot be used is told once; serials then start from the clock in every run.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._complained = False

    def load(self, zone: str) -> int | None:
        """Return the last serial of *zone*, None if there is none or it cannot be read."""
        try:
            return int(self._path(zone).read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            self._complain("read", exc)
            return None

    def save(self, zone: str, serial: int) -> None:
        """Remember *serial*; a reader sees the old file or the new one, nothing between."""
        path = self._path(zone)
        new = path.with_name(path.name + ".new")
        try:
            new.write_text(f"{serial}\n", encoding="ascii")
            new.replace(path)
        except OSError as exc:
            self._complain("written", exc)

    def _path(self, zone: str) -> pathlib.Path:
        return self._folder / f"{zone}serial"

    def _complain(self, what: str, reason: Exception) -> None:
        if not self._complained:
            log.warning(
                "serials cannot be %s in %s (%s); after a restart they start from the clock",
                what,
                self._folder,
                reason,
            )
        self._complained = True
