# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches one device for the zones that describe it: reads, compares, makes versions."""

from __future__ import annotations

import logging
import time
import typing as t

from ..config import ZoneSettings
from ..device import Backend
from ..errors import DeviceError, NoDeviceError
from ..model import REJECT_AFTER_TIME, Device
from ..zone import serial
from ..zone.version import Content, Interface, Version, content_of, tunnel_addresses

log = logging.getLogger(__name__)

#: Seconds between the starts of two reads of a device that is read quickly.
READ_PERIOD = 0.05
#: The part of one core that this process may spend on reading; costly reads make the period
#: longer. The device, in the kernel or in userspace, spends about as much again.
READ_SHARE = 0.1
#: Seconds between two looks for a device that is not there, or for its first address.
SEARCH_PERIOD = 0.25
#: Seconds between two reads of the interface's addresses, which hardly ever change.
ADDRESS_PERIOD = 5.0
#: Seconds for which the endpoints of a device that is gone are still served. By then each session
#: it had is given up by the peers' devices too, and nothing speaks for the endpoints any more.
GRACE = REJECT_AFTER_TIME


class Serials(t.Protocol):
    """Where the serials outlive the process."""

    def load(self, zone: str) -> int | None:
        """Return the last serial of *zone* that was saved."""

    def save(self, zone: str, serial: int) -> None:
        """Remember the serial of *zone*."""


class Watcher:
    """Reads a device on a schedule that depends on nothing but the cost of a read.

    Attributes:
        due: When to call `poll` next, in the monotonic clock's seconds.
        addresses: The tunnel addresses as last seen, without link-local ones.
        trouble: Why the device cannot be read, empty while it can.
    """

    def __init__(
        self,
        device: str,
        zones: t.Sequence[ZoneSettings],
        *,
        open_device: t.Callable[[str], Backend],
        read_addresses: t.Callable[[str], t.Sequence[Interface]],
        serials: Serials,
        monotonic: t.Callable[[], float] = time.monotonic,
        cpu: t.Callable[[], float] = time.process_time,
        wall: t.Callable[[], float] = time.time,
    ) -> None:
        self._device = device
        self._open = open_device
        self._read_addresses = read_addresses
        self._serials = serials
        self._monotonic = monotonic
        self._cpu = cpu
        self._zones = zones
        self._versions = {
            zone.zone: Version(
                zone.zone, serial.first_of_run(wall(), serials.load(zone.zone)), None
            )
            for zone in zones
        }
        self._backend: Backend | None = None
        self._addresses_due = 0.0
        self._known: object = None
        self._last_seen: float | None = None
        self.due = monotonic()
        self.addresses: tuple[str, ...] = ()
        self.trouble = ""

    @property
    def versions(self) -> t.Collection[Version]:
        """The newest version of each zone."""
        return self._versions.values()

    def poll(self) -> list[Version]:
        """Read the device once and return the versions of the zones that changed by it."""
        started = self._monotonic()
        try:
            backend = self._opened(started)
            spent = self._cpu()
            device = backend.read()
        except DeviceError as exc:
            self._drop_backend()
            self._tell(exc)
            changed = self._expire(started)
            self.due = started + SEARCH_PERIOD
            return changed
        if self.trouble:
            log.info("device %s can be read again", self._device)
            self.trouble = ""
        self._last_seen = started
        changed = self._compare(device)
        self.due = started + max(READ_PERIOD, (self._cpu() - spent) / READ_SHARE)
        return changed

    def close(self) -> None:
        """Let the device go."""
        self._drop_backend()

    def _opened(self, now: float) -> Backend:
        """Open the device if need be, and look at its addresses if it is time."""
        if self._backend is None:
            self._backend = self._open(self._device)
            self._addresses_due = now
        if now >= self._addresses_due:
            self.addresses = tunnel_addresses(self._read_addresses(self._device))
            self._addresses_due = now + (ADDRESS_PERIOD if self.addresses else SEARCH_PERIOD)
        return self._backend

    def _compare(self, device: Device) -> list[Version]:
        # Most reads find nothing new, which a look at the few things that matter shows quickly.
        peers = {key: (peer.endpoint, peer.allowed_ips) for key, peer in device.peers.items()}
        known = (device.public_key, device.listen_port, self.addresses, peers)
        if known == self._known:
            return []
        self._known = known
        changed = []
        for zone in self._zones:
            content = content_of(zone, device, self.addresses)
            if content != self._versions[zone.zone].content:
                changed.append(self._next(zone.zone, content))
        return changed

    def _drop_backend(self) -> None:
        if self._backend is not None:
            self._backend.close()
        self._backend = None

    def _tell(self, exc: DeviceError) -> None:
        if str(exc) == self.trouble:
            return
        self.trouble = str(exc)
        if self._last_seen is None:
            log.warning("%s; waiting for the device", exc)
        else:
            level = logging.WARNING if isinstance(exc, NoDeviceError) else logging.ERROR
            log.log(level, "%s; its last endpoints are served for %d s at most", exc, GRACE)

    def _expire(self, now: float) -> list[Version]:
        """Withdraw all contents once the device has been gone for too long."""
        if self._last_seen is None or now - self._last_seen < GRACE:
            return []
        self._last_seen = None
        self._known = None
        log.warning("device %s is still gone; its zones fail until it is back", self._device)
        return [self._next(zone, None) for zone in self._versions]

    def _next(self, zone: str, content: Content | None) -> Version:
        last = self._versions[zone]
        # The serial that a run starts with has not been served yet.
        is_first = last.content is None
        number = last.serial if is_first else serial.following(last.serial)
        self._versions[zone] = Version(zone, number, content)
        self._serials.save(zone, number)
        return self._versions[zone]
