# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is concluded from findings: those of the lab's runs, and what may be missing or odd in them.

The findings in ``findings/`` were written by the tests of the lab (see ``tools/troubleshooting``).
"""

from __future__ import annotations

import copy
import itertools
import json
import typing as t
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.filter.mesh_diagnosis import mesh_diagnosis
from ansible_collections.wgsd.mesh.plugins.plugin_utils._diagnosis import diagnose

pytestmark = pytest.mark.unit

FINDINGS = Path(__file__).with_name("findings")
NAMES = sorted(path.stem for path in FINDINGS.glob("*.json"))
HOSTS = ("alice", "bob", "registry")

Findings = dict[str, t.Any]


def recorded(name: str) -> Findings:
    """Return what was found in a run of the lab."""
    found: Findings = json.loads(FINDINGS.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return found


def causes(findings: Findings) -> list[str]:
    return [problem["cause"] for problem in diagnose(findings)["problems"]]


def peer(findings: Findings, at: str, of: str, result: str = "probe") -> dict[str, t.Any]:
    """Return the entry that a host's device has for another host."""
    hosts = findings["hosts"]
    key = hosts[of]["probe"]["interface"]["public_key"]
    peers = hosts[at][result]["interface"]["peers"]
    return next(entry for entry in peers if entry["public_key"] == key)


def toward(findings: Findings, at: str, of: str) -> dict[str, t.Any]:
    """Return what a host has tried towards another one."""
    found: dict[str, t.Any] = findings["hosts"][at]["probe"]["probe"]["peers"][of]
    return found


def break_link(findings: Findings, one: str, other: str) -> Findings:
    """Have pings between two hosts answered by nobody, and no session there."""
    for at, of in ((one, other), (other, one)):
        entry = toward(findings, at, of)
        entry["small"].update(received=0, rtt=None)
        entry["large"].update(sent=0, received=0)
        entry.update(rx=0)
        for result in ("survey", "probe"):
            peer(findings, at, of, result).update(last_handshake=None, handshake_age=None)
        silence(findings, at, of)
    return findings


