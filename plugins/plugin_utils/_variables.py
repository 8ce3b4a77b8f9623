# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of hosts, held against the argument specs of the roles, for all hosts in one step.

Private to this collection. Ansible does the same whenever a role begins, for one host after the
other: by then some hosts may have been changed, and with a thousand it takes most of a minute.
"""

from __future__ import annotations

import difflib
import functools
import pathlib
import typing as t

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from jinja2 import TemplateError

_ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
#: What all variables of the collection begin with.
_PREFIX = "wgsd_"
#: Variables of playbooks that are almost called like one of a role.
_OF_PLAYBOOKS = {"wgsd_tsig_key"}
#: How much of a name has to be that of a variable for it to be meant: one letter of six may differ.
_LIKENESS = 0.84
#: So many hosts with the same mistake are named, the others are counted.
_NAMED = 5


def spec_problems(roles: t.Mapping[str, str], hostvars: t.Mapping[str, t.Any]) -> list[str]:
    """Return sentences about variables that the argument spec of a host's role does not allow.

    And about such as would be allowed, had they not been misspelt: nobody would miss them, and a
    mesh without preshared keys looks like one that has them.

    Args:
        roles: The role of each host in question, by inventory name: ``peer`` or ``registry``.
        hostvars: The variables of all hosts. One whose template needs the defaults of the role is
            left to the role.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for host, role in roles.items():
        for mistake in _mistakes(role, hostvars[host]):
            found.setdefault((role, mistake), []).append(host)
    return [
        f"{_named(hosts)}: {mistake.rstrip('.')}. See ansible-doc --type role wgsd.mesh.{role}."
        for (role, mistake), hosts in found.items()
    ]


def _mistakes(role: str, variables: t.Mapping[str, t.Any]) -> list[str]:
    options = _options(role)
    given: dict[str, t.Any] = {}
    for name in options:
        if name in variables:
            given.update(_known(variables, name))
    result = ArgumentSpecValidator(options).validate(given)
    # Only of a module's arguments does Ansible itself say what is the matter with such a one.
    messages = [
        f"unsupported: {error.msg}" if isinstance(error, UnsupportedError) else error.msg
        for error in result.errors
    ]
    mistakes = [str(remove_values(message, result._no_log_values)) for message in messages]
    for name in variables:
        meant = _misspelt(name) if isinstance(name, str) else None
        if meant:
            mistakes.append(
                f"there is no variable {name}. Is {meant} meant? One of your own should not begin"
                f" with {_PREFIX}"
            )
    return mistakes


@functools.cache
def _misspelt(name: str) -> str | None:
    """Return the variable that *name* is almost the name of; None if it is one, or none at all."""
    names = _all_names()
    if not name.startswith(_PREFIX) or name in names | _OF_PLAYBOOKS:
        return None
    bare = {known[len(_PREFIX) :]: known for known in names}
    near = difflib.get_close_matches(name[len(_PREFIX) :], bare, n=1, cutoff=_LIKENESS)
    return bare[near[0]] if near else None


@functools.cache
def _all_names() -> frozenset[str]:
    return frozenset(name for role in ("peer", "registry") for name in _options(role))


@functools.cache
def _options(role: str) -> dict[str, t.Any]:
    text = (_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    options: dict[str, t.Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


def _known(variables: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    """Return a variable, or none if only the role can make its value, or if that is ``omit``."""
    try:
        return {name: _plain(variables[name])}
    except (AnsibleError, TemplateError, TypeError):
        return {}


def _plain(value: t.Any) -> t.Any:
    """Return *value* with all templates in it resolved.

    Raises:
        TypeError: it has something that is none of YAML's usual types.
    """
    if isinstance(value, t.Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(type(value).__name__)


def _named(hosts: t.Sequence[str]) -> str:
    more = len(hosts) - _NAMED
    return ", ".join(hosts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
