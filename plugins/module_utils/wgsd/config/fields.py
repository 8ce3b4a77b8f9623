# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file of YAML as a tree of fields, each of which knows its file, line and path for errors."""

from __future__ import annotations

import pathlib
import typing as t

from ..errors import UsageError
from ..thirdparty import yaml

T = t.TypeVar("T")


def read(path: pathlib.Path) -> Field:
    """Return the top of a file.

    Raises:
        UsageError: it cannot be read, is empty or no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        remedy = "run as root" if isinstance(exc, PermissionError) else "check its path and mode"
        raise UsageError(f"{path}: cannot be read: {reason}", remedy) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(exc, "problem", None) or exc
        raise UsageError(f"{where}: not valid YAML: {problem}", "mend the line") from None
    if node is None:
        raise UsageError(f"{path}: the file is empty", "see docs/configuration.md for an example")
    return Field(path, "", node)


class Field:
    """One node of the YAML tree that knows its file, line and path (``zones[0].self``)."""

    def __init__(self, path: pathlib.Path, name: str, node: yaml.Node) -> None:
        self._path = path
        self._name = name
        self._node = node

    def fail(self, message: str, remedy: str = "") -> t.NoReturn:
        """Raise a `UsageError` that names file, line and field."""
        line = self._node.start_mark.line + 1
        field = f"field {self._name}: " if self._name else ""
        raise UsageError(f"{self._path}:{line}: {field}{message}", remedy)

    def parse_with(self, parse: t.Callable[[str], T], text: str) -> T:
        """Return ``parse(text)``, with this field named in the error."""
        try:
            return parse(text)
        except UsageError as exc:
            self.fail(exc.message, exc.remedy)

    def parsed(self, parse: t.Callable[[str], T]) -> T:
        """Return this field's text through *parse*."""
        return self.parse_with(parse, self.text())

    def text(self) -> str:
        """Return a scalar as it is written; a bare number counts as text."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag.endswith(":null"):
            self.fail("a text is expected here")
        return str(self._node.value)

    def number(self, low: int, high: int) -> int:
        """Return an integer within *low*..*high*."""
        text = self.text()
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            self.fail(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    def is_bool(self) -> bool:
        """Whether the field is ``true`` or ``false``."""
        return bool(self._node.tag == "tag:yaml.org,2002:bool")

    def is_mapping(self) -> bool:
        """Whether the field has fields of its own."""
        return isinstance(self._node, yaml.MappingNode)

    def boolean(self) -> bool:
        """Return a boolean, spelled as YAML 1.1 allows."""
        return str(self._node.value).lower() in ("true", "yes", "on")

    def items(self, at_least: int = 0) -> list[Field]:
        """Return the fields of a sequence."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail("a list is expected here", "write each item on a line that starts with '- '")
        if len(self._node.value) < at_least:
            self.fail("the list is empty", f"give at least {at_least}")
        return [
            Field(self._path, f"{self._name}[{i}]", node) for i, node in enumerate(self._node.value)
        ]

    def each(self, parse: t.Callable[[Field], T], at_least: int = 0) -> tuple[T, ...]:
        """Return the fields of a sequence, each through *parse*."""
        return tuple(parse(item) for item in self.items(at_least))

    def entries(self) -> list[tuple[str, Field]]:
        """Return the keys of a mapping and their fields; a key that comes twice is an error."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail("a mapping is expected here", "write it as 'key: value'")
        found: dict[str, Field] = {}
        for key_node, value_node in self._node.value:
            key = str(key_node.value)
            name = f"{self._name}.{key}" if self._name else key
            if key in found:
                Field(self._path, name, key_node).fail("is given twice", "remove one of them")
            found[key] = Field(self._path, name, value_node)
        return list(found.items())

    def only(self, *known: str) -> None:
        """Refuse keys that are not in *known*."""
        for key, field in self.entries():
            if key not in known:
                field.fail("unknown key", f"known here: {', '.join(known)}")

    def required(self, key: str) -> Field:
        """Return the field of *key*, which must be there."""
        for name, field in self.entries():
            if name == key:
                return field
        self.fail(f"{key} is missing", f"add '{key}:'")

    def optional(self, key: str, parse: t.Callable[[Field], T], default: T) -> T:
        """Return the field of *key* through *parse*, or *default* if it is not there."""
        for name, field in self.entries():
            if name == key:
                return parse(field)
        return default
