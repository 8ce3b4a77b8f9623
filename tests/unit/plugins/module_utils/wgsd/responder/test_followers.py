# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Followers: who is taken up, who is forgotten, and what outlives the process."""

from __future__ import annotations

import json

import pytest

from wgsd.config import Remote
from wgsd.model import Endpoint
from wgsd.responder import followers as module
from wgsd.responder.followers import Follower, Followers

pytestmark = pytest.mark.unit

ZONE = "example.com."
SECONDARY = Remote(Endpoint("192.0.2.53", 5300), "tsig.")
CLIENT = Follower(ZONE, "10.0.0.1", 40001, "10.0.0.254")
SERVER = Follower(ZONE, "10.0.0.2", 53, "10.0.0.254", "tsig.")


def made(*remotes: Remote) -> Followers:
    return Followers({ZONE: remotes}, 1000.0)


def test_secondaries_of_the_configuration_are_there_from_the_start() -> None:
    followers = made(SECONDARY)
    (key,) = followers.of(ZONE)
    entry = followers.get(key)
    assert entry
    assert entry.follower == Follower(ZONE, "192.0.2.53", 5300, tsig="tsig.")
    assert entry.configured
    assert not followers.changed


def test_who_transfers_a_zone_follows_it() -> None:
    followers = made()
    assert followers.follow(CLIENT, 1001.0)
    assert not followers.follow(CLIENT, 1002.0)
    assert followers.of(ZONE) == [CLIENT.key]
    assert followers.of("example.net.") == []
    assert followers.local_addresses() == {"10.0.0.254"}
    assert followers.changed


def test_a_zone_that_is_not_served_has_no_followers() -> None:
    followers = made()
    assert not followers.follow(CLIENT._replace(zone="example.net."), 1001.0)
    assert len(followers) == 0


def test_a_follower_that_asks_in_another_way_hears_in_another_way() -> None:
    followers = made()
    followers.follow(CLIENT, 1001.0)
    again = CLIENT._replace(local="10.0.0.253", tsig="tsig.")
    followers.follow(again, 1002.0)
    entry = followers.get(CLIENT.key)
    assert entry
    assert entry.follower == again


def test_a_configured_secondary_that_transfers_keeps_port_and_key() -> None:
    followers = made(SECONDARY)
    assert not followers.follow(Follower(ZONE, "192.0.2.53", 53, "203.0.113.4"), 1001.0)
    (key,) = followers.of(ZONE)
    entry = followers.get(key)
    assert entry
    assert entry.follower == Follower(ZONE, "192.0.2.53", 5300, "203.0.113.4", "tsig.")


def test_clients_are_forgotten_after_minutes_and_servers_after_a_day() -> None:
    followers = made(SECONDARY)
    followers.follow(CLIENT, 1000.0)
    followers.follow(SERVER, 1000.0)
    followers.forget(1000.0 + module.CLIENT_PATIENCE)
    assert len(followers) == 3
    followers.forget(1001.0 + module.CLIENT_PATIENCE)
    assert followers.get(CLIENT.key) is None
    assert followers.get(SERVER.key)
    followers.forget(1001.0 + module.SERVER_PATIENCE)
    assert followers.of(ZONE) == [(ZONE, "192.0.2.53", 5300)]


def test_who_goes_on_asking_is_not_forgotten() -> None:
    followers = made()
    followers.follow(CLIENT, 1000.0)
    followers.follow(CLIENT, 1200.0)
    followers.forget(1200.0 + module.CLIENT_PATIENCE)
    assert followers.get(CLIENT.key)


def test_one_address_cannot_be_very_many_followers() -> None:
    followers = made(Remote(Endpoint(CLIENT.address, 5300)))
    for number in range(module.PORTS_MAX + 3):
        followers.follow(CLIENT._replace(port=40000 + number), 1000.0 + number)
    ports = [port for _zone, _address, port in followers.of(ZONE)]
    assert ports == [5300, *range(40003, 40003 + module.PORTS_MAX)]


