# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a daemon and systemd tell each other: how it is (sd_notify(3)), and its log's levels."""

from __future__ import annotations

import logging
import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments such as ``READY=1`` to the service manager, if one listens.

    A manager that went away is no reason for a daemon to fail, so errors of the socket are
    swallowed.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(address)
            sock.send("\n".join(assignments).encode())
    except OSError:
        pass


def log_formatter() -> logging.Formatter:
    """Return a formatter for standard error: for the journal if that is where it goes.

    The journal knows the name of the program, and takes the level from the line (sd-daemon(3)).
    """
    if "JOURNAL_STREAM" in os.environ:
        return _JournalFormatter()
    return logging.Formatter("wgsd: %(message)s")


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4}.get(record.levelno, 3)
        return "\n".join(f"<{level}>{line}" for line in super().format(record).splitlines())
