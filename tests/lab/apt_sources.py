# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where this machine gets Debian from, said anew for the suite of a lab's hosts.

The lab never names a mirror of its own: it uses the machine's apt sources, so that a proxy, a
company mirror or a snapshot that works for the machine works for the lab.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

SUITES = ("bookworm", "trixie")
_POCKETS = ("-updates", "-security")
_DEBIAN_SUITE = re.compile(
    r"^(?P<name>buster|bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable)"
    r"(?P<pocket>-updates|-security|)$"
)


@dataclass(frozen=True)
class Source:
    """One archive that apt reads: an address, the suite in it, and the key that signs it."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def line(self) -> str:
        """The source in apt's one-line format."""
        option = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {option}{self.uri} {self.suite} {' '.join(self.components)}"


def parse_list(text: str) -> list[Source]:
    """Sources of the one-line format (``sources.list``); ``deb-src`` lines are left out."""
    sources = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<rest>\S.*)", line.strip())
        if not match:
            continue
        uri, suite, *components = match["rest"].split("#", 1)[0].split()
        signed_by = re.search(r"signed-by=(\S+)", match["options"] or "")
        sources.append(
            Source(uri, suite, tuple(components), signed_by.group(1) if signed_by else "")
        )
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Sources of the paragraph format (``*.sources``); disabled paragraphs are left out."""
    sources = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        unfolded = re.sub(r"\n[ \t]+", " ", "\n".join(lines))
        fields = {
            name.strip().lower(): value.strip()
            for name, separator, value in (line.partition(":") for line in unfolded.splitlines())
            if separator
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        signed_by = fields.get("signed-by", "")
        if not signed_by.startswith("/"):  # a key inside the paragraph: Debian's keyring has it
            signed_by = ""
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                components = tuple(fields.get("components", "").split())
                sources.append(Source(uri, suite, components, signed_by))
    return sources


def read_machine(etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    """All sources that apt on this machine reads."""
    sources = []
    single = etc_apt / "sources.list"
    if single.exists():
        sources += parse_list(single.read_text(encoding="utf-8"))
    for path in sorted((etc_apt / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            sources += parse_list(path.read_text(encoding="utf-8"))
        elif path.suffix == ".sources":
            sources += parse_deb822(path.read_text(encoding="utf-8"))
    return sources


def for_suite(suite: str, machine: list[Source]) -> list[Source]:
    """The machine's Debian sources, with ``suite`` in place of the machine's own release.

    :raises LabError: when the machine has no Debian source to take the mirror from
    """
    found: dict[str, Source] = {}
    for source in machine:
        match = _DEBIAN_SUITE.match(source.suite)
        if match and "main" in source.components:
            pocket = match["pocket"]
            signed_by = source.signed_by if Path(source.signed_by).exists() else ""
            found.setdefault(
                pocket, Source(_resolve(source.uri), f"{suite}{pocket}", ("main",), signed_by)
            )
    if "" not in found:
        raise LabError(
            "no Debian archive among this machine's apt sources (/etc/apt/sources.list*), so "
            "the lab does not know where to get its hosts' packages from; add a Debian source "
            "there, e.g. with `Components: main` and `Suites: bookworm`"
        )
    return [found[pocket] for pocket in ("", *_POCKETS) if pocket in found]


def _resolve(uri: str) -> str:
    """``uri``, or the first mirror of the list that a ``mirror+file:`` address names.

    Debian's cloud images use such lists; mmdebstrap takes plain addresses only.
    """
    if not uri.startswith("mirror+file:"):
        return uri
    mirrors = Path(uri[len("mirror+file:") :]).read_text(encoding="utf-8").split()
    if not mirrors:
        raise LabError(f"{uri} of this machine's apt sources names no mirror")
    return mirrors[0]
