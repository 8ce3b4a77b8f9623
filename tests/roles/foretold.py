# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether check mode foretold what a run then did: ``python3 -m tests.roles.foretold RECORD``.

The record is what the callback plugin run_record has written. Compared is, host by host, what the
diffs of all tasks say together: in check mode, a task cannot see what those before it would have
done, so two that make one file or start one service both say so. Tasks that change something and
show no diff are compared by their names.

What check mode cannot foretell, and so is left out, is all here:

* A key that the run itself makes (:func:`_keys_to_come`). The peers that other hosts get for it
  cannot be foretold either: their sections, lines and steps are left out of what the run did,
  and so is a task that changes nothing else.
* What other hosts do with the next key of a host, when the run itself makes it. The run counts as
  if the old one had been kept (:func:`_with_old_keys`).
* That an interface which the run starts gets its peers afterwards, where check mode says that it
  is started with all that its file has then (:func:`_is_adding`).
* How apt words what it does: of that, the names of the packages count (:func:`_packages`).
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import typing as t
from pathlib import Path

Json = dict[str, t.Any]
#: Whose diff is the output of another program.
_APT = "ansible.builtin.apt"
_NEXT_KEY = "wgsd.mesh.wg_key"


@dataclasses.dataclass(frozen=True)
class Said:
    """What a run, in check mode or not, said of one host.

    Attributes:
        unshown: The tasks that change something without a diff.
        files: The files that are changed, with their text before and after.
        steps: What else is done, line by line.
    """

    unshown: frozenset[str]
    files: dict[str, tuple[str, str]]
    steps: frozenset[str]


def pairs(runs: list[Json]) -> list[tuple[Json, Json]]:
    """Return each run in check mode with the real one that follows it.

    Raises:
        ValueError: another run follows it, or none.
    """
    found = []
    for number, run in enumerate(runs):
        if not run["check"]:
            continue
        after = runs[number + 1] if number + 1 < len(runs) else None
        if after is None or after["check"] or _what(after) != _what(run):
            raise ValueError(
                f"{title(run)} in check mode is not followed by the same run in earnest"
            )
        found.append((run, after))
    return found


def title(run: Json) -> str:
    """Return what was run, for people."""
    limit = f" --limit {run['limit']}" if run["limit"] else ""
    return " ".join([run["playbook"] + limit, *(f"-e {one}" for one in run["variables"])])


def differences(check: Json, real: Json) -> list[str]:
    """Return what the run did otherwise than check mode had said, a line or more for each."""
    real = _with_old_keys(check, real)
    to_come = _keys_to_come(check, real)
    lines: list[str] = []
    for host in sorted({result["host"] for run in (check, real) for result in run["results"]}):
        foretold, done = said(check, host, to_come), said(real, host, to_come)
        for one, other in ((foretold.unshown, done.unshown), (foretold.steps, done.steps)):
            lines += [f"{host}: foretold and not done: {what}" for what in sorted(one - other)]
            lines += [f"{host}: done and not foretold: {what}" for what in sorted(other - one)]
        for path in sorted({*foretold.files, *done.files}):
            was, came = foretold.files.get(path), done.files.get(path)
            lines += [f"{host}: {path}: foretold {was!r}, done {came!r}"] if was != came else []
    return lines


def said(run: Json, host: str, to_come: frozenset[str] = frozenset()) -> Said:
    """Return what a run said of one host.

    Args:
        to_come: The public keys that the real run made; what speaks of them is left out.
    """
    unshown: set[str] = set()
    files: dict[str, tuple[str, str]] = {}
    steps: set[str] = set()
    for result in run["results"]:
        if result["host"] != host or not result.get("changed") or _is_for(result, to_come):
            continue
        if not _diffs(result):
            unshown.add(result["task"])
        for diff in _diffs(result):
            if "prepared" in diff:
                lines = diff["prepared"].splitlines()
                steps.update(_packages(lines) if result["action"] == _APT else lines)
            else:
                path = str(diff.get("after_header") or result["task"])
                before, after = (_known(text, to_come) for text in _texts(diff))
                files[path] = (files[path][0] if path in files else before, after)
    changes = {path: texts for path, texts in files.items() if texts[0] != texts[1]}
    kept = {step for step in steps if not _is_adding(step, steps, run, to_come)}
    return Said(frozenset(unshown), changes, frozenset(kept))


def _diffs(result: Json) -> list[Json]:
    diffs = result.get("diff") or []
    return [diffs] if isinstance(diffs, dict) else diffs


