# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the lab reads the machine's apt sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import apt_sources
from tests.lab.apt_sources import Source
from tests.lab.errors import LabError

pytestmark = pytest.mark.unit

DEB822 = """\
# the machine's own
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
  bookworm-updates
Components: main non-free
Signed-By: /etc/os-release

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/os-release] http://mirror.example/debian bookworm main contrib
deb http://vendor.example/apt stable nonsense
"""


def test_paragraphs_are_read_with_all_their_suites() -> None:
    sources = apt_sources.parse_deb822(DEB822)
    assert [(source.uri, source.suite) for source in sources] == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://mirror.example/debian-security", "bookworm-security"),
    ]
    assert sources[0].components == ("main", "non-free")
    assert sources[0].signed_by == "/etc/os-release"


def test_lines_are_read_with_their_key() -> None:
    assert apt_sources.parse_list(ONE_LINE)[0] == Source(
        "http://mirror.example/debian", "bookworm", ("main", "contrib"), "/etc/os-release"
    )


def test_a_key_inside_a_paragraph_is_left_to_debian_s_own_keyring() -> None:
    text = (
        "Types: deb\nURIs: http://m.example\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN"
    )
    assert apt_sources.parse_deb822(text)[0].signed_by == ""


def test_another_suite_comes_from_the_same_mirrors() -> None:
    sources = apt_sources.for_suite("trixie", apt_sources.parse_deb822(DEB822))
    assert [source.line() for source in sources] == [
        "deb [signed-by=/etc/os-release] http://mirror.example/debian trixie main",
        "deb [signed-by=/etc/os-release] http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


def test_a_vendor_s_archive_is_not_taken_for_debian() -> None:
    vendor = [Source("http://vendor.example/apt", "stable", ("nonsense",))]
    with pytest.raises(LabError, match="no Debian archive"):
        apt_sources.for_suite("bookworm", vendor)


def test_a_list_of_mirrors_stands_for_its_first(tmp_path: Path) -> None:
    mirrors = tmp_path / "debian.list"
    mirrors.write_text("http://first.example/debian\nhttp://second.example/debian\n")
    machine = [Source(f"mirror+file:{mirrors}", "bookworm", ("main",))]
    assert apt_sources.for_suite("bookworm", machine)[0].uri == "http://first.example/debian"


def test_both_forms_of_files_are_read_from_the_machine(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/debian.sources.disabled").write_text(DEB822)
    assert len(apt_sources.read_machine(tmp_path)) == 2 + 3
