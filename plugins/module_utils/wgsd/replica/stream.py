# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A zone transfer over TCP that nobody waits for: it goes on when its socket is ready."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import typing as t

from ..model import Endpoint
from .transfer import Transfer

RECEIVE = 65536


class Stream:
    """A connection to a server and the transfer on it.

    All that has come is taken off the connection at once, since reading it takes its time and some
    servers (Knot) wait for a slow receiver no longer than half a second.

    Attributes:
        received: Whether anything has come.
    """

    def __init__(
        self,
        server: Endpoint,
        transfer: Transfer,
        selector: selectors.BaseSelector,
        on_ready: t.Callable[[], None],
    ) -> None:
        """Begin to connect.

        Args:
            on_ready: What the selector keeps as the socket's data.

        Raises:
            OSError: there is no way to the server.
        """
        self.transfer = transfer
        self.received = False
        self._selector = selector
        self._on_ready = on_ready
        self._sent = self._ended = False
        self._buffer = bytearray()
        family = socket.AF_INET6 if server.is_ipv6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        error = self._socket.connect_ex((server.host, server.port))
        if error not in (0, errno.EINPROGRESS):
            self._socket.close()
            raise OSError(error, os.strerror(error))
        selector.register(self._socket, selectors.EVENT_WRITE, on_ready)

    def ready(self) -> None:
        """Go on, now that the socket is ready.

        Raises:
            OSError: the connection could not be made, or broke.
        """
        if not self._sent:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            wire = self.transfer.wire
            # A new connection has room for so little.
            self._socket.sendall(len(wire).to_bytes(2, "big") + wire)
            self._sent = True
            self._selector.modify(self._socket, selectors.EVENT_READ, self._on_ready)
            return
        while not self._ended:
            try:
                data = self._socket.recv(RECEIVE)
            except BlockingIOError:
                return
            self._ended = not data
            self.received = True
            self._buffer += data

    @property
    def _size(self) -> int:
        """Bytes of the next message with its length."""
        return 2 + int.from_bytes(self._buffer[:2], "big")

    @property
    def has_message(self) -> bool:
        """Whether a whole message waits to be read."""
        return len(self._buffer) >= max(2, self._size)

    def next_message(self) -> bytes | None:
        """Return the next message, None if it is still to come.

        Raises:
            OSError: no more will come.
        """
        if not self.has_message:
            if self._ended:
                raise ConnectionResetError("the connection was closed in the middle of a transfer")
            return None
        size = self._size
        wire = bytes(self._buffer[2:size])
        del self._buffer[:size]
        return wire

    def close(self) -> None:
        """Close the connection; a transfer that is not complete changes nothing."""
        self._selector.unregister(self._socket)
        self._socket.close()
        self.transfer.abort()
