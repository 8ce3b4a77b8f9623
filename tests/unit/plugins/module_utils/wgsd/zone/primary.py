# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A primary that goes from version to version, and dnspython as its secondary."""

from __future__ import annotations

import functools
import itertools
import typing as t

import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone

from tests.unit.plugins.module_utils.wgsd.zone.asking import NOW, ZONE, content, interface_index
from wgsd.config import ResponderSettings, TsigKey, ZoneSettings
from wgsd.zone.answers import Authority, Reply
from wgsd.zone.history import History
from wgsd.zone.records import Zone, build
from wgsd.zone.served import Context
from wgsd.zone.signing import Signer
from wgsd.zone.version import Chain, Content, Delta, Instance, Version

ORIGIN = dns.name.from_text(ZONE)
#: Owner, type, TTL and data of a record, the names as text.
Line = tuple[str, str, int, str]


class Primary:
    """Serves a zone as a worker does: from the deltas that lead from version to version."""

    def __init__(
        self,
        start: Content,
        serial: int = 100,
        keys: t.Sequence[TsigKey] = (),
        signer: Signer | None = None,
        **settings: t.Any,
    ) -> None:
        self.now = float(NOW)
        self._signer = signer
        self.chain = Chain(Version(ZONE, serial - 1))
        self.chain.step(self._sealed(Version(ZONE, serial, start).whole()))
        self.authority = Authority(
            ResponderSettings(
                (ZoneSettings(ZONE, "wg0", **settings),), keys={key.name: key for key in keys}
            ),
            bytes(16),
            wall=lambda: self.now,
            interface_index=interface_index,
        )
        self.restart()

    def restart(self) -> None:
        """Begin anew with nothing but the chain."""
        newest = self.chain.newest
        self.history = History.of(self.chain)
        self._serve(build(ZONE, newest.serial, newest.content, newest.seals))

    def step(self, *changed: Instance, **fields: t.Any) -> None:
        """Go on to the next serial."""
        before = self.zone
        fields.setdefault("addresses", self.chain.newest.content.addresses)
        plain = Delta(ZONE, self.chain.newest.serial + 1, changed=changed, **fields)
        delta = self._sealed(plain)
        self.chain.step(delta)
        self.history.step(before, delta)
        self._serve(before.after(delta))

    def _sealed(self, delta: Delta) -> Delta:
        return self._signer.seal(self.chain.newest, delta) if self._signer else delta

    def _serve(self, zone: Zone) -> None:
        self.zone = zone
        difference = functools.partial(self.history.difference, zone)
        self.authority.serve(ORIGIN, zone, difference)

    def ask(self, query: bytes, **context: t.Any) -> Reply:
        """Hand over a query, unless *context* says otherwise by TCP out of the tunnel."""
        inside = {"source": "10.0.0.1", "local": self.chain.newest.content.addresses[0]}
        reply = self.authority.respond(query, Context(**{**inside, "tcp": True, **context}))
        assert reply is not None
        return reply

    def transfer(
        self, held: dns.zone.Zone | None = None, serial: int | None = None, **context: t.Any
    ) -> dns.zone.Zone:
        """Have dnspython bring its copy up to date, by IXFR if it holds one."""
        query = transfer_query(serial)
        copy = held or dns.zone.Zone(ORIGIN)
        take(copy, query, self.ask(query.to_wire(), **context), serial)
        return copy


def transfer_query(serial: int | None = None, **options: t.Any) -> dns.message.Message:
    """A query for all, or for what has changed since *serial*."""
    if serial is None:
        return dns.message.make_query(ZONE, "AXFR", **options)
    query = dns.message.make_query(ZONE, "IXFR", **options)
    soa = f"ns1.{ZONE} hostmaster.{ZONE} {serial} 1 1 1 1"
    rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SOA, soa)
    rrset = query.find_rrset(query.authority, ORIGIN, rdata.rdclass, rdata.rdtype, create=True)
    rrset.add(rdata, 0)
    return query


def messages_of(query: dns.message.Message, reply: Reply) -> list[dns.message.Message]:
    """All messages of a transfer as dnspython reads them, their signatures checked as a chain."""
    context, messages = None, []
    for wire in itertools.chain([reply.wire], reply.rest or ()):
        message = dns.message.from_wire(
            wire,
            keyring=query.keyring,
            request_mac=query.mac,
            xfr=True,
            origin=ORIGIN,
            tsig_ctx=context,
            multi=True,
            one_rr_per_rrset=True,
        )
        context = message.tsig_ctx
        messages.append(message)
    return messages


def take(
    copy: dns.zone.Zone,
    query: dns.message.Message,
    reply: Reply,
    serial: int | None = None,
    udp: bool = False,
) -> None:
    """Have dnspython read a transfer to its end, which must be where the last message ends."""
    rdtype = dns.rdatatype.AXFR if serial is None else dns.rdatatype.IXFR
    with dns.xfr.Inbound(copy, rdtype, serial, is_udp=udp) as inbound:
        done = [inbound.process_message(message) for message in messages_of(query, reply)]
    assert done == [False] * (len(done) - 1) + [True]


def lines_of(copy: dns.zone.Zone) -> set[Line]:
    """The records of a copy, each name in full."""
    return {
        (
            name.derelativize(ORIGIN).to_text(),
            dns.rdatatype.to_text(rdata.rdtype),
            ttl,
            rdata.to_text(origin=ORIGIN, relativize=False),
        )
        for name, ttl, rdata in copy.iterate_rdatas()
    }


def lines(zone: Zone) -> set[Line]:
    """The records of a zone of ours, read out of it one by one."""
    found = set()
    for owner in zone.owners():
        name = dns.name.from_text(owner or "@", ORIGIN).to_text()
        for rdtype, ttl, wire in zone.records_at(owner):
            rdata = dns.rdata.from_wire(dns.rdataclass.IN, rdtype, wire, 0, len(wire))
            found.add((name, dns.rdatatype.to_text(rdtype), ttl, rdata.to_text()))
    return found


def primary(*instances: Instance, **fields: t.Any) -> Primary:
    """A primary of a zone with these instances."""
    return Primary(content(*instances), **fields)
