# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may transfer the catalog zone may ask it, and gets all of it; nobody else learns of it."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.xfr
import dns.zone
import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import (
    ALICE,
    TUNNEL,
    ZONE,
    content,
    interface_index,
)
from wgsd.config import TUNNEL_ONLY, Access, CatalogSettings, ResponderSettings, ZoneSettings
from wgsd.zone.answers import Authority
from wgsd.zone.catalog import Catalog, member_label
from wgsd.zone.records import build
from wgsd.zone.served import Context

pytestmark = pytest.mark.unit

CATALOG = f"catalog.{ZONE}"
INSIDE = Context("10.0.0.1", TUNNEL, tcp=True, ingress=3)
OUTSIDE = Context("192.0.2.1", TUNNEL, tcp=True, ingress=2)


def authority(allow: Access = TUNNEL_ONLY, **zone: Access) -> Authority:
    """An authority for a zone on wg0 and for its catalog, which is below it."""
    made = Authority(
        ResponderSettings(
            (ZoneSettings(ZONE, "wg0", **zone),), catalog=CatalogSettings(CATALOG, allow)
        ),
        bytes(16),
        interface_index=interface_index,
    )
    made.serve(dns.name.from_text(ZONE), build(ZONE, 7, content(ALICE)))
    made.serve_catalog(Catalog(CATALOG, 42, [ZONE]))
    return made


def ask(
    served: Authority, name: str, rdtype: str, context: Context = INSIDE
) -> dns.message.Message:
    reply = served.respond(dns.message.make_query(name, rdtype).to_wire(), context)
    assert reply
    return dns.message.from_wire(reply.wire, one_rr_per_rrset=True)


def test_its_records_are_answered_with_authority() -> None:
    answer = ask(authority(), f"{member_label(ZONE)}.zones.{CATALOG}", "PTR")
    assert [str(rdata) for rrset in answer.answer for rdata in rrset] == [ZONE]
    assert answer.flags & dns.flags.AA


@pytest.mark.parametrize(
    ("name", "rcode"),
    [("zones", dns.rcode.NOERROR), ("version", dns.rcode.NOERROR), ("x", dns.rcode.NXDOMAIN)],
)
def test_what_is_not_there_is_denied_with_its_soa(name: str, rcode: int) -> None:
    answer = ask(authority(), f"{name}.{CATALOG}", "A")
    assert answer.rcode() == rcode
    assert [str(rrset.name) for rrset in answer.authority] == [CATALOG]


@pytest.mark.parametrize("held", [None, 41])
def test_a_transfer_brings_all_of_it(held: int | None) -> None:
    copy = dns.zone.Zone(CATALOG)
    query = dns.message.make_query(CATALOG, "AXFR")
    if held:
        query = dns.message.make_query(CATALOG, "IXFR")
        soa = dns.rdata.from_text("IN", "SOA", f". . {held} 0 0 0 0")
        query.authority.append(dns.rrset.from_rdata(query.question[0].name, 0, soa))
    reply = authority().respond(query.to_wire(), INSIDE)
    assert reply
    inbound = dns.xfr.Inbound(copy, query.question[0].rdtype, held)
    message = dns.message.from_wire(reply.wire, xfr=True, one_rr_per_rrset=True, origin=copy.origin)
    assert inbound.process_message(message)
    assert sorted(str(name) for name in copy) == sorted(
        ["@", "version", f"{member_label(ZONE)}.zones"]
    )


def test_whoever_has_it_is_told_so() -> None:
    query = dns.message.make_query(CATALOG, "IXFR")
    soa = dns.rdata.from_text("IN", "SOA", ". . 42 0 0 0 0")
    query.authority.append(dns.rrset.from_rdata(query.question[0].name, 0, soa))
    reply = authority().respond(query.to_wire(), INSIDE)
    assert reply
    answer = dns.message.from_wire(reply.wire).answer
    assert [rrset[0].serial for rrset in answer] == [42]


@pytest.mark.parametrize("rdtype", ["SOA", "AXFR"])
def test_who_is_outside_the_tunnel_gets_nothing_of_it(rdtype: str) -> None:
    answer = ask(authority(), CATALOG, rdtype, OUTSIDE)
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.answer


@pytest.mark.parametrize("rdtype", ["SOA", "AXFR"])
def test_who_is_named_for_it_gets_it_from_anywhere(rdtype: str) -> None:
    served = authority(Access(("192.0.2.0/24",)))
    assert ask(served, CATALOG, rdtype, OUTSIDE).rcode() == dns.rcode.NOERROR
    assert ask(served, CATALOG, rdtype, INSIDE).rcode() == dns.rcode.REFUSED
    assert ask(served, ZONE, "SOA", OUTSIDE).rcode() == dns.rcode.REFUSED


def test_who_may_ask_the_zone_only_is_known_as_such() -> None:
    served = authority(Access(), allow_query=Access(("192.0.2.0/24",)))
    assert served.lets_in(OUTSIDE)
    assert ask(served, CATALOG, "SOA", OUTSIDE).rcode() == dns.rcode.REFUSED
    assert dns.name.from_text(CATALOG) not in served.open_zones(TUNNEL)
