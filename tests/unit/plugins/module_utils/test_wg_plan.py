# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done to a running interface."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils._wg_file import (
    InterfaceSettings,
    PeerSettings,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_plan import LivePlan, LiveState
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_plan import plan as make_plan
from ansible_collections.wgsd.mesh.plugins.module_utils._wg_routes import RouteChanges
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.keys import PublicKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.model import (
    Device,
    Endpoint,
    Peer,
    PeerChange,
)
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0


def key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "big"))


OWN = key(100)
PRIVATE = base64.b64encode(b"\x42" * 32).decode()
ADDRESS = ipaddress.ip_interface("10.0.0.1/24")
SETTINGS = InterfaceSettings(private_key=PRIVATE, addresses=(ADDRESS,), listen_port=51820)
BOB = PeerSettings(key(1), name="bob", allowed_ips=("10.0.0.2/32",))
LIVE_BOB = Peer(key(1), allowed_ips=("10.0.0.2/32",))
HERE = Endpoint("192.0.2.1", 51820)
THERE = Endpoint("198.51.100.1", 4500)


def live(
    *peers: Peer, routes=("10.0.0.0/24",), former_routes=(), is_up=True, **device
) -> LiveState:
    fields = {"public_key": OWN, "listen_port": 51820, "fwmark": 0, **device}
    return LiveState(
        device=Device(name="wg0", peers={p.public_key: p for p in peers}, **fields),
        addresses=(ADDRESS,),
        mtu=1420,
        is_up=is_up,
        routes=routes,
        former_routes=former_routes,
    )


def plan(*peers: PeerSettings, state: LiveState, settings=SETTINGS, **options) -> LivePlan:
    wanted = {peer.public_key: peer for peer in peers}
    options = {"before": wanted, "now": NOW, "purge": False, **options}
    before = options.pop("before")
    return make_plan(settings, OWN, wanted, before, state, **options)


def test_does_nothing_when_all_is_as_the_file_says():
    assert plan(BOB, state=live(LIVE_BOB)).steps == ()


def test_adds_a_peer_that_the_device_lacks():
    found = plan(BOB, state=live())
    assert found.peers == (PeerChange(key(1), allowed_ips=("10.0.0.2/32",), create=True),)
    assert found.steps == ("add peer bob",)


def test_leaves_a_peer_that_only_the_device_has_unless_purge():
    state = live(LIVE_BOB)
    assert plan(state=state).steps == ()
    assert plan(state=state, purge=True).peers == (PeerChange(key(1), remove=True),)


def test_removes_a_peer_that_was_taken_from_the_file():
    assert plan(state=live(LIVE_BOB), before={key(1): BOB}).steps == ("remove peer bob",)


def test_removes_an_absent_peer_that_only_the_device_has_and_its_route():
    lan = dataclasses.replace(LIVE_BOB, allowed_ips=("192.0.2.0/24",))
    found = plan(state=live(lan, routes=("10.0.0.0/24", "192.0.2.0/24")), absent={key(1)})
    assert found.peers == (PeerChange(key(1), remove=True),)
    assert found.routes.remove == ("192.0.2.0/24",)
    assert plan(state=live(lan), absent={key(2)}).peers == ()


STRANGER = dataclasses.replace(LIVE_BOB, public_key=key(7))


def test_a_peer_in_use_that_only_the_device_has_keeps_its_allowed_ips():
    state = live(dataclasses.replace(STRANGER, last_handshake=NOW - 179))
    with pytest.raises(UsageError, match=r"bob and .* both have the allowed IP 10.0.0.2/32"):
        plan(BOB, state=state)
    assert len(plan(BOB, state=state, purge=True).peers) == 2
    assert len(plan(BOB, state=state, absent={key(7)}).peers) == 2


@pytest.mark.parametrize("handshake", [0.0, NOW - 1])
def test_a_next_key_that_the_file_has_followed_stays_as_it_is_on_the_device(handshake):
    followed = dataclasses.replace(BOB, public_key=key(7))
    state = live(dataclasses.replace(STRANGER, last_handshake=handshake, preshared_key=None))
    assert plan(followed, before={key(1): BOB, key(7): followed}, state=state).steps == ()


@pytest.mark.parametrize("handshake", [0.0, NOW - 181])
def test_a_dead_peer_that_only_the_device_has_gives_way_to_one_of_the_file(handshake):
    found = plan(BOB, state=live(dataclasses.replace(STRANGER, last_handshake=handshake)))
    assert found.peers == (
        PeerChange(key(7), remove=True),
        PeerChange(key(1), allowed_ips=("10.0.0.2/32",), create=True),
    )
    assert found.steps == (
        f"remove peer {key(7).short}…, whose allowed IP 10.0.0.2/32 now belongs to bob",
        "add peer bob",
    )