def silence(findings: Findings, at: str, of: str) -> None:
    """Have nothing of a host seen on the wire of another."""
    hosts = findings["hosts"]
    endpoint = toward(findings, at, of)["endpoint"]
    address = endpoint.rpartition(":")[0]
    probe = hosts[at]["probe"]["probe"]
    probe["wire"] = [
        seen
        for seen in probe["wire"]
        if seen["direction"] == "out" or not seen["remote"].startswith(address)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_the_cause_that_the_lab_has_made_and_no_other(name: str) -> None:
    found = causes(recorded(name))
    if name == "well":
        assert found == []
    else:
        assert len(found) == 1
        assert name.startswith(found[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_comes_with_evidence_and_a_remedy(name: str) -> None:
    for problem in diagnose(recorded(name))["problems"]:
        assert problem["evidence"]
        assert problem["remedy"]
        assert not problem["text"].endswith(".") or problem["text"].endswith("com.")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("missing", HOSTS)
def test_goes_on_without_a_host(name: str, missing: str) -> None:
    findings = recorded(name)
    for result in ("survey", "alone", "probe"):
        findings["hosts"][missing].pop(result, None)
    findings["hosts"][missing]["trouble"] = "no route to host"
    diagnosis = diagnose(findings)
    assert f"{missing} could not be examined (no route to host)" in diagnosis["notes"][0]
    assert diagnosis["lines"]


@pytest.mark.parametrize("name", NAMES)
def test_goes_on_when_nobody_could_be_examined(name: str) -> None:
    findings = recorded(name)
    findings["hosts"] = {host: {"trouble": "no route to host"} for host in HOSTS}
    diagnosis = diagnose(findings)
    assert diagnosis["reached"] is None
    assert not diagnosis["well"]
    assert diagnosis["lines"][0] == "Whether alice reaches bob could not be tried."


def paths(value: t.Any, before: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """Yield the ways to all that is in nested mappings, lists aside."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield (*before, key)
        yield from paths(inner, (*before, key))


@pytest.mark.parametrize("name", ["well", "symmetric_nat_both", "silence"])
def test_any_one_finding_may_be_missing_or_unknown(name: str) -> None:
    findings = recorded(name)
    for path, how in itertools.product(paths(findings["hosts"]), ("missing", "unknown")):
        changed = copy.copy(findings)
        # Only the way there is copied: there are some thousand ways.
        inner = changed["hosts"] = copy.copy(findings["hosts"])
        for step in path[:-1]:
            inner[step] = inner = copy.copy(inner[step])
        if how == "missing":
            del inner[path[-1]]
        else:
            inner[path[-1]] = None
        assert diagnose(changed)["lines"], path


def test_a_tunnel_that_works_is_well_whatever_the_nats_are() -> None:
    findings = recorded("well")
    seen = findings["hosts"]["registry"]["probe"]["probe"]["nat"]
    for number, one in enumerate(seen):
        one["source"] = f"{one['source'].rpartition(':')[0]}:{40000 + number}"
    assert diagnose(findings)["well"]


def test_pings_count_more_than_what_was_seen_on_the_wire() -> None:
    findings = recorded("well")
    for host in HOSTS:
        findings["hosts"][host]["probe"]["probe"]["wire"] = []
    assert diagnose(findings)["well"]


def test_what_cannot_be_watched_is_not_taken_for_silence() -> None:
    findings = recorded("registry_port_in_front")
    for host in HOSTS:
        findings["hosts"][host]["probe"]["probe"].update(wire=[], wire_error="not permitted")
    diagnosis = diagnose(findings)
    assert [problem["cause"] for problem in diagnosis["problems"]] == ["unknown"]
    assert "alice: not permitted" in diagnosis["notes"]


def test_hosts_that_did_not_listen_at_the_same_time_prove_nothing() -> None:
    findings = recorded("registry_port_in_front")
    window = findings["hosts"]["registry"]["probe"]["probe"]["window"]
    window[:] = [moment + 60 for moment in window]
    assert causes(findings) == ["unknown"]


def test_a_wrong_key_explains_more_than_a_firewall() -> None:
    findings = recorded("registry_port_on_it")
    for result in ("survey", "probe"):
        entry = peer(findings, "alice", "registry", result)
        entry["public_key"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
    diagnosis = diagnose(findings)
    codes = [problem["cause"] for problem in diagnosis["problems"]]
    assert codes[0] == "wrong_key"


def test_what_explains_most_comes_first() -> None:
    findings = recorded("registry_port_on_it")
    client = findings["hosts"]["alice"]["probe"]["client"]
    client.update(running=False, problem="wgsd-client is inactive")
    assert causes(findings) == ["registry_port", "client"]


@pytest.mark.parametrize(
    ("came", "is_silent"), [("", True), ("initiation", True), ("response", False)]
)
def test_a_registry_that_begins_anew_itself_has_answered_nothing(came, is_silent) -> None:
    """It does after 15 s without a reply: its packets come through the host's own NAT."""
    findings = recorded("registry_port_in_front")
    for result in ("survey", "alone", "probe"):
        findings["hosts"]["registry"].pop(result, None)
    for host in ("alice", "bob") if came else ():
        probe = findings["hosts"][host]["probe"]["probe"]
        toward = probe["peers"]["registry"]
        seen = next(one for one in probe["wire"] if one["remote"] == toward["endpoint"])
        probe["wire"].append({**seen, "direction": "in", "kind": came, "count": 1})
        toward["rx"] = {"initiation": 148, "response": 92}[came]
    told = [problem["text"] for problem in diagnose(findings)["problems"]]
    silent = "registry does not answer on WireGuard's port, and could not be examined"
    assert (silent in told) is is_silent, told


def test_a_registry_that_is_not_reached_is_not_well_whatever_the_reason() -> None:
    findings = recorded("well")
    for near, far in (("alice", "registry"), ("registry", "alice")):
        entry = findings["hosts"][near]["probe"]["probe"]["peers"][far]
        entry["small"]["received"] = entry["large"]["received"] = 0
    diagnosis = diagnose(findings)
    assert diagnosis["reached"]
    assert not diagnosis["well"]
    (problem,) = diagnosis["problems"]
    assert problem["cause"] == "unknown"
    assert problem["text"].startswith("alice does not reach registry, and none of the usual")
    assert "journalctl -u wgsd-responder" in problem["remedy"]


def test_two_hosts_accuse_a_third_one_that_nobody_could_ask() -> None:
    findings = recorded("wrong_key")
    for result in ("survey", "alone", "probe"):
        findings["hosts"]["registry"].pop(result, None)
    (problem, *_more) = diagnose(findings)["problems"]
    assert problem["text"] == "alice and bob have different public keys for registry"


def test_a_peer_that_the_registry_does_not_know() -> None:
    findings = break_link(recorded("well"), "alice", "registry")
    key = findings["hosts"]["alice"]["probe"]["interface"]["public_key"]
    for result in ("survey", "probe"):
        interface = findings["hosts"]["registry"][result]["interface"]
        interface["peers"] = [one for one in interface["peers"] if one["public_key"] != key]
    problem = diagnose(findings)["problems"][0]
    assert problem["text"] == "registry does not know alice"


@pytest.mark.parametrize(("one", "other"), [("alice", "bob"), ("bob", "alice")])
def test_only_one_has_a_preshared_key(one: str, other: str) -> None:
    findings = break_link(recorded("well"), "alice", "bob")
    peer(findings, one, other)["preshared_digest"] = "00aa"
    problem = diagnose(findings)["problems"][0]
    assert problem["text"] == f"{one} has a preshared key for {other}, and {other} has none"


def test_a_preshared_key_that_differs_is_told_before_the_session_ends() -> None:
    findings = recorded("well")
    peer(findings, "alice", "bob")["preshared_digest"] = "00aa"
    diagnosis = diagnose(findings)
    assert diagnosis["reached"]
    assert not diagnosis["well"]


def test_the_clock_of_a_host_that_was_set_back_by_its_own_handshake() -> None:
    findings = break_link(recorded("well"), "alice", "bob")
    now = findings["hosts"]["alice"]["survey"]["clock"]["now"]
    peer(findings, "alice", "bob").update(last_handshake=now + 600, handshake_age=-600.0)
    problem = diagnose(findings)["problems"][0]
    assert problem["cause"] == "clock"
    assert "10 m later than alice's clock" in problem["evidence"][0]


def test_a_receiver_whose_clock_is_ahead_does_not_accuse_the_sender() -> None:
    findings = break_link(recorded("well"), "alice", "bob")
    hosts = findings["hosts"]
    hosts["bob"]["survey"]["clock"]["offset"] = 60.0
    hosts["bob"]["survey"]["clock"]["now"] += 60
    now = hosts["alice"]["survey"]["clock"]["now"]
    peer(findings, "bob", "alice").update(last_handshake=now + 40, handshake_age=200.0)
    problem = diagnose(findings)["problems"][0]
    assert problem["text"].startswith("the clock of bob is ")


def send(findings: Findings, at: str, of: str) -> None:
    """Have two handshakes of a host leave for another."""
    entry = toward(findings, at, of)
    findings["hosts"][at]["probe"]["probe"]["wire"].append(
        {
            "direction": "out",
            "remote": entry["endpoint"] or entry["endpoint_before"],
            "kind": "initiation",
            "ours": None,
            "count": 2,
            "bytes": 296,
        }
    )


def lost() -> Findings:
    """Return what is found when both send, and nothing arrives."""
    findings = break_link(recorded("well"), "alice", "bob")
    send(findings, "alice", "bob")
    send(findings, "bob", "alice")
    return findings


def test_udp_between_two_cones_gets_lost() -> None:
    assert causes(lost()) == ["blocked"]


def test_two_hosts_behind_one_nat_without_hairpin() -> None:
    findings = json.loads(json.dumps(lost()).replace("192.0.2.20:", "198.51.100.10:"))
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "hairpin"
    assert "both are seen at 198.51.100.10" in problem["evidence"][-1]
    assert "hairpin" in problem["remedy"]
    assert "forward" not in problem["remedy"]


def test_a_private_address_that_both_have_is_no_nat_that_they_share() -> None:
    findings = lost()
    for host in ("alice", "bob"):
        findings["hosts"][host]["probe"]["addresses"].append("172.17.0.1")
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "blocked"
    assert not any("172.17.0.1" in line for line in problem["evidence"])


def open_bob() -> Findings:
    """Return what is found when alice's NAT is symmetric, and bob has none."""
    findings = recorded("symmetric_nat_alice")
    findings["hosts"]["bob"]["probe"]["addresses"].append("192.0.2.20")
    findings["hosts"]["bob"]["probe"]["probe"]["wire"] = []
    return findings


def test_a_firewall_on_a_host_without_nat_is_not_taken_for_a_nat_that_cannot_be_punched() -> None:
    findings = open_bob()
    findings["hosts"]["bob"]["probe"]["probe"]["wire"].append(
        {
            "direction": "in",
            "remote": "198.51.100.10:33333",
            "kind": "initiation",
            "ours": True,
            "count": 2,
            "bytes": 296,
        }
    )
    toward(findings, "bob", "alice")["rx"] = 0
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "firewall"
    assert problem["text"].startswith("a firewall on bob drops what alice sends")


def test_a_firewall_in_front_of_a_host_without_nat() -> None:
    findings = open_bob()
    send(findings, "alice", "bob")
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "symmetric_nat"
    assert problem["text"] == (
        "the NAT of alice is symmetric, and a firewall in front of bob lets in only what it knows"
    )
    assert problem["remedy"] == "let UDP port 51820 in at the firewall in front of bob"


def test_a_symmetric_nat_is_no_obstacle_to_a_host_that_has_none() -> None:
    findings = open_bob()
    client = findings["hosts"]["alice"]["probe"]["client"]
    client.update(running=False, problem="wgsd-client is inactive")
    assert causes(findings) == ["client"]


def test_an_allowed_ip_that_is_just_not_there() -> None:
    findings = break_link(recorded("well"), "alice", "bob")
    for result in ("survey", "probe"):
        peer(findings, "alice", "bob", result)["allowed_ips"] = []
    problem = diagnose(findings)["problems"][0]
    assert problem["cause"] == "allowed_ips"
    assert "lack its address 10.0.0.2" in problem["text"]


def test_another_interface_takes_the_tunnel_address() -> None:
    findings = break_link(recorded("well"), "alice", "bob")
    toward(findings, "alice", "bob")["tunnel_route"] = "docker0"
    problem = diagnose(findings)["problems"][0]
    assert problem["cause"] == "route"
    assert "out by docker0" in problem["text"]


def test_the_registry_listens_on_another_port_than_the_inventory_says() -> None:
    findings = break_link(recorded("well"), "alice", "registry")
    findings["hosts"]["registry"]["probe"]["interface"]["listen_port"] = 443
    codes = causes(findings)
    assert codes[0] == "endpoint"


def test_a_host_without_keepalive_whose_nat_has_not_forgotten_it_is_well() -> None:
    findings = recorded("well")
    for result in ("survey", "probe"):
        peer(findings, "alice", "registry", result)["persistent_keepalive"] = None
    assert diagnose(findings)["well"]


def test_the_inventory_gives_two_hosts_one_address() -> None:
    findings = recorded("well")
    findings["addresses"]["dave"] = ["10.0.0.2/24"]
    problem = diagnose(findings)["problems"][0]
    assert problem["cause"] == "duplicate_address"
    assert "bob and dave the same tunnel address 10.0.0.2" in problem["text"]


def test_an_address_may_be_spelled_in_other_ways() -> None:
    findings = recorded("well")
    text = json.dumps(findings)
    for old, new in (
        ("10.0.0.254:53", "[fd00::fe]:53"),
        ("10.0.0.254/32", "fd00::fe/128"),
        ("10.0.0.254", "fd00::fe"),
        ("10.0.0.2/32", "fd00::2/128"),
        ("10.0.0.2/24", "fd00::2/64"),
    ):
        text = text.replace(old, new)
    findings = json.loads(text)
    findings["hosts"]["registry"]["address"] = "FD00:0:0::FE/64"
    findings["hosts"]["bob"]["address"] = "fd00:0:0:0::2"
    findings["addresses"].update(registry=["FD00:0::00FE/64"], bob=["fd00:0::2"])
    diagnosis = diagnose(findings)
    assert diagnosis["well"], diagnosis["lines"]
    findings["addresses"]["dave"] = ["fd00::0:2/64"]
    (problem,) = diagnose(findings)["problems"]
    assert "bob and dave the same tunnel address fd00::2" in problem["text"]


def test_an_address_that_is_none_is_told_as_it_is() -> None:
    findings = recorded("well")
    findings["addresses"].update(bob=["10.0.0.x/24"], dave=["10.0.0.x"])
    (problem,) = diagnose(findings)["problems"]
    assert "the same tunnel address 10.0.0.x" in problem["text"]


def test_a_client_that_is_behind_the_zone() -> None:
    findings = recorded("well")
    probe = findings["hosts"]["bob"]["probe"]
    probe["client"]["report"]["serial"] = probe["probe"]["zone"]["serial"] - 5
    problem = diagnose(findings)["problems"][0]
    assert problem["text"] == "the client on bob hangs: it is behind the zone"
    assert problem["remedy"].startswith("on bob: systemctl restart wgsd-client; ")


@pytest.mark.parametrize("follows", ["10.0.0.253:53", None])
def test_the_serials_of_two_registries_are_not_compared(follows: str | None) -> None:
    findings = recorded("well")
    probe = findings["hosts"]["bob"]["probe"]
    report = probe["client"]["report"]
    # One that may not transfer the zone asks for its serial only while a peer is not direct.
    report.update(serial=probe["probe"]["zone"]["serial"] - 5, follows=follows)
    report.update(asks=None if follows else "10.0.0.254:53")
    assert diagnose(findings)["well"]


def test_commands_are_for_the_unit_that_the_host_has() -> None:
    findings = recorded("well")
    probe = findings["hosts"]["bob"]["probe"]
    probe["client"]["unit"] = "wgsd-client@lab"
    probe["client"]["report"]["serial"] = probe["probe"]["zone"]["serial"] - 5
    (problem,) = diagnose(findings)["problems"]
    unit = "wgsd-client@lab"
    assert problem["remedy"] == f"on bob: systemctl restart {unit}; see journalctl -u {unit}"
    findings = break_link(recorded("well"), "alice", "bob")
    for host in HOSTS:
        findings["hosts"][host]["probe"]["probe"].update(wire=[], wire_error="not permitted")
    findings["hosts"]["bob"]["probe"]["client"]["unit"] = unit
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "unknown"
    assert problem["remedy"] == (
        "on alice: wgsd status --verbose, and journalctl -u wgsd-client;"
        f" on bob: wgsd status --verbose, and journalctl -u {unit}"
    )
    findings = {**break_link(findings, "alice", "registry"), "to": "registry"}
    (problem, *_more) = diagnose(findings)["problems"]
    assert problem["remedy"].endswith("journalctl -u wgsd-responder")


def test_a_client_that_has_not_set_what_the_zone_has() -> None:
    findings = break_link(recorded("well"), "alice", "bob")
    toward(findings, "alice", "bob").update(endpoint=None, endpoint_before=None)
    probe = findings["hosts"]["alice"]["probe"]["probe"]
    probe["wire"] = [
        seen for seen in probe["wire"] if seen["remote"] != probe["zone"]["peers"]["bob"]
    ]
    problem = diagnose(findings)["problems"][0]
    assert problem["text"] == "the client on alice has not set the endpoint of bob"


def rest(findings: Findings, at: str, of: str, seconds: float, state: str = "unreachable") -> None:
    """Have the client of a host be silent towards another one for so long after the examination."""
    probe = findings["hosts"][at]["probe"]
    entry = toward(findings, at, of)
    entry.update(endpoint=None)
    probe["client"]["report"]["peers"] = {
        entry["public_key"]: {
            "state": state,
            "reason": "silent until both ends try again, so that routers forget",
            "due": probe["probe"]["window"][1] + seconds,
        }
    }


def silent() -> Findings:
    """Return what is found while both clients are silent towards one another."""
    findings = break_link(recorded("well"), "alice", "bob")
    for at, of, seconds in (("alice", "bob", 40.0), ("bob", "alice", 42.0)):
        entry = toward(findings, at, of)
        probe = findings["hosts"][at]["probe"]["probe"]
        gone = entry["endpoint"], entry["endpoint_before"]
        probe["wire"] = [seen for seen in probe["wire"] if seen["remote"] not in gone]
        entry.update(endpoint_before=None)
        probe["window"][1] = 1800000000.0
        findings["hosts"][at]["survey"]["clock"]["offset"] = 0.0
        rest(findings, at, of, seconds)
    return findings


def test_clients_that_are_silent_by_design_are_not_accused() -> None:
    (problem,) = diagnose(silent())["problems"]
    assert problem["cause"] == "silence"
    assert problem["text"] == (
        "the clients on alice and bob have tried in vain, and are silent for another 42 s so that"
        " routers forget"
    )
    assert "08:00:42 UTC" in problem["remedy"]
    assert "wgsd_doctor_seconds=120" in problem["remedy"]
    assert any(line.startswith("the client on alice: silent until") for line in problem["evidence"])
    assert any(line.startswith("NAT of bob: ") for line in problem["evidence"])


def test_a_silence_that_nobody_knows_the_end_of() -> None:
    findings = silent()
    rest(findings, "alice", "bob", -5.0)
    rest(findings, "bob", "alice", -5.0, "punching")
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "silence"
    assert "UTC" not in problem["remedy"]


def test_a_client_that_should_have_tried_again_long_ago_is_not_silent_by_design() -> None:
    findings = silent()
    rest(findings, "alice", "bob", -90.0)
    texts = [problem["text"] for problem in diagnose(findings)["problems"]]
    assert texts == [
        "the client on bob has tried in vain, and is silent for another 42 s so that routers"
        " forget",
        "the client on alice has not set the endpoint of bob",
    ]


def test_what_was_seen_before_the_silence_began_says_more_than_the_silence() -> None:
    findings = silent()
    for at, of in (("alice", "bob"), ("bob", "alice")):
        # From one silence to the next: what the zone has was tried in between.
        told = findings["hosts"][at]["probe"]["probe"]["zone"]["peers"][of]
        toward(findings, at, of)["endpoint_before"] = told
        send(findings, at, of)
        toward(findings, at, of)["endpoint_before"] = None
    assert causes(findings) == ["blocked"]


def test_a_symmetric_nat_is_named_during_the_silence_as_well() -> None:
    findings = recorded("symmetric_nat_both")
    rest(findings, "alice", "bob", 40.0)
    rest(findings, "bob", "alice", 40.0)
    assert causes(findings) == ["symmetric_nat"]


def test_a_symmetric_nat_against_none_is_not_called_unpunchable_during_the_silence() -> None:
    findings = open_bob()
    rest(findings, "alice", "bob", 40.0)
    rest(findings, "bob", "alice", 40.0)
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "silence"
    assert any(line.startswith("NAT of bob: no NAT") for line in problem["evidence"])


def test_one_of_the_two_may_be_the_registry() -> None:
    findings = {**recorded("well"), "to": "registry"}
    diagnosis = diagnose(findings)
    assert diagnosis["well"], diagnosis["lines"]
    assert diagnosis["lines"][0].startswith("alice reaches registry: ")
    findings = {**recorded("registry_port_on_it"), "from": "registry", "to": "alice"}
    assert causes(findings) == ["registry_port"]


def test_the_filter_reads_the_variables_of_hosts() -> None:
    findings = recorded("preshared_key")
    hostvars = {
        name: {
            "wgsd_address": [f"{facts['address']}/24"],
            "wgsd_zone": "example.com",
            **{f"_wgsd_{result}": facts.get(result) for result in ("survey", "alone", "probe")},
        }
        for name, facts in findings["hosts"].items()
    }
    found = mesh_diagnosis(hostvars, "alice", "bob", "registry", list(hostvars))
    assert [problem["cause"] for problem in found["problems"]] == ["preshared_key"]
    hostvars["bob"] = {
        "wgsd_address": "10.0.0.2/24",
        "_wgsd_survey": {"unreachable": True, "msg": "Failed to connect: timed out\nmore"},
        "_wgsd_probe": {"skipped": True},
    }
    found = mesh_diagnosis(hostvars, "alice", "bob", "registry", list(hostvars))
    assert found["notes"][0].startswith("bob could not be examined (Failed to connect: timed out):")


def answer(findings: Findings, status: str, *names: str, said: str | None = None) -> None:
    """Have the registry answer hosts otherwise than they hope."""
    for name in names:
        zone = findings["hosts"][name]["probe"]["probe"]["zone"]
        zone.update(status=status, said=said, serial=None, peers={})


@pytest.mark.parametrize(
    "said", ["The peer didn't know the key we used", "The peer didn't like the time we used"]
)
def test_a_signature_that_the_registry_rejects_is_no_firewall(said: str) -> None:
    findings = recorded("responder_blocked")
    answer(findings, "ok", "bob")
    answer(findings, "signature", "alice", said=said)
    (problem,) = diagnose(findings)["problems"]
    assert problem["cause"] == "responder"
    assert problem["text"] == "the responder on registry rejects the signature of alice's queries"
    assert f"signature rejected ({said})" in problem["evidence"][0]
    assert "wgsd.mesh.site --limit alice,registry" in problem["remedy"]
    assert "clocks" in problem["remedy"]


@pytest.mark.parametrize("status", ["SERVFAIL", "no such zone", "the answer is not signed"])
def test_an_answer_of_another_kind_is_told_as_it_is(status: str) -> None:
    findings = recorded("responder_blocked")
    answer(findings, status, "alice", "bob")
    (problem,) = diagnose(findings)["problems"]
    assert problem["text"] == f"the responder on registry answers with: {status}"
    assert "firewall" not in problem["remedy"]


def test_a_firewall_is_blamed_only_where_nobody_has_a_bad_answer() -> None:
    findings = recorded("responder_blocked")
    answer(findings, "REFUSED", "bob")
    texts = [problem["text"] for problem in diagnose(findings)["problems"]]
    assert texts == [
        "the responder on registry does not answer alice",
        "the responder on registry refuses to answer for example.com.",
    ]


def test_a_firewall_that_rejects_queries_is_one_as_well() -> None:
    findings = recorded("responder_blocked")
    answer(findings, "refused", "alice", "bob")
    (problem,) = diagnose(findings)["problems"]
    assert "a firewall there drops DNS" in problem["text"]
