# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root file system of a lab's systemd hosts: made once by mmdebstrap, kept by its recipe."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from . import apt_sources, image_recipe
from .errors import LabError
from .lock import file_locked
from .progress import say, step

_RECIPE = Path(image_recipe.__file__)


def recipe_key(suite: str) -> str:
    """A short hash over all that decides what the image of ``suite`` holds."""
    recipe = _RECIPE.read_bytes() + f"{suite} {os.uname().machine}".encode()
    return hashlib.sha256(recipe).hexdigest()[:12]


def path(suite: str, cache: Path) -> Path:
    """Where the image of ``suite`` lies once it is built; ``rootfs`` below it is a whole one."""
    return cache / "images" / f"{suite}-{recipe_key(suite)}"


def ensure(suite: str, cache: Path) -> Path:
    """The root file system of ``suite``: from ``cache``, or built now (about a minute).

    A half-built image is never taken for a whole one: it is built aside and renamed.

    :raises LabError: for an unknown suite, or when mmdebstrap fails
    """
    if suite not in apt_sources.SUITES:
        raise LabError(f"unknown Debian suite {suite!r}; the lab knows {apt_sources.SUITES}")
    image = path(suite, cache)
    image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds setuid programs
    with file_locked(image.parent / f"{image.name}.lock"):
        if not image.exists():
            with step(f"building the image {image.name} (packages are downloaded)"):
                _build(suite, image)
    return image / "rootfs"


def collect_garbage(cache: Path) -> list[str]:
    """Remove images of other recipes than this lab's, and half-built ones; the removed names.

    An image on which a running lab's hosts stand is kept.
    """
    images = cache / "images"
    current = {path(suite, cache).name for suite in apt_sources.SUITES}
    removed = []
    for entry in sorted(images.iterdir()) if images.exists() else []:
        if entry.is_dir() and entry.name not in current and not _is_mounted(entry):
            with file_locked(images / f"{entry.name.lstrip('.').split('.')[0]}.lock"):
                shutil.rmtree(entry)
            removed.append(entry.name)
    for entry in sorted(images.glob("*.lock")):
        if not (images / entry.stem).exists():
            entry.unlink()
    return removed


def _is_mounted(image: Path) -> bool:
    """Whether a mount in any namespace is made of ``image``."""
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        with suppress(OSError):
            if str(image) in mounts.read_text(encoding="utf-8"):
                return True
    return False


def _build(suite: str, image: Path) -> None:
    sources = apt_sources.for_suite(suite, apt_sources.read_machine())
    aside = Path(tempfile.mkdtemp(prefix=f".{image.name}.", dir=image.parent))
    try:
        aside.chmod(0o755)
        command = ["mmdebstrap", *image_recipe.MMDEBSTRAP_OPTIONS]
        command += [f"--include={','.join(image_recipe.INSTALLED)}"]
        command += [f"--aptopt={option}" for option in _machine_apt_options()]
        # apt's own user cannot reach a folder that only root may enter, as a cache often is.
        command += ['--aptopt=APT::Sandbox::User "root"']
        command += [f'--customize-hook={sys.executable} {_RECIPE} "$1"']
        command += [suite, str(aside / "rootfs"), "-"]
        _run_talking(command, "\n".join(source.line() for source in sources) + "\n")
        aside.rename(image)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _machine_apt_options() -> list[str]:
    """The machine's apt settings that decide whether its mirror can be reached and believed."""
    dump = subprocess.run(
        ["apt-config", "dump"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return [
        line
        for line in dump.splitlines()
        if line.startswith("Acquire::")
        and ("proxy" in line.lower() or line.startswith("Acquire::Check-Valid-Until "))
        and not line.endswith(' "";')
    ]


def _run_talking(command: list[str], sources: str) -> None:
    """Run mmdebstrap, passing on the lines in which it says what it does."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(sources)
    process.stdin.close()
    seen = []
    for line in process.stdout:
        seen.append(line.rstrip())
        if line.startswith(("I:", "W:", "E:")):
            say("  " + line.rstrip())
    if process.wait() != 0:
        raise LabError(
            "mmdebstrap failed; its last lines were:\n  "
            + "\n  ".join(seen[-15:])
            + "\nCheck that `apt-get update` works on this machine, then try again."
        )
