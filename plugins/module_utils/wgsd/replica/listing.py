# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that a zone says of its peers, asked once: by zone transfer, or else by browsing."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ..config import TsigKey
from ..directory import Directory, NoAnswerError
from ..errors import ServerError, UsageError
from ..keys import PublicKey
from ..model import Endpoint, Member, PeerRecord
from ..names import check_zone
from .fetch import fetch


@dataclasses.dataclass(frozen=True)
class Listing:
    """The peers of a zone.

    Attributes:
        zone: Absolute.
        server: Who said so.
        serial: The version of the zone, None if the server keeps no SOA at its apex.
        records: Sorted by name, then key.
        failures: Why there is no record for a peer that the zone lists.
        members: All members, with an endpoint or without; None if the zone was browsed, which
            tells only of peers that it lists.
    """

    zone: str
    server: Endpoint
    serial: int | None
    records: tuple[PeerRecord, ...]
    failures: t.Mapping[PublicKey, str]
    members: t.Mapping[PublicKey, Member] | None = None


def list_peers(
    zone: str,
    servers: t.Sequence[Endpoint],
    key: TsigKey | None = None,
    *,
    timeout: float | None = None,
    retries: int = 2,
    tcp: bool = False,
) -> Listing:
    """Ask the servers in turn, until one has told the whole zone.

    Args:
        zone: The zone's name.
        servers: Its DNS servers, the preferred one first.
        key: What to sign queries with; answers must then be signed too (RFC 8945).
        timeout: Seconds for each step, if not the usual ones of `fetch` and `Directory`.
        retries: How often those that are silent are asked again after the first time.
        tcp: Use TCP for browsing as well; a transfer always does (RFC 5936 section 4.2).

    Raises:
        UsageError: no server or a bad zone name.
        ServerError: none of them did; names each with its reason.
    """
    zone = check_zone(zone)
    if not servers:
        raise UsageError("there is no DNS server to ask", "name at least one server")
    patience: dict[str, t.Any] = {} if timeout is None else {"timeout": timeout}
    problems: dict[Endpoint, ServerError] = {}
    silent = list(dict.fromkeys(servers))
    for attempt in range(retries + 1):
        for server in list(silent):
            # What was not transferred the first time will not be the next time. Without a transfer
            # the list goes no further than one message, and costs a query a peer.
            if attempt == 0:
                with contextlib.suppress(ServerError):
                    return _transferred(zone, server, key, patience)
            try:
                return _browsed(zone, server, key, {**patience, "tcp": tcp}, retries)
            except NoAnswerError as exc:
                problems[server] = exc
            except ServerError as exc:
                problems[server] = exc
                silent.remove(server)
    if len(problems) == 1:
        raise next(iter(problems.values()))
    raise ServerError(
        "; ".join(problem.message for problem in problems.values()),
        "; or ".join(
            dict.fromkeys(problem.remedy for problem in problems.values() if problem.remedy)
        ),
    )


def _transferred(
    zone: str, server: Endpoint, key: TsigKey | None, patience: t.Mapping[str, t.Any]
) -> Listing:
    contents = fetch(zone, server, key, **patience)
    records = tuple(contents.browse())
    return Listing(zone, server, contents.serial, records, contents.failures, contents.members())


def _browsed(
    zone: str,
    server: Endpoint,
    key: TsigKey | None,
    options: t.Mapping[str, t.Any],
    retries: int,
) -> Listing:
    # One try, to find out soon whether there is anybody, and before the records, which then are
    # of this version or a newer one.
    try:
        version = Directory(zone, [server], key=key, retries=0, **options).serial()
    except NoAnswerError:
        raise
    except ServerError:
        version = None
    directory = Directory(zone, [server], key=key, retries=retries, **options)
    records = tuple(directory.browse())
    return Listing(zone, server, version.serial if version else None, records, directory.failures)
