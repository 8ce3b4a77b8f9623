# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The comparison of runs with what check mode had said of them."""

from __future__ import annotations

import typing as t

import pytest

from tests.roles import foretold

pytestmark = pytest.mark.unit
PATH = "/etc/wireguard/wg0.conf"
OWN = "[Interface]\nPrivateKey = (hidden)\n"
KEY = "NnLaTLn2dpGfNp3lkAKjOhZBk9kW3jJqYfa0pZsAdhg="
OTHER = "OHxRTQpuBPdC2oFCQjk4zeYxnYGxxDSCOZBzdt1Ao0Y="
STEP = {"diff": [{"prepared": "start x\n"}]}


def run(*results: dict[str, t.Any], check: bool = False, limit: str = "") -> dict[str, t.Any]:
    return {
        "playbook": "site.yml",
        "limit": limit,
        "variables": [],
        "check": check,
        "results": list(results),
    }


def task(name: str = "Write it", host: str = "alice", **values: t.Any) -> dict[str, t.Any]:
    return {"host": host, "task": name, "action": "wgsd.mesh.wgsd_client", **values}


def file(after: str, before: str = "", path: str = "/etc/x") -> dict[str, t.Any]:
    return {"diff": [{"after_header": path, "before": before, "after": after}]}


def interface(before: str, after: str, key: str | None, host: str = "alice", *steps: str) -> t.Any:
    diff: list[dict[str, str]] = [{"after_header": PATH, "before": before, "after": after}]
    diff += [{"prepared": "".join(f"{step}\n" for step in steps)}] if steps else []
    return {
        "host": host,
        "task": "Have peers",
        "action": "wgsd.mesh.wg_interface",
        "changed": before != after,
        "public_key": key,
        "diff": diff,
    }


def peer(key: str) -> str:
    return f"\n# bob\n[Peer]\nPublicKey = {key}\n"


def test_a_run_that_does_what_was_foretold_has_no_difference() -> None:
    diff = {"after_header": "/etc/x", "before": "1\n", "after": "2\n"}
    same = task(changed=True, diff=[diff, {"prepared": "start x\n"}])
    assert foretold.differences(run(same, check=True), run(same)) == []


@pytest.mark.parametrize(
    ("check", "real", "word"),
    [
        ({"changed": False}, {"changed": True}, "done and not foretold: Write it"),
        ({"changed": True}, {"changed": False}, "foretold and not done: Write it"),
        ({"changed": False}, {"changed": True, **STEP}, "done and not foretold: start x"),
        ({"changed": True, **STEP}, {"changed": False}, "foretold and not done: start x"),
        (
            {"changed": True, **file("1\n")},
            {"changed": True, **file("2\n")},
            "/etc/x: foretold ('', '1'), done ('', '2')",
        ),
    ],
)
def test_a_difference_is_told(check: dict[str, t.Any], real: dict[str, t.Any], word: str) -> None:
    (line,) = foretold.differences(run(task(**check), check=True), run(task(**real)))
    assert line == f"alice: {word}"


def test_a_file_that_two_tasks_change_counts_for_what_comes_of_both() -> None:
    check = run(interface("", OWN, KEY), interface("", OWN + peer(OTHER), KEY), check=True)
    real = run(interface("", OWN, KEY), interface(OWN, OWN + peer(OTHER), KEY))
    assert foretold.differences(check, real) == []


def test_the_peers_of_a_key_that_the_run_makes_cannot_be_foretold() -> None:
    check = run(
        interface("", OWN, None, "bob"),
        interface("", OWN, KEY, "alice", "wg0: start it"),
        interface("", OWN, KEY, "alice", "wg0: start it"),
        check=True,
    )
    real = run(
        interface("", OWN, OTHER, "bob"),
        interface("", OWN, KEY, "alice", "wg0: start it"),
        interface(OWN, OWN + peer(OTHER), KEY, "alice", "wg0: add peer bob"),
    )
    assert foretold.differences(check, real) == []


def test_a_task_that_is_for_such_keys_alone_cannot_be_foretold_either() -> None:
    check = run(interface("", OWN, None, "bob"), interface(OWN, OWN, KEY), check=True)
    real = run(
        interface("", OWN, OTHER, "bob"),
        interface(OWN, OWN + peer(OTHER), KEY, "alice", "wg0: add peer bob"),
    )
    assert foretold.differences(check, real) == []


def test_an_interface_that_the_run_starts_may_have_its_peers_from_the_start() -> None:
    start = "wg0: start wg-quick@wg0.service"
    first = interface("", OWN, KEY, "alice", start)
    bob = interface(OWN, OWN, OTHER, "bob")
    check = run(bob, first, interface("", OWN + peer(OTHER), KEY, "alice", start), check=True)
    after = interface(OWN, OWN + peer(OTHER), KEY, "alice", "wg0: add peer bob")
    assert foretold.differences(check, run(bob, first, after)) == []
    assert len(foretold.differences(run(bob, first, check=True), run(bob, first, after))) == 1


def test_a_service_is_not_foretold_to_read_again_what_a_key_to_come_adds() -> None:
    bob = interface("", OWN, None, "bob")
    diff = [
        *file(f"names:\n  {OTHER}: bob\nport: 53\n", "names: {}\nport: 53\n")["diff"],
        *STEP["diff"],
    ]
    check = run(bob, task(changed=False), check=True)
    assert (
        foretold.differences(
            check, run({**bob, "public_key": OTHER}, task(changed=True, diff=diff))
        )
        == []
    )


def test_the_peers_of_a_key_that_was_there_can_be_foretold() -> None:
    check = run(interface("", OWN, OTHER, "bob"), interface(OWN, OWN, KEY), check=True)
    real = run(interface("", OWN, OTHER, "bob"), interface(OWN, OWN + peer(OTHER), KEY))
    (line,) = foretold.differences(check, real)
    assert OTHER in line


def test_what_others_do_with_a_next_key_that_the_run_makes_cannot_be_foretold() -> None:
    made = {"host": "bob", "task": "Prepare", "action": "wgsd.mesh.wg_key", "changed": True}
    foretold_key = {**made, "public_key": OTHER, "next_public_key": None}
    check = run(foretold_key, task(changed=False), check=True)
    names = file(f"names:\n  {KEY}: bob\n", f"names:\n  {OTHER}: bob\n")["diff"]
    settled = interface(OWN + peer(OTHER), OWN + peer(KEY), OTHER, "alice", "wg0: add peer bob")
    real = run(
        {**foretold_key, "next_public_key": KEY},
        {**settled, "task": "Settle", "action": "wgsd.mesh.wg_key"},
        task(changed=True, diff=[*names, *STEP["diff"]]),
    )
    assert foretold.differences(check, real) == []
    other = run(*real["results"], task("Do more", changed=True))
    assert foretold.differences(check, other) == ["alice: done and not foretold: Do more"]


def test_each_run_in_check_mode_is_compared_with_the_run_after_it() -> None:
    runs = [run(check=True), run(), run(), run(check=True, limit="alice"), run(limit="alice")]
    assert foretold.pairs(runs) == [(runs[0], runs[1]), (runs[3], runs[4])]


@pytest.mark.parametrize(
    "runs",
    [[run(check=True)], [run(check=True), run(limit="bob")], [run(check=True), run(check=True)]],
)
def test_a_run_in_check_mode_that_another_run_follows_is_a_mistake(
    runs: list[dict[str, t.Any]],
) -> None:
    with pytest.raises(ValueError, match="not followed by the same run"):
        foretold.pairs(runs)
