#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_tsig_key: a TSIG key, made on the registry and replaced in steps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_tsig_key
short_description: Make a TSIG key on the registry
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Makes a shared secret for signed DNS messages (RFC 8945) on this host and keeps it in a file of
    its own, such as C(/etc/wgsd/keys/mesh.example.com.key), which root alone can read. C(dig -k)
    and the C(include) of BIND take such a file.
  - M(wgsd.mesh.wgsd_responder) finds there the secrets of the keys in its option
    O(wgsd.mesh.wgsd_responder#module:keys) that are given without one.
  - A key is known by its name, so the one that replaces it has another. After C(mesh.example.com.)
    come C(2.mesh.example.com.), C(3.mesh.example.com.) and so on. All of them are generations of
    the one key C(mesh.example.com.), which is the name to give in options.
options:
  name:
    description: Name of the key, which is a domain name.
    type: str
    required: true
  algorithm:
    description:
      - The algorithm of a generation that is made. One that is there keeps its own.
    type: str
    choices: [hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512]
    default: hmac-sha256
  state:
    description:
      - V(present) makes the key if there is none.
      - V(rolling) makes the next generation as well. The responder, once it is configured again,
        accepts both, and signs what it sends of its own accord with the old one.
      - V(rolled) removes the old generation, if there is a new one.
      - V(absent) removes all of them. Configure the responder without the key first.
    type: str
    choices: [present, rolling, rolled, absent]
    default: present
  copy_of:
    description:
      - The RV(generations) that this module returned on another registry. This host then has the
        same, and makes none.
      - The empty list says that they are not known in this run. What is there stays; it is an
        error if there is nothing.
      - Only with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the generation.
        type: str
        required: true
      algorithm:
        description: Its algorithm.
        type: str
        choices: [hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512]
        required: true
      secret:
        description:
          - Its secret in Base64.
          - Missing where a run in check mode could not make it.
        type: str
  return_secret:
    description:
      - Whether to return the secrets too. Set C(no_log=true) on the task then.
    type: bool
    default: false
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
    details:
      - The secret of a key that would be made is not returned.
  diff_mode:
    support: full
    details:
      - Names and algorithms are shown, secrets are not.
notes:
  - Needs root.
seealso:
  - module: wgsd.mesh.wgsd_responder
  - module: wgsd.mesh.wgsd_client
"""

EXAMPLES = r"""
- name: Make a key for a secondary
  wgsd.mesh.wgsd_tsig_key:
    name: ns2.example.com.

- name: Make its successor, which is accepted beside it once the responder is configured again
  wgsd.mesh.wgsd_tsig_key:
    name: ns2.example.com.
    state: rolling

- name: Remove the old one, when the secondary signs with the new one
  wgsd.mesh.wgsd_tsig_key:
    name: ns2.example.com.
    state: rolled

- name: Read the secret, to give it to the secondary
  wgsd.mesh.wgsd_tsig_key:
    name: ns2.example.com.
    return_secret: true
  register: key
  no_log: true
"""

RETURN = r"""
generations:
  description: The generations of the key that are there, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the generation, as it is sent.
      type: str
      returned: success
    algorithm:
      description: Its algorithm.
      type: str
      returned: success
    secret:
      description: Its secret in Base64.
      type: str
      returned: if O(return_secret=true), except for one that check mode would make
  sample:
    - name: ns2.example.com.
      algorithm: hmac-sha256
"""

import functools
import os
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import _tsig_keys
from ansible_collections.wgsd.mesh.plugins.module_utils._files import (
    read_file,
    remove_file,
    write_file,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._module import run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    DEFAULT_TSIG_ALGORITHM,
    TSIG_ALGORITHMS,
    key_name,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Have the generations that are wanted, and no others."""
    options, folder = module.params, _tsig_keys.FOLDER
    name = key_name(options["name"])
    have = _tsig_keys.generations(name, folder)
    wanted = _wanted(module, name, have)
    paths = {_tsig_keys.path_of(key.name, folder): key.file for key in wanted}
    due = {path: state for path, state in paths.items() if read_file(path) != state}
    surplus = [
        path for path in (_tsig_keys.path_of(key.name, folder) for key in have) if path not in paths
    ]
    if not module.check_mode:
        if due:
            _make_folder(folder)
        for path, state in due.items():
            write_file(path, state)
        for path in surplus:
            remove_file(path)
    return {
        "changed": bool(due or surplus),
        "diff": _diff(have, wanted, due),
        "generations": [
            _told(key, options["return_secret"] and _is_known(key, have, module)) for key in wanted
        ],
    }


def _wanted(module: AnsibleModule, name: str, have: list[_tsig_keys.Key]) -> list[_tsig_keys.Key]:
    options = module.params
    if options["copy_of"] is None:
        make = functools.partial(
            _tsig_keys.new_key, name, algorithm=options["algorithm"], random_bytes=os.urandom
        )
        return _tsig_keys.next_state(have, options["state"], make, name)
    if options["state"] != "present":
        raise UsageError("copy_of goes with state=present only", "leave out one of both")
    copies = [_tsig_keys.copied(key, name) for key in options["copy_of"]]
    is_known = all(key["secret"] for key in options["copy_of"])
    if not module.check_mode and not (is_known and (copies or have)):
        raise UsageError(
            f"the key {name} is not on this host, and not known in this run",
            "run the play for the first registry too, which makes it",
        )
    return copies or have


def _is_known(
    key: _tsig_keys.Key, have: t.Container[_tsig_keys.Key], module: AnsibleModule
) -> bool:
    """Whether there is such a secret: a prediction has none for a key that would be made."""
    return key in have or not module.check_mode


def _make_folder(folder: pathlib.Path) -> None:
    folder.parent.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=_tsig_keys.FOLDER_MODE, exist_ok=True)


def _told(key: _tsig_keys.Key, with_secret: bool) -> dict[str, str]:
    told = {"name": key.name, "algorithm": key.algorithm}
    return {**told, "secret": key.secret} if with_secret else told


def _diff(
    have: t.Iterable[_tsig_keys.Key],
    wanted: t.Iterable[_tsig_keys.Key],
    due: t.Iterable[pathlib.Path],
) -> list[dict[str, str]]:
    before, after = (
        "".join(f"{key.name} {key.algorithm}\n" for key in keys) for keys in (have, wanted)
    )
    if before == after:
        return [{"prepared": f"{path}: a secret, its mode or owner\n"} for path in due]
    header = str(_tsig_keys.FOLDER)
    return [{"before_header": header, "after_header": header, "before": before, "after": after}]


def main() -> None:
    copied = {
        "name": {"type": "str", "required": True},
        "algorithm": {"type": "str", "required": True, "choices": list(TSIG_ALGORITHMS)},
        "secret": {"type": "str", "no_log": True},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "algorithm": {
                "type": "str",
                "choices": list(TSIG_ALGORITHMS),
                "default": DEFAULT_TSIG_ALGORITHM,
            },
            "state": {
                "type": "str",
                "choices": list(_tsig_keys.STATES),
                "default": "present",
            },
            "copy_of": {"type": "list", "elements": "dict", "options": copied, "no_log": False},
            "return_secret": {"type": "bool", "default": False, "no_log": False},
        },
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
