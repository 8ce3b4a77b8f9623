# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The notifier as its supervisor sees it: kept running, with what it is not to forget."""

from __future__ import annotations

import functools
import logging
import pathlib
import secrets
import selectors
import socket
import time
import typing as t

from .. import privileges
from ..config import ResponderSettings
from . import children, notifier
from .stats import Block, Notifying
from .worker import load_record_types

log = logging.getLogger(__name__)

#: In the state directory.
FILE = "followers.json"
#: Seconds for which followers wait for the workers to serve what they would ask for: one that is
#: slower than that is not waited for.
HOLD_MAX = 0.5
#: Seconds between two looks at a process that writes followers, and for which the last one is
#: waited for: a disk that hangs is not to hold up the end, or a reload.
WRITE_PERIOD, STOP_PATIENCE = 0.05, 1.0
#: Bytes of the kernel's memory for what workers say: some 2,000 followers may ask before the
#: notifier has its turn. Who is not heard then is heard when it asks again.
_BUFFER = 1 << 20


class Notification:
    """Keeps a notifier. One that is started anew tells all followers again.

    Attributes:
        told: By it, workers say who follows a zone. Both of its ends stay open here, so that what
            is said while a notifier is missing waits for the next one.
    """

    def __init__(
        self,
        settings: ResponderSettings,
        serials: t.Mapping[str, int],
        account: Block[Notifying],
        selector: selectors.BaseSelector,
        stand_back: t.Callable[[], None],
        monotonic: t.Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a notifier, which `keep` starts.

        Args:
            serials: By zone, of those that are served.
            account: Where it counts.
            selector: Gets the control socket, with a `children.Kept` as its data.
            stand_back: Is called in the process, since there is more urgent work.
        """
        self._settings = settings
        self._serials: dict[str, int] = dict(serials)
        self._account = account
        self._stand_back = stand_back
        self._path = settings.state_dir / FILE
        self._complained = False
        self._monotonic = monotonic
        #: Zones of whose newest serial the notifier is not told yet, and since when there are any.
        self._held: dict[str, None] = {}
        self._held_since = 0.0
        self._is_wanted = False
        self._followers = self._load()
        #: The process that writes them, and whether there are others since.
        self._writer: tuple[int, socket.socket] | None = None
        self._is_unwritten = False
        self._heard, self.told = socket.socketpair(type=socket.SOCK_DGRAM)
        for end in (self._heard, self.told):
            end.setblocking(False)
        # As much as the system allows, which is less in most places.
        self.told.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._kept = children.Kept("notifier", self._start, selector, monotonic, self._save)

    def keep(self, serving: bool) -> float:
        """Start the process if it is missing, and hand on what was held back for the workers.

        Args:
            serving: Whether all workers serve what has been published. Nobody is told anything
                before that is so for the first time.

        Returns:
            Seconds until it has to be called again.
        """
        self._is_wanted = self._is_wanted or serving
        if not self._is_wanted:
            return children.RESTART_PERIOD
        wait = self._kept.keep()
        if self._write():
            wait = min(wait, WRITE_PERIOD)
        held_for = self._monotonic() - self._held_since
        if self._held and not serving and held_for < HOLD_MAX:
            return min(wait, HOLD_MAX - held_for)
        for zone in self._held:
            self._kept.send(notifier.encode(zone, self._serials.get(zone)))
        self._held.clear()
        return wait

    def publish(self, zone: str, serial: int | None) -> None:
        """Have all followers of a zone told of its newest serial; None: it is not served."""
        if serial is None:
            self._serials.pop(zone, None)
        else:
            self._serials[zone] = serial
        if not self._held:
            self._held_since = self._monotonic()
        self._held[zone] = None

    def stop(self) -> None:
        """End the process, and have on the disk what it has said, if that takes no time."""
        self._kept.stop()
        deadline = self._monotonic() + STOP_PATIENCE
        while self._write() and self._monotonic() < deadline:
            time.sleep(0.005)
        if self._writer:
            pid, control = self._writer
            children.kill(pid)
            control.close()
            self._writer = None

    def close(self) -> None:
        """Close what workers use; to be called when all have ended."""
        self._heard.close()
        self.told.close()

    def _start(self) -> tuple[int, socket.socket]:
        def task(control: socket.socket) -> None:
            self._stand_back()
            load_record_types()
            privileges.drop()
            self._notifier(control).run()

        return children.fork("notifier", task, [self._heard.fileno()])

    def _notifier(self, control: socket.socket) -> notifier.Notifier:
        random_id = functools.partial(secrets.randbits, 16)
        made = notifier.Notifier(control, self._heard, self._settings, self._account, random_id)
        try:
            made.restore(self._followers)
        except ValueError as exc:
            log.warning("%s: not what was written there (%s); it starts anew", self._path, exc)
        for zone, serial in self._serials.items():
            made.publish(zone, serial)
        return made

    def _load(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as exc:
            self._complain(exc)
        return b"[]"

    def _save(self, followers: bytes) -> None:
        """Keep what the notifier knows, for the next one and on the disk.

        It has not the right to write there. If power fails meanwhile, followers are lost that soon
        ask again, so nothing waits for the disk.
        """
        if followers != self._followers:
            self._followers = followers
            self._is_unwritten = True
            self._write()

    def _write(self) -> bool:
        """See to it that the followers are written, by a process that a disk may keep waiting.

        Returns:
            Whether there is one, and so this has to be called again.
        """
        if self._writer:
            pid, control = self._writer
            if children.has_ended(pid) is None:
                return True
            self._writer = None
            with control:
                trouble = control.recv(children.CONTROL_BYTES).decode()
            if trouble:
                self._complain(trouble)
        if not self._is_unwritten:
            return False
        self._is_unwritten = False
        task = functools.partial(_write, self._path, self._followers)
        self._writer = children.fork("keeper", task)
        return True

    def _complain(self, reason: object) -> None:
        if not self._complained:
            log.warning(
                "%s; after a restart, whoever follows a zone hears of no change before it asks"
                " again. Make the folder writable",
                reason,
            )
        self._complained = True


def _write(path: pathlib.Path, followers: bytes, control: socket.socket) -> None:
    """Replace what is in *path*, and say to *control* what was in the way."""
    privileges.keep_only(())
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_bytes(followers)
        new.replace(path)
    except OSError as exc:
        control.sendall(str(exc).encode())
