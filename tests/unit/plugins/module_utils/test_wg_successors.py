# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The next keys of peers: whose place they take, on the device and in the file."""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _wg_successors
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_file import WgQuickFile
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_successors import Successor
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import (
    Device,
    Endpoint,
    Peer,
    PeerChange,
)
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.takeover import Pair

pytestmark = pytest.mark.unit

ANCIENT, OLD, NEW, OTHER = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3, 4))
SECRET = b"p" * 32
ALICE = Successor(OLD, NEW, "alice")
HOME = Endpoint("192.0.2.1", 1000)
SECTION = """\
# A note about Alice
[Peer]
# Name = alice
PublicKey = {key}
AllowedIPs = 10.0.0.1/32
PresharedKey = cHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHA=
"""


def file_with(*keys: PublicKey) -> WgQuickFile:
    sections = "\n".join(SECTION.format(key=key) for key in keys)
    return WgQuickFile.parse(f"[Interface]\n\n{sections}", "wg0.conf")


def device(*peers: Peer) -> Device:
    return Device("wg0", OTHER, 51820, 0, {peer.public_key: peer for peer in peers})


def peer(key: PublicKey, **fields: t.Any) -> Peer:
    return Peer(key, **fields)


def live(key: PublicKey) -> Peer:
    return peer(key, endpoint=HOME, allowed_ips=("10.0.0.1/32",), preshared_key=SECRET)


def test_a_peer_is_found_by_its_key():
    found = _wg_successors.pairs([ALICE], file_with(OLD), device(live(OLD)))
    assert found == ([(ALICE, Pair(OLD, NEW))], [])


def test_a_peer_that_was_missed_before_is_found_by_its_name():
    found = _wg_successors.pairs([ALICE], file_with(ANCIENT), device(live(ANCIENT)))
    assert found == ([(ALICE, Pair(ANCIENT, NEW))], [])


def test_a_peer_that_has_switched_needs_nobody_and_one_that_is_not_there_is_told():
    assert _wg_successors.pairs([ALICE], file_with(OLD), device(live(NEW))) == ([], [])
    assert _wg_successors.pairs([ALICE], file_with(), device()) == ([], [ALICE])


def test_only_what_the_device_does_not_know_is_announced():
    both = device(live(OLD), peer(NEW))
    pairs = [(ALICE, Pair(OLD, NEW))]
    assert _wg_successors.announcements(pairs, both) == []
    (told,) = _wg_successors.announcements(pairs, device(live(OLD)))
    assert told == (ALICE, PeerChange(NEW, preshared_key=SECRET, create=True))


def test_a_host_that_had_switched_before_is_found_by_its_name():
    done = Successor(NEW, NEW, "alice")
    file = file_with(OLD)
    assert _wg_successors.pairs([done], file, device(live(NEW), live(OLD))) == ([], [])
    assert _wg_successors.pairs([done], file, device(live(OLD)))[0] == [(done, Pair(OLD, NEW))]
    _wg_successors.settle([done], file, device(live(NEW)))
    assert list(file.peers()) == [NEW]
    assert file.peers()[NEW].preshared_key


def test_a_host_is_not_its_own_peer():
    assert _wg_successors.others([ALICE], {OLD}) == []
    assert _wg_successors.others([ALICE], {NEW}) == []


def test_settling_changes_the_key_in_its_section_and_nothing_else():
    file = file_with(OLD)
    before = file.render()
    plan = _wg_successors.settle([ALICE], file, device(live(NEW)))
    assert plan == _wg_successors.Settlement()
    assert file.render() == before.replace(OLD.base64, NEW.base64)
    _wg_successors.settle([ALICE], file, device(live(NEW)))
    assert file.render() == before.replace(OLD.base64, NEW.base64)


def test_settling_makes_one_section_of_two():
    file = file_with(OLD)
    text = SECTION.format(key=NEW).replace("10.0.0.1", "10.0.0.9")
    file = WgQuickFile.parse(f"{file.render()}\n{text}", "wg0.conf")
    _wg_successors.settle([ALICE], file, None)
    assert list(file.peers()) == [NEW]


def test_a_device_on_which_nothing_has_come_by_the_new_key_gets_it_where_the_old_one_was():
    plan = _wg_successors.settle([ALICE], file_with(OLD), device(live(OLD), peer(NEW)))
    first, second = plan.changes
    assert (first.public_key, first.endpoint) == (NEW, HOME)
    assert first.allowed_ips == ("10.0.0.1/32",)
    assert second == PeerChange(OLD, remove=True)
    assert plan.steps == (f"replace peer alice: {OLD} by {NEW}",)


def test_one_that_was_never_announced_gets_the_preshared_key_as_well():
    plan = _wg_successors.settle([ALICE], file_with(OLD), device(live(OLD)))
    assert plan.changes[0].preshared_key == SECRET
    assert plan.changes[0].create


PAIR = Pair(OLD, NEW)
NOTE = f"# Successor = {NEW}\n"


