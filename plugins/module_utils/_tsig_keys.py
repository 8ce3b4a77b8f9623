# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TSIG keys that are made on a registry: their generations, their files, and who signs with which.

A TSIG key is known by its name (RFC 8945 section 4.2), so a successor needs another one: after
``mesh.example.com.`` come ``2.mesh.example.com.``, ``3.mesh.example.com.`` and so on. While both
are there, both are accepted. A file has the form of BIND's configuration, for which
``named.conf`` has ``include`` and ``dig`` has ``-k``.

Private to this collection.
"""

from __future__ import annotations

import base64
import dataclasses
import pathlib
import re
import typing as t

from ._files import FileState, read_file
from .wgsd.config import DEFAULT_TSIG_ALGORITHM, key_name
from .wgsd.errors import UsageError, WgsdError
from .wgsd.names import absolute

FOLDER = pathlib.Path("/etc/wgsd/keys")
#: Only root needs them: the responder has the secrets in its configuration.
MODE, FOLDER_MODE = 0o600, 0o700
STATES = ("present", "rolling", "rolled", "absent")
#: What stands for a secret that is not made yet, where a run is only predicted.
UNKNOWN_SECRET = base64.b64encode(bytes(32)).decode()

_FILE = re.compile(
    r'\s*key\s+"(?P<name>[^"\s]+)"\s*\{'
    r'\s*algorithm\s+(?P<algorithm>[a-z0-9-]+)\s*;\s*secret\s+"(?P<secret>[A-Za-z0-9+/=]+)"\s*;'
    r"\s*\}\s*;\s*"
)


@dataclasses.dataclass(frozen=True)
class Key:
    """One generation of a key.

    Attributes:
        name: What is sent, absolute, lower case.
        algorithm: Such as ``hmac-sha256``.
        secret: In Base64.
    """

    name: str
    algorithm: str
    secret: str = dataclasses.field(repr=False)

    @property
    def file(self) -> FileState:
        """Its file."""
        text = (
            f'key "{self.name}" {{\n\talgorithm {self.algorithm};\n\tsecret "{self.secret}";\n}};\n'
        )
        return FileState(text.encode(), MODE)


def new_key(name: str, number: int, algorithm: str, random_bytes: t.Callable[[int], bytes]) -> Key:
    """Make generation *number* of the key *name*, with as many bytes as the hash has.

    Raises:
        UsageError: the name is too long for one more generation.
    """
    size = int(algorithm.rpartition("sha")[2]) // 8
    secret = base64.b64encode(random_bytes(size)).decode()
    return Key(key_name(_nth(name, number)), algorithm, secret)


def copied(data: t.Mapping[str, t.Any], name: str) -> Key:
    """Return the generation of the key *name* that another host has told of as *data*.

    Raises:
        UsageError: it is no generation of that key, or its secret is no Base64.
    """
    key = Key(key_name(data["name"]), data["algorithm"], data["secret"] or UNKNOWN_SECRET)
    if generation(key.name, name) is None:
        raise UsageError(f"copy_of: {key.name} is no generation of {name}", "name that key")
    if not _FILE.fullmatch(key.file.text):
        raise UsageError(f"copy_of: the secret of {key.name} is not Base64", "copy it as it was")
    return key


def generation(candidate: str, name: str) -> int | None:
    """Return which generation of the key *name* it is that is called *candidate*, from 1 on."""
    if candidate == name:
        return 1
    number, _dot, rest = candidate.partition(".")
    is_number = number.isascii() and number.isdigit() and _nth(rest, int(number)) == candidate
    return int(number) if is_number and rest == name and int(number) > 1 else None


def path_of(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Return where the key that is called *name* lies."""
    return folder / f"{name}key"


def generations(name: str, folder: pathlib.Path) -> list[Key]:
    """Return the generations of the key *name* that are there, the oldest first.

    Raises:
        WgsdError: a file cannot be read, or is none of ours.
    """
    found: dict[int, Key] = {}
    for path in folder.glob(f"*{name}key"):
        number = generation(path.name[: -len("key")], name)
        if number is not None:
            found[number] = _read(path)
    return [key for _number, key in sorted(found.items())]


def next_state(
    have: t.Sequence[Key], state: str, make: t.Callable[[int], Key], name: str
) -> list[Key]:
    """Return the generations of the key *name* that are to be there instead of *have*.

    Args:
        state: One of `STATES`.
        make: Makes the generation with a number.
    """
    if state == "absent":
        return []
    if not have:
        return [make(1)]
    if state == "rolled":
        return list(have[-1:])
    if state == "rolling" and len(have) == 1:
        return [*have, make((generation(have[-1].name, name) or 1) + 1)]
    return list(have)


class Keyring:
    """The keys of a configuration of the responder, with the secrets of those made on this host.

    Args:
        wanted: The keys by name. One without ``secret`` was made here.
        folder: Where the keys that were made here lie.
        predicting: Whether a key that is not there stands for one that an earlier task would make.

    Raises:
        WgsdError: a key is not there, or cannot be read.
    """

    def __init__(
        self, wanted: t.Mapping[str, t.Any], folder: pathlib.Path, *, predicting: bool
    ) -> None:
        self._made: dict[str, list[Key]] = {}
        self.settings: dict[str, t.Any] = {}
        for text, value in wanted.items():
            options = {} if value is None else value
            if not isinstance(options, dict) or "secret" in options:
                self.settings[text] = value
                continue
            name = key_name(text)
            keys = generations(name, folder)
            if not keys and predicting:
                algorithm = options.get("algorithm", DEFAULT_TSIG_ALGORITHM)
                keys = [Key(name, algorithm, UNKNOWN_SECRET)]
            if not keys:
                raise WgsdError(
                    f"the key {name} has no secret, and was not made on this host",
                    "give it a secret, or make it with the module wgsd.mesh.wgsd_tsig_key",
                )
            self._made[name] = keys
            for key in keys:
                self.settings[key.name] = {"algorithm": key.algorithm, "secret": key.secret}

    @property
    def secrets(self) -> set[str]:
        """The secrets that were made on this host."""
        return {key.secret for keys in self._made.values() for key in keys}

    def accepting(self, entries: t.Iterable[str]) -> list[str]:
        """Return who may do something, with every generation in the place of ``key NAME``."""
        accepted: list[str] = []
        for entry in entries:
            word, _space, name = entry.strip().partition(" ")
            made = self._generations(name) if word == "key" else []
            accepted += [f"key {key.name}" for key in made] or [entry]
        return accepted

    def signing(self, name: str) -> str:
        """Return the generation that this host signs with when it begins to talk, by name.

        The oldest: the other side may not have its successor yet.
        """
        made = self._generations(name)
        return made[0].name if made else name

    def signing_to(self, server: str) -> str:
        """Return ``ADDRESS key NAME`` with the name that `signing` gives; no key stays none."""
        address, has_key, name = server.partition(" key ")
        return f"{address} key {self.signing(name)}" if has_key else server

    def _generations(self, name: str) -> list[Key]:
        return self._made.get(absolute(name), [])


def _nth(name: str, number: int) -> str:
    return name if number == 1 else f"{number}.{name}"


def _read(path: pathlib.Path) -> Key:
    found = _FILE.fullmatch(read_file(path).text)
    name = path.name[: -len("key")]
    if found is None or found["name"] != name:
        raise WgsdError(f"{path}: not a key as wgsd.mesh writes it", f"remove it: rm {path}")
    return Key(name, found["algorithm"], found["secret"])