def test_the_other_routes_of_a_peer_that_gave_way_go_with_it():
    lan = dataclasses.replace(STRANGER, allowed_ips=("10.0.0.2/32", "192.0.2.0/24"))
    found = plan(BOB, state=live(lan, routes=("10.0.0.0/24", "192.0.2.0/24")))
    assert found.routes.remove == ("192.0.2.0/24",)


_BLOCKS = st.lists(st.sampled_from([f"10.0.0.{n}/32" for n in range(2, 7)]), unique=True)


@given(
    blocks=st.lists(_BLOCKS, max_size=4),
    peers=st.dictionaries(st.integers(1, 9), st.tuples(_BLOCKS, st.booleans()), max_size=5),
)
def test_only_peers_without_a_session_that_hold_what_the_file_gives_away_leave_the_device(
    blocks, peers
):
    given_away = list(dict.fromkeys(block for some in blocks for block in some))
    # Each allowed IP has one owner in the file, and one on the device, as WireGuard sees to.
    wanted = [PeerSettings(key(n), allowed_ips=(b,)) for n, b in enumerate(given_away, start=1)]
    held: dict[str, int] = {}
    for number, (some, _alive) in peers.items():
        held.update(dict.fromkeys(some, number))
    on_device = {
        number: Peer(
            key(number),
            allowed_ips=tuple(b for b, holder in held.items() if holder == number),
            last_handshake=NOW - 1 if alive else 0.0,
        )
        for number, (_some, alive) in peers.items()
    }
    in_the_way = {
        number
        for number, peer in on_device.items()
        if number > len(wanted) and set(peer.allowed_ips) & set(given_away)
    }
    state = live(*on_device.values())
    if any(peers[number][1] for number in in_the_way):
        with pytest.raises(UsageError, match="its tunnel lives"):
            plan(*wanted, state=state)
        return
    changes = plan(*wanted, state=state).peers
    assert {c.public_key for c in changes if c.remove} == set(map(key, in_the_way))
    after = {p.public_key: p.allowed_ips for p in on_device.values()}
    for change in changes:
        after.pop(change.public_key, None)
        if not change.remove:
            after[change.public_key] = change.allowed_ips
    assert {peer.public_key: peer.allowed_ips for peer in wanted}.items() <= after.items()
    blocks_after = [block for some in after.values() for block in some]
    assert len(blocks_after) == len(set(blocks_after))


def test_leaves_endpoint_and_keepalive_to_the_client_where_the_file_has_none():
    state = live(dataclasses.replace(LIVE_BOB, endpoint=THERE, persistent_keepalive=25))
    assert plan(BOB, state=state).steps == ()


def test_takes_a_keepalive_away_that_was_taken_from_the_file():
    state = live(dataclasses.replace(LIVE_BOB, persistent_keepalive=25))
    before = {key(1): dataclasses.replace(BOB, persistent_keepalive=25)}
    assert plan(BOB, state=state, before=before).peers == (
        PeerChange(key(1), persistent_keepalive=0),
    )


@pytest.mark.parametrize("age", [1.0, 179.0, -5.0])
def test_leaves_the_endpoint_of_a_tunnel_that_lives(age):
    registry = dataclasses.replace(BOB, endpoint=str(HERE))
    alive = dataclasses.replace(LIVE_BOB, endpoint=THERE, last_handshake=NOW - age)
    assert plan(registry, state=live(alive)).steps == ()


@pytest.mark.parametrize("handshake", [0.0, NOW - 181])
def test_sets_the_endpoint_of_a_dead_peer_so_that_it_tries_at_once(handshake):
    registry = dataclasses.replace(BOB, endpoint=str(HERE), persistent_keepalive=25)
    dead = dataclasses.replace(
        LIVE_BOB, endpoint=THERE, last_handshake=handshake, preshared_key=b"\1" * 32
    )
    wanted = dataclasses.replace(registry, preshared_key=base64.b64encode(b"\1" * 32).decode())
    assert plan(wanted, state=live(dead)).peers == (
        PeerChange(
            key(1),
            endpoint=HERE,
            persistent_keepalive=25,
            allowed_ips=("10.0.0.2/32",),
            preshared_key=b"\1" * 32,
            fresh=True,
            create=True,
        ),
    )


