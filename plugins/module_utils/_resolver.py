# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How systemd-resolved asks about a zone: a link's settings, and what keeps them; pure.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing as t

from .wgsd.errors import UsageError
from .wgsd.model import Endpoint

UNITS = pathlib.Path("/etc/systemd/system")
COMMAND = "/usr/bin/resolvectl"
DNS_PORT = 53
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HEAD = re.compile(r"^(?:Link \d+ \(.*?\)|Global):")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What systemd-resolved knows of a link, or is to know.

    Attributes:
        servers: As ``resolvectl dns`` shows them.
        domains: As ``resolvectl domain`` does; with a tilde, what to ask these servers about.
        default_route: Whether to ask them about everything else as well.
        dnssec: ``no``, ``yes`` or ``allow-downgrade``; None to leave it as it is.
    """

    servers: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    default_route: bool = True
    dnssec: str | None = None

    def verbs(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the verbs of ``resolvectl`` that make it so, with their arguments.

        Servers come last: with servers and no domains a link is asked about everything.
        """
        found = [
            ("default-route", ("yes" if self.default_route else "no",)),
            ("domain", self.domains),
        ]
        if self.dnssec is not None:
            found.append(("dnssec", (self.dnssec,)))
        return [*found, ("dns", self.servers)]


def wanted(zone: str, servers: t.Iterable[str], *, turn_dnssec_off: bool) -> Settings:
    """Return the settings by which *servers* are asked about *zone*, and about nothing else.

    Raises:
        UsageError: zone or servers cannot be used.
    """
    addresses = tuple(map(_server, servers))
    if not addresses:
        raise UsageError("servers: there is none", "give the registries' tunnel addresses")
    return Settings(
        servers=addresses,
        domains=(f"~{_zone(zone)}",),
        default_route=False,
        dnssec="no" if turn_dnssec_off else None,
    )


def _zone(text: str) -> str:
    zone = text[:-1] if text.endswith(".") else text
    if len(zone) > 253 or not all(map(_LABEL.fullmatch, zone.split("."))):
        raise UsageError(f"zone: {text!r} is not the name of a zone", "write it as example.com.")
    return zone.lower()


def _server(text: str) -> str:
    endpoint = Endpoint.parse(text, default_port=DNS_PORT)
    return endpoint.host if endpoint.port == DNS_PORT else str(endpoint)


def unit(interface: str) -> str:
    """Return the unit that brings *interface* up."""
    return f"wg-quick@{interface}.service"


def path(interface: str) -> pathlib.Path:
    """Return where the drop-in for *interface* lies."""
    return UNITS / f"{unit(interface)}.d" / "wgsd-resolver.conf"


def drop_in(interface: str, settings: Settings) -> str:
    """Return the drop-in that makes *settings* whenever *interface* comes up.

    An interface comes up without a resolver too, so whatever fails is ignored.
    """
    commands = [
        f"ExecStartPost=-{COMMAND} {verb} {interface} {' '.join(arguments)}\n"
        for verb, arguments in settings.verbs()
    ]
    return (
        "# Written by the Ansible collection wgsd.mesh: changes will be lost.\n"
        "# systemd-resolved asks the registries about the mesh, and nobody else.\n"
        f"[Service]\n{''.join(commands)}"
    )


def parse(output: str) -> tuple[str, ...]:
    """Read the values that ``resolvectl VERB`` shows for a link; of several, for the first."""
    found: list[str] = []
    for number, line in enumerate(output.splitlines()):
        head = _HEAD.match(line)
        if head and number:
            break
        found += line[head.end() if head else 0 :].split()
    return tuple(found)


def due(have: Settings, want: Settings) -> list[tuple[str, tuple[str, ...]]]:
    """Return the verbs of ``resolvectl`` that lead from *have* to *want*, with their arguments."""
    there = dict(have.verbs())
    return [(verb, values) for verb, values in want.verbs() if there.get(verb) != values]


def shown(settings: Settings | None) -> str:
    """Return *settings* for a diff."""
    if settings is None or not (settings.servers or settings.domains):
        return ""
    return "".join(f"{verb} {' '.join(values)}\n" for verb, values in settings.verbs())
