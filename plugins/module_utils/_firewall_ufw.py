# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Openings as rules of ufw: what to add to its rules, what to delete, and what is in the way; pure.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import typing as t

from ._firewall import Change, Opening
from .wgsd.errors import UsageError

#: Where ufw keeps the rules that it was given.
RULES = (pathlib.Path("/etc/ufw/user.rules"), pathlib.Path("/etc/ufw/user6.rules"))
_ACTIONS = ("allow", "deny", "reject", "limit")
_LOGGING = ("log", "log-all")


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        words: As they stand behind the command ``ufw``, without the comment.
        comment: Empty if it has none.
    """

    words: str
    comment: str = ""


def words(opening: Opening) -> str:
    """Return the rule that makes *opening*, spelled as ufw itself does."""
    if not opening.interface:
        return f"allow {opening.port}/{opening.protocol}"
    if not opening.protocol:
        return f"allow in on {opening.interface}"
    return f"allow in on {opening.interface} to any port {opening.port} proto {opening.protocol}"


def parse(listing: str) -> tuple[Rule, ...]:
    """Read what ``ufw show added`` says; a rule for both families stands there once."""
    found = []
    for line in listing.splitlines():
        head, _space, rest = line.partition(" ")
        if head != "ufw":
            continue
        parts = shlex.split(rest)
        comment = ""
        if len(parts) > 2 and parts[-2] == "comment":
            comment = parts[-1]
            parts = parts[:-2]
        found.append(Rule(" ".join(parts), comment))
    return tuple(found)


def has_comment(rules: str, comment: str) -> bool:
    """Whether a rule has *comment*, by the text of one of ufw's own files."""
    end = f" comment={comment.encode().hex()}"
    return any(line.endswith(end) for line in rules.splitlines())


def plan(have: t.Iterable[Rule], wanted: t.Iterable[str], comment: str) -> Change[str]:
    """Return the rules to add and to delete, in words.

    ufw has one rule for the same packets: a new one takes the place of the old, whatever that
    says. So one that somebody else has made is left alone, and counts if it lets them in.

    Raises:
        UsageError: somebody else's rule does not let them in.
    """
    rules = list(have)
    mine = {rule.words for rule in rules if rule.comment == comment}
    others = {}
    for rule in rules:
        if rule.comment != comment:
            action, about = _split(rule.words)
            others[about] = (action, rule.words)
    added, wanted = [], list(wanted)
    for one in wanted:
        action, rule_words = others.get(_split(one)[1], ("", ""))
        if action and action != "allow":
            raise UsageError(
                f"ufw has the rule '{rule_words}', which is in the way of '{one}'",
                f"if it may go: ufw delete {rule_words}",
            )
        if not action and one not in mine:
            added.append(one)
    return Change(tuple(added), tuple(sorted(mine - set(wanted))))


def _split(rule_words: str) -> tuple[str, str]:
    """Return the action, and the packets that the rule is about."""
    action, *about = rule_words.split()
    if action not in _ACTIONS:
        return "", rule_words
    return action, " ".join(word for word in about if word not in _LOGGING)