def test_resolves_a_host_name_and_keeps_an_endpoint_that_it_stands_for():
    registry = dataclasses.replace(BOB, endpoint="registry.example.net:51820")

    def resolver(host, port):
        assert (host, port) == ("registry.example.net", 51820)
        return [THERE, HERE]

    at_second = dataclasses.replace(LIVE_BOB, endpoint=HERE)
    assert plan(registry, state=live(at_second), resolver=resolver).steps == ()
    (change,) = plan(registry, state=live(LIVE_BOB), resolver=resolver).peers
    assert change.endpoint == THERE


def test_a_host_name_that_does_not_resolve_is_a_warning():
    registry = dataclasses.replace(BOB, endpoint="registry.example.net:51820")

    def resolver(host, port):
        raise OSError("no such name")

    found = plan(registry, state=live(LIVE_BOB), resolver=resolver)
    assert found.steps == ()
    assert "registry.example.net" in found.warnings[0]


def test_repairs_allowed_ips_and_preshared_keys():
    state = live(
        dataclasses.replace(LIVE_BOB, allowed_ips=("10.9.0.0/16",), preshared_key=b"\1" * 32)
    )
    (change,) = plan(BOB, state=state).peers
    assert change == PeerChange(key(1), allowed_ips=("10.0.0.2/32",), preshared_key=bytes(32))


def test_gives_a_device_that_lost_its_private_key_the_key_back():
    assert plan(state=live(public_key=None)).private_key == b"\x42" * 32


def test_refuses_to_change_the_key_of_a_running_device():
    with pytest.raises(UsageError, match="runs with the public key"):
        plan(state=live(public_key=key(5)))


def test_repairs_port_addresses_mtu_and_link():
    settings = dataclasses.replace(
        SETTINGS, mtu=1380, addresses=(ADDRESS, ipaddress.ip_interface("fd00::1/64"))
    )
    state = live(listen_port=4500, is_up=False)
    found = plan(settings=settings, state=state)
    assert (found.listen_port, found.mtu, found.bring_up) == (51820, 1380, True)
    assert found.addresses == settings.addresses
    assert found.steps == (
        "listen on port 51820 instead of 4500",
        "add address fd00::1/64",
        "set MTU 1380 instead of 1420",
        "bring the link up",
    )


def test_leaves_port_and_mtu_as_they_are_where_the_file_has_none():
    settings = dataclasses.replace(SETTINGS, listen_port=None)
    assert plan(settings=settings, state=live(listen_port=33333)).steps == ()


WITH_LAN = dataclasses.replace(BOB, allowed_ips=("10.0.0.2/32", "192.0.2.0/24", "192.0.2.7/32"))


def test_routes_what_no_route_of_the_interface_covers_widest_first():
    assert plan(WITH_LAN, state=live(LIVE_BOB)).routes.add == ("192.0.2.0/24",)


def test_removes_the_route_of_an_allowed_ip_that_went():
    state = live(
        dataclasses.replace(LIVE_BOB, allowed_ips=WITH_LAN.allowed_ips),
        routes=("10.0.0.0/24", "192.0.2.0/24", "203.0.113.0/24"),
    )
    assert plan(BOB, state=state).routes.remove == ("192.0.2.0/24",)


def test_adds_a_more_specific_route_when_the_wide_one_goes():
    specific = dataclasses.replace(BOB, allowed_ips=("192.0.2.7/32",))
    state = live(
        dataclasses.replace(LIVE_BOB, allowed_ips=("192.0.2.0/24",)),
        routes=("10.0.0.0/24", "192.0.2.0/24"),
    )
    found = plan(specific, state=state)
    assert found.routes.remove == ("192.0.2.0/24",)
    assert found.routes.add == ("192.0.2.7/32",)


@pytest.mark.parametrize("table", ["off", "OFF"])
def test_makes_no_routes_with_table_off(table):
    settings = dataclasses.replace(SETTINGS, table=table)
    assert plan(WITH_LAN, settings=settings, state=live(LIVE_BOB)).routes.add == ()


def test_routes_every_allowed_ip_into_a_table_of_its_own():
    settings = dataclasses.replace(SETTINGS, table="4242")
    found = plan(WITH_LAN, settings=settings, state=live(LIVE_BOB, routes=("10.0.0.2/32",)))
    assert (found.routes.table, found.routes.add) == (4242, ("192.0.2.0/24", "192.0.2.7/32"))


