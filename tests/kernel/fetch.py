# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the beds fetch and make, kept by its recipe in $WGSD_KERNEL_CACHE or `.cache/kernel`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from .bed import ROOT
from .errors import BedError

CACHE = pathlib.Path(os.environ.get("WGSD_KERNEL_CACHE") or ROOT / ".cache" / "kernel").resolve()
#: Lists of packages.
PACKAGES, UML_PACKAGES = "apt-packages.txt", "uml-packages.txt"
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def place(what: str, recipe: t.Sequence[str]) -> pathlib.Path:
    """The folder in which *what* is once it has been made by this recipe."""
    digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]
    return CACHE / f"{what}-{digest}"


def cached(
    what: str, recipe: t.Sequence[str], make: t.Callable[[pathlib.Path], None]
) -> pathlib.Path:
    """Return the folder that *make* fills, made once for each recipe; half a one is never seen."""
    folder = place(what, recipe)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            print(f"making {folder.name} ({recipe[0]}), kept in {CACHE}", flush=True)
            # An environment knows its own path, so the contents are linked to by the recipe's name.
            contents = pathlib.Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=CACHE))
            try:
                make(contents)
                contents.chmod(0o755)
                folder.symlink_to(contents.name)
            except BaseException:
                shutil.rmtree(contents, ignore_errors=True)
                raise
    return folder


def unpack(suite: str, package: str, prefix: str, folder: pathlib.Path) -> None:
    """Unpack the package that the metapackage *package* of a Debian suite stands for.

    It comes from the mirror that this machine uses.

    Args:
        prefix: How the name of the one that is meant begins.

    Raises:
        BedError: there is no mirror, no such package, or apt fails.
    """
    if not KEYRING.exists():
        raise BedError(f"{KEYRING} is not here: install debian-archive-keyring")
    mirrors = command(
        "apt-get", "indextargets", "--format", "$(REPO_URI)",
        "Created-By: Packages", "Label: Debian", "Component: main",
    ).split()  # fmt: skip
    if not mirrors:
        raise BedError("apt knows no Debian mirror: add one to its sources and run apt-get update")
    with tempfile.TemporaryDirectory(prefix="wgsd-kernel-apt-") as scratch:
        state = pathlib.Path(scratch)
        # apt drops its privileges to read and write here.
        state.chmod(0o755)
        (state / "lists" / "partial").mkdir(parents=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True)
        (state / "status").touch()
        sources = state / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {mirrors[0]} {suite} main\n")
        options = [
            f"-oDir::Etc::SourceList={sources}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={state / 'lists'}",
            f"-oDir::State::Status={state / 'status'}",
            f"-oDir::Cache={state / 'cache'}",
            "-oAPT::Sandbox::User=root",
        ]
        command("apt-get", *options, "-qq", "update")
        depends = command("apt-cache", *options, "depends", "--important", package).split()
        meant = next((word for word in depends[1:] if word.startswith(prefix)), package)
        command("apt-get", *options, "-qq", "download", meant, cwd=state)
        (archive,) = state.glob("*.deb")
        command("dpkg-deb", "-x", str(archive), str(folder))


def command(*words: str, cwd: pathlib.Path | None = None) -> str:
    """Run a program and return its output; its error output goes into the exception."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BedError(f"{' '.join(words)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def check_tools(packages: str, *needed: str) -> None:
    """Fail with a remedy if a program is not here.

    Args:
        packages: The file of this folder that lists the packages to install.
    """
    missing = [tool for tool in needed if shutil.which(tool) is None]
    if missing:
        listing = pathlib.Path(__file__).with_name(packages)
        raise BedError(f"not installed: {', '.join(missing)}: install the packages in {listing}")
