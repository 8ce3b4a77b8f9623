# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A userspace WireGuard device in a node: wireguard-go in the foreground."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import Any

from .errors import LabError
from .netns import Node

_PATIENCE = 10.0


def generate_key() -> str:
    """A new private key in Base64."""
    made = subprocess.run(["wg", "genkey"], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


@dataclass
class WireGuard:
    """A running device."""

    node: Node
    interface: str
    private_key: str
    public_key: str
    listen_port: int
    process: subprocess.Popen[Any]

    def set(self, *arguments: str) -> None:
        """``wg set INTERFACE`` with ``arguments``, e.g. ``"peer", key, "endpoint", …``.

        :raises LabError: when wg refuses
        """
        self.node.run(["wg", "set", self.interface, *arguments])

    def show(self, what: str = "dump") -> str:
        """``wg show INTERFACE WHAT``."""
        return self.node.run(["wg", "show", self.interface, what]).stdout

    def stop(self) -> None:
        """End wireguard-go; the interface goes with it."""
        self.process.terminate()
        self.process.wait(_PATIENCE)


def start(
    node: Node,
    interface: str = "wg0",
    *,
    address: str | None = None,
    listen_port: int = 51820,
    private_key: str | None = None,
) -> WireGuard:
    """Start wireguard-go in ``node`` and bring its interface up.

    :param address: tunnel address with prefix length, e.g. ``10.0.0.1/24``
    :param listen_port: UDP port; 0 lets the system choose
    :param private_key: Base64; made anew by default
    :raises LabError: when the device does not come up within 10 seconds
    """
    private_key = private_key or generate_key()
    with node.path(f"/run/{interface}.log").open("wb") as log:
        process = node.popen(
            ["env", "LOG_LEVEL=error", "wireguard-go", "--foreground", interface],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    _wait_for_socket(node, interface, process)
    setting = ["wg", "set", interface, "listen-port", str(listen_port), "private-key", "/dev/stdin"]
    node.run(setting, stdin=private_key + "\n")
    if address:
        node.run(["ip", "address", "add", address, "dev", interface])
    node.run(["ip", "link", "set", interface, "up"])
    shown = node.run(["wg", "show", interface, "dump"]).stdout.split("\t")
    return WireGuard(node, interface, private_key, shown[1], int(shown[2]), process)


def _wait_for_socket(node: Node, interface: str, process: subprocess.Popen[Any]) -> None:
    socket = node.path(f"/run/wireguard/{interface}.sock")
    deadline = time.monotonic() + _PATIENCE
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            log = node.path(f"/run/{interface}.log").read_text(encoding="utf-8", errors="replace")
            raise LabError(f"{node.name}: wireguard-go made no {interface}: {log.strip()}")
        time.sleep(0.005)
