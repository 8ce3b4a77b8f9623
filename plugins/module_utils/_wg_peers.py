# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option peers of wg_interface: its suboptions, and the same list as a text in JSON.

Private to this collection.
"""

from __future__ import annotations

import json
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .wgsd.errors import UsageError

PEER_OPTIONS: dict[str, dict[str, t.Any]] = {
    "public_key": {"type": "str", "no_log": False},
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "replace": {"type": "bool", "default": True},
    "allowed_ips": {"type": "list", "elements": "str"},
    "endpoint": {"type": "str"},
    "persistent_keepalive": {"type": "int", "no_log": False},
    "preshared_key": {"type": "str", "no_log": True},
    "former_keys": {"type": "list", "elements": "str", "no_log": False},
}
_LIST = {"peers": {"type": "list", "elements": "dict", "options": PEER_OPTIONS}}


def from_json(text: str) -> list[dict[str, t.Any]]:
    """Return the peers that *text* lists, as Ansible itself would hand them to the module.

    Raises:
        UsageError: it is not such a list. The message has no value of a secret.
    """
    try:
        listed = json.loads(text)
    except ValueError as exc:
        raise UsageError(
            f"peers_json: it is not JSON ({exc})", "make it with the filter to_json"
        ) from None
    if not isinstance(listed, list):
        raise UsageError("peers_json: it is not a list", "give the list that peers would have")
    checked = ArgumentSpecValidator(_LIST).validate({"peers": listed})
    if checked.error_messages:
        raise UsageError(
            f"peers_json: {'; '.join(checked.error_messages)}", "see the suboptions of peers"
        )
    return list(checked.validated_parameters["peers"])


def secrets(peers: t.Iterable[t.Mapping[str, t.Any]]) -> set[str]:
    """Return what of *peers* nobody must read."""
    return {peer["preshared_key"] for peer in peers if peer["preshared_key"]}
