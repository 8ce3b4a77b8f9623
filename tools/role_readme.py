# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the variables of each role into its README, from its argument specification.

With ``--check`` nothing is written, and a README that is not up to date makes it fail.
"""

from __future__ import annotations

import html
import json
import re
import sys
import typing as t
from pathlib import Path

import yaml
from antsibull_docs_parser.md import to_md
from antsibull_docs_parser.parser import Context, parse

BEGIN = "<!-- variables: begin; written by tools/role_readme.py from meta/argument_specs.yml -->"
END = "<!-- variables: end -->"


CODE = re.compile(r"<code>(?:<strong>)?(.*?)(?:</strong>)?</code>")
#: What the library escapes and Markdown would leave alone.
HARMLESS = re.compile(r"\\([^\\\w<>*_`\[\]|]|[.])")


def markdown(text: str | list[str]) -> str:
    """Return Ansible's markup as the content of a table's cell."""
    paragraphs = [text] if isinstance(text, str) else text
    cells = []
    for paragraph in parse(paragraphs, Context()):
        cell = CODE.sub(as_code, to_md([paragraph]))
        cells.append(" ".join(HARMLESS.sub(r"\1", cell).split()))
    return "<br>".join(cells)


def as_code(match: re.Match[str]) -> str:
    """Return what was marked as code in HTML as code in Markdown."""
    return code(html.unescape(re.sub(r"\\(\W|_)", r"\1", match[1])))


def code(value: object) -> str:
    """Return a value as code."""
    text = value if isinstance(value, str) else json.dumps(value)
    return "`" + (text or '""').replace("|", "\\|") + "`"


def kind(option: dict[str, t.Any]) -> str:
    """Return the type, as ansible-doc names it."""
    name = option.get("type", "str")
    return f"list of {option['elements']}" if "elements" in option else name


def default(option: dict[str, t.Any]) -> str:
    """Return the default, or that there must be a value."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return ""
    return code(option["default"])


def rows(options: dict[str, dict[str, t.Any]], above: str = "") -> t.Iterator[str]:
    """Yield a row for each option, and after it those for the options inside it."""
    for name, option in options.items():
        text = markdown(option["description"])
        if choices := option.get("choices"):
            text += "<br>Choices: " + ", ".join(map(code, choices))
        yield f"| `{above}{name}` | {kind(option)} | {default(option)} | {text} |"
        yield from rows(option.get("options", {}), f"{above}{name}.")


def section(role: Path) -> str:
    """Return what stands between the marks."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    head = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([BEGIN, "", *head, *rows(options), "", END])


def main(arguments: list[str]) -> int:
    """Write the READMEs, or compare; return the exit status."""
    if arguments not in ([], ["--check"]):
        print(f"usage: {Path(__file__).name} [--check]", file=sys.stderr)
        return 2
    bad = []
    for role in sorted(path for path in Path("roles").iterdir() if path.is_dir()):
        readme = role / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _old, end, after = rest.partition(END)
        if not (begin and end):
            bad.append(f"{readme}: the lines {BEGIN!r} and {END!r} are missing: put them in")
            continue
        new = before + section(role) + after
        if new == text:
            continue
        if arguments:
            bad.append(f"{readme}: its variables are not those of the role: make readmes")
        else:
            readme.write_text(new, encoding="utf-8")
            print(f"{readme}: written")
    print(*bad, sep="\n", end="\n" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
