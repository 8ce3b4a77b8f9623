# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules answer on a host where nothing is left to do; hosts that only pretend use it."""

from __future__ import annotations

import pathlib
import re
import typing as t

import yaml

_MODULES = pathlib.Path(__file__).resolve().parents[2] / "plugins" / "modules"
_DISTRIBUTION = {
    "ansible_distribution": "Debian",
    "ansible_distribution_file_parsed": True,
    "ansible_distribution_file_path": "/etc/os-release",
    "ansible_distribution_file_variety": "Debian",
    "ansible_distribution_major_version": "12",
    "ansible_distribution_minor_version": "12",
    "ansible_distribution_release": "bookworm",
    "ansible_distribution_version": "12.12",
    "ansible_os_family": "Debian",
}
#: Ansible's own, by the names that it sends.
_BUILTIN: dict[str, dict[str, t.Any]] = {
    "ansible.builtin.apt": {"cache_updated": False, "cache_update_time": 1_790_000_000},
    "ansible.legacy.command": {"rc": 0, "stdout": "", "stderr": "", "cmd": "test", "msg": ""},
    "ansible.builtin.ping": {"ping": "pong"},
    "ansible.builtin.setup": {"ansible_facts": _DISTRIBUTION},
    "ansible.legacy.setup": {"ansible_facts": _DISTRIBUTION},
}
#: A result that comes only if an option asks for it.
_ASKED = re.compile(r"success and O\((\w+)=true\)")
#: An option of the module itself that is never told again.
_SECRET = re.compile(r'^ {12}"(\w+)": \{.*"no_log": True', re.MULTILINE)
#: Results whose samples speak of a change.
_CHANGES = ("steps", "peers_added", "peers_changed", "peers_removed")


def prepare() -> dict[str, dict[str, t.Any]]:
    """Return the answers by the modules' names, as the connection plugin ``pretended`` reads them.

    Those of the collection's modules are the samples of their documentation.
    """
    answers = {name: _prepared(result) for name, result in _BUILTIN.items()}
    for path in sorted(_MODULES.glob("*.py")):
        answers[f"wgsd.mesh.{path.stem}"] = _of_module(path)
    return answers


def _prepared(
    result: dict[str, t.Any],
    asked: dict[str, t.Any] | None = None,
    peers: t.Iterable[str] = (),
    secrets: t.Iterable[str] = (),
) -> dict[str, t.Any]:
    return {
        "result": {"changed": False, **result},
        "asked": asked or {},
        "key": "public_key" in result,
        "peers": list(peers),
        "secrets": list(secrets),
    }


def _of_module(path: pathlib.Path) -> dict[str, t.Any]:
    """Return the answer that a module's documentation has samples of."""
    text = path.read_text(encoding="utf-8")
    returned = yaml.safe_load(text.partition('RETURN = r"""')[2].partition('"""')[0]) or {}
    result: dict[str, t.Any] = {}
    asked: dict[str, t.Any] = {}
    for name, told in returned.items():
        sample = [] if name in _CHANGES else told.get("sample")
        if option := _ASKED.fullmatch(told["returned"]):
            asked[name] = [option[1], sample]
        elif told["returned"].startswith("success"):
            result[name] = sample
    peers = returned.get("peers", {}).get("contains", ())
    return _prepared(result, asked, peers, _SECRET.findall(text))
