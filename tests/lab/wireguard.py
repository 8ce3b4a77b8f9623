# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A WireGuard device in a node: the kernel's where it has WireGuard, wireguard-go elsewhere."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import LabError
from .netns import Node

_PATIENCE = 10.0


@functools.cache
def kind() -> str:
    """``kernel`` where that has WireGuard, else ``userspace``; $WGSD_DEVICE_KIND overrules."""
    told = os.environ.get("WGSD_DEVICE_KIND")
    if told:
        return told
    attempt = ["unshare", "--net", "ip", "link", "add", "wg0", "type", "wireguard"]
    done = subprocess.run(attempt, check=False, capture_output=True)
    return "userspace" if done.returncode else "kernel"


def generate_key() -> str:
    """A new private key in Base64."""
    made = subprocess.run(["wg", "genkey"], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


@dataclass
class WireGuard:
    """A device that is up.

    :param process: wireguard-go; None for a device of the kernel
    """

    node: Node
    interface: str
    private_key: str
    public_key: str
    listen_port: int
    process: subprocess.Popen[Any] | None

    def set(self, *arguments: str) -> None:
        """``wg set INTERFACE`` with ``arguments``, e.g. ``"peer", key, "endpoint", …``.

        :raises LabError: when wg refuses
        """
        self.node.run(["wg", "set", self.interface, *arguments])

    def show(self, what: str = "dump") -> str:
        """``wg show INTERFACE WHAT``."""
        return self.node.run(["wg", "show", self.interface, what]).stdout

    def stop(self) -> None:
        """Take the interface away: wireguard-go ends, or the kernel deletes it."""
        if self.process is None:
            self.node.run(["ip", "link", "delete", self.interface])
            return
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
    """Make a device in ``node`` and bring it up.

    :param address: tunnel address with prefix length, e.g. ``10.0.0.1/24``
    :param listen_port: UDP port; 0 lets the system choose
    :param private_key: Base64; made anew by default
    :raises LabError: when the device does not come up within 10 seconds
    """
    private_key = private_key or generate_key()
    process = None
    if kind() == "kernel":
        node.run(["ip", "link", "add", interface, "type", "wireguard"])
    else:
        process = _start_userspace(node, interface)
    setting = ["wg", "set", interface, "listen-port", str(listen_port), "private-key", "/dev/stdin"]
    node.run(setting, stdin=private_key + "\n")
    if address:
        node.run(["ip", "address", "add", address, "dev", interface])
    node.run(["ip", "link", "set", interface, "up"])
    shown = node.run(["wg", "show", interface, "dump"]).stdout.split("\t")
    return WireGuard(node, interface, private_key, shown[1], int(shown[2]), process)


def _start_userspace(node: Node, interface: str) -> subprocess.Popen[Any]:
    with node.path(f"/run/{interface}.log").open("wb") as log:
        process = node.popen(
            ["env", "LOG_LEVEL=error", "wireguard-go", "--foreground", interface],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    _wait_for_socket(node, interface, process)
    return process


def _wait_for_socket(node: Node, interface: str, process: subprocess.Popen[Any]) -> None:
    path = node.path(f"/run/wireguard/{interface}.sock")
    deadline = time.monotonic() + _PATIENCE
    while not _listens(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            log = node.path(f"/run/{interface}.log").read_text(encoding="utf-8", errors="replace")
            raise LabError(f"{node.name}: wireguard-go made no {interface}: {log.strip()}")
        time.sleep(0.005)


def _listens(path: Path) -> bool:
    """Whether a process has got as far as to listen; wg removes a socket on which none does."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
