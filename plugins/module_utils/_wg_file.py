# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file that wg-quick reads, edited in place: what is not changed stays as it was written.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import ipaddress
import re
import typing as t

from .wgsd.errors import UsageError
from .wgsd.keys import PublicKey, decode_base64_key

Address = t.Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]

INTERFACE = "interface"
PEER = "peer"
SECRETS = ("privatekey", "presharedkey")
MARK_MAX = 2**32 - 1
#: Keys that take a list: several lines of them add up, and so do commas in one.
_LISTS = ("address", "allowedips", "dns")
#: How the header of a file starts that wg_interface has made.
_MADE_HERE = "# Kept up by the Ansible module wgsd.mesh.wg_interface"
_NAME = re.compile(r"#\s*Name\s*=\s*(.*?)\s*$", re.IGNORECASE)
_SUCCESSOR = re.compile(r"#\s*Successor\s*=\s*(.*?)\s*$", re.IGNORECASE)
_FORMERLY = re.compile(r"#\s*Formerly\s*=\s*(.*?)\s*$", re.IGNORECASE)
#: A year of monthly rotations.
_FORMER_KEYS_MAX = 12
_KEY_FILE_HOOK = re.compile(r"\bwg\s+set\s+\S+\s+(?:\S+\s+\S+\s+)*?private-key\s+(/[^\s;&|<>]+)")


@dataclasses.dataclass(frozen=True)
class InterfaceSettings:
    """What an ``[Interface]`` section says.

    Attributes:
        private_key: Base64; None if the section has none. Never printed.
        private_key_file: Where a hook loads the private key from, if there is such a hook.
        fwmark: 0 for ``off``; None for not given.
        table: ``off``, ``auto``, a routing table, or None for not given.
        save_config: Whether wg-quick overwrites the file when the interface stops.
    """

    private_key: str | None = dataclasses.field(default=None, repr=False)
    private_key_file: str | None = None
    addresses: tuple[Address, ...] = ()
    listen_port: int | None = None
    mtu: int | None = None
    fwmark: int | None = None
    table: str | None = None
    save_config: bool = False


@dataclasses.dataclass(frozen=True)
class PeerSettings:
    """What a ``[Peer]`` section says.

    Attributes:
        allowed_ips: Canonical CIDR blocks.
        endpoint: As written, so possibly with a host name.
        persistent_keepalive: Seconds; None if not given or off.
        preshared_key: Base64, or None. Never printed.
        successor: The key that was announced to come after this one, from a comment.
    """

    public_key: PublicKey
    name: str | None = None
    allowed_ips: tuple[str, ...] = ()
    endpoint: str | None = None
    persistent_keepalive: int | None = None
    preshared_key: str | None = dataclasses.field(default=None, repr=False)
    successor: PublicKey | None = None

    @property
    def title(self) -> str:
        """How messages call the peer."""
        return self.name or f"{self.public_key.short}…"