def announced(*keys: PublicKey) -> WgQuickFile:
    file = file_with(*keys)
    _wg_successors.note([(ALICE, PAIR)], file)
    return file


def test_the_file_notes_who_comes_after_whom_until_that_is_settled():
    plain = file_with(OLD).render()
    file = announced(OLD)
    assert file.peers()[OLD].successor == NEW
    text = file.render()
    assert text == plain.replace(f"PublicKey = {OLD}\n", f"PublicKey = {OLD}\n{NOTE}")
    _wg_successors.note([(ALICE, PAIR)], file)
    assert file.render() == text
    _wg_successors.settle([ALICE], file, device(live(NEW)))
    assert file.render() == plain.replace(OLD.base64, NEW.base64)


def test_a_key_that_follows_one_which_only_the_device_has_is_not_noted():
    assert announced().render() == file_with().render()


def test_another_next_key_is_noted_in_the_place_of_the_one_before():
    file = announced(OLD)
    _wg_successors.note([(ALICE, Pair(OLD, OTHER))], file)
    assert file.render() == announced(OLD).render().replace(NEW.base64, OTHER.base64)


def test_a_note_that_is_no_key_is_a_comment():
    text = announced(OLD).render().replace(NEW.base64, "who knows")
    file = WgQuickFile.parse(text, "wg0.conf")
    assert file.peers()[OLD].successor is None
    assert _wg_successors.follow(file, {NEW: live(NEW)}) == []
    assert file.render() == text


def test_the_file_follows_a_device_on_which_the_next_key_has_taken_over():
    file = announced(OLD)
    assert _wg_successors.follow(file, {NEW: live(NEW)}) == [PAIR]
    assert file.render() == file_with(OLD).render().replace(OLD.base64, NEW.base64)
    assert _wg_successors.follow(file, {NEW: live(NEW)}) == []


@pytest.mark.parametrize(
    "there",
    [(live(OLD), peer(NEW)), (live(OLD),), (peer(NEW),), (), None],
    ids=["waits", "given up or booted", "old one taken away", "nobody", "not to be read"],
)
def test_the_file_stays_as_it_is_while_the_next_key_has_not_taken_over(there):
    file = announced(OLD)
    peers = None if there is None else {one.public_key: one for one in there}
    assert _wg_successors.follow(file, peers) == []
    assert file.render() == announced(OLD).render()


def test_the_file_follows_whoever_says_that_the_next_key_is_the_one_that_counts():
    file = announced(OLD)
    assert _wg_successors.follow(file, {OLD: live(OLD)}, {NEW}) == [PAIR]
    assert file.peers()[NEW].preshared_key


def test_a_note_is_dropped_when_the_host_has_its_old_key_and_nobody_waits_for_the_next():
    file = announced(OLD)
    waiting = {OLD: live(OLD), NEW: peer(NEW)}
    assert _wg_successors.follow(file, waiting, {OLD}, {OLD}) == []
    assert file.peers()[OLD].successor == NEW
    assert _wg_successors.follow(file, {OLD: live(OLD)}, {OLD}, {OLD}) == []
    assert file.render() == file_with(OLD).render()


def test_a_file_that_has_both_keys_has_one_of_them_after_following():
    both = WgQuickFile.parse(
        announced(OLD).render() + SECTION.format(key=NEW).replace("10.0.0.1", "10.0.0.9"), "x"
    )
    assert _wg_successors.follow(both, {NEW: live(NEW)}) == [PAIR]
    assert list(both.peers()) == [NEW]


def test_a_watcher_for_the_same_keys_has_the_same_name_in_any_order():
    one, two = Pair(OLD, NEW), Pair(ANCIENT, OTHER)
    name = _wg_successors.unit_name("wg0", [one, two])
    assert name == _wg_successors.unit_name("wg0", [two, one])
    assert name != _wg_successors.unit_name("wg0", [one])
    assert name != _wg_successors.unit_name("wg1", [one, two])
    assert name.startswith("wgsd-takeover-wg0-")


def test_the_watcher_is_started_with_all_pairs():
    words = _wg_successors.command("x.service", "wg0", [Pair(OLD, NEW)], 60)
    assert words[-5:] == [
        "/usr/local/bin/wgsd",
        "takeover",
        "--interface=wg0",
        "--seconds=60",
        f"{OLD}={NEW}",
    ]


def test_options_are_checked_and_the_bad_one_is_named():
    good = {"old": OLD.base64, "new": NEW.base64, "name": "alice"}
    assert _wg_successors.parse([good]) == [ALICE]
    assert _wg_successors.parse([{**good, "name": None}])[0].title == f"{OLD.short}…"
    with pytest.raises(UsageError, match=r"successors\[1\]"):
        _wg_successors.parse([good, {**good, "new": "nonsense"}])
    with pytest.raises(UsageError, match="is there twice"):
        _wg_successors.parse([good, good])
