# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches one device for the zones that describe it: reads, compares, makes versions."""

from __future__ import annotations

import dataclasses
import logging
import time
import types
import typing as t

from ..config import ZoneSettings
from ..device import Backend
from ..errors import DeviceError, NoDeviceError, SlowDeviceError
from ..keys import PublicKey
from ..model import REJECT_AFTER_TIME, Device, Peer
from ..zone import serial
from ..zone.version import (
    Chain,
    Content,
    Delta,
    Interface,
    Version,
    content_of,
    instance_of,
    own_instance,
    tunnel_addresses,
)
from .stats import Block, Reading

log = logging.getLogger(__name__)

#: Seconds between the starts of two reads of a device that is read quickly.
READ_PERIOD = 0.05
#: The part of the time for which the device is being read: a costly read makes the period longer.
#: A userspace device spends most of that time itself.
READ_SHARE = 0.15
#: Seconds after which a device is read again whatever that costs: the bound of staleness, to
#: which the read itself adds.
READ_PERIOD_MAX = 0.75
#: Seconds without a sign of a device after which others have their turn: one that hangs keeps them
#: waiting as long as that when it is asked, and then not before it is given up and asked anew.
READ_PATIENCE = 0.1
#: Seconds from a read that found a change to the next: what changes meanwhile makes one version.
CHANGE_PERIOD = 1 / serial.RATE
#: Seconds between two looks for a device that is not there, or for its first address.
SEARCH_PERIOD = 0.25
#: Seconds between two reads of the interface's addresses, which hardly ever change.
ADDRESS_PERIOD = 5.0
#: Seconds for which the endpoints of a device that is gone are still served. By then each session
#: it had is given up by the peers' devices too, and nothing speaks for the endpoints any more.
GRACE = REJECT_AFTER_TIME


class Journal(t.Protocol):
    """Where the versions of a zone outlive the process."""

    def keep(self, chain: Chain, step: Delta) -> None:
        """Put *step*, the last one of *chain*, on the disk."""


class Signer(t.Protocol):
    """What seals the versions of a zone with DNSSEC."""

    def seal(self, before: Version, delta: Delta) -> Delta:
        """Return *delta*, which follows on *before*, with the seals that it takes.

        One that is whole gets all of them, and one without addresses gets none.
        """

    def refresh(self, version: Version) -> t.Mapping[str, bytes]:
        """Return the seals of *version* that are to be replaced now, by owner: none, most often.

        They are for a delta that then goes through `seal`.
        """


