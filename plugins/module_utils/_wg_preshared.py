# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module wg_preshared_keys does: tell, or make, the secrets that pairs of hosts share.

Private to this collection.
"""

from __future__ import annotations

import base64
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ._files import read_file
from ._wg_file import PeerSettings, WgQuickFile
from ._wg_own import own_key, path_of
from ._wg_wanted import quick_name
from .wgsd.errors import UsageError
from .wgsd.keys import KEY_BYTES, PublicKey


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Return the preshared keys of this host's pairs.

    Raises:
        WgsdError: an option cannot be used, or the interface has no key yet.
    """
    name, others = check_options(module.params)
    path = path_of(name)
    text = read_file(path).text
    file = WgQuickFile.parse(text, str(path)) if text.strip() else None
    own = own_key(file.interface_settings()) if file else None
    if own is None and not module.check_mode:
        raise UsageError(
            f"{name} has no private key on this host yet",
            "make the interface first, with the module wgsd.mesh.wg_interface",
        )
    keys = preshared_keys(
        own, others, file.peers() if file else {}, None if module.check_mode else os.urandom
    )
    return {
        "changed": False,
        "public_key": own.base64 if own else None,
        "preshared_keys": {key.base64: secret for key, secret in keys.items()},
    }


def check_options(options: t.Mapping[str, t.Any]) -> tuple[str, list[PublicKey]]:
    """Return the interface's name and the other hosts' keys.

    Raises:
        UsageError: an option cannot be used; the message names it.
    """
    where = "interface"
    try:
        name = quick_name(options["interface"])
        others = []
        for index, text in enumerate(options["public_keys"]):
            where = f"public_keys[{index}]"
            others.append(PublicKey.from_base64(text))
    except UsageError as exc:
        raise UsageError(f"{where}: {exc.message}", exc.remedy) from None
    return name, others


def preshared_keys(
    own: PublicKey | None,
    others: t.Iterable[PublicKey],
    peers: t.Mapping[PublicKey, PeerSettings],
    random: t.Callable[[int], bytes] | None,
) -> dict[PublicKey, str]:
    """Return the preshared keys, in base64, of the pairs of this host with *others*.

    Args:
        own: This host's public key; None if it has none yet.
        others: The keys of the other hosts; this host's own among them is left out.
        peers: The peers that this host has. The secret of one of them that has one stays.
        random: Makes so many random bytes; None to make no secrets.
    """
    found: dict[PublicKey, str] = {}
    for other in others:
        known = peers.get(other)
        if other == own:
            continue
        if known is not None and known.preshared_key:
            found[other] = known.preshared_key
        elif random is not None and own is not None and makes(own, other):
            found[other] = base64.b64encode(random(KEY_BYTES)).decode("ascii")
    return found


def makes(own: PublicKey, other: PublicKey) -> bool:
    """Whether the host with the key *own* is the one that makes the secret of the two."""
    return own.base64 < other.base64
