# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of a zone, and a validator of its own make that believes nothing but them."""

from __future__ import annotations

import typing as t

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.unit.plugins.module_utils.wgsd.zone.asking import ZONE
from wgsd.zone.records import Zone, build
from wgsd.zone.signing import ZoneKey
from wgsd.zone.version import Record, Version

ORIGIN = dns.name.from_text(ZONE)
IN = dns.rdataclass.IN
ANY = dns.rdatatype.ANY


def zone_key(until: float | None = None, secret: int | None = None) -> ZoneKey:
    """A key that nobody else has, or the one that belongs to *secret*."""
    if secret is None:
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = ec.derive_private_key(secret, ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(private.public_key(), dns.dnssec.ECDSAP256SHA256, 257)

    def sign(data: bytes) -> bytes:
        numbers = utils.decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in numbers)

    return ZoneKey(dnskey.to_wire(), dns.dnssec.key_id(dnskey), sign, until)


class Validator:
    """Raises `dns.dnssec.ValidationFailure` for what it does not believe."""

    def __init__(self, *keys: ZoneKey, now: float) -> None:
        self.now = now
        self._keys = {ORIGIN: dns.rrset.RRset(ORIGIN, IN, dns.rdatatype.DNSKEY)}
        for key in keys:
            self._keys[ORIGIN].add(rdata(Record(dns.rdatatype.DNSKEY, 0, key.dnskey)))

    def check(self, rrset: dns.rrset.RRset, signatures: dns.rrset.RRset) -> None:
        """Believe an RRset."""
        assert {signature.original_ttl for signature in signatures} >= {rrset.ttl} or rrset.ttl == 5
        assert signatures.ttl == rrset.ttl
        dns.dnssec.validate(rrset, signatures, self._keys, now=self.now)

    def check_zone(self, zone: Zone) -> None:
        """Believe all of a zone: each RRset, and that the names are linked in order."""
        nsec = {}
        for owner in dict.fromkeys(zone.owners()):
            sets = rrsets(zone, owner)
            signatures = {covered: sets.pop((46, covered)) for _type, covered in [*sets] if covered}
            assert {rdtype for rdtype, _covered in sets} == set(signatures)
            for (rdtype, _covered), rrset in sets.items():
                self.check(rrset, signatures[rdtype])
            if sets:
                (link,) = sets[dns.rdatatype.NSEC, 0]
                nsec[name_of(owner)] = link.next
                assert types_in(link) == {*signatures, dns.rdatatype.RRSIG}
        names = sorted(nsec)
        assert names[0] == ORIGIN
        assert [nsec[name] for name in names] == [*names[1:], names[0]]
        assert {name_of(owner) for owner in zone.seals} == set(names)

    def check_response(self, response: dns.message.Message) -> None:
        """Believe a whole response of ours: all records, and that what is missing is missing."""
        name, rdtype = response.question[0].name, response.question[0].rdtype
        nsec: dict[dns.name.Name, t.Any] = {}
        for section in (response.answer, response.authority, response.additional):
            for rrset in section:
                if rrset.rdtype == dns.rdatatype.RRSIG:
                    continue
                covering = response.find_rrset(
                    section, rrset.name, IN, dns.rdatatype.RRSIG, rrset.rdtype
                )
                self.check(rrset, covering)
                if section is response.authority and rrset.rdtype == dns.rdatatype.NSEC:
                    nsec[rrset.name] = rrset[0]
        for rrset in response.answer:
            if rrset.rdtype == dns.rdatatype.CNAME and rdtype != dns.rdatatype.CNAME:
                name = rrset[0].target
        if response.rcode() == dns.rcode.NXDOMAIN:
            self._check_denial(nsec, name)
        elif not any(rrset.rdtype == rdtype or rdtype == ANY for rrset in response.answer):
            link = nsec.get(name)
            if link is not None:
                assert not types_in(link) & {rdtype, dns.rdatatype.CNAME}
            else:
                # An empty non-terminal: the next name is below it.
                assert any(is_between(owner, name, one.next) for owner, one in nsec.items())
                assert any(one.next.is_subdomain(name) for one in nsec.values())

    @staticmethod
    def _check_denial(nsec: t.Mapping[dns.name.Name, t.Any], name: dns.name.Name) -> None:
        covering = [o for o, link in nsec.items() if is_between(o, name, link.next)]
        assert len(covering) == 1
        ends = (covering[0], nsec[covering[0]].next)
        encloser = max(name.fullcompare(end)[2] for end in ends)
        wildcard = dns.name.Name((b"*", *name.labels[-encloser:]))
        assert any(is_between(o, wildcard, link.next) for o, link in nsec.items())


def is_between(owner: dns.name.Name, name: dns.name.Name, following: dns.name.Name) -> bool:
    """Whether an NSEC record from *owner* to *following* says that *name* is not there."""
    if owner < following:
        return owner < name < following
    return name > owner


def types_in(nsec: t.Any) -> set[int]:
    """The types that an NSEC record says are there."""
    return {
        window * 256 + octet * 8 + bit
        for window, bitmap in nsec.windows
        for octet, byte in enumerate(bitmap)
        for bit in range(8)
        if byte & 0x80 >> bit
    }


def name_of(owner: str) -> dns.name.Name:
    """The absolute name."""
    return dns.name.from_text(owner, ORIGIN) if owner else ORIGIN


def rdata(record: Record) -> t.Any:
    """What dnspython reads in a record."""
    return dns.rdata.from_wire(IN, record.rdtype, record.rdata, 0, len(record.rdata))


def rrsets(zone: Zone, owner: str) -> dict[tuple[int, int], dns.rrset.RRset]:
    """What a transfer would have at a name, by type and, for signatures, the type they cover."""
    sets: dict[tuple[int, int], dns.rrset.RRset] = {}
    for record in zone.records_at(owner):
        data = rdata(record)
        kind = record.rdtype, int(data.covers())
        rrset = sets.setdefault(kind, dns.rrset.RRset(name_of(owner), IN, *kind))
        rrset.add(data, record.ttl)
    return sets


def zone_of(version: Version) -> Zone:
    """A zone made at once."""
    assert version.content
    return build(version.zone, version.serial, version.content, version.seals)
