# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last versions of each zone, and what must hold for a zone transfer of any of them."""

from __future__ import annotations

import collections
import typing as t

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from wgsd.zone.transfer import Transferable

SOA, IXFR = dns.rdatatype.SOA, dns.rdatatype.IXFR
#: Versions of a zone that are known.
VERSIONS = 30
#: Where an SOA record's data has the serial, from its end.
_SERIAL = slice(-20, -16)


class Row(t.NamedTuple):
    """A record with its owner's labels and its data in canonical form."""

    owner: tuple[bytes, ...]
    rdtype: int
    ttl: int
    data: bytes

    @property
    def serial(self) -> int:
        """Of an SOA record."""
        assert self.rdtype == SOA, "no SOA record where one has to be"
        return int.from_bytes(self.data[_SERIAL], "big")


class Ledger:
    """Knows what each version had, so that transfers can be held against them.

    Attributes:
        kinds: Counts of what was looked at.
    """

    def __init__(self, keys: t.Any) -> None:
        """Start with nothing; *keys* is what dnspython checks signatures with."""
        self.kinds: collections.Counter[str] = collections.Counter()
        self._keys = keys
        self._versions: dict[dns.name.Name, dict[int, frozenset[Row]]] = {}
        self._newest: dict[dns.name.Name, int] = {}

    def note(self, zone: Transferable) -> None:
        """Remember the newest version of a zone."""
        rows = frozenset(
            Row(dns.name.from_text(owner, zone.origin).labels, rdtype, ttl, data)
            for owner in dict.fromkeys(zone.owners())
            for rdtype, ttl, data in zone.records_at(owner)
            if rdtype != SOA
        )
        versions = self._versions.setdefault(zone.origin, {})
        versions[zone.serial] = rows
        self._newest[zone.origin] = zone.serial
        if len(versions) > VERSIONS:
            del versions[next(iter(versions))]

    def check(self, packet: bytes, messages: t.Sequence[bytes], *, tcp: bool) -> None:
        """Look at all messages of a transfer.

        Raises:
            AssertionError: says what is wrong with them.
            dns.exception.DNSException: they are no DNS messages, or not signed as they must be.
        """
        assert tcp or len(messages) == 1, "a transfer of several datagrams"
        # What its options say does not matter, and dnspython would not take all of them.
        query = dns.message.from_wire(packet, keyring=False, continue_on_error=True)
        (question,) = query.question
        held = query.authority[0][0].serial if question.rdtype == IXFR else None
        newest = self._newest[question.name]
        now = self._versions[question.name][newest]
        first, *rows = self._rows(query, messages)
        self.kinds["signed"] += query.had_tsig
        self.kinds["several messages"] += len(messages) > 1
        assert first.serial == newest, "it begins with another version"
        if not rows:
            self.kinds["current"] += 1
            assert held is not None, "a whole zone of one record"
            return
        assert rows.pop().serial == newest, "it ends with another version"
        older = held is None or (held - newest) % (1 << 32) >= 1 << 31
        assert older, "records for who has this version, or a later one (RFC 1982)"
        parts: list[list[Row]] = [[]]
        serials = []
        for row in rows:
            if row.rdtype == SOA:
                serials.append(row.serial)
                parts.append([])
            else:
                parts[-1].append(row)
        sets = [frozenset(part) for part in parts]
        assert [*map(len, sets)] == [*map(len, parts)], "a record twice"
        if not serials:
            self.kinds["whole"] += 1
            assert sets == [now], "not all that the version has"
            return
        assert serials == [held, newest], "a difference between other versions"
        assert not parts[0], "records before the first of the two versions"
        self.kinds["difference"] += 1
        before = self._versions[question.name].get(t.cast("int", held))
        if before is not None:
            self.kinds["difference from a known version"] += 1
            _nothing, gone, come = sets
            assert gone <= before, "it takes away what was not there"
            assert not come & before, "it adds what was there"
            assert before - gone | come == now, "it leads elsewhere"

    def _rows(self, query: dns.message.Message, messages: t.Sequence[bytes]) -> list[Row]:
        """Return the records of all messages in their order."""
        rows = []
        context = None
        for number, wire in enumerate(messages):
            # This is what checks the signatures.
            message = dns.message.from_wire(
                wire,
                keyring=self._keys,
                request_mac=query.mac or b"",
                xfr=True,
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=True,
            )
            context = message.tsig_ctx
            assert message.had_tsig == query.had_tsig, "signed or not, unlike the query"
            assert message.id == query.id, "another query's ID"
            assert message.rcode() == dns.rcode.NOERROR, "an error among a zone's records"
            assert message.flags & dns.flags.QR, "not marked as a response"
            assert message.flags & dns.flags.AA, "without authority"
            assert not message.authority, "records in another section"
            assert not message.additional, "records in another section"
            assert message.answer, "a message without records"
            assert bool(message.question) == (not number), "the question is in the first message"
            for rrset in message.answer:
                labels = tuple(label.lower() for label in rrset.name.labels)
                data = rrset[0].to_digestable()
                rows.append(Row(labels, int(rrset.rdtype), rrset.ttl, data))
        return rows