class Section:
    """One section: comments right above its header, the header, and all lines up to the next.

    Attributes:
        peer: What it was found to say; None if it has to be read, since it is new or was changed.
    """

    def __init__(self, kind: str, header: str, line: int, lead: list[str]) -> None:
        self.kind = kind
        self.line = line
        self._header = header
        self._lead = lead
        self._body: list[str] = []
        self._found: dict[str, list[str]] | None = None
        self.peer: PeerSettings | None = None

    def copy(self) -> Section:
        """Return another section that says the same."""
        other = copy.copy(self)
        other._lead, other._body = list(self._lead), list(self._body)
        return other

    @classmethod
    def new(cls, kind: str) -> Section:
        """Make an empty section."""
        return cls(kind, f"[{kind.capitalize()}]", 0, [])

    def append(self, line: str) -> None:
        """Add a line as it is read."""
        self._body.append(line)
        self._forget()

    def give_up_comments(self) -> list[str]:
        """Take away and return the comment lines at the end: they belong to what follows."""
        end = len(self._body)
        while end and self._body[end - 1].lstrip().startswith("#"):
            end -= 1
        # A section of nothing but comments keeps them, and so does one not set apart by a blank.
        if end == 0 or self._body[end - 1].strip():
            return []
        comments, self._body[end:] = self._body[end:], []
        self._forget()
        return comments

    def lines(self) -> list[str]:
        """Return the section's lines."""
        return [*self._lead, self._header, *self._body]

    def values(self, key: str) -> list[str]:
        """Return all values of *key* (any case), those of list keys one by one."""
        if self._found is None:
            self._found = {}
            for line in self._body:
                this, value = _split(line)
                if this:
                    parts = value.split(",") if this in _LISTS else [value]
                    values = self._found.setdefault(this, [])
                    values += [part.strip() for part in parts if part.strip()]
        return list(self._found.get(key.lower(), ()))

    def get(self, key: str) -> str | None:
        """Return the value of *key* that counts, the last one."""
        values = self.values(key)
        return values[-1] if values else None

    def set(self, key: str, value: str | None) -> None:
        """Give *key* one line with *value* in place of its first one; None takes all away."""
        self._forget()
        where = [i for i, line in enumerate(self._body) if _split(line)[0] == key.lower()]
        for index in reversed(where[1:] if value is not None else where):
            del self._body[index]
        if value is None:
            return
        text = f"{key} = {value}"
        if where:
            _before, hash_sign, comment = self._body[where[0]].partition("#")
            self._body[where[0]] = f"{text} {hash_sign}{comment}" if hash_sign else text
        else:
            self._body.insert(self._end_of_settings(), text)

    @property
    def name(self) -> str | None:
        """The peer's name, from the comment line ``# Name = ...``."""
        for line in self._body:
            match = _NAME.match(line.strip())
            if match:
                return match[1] or None
        return None

    def set_name(self, name: str) -> None:
        """Write the peer's name into its comment line."""
        self._forget()
        for index, line in enumerate(self._body):
            if _NAME.match(line.strip()):
                self._body[index] = f"# Name = {name}"
                return
        self._body.insert(0, f"# Name = {name}")

    @property
    def successor(self) -> PublicKey | None:
        """The key that comes after the peer's, from the comment line ``# Successor = ...``."""
        return next((key for _line, key in self._noted(_SUCCESSOR)), None)

    def set_successor(self, key: PublicKey | None) -> None:
        """Write the key that comes after the peer's into its comment line; None takes it away."""
        now = self.successor
        if now == key:
            return
        self._forget()
        if now is not None:
            self._drop([line for line, noted in self._noted(_SUCCESSOR) if noted == now])
        if key is not None:
            self._body.insert(self._below("publickey"), f"# Successor = {key}")

    @property
    def former_keys(self) -> list[PublicKey]:
        """The interface's keys of the past, the last one first: comments ``# Formerly = ...``."""
        return [key for _line, key in self._noted(_FORMERLY)]

    def add_former_key(self, key: PublicKey, now: PublicKey) -> None:
        """Note *key* as the one before *now*. The twelve last ones are kept, each once."""
        keys = dict.fromkeys([key, *(k for k in self.former_keys if k != now)])
        self._drop([line for line, _key in self._noted(_FORMERLY)])
        here = self._below("privatekey")
        self._body[here:here] = [f"# Formerly = {k}" for k in list(keys)[:_FORMER_KEYS_MAX]]

    def _noted(self, comment: re.Pattern[str]) -> t.Iterator[tuple[str, PublicKey]]:
        """Return the lines that are such a comment, and the keys in them."""
        for line in self._body:
            match = comment.match(line.strip())
            if match:
                # Else somebody else's comment.
                with contextlib.suppress(UsageError):
                    yield line, PublicKey.from_base64(match[1])

    def _drop(self, lines: t.Collection[str]) -> None:
        self._forget()
        self._body = [line for line in self._body if line not in lines]

    def _below(self, key: str) -> int:
        """Where a line goes that belongs to the setting *key*."""
        for index, line in enumerate(self._body):
            if _split(line)[0] == key:
                return index + 1
        return self._end_of_settings()

    def end_with_blank(self) -> None:
        """Set the section apart from what follows."""
        if not self._body or self._body[-1].strip():
            self._body.append("")

    def trim_end(self) -> None:
        """Take blank lines at the end away."""
        while self._body and not self._body[-1].strip():
            self._body.pop()

    def _forget(self) -> None:
        self._found = self.peer = None

    def _end_of_settings(self) -> int:
        used = [i for i, line in enumerate(self._body) if _split(line)[0] or _NAME.match(line)]
        return used[-1] + 1 if used else 0


