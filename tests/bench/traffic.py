# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked: files of queries as dnsperf reads them."""

from __future__ import annotations

import pathlib
import random

from . import wire
from .registry import Device

#: More names than a run of some seconds asks for, so that none comes twice.
STRANGERS = 400_000
_MIXED = 20_000


class Traffic:
    """Files of queries about one device."""

    def __init__(self, folder: pathlib.Path, device: Device, strangers: int = STRANGERS) -> None:
        self._folder = folder / f"queries-{device.name}"
        self._folder.mkdir(exist_ok=True)
        # Another seed than that of the device's keys: these must be strangers to it.
        self._random = random.Random(f"strangers to {device.name}")
        self._names = device.names
        unknown = [
            f"{wire.instance(self._random.randbytes(32))} SRV" for _number in range(strangers)
        ]
        everyone = [f"{name} SRV" for name in self._names]
        shouted = [line.upper() for line in everyone]
        self.every_peer = self._write("every-peer", everyone)
        #: As the old client asks: upper case.
        self.srv = self._write("srv", everyone + shouted)
        self.nxdomain = self._write("nxdomain", unknown)
        self.mixed = self._write("mixed", [self._any(unknown) for _number in range(_MIXED)])

    def _any(self, unknown: list[str]) -> str:
        name = self._random.choice(self._names)
        kinds = {
            f"{name} SRV": 60,
            f"{name} A": 10,
            f"{name} AAAA": 10,
            f"{name} TXT": 5,
            self._random.choice(unknown): 10,
            f"{wire.ZONE} SOA": 4,
            f"{wire.SERVICE} PTR": 1,
        }
        return self._random.choices(list(kinds), list(kinds.values()))[0]

    def _write(self, name: str, lines: list[str]) -> pathlib.Path:
        self._random.shuffle(lines)
        path = self._folder / name
        path.write_text("\n".join([*lines, ""]), encoding="ascii")
        return path
