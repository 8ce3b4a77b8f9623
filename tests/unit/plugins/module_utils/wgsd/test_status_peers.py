# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``wgsd status`` of a peer: what is wrong at 3 a.m., since when, and what to do about it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math

import pytest

from tests.unit.plugins.module_utils.wgsd.client.decisions import (
    AWAY,
    BOB,
    CAROL,
    HOME,
    a_try,
    decision,
    look,
)
from wgsd import status
from wgsd.client import report as client_report
from wgsd.client.report import Report, Surroundings, report_path
from wgsd.clock import Moment
from wgsd.config import ClientSettings
from wgsd.directory import ZoneVersion
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer
from wgsd.plan import Refusal, State
from wgsd.status import peers as module
from wgsd.status.text import WIDTH

pytestmark = pytest.mark.unit

SERVER = Endpoint("10.0.0.254", 53)
SETTINGS = ClientSettings("wg0", "example.com.", (SERVER,))
REGISTRY = PublicKey(b"r" * 32)
PLACE = Endpoint("203.0.113.4", 51820)
NOW = 1_800_000_000.0
FOLLOWING = Surroundings(
    registries={REGISTRY: "it answers"},
    version=ZoneVersion(SERVER, 7),
    copied=True,
    notified_at=95.0,
    seen_at=AWAY,
)


