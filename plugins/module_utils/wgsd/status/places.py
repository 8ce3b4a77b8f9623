# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which meshes this host has a part in, by all configurations that are there."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ..config import Instance, ResponderSettings, configured, load_client, load_responder
from ..errors import UsageError
from ..keys import PublicKey
from .peers import names_of

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Places:
    """What there is to show.

    Attributes:
        interfaces: The interfaces, those of clients first.
        clients: By interface, the client that is configured, and where.
        responders: The responders that are configured.
        problems: Configurations that are of no use.
    """

    interfaces: tuple[str, ...]
    clients: t.Mapping[str, tuple[Instance, pathlib.Path]] = dataclasses.field(default_factory=dict)
    responders: t.Mapping[Instance, ResponderSettings] = dataclasses.field(default_factory=dict)
    problems: tuple[UsageError, ...] = ()

    def names(self, interface: str) -> dict[PublicKey, str]:
        """Return what the peers of *interface* are called in the zones of this host."""
        names: dict[PublicKey, str] = {}
        for settings in self.responders.values():
            names.update(names_of(settings, interface))
        return names

    def server(self, interface: str) -> Instance | None:
        """Return the responder that serves *interface*; None if there is none."""
        for instance, settings in self.responders.items():
            if interface in (zone.device for zone in settings.zones):
                return instance
        return None


def find_places(folder: pathlib.Path) -> Places:
    """Return what the configurations in *folder* are for; a bad one hides no other.

    Raises:
        UsageError: there is none.
    """
    clients: dict[str, tuple[Instance, pathlib.Path]] = {}
    responders: dict[Instance, ResponderSettings] = {}
    problems: list[UsageError] = []

    def load(how: t.Callable[[pathlib.Path], T], path: pathlib.Path) -> T | None:
        try:
            return how(path)
        except UsageError as exc:
            problems.append(exc)
            return None

    for instance, path in configured("client", folder).items():
        client = load(load_client, path)
        if client:
            clients.setdefault(client.interface, (instance, path))
    for instance, path in configured("responder", folder).items():
        responder = load(load_responder, path)
        if responder:
            responders[instance] = responder
    if not (clients or responders or problems):
        raise UsageError(
            f"there is neither a client.yml nor a responder.yml in {folder}", "give --interface"
        )
    served = [zone.device for settings in responders.values() for zone in settings.zones]
    return Places(tuple(dict.fromkeys([*clients, *served])), clients, responders, tuple(problems))
