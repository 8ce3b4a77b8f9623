# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the responder has to be told for the sake of other servers that hold copies of its zones.

Private to this collection.
"""

from __future__ import annotations

import typing as t

from .wgsd.errors import UsageError

#: Who may ask for a zone and transfer it where nobody is named.
_NOBODY_NAMED = ("tunnel",)


def let_in(
    settings: t.Mapping[str, t.Any], secondaries: t.Sequence[t.Mapping[str, t.Any]]
) -> dict[str, t.Any]:
    """Return a configuration of the responder that serves and notifies *secondaries* too.

    Args:
        settings: The configuration without them.
        secondaries: Each has ``address``, ``port``, ``key`` (a name or None) and ``catalog``, which
            says whether it learns of the zones from the catalog zone.

    Raises:
        UsageError: one is to learn from a catalog zone, and there is none.
    """
    if not secondaries:
        return dict(settings)
    zones = [
        _served(zone, secondaries, is_listening="listen" in settings) for zone in settings["zones"]
    ]
    extended = {**settings, "zones": zones}
    learning = [secondary for secondary in secondaries if secondary["catalog"]]
    if learning and "catalog" not in settings:
        raise UsageError(
            f"the secondary {learning[0]['address']} is to learn from a catalog zone, "
            "and there is none",
            "name the catalog zone, or leave out its 'catalog'",
        )
    if learning:
        extended["catalog"] = _transferred(settings["catalog"], learning)
    return extended


def _served(
    zone: t.Mapping[str, t.Any],
    secondaries: t.Sequence[t.Mapping[str, t.Any]],
    *,
    is_listening: bool,
) -> dict[str, t.Any]:
    served = _transferred(zone, secondaries)
    # A secondary asks for the SOA before it transfers. Without a word on who may ask, and on the
    # tunnel addresses alone, it comes through the tunnel and may anyway.
    if "allow_query" in zone or is_listening:
        served["allow_query"] = _with(zone.get("allow_query", _NOBODY_NAMED), secondaries, _who)
    return served


def _transferred(
    zone: t.Mapping[str, t.Any], secondaries: t.Sequence[t.Mapping[str, t.Any]]
) -> dict[str, t.Any]:
    allowed = _with(zone.get("allow_transfer", _NOBODY_NAMED), secondaries, _who)
    return {
        **zone,
        "allow_transfer": allowed,
        "notify": _with(zone.get("notify", ()), secondaries, _server),
    }


def _with(
    given: t.Iterable[str],
    secondaries: t.Iterable[t.Mapping[str, t.Any]],
    word: t.Callable[[t.Mapping[str, t.Any]], str],
) -> list[str]:
    return list(dict.fromkeys([*given, *map(word, secondaries)]))


def _who(secondary: t.Mapping[str, t.Any]) -> str:
    """Return how access names a secondary: a key proves more than an address."""
    return f"key {secondary['key']}" if secondary["key"] else str(secondary["address"])


def _server(secondary: t.Mapping[str, t.Any]) -> str:
    address = secondary["address"]
    host = f"[{address}]" if ":" in address else address
    key = f" key {secondary['key']}" if secondary["key"] else ""
    return f"{host}:{secondary['port']}{key}"
