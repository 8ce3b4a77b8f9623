# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the documentation fragment `zone`, checked: whom to ask for a zone, and how.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import socket
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils._zone_data import read_zone, signing_key
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import (
    DEFAULT_TSIG_ALGORITHM,
    TSIG_ALGORITHMS,
    TsigKey,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.directory import Directory
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import Endpoint, HostPort
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.names import check_zone
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.replica import Listing

#: Ansible's `Display.warning`.
Warn = t.Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Connection:
    """Whom to ask for a zone, and how.

    Attributes:
        zone: Absolute, lower case.
        servers: At least one.
        key: What queries are signed with; None for nothing.
        timeout: Seconds for each try at a server.
        retries: How often all servers are asked again.
        tcp: Whether TCP is used from the start.
    """

    zone: str
    servers: tuple[Endpoint, ...]
    key: TsigKey | None
    timeout: float
    retries: int
    tcp: bool

    @classmethod
    def from_options(cls, option: t.Callable[[str], t.Any], warn: Warn) -> Connection:
        """Check the options; names of servers are resolved.

        Args:
            option: Gives the value of an option, as a plugin's ``get_option``.
            warn: Told of servers that are left out.

        Raises:
            UsageError: one cannot be used; the message has its name.
        """
        timeout, retries = option("timeout"), option("retries")
        if not 0 < timeout < float("inf"):
            raise UsageError(f"timeout: {timeout:g} is out of range", "give more than 0 seconds")
        if retries < 0:
            raise UsageError(f"retries: {retries} is out of range", "give 0 or more")
        return cls(
            zone=check_zone(str(option("zone"))),
            servers=resolve_servers(option("server"), option("port"), warn),
            key=parse_tsig(option("tsig")),
            timeout=timeout,
            retries=retries,
            tcp=option("tcp"),
        )

    def directory(self) -> Directory:
        """Return what looks up single peers."""
        return Directory(
            self.zone,
            self.servers,
            timeout=self.timeout,
            retries=self.retries,
            tcp=self.tcp,
            key=self.key,
        )

    def listing(self) -> Listing:
        """Ask for the whole zone.

        Raises:
            ServerError: no server tells it, or the one that answers does not know it.
        """
        return read_zone(
            self.zone,
            self.servers,
            self.key,
            timeout=self.timeout,
            retries=self.retries,
            tcp=self.tcp,
        )


def render_variables(
    definitions: t.Mapping[str, t.Any],
    variables: t.Mapping[str, t.Any] | None,
    render: t.Callable[[t.Any], t.Any],
) -> dict[str, t.Any]:
    """Return the variables that set options, with their templates rendered.

    Ansible itself takes them as they are written, and checks their types before anybody can render
    them.

    Args:
        definitions: The plugin's options, as its ``option_definitions``.
        render: Such as the method ``template`` of Ansible's Templar.
    """
    names = {entry["name"] for option in definitions.values() for entry in option.get("vars", ())}
    return {
        name: render(value) for name in names if (value := (variables or {}).get(name)) is not None
    }


def resolve_servers(servers: t.Iterable[t.Any], port: int, warn: Warn) -> tuple[Endpoint, ...]:
    """Return the servers' addresses, each once.

    Args:
        servers: Addresses or host names, with a port or without.
        port: That of servers which are given without one.
        warn: Told of names that cannot be resolved, if any server is left.

    Raises:
        UsageError: neither an address nor a name; or no name can be resolved, and there is no
            address.
    """
    found: dict[Endpoint, None] = {}
    problems: list[UsageError] = []
    for server in servers:
        named = _parse_server(str(server), port)
        try:
            found.update(dict.fromkeys(_addresses(named)))
        except UsageError as exc:
            problems.append(exc)
    if not found:
        raise problems[0] if problems else UsageError("server: there is none", "name at least one")
    for problem in problems:
        warn(f"{problem.message}; it is left out")
    return tuple(found)


def _parse_server(text: str, default_port: int) -> Endpoint | HostPort:
    try:
        return Endpoint.parse(text, default_port=default_port)
    except UsageError as exc:
        host, _colon, port = text.strip().partition(":")
        if not any(c.isalpha() for c in host):
            raise UsageError(f"server: {exc.message}", exc.remedy) from None
    try:
        return HostPort.parse(f"{host}:{port or default_port}")
    except UsageError as exc:
        raise UsageError(f"server: {exc.message}", exc.remedy) from None


def _addresses(server: Endpoint | HostPort) -> list[Endpoint]:
    if isinstance(server, Endpoint):
        return [server]
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    except OSError as exc:
        raise UsageError(
            f"the server {server.host} cannot be found: {exc}", "give its address"
        ) from None
    return [Endpoint.make(str(info[4][0]), int(info[4][1])) for info in found]


def parse_tsig(value: t.Any) -> TsigKey | None:
    """Return the key of the option ``tsig``; None if it is empty.

    Raises:
        UsageError: it describes no key; the message shows no part of a secret.
    """
    if not value:
        return None
    if isinstance(value, t.Mapping):
        given = {str(name): str(part) for name, part in value.items() if part is not None}
    else:
        parts = str(value).split(":")
        if len(parts) not in (2, 3):
            raise UsageError(
                "tsig: it does not have the parts of a key",
                "write it as NAME:SECRET or ALGORITHM:NAME:SECRET, or as a dictionary",
            )
        given = dict(zip(("secret", "name", "algorithm"), reversed(parts)))
    others = given.keys() - {"name", "algorithm", "secret"}
    if others:
        raise UsageError(
            f"tsig.{min(others)} is not known here", "give 'name', 'algorithm' and 'secret'"
        )
    for name in ("name", "secret"):
        if not given.get(name):
            raise UsageError(f"tsig.{name} is missing", "see the documentation of the option tsig")
    algorithm = given.get("algorithm", DEFAULT_TSIG_ALGORITHM).lower().rstrip(".")
    if algorithm not in TSIG_ALGORITHMS:
        raise UsageError(
            f"tsig.algorithm: {algorithm!r} is not known",
            f"give one of: {', '.join(TSIG_ALGORITHMS)}",
        )
    return signing_key("tsig", {**given, "algorithm": algorithm})
