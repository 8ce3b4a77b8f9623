# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One zone transfer as its receiver sees it (RFC 5936, RFC 1995): messages only, no sockets."""

from __future__ import annotations

import functools
import typing as t

from ..directory import UDP_PAYLOAD
from ..errors import ServerError
from ..thirdparty import dns

if t.TYPE_CHECKING:
    Key = dns.tsig.Key
    Message = dns.message.Message
    Zone = dns.zone.Zone

#: Bit of the third byte of a message that tells responses from queries.
RESPONSE = 0x80


class NoTransferError(ServerError):
    """The server does not transfer the zone to us."""


class UseTcpError(ServerError):
    """The difference does not fit a datagram."""


class StartOverError(ServerError):
    """The server's versions do not lead on from ours: only the whole zone helps."""


class Transfer:
    """A question for what is new in a zone, or for all of it while we have none, and its answer.

    The zone changes when the transfer is complete, and not before.

    Attributes:
        wire: The query, to be sent as it is.
    """

    def __init__(self, zone: Zone, key: Key | None, *, over_udp: bool = False) -> None:
        """Make the query.

        Args:
            zone: What to bring up to date; it keeps its names absolute.
            key: What to sign with; then the answer must be signed as well.
            over_udp: Only for a zone that has a version already.
        """
        # The serial 0 stands for the one that the zone has.
        query, serial = dns.xfr.make_query(zone, 0, use_edns=0, payload=UDP_PAYLOAD)
        if key is not None:
            query.use_tsig(key)
        self.wire = query.to_wire()
        self._query = query
        self._zone = zone
        # A commit puts another mapping in its place, so this one stays as it is.
        self._before = zone.nodes
        self._rdtype = query.question[0].rdtype
        self._over_udp = over_udp
        self._inbound = dns.xfr.Inbound(zone, self._rdtype, serial, over_udp)
        self._context: t.Any = None
        self._begun = False

    def answers(self, wire: bytes) -> bool:
        """Whether *wire* claims to be a response to our query."""
        return len(wire) > 2 and wire[:2] == self.wire[:2] and bool(wire[2] & RESPONSE)

    def feed(self, wire: bytes) -> bool:
        """Take the next message of the answer; return whether it was the last one.

        Raises:
            NoTransferError: the server says that it does not transfer, or does not know how.
            UseTcpError: only over UDP.
            StartOverError: the zone's history has no way from our version.
            ServerError: the message is malformed, badly signed, or says that the server failed.
        """
        try:
            return self._feed(wire)
        except ServerError:
            self._undo()
            raise

    def _feed(self, wire: bytes) -> bool:
        if not self.answers(wire):
            raise ServerError("it answers another question", "check what listens at that address")
        try:
            return self._process(wire)
        except dns.xfr.UseTCP:
            raise UseTcpError("the difference does not fit a datagram") from None
        except dns.xfr.SerialWentBackwards:
            raise StartOverError("its serial is older than ours") from None
        except dns.xfr.TransferError as exc:
            rcode = dns.rcode.to_text(exc.rcode).lower()
            if exc.rcode == dns.rcode.SERVFAIL:
                raise ServerError(f"it failed ({rcode})", "see the server's log") from None
            raise NoTransferError(
                f"it does not transfer the zone ({rcode})", "check the server's allow_transfer"
            ) from None
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadTime) as exc:
            raise ServerError(str(exc), "check the key on both sides, and their clocks") from None
        except (dns.exception.DNSException, ValueError, LookupError) as exc:
            text = f"its transfer is malformed ({exc or type(exc).__name__})"
            # A difference that does not fit what we have says that we have something else.
            kind = StartOverError if self._rdtype == dns.rdatatype.IXFR else ServerError
            raise kind(text, "check what listens at that address") from None

    def _process(self, wire: bytes) -> bool:
        message = dns.message.from_wire(
            wire,
            keyring=self._query.keyring,
            request_mac=self._query.mac or b"",
            xfr=True,
            origin=None,
            tsig_ctx=self._context,
            multi=not self._over_udp,
            one_rr_per_rrset=self._rdtype == dns.rdatatype.IXFR,
        )
        signed = message.had_tsig or not self._query.had_tsig
        if message.rcode() == dns.rcode.NOERROR:
            if not self._begun and not signed:
                raise ValueError("it is not signed")
            if self._over_udp and message.flags & dns.flags.TC:
                raise dns.xfr.UseTCP
            if not self._begun and not message.answer:
                raise NoTransferError("it answers, yet does not transfer the zone")
        self._begun = True
        answer = message.answer
        if self._rdtype == dns.rdatatype.IXFR:
            answer = _merged(answer)
        message.answer = [_handed_over(rrset) for rrset in answer]
        done = self._inbound.process_message(message)
        for records in message.answer:
            # The zone has them under a name of its own.
            del records.name
        if done and not signed:
            raise ValueError("its end is not signed")
        self._context = message.tsig_ctx
        return done

    def abort(self) -> None:
        """Leave the zone as it was, if the transfer is not complete."""
        if not self._inbound.done:
            self._undo()

    def _undo(self) -> None:
        transaction, self._inbound.txn = self._inbound.txn, None
        if transaction is not None:
            transaction.rollback()
        # dnspython commits at what looks like the end, and finds what is wrong with it afterwards.
        self._zone.nodes = self._before


def _merged(answer: t.Iterable[dns.rrset.RRset]) -> list[dns.rrset.RRset]:
    """Return a difference with the records of one name and type together, between two SOAs.

    To take one of 10,000 records out of a set costs dnspython 0.3 s, and all of them no more.
    """
    merged: list[dns.rrset.RRset] = []
    sets: dict[tuple[t.Any, ...], dns.rrset.RRset] = {}
    for rrset in answer:
        kind = (rrset.name, rrset.rdtype, rrset.covers)
        if rrset.rdtype == dns.rdatatype.SOA:
            sets.clear()
        elif kind in sets:
            sets[kind].update(rrset)  # type: ignore[no-untyped-call]
            continue
        else:
            sets[kind] = rrset
        merged.append(rrset)
    return merged


def _handed_over(rrset: dns.rrset.RRset) -> t.Any:
    """Return the records of *rrset* as a set that a transaction takes as it is.

    Of an RRset it makes a copy, and for that encodes every record once more: a fifth of what a
    whole zone takes.
    """
    records = _named_rdataset()(rrset.rdclass, rrset.rdtype, rrset.covers, rrset.ttl)
    records.name, records.items = rrset.name, rrset.items
    return records


@functools.cache
def _named_rdataset() -> type[t.Any]:
    """Return the class of sets of records that know their owner and yet are no RRsets."""

    class NamedRdataset(dns.rdataset.Rdataset):
        __slots__ = ("name",)

    return NamedRdataset
