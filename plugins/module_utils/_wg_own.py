# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An interface's own file on this host, and the public key that belongs to it.

Private to this collection.
"""

from __future__ import annotations

import pathlib

from ._files import read_file
from ._wg_file import InterfaceSettings
from .wgsd.device import x25519
from .wgsd.errors import UsageError
from .wgsd.keys import PublicKey, decode_base64_key

FOLDER = pathlib.Path("/etc/wireguard")


def path_of(name: str) -> pathlib.Path:
    """Return where wg-quick has the file of the interface *name*."""
    return FOLDER / f"{name}.conf"


def copy_of(name: str) -> pathlib.Path:
    """Return where the file of the interface *name* is kept as it was before it was adopted."""
    return FOLDER / f"{name}.conf.before-wgsd"


def next_key_of(name: str) -> pathlib.Path:
    """Return where the key is kept that the interface *name* is to change to."""
    return FOLDER / f"{name}.key-next"


def check_lasting(path: pathlib.Path, settings: InterfaceSettings) -> None:
    """Refuse a file that wg-quick overwrites: the names of its peers are comments.

    Args:
        path: The file, for the message.
        settings: What it says.

    Raises:
        UsageError: it has ``SaveConfig = true``.
    """
    if settings.save_config:
        raise UsageError(
            f"{path}: SaveConfig is true, so that wg-quick overwrites the file whenever the "
            "interface stops, and the names of the peers and all other comments are lost",
            "remove that line from the file; the interface need not be restarted",
        )


def own_key(settings: InterfaceSettings) -> PublicKey | None:
    """Return the public key of the interface as it is configured, None if it is not known.

    Raises:
        UsageError: the file that a hook loads the key from holds none.
        WgsdError: that file cannot be read.
    """
    text = settings.private_key
    if text is None and settings.private_key_file:
        content = read_file(pathlib.Path(settings.private_key_file)).text
        text = content.strip() or None
    if text is None:
        return None
    try:
        return x25519.public_key(decode_base64_key(text))
    except ValueError as exc:
        raise UsageError(
            f"{settings.private_key_file}: not a private key: {exc}",
            "put back what 'wg genkey' made",
        ) from None