class Host:
    """A device and a client on it, as status finds them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peers: dict[PublicKey, Peer] = {}
        self.shows(REGISTRY, PLACE, "10.0.0.254/32", age=30)
        self.report = Report(
            SETTINGS,
            now=lambda: Moment(NOW + self.seconds, 5000.0 + self.seconds),
            monotonic=lambda: 100.0 + self.seconds,
        )

    def shows(self, key, endpoint=None, allowed="10.0.0.2/32", age: float | None = None) -> None:
        """Let the device show a peer, whose handshake has some age in seconds."""
        handshake = 0.0 if age is None else NOW + self.seconds - age
        self.peers[key] = Peer(key, endpoint, tuple(allowed.split()), last_handshake=handshake)

    def reports(self, *decisions, around=FOLLOWING, failures=None) -> None:
        self.report.publish(look(*decisions, failures=failures or {}), around)
        self.seconds += 2
        self.report.tick()

    @contextlib.contextmanager
    def open(self, _interface):
        yield self

    kind = "kernel"

    def read(self) -> Device:
        return Device("wg0", PublicKey(b"o" * 32), 51820, 0, self.peers)

    def status(self, names=None) -> dict:
        found = status.collect("wg0", report_path("wg0"), NOW + self.seconds, names or {})
        return json.loads(json.dumps(found))

    def peer(self, key: PublicKey) -> dict:
        (peer,) = [p for p in self.status()["peers"] if p["public_key"] == key.base64]
        return peer

    def text(self, *, verbose: bool = False) -> str:
        return status.render(self.status(), NOW + self.seconds, verbose=verbose)

    def below(self, name: str, **options: bool) -> list[str]:
        """Return the explanation of a peer."""
        lines = iter(self.text(**options).splitlines())
        for line in lines:
            if line.startswith(f"{name} "):
                break
        found = []
        for line in lines:
            if not line.startswith("  "):
                break
            found.append(line.strip())
        return found


@pytest.fixture
def host(tmp_path, monkeypatch) -> Host:
    monkeypatch.setattr(client_report, "RUNTIME_DIR", tmp_path)
    host = Host()
    monkeypatch.setattr(module, "open_device", host.open)
    return host


def test_a_tunnel_that_lives_takes_one_line(host):
    host.shows(BOB, HOME, age=40)
    host.reports(a_try())
    host.reports(decision(State.DIRECT, before=HOME, answers=True, rtt=0.031))
    host.seconds += 58
    row = next(line for line in host.text().splitlines() if line.startswith("bob"))
    assert [cell.strip() for cell in row.split("  ") if cell] == [
        *("bob", "direct", "1 m", "1 m 42 s ago", "31 ms", str(HOME), "directory"),
        "10.0.0.2/32",
    ]
    assert host.below("bob") == []
    assert host.below("bob", verbose=True) == [
        f"key {BOB.base64}, allowed IPs 10.0.0.2/32",
        "so it is",
        f"last action 1 m 2 s ago: no session; set {HOME}",
    ]


def test_the_head_tells_of_client_zone_registry_and_the_hosts_own_move(host):
    host.shows(BOB, HOME, age=5)
    moved = Surroundings(
        **{**vars(FOLLOWING), "moved": (NOW - 8, "packets leave it in another way")}
    )
    host.reports(decision(State.DIRECT, before=HOME), around=moved)
    first, client, zone, moved_line, _header, registry, reason, *_rest = host.text().splitlines()
    assert first == f"wg0 (kernel), port 51820, {PublicKey(b'o' * 32)}"
    assert client.endswith("runs for 2 s; 1 of 1 peers direct")
    assert zone == "zone example.com.: follows 10.0.0.254:53, serial 7, NOTIFY 7 s ago"
    assert moved_line == (
        f"this host is seen at {AWAY} by the registry; has moved 10 s ago: packets leave it in"
        " another way"
    )
    assert registry.split()[:2] == ["registry", "direct"]
    assert reason == "  registry, 10.0.0.254:53: it answers"


@pytest.mark.parametrize(
    ("state", "reason", "advice"),
    [
        (
            State.UNKNOWN,
            "the directory has no endpoint for it",
            "is it on, and does it have a tunnel",
        ),
        (State.UNREACHABLE, f"no handshake with {HOME}", "cannot be punched"),
        (State.STALE, "3 probes without an answer", "as soon as that is another endpoint"),
    ],
)
def test_a_peer_that_is_not_reached_is_explained_and_what_to_do_is_said_once(
    host, state, reason, advice
):
    target = None if state is State.UNKNOWN else HOME
    for key in (BOB, CAROL):
        host.shows(key, age=20 if state is State.STALE else None)
    host.reports(
        *(
            decision(state, key=key, reason=reason, target=target, due=5042.0)
            for key in (BOB, CAROL)
        )
    )
    text = host.text()
    assert text.count(reason) == 2
    assert " ".join(text.split()).count(advice) == 1
    told = [f"the zone has it at {HOME}"] if target else []
    title = f"{BOB.base64[:12]}..." if target is None else "bob"
    assert host.below(title) == [reason, *told, "next step in 40 s"]


def test_what_is_wrong_comes_before_what_is_well_and_registries_come_first(host):
    for key in (BOB, CAROL):
        host.shows(key, HOME, age=5 if key == BOB else None)
    host.reports(
        decision(State.DIRECT, before=HOME), decision(State.PUNCHING, key=CAROL, before=HOME)
    )
    order = [peer["public_key"] for peer in host.status()["peers"]]
    assert order == [key.base64 for key in (REGISTRY, CAROL, BOB)]


def test_an_endpoint_is_the_directorys_the_configurations_or_the_packets(host):
    host.shows(BOB, HOME, age=5)
    host.reports(a_try(), decision(State.PUNCHING, key=CAROL, before=AWAY))
    host.reports(
        decision(State.DIRECT, before=HOME), decision(State.PUNCHING, key=CAROL, before=AWAY)
    )
    host.shows(CAROL, AWAY)
    assert host.peer(BOB)["endpoint_source"] == "directory"
    assert host.peer(CAROL)["endpoint_source"] == "configuration"
    assert host.peer(REGISTRY)["endpoint_source"] == "configuration"
    host.shows(BOB, AWAY, age=5)
    assert host.peer(BOB)["endpoint_source"] == "its own packets"
    assert f"the zone has it at {HOME}" in host.below("bob")
    assert " own packets " in host.text()


def test_where_an_endpoint_came_from_before_anybody_looked_is_not_made_up(host):
    host.shows(BOB, HOME, age=5)
    assert host.peer(BOB)["endpoint_source"] is None


def test_a_handshake_that_the_client_has_not_reported_yet_counts(host):
    host.shows(BOB, HOME)
    host.reports(decision(State.PUNCHING, before=HOME))
    host.shows(BOB, HOME, age=0.1)
    assert host.peer(BOB)["state"] == "direct"


def test_a_session_that_the_client_knows_to_be_dead_is_not_called_direct(host):
    host.shows(BOB, HOME, age=20)
    host.reports(decision(State.STALE, before=HOME))
    assert (host.peer(BOB)["state"], host.peer(BOB)["direct"]) == ("stale", False)


def test_a_client_that_has_ended_is_not_believed_but_what_it_has_done_is_told(host):
    host.shows(BOB)
    host.reports(a_try())
    host.reports(decision(State.UNREACHABLE, before=HOME, reason="no handshake"))
    host.report.stop()
    host.seconds += 3600
    bob = host.peer(BOB)
    assert (bob["state"], bob["reason"], bob["since"], bob["rtt"]) == ("unknown", None, None, None)
    assert bob["last_action"] == f"no session; set {HOME}"
    assert bob["name"] == "bob"
    found = host.status()
    assert not found["agent"]
    assert found["directory"] is found["follows"] is found["moved"] is None
    assert (
        "the client has ended, last heard of 1 h ago: what follows is the device's view alone"
        in host.text()
    )
    assert "cannot be punched" not in host.text()


def test_a_registry_without_a_tunnel_has_an_advice_of_its_own(host):
    host.shows(REGISTRY, PLACE, "10.0.0.254/32")
    lost = Surroundings(
        registries={REGISTRY: f"nothing came from {PLACE} for 9 s"},
        version=ZoneVersion(SERVER, 7),
        silent=frozenset([SERVER]),
        trouble="10.0.0.254:53: no answer within 0.5 s; check the tunnel",
    )
    host.reports(around=lost)
    lines = host.text().splitlines()
    assert "zone example.com.: no answer from 10.0.0.254:53; goes by serial 7" in lines
    assert "trouble: 10.0.0.254:53: no answer within 0.5 s; check the tunnel" in lines
    assert host.below("registry")[0].endswith(f"nothing came from {PLACE} for 9 s")
    assert lines[-2].startswith("registry: there is no tunnel to it.")


def test_an_old_server_is_said_to_be_asked_for_each_peer(host):
    host.reports(around=Surroundings(version=ZoneVersion(SERVER, 7)))
    assert "zone example.com.: asks 10.0.0.254:53 for each peer, serial 7" in host.text()


def test_a_peer_behind_the_same_address_is_told_as_such(host):
    host.shows(BOB, HOME)
    same = Endpoint(AWAY.address, 51820)
    host.reports(decision(State.PUNCHING, before=same, target=same, due=5000.5))
    (_reason, _zone, hint) = host.below("bob")
    assert hint.startswith("it is behind the same address as this host")


def test_machines_find_everything_as_it_is(host):
    host.shows(BOB, HOME, "10.0.0.2/32 10.9.0.0/24", age=40)
    host.reports(
        decision(State.DIRECT, before=HOME, target=AWAY, answers=False, due=5030.0),
        failures={BOB: "port 0"},
    )
    bob = host.peer(BOB)
    assert bob["since"] == NOW
    assert bob["directory_endpoint"] == str(AWAY)
    assert bob["directory_failure"] == "port 0"
    assert (bob["answers_probes"], bob["rtt"]) == (False, None)
    assert bob["due"] == NOW + 30
    assert math.isclose(bob["handshake_age"], 42.0)
    assert bob["allowed_ips"] == ["10.0.0.2/32", "10.9.0.0/24"]
    assert "  no reply  " in host.text()
    assert host.text().count("10.0.0.2/32 +1") == 1


def test_lines_fit_a_terminal(host):
    host.shows(BOB)
    reason = f"no handshake with {HOME}: is it on, and can the NATs in between be punched? " * 3
    host.reports(a_try())
    host.reports(
        decision(State.UNREACHABLE, reason=reason.strip(), due=5042.0),
        around=Surroundings(**{**vars(FOLLOWING), "trouble": "x " * 200}),
    )
    for verbose in (False, True):
        assert max(map(len, host.text(verbose=verbose).splitlines())) <= WIDTH


def test_names_of_a_registrys_configuration_come_before_the_zones(host):
    host.shows(BOB, HOME, age=5)
    host.reports(decision(State.DIRECT, before=HOME))
    peers = host.status(names={BOB: "robert"})["peers"]
    assert [peer["name"] for peer in peers] == [None, "robert"]


def test_a_peer_that_the_client_has_added_is_told_as_such(host):
    host.shows(BOB, HOME, age=40)
    host.shows(CAROL, AWAY, "10.0.0.3/32", age=40)
    around = dataclasses.replace(FOLLOWING, index=7, discovered={CAROL: "carol"})
    direct = [
        decision(State.DIRECT, key=key, before=where) for key, where in ((BOB, HOME), (CAROL, AWAY))
    ]
    host.reports(*direct, around=around)
    assert host.peer(CAROL)["discovered"] is True
    assert host.peer(BOB)["discovered"] is False
    assert any("discovered" in line for line in host.text(verbose=True).splitlines())
    assert "discovered" not in host.text()


def test_a_member_that_was_not_added_is_told_with_the_reason(host):
    reason = "its network 192.168.5.0/24 is outside of the tunnel's own"
    around = dataclasses.replace(FOLLOWING, refused={CAROL: Refusal("carol", reason)})
    host.shows(BOB, HOME, age=40)
    host.reports(decision(State.DIRECT, before=HOME), around=around)
    assert host.status()["not_added"] == [
        {"public_key": CAROL.base64, "name": "carol", "reason": reason}
    ]
    assert f"not added, though a member of the zone: carol: {reason}" in host.text()
