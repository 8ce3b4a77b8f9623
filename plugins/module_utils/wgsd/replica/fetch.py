# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One zone transfer for whoever can wait for it: over TCP, from the first server that gives it."""

from __future__ import annotations

import socket
import typing as t

from ..config import TsigKey
from ..directory import signing_key
from ..errors import ServerError
from ..model import Endpoint
from .contents import Contents
from .transfer import Transfer


def fetch(
    zone: str, server: Endpoint, key: TsigKey | None = None, *, timeout: float = 5.0
) -> Contents:
    """Transfer the whole *zone* from *server* (RFC 5936).

    Args:
        zone: Absolute.
        timeout: Seconds for each step: connecting, and each piece of the answer.

    Raises:
        ServerError: it could not be had, and why; `NoTransferError` if the server says no.
    """
    contents = Contents(zone)
    transfer = Transfer(contents.zone, signing_key(key) if key else None)
    try:
        with socket.create_connection((server.host, server.port), timeout) as sock:
            sock.sendall(len(transfer.wire).to_bytes(2, "big") + transfer.wire)
            with sock.makefile("rb") as stream:
                while not transfer.feed(_message(stream)):
                    pass
    except OSError as exc:
        raise ServerError(
            f"{server}: {exc}", "check the tunnel to the registry and that its responder runs"
        ) from None
    return contents


def _message(stream: t.BinaryIO) -> bytes:
    size = stream.read(2)
    wire = stream.read(int.from_bytes(size, "big"))
    if len(size) < 2 or len(wire) < int.from_bytes(size, "big"):
        raise ConnectionResetError("the connection was closed in the middle of a transfer")
    return wire
