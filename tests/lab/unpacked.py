# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs out of Debian packages that must not be installed: they would start daemons here."""

from __future__ import annotations

import pathlib
import subprocess

from .lock import file_locked
from .machine import cache_dir


def unpacked(*packages: str) -> pathlib.Path:
    """Return the folder in which these packages are unpacked; the first call fetches them."""
    folder = cache_dir() / packages[0]
    folder.mkdir(parents=True, exist_ok=True)
    with file_locked(folder / "lock"):
        if not (folder / "done").exists():
            fetch = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root"]
            subprocess.run([*fetch, *packages], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            for archive in folder.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
            (folder / "done").touch()
    return folder


def promtool(*arguments: str, given: str = "") -> str:
    """Return what Prometheus' own checker complains of."""
    program = unpacked("prometheus") / "usr" / "bin" / "promtool"
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False
    )
    return done.stderr + (done.stdout if done.returncode else "")
