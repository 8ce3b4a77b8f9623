# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server that a zone is published in, told by dynamic update (RFC 2136) over TCP."""

from __future__ import annotations

import logging
import typing as t

from ..config import PublishTarget, TsigKey
from ..errors import ServerError
from ..names import service_name
from ..thirdparty import dns, dns_query
from ..zone.publication import Change, Names, names_in, names_listed, update

log = logging.getLogger(__name__)

#: Seconds for the answer to a message, and for a whole transfer.
TIMEOUT, TRANSFER_TIMEOUT = 5.0, 300.0
#: What to look at, by the rcode of a server that does not do what it is asked.
_REMEDIES = {
    "REFUSED": (
        "have it allow updates below _wireguard._udp with this key; BIND needs 'check-names ignore'"
        " for the zone besides, since peers' names are not those of hosts"
    ),
    "NOTAUTH": "check that it is the primary server of that zone, and has the key",
    "NOTIMP": "it takes no dynamic updates; name a server that does",
    "SERVFAIL": (
        "see its log; by default BIND takes 100 records of a type at a name, and there is a PTR"
        " record for each peer: raise 'max-records-per-type'"
    ),
}


class Target:
    """The server of a target. It is waited for: whoever asks has a process of its own."""

    def __init__(self, target: PublishTarget, key: TsigKey | None) -> None:
        """Contact nobody yet.

        Args:
            key: What to sign with; None for nothing.
        """
        self._at = target.server.endpoint
        self._zone = target.zone
        self._key = None if key is None else dns.tsig.Key(key.name, key.secret, key.algorithm)
        self._told = False

    def __str__(self) -> str:
        return f"zone {self._zone} at {self._at}"

    def look(self) -> Names:
        """Return what the zone has of our names, by a transfer, else by the list of peers.

        Raises:
            ServerError: there is no telling.
        """
        try:
            return names_in(self._zone, self._transfer())
        # Knot says to a key that may do less that it does not know it.
        except (dns.xfr.TransferError, dns.tsig.PeerBadKey, EOFError) as exc:
            if not self._told:
                log.warning(
                    "publish: %s cannot be transferred (%s): of peers that went while this was not"
                    " running their friendly names may stay there, and those without an endpoint;"
                    " allow the transfer with the same key",
                    self,
                    exc or "connection closed",
                )
            self._told = True
        except (dns.exception.DNSException, OSError) as exc:
            raise self._failed(exc) from None
        query = dns.message.make_query(service_name(self._zone), "PTR")
        return names_listed(self._zone, self._ask(query, "NOERROR", "NXDOMAIN"))

    def change(self, batch: t.Sequence[Change]) -> None:
        """Make changes, all or none of them.

        Raises:
            ServerError: the server has not made them, or has not said so.
        """
        self._ask(update(self._zone, batch), "NOERROR")

    def _transfer(self) -> t.Iterable[dns.message.Message]:
        signed: dict[str, t.Any] = {}
        if self._key:
            name, algorithm = self._key.name, self._key.algorithm
            signed = {"keyring": {name: self._key}, "keyname": name, "keyalgorithm": algorithm}
        messages: t.Iterable[dns.message.Message] = dns_query.xfr(
            self._at.address,
            self._zone,
            port=self._at.port,
            timeout=TIMEOUT,
            lifetime=TRANSFER_TIMEOUT,
            relativize=False,
            **signed,
        )
        return messages

    def _ask(self, message: dns.message.Message, *good: str) -> dns.message.Message:
        if self._key:
            message.use_tsig(self._key)
        try:
            answer = dns_query.tcp(message, self._at.address, TIMEOUT, self._at.port)
        except (dns.exception.DNSException, OSError, EOFError) as exc:
            raise self._failed(exc) from None
        rcode = dns.rcode.to_text(answer.rcode())
        if rcode not in good:
            raise ServerError(f"{self} says {rcode}", _REMEDIES.get(rcode, "see its log"))
        if self._key and not answer.had_tsig:
            raise ServerError(
                f"{self} gives answers that are not signed", "check what answers at that address"
            )
        return answer

    def _failed(self, reason: Exception) -> ServerError:
        told = str(reason) or "connection closed"
        if isinstance(reason, (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadTime)):
            return ServerError(
                f"{self}: the signature is not good: {told}",
                "give the key the same name, algorithm and secret on both sides; set both clocks",
            )
        return ServerError(
            f"{self} does not answer: {told}", "check that it takes DNS over TCP from here"
        )
