# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who looks after an interface is the only one, and nobody who is no more stands in the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from tests.unit.plugins.module_utils.wgsd.client.decisions import look
from wgsd.client import report as module
from wgsd.client.lock import alone, lock_path
from wgsd.client.report import Report, Surroundings, report_path
from wgsd.config import ClientSettings
from wgsd.errors import UsageError
from wgsd.model import Endpoint

pytestmark = pytest.mark.unit

SETTINGS = ClientSettings("wg0", "example.com.", (Endpoint("10.0.0.254", 53),))
#: A client that has just started: it has reported nothing yet.
HOLD = """
import pathlib, sys, time
from wgsd.client import lock, report
report.RUNTIME_DIR = pathlib.Path(sys.argv[1])
with lock.alone("wg0"):
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RUNTIME_DIR", tmp_path / "wgsd")
    return tmp_path / "wgsd"


@contextlib.contextmanager
def another(folder):
    """Have another process be the client of wg0."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def reported(**fields):
    """Leave the report of a client that runs: this process."""
    report = Report(SETTINGS)
    report.publish(look(), Surroundings())
    report.tick()
    path = report_path("wg0")
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_second_one_is_refused_at_once_and_told_of_the_first(folder):
    with (
        another(folder) as first,
        pytest.raises(UsageError, match=f"process {first.pid} looks after wg0 already; .*--once"),
        alone("wg0"),
    ):
        pass


def test_another_interface_has_another_client(folder):
    with another(folder), alone("wg0.5"):
        assert lock_path("wg0.5").name == "client-wg0.5.lock"


def test_one_that_was_killed_is_in_nobodys_way(folder):
    with another(folder) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        with alone("wg0"):
            assert lock_path("wg0").read_text() == f"{os.getpid()}\n"
    with alone("wg0"):
        pass


def test_one_that_holds_the_lock_and_has_not_said_who_it_is_is_respected_all_the_same(folder):
    with another(folder):
        lock_path("wg0").write_text("")
        with pytest.raises(UsageError, match="another process looks after wg0"), alone("wg0"):
            pass


def test_nobody_else_on_the_host_can_take_the_lock():
    with alone("wg0"):
        assert stat.S_IMODE(lock_path("wg0").stat().st_mode) == 0o600


@pytest.mark.parametrize("version", ["0.0.1", "999"])
def test_one_without_a_lock_is_known_by_its_report_whatever_its_version(version):
    reported(version=version)
    with pytest.raises(UsageError, match=f"process {os.getpid()} looks after"), alone("wg0"):
        pass
    for fields in ({"stopped": 1.0}, {"birth": None}, {"birth": 1}, {"pid": "x"}):
        reported(**fields)
        with alone("wg0"):
            pass


def test_without_a_folder_to_write_in_it_looks_after_the_interface_all_the_same(
    folder, monkeypatch, caplog
):
    folder.write_text("not a folder")
    with alone("wg0"):
        pass
    assert "nothing keeps a second client from wg0" in caplog.text
