# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent tells the host: a file for ``wgsd status``, a line for ``systemctl status``."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import typing as t

from .. import systemd
from ..config import ClientSettings
from ..model import Endpoint
from ..plan import Decision, State

log = logging.getLogger("wgsd.client")

RUNTIME_DIR = pathlib.Path("/run/wgsd")


def report_path(interface: str) -> pathlib.Path:
    """Return the file in which the agent of *interface* leaves its view of the peers."""
    return RUNTIME_DIR / f"client-{interface}.json"


class Report:
    """Writes the states of the peers whenever one of them changed."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._path = report_path(settings.interface)
        self._peers: dict[str, dict[str, str | None]] | None = None
        self._follows: str | None = None

    def publish(self, decisions: t.Sequence[Decision], follows: Endpoint | None) -> None:
        """Take the decisions of one look; a file that cannot be written is logged, no more.

        Args:
            follows: The server whose copy of the zone they are based on; None for queries.
        """
        server = str(follows) if follows else None
        before = self._peers or {}
        peers: dict[str, dict[str, str | None]] = {}
        for decision in decisions:
            key = decision.public_key.base64
            entry = dict(before.get(key, {"endpoint_set": None, "reason": None}))
            entry["state"] = decision.state.value
            if decision.change:
                entry["endpoint_set"] = str(decision.after)
                entry["reason"] = decision.reason
            peers[key] = entry
        if peers == self._peers and server == self._follows:
            return
        self._peers, self._follows = peers, server
        states = [decision.state for decision in decisions]
        systemd.notify(f"STATUS={states.count(State.DIRECT)} of {len(states)} peers direct")
        report = {"zone": self._settings.zone, "follows": server, "peers": peers}
        self._write(json.dumps(report, indent=1))

    def _write(self, text: str) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)
        except OSError as exc:
            log.warning("%s: %s; 'wgsd status' will know less", self._path, exc.strerror)
