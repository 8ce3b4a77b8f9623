# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a supervisor leaves to the program that it becomes: so a reload loses no query.

The process stays the same one, as do its children and its open files; only their meaning has to be
told, in a variable of the environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import typing as t

from ..zone.version import Chain, Delta
from . import frames

_VARIABLE = "WGSD_HANDOVER"


@dataclasses.dataclass(frozen=True)
class Handover:
    """Open files and processes, ready to go on.

    Attributes:
        sockets: Descriptors of what is listened on.
        workers: Control sockets of the workers that answer meanwhile, by process.
        chains: What these serve.
        board: Descriptor of the figures.
    """

    sockets: t.Sequence[int]
    workers: t.Mapping[int, socket.socket]
    chains: t.Sequence[Chain]
    board: int

    def leave(self) -> None:
        """Have all this outlive the call of execv(3) that must follow."""
        known = os.memfd_create("wgsd-chains")
        with os.fdopen(known, "wb", closefd=False) as file:
            for chain in self.chains:
                for delta in chain.deltas():
                    file.write(frames.frame(delta.encode()))
        workers = {pid: control.fileno() for pid, control in self.workers.items()}
        for descriptor in (known, self.board, *self.sockets, *workers.values()):
            os.set_inheritable(descriptor, True)
        os.environ[_VARIABLE] = json.dumps(
            {
                # Not meant for children that get the environment as well.
                "pid": os.getpid(),
                "sockets": list(self.sockets),
                "workers": list(workers.items()),
                "chains": known,
                "board": self.board,
            }
        )

    @classmethod
    def take(cls) -> Handover | None:
        """Take over what this process has left to itself, once; None if there is nothing."""
        left = json.loads(os.environ.pop(_VARIABLE, "{}"))
        if left.get("pid") != os.getpid():
            return None
        deltas: dict[str, list[Delta]] = {}
        with os.fdopen(left["chains"], "rb") as file:
            file.seek(0)
            known = bytearray(file.read())
        while (encoded := frames.take(known)) is not None:
            delta = Delta.decode(encoded)
            deltas.setdefault(delta.zone, []).append(delta)
        chains = [Chain.of(one) for one in deltas.values()]
        workers = {pid: socket.socket(fileno=control) for pid, control in left["workers"]}
        handover = cls(left["sockets"], workers, chains, left["board"])
        for descriptor in (handover.board, *handover.sockets):
            os.set_inheritable(descriptor, False)
        for control in workers.values():
            control.set_inheritable(False)
        return handover
