# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service manager hears of us, if there is one."""

from __future__ import annotations

import logging
import os
import pathlib
import socket

import pytest

from wgsd.systemd import log_formatter, notify, take_passed_descriptors, watchdog_period

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_gets_the_assignments_a_line_each(
    abstract: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"wgsd-test-notify-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(("\0" if abstract else "") + name)
        monkeypatch.setenv("NOTIFY_SOCKET", ("@" if abstract else "") + name)
        notify("READY=1", "STATUS=serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"


def test_without_a_manager_or_with_one_that_has_gone_nothing_happens(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


def test_log_lines_carry_their_level_for_the_journal_and_a_name_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "two\nlines", (), None)
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert log_formatter().format(record) == "<3>two\n<3>lines"
    monkeypatch.delenv("JOURNAL_STREAM")
    assert log_formatter().format(record) == "wgsd: two\nlines"


def test_the_manager_is_given_files_to_keep(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("FDSTORE=1", "FDNAME=udp", descriptors=[manager.fileno()])
        data, descriptors, _flags, _address = socket.recv_fds(manager, 100, 4)
        assert data == b"FDSTORE=1\nFDNAME=udp"
        (kept,) = descriptors
        assert os.path.sameopenfile(kept, manager.fileno())
        os.close(kept)


def test_files_that_the_manager_passes_are_taken_once_and_only_if_meant_for_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "set_inheritable", lambda *_arguments: None)
    for pid, expected in ((os.getpid(), [3, 4]), (1, [])):
        monkeypatch.setenv("LISTEN_PID", str(pid))
        monkeypatch.setenv("LISTEN_FDS", "2")
        assert take_passed_descriptors() == expected
        assert "LISTEN_FDS" not in os.environ
    assert take_passed_descriptors() == []


def test_the_manager_says_how_often_it_wants_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert watchdog_period() is None
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    assert watchdog_period() == 20.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_period() is None