def _texts(diff: Json) -> tuple[str, str]:
    """Return a file's text before and after; some modules tell its properties instead."""
    before, after = (
        text if isinstance(text, str) else json.dumps(text, sort_keys=True)
        for text in (diff.get("before") or "", diff.get("after") or "")
    )
    return before, after


def _is_for(result: Json, keys: frozenset[str]) -> bool:
    """Whether a task changes files for these keys alone; its steps then are for them as well."""
    texts = [_texts(diff) for diff in _diffs(result) if "prepared" not in diff]
    return any(_names(after, keys) for _before, after in texts) and all(
        _known(before, keys) == _known(after, keys) for before, after in texts
    )


def _what(run: Json) -> tuple[t.Any, ...]:
    return run["playbook"], run["limit"], run["variables"]


def _keys_to_come(check: Json, real: Json) -> frozenset[str]:
    """Return the public keys that the run told and check mode did not: it made them."""
    told, known = (
        {result.get("public_key") for result in run["results"]} - {None} for run in (real, check)
    )
    return frozenset(told - known)


def _with_old_keys(check: Json, real: Json) -> Json:
    """Return the run without what it did with next keys that check mode did not know."""
    known = {(result["host"], result["task"]) for result in check["results"]}
    foretold = {result.get("next_public_key") for result in check["results"]}
    old_keys = {
        result["next_public_key"]: result["public_key"]
        for result in real["results"]
        if result.get("next_public_key") not in {None, *foretold}
    }
    results = []
    for result in real["results"] if old_keys else ():
        if result["action"] == _NEXT_KEY and (result["host"], result["task"]) not in known:
            continue  # check mode skips what takes the next key
        text = json.dumps(result)
        for new, old in old_keys.items():
            text = text.replace(new, old)
        kept = json.loads(text)
        if kept == result or not _keeps_all_lines(kept):
            results.append(kept)
    return {**real, "results": results} if old_keys else real


def _keeps_all_lines(result: Json) -> bool:
    texts = [_texts(diff) for diff in _diffs(result) if "prepared" not in diff]
    return bool(texts) and all(
        sorted(before.splitlines()) == sorted(after.splitlines()) for before, after in texts
    )


def _known(text: str, to_come: frozenset[str]) -> str:
    """Return a file's text without the sections and lines of keys that were still to come."""
    if not _names(text, to_come):
        return text.rstrip()
    kept = [
        section
        for section in _sections(text)
        if not ("[Peer]\n" in section and _names(section, to_come))
    ]
    lines = "".join(kept).splitlines(keepends=True)
    known = "".join(line for line in lines if not _names(line, to_come)).rstrip()
    # What is left of a mapping in YAML that had nothing else.
    return re.sub(r"(?m)^( *)(\w+:)$(?!\n\1[ -])", r"\1\2 {}", known)


def _sections(text: str) -> list[str]:
    """Cut a file before each header, and before the comments that stand right above it."""
    sections = [""]
    for block in re.findall(r"(?m)(?:^#.*\n)*^\[.*\n|^.*\n", text):
        if re.search(r"(?m)^\[", block):
            sections.append("")
        sections[-1] += block
    return sections


def _names(text: str, keys: frozenset[str]) -> bool:
    return any(key in text for key in keys)


def _is_adding(step: str, steps: set[str], run: Json, keys: frozenset[str]) -> bool:
    """Whether a step adds a peer to an interface just started, or the host of one of the keys."""
    interface, _text, peer = step.partition(": add peer ")
    hosts = {result["host"] for result in run["results"] if result.get("public_key") in keys}
    started = f"{interface}: start wg-quick@{interface}.service" in steps
    return bool(peer) and (started or peer in hosts)


def _packages(lines: list[str]) -> set[str]:
    """Return the packages that apt installs."""
    installed = "\n".join(lines).partition("NEW packages will be installed:\n")[2]
    names = re.match(r"(?:  .*(?:\n|$))*", installed)
    return {f"install {name}" for name in names[0].split()} if names else set()


def _size(what: Said) -> int:
    return len(what.unshown) + len(what.files) + len(what.steps)


def main() -> int:
    """Print the comparison; 0 if everything was foretold."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    compared = pairs([json.loads(line) for line in text.splitlines()])
    found = 0
    for check, real in compared:
        lines = differences(check, real)
        hosts = sorted({result["host"] for result in real["results"]})
        counts = ", ".join(f"{host} {_size(said(check, host))}" for host in hosts)
        print(f"{title(real)}: changes foretold: {counts}")
        print("".join(f"  {line}\n" for line in lines), end="")
        found += len(lines)
    if not compared:
        print("there is no run in check mode to compare with")
    return 0 if compared and not found else 1


if __name__ == "__main__":
    sys.exit(main())
