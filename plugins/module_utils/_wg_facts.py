# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard interfaces and their peers as plain data, as far as modules tell the same of them.

Private to this collection.
"""

from __future__ import annotations

import pathlib
import typing as t

from ._files import read_file
from ._wg_file import WgQuickFile
from .wgsd.device import link
from .wgsd.keys import PublicKey
from .wgsd.model import Device, Peer


def interface_facts(name: str, backend: str, device: Device) -> dict[str, t.Any]:
    """Return what there is to tell of an interface, its peers aside.

    Args:
        backend: What it runs on.
        device: What was read from it.

    Raises:
        NoDeviceError: it is gone.
    """
    return {
        "name": name,
        "backend": backend,
        "public_key": device.public_key.base64 if device.public_key else None,
        "listen_port": device.listen_port,
        "fwmark": device.fwmark,
        "addresses": [str(address) for address in link.addresses(name)],
        "mtu": link.mtu(name),
        "is_up": link.is_up(name),
    }


def peer_facts(peer: Peer, name: str | None) -> dict[str, t.Any]:
    """Return what there is to tell of a peer, its handshake and preshared key aside.

    Args:
        name: Its name.
    """
    return {
        "public_key": peer.public_key.base64,
        "name": name,
        "endpoint": str(peer.endpoint) if peer.endpoint else None,
        "allowed_ips": list(peer.allowed_ips),
        "rx_bytes": peer.rx_bytes,
        "tx_bytes": peer.tx_bytes,
        "persistent_keepalive": peer.persistent_keepalive or None,
    }


def names_in(path: pathlib.Path) -> dict[PublicKey, str | None]:
    """Return the names of peers that a wg-quick file has; none if there is no file.

    Raises:
        WgsdError: it cannot be read.
    """
    text = read_file(path).text
    if not text.strip():
        return {}
    sections = WgQuickFile.parse(text, str(path)).peer_sections()
    return {key: section.name for key, section in sections.items()}