def test_a_default_route_is_left_to_wg_quick_with_a_warning():
    exit_node = dataclasses.replace(BOB, allowed_ips=("0.0.0.0/0",))
    found = plan(exit_node, state=live(LIVE_BOB))
    assert found.routes.add == ()
    assert "0.0.0.0/0" in found.warnings[0]


def table(text: str | None) -> InterfaceSettings:
    return dataclasses.replace(SETTINGS, table=text)


LIVE_LAN = dataclasses.replace(LIVE_BOB, allowed_ips=WITH_LAN.allowed_ips)


def test_a_changed_table_moves_the_routes_and_touches_no_peer():
    state = live(LIVE_LAN, routes=(), former_routes=("10.0.0.0/24", "192.0.2.0/24"))
    found = plan(WITH_LAN, settings=table("4242"), past=table(None), state=state)
    assert found.peers == ()
    assert found.routes == RouteChanges(
        add=("192.0.2.0/24", "10.0.0.2/32", "192.0.2.7/32"),
        leave_behind=("192.0.2.0/24",),
        table=4242,
    )
    assert found.steps[0] == "add route 192.0.2.0/24 to table 4242"
    assert found.steps[-1] == "remove route 192.0.2.0/24 from table main"

    state = live(LIVE_LAN, former_routes=("192.0.2.0/24", "10.0.0.2/32", "203.0.113.0/24"))
    found = plan(WITH_LAN, settings=table("auto"), past=table("4242"), state=state)
    assert found.routes == RouteChanges(
        add=("192.0.2.0/24",), leave_behind=("10.0.0.2/32", "192.0.2.0/24"), former=4242
    )


def test_a_table_that_is_switched_off_loses_its_routes_and_gets_them_back():
    state = live(LIVE_LAN, routes=(), former_routes=("192.0.2.0/24", "10.0.0.0/24"))
    found = plan(WITH_LAN, settings=table("off"), past=table(None), state=state)
    assert found.routes == RouteChanges(leave_behind=("192.0.2.0/24",))
    state = live(LIVE_LAN)
    found = plan(WITH_LAN, settings=table(None), past=table("off"), state=state)
    assert found.routes == RouteChanges(add=("192.0.2.0/24",))


def test_the_route_of_a_peer_that_goes_while_the_table_changes_goes_too():
    state = live(LIVE_LAN, routes=(), former_routes=("192.0.2.0/24",))
    found = plan(settings=table("4242"), past=table("17"), before={key(1): WITH_LAN}, state=state)
    assert found.routes == RouteChanges(leave_behind=("192.0.2.0/24",), table=4242, former=17)


EXIT = dataclasses.replace(BOB, allowed_ips=("0.0.0.0/0",))
LIVE_EXIT = dataclasses.replace(LIVE_BOB, allowed_ips=("0.0.0.0/0",))


@pytest.mark.parametrize("text", ["4242", "off"])
def test_refuses_another_table_while_wg_quick_has_a_default_route_to_take_away(text):
    with pytest.raises(UsageError, match=r"made a default route for wg0.*state=absent"):
        plan(EXIT, settings=table(text), past=table(None), state=live(LIVE_EXIT, fwmark=51820))


def mark(number: int | None) -> InterfaceSettings:
    return dataclasses.replace(SETTINGS, fwmark=number)


@pytest.mark.parametrize(
    ("now", "past", "unmark", "device", "change", "steps"),
    [
        (0x51, None, False, 0, 0x51, ("set firewall mark 0x51",)),
        (0x51, 0x51, False, 0x51, None, ()),
        (None, 0x51, False, 0x51, 0, ("take firewall mark 0x51 away",)),
        (None, None, True, 0x51, 0, ("take firewall mark 0x51 away",)),
        (0, 0, False, 0x51, 0, ("take firewall mark 0x51 away",)),
        (None, None, False, 0x51, None, ()),
    ],
)
def test_the_device_gets_the_mark_of_the_file_and_keeps_one_that_the_file_never_had(
    now, past, unmark, device, change, steps
):
    found = plan(settings=mark(now), past=mark(past), unmark=unmark, state=live(fwmark=device))
    assert (found.fwmark, found.steps) == (change, steps)


def test_another_mark_waits_where_the_rules_of_a_default_route_go_by_it():
    state = live(LIVE_EXIT, fwmark=51820)
    found = plan(EXIT, settings=mark(0x51), past=mark(None), state=state)
    assert (found.fwmark, found.steps) == (None, ())
    assert "0x51: wg-quick has made the default route with 0xca6c" in found.warnings[0]
    assert plan(EXIT, past=mark(None), unmark=True, state=state).warnings == ()
