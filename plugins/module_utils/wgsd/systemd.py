# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a daemon and systemd tell each other: state, kept files (sd_notify(3)), log levels."""

from __future__ import annotations

import logging
import os
import socket
import typing as t

#: The first descriptor that the service manager passes (sd_listen_fds(3)).
_FIRST_PASSED = 3


def notify(*assignments: str, descriptors: t.Sequence[int] = ()) -> None:
    """Send assignments such as ``READY=1`` to the service manager, if one listens.

    A manager that went away is no reason for a daemon to fail, so errors of the socket are
    swallowed.

    Args:
        descriptors: Open files to go with them, for ``FDSTORE=1``.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(address)
            message = "\n".join(assignments).encode()
            if descriptors:
                socket.send_fds(sock, [message], list(descriptors))
            else:
                sock.send(message)
    except OSError:
        pass


def take_passed_descriptors() -> list[int]:
    """Return the open files that the service manager passes to this process, once."""
    try:
        meant_for = int(os.environ.pop("LISTEN_PID", ""))
        count = int(os.environ.pop("LISTEN_FDS", ""))
    except ValueError:
        return []
    os.environ.pop("LISTEN_FDNAMES", None)
    if meant_for != os.getpid():
        return []
    passed = list(range(_FIRST_PASSED, _FIRST_PASSED + count))
    for descriptor in passed:
        os.set_inheritable(descriptor, False)
    return passed


def watchdog_period() -> float | None:
    """Return the seconds within which the service manager wants a sign of life; None for never."""
    try:
        if int(os.environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return None
        return int(os.environ["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None


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
