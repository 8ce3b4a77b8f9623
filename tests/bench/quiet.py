# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients ask for while nothing happens: real ones, whose own peers are all direct."""

from __future__ import annotations

import json
import time
import typing as t

from tests.lab.bare import BareLab
from tests.lab.mesh import Mesh
from tests.lab.topology import REGISTRY
from wgsd.keys import PublicKey

from .stats import Goal, row

PREFIX = "wgbq"
#: Seconds after which clients have nothing to hurry for any more.
QUIET_AFTER = 25.0


def measure(seconds: float) -> dict[str, t.Any]:
    """Return the row about clients whose peers are all direct: what 1,000 of them ask for."""
    with BareLab(PREFIX) as lab, Mesh(lab) as mesh:
        lab.registry.path("/run/wgsd-responder").mkdir()
        mesh.start_responder()
        names = ("alice", "bob")
        for name in names:
            mesh.connect(name)
            mesh.start_client(name)
        mesh.wait_direct(*names, patience=30.0)
        _add_crowd(mesh, 1_000 - len(names))
        time.sleep(QUIET_AFTER)
        status = lab.registry.path("/run/wgsd-responder/status.json")
        before = json.loads(status.read_text(encoding="utf-8"))
        time.sleep(seconds)
        after = json.loads(status.read_text(encoding="utf-8"))
    asked = after["queries"]["answered"] - before["queries"]["answered"]
    rate = asked / (after["written"] - before["written"]) / len(names)
    return row(
        "queries of 1,000 quiet clients",
        [rate * 1_000],
        "q/s",
        goal=Goal("max", "<=", 50),
        note=f"from {asked} queries of {len(names)} clients",
    )


def _add_crowd(mesh: Mesh, size: int) -> None:
    """Have the registry know *size* other peers: clients ask the more rarely the more there are."""
    arguments = []
    for number in range(1, size + 1):
        host = f"{number // 250}.{number % 250 + 1}"
        key = PublicKey(number.to_bytes(32, "big"))
        arguments += ["peer", str(key), "endpoint", f"198.18.{host}:51820"]
        arguments += ["allowed-ips", f"10.1.{host}/32"]
    mesh.devices[REGISTRY].set(*arguments)
