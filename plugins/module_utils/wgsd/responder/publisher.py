# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the peers in a zone of another server as they are in ours: decides what to tell it."""

from __future__ import annotations

import logging
import select
import socket
import time
import typing as t

from ..errors import ServerError
from ..names import SERVICE
from ..zone.publication import (
    Change,
    Names,
    batches,
    changes,
    differing,
    list_of,
    names_of,
)
from ..zone.version import Content, Delta, Version
from . import frames

log = logging.getLogger(__name__)

#: Seconds between two rounds: each makes a version of the zone there, and work for whoever follows.
PERIOD = 1.0
#: Seconds until the first attempt after one that failed, and at most, while all go on failing.
RETRY_MIN, RETRY_MAX = 1.0, 60.0
#: Bytes read from the control socket at a time.
CONTROL_BYTES = 1 << 20


class Server(t.Protocol):
    """Another server's zone."""

    def look(self) -> Names:
        """Return what it has of our names.

        Raises:
            ServerError: there is no telling.
        """

    def change(self, batch: t.Sequence[Change]) -> None:
        """Make changes, all or none of them.

        Raises:
            ServerError: it has not made them, or has not said so.
        """


class Publisher:
    """Decides what the server has to be told, and when.

    Attributes:
        trouble: Why the server does not have what it should, empty while it has.
    """

    def __init__(
        self,
        name: str,
        zone: str,
        server: Server,
        version: Version,
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a publisher that knows nothing of the server.

        Args:
            name: What to call the server in the log.
            zone: The zone there.
            version: Ours.
        """
        self._name = name
        self._zone = zone
        self._server = server
        self._newest = version
        self._monotonic = monotonic
        #: What the server has; None: that is not known.
        self._done: Content | None = None
        #: Names that we may have left there.
        self._left: set[str] = set()
        self._list_told = False
        self._due = monotonic()
        self._retry = RETRY_MIN
        self.trouble = ""

    def take(self, deltas: t.Sequence[Delta]) -> None:
        """Take steps of our zone."""
        self._newest = self._newest.after(*deltas)

    def work(self) -> float | None:
        """Have the server told what it has to be told, if it is time.

        Returns:
            Seconds until it has to be called again; None for not before the next step.
        """
        content = self._newest.content
        # While nothing is known, what the server has is as good as anything.
        if content is None or content is self._done:
            return None
        now = self._monotonic()
        if now < self._due:
            return self._due - now
        try:
            self._bring(content)
        except ServerError as exc:
            if str(exc) != self.trouble:
                log.error("publish: %s; trying again", exc)
            self.trouble = str(exc)
            self._done = None
            wait, self._retry = self._retry, min(2 * self._retry, RETRY_MAX)
            self._due = self._monotonic() + wait
            return wait
        if self.trouble:
            log.info("publish: %s takes updates again", self._name)
        self.trouble = ""
        self._done, self._retry = content, RETRY_MIN
        self._due = now + PERIOD
        return None

    def _bring(self, content: Content) -> None:
        """Lead the server from what it has to *content*."""
        if self._done is None:
            there = {**dict.fromkeys(self._left, frozenset()), **self._server.look()}
            wanted = names_of(self._zone, content)
        else:
            before, after = differing(self._done, content)
            there, wanted = names_of(self._zone, before), names_of(self._zone, after)
            there[SERVICE] = list_of(self._zone, self._done)
        wanted[SERVICE] = list_of(self._zone, content)
        self._tell_of_list(len(wanted[SERVICE]), content.listed)
        for batch in batches(changes(there, wanted)):
            self._left.update(change.owner for change in batch)
            self._server.change(batch)
            self._left.difference_update(change.owner for change in batch if not change.new)

    def _tell_of_list(self, listed: int, peers: int) -> None:
        if listed < peers and not self._list_told:
            log.warning(
                "publish: %s lists %d of %d peers, since servers cannot do with more at one name;"
                " by their own names all are there",
                self._name,
                listed,
                peers,
            )
        self._list_told = listed < peers


def publish(control: socket.socket, publisher: Publisher) -> None:
    """Publish the steps that come over *control* until its other end is closed.

    Its trouble goes the other way whenever it is another one, also when it has ended.
    """
    handed = bytearray()
    told = ""
    while True:
        wait = publisher.work()
        if publisher.trouble != told:
            told = publisher.trouble
            try:
                control.sendall(frames.frame(told.encode()))
            except ConnectionError:
                return
        if not select.select([control], [], [], wait)[0]:
            continue
        try:
            chunk = control.recv(CONTROL_BYTES)
        except ConnectionError:
            return
        if not chunk:
            return
        handed += chunk
        deltas = []
        while (encoded := frames.take(handed)) is not None:
            deltas.append(Delta.decode(encoded))
        publisher.take(deltas)
