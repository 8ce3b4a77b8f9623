# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``wgsd status`` beside real clients: those that run, have started again, or were killed."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from .bare import BareLab
from .mesh import INTERFACE, Mesh

pytestmark = pytest.mark.lab

PREFIX = "wgts"


@pytest.fixture(scope="module")
def direct() -> t.Iterator[Mesh]:
    """A mesh whose two peers have a direct tunnel that their clients made."""
    with BareLab(PREFIX) as lab, Mesh(lab) as mesh:
        mesh.start_responder()
        for name in ("alice", "bob"):
            mesh.connect(name)
            mesh.start_client(name, metrics_file="/run/wgsd/client.prom")
        mesh.wait_direct("alice", "bob")
        mesh.wait(lambda: bob_of(mesh)["answers_probes"], "answer to a probe", 30)
        yield mesh


def status(mesh: Mesh) -> dict[str, t.Any]:
    done = mesh.wgsd("alice", "status", "--interface", INTERFACE, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]


def bob_of(mesh: Mesh) -> dict[str, t.Any]:
    key = str(mesh.key("bob"))
    return next(peer for peer in status(mesh)["peers"] if peer["public_key"] == key)


def test_a_direct_peer_is_told_with_all_that_the_client_knows(direct: Mesh) -> None:
    bob = bob_of(direct)
    assert (bob["name"], bob["state"], bob["endpoint_source"]) == ("bob", "direct", "directory")
    assert 0 < bob["rtt"] < 1
    assert str(direct.peer("alice", "bob").endpoint) == bob["directory_endpoint"]
    found = status(direct)
    assert found["directory"]["follows"] == "10.0.0.254:53"
    assert found["directory"]["seen_at"].startswith(direct.lab.host("alice").outside + ":")


def test_the_log_says_how_long_the_handshake_took(direct: Mesh) -> None:
    logs = "".join(direct.log(name, "client") for name in ("alice", "bob"))
    assert re.search(r"-> direct: .*; handshake \d+ ms after the last try", logs), logs


def test_the_metrics_are_there_while_the_client_runs(direct: Mesh) -> None:
    path = direct.lab.host("alice").path("/run/wgsd/client.prom")
    assert 'wgsd_client_peers{interface="wg0",state="direct"}' in path.read_text()


def test_a_client_that_starts_again_knows_what_the_one_before_has_set(direct: Mesh) -> None:
    before = bob_of(direct)
    direct.stop("alice", "client")
    ended = status(direct)
    assert not ended["agent"]
    assert ended["client"]["problem"] == "the client has ended"
    assert not direct.lab.host("alice").path("/run/wgsd/client.prom").exists()
    direct.start_client("alice")
    direct.wait(lambda: status(direct)["agent"], "report of the new client")
    after = bob_of(direct)
    for field in ("endpoint_source", "last_action", "last_action_at", "since"):
        assert after[field] == before[field]


def test_a_client_that_was_killed_is_not_taken_for_one_that_runs(direct: Mesh) -> None:
    direct.wait(lambda: bob_of(direct)["name"], "name of Bob in the report")
    direct.kill("alice", "client")
    done = direct.wgsd("alice", "status", "--interface", INTERFACE)
    assert re.search(r"the client \(process \d+\) was killed or has crashed", done.stdout)
    assert re.search(r"^bob +direct ", done.stdout, re.MULTILINE)
    direct.start_client("alice")
    direct.wait(lambda: status(direct)["agent"], "report of the new client")
