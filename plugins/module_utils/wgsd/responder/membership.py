# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalog zone from run to run: its serial moves when it has other members, and only then."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import typing as t

from ..config import ResponderSettings
from ..zone import serial
from ..zone.catalog import Catalog
from .disk import sync_folder

log = logging.getLogger(__name__)

#: In the state directory.
FILE = "catalog.json"
#: To be changed with the records that are made of equal members.
_FORM = 1


def catalog_of(settings: ResponderSettings, now: float) -> Catalog | None:
    """Return the catalog of all zones, None if none is wished for, and remember its serial.

    Trouble with the file is told, and the serial then comes from the clock.

    Args:
        now: Seconds since the epoch.
    """
    if settings.catalog is None:
        return None
    zone, members = settings.catalog.zone, sorted(member.zone for member in settings.zones)
    says = {"form": _FORM, "zone": zone, "members": members}
    path = settings.state_dir / FILE
    known = _read(path)
    if says.items() <= known.items():
        return Catalog(zone, known["serial"], members)
    number = serial.first_of_run(now, known.get("serial"))
    try:
        _write(path, {**says, "serial": number})
    except OSError as exc:
        # What is there is not the last one any more.
        with contextlib.suppress(OSError):
            path.unlink()
        log.warning(
            "the serial of the catalog zone cannot be kept (%s): it starts from the clock, and"
            " secondaries transfer the catalog after each restart. Make the folder writable",
            exc,
        )
    return Catalog(zone, number, members)


def _read(path: pathlib.Path) -> dict[str, t.Any]:
    """Return what was written last; nothing if there is nothing that could be relied on."""
    # Where nothing can be written, what is there may be of a run long before the last.
    if not os.access(path.parent, os.W_OK):
        return {}
    try:
        known = json.loads(path.read_bytes())
        if isinstance(known, dict) and isinstance(known.get("serial"), int):
            return known
        reason: object = "not what was written there"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        reason = exc
    log.warning("%s: %s; the serial of the catalog zone starts from the clock", path, reason)
    return {}


def _write(path: pathlib.Path, known: t.Mapping[str, t.Any]) -> None:
    """Have the disk hold *known*; if power fails meanwhile, what was there before.

    Raises:
        OSError: that cannot be done.
    """
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="ascii") as file:
        json.dump(known, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)
