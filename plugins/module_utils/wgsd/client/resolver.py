# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The addresses of host names, by the system's resolver, while the agent goes on with its work."""

from __future__ import annotations

import collections
import contextlib
import logging
import selectors
import socket
import threading
import time
import typing as t

from ..errors import UsageError
from ..model import Endpoint, HostPort

log = logging.getLogger("wgsd.client")

#: Seconds after which the system's resolver is not waited for any more: twice what glibc takes for
#: one server that is down, with the options that it has by default.
PATIENCE = 20.0

#: What `socket.getaddrinfo` does.
GetAddrInfo = t.Callable[..., t.Sequence[t.Any]]


class _Lookup:
    """One call of the system's resolver, in a thread of its own, which cannot be stopped.

    Attributes:
        done: Can be read once it has ended.
        found: What came of it then.
    """

    def __init__(self, where: HostPort, getaddrinfo: GetAddrInfo, until: float) -> None:
        self.where = where
        self.until = until
        self.found: list[Endpoint] | OSError = []
        self.done, self._ends = socket.socketpair()
        self._getaddrinfo = getaddrinfo
        threading.Thread(target=self._run, name=f"resolve {where}", daemon=True).start()

    def _run(self) -> None:
        # To close the one end is what can be seen at the other.
        with self._ends:
            try:
                self.found = self._resolve()
            except OSError as exc:
                self.found = exc

    def _resolve(self) -> list[Endpoint]:
        host, port = self.where.host, self.where.port
        # Of the families that this host has an address of.
        flags = socket.AI_ADDRCONFIG
        found: dict[Endpoint, None] = {}
        for info in self._getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags):
            address, _port, *scope = info[4]
            with contextlib.suppress(UsageError):
                endpoint = Endpoint.make(address.partition("%")[0], port, *scope[1:])
                found[endpoint] = None
        if not found:
            raise OSError("it has no address that packets can be sent to")
        return list(found)


class Resolver:
    """Resolves one name after the other.

    Attributes:
        resolved: How many results there were so far.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare, without a packet.

        Args:
            selector: Gets a socket while something is under way. Its data is a function without
                arguments, to be called when the socket is ready.
            getaddrinfo: The system's resolver.
            clock: Monotonic seconds.
        """
        self.resolved = 0
        self._selector = selector
        self._getaddrinfo = getaddrinfo
        self._clock = clock
        self._waiting: collections.OrderedDict[HostPort, None] = collections.OrderedDict()
        self._lookup: _Lookup | None = None
        self._results: dict[HostPort, list[Endpoint]] = {}
        self._told: dict[HostPort, str] = {}

    def ask(self, where: HostPort) -> None:
        """Begin to resolve a name, as soon as no other one is being resolved."""
        self._results.pop(where, None)
        if self._lookup is None or self._lookup.where != where:
            self._waiting[where] = None
        self._go_on()

    def take(self, where: HostPort) -> list[Endpoint] | None:
        """Return the addresses of a name, once for each time that they were asked for.

        Returns:
            None while it is not known; an empty list if it has none, which is logged.
        """
        return self._results.pop(where, None)

    def close(self) -> None:
        """Give up what is under way."""
        self._waiting.clear()
        self._end()

    def _go_on(self) -> None:
        if self._lookup is not None and self._clock() >= self._lookup.until:
            self._conclude(self._lookup.where, OSError(f"no answer within {PATIENCE:g} s"))
            self._end()
        if self._lookup is None and self._waiting:
            where, _none = self._waiting.popitem(last=False)
            try:
                self._lookup = _Lookup(where, self._getaddrinfo, self._clock() + PATIENCE)
            except (OSError, RuntimeError) as exc:
                # There is no socket or no thread left to be had.
                self._conclude(where, OSError(str(exc)))
                return
            self._selector.register(self._lookup.done, selectors.EVENT_READ, self._on_done)

    def _on_done(self) -> None:
        lookup = self._lookup
        if lookup is not None:
            self._end()
            self._conclude(lookup.where, lookup.found)
            self._go_on()

    def _conclude(self, where: HostPort, found: list[Endpoint] | OSError) -> None:
        """Keep what was found, and log what is new about it."""
        if isinstance(found, OSError):
            text = f"{where.host} cannot be resolved: {found.strerror or found}"
            self._results[where] = []
        else:
            text = f"{where.host} stands for {', '.join(sorted(e.host for e in found))}"
            self._results[where] = found
        self.resolved += 1
        if self._told.get(where) != text:
            log.info("%s", text)
        self._told[where] = text

    def _end(self) -> None:
        if self._lookup is not None:
            self._selector.unregister(self._lookup.done)
            self._lookup.done.close()
            self._lookup = None
