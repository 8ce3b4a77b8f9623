# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The publishers as their supervisor sees them: a process for each server that zones go to."""

from __future__ import annotations

import functools
import selectors
import socket
import time
import typing as t

from .. import privileges
from ..config import PublishTarget, ResponderSettings
from ..thirdparty import dns, dns_query
from ..zone.version import Chain, Delta
from . import children
from .publisher import Publisher, publish
from .updates import Target


class Publishing:
    """Keeps the publishers. One that waits for its server holds up nobody else."""

    def __init__(
        self,
        settings: ResponderSettings,
        chains: t.Mapping[str, Chain],
        selector: selectors.BaseSelector,
        stand_back: t.Callable[[], None],
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make publishers, which `keep` starts.

        Args:
            chains: By zone; a publisher starts with the newest version of that moment.
            selector: Gets the control sockets, with a `children.Kept` as their data.
            stand_back: Is called in each process: it may take some work, and none is urgent.
        """
        self._troubles: dict[tuple[str, PublishTarget], str] = {}
        self._keys = settings.keys
        self._chains = chains
        self._stand_back = stand_back
        self._kept = [
            (
                zone.zone,
                children.Kept(
                    f"publisher of {zone.zone} to {target.server.endpoint}",
                    functools.partial(self._start, zone.zone, target),
                    selector,
                    monotonic,
                    functools.partial(self._hear, (zone.zone, target)),
                ),
            )
            for zone in settings.zones
            for target in zone.publish
        ]

    @property
    def troubles(self) -> list[str]:
        """Why servers do not have what they should, a sentence each."""
        return [f"publish: {trouble}" for trouble in self._troubles.values() if trouble]

    def keep(self) -> float:
        """Start the processes that are missing.

        Returns:
            Seconds until it has to be called again.
        """
        return min((kept.keep() for _zone, kept in self._kept), default=children.RESTART_PERIOD)

    def hand(self, delta: Delta) -> None:
        """Hand a step of a zone to its publishers."""
        for zone, kept in self._kept:
            if zone == delta.zone:
                kept.send(delta.encode())

    def stop(self) -> None:
        """End the processes."""
        for _zone, kept in self._kept:
            kept.stop()

    def _hear(self, publisher: tuple[str, PublishTarget], trouble: bytes) -> None:
        self._troubles[publisher] = trouble.decode()

    def _start(self, zone: str, target: PublishTarget) -> tuple[int, socket.socket]:
        # One before it may have ended in trouble.
        self._troubles.pop((zone, target), None)
        version = self._chains[zone].newest
        key = self._keys[target.server.key] if target.server.key else None

        def task(control: socket.socket) -> None:
            self._stand_back()
            _load_everything()
            privileges.drop()
            server = Target(target, key)
            publish(control, Publisher(str(server), target.zone, server, version))

        return children.fork("publisher", task)


def _load_everything() -> None:
    """Load what is loaded at its first use: later its files may be out of reach.

    The zone of another server may have records of any type.
    """
    callable(dns_query.xfr)
    for rdtype in dns.rdatatype.RdataType:
        dns.rdata.get_rdata_class(dns.rdataclass.IN, rdtype)  # type: ignore[no-untyped-call]
