# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Openings as nftables rules: their text, their place, and the file that keeps them; pure.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing as t

from ._firewall import Opening, mark
from .wgsd.errors import UsageError

CONF = pathlib.Path("/etc/nftables.conf")
FOLDER = pathlib.Path("/etc/nftables.d")
#: Of our files alone: what else lies in the folder may not be meant to be loaded.
PATTERN = "wgsd-*.nft"
INCLUDE = f'include "{FOLDER}/{PATTERN}"'
FAMILIES = ("inet", "ip", "ip6")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9/\\_.-]*")
_TABLE = re.compile(r"^table (\S+) (\S+) \{")
_CHAIN = re.compile(r"^\tchain (\S+) \{")
_INPUT = re.compile(r"^\t\ttype filter hook input ")
_RULE = re.compile(r"^\t\t(.+) # handle (\d+)$")
_AN_INCLUDE = re.compile(r'^\s*include\s+"([^"]+)"')


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule of ours.

    Attributes:
        chain: Family, table and chain.
        text: As ``nft list ruleset`` shows it.
        handle: By which the kernel knows it; 0 for one that is not there.
    """

    chain: str
    text: str
    handle: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.chain} {self.text}"


@dataclasses.dataclass(frozen=True)
class Ruleset:
    """What is loaded, as far as it concerns us.

    Attributes:
        chains: All chains that there are.
        input_chains: Those that decide about what comes in.
        rules: Our rules.
    """

    chains: tuple[str, ...] = ()
    input_chains: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


def check_chain(text: str) -> str:
    """Return *text*, which names a chain as ``nft`` does, with single spaces.

    Raises:
        UsageError: it does not.
    """
    words = text.split()
    if len(words) != 3 or words[0] not in FAMILIES or not all(map(_NAME.fullmatch, words)):
        raise UsageError(
            f"chain: {text!r} is not a family ({', '.join(FAMILIES)}), a table and a chain",
            "write it as 'inet filter input'",
        )
    return " ".join(words)


def rules(chains: t.Iterable[str], openings: t.Iterable[Opening], interface: str) -> list[Rule]:
    """Return the rules for *openings* in each of *chains*."""
    texts = [_text(opening, interface) for opening in openings]
    return [Rule(chain, text) for chain in chains for text in texts]


def _text(opening: Opening, interface: str) -> str:
    words = [f'iifname "{opening.interface}"'] if opening.interface else []
    if opening.protocol:
        words.append(f"{opening.protocol} dport {opening.port}")
    return " ".join([*words, "accept", f'comment "{mark(interface)}"'])


def parse(listing: str, interface: str) -> Ruleset:
    """Read what ``nft --handle --terse list ruleset`` says."""
    table = chain = ""
    chains, input_chains, own = [], [], []
    comment = f' comment "{mark(interface)}"'
    for line in listing.splitlines():
        if found := _TABLE.match(line):
            table, chain = f"{found[1]} {found[2]}", ""
        elif found := _CHAIN.match(line):
            chain = f"{table} {found[1]}"
            chains.append(chain)
        elif line == "\t}":
            chain = ""
        elif chain and _INPUT.match(line):
            input_chains.append(chain)
        elif chain and (found := _RULE.match(line)) and found[1].endswith(comment):
            own.append(Rule(chain, found[1], int(found[2])))
    return Ruleset(tuple(chains), tuple(input_chains), tuple(own))


def script(added: t.Iterable[Rule], removed: t.Iterable[Rule]) -> str:
    """Return what makes ``nft`` change what is loaded, all at once or not at all.

    At the head of the chain, since nothing that comes after a drop counts.
    """
    words = [f"delete rule {rule.chain} handle {rule.handle}" for rule in removed]
    words += [f"insert rule {rule}" for rule in added]
    return "".join(f"{line}\n" for line in words)


def file_path(interface: str) -> pathlib.Path:
    """Return the file that has the rules for *interface*."""
    return FOLDER / f"wgsd-{interface}.nft"


def file_text(wanted: t.Iterable[Rule], interface: str) -> str:
    """Return what makes *wanted* come back when nftables is loaded; empty for no rules."""
    commands = script(wanted, ())
    if not commands:
        return ""
    return (
        "# Written by the Ansible collection wgsd.mesh: changes will be lost.\n"
        f"# What the mesh on {interface} needs, for the chains that {CONF} makes.\n{commands}"
    )


def with_include(conf: str, paths: t.Collection[pathlib.Path]) -> str:
    """Return *conf* so that it includes *paths*, with our line only where it takes one.

    Args:
        conf: The text of /etc/nftables.conf.
        paths: All files of ours that there will be.
    """
    bare = _without_line(conf)
    if all(_includes(bare, path) for path in paths):
        return bare
    if bare != conf:
        return conf
    # nft wants an end of line behind it, and a last line may have none.
    return f"{conf}{INCLUDE}\n" if conf.endswith("\n") or not conf else f"{conf}\n{INCLUDE}\n"


def mentions_folder(conf: str) -> bool:
    """Whether *conf* has a use for our folder."""
    return any(
        pathlib.PurePath(CONF.parent, found[1]).parent == FOLDER
        for found in map(_AN_INCLUDE.match, conf.splitlines())
        if found
    )


def _without_line(conf: str) -> str:
    return "".join(line for line in conf.splitlines(keepends=True) if line.rstrip() != INCLUDE)


def _includes(conf: str, path: pathlib.Path) -> bool:
    found = filter(None, map(_AN_INCLUDE.match, conf.splitlines()))
    return any(path.match(str(pathlib.PurePath(CONF.parent, one[1]))) for one in found)
