# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the responder on this host answers: the SOA of each zone, on each address.

Private to this collection.
"""

from __future__ import annotations

import time
import typing as t

from .wgsd.config import DNS_PORT, ResponderSettings
from .wgsd.device import link
from .wgsd.errors import ServerError
from .wgsd.model import Endpoint
from .wgsd.thirdparty import dns, dns_query

_TRY = 1.0
_PAUSE = 0.1
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def listened_on(
    settings: ResponderSettings, addresses_of: t.Callable[[str], t.Iterable[t.Any]] = link.addresses
) -> list[Endpoint]:
    """Return the addresses to ask at: those given, else port 53 of the tunnel addresses."""
    if settings.listen:
        return [Endpoint(_LOOPBACK.get(e.address, e.address), e.port) for e in settings.listen]
    devices = dict.fromkeys(zone.device for zone in settings.zones)
    return [
        Endpoint(str(address.ip), DNS_PORT)
        for device in devices
        for address in addresses_of(device)
        if not address.ip.is_link_local
    ]


def await_answers(
    settings: ResponderSettings, servers: t.Iterable[Endpoint], timeout: float
) -> None:
    """Wait until all zones are answered for at all *servers*, at most *timeout* seconds.

    Raises:
        ServerError: one of them is not.
    """
    deadline = time.monotonic() + timeout
    for server in servers:
        for zone in settings.zones:
            problem = _ask(server, zone.zone)
            while problem and time.monotonic() < deadline:
                time.sleep(_PAUSE)
                problem = _ask(server, zone.zone)
            if problem:
                raise ServerError(
                    f"{server} does not answer for {zone.zone}: {problem}",
                    f"ask it yourself: dig @{server.host} -p {server.port} {zone.zone} SOA",
                )


def _ask(server: Endpoint, zone: str) -> str:
    """Return what is wrong with the answer, empty for nothing."""
    query = dns.message.make_query(zone, "SOA")
    try:
        response = dns_query.udp(query, server.host, port=server.port, timeout=_TRY)
    except (OSError, dns.exception.DNSException) as exc:
        return str(exc) or type(exc).__name__
    # Who is not let in is answered too, and this host need not be.
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.REFUSED):
        return dns.rcode.to_text(response.rcode())
    return ""
