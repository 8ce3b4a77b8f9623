# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A catalog zone says what RFC 9432 wants it to say, and nothing else."""

from __future__ import annotations

import dns.name
import dns.rdata
import dns.rdatatype
import pytest

from wgsd.zone.catalog import Catalog, member_label
from wgsd.zone.records import PTR

pytestmark = pytest.mark.unit

MEMBERS = ("example.com.", "mesh.example.net.")


@pytest.fixture
def catalog() -> Catalog:
    return Catalog("catalog.example.org.", 42, MEMBERS)


def shown(catalog: Catalog) -> dict[str, list[str]]:
    """All records as text, by owner."""
    return {
        owner: [
            f"{dns.rdatatype.to_text(record.rdtype)} "
            f"{dns.rdata.from_wire('IN', record.rdtype, record.rdata, 0, len(record.rdata))}"
            for record in catalog.records_at(owner)
        ]
        for owner in catalog.owners()
    }


def test_a_catalog_has_its_version_its_members_and_no_server(catalog: Catalog) -> None:
    assert shown(catalog) == {
        "": ["SOA invalid. invalid. 42 30 10 86400 0", "NS invalid."],
        "version": ['TXT "2"'],
        "zones": [],
        f"{member_label('example.com.')}.zones": ["PTR example.com."],
        f"{member_label('mesh.example.net.')}.zones": ["PTR mesh.example.net."],
    }


def test_a_member_keeps_its_label_whatever_the_catalog_and_its_other_members() -> None:
    other = Catalog("other.example.", 43, ["example.com."])
    assert f"{member_label('example.com.')}.zones" in list(other.owners())
    assert member_label("example.com.") != member_label("example.co.")
    assert len(member_label("example.com.")) <= 63


def test_names_are_found_in_any_case(catalog: Catalog) -> None:
    name = dns.name.from_text(f"{member_label('example.com.').upper()}.ZONES.Catalog.example.org.")
    node = catalog.find(name, "192.0.2.1")
    assert node is not None
    assert [str(rdata) for rdata in node[PTR]] == ["example.com."]


def test_what_is_between_the_apex_and_the_members_exists_without_records(catalog: Catalog) -> None:
    assert catalog.find(dns.name.from_text("zones.catalog.example.org."), "192.0.2.1") == {}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "x.catalog.example.org.",
            "example.org.",
            "org.",
            ".",
            "\\255.zones.catalog.example.org.",
        ),
        member_label("example.com.") + "\\.zones.catalog.example.org.",
    ],
)
def test_other_names_do_not_exist(catalog: Catalog, name: str) -> None:
    assert catalog.find(dns.name.from_text(name), "192.0.2.1") is None
