# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom the playbooks that are told some hosts by name take into their run."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

pytest.importorskip("ansible")

from tests.playbooks.pretended_mesh import PretendedMesh

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("named", "added"),
    [
        ("carol", {"carol"}),
        ("carol,dave", {"carol", "dave"}),
        ("carol:dave", {"carol", "dave"}),
        (["carol", "dave"], {"carol", "dave"}),
        (["carol:dave", "ali*"], {"alice", "carol", "dave"}),
        ("wgsd_peers,!alice", {"carol", "dave"}),
    ],
)
def test_add_sets_up_all_that_are_named_and_the_registry(
    tmp_path: pathlib.Path, named: t.Any, added: set[str]
) -> None:
    mesh = PretendedMesh(tmp_path, ["registry"], ["alice", "carol", "dave"])
    run = mesh.run("add", wgsd_add=named)
    assert run.status == 0, run.output
    assert set(run.given("wgsd_client")) == added
    assert set(run.given("wgsd_responder")) == {"registry"}


def test_doctor_takes_a_host_that_is_called_by_its_address(tmp_path: pathlib.Path) -> None:
    mesh = PretendedMesh(tmp_path, ["registry"], ["fd00::1", "bob"])
    run = mesh.run("doctor", "--list-hosts", wgsd_from="fd00::1", wgsd_to="bob")
    hosts = run.output.rpartition("hosts (3): ")[2]
    assert set(hosts.split()) == {"registry", "fd00::1", "bob"}
