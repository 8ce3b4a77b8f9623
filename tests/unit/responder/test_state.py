# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Serials outlive the process, and trouble with that is told once."""

from __future__ import annotations

import pathlib

import pytest

from wgsd.responder.state import SerialFiles

pytestmark = pytest.mark.unit


def test_a_saved_serial_is_there_in_the_next_run(tmp_path: pathlib.Path) -> None:
    SerialFiles(tmp_path).save("example.com.", 4711)
    SerialFiles(tmp_path).save("example.com.", 4712)
    assert SerialFiles(tmp_path).load("example.com.") == 4712
    assert [path.name for path in tmp_path.iterdir()] == ["example.com.serial"]


def test_a_zone_without_a_saved_serial_has_none(tmp_path: pathlib.Path) -> None:
    assert SerialFiles(tmp_path / "not there").load("example.com.") is None


def test_a_damaged_file_is_told_and_not_used(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "example.com.serial").write_text("garbage")
    assert SerialFiles(tmp_path).load("example.com.") is None
    assert "serials cannot be read" in caplog.text


def test_a_missing_folder_is_told_once(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = SerialFiles(tmp_path / "not there")
    files.save("example.com.", 1)
    files.save("example.com.", 2)
    assert len(caplog.records) == 1
