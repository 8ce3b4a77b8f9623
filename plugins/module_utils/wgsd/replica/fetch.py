# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One zone transfer for whoever can wait for it: from one server, over TCP."""

from __future__ import annotations

import contextlib
import selectors

from ..config import TsigKey
from ..directory import signing_key
from ..errors import ServerError
from ..model import Endpoint
from .contents import Contents
from .stream import Stream
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
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            stream = Stream(server, transfer, selector, lambda: None)
            stack.callback(stream.close)
            while not _take(stream, selector, timeout):
                pass
    except OSError as exc:
        raise ServerError(
            f"{server}: {exc}", "check the tunnel to the registry and that its responder runs"
        ) from None
    return contents


def _take(stream: Stream, selector: selectors.BaseSelector, timeout: float) -> bool:
    """Wait for the next piece; return whether the transfer is complete with it."""
    if not stream.has_message and not selector.select(timeout):
        raise TimeoutError(f"nothing came over TCP for {timeout:g} s")
    stream.ready()
    wire = stream.next_message()
    return wire is not None and stream.transfer.feed(wire)