class WgQuickFile:
    """The whole file.

    Args:
        source: What messages call it, usually its path.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._preamble: list[str] = []
        self._sections: list[Section] = []

    @classmethod
    def parse(cls, text: str, source: str) -> WgQuickFile:
        """Read a file.

        Raises:
            UsageError: wg-quick would not take it, or it has two sections of one peer or none of
                the interface. The message has the line but no value of a secret.
        """
        self = cls(source)
        lines = re.split(r"\r?\n", text)
        for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
            content = line.partition("#")[0].strip()
            if content.startswith("["):
                self._open(content, line, number)
            elif content and (not self._sections or "=" not in content):
                self._fail(number, "not a setting", "write it as 'Key = value' below a [Section]")
            elif self._sections:
                self._sections[-1].append(line)
            else:
                self._preamble.append(line)
        if len([s for s in self._sections if s.kind == INTERFACE]) != 1:
            raise UsageError(
                f"{source} does not have exactly one [Interface] section",
                "merge or mend its sections by hand",
            )
        self._check()
        return self

    @classmethod
    def new(cls, source: str) -> WgQuickFile:
        """Make a file with an empty ``[Interface]`` section."""
        self = cls(source)
        self._preamble = [
            f"{_MADE_HERE}, which leaves comments and all",
            "# settings that it was not asked to change as they are.",
            "",
        ]
        self._sections = [Section.new(INTERFACE)]
        return self

    def copy(self) -> WgQuickFile:
        """Return another file that says the same, to be edited apart from this one."""
        other = WgQuickFile(self.source)
        other._preamble = list(self._preamble)
        other._sections = [section.copy() for section in self._sections]
        return other

    @property
    def made_here(self) -> bool:
        """Whether the module has made the file, and has not adopted it."""
        return any(line.startswith(_MADE_HERE) for line in self._preamble)

    def render(self) -> str:
        """Return the file's text."""
        lines = self._preamble + [line for section in self._sections for line in section.lines()]
        return "\n".join(lines) + "\n"

    @property
    def interface(self) -> Section:
        """The ``[Interface]`` section."""
        return next(section for section in self._sections if section.kind == INTERFACE)

    def peer_sections(self) -> dict[PublicKey, Section]:
        """Return the ``[Peer]`` sections."""
        return {
            self._peer(section).public_key: section
            for section in self._sections
            if section.kind == PEER
        }

    def add_peer(self, key: PublicKey) -> Section:
        """Append a section for a peer."""
        self._sections[-1].end_with_blank()
        section = Section.new(PEER)
        section.set("PublicKey", key.base64)
        self._sections.append(section)
        return section

    def remove_peers(self, keys: t.Iterable[PublicKey]) -> None:
        """Remove the sections of peers, and the comments right above them."""
        sections = self.peer_sections()
        gone = {id(sections[key]) for key in keys}
        was_last = id(self._sections[-1]) in gone
        self._sections = [section for section in self._sections if id(section) not in gone]
        if was_last:
            self._sections[-1].trim_end()

    def interface_settings(self) -> InterfaceSettings:
        """Return what the ``[Interface]`` section says."""
        section = self.interface
        hooks = section.values("PreUp") + section.values("PostUp")
        key_files = [match[1] for match in map(_KEY_FILE_HOOK.search, hooks) if match]
        return InterfaceSettings(
            private_key=self._secret(section, "PrivateKey"),
            private_key_file=key_files[-1] if key_files else None,
            addresses=self._read(section, "Address", self._addresses),
            listen_port=self._read(section, "ListenPort", _number(0, 65535)),
            mtu=self._read(section, "MTU", _number(576, 65535)),
            fwmark=self._read(section, "FwMark", parse_mark),
            table=section.get("Table"),
            save_config=(section.get("SaveConfig") or "").lower() == "true",
        )

    def peers(self) -> dict[PublicKey, PeerSettings]:
        """Return what the ``[Peer]`` sections say, in the order of the file."""
        peers = [self._peer(section) for section in self._sections if section.kind == PEER]
        return {peer.public_key: peer for peer in peers}

    def _peer(self, section: Section) -> PeerSettings:
        if section.peer is None:
            section.peer = PeerSettings(
                public_key=PublicKey.from_base64(section.get("PublicKey") or ""),
                name=section.name,
                allowed_ips=self._read(section, "AllowedIPs", _networks),
                endpoint=section.get("Endpoint"),
                persistent_keepalive=self._read(section, "PersistentKeepalive", _keepalive),
                preshared_key=self._secret(section, "PresharedKey"),
                successor=section.successor,
            )
        return section.peer

    def _open(self, content: str, line: str, number: int) -> None:
        kind = content.strip("[]").strip().lower()
        if kind not in (INTERFACE, PEER):
            self._fail(number, f"unknown section {content}", "use [Interface] and [Peer]")
        lead = self._sections[-1].give_up_comments() if self._sections else []
        self._sections.append(Section(kind, line, number, lead))

    def _check(self) -> None:
        seen: dict[str, Section] = {}
        for section in self._sections:
            if section.kind != PEER:
                continue
            text = section.get("PublicKey")
            if text is None:
                self._fail(
                    section.line, "this [Peer] has no PublicKey", "add it or remove the peer"
                )
            try:
                key = PublicKey.from_base64(text).base64
            except UsageError as exc:
                self._fail(section.line, f"PublicKey: {exc.message}", exc.remedy)
            other = seen.setdefault(key, section)
            if other is not section:
                self._fail(
                    section.line,
                    f"this [Peer] has the same PublicKey as the one in line {other.line}",
                    "merge the two sections",
                )
        self.interface_settings()
        self.peers()

    def _read(self, section: Section, key: str, parse: t.Callable[[t.Any], t.Any]) -> t.Any:
        value = section.values(key) if key.lower() in _LISTS else section.get(key)
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as exc:
            self._fail(section.line, f"{key} of this section: {exc}", "correct the value")

    def _secret(self, section: Section, key: str) -> str | None:
        value = section.get(key)
        if value is not None:
            try:
                decode_base64_key(value)
            except ValueError as exc:
                self._fail(section.line, f"{key} of this section is no key: {exc}", "replace it")
        return value

    @staticmethod
    def _addresses(values: list[str]) -> tuple[Address, ...]:
        return tuple(ipaddress.ip_interface(value) for value in values)

    def _fail(self, line: int, message: str, remedy: str) -> t.NoReturn:
        raise UsageError(f"{self.source}:{line}: {message}", remedy)