class Watcher:
    """Reads a device on a schedule that depends on nothing but the cost of a read.

    Attributes:
        device: The interface's name.
        due: When to call `poll` next, in the monotonic clock's seconds.
        index: The interface's index; None while it is not there.
        addresses: The tunnel addresses as last seen, without link-local ones.
        trouble: Why the device cannot be read, empty while it can.
    """

    def __init__(
        self,
        device: str,
        zones: t.Sequence[ZoneSettings],
        chains: t.Mapping[str, Chain],
        *,
        open_device: t.Callable[[str], Backend],
        read_addresses: t.Callable[[str], t.Sequence[Interface]],
        interface_index: t.Callable[[str], int],
        journals: t.Mapping[str, Journal],
        account: Block[Reading],
        signers: t.Mapping[str, Signer] = types.MappingProxyType({}),
        monotonic: t.Callable[[], float] = time.monotonic,
        cpu: t.Callable[[], float] = time.process_time,
        wall: t.Callable[[], float] = time.time,
    ) -> None:
        """Make a watcher that goes on from *chains*, which are being served.

        Args:
            chains: By zone; they become the watcher's own.
            interface_index: Returns the index of an interface; raises OSError if there is none.
            journals: By zone.
            account: Where to note what reading costs.
            signers: By zone, of those that are to be signed.
        """
        self.device = device
        self._open = open_device
        self._read_addresses = read_addresses
        self._interface_index = interface_index
        self._journals = journals
        self._signers = signers
        self._monotonic = monotonic
        self._cpu = cpu
        self._wall = wall
        self._zones = zones
        self._chains = {zone.zone: chains[zone.zone] for zone in zones}
        #: Zones that have got a version in this run.
        self._numbered: set[str] = set()
        self._backend: Backend | None = None
        self._addresses_due = 0.0
        #: When the device was asked for what it has not replied yet.
        self._asked: float | None = None
        #: What the versions are made of; None: they are to be compared as a whole.
        self._seen: tuple[object, t.Mapping[PublicKey, Peer]] | None = None
        knows = any(chain.newest.content for chain in self._chains.values())
        self._last_seen: float | None = monotonic() if knows else None
        self._account = account
        self.due = monotonic()
        self.index: int | None = None
        self.addresses: tuple[str, ...] = ()
        self.trouble = ""

    def poll(self) -> list[Delta]:
        """Read the device once and return the deltas of the zones that changed by it.

        One that takes its time is waited for in the polls that follow.
        """
        started, spent = self._monotonic(), self._cpu()
        try:
            backend = self._opened(started)
            device = backend.read()
            self._check_made(device)
        except SlowDeviceError:
            if self._asked is None:
                self._asked = started
            self.due = self._monotonic() + READ_PERIOD
            return self._expire(started)
        except DeviceError as exc:
            self._drop_backend()
            self._tell(exc)
            self._account.add(Reading.FAILURES)
            self.due = self._monotonic() + SEARCH_PERIOD
            return self._expire(started)
        asked, self._asked = started if self._asked is None else self._asked, None
        if self.trouble:
            log.info("device %s can be read again", self.device)
            self.trouble = ""
        took, spent = self._monotonic() - asked, self._cpu() - spent
        self._last_seen = asked
        deltas = self._compare(device)
        deltas += self._refresh(deltas)
        period = CHANGE_PERIOD if deltas else READ_PERIOD
        self.due = asked + min(max(period, took / READ_SHARE), READ_PERIOD_MAX)
        self._note(device, took, spent, len(deltas))
        return deltas

    def close(self) -> None:
        """Let the device go."""
        self._drop_backend()

    def _opened(self, now: float) -> Backend:
        """Open the device if need be, and look at its addresses if it is time."""
        try:
            index = self._interface_index(self.device)
        except OSError:
            index = None
        if index != self.index:
            # Made anew under the same name: nothing that is known of the old one counts.
            self._drop_backend()
            self.index = index
        if self._backend is None:
            self._backend = self._open(self.device)
            self._addresses_due = now
        if now >= self._addresses_due:
            self.addresses = tunnel_addresses(self._read_addresses(self.device))
            self._addresses_due = now + (ADDRESS_PERIOD if self.addresses else SEARCH_PERIOD)
        return self._backend

    def _check_made(self, device: Device) -> None:
        """Make sure that somebody has set up the device: else its peers are still to come.

        Clients may go by who is in the zone: a device that is being restarted must not look as if
        all members had left. What sets it up gives it key and peers, and then its addresses.

        Raises:
            NoDeviceError: the device has no key, or none of the addresses that its zones had.
        """
        contents = [chain.newest.content for chain in self._chains.values()]
        if not any(content and content.instances for content in contents):
            return
        if device.public_key is None:
            raise NoDeviceError(f"{self.device} has no private key yet")
        if not self.addresses and any(content and content.addresses for content in contents):
            raise NoDeviceError(f"{self.device} has no address yet")

    def _compare(self, device: Device) -> list[Delta]:
        # Most reads find nothing new: an unchanged peer is the very same object as before.
        whole = (device.public_key, device.listen_port, self.addresses)
        before, self._seen = self._seen, (whole, device.peers)
        if before is None or before[0] != whole:
            return self._steps(
                lambda zone, version, number: self._step_to(
                    content_of(zone, device, self.addresses), version, number
                )
            )
        old = before[1]
        if old is device.peers:
            return []
        touched = [p for key, p in device.peers.items() if not _serves_as(old.get(key), p)]
        gone = [key for key in old if key not in device.peers]
        if not touched and not gone:
            return []

        def step(zone: ZoneSettings, version: Version, number: int) -> Delta | None:
            changes = {peer.public_key: instance_of(zone, peer) for peer in touched}
            changes.update(dict.fromkeys(gone))
            own = own_instance(zone, device)
            if own is not None:
                changes[own.public_key] = own
            return version.delta_by(number, changes)

        return self._steps(step)

    def _step_to(self, content: Content, version: Version, number: int) -> Delta | None:
        # One that has been signed and is not to be any more, or the other way round.
        if version.content and bool(version.seals) != (version.zone in self._signers):
            return Version(version.zone, number, content).whole()
        return version.delta_to(number, content)

    def _steps(self, step: t.Callable[[ZoneSettings, Version, int], Delta | None]) -> list[Delta]:
        deltas = []
        for zone in self._zones:
            delta = step(zone, self._chains[zone.zone].newest, self._next(zone.zone))
            if delta is not None:
                deltas.append(self._make(delta))
        return deltas

    def _refresh(self, made: t.Sequence[Delta]) -> list[Delta]:
        """Make versions of nothing but new seals, for the zones that have not just got one."""
        deltas = []
        for zone in self._signers.keys() & self._chains.keys() - {delta.zone for delta in made}:
            version = self._chains[zone].newest
            if version.content is None:
                continue
            seals = self._signers[zone].refresh(version)
            if seals:
                addresses = version.content.addresses
                deltas.append(self._make(Delta(zone, self._next(zone), addresses, seals=seals)))
        return deltas

    def _note(self, device: Device, took: float, spent: float, changes: int) -> None:
        account = self._account
        account.add(Reading.READS)
        account.set(Reading.CPU_NS, int(spent * 1e9))
        account.add(Reading.CPU_ALL_NS, int(spent * 1e9))
        account.set(Reading.WALL_NS, int(took * 1e9))
        account.set(Reading.LAST_GOOD_NS, int(self._wall() * 1e9))
        account.add(Reading.CHANGES, changes)
        if changes or account.get(Reading.PEERS) != len(device.peers):
            served = sum(1 for peer in device.peers.values() if peer.endpoint)
            account.set(Reading.PEERS, len(device.peers))
            account.set(Reading.PEERS_WITH_ENDPOINT, served)

    def _drop_backend(self) -> None:
        if self._backend is not None:
            self._backend.close()
        self._backend = self._asked = None
        self._seen = None

    def _tell(self, exc: DeviceError) -> None:
        if str(exc) == self.trouble:
            return
        self.trouble = str(exc)
        if self._last_seen is None:
            log.warning("%s; waiting for the device", exc)
        else:
            level = logging.WARNING if isinstance(exc, NoDeviceError) else logging.ERROR
            log.log(level, "%s; its last endpoints are served for %d s at most", exc, GRACE)

    def _expire(self, now: float) -> list[Delta]:
        """Withdraw all contents once the device has been gone for too long."""
        if self._last_seen is None or now - self._last_seen < GRACE:
            return []
        self._last_seen = None
        log.warning("device %s is still gone; its zones fail until it is back", self.device)
        return [self._make(Delta(zone, self._next(zone), None)) for zone in self._chains]

    def _next(self, zone: str) -> int:
        last = self._chains[zone].newest.serial
        if zone in self._numbered:
            return serial.following(last)
        return serial.first_of_run(self._wall(), last)

    def _make(self, delta: Delta) -> Delta:
        chain, signer = self._chains[delta.zone], self._signers.get(delta.zone)
        if signer is not None:
            # Where something changes at every read, no version is left for nothing but new seals.
            seals = delta.seals or signer.refresh(chain.newest)
            delta = signer.seal(chain.newest, dataclasses.replace(delta, seals=seals))
        chain.step(delta)
        self._journals[delta.zone].keep(chain, delta)
        self._numbered.add(delta.zone)
        return delta


def _serves_as(before: Peer | None, now: Peer) -> bool:
    """Whether nothing has changed of what a zone says about a peer."""
    if before is now:
        return True
    return (
        before is not None
        and before.endpoint == now.endpoint
        and before.allowed_ips == now.allowed_ips
    )
