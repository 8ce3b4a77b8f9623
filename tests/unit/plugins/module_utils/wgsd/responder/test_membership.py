# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalog's serial stays while its members do, and never goes back."""

from __future__ import annotations

import pathlib

import pytest

from wgsd.config import CatalogSettings, ResponderSettings, ZoneSettings
from wgsd.responder import membership
from wgsd.zone.serial import by_clock

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0


def serial(
    folder: pathlib.Path, *zones: str, now: float = NOW, catalog: str = "catalog.example."
) -> int:
    """The serial that a run with these zones gives to its catalog."""
    made = membership.catalog_of(
        ResponderSettings(
            tuple(ZoneSettings(zone, "wg0") for zone in zones),
            catalog=CatalogSettings(catalog),
            state_dir=folder,
        ),
        now,
    )
    assert made
    return made.serial


def test_without_a_catalog_nothing_is_kept(tmp_path: pathlib.Path) -> None:
    settings = ResponderSettings((ZoneSettings("a.example.", "wg0"),), state_dir=tmp_path)
    assert membership.catalog_of(settings, NOW) is None
    assert list(tmp_path.iterdir()) == []


def test_it_starts_from_the_clock_and_stays_while_the_members_do(tmp_path: pathlib.Path) -> None:
    first = serial(tmp_path, "a.example.", "b.example.")
    assert first == by_clock(NOW)
    assert serial(tmp_path, "b.example.", "a.example.", now=NOW + 5000) == first


def test_it_moves_when_a_member_comes_or_goes(tmp_path: pathlib.Path) -> None:
    first = serial(tmp_path, "a.example.")
    assert serial(tmp_path, "a.example.", "b.example.", now=NOW + 1) == first + 10
    assert serial(tmp_path, "a.example.", now=NOW + 2) == first + 20


def test_it_moves_on_though_the_clock_was_set_back(tmp_path: pathlib.Path) -> None:
    first = serial(tmp_path, "a.example.")
    assert serial(tmp_path, "b.example.", now=NOW - 1000) == first + 1


def test_a_catalog_by_another_name_is_another_one(tmp_path: pathlib.Path) -> None:
    first = serial(tmp_path, "a.example.")
    assert serial(tmp_path, "a.example.", catalog="other.example.", now=NOW + 1) == first + 10


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"serial": "x"}', "\0"])
def test_a_damaged_file_is_told_and_written_anew(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / membership.FILE).write_text(text)
    first = serial(tmp_path, "a.example.")
    assert first == by_clock(NOW)
    assert "starts from the clock" in caplog.text
    assert serial(tmp_path, "a.example.", now=NOW + 1) == first


def test_what_could_not_be_written_does_not_come_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serial(tmp_path, "a.example.")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(membership.os, "fsync", full)
        second = serial(tmp_path, "b.example.", now=NOW + 1)
    assert "No space left on device" in caplog.text
    assert serial(tmp_path, "a.example.", now=NOW + 2) > second
