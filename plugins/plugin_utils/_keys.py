# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public keys as people and playbooks write them.

Private to this collection.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import SERVICE

BASE64_LENGTH = 44


def parse_key(text: str) -> PublicKey:
    """Return the key that a text names: base64, a label, or an instance name of any zone.

    Args:
        text: A label has the Base32 of RFC 4648 section 6, in any case, padded or not.

    Raises:
        UsageError: it is none of them.
    """
    text = text.strip()
    if len(text) == BASE64_LENGTH:
        return PublicKey.from_base64(text)
    label, dot, rest = text.partition(".")
    try:
        if dot and not f"{rest.lower()}.".startswith(f"{SERVICE}."):
            raise UsageError("a name of something else")
        return PublicKey.from_label(label)
    except UsageError:
        raise UsageError(
            f"{text!r} is not a public key", "give it in base64, or as the label that the zone has"
        ) from None


def filtered_key(title: str, value: t.Any) -> PublicKey:
    """Return the key that the input of a filter names.

    Args:
        title: The filter's name.

    Raises:
        AnsibleFilterError: it names none.
    """
    try:
        if not isinstance(value, str):
            raise UsageError(f"{value!r} is not a public key", "give a string, such as its base64")
        return parse_key(value)
    except UsageError as exc:
        raise AnsibleFilterError(f"{title}: {exc}") from exc