def test_when_there_are_too_many_who_has_not_asked_for_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FOLLOWERS_MAX", 3)
    followers = made(SECONDARY)
    for number in (1, 2, 1, 3):
        followers.follow(CLIENT._replace(address=f"10.0.0.{number}"), 1000.0)
    assert [address for _zone, address, _port in followers.of(ZONE)] == [
        "192.0.2.53",
        "10.0.0.1",
        "10.0.0.3",
    ]


def test_followers_outlive_the_process_and_their_time_goes_on_meanwhile() -> None:
    before = made(SECONDARY)
    before.follow(CLIENT, 1000.0)
    before.follow(SERVER, 1000.0)
    entry = before.get(SERVER.key)
    assert entry
    entry.acknowledges = True
    dumped = before.dump(1060.0, 5_000_060.0)
    assert not before.changed

    after = Followers({ZONE: (SECONDARY,)}, 7.0)
    after.restore(dumped, 7.0, 5_000_070.0, {"tsig."})
    assert len(after) == 3
    entry = after.get(SERVER.key)
    assert entry
    assert (entry.follower, entry.acknowledges, entry.asked) == (SERVER, True, -63.0)
    after.forget(7.0 - 70.0 + module.CLIENT_PATIENCE + 1)
    assert after.get(CLIENT.key) is None


def test_what_was_kept_of_a_zone_or_a_key_that_is_gone_is_left_out() -> None:
    before = Followers({ZONE: (), "example.net.": ()}, 0.0)
    before.follow(CLIENT, 0.0)
    before.follow(SERVER, 0.0)
    before.follow(CLIENT._replace(zone="example.net."), 0.0)
    after = made()
    after.restore(before.dump(0.0, 0.0), 1000.0, 0.0, {})
    assert after.of(ZONE) == [CLIENT.key]
    assert len(after) == 1


def test_what_was_kept_of_a_secondary_that_is_configured_now_is_left_out() -> None:
    before = made()
    before.follow(SERVER, 1000.0)
    after = made(Remote(Endpoint(SERVER.address, 53)))
    after.restore(before.dump(1000.0, 0.0), 1000.0, 0.0, {"tsig."})
    entry = after.get(SERVER.key)
    assert len(after) == 1
    assert entry
    assert entry.configured


def test_a_client_that_took_the_whole_zone_over_tcp_is_not_taken_for_a_server_as_well() -> None:
    followers = made()
    server = CLIENT._replace(port=53)
    followers.follow(server, 1000.0)
    followers.follow(CLIENT, 1000.0)
    followers.confirm(CLIENT.key)
    assert followers.of(ZONE) == [CLIENT.key]
    assert not followers.follow(server, 1001.0)
    assert followers.of(ZONE) == [CLIENT.key]
    assert followers.follow(CLIENT._replace(port=40002), 1002.0)


def test_a_server_that_asks_from_any_port_stays_one() -> None:
    followers = made()
    asking = SERVER._replace(port=40001)
    followers.follow(SERVER, 1000.0)
    followers.confirm(SERVER.key)
    followers.follow(asking, 1000.0)
    followers.confirm(asking.key)
    assert followers.of(ZONE) == [SERVER.key, asking.key]


@pytest.mark.parametrize("kept", [b"", b"{", b"7", b"[7]", b'[["example.com."]]', b"\xff"])
def test_what_was_not_kept_by_this_program_is_told(kept: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        made().restore(kept, 0.0, 0.0, {})


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 7), (1, "somewhere"), (1, 7), (2, 0), (2, 65536), (2, "53"), (3, "here"), (5, 10**400)],
)
def test_nobody_is_followed_up_who_cannot_be_sent_anything(place: int, value: object) -> None:
    fields = [*SERVER._replace(tsig=None), 0, True]
    fields[place] = value
    after = made()
    with pytest.raises(ValueError, match=r"."):
        after.restore(json.dumps([fields]).encode(), 0.0, 0.0, {})
    assert len(after) == 0


@pytest.mark.parametrize("follower", [CLIENT, SERVER])
def test_a_follower_arrives_as_it_was_sent(follower: Follower) -> None:
    assert module.decode(module.encode(follower)) == follower
