# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is a member, by a copy of the zone, and when that copy counts."""

from __future__ import annotations

import dns.message
import dns.rcode
import dns.rdataset
import pytest

from tests.unit.plugins.module_utils.wgsd.replica.primary import ZONE
from wgsd.client.view import View
from wgsd.directory import Directory
from wgsd.keys import PublicKey
from wgsd.model import Member
from wgsd.names import SERVICE, txt_strings
from wgsd.replica.contents import Contents

pytestmark = pytest.mark.unit

BOB, CAROL = PublicKey(b"b" * 32), PublicKey(b"c" * 32)
BLOCKS = ("10.0.0.2/32",)


def told_at(label: str, *strings: str) -> Contents:
    """A copy that has one name below the service, with these strings."""
    contents = Contents(ZONE)
    text = " ".join(f'"{string}"' for string in strings)
    with contents.zone.writer() as writer:
        name = dns.name.from_text(f"{label}.{SERVICE}.{ZONE}")
        writer.add(name, dns.rdataset.from_text("IN", "TXT", 10, text))
    return contents


@pytest.fixture
def primary(world):
    return world.primary()


@pytest.fixture
def replica(world, primary):
    primary.publish({BOB: 1000, CAROL: None})
    replica = world.replica(primary)
    world.pass_time(replica, 1)
    return replica


@pytest.fixture
def view(replica):
    return View(Directory(ZONE, [next(iter(replica._subscriptions)).server]), replica)


def test_members_are_those_with_an_endpoint_and_those_without(view):
    assert view.members() == {key: Member(key, BLOCKS, "bob") for key in (BOB, CAROL)}
    assert view.lookup([CAROL]) == {CAROL: None}


def test_members_are_the_same_object_until_they_are_others(world, primary, replica, view):
    before = view.members()
    primary.publish({BOB: 2000, CAROL: 3000})
    world.pass_time(replica, 10)
    assert view.version.serial == primary.serial
    assert view.members() is before
    assert view.lookup([CAROL])[CAROL].endpoint.port == 3000
    primary.publish({BOB: 2000})
    world.pass_time(replica, 10)
    assert set(view.members()) == {BOB}


def test_a_server_that_fails_makes_nobody_leave(world, primary, replica, view):
    def failing(query, _due):
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        return [response]

    assert view.members()
    misbehave, primary.misbehave = primary.misbehave, failing
    world.pass_time(replica, 60)
    assert view.members() is None
    primary.misbehave = misbehave
    world.pass_time(replica, 60)
    assert set(view.members()) == {BOB, CAROL}


def test_a_server_that_is_not_heard_any_more_says_nothing_of_members(world, primary, replica, view):
    primary.close()
    world.pass_time(replica, 60)
    assert view.members() is None
    primary.reopen()
    world.pass_time(replica, 60)
    assert set(view.members()) == {BOB, CAROL}


def test_who_looks_up_peers_knows_nothing_of_members():
    assert Directory(ZONE, [object()]).members() is None


STRINGS = txt_strings(BOB, BLOCKS, "bob")


@pytest.mark.parametrize(
    ("label", "strings"),
    [
        (BOB.label, txt_strings(BOB, ())),
        (BOB.label, txt_strings(CAROL, BLOCKS)),
        (BOB.label, ["txtvers=1", "allowed=10.0.0.2/32"]),
        (BOB.label, ["txtvers=1", f"pub={BOB.base64}", "allowed=10.0.0.2/3"]),
        (BOB.label[:-8] + "========", STRINGS),
        ("x" * 56, STRINGS),
        ("bob", STRINGS),
        (f"below.{BOB.label}", STRINGS),
    ],
)
def test_what_does_not_say_whose_it_is_and_what_he_has_makes_no_member(label, strings):
    assert told_at(label, *strings).members() == {}


def test_a_label_in_any_case_makes_one_member():
    for label in (BOB.label.lower(), BOB.label.upper()):
        assert told_at(label, *STRINGS).members() == {BOB: Member(BOB, BLOCKS, "bob")}
