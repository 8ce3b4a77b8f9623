# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts that only pretend: what their modules answer, and what a run of Ansible costs there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import answers, controller, converged
from tests.bench.ansible.connection_plugins.pretended import answer
from tests.bench.ansible_run import Runner
from tests.lab import topology
from tests.lab.errors import LabError

pytestmark = pytest.mark.unit

MODULES = Path(answers.__file__).resolve().parents[2] / "plugins" / "modules"


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Ansible with a registry and two peers that only pretend."""
    hosts = tmp_path / "hosts.json"
    hosts.write_text(json.dumps(controller.inventory(3)), encoding="utf-8")
    return Runner(tmp_path, hosts, 2, answers.prepare())


def test_every_module_of_the_collection_has_an_answer() -> None:
    prepared = answers.prepare()
    assert {path.stem for path in MODULES.glob("*.py")} == {
        name.rpartition(".")[2] for name in prepared if name.startswith("wgsd.mesh.")
    }
    assert not [name for name, one in prepared.items() if one["result"]["changed"]]


def test_an_interface_answers_with_what_its_documentation_says_that_it_returns() -> None:
    interface = answers.prepare()["wgsd.mesh.wg_interface"]
    assert {"public_key", "backend", "steps"} <= set(interface["result"])
    assert interface["result"]["steps"] == []
    assert interface["key"]


def test_only_what_is_done_on_a_host_counts_as_remote_and_each_turn_of_a_loop_does(
    runner: Runner,
) -> None:
    local: dict[str, Any] = {"ansible.builtin.set_fact": {"local": True}}
    cost = runner.play(
        [
            {"ansible.builtin.ping": None},
            local,
            {"ansible.builtin.assert": {"that": "local"}},
            {"ansible.builtin.ping": None, "when": "not local"},
            {"ansible.builtin.command": "test {{ item }}", "loop": [1, 2]},
            {"ansible.builtin.ping": None, "when": "inventory_hostname == 'registry'"},
        ]
    )
    assert cost.remote == {"registry": 4, "host0001": 3, "host0002": 3}
    assert cost.hosts == 3
    assert len(cost.tasks) >= 6
    assert 0 < sum(task["main_cpu"] + task["worker_cpu"] for task in cost.tasks) <= cost.cpu


def test_pretended_hosts_have_keys_of_their_own(runner: Runner) -> None:
    differ = "groups.all | map('extract', hostvars, ['wg0', 'public_key']) | unique | length == 3"
    runner.play(
        [
            {"wgsd.mesh.wg_interface": {"name": "wg0"}, "register": "wg0"},
            {"ansible.builtin.assert": {"that": [differ, "wg0 is not changed"]}},
        ]
    )


@pytest.mark.parametrize(
    "peers", [{"peers": [{"name": "bob"}]}, {"peers_json": '[{"name": "bob"}]'}]
)
def test_an_answer_tells_the_peers_that_were_given_if_it_is_asked(peers: dict[str, Any]) -> None:
    prepared = {
        "result": {"changed": False},
        "asked": {"peers": ["return_peers", ["a sample"]]},
        "key": False,
        "peers": ["name", "endpoint"],
        "secrets": [],
    }
    asked, unasked = (
        json.loads(answer(prepared, "alice", json.dumps({**peers, "return_peers": wanted})))
        for wanted in (True, False)
    )
    assert asked["peers"] == [{"name": "bob", "endpoint": None}]
    assert "peers" not in unasked
    assert unasked["invocation"]["module_args"] == {**peers, "return_peers": False}


def test_an_answer_does_not_tell_secrets_again() -> None:
    prepared = answers.prepare()["wgsd.mesh.wg_interface"]
    given = {"name": "wg0", "private_key": "hush"}
    told = answer(prepared, "alice", json.dumps(given))
    assert "hush" not in told
    assert json.loads(told)["invocation"]["module_args"]["name"] == "wg0"


def test_a_run_that_fails_on_a_host_is_no_figure(runner: Runner) -> None:
    with pytest.raises(LabError, match="no answer is prepared for"):
        runner.play([{"ansible.builtin.user": {"name": "alice"}}])


@pytest.mark.parametrize("peers", [1, 4, 19, 49])
def test_the_hosts_of_a_large_lab_fit_into_its_picture(peers: int) -> None:
    plans = topology.plan(converged.sites(peers))
    hosts = [host for plan in plans for host in plan.hosts]
    assert len(hosts) == len(set(hosts)) == peers
    assert max(len(plan.hosts) for plan in plans) - min(len(plan.hosts) for plan in plans) <= 1


def test_a_ping_by_itself_and_a_play_of_pings_are_measured_alike(runner: Runner) -> None:
    alone, in_a_play = runner.ping(), runner.pings(2)
    assert set(alone.remote.values()) == {1}
    assert set(in_a_play.remote.values()) == {2}
    assert 0 < alone.wall_ms == pytest.approx(1_000 * alone.seconds / 3)
