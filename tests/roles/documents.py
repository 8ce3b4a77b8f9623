# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A page of the documentation as what its reader does: write files, and type commands.

``console`` blocks are sessions: ``$`` is the prompt of the controller, ``alice#`` that of root on
Alice, and the other lines are what is printed. The first line of another block that is a comment
with the name of a file makes the block that file. What is printed may have an ellipsis in place of
anything within a line, or in place of lines. What differs from run to run (keys, ports,
durations, serials) only has to be of the same kind.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"^(?:# |\{# )(\S+\.\w+)(?: #\})?\n")
_PROMPT = re.compile(r"^(?:(\w+)# |\$ )(.*)$")
ELLIPSIS = "…"
#: What differs from run to run, and what stands for it where output is compared.
_KINDS = (
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="), "KEY"),
    (re.compile(r"\b[a-z2-7]{52}===="), "LABEL"),
    (re.compile(r":6[1-5]\d{3}\b"), ":PORT"),
    (re.compile(r"\b0 0 6[1-5]\d{3}\b"), "0 0 PORT"),
    (re.compile(r"(?<=serial )\d+"), "SERIAL"),
    (re.compile(r"(?<=process )\d+"), "PID"),
    (re.compile(r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:s|ms|m|h|d)\b(?: \d+ (?:s|m|h)\b)?"), "DURATION"),
    (re.compile(r"(?<=\. )\d+(?= IN )"), "TTL"),
)


@dataclasses.dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str


@dataclasses.dataclass(frozen=True)
class Command:
    """What the reader types, and then sees.

    Attributes:
        host: Where; None for the controller.
    """

    host: str | None
    line: str
    output: str

    def printed(self, actual: str) -> bool:
        """Whether *actual* is what the document says that the command prints."""
        return re.fullmatch(_pattern(self.output), _alike(actual)) is not None


def read(page: Path) -> list[File | Command]:
    """Return what the reader of a page does, in its order."""
    steps: list[File | Command] = []
    for kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        named = _FILE_NAME.match(block)
        if kind == "console":
            steps += _session(block)
        elif named:
            steps.append(File(named[1], block))
    return steps


def _session(block: str) -> t.Iterator[Command]:
    host: str | None = None
    line, output = "", [""]
    for text in block.splitlines():
        prompt = _PROMPT.match(text)
        if prompt:
            if line:
                yield Command(host, line, "\n".join(output))
            host, line, output = prompt[1], prompt[2], []
        else:
            output.append(text)
    yield Command(host, line, "\n".join(output))


def _alike(text: str) -> str:
    """Return a text in which what differs from run to run is always the same."""
    text = "".join(" ".join(line.split()) + "\n" for line in text.strip().splitlines())
    for kind, name in _KINDS:
        text = kind.sub(name, text)
    return text


def _pattern(expected: str) -> str:
    return "".join(
        r"(?:.*\n)*?"
        if line == ELLIPSIS
        else ".*".join(map(re.escape, line.split(ELLIPSIS))) + r"\n"
        for line in _alike(expected).splitlines()
    )