def _networks(values: list[str]) -> tuple[str, ...]:
    # As wg does, mask host bits.
    return tuple(dict.fromkeys(str(ipaddress.ip_network(value, strict=False)) for value in values))


def masked(text: str, before: str = "") -> str:
    """Return a file's *text* with no secret in it, for a diff.

    Args:
        before: The text that it is compared with: where a secret is not also in there, the mask
            tells that it is new.
    """
    old = {_split(line) for line in before.splitlines()}
    shown = []
    for line in text.splitlines():
        key, value = _split(line)
        if key in SECRETS:
            note = "hidden" if not before or (key, value) in old else "hidden, changed"
            line = f"{line.partition('=')[0].rstrip()} = ({note})"
        shown.append(line)
    return "".join(f"{line}\n" for line in shown)


def _split(line: str) -> tuple[str, str]:
    """Return a line's key in lower case and its value; two empty texts for any other line."""
    content = line.partition("#")[0]
    key, equals, value = content.partition("=")
    return (key.strip().lower(), value.strip()) if equals else ("", "")


def _number(low: int, high: int) -> t.Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return parse


def parse_mark(text: str) -> int:
    """Read a firewall mark as wg does: ``off``, a decimal number or a hexadecimal one with 0x.

    Raises:
        ValueError: it is none.
    """
    word = text.lower()
    if word == "off":
        return 0
    digits, base = (word[2:], 16) if word.startswith("0x") else (word, 10)
    allowed = "0123456789abcdef"[:base]
    if not digits or digits.strip(allowed) or int(digits, base) > MARK_MAX:
        raise ValueError(f"{text!r} is not a firewall mark")
    return int(digits, base)


def _keepalive(text: str) -> int | None:
    return None if text.lower() == "off" else _number(0, 65535)(text) or None
