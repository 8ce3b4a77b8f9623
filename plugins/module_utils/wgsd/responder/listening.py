# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the responder listens as devices and addresses come and go, and whom the kernel lets in."""

from __future__ import annotations

import dataclasses
import logging
import typing as t

from .. import privileges, systemd
from ..config import DNS_PORT, ResponderSettings
from ..errors import UsageError
from ..model import Endpoint
from ..zone.served import LOOPBACK
from .lookout import Sighting
from .sockets import Listener, listen

log = logging.getLogger(__name__)


class Listening:
    """The listeners of a supervisor.

    Attributes:
        trouble: Why addresses cannot be listened on, empty if all can.
    """

    def __init__(
        self,
        settings: ResponderSettings,
        spare: t.Mapping[Endpoint, Listener],
        *,
        shared: bool = False,
    ) -> None:
        """Listen nowhere yet.

        Args:
            spare: Of a run before, to be used where they are of use; the others are closed.
            shared: Whether workers of that run still answer on them.
        """
        self._wanted = settings.listen
        #: A service that was there before goes on with what it has; else the operator is told.
        self._must_have_all = bool(settings.listen) and not spare
        self._shared = shared
        #: Whether it is for the kernel to say who may ask: whoever comes through the tunnel.
        self._tunnel_only = all(zone.allow_query is None for zone in settings.zones)
        self._listeners: dict[Endpoint, Listener] = {}
        self._spare = dict(spare)
        #: The interfaces that the kernel lets packets in from, where it keeps others out.
        self._admitted: dict[Endpoint, frozenset[int]] = {}
        #: Where it may still do what a run before has told it.
        self._unknown: set[Endpoint] = set()
        self._drops_before = 0
        self._filter_told = False
        self.trouble = ""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All that are listened on."""
        return tuple(self._listeners.values())

    def follow(self, sightings: t.Mapping[str, Sighting]) -> bool:
        """Listen as configured, else on the tunnel addresses, the last ones if there are none.

        What cannot be listened on is tried again at the next call, and keeps nobody from the rest.

        Returns:
            Whether workers have to be replaced by such that serve on the listeners as they are.

        Raises:
            UsageError: an address of the configuration cannot be listened on, at the first start.
        """
        wanted = self._wanted or tuple(
            Endpoint(address, DNS_PORT)
            for address in dict.fromkeys(a for seen in sightings.values() for a in seen.addresses)
        )
        moved = False
        if set(wanted) == set(self._listeners):
            self.trouble = ""
        elif wanted:
            moved = self._move(wanted)
        return self._guard(sightings) or moved

    def drops(self) -> int:
        """Return how many datagrams the kernel has thrown away since this run began to listen."""
        return self._drops_before + sum(one.drops() for one in self.listeners)

    def descriptors(self) -> list[int]:
        """Return the descriptors of all sockets, to hand them over."""
        everything = {**self._spare, **self._listeners}.values()
        return [number for one in everything for number in one.descriptors]

    def endpoints(self) -> list[Endpoint]:
        """Return where sockets are bound."""
        return list({**self._spare, **self._listeners})

    def close(self) -> None:
        """Close all sockets; those that the service manager keeps stay open with it."""
        for listener in (*self._listeners.values(), *self._spare.values()):
            listener.close()

    def _move(self, wanted: t.Sequence[Endpoint]) -> bool:
        """Listen on those of *wanted* that can be had, and nowhere else.

        If there are none, all stays as it is.

        Returns:
            Whether the listeners are others now.
        """
        self._give_way(wanted)
        before = {**self._spare, **self._listeners}
        opened: dict[Endpoint, Listener] = {}
        failures: list[UsageError] = []
        for endpoint in wanted:
            listener = before.get(endpoint) or _listen(endpoint)
            if isinstance(listener, UsageError):
                failures.append(listener)
            else:
                opened[endpoint] = listener
        if failures and self._must_have_all:
            for listener in opened.values():
                listener.close()
            raise failures[0]
        self._must_have_all = False
        self._tell("; ".join(map(str, failures)))
        if not opened or opened.keys() == self._listeners.keys():
            return False
        for endpoint, listener in before.items():
            if endpoint not in opened:
                self._drops_before += listener.drops()
                _forget(listener)
                listener.close()
        for endpoint, listener in opened.items():
            if endpoint not in before:
                with privileges.taken_up(privileges.CAP_NET_ADMIN):
                    listener.widen()
                _store(listener)
        self._unknown |= self._spare.keys() & opened.keys()
        self._admitted = {one: a for one, a in self._admitted.items() if one in opened}
        self._listeners, self._spare = opened, {}
        log.info("listening on %s", ", ".join(map(str, opened)))
        return True

    def _give_way(self, wanted: t.Collection[Endpoint]) -> None:
        """Close what keeps *wanted* from being bound, if nobody answers on it."""
        for endpoint in [] if self._shared else list(self._spare):
            if endpoint not in wanted and any(endpoint.overlaps(one) for one in wanted):
                listener = self._spare.pop(endpoint)
                _forget(listener)
                listener.close()

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("%s; trying again", trouble)
        self.trouble = trouble

    def _guard(self, sightings: t.Mapping[str, Sighting]) -> bool:
        """Have the kernel check where packets come in, where that is all there is to check.

        Returns:
            Whether a listener needs no other guard any more, or does again.
        """
        changed = False
        for endpoint, listener in self._listeners.items():
            devices = [
                seen
                for seen in sightings.values()
                if self._tunnel_only and endpoint.address in seen.addresses
            ]
            indexes = frozenset(seen.index for seen in devices if seen.index)
            if indexes and self._admitted.get(endpoint) != indexes:
                self._admit(listener, indexes)
            elif not devices and sightings and endpoint in (*self._admitted, *self._unknown):
                listener.admit_all()
                self._admitted.pop(endpoint, None)
                self._unknown.discard(endpoint)
            guarded = endpoint not in self._admitted
            if guarded != listener.guarded:
                self._listeners[endpoint] = dataclasses.replace(listener, guarded=guarded)
                changed = True
        return changed

    def _admit(self, listener: Listener, indexes: frozenset[int]) -> None:
        try:
            # Some kernels let only an administrator of the network attach a filter.
            with privileges.taken_up(privileges.CAP_NET_ADMIN):
                listener.admit_only({LOOPBACK, *indexes})
        except OSError as exc:
            if not self._filter_told:
                log.warning(
                    "%s: no socket filter (%s); the workers check each query, which is slower",
                    listener.endpoint,
                    exc.strerror,
                )
            self._filter_told = True
            self._admitted.pop(listener.endpoint, None)
        else:
            self._admitted[listener.endpoint] = indexes
            self._unknown.discard(listener.endpoint)


def _listen(endpoint: Endpoint) -> Listener | UsageError:
    try:
        return listen(endpoint)
    except UsageError as exc:
        return exc


def _store(listener: Listener) -> None:
    """Have the service manager keep the sockets: queries wait in them while we restart."""
    for kind, sock in (("udp", listener.udp), ("tcp", listener.tcp)):
        name = _stored_name(kind, listener.endpoint)
        systemd.notify("FDSTORE=1", f"FDNAME={name}", descriptors=[sock.fileno()])


def _forget(listener: Listener) -> None:
    for kind in ("udp", "tcp"):
        systemd.notify("FDSTOREREMOVE=1", f"FDNAME={_stored_name(kind, listener.endpoint)}")


def _stored_name(kind: str, endpoint: Endpoint) -> str:
    # A name must not have a colon.
    return f"{kind}-{endpoint.address.replace(':', '_')}-{endpoint.port}"
