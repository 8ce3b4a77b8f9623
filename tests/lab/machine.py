# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lab needs of the machine that it runs on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from .errors import LabError
from .progress import say

_PACKAGES = Path(__file__).with_name("apt-packages.txt")
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INOTIFY_PER_HOST = 10
_LINE = re.compile(r"^(?P<package>[a-z0-9.+-]+)\s+# needs: (?P<proof>\S+)$")
# What a kernel without built-in parts loads before the first namespace asks for it.
_MODULES = ("tun", "veth", "bridge", "overlay", "nf_tables", "nft_masq", "nft_numgen", "wireguard")


def missing_packages(listing: str) -> list[str]:
    """Packages of ``listing`` (see apt-packages.txt) that are not on this machine."""
    named = [package_of(line) for line in listing.splitlines()]
    return [name for name, proof in filter(None, named) if not _is_there(proof)]


def package_of(line: str) -> tuple[str, str] | None:
    """The package that a line of apt-packages.txt names, and the command or file that proves it."""
    match = _LINE.match(line)
    return (match["package"], match["proof"]) if match else None


def _is_there(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else bool(shutil.which(proof))


def check() -> None:
    """Make sure that a lab can be built here.

    :raises LabError: says what is missing and the command that mends it
    """
    become_operator()
    missing = missing_packages(_PACKAGES.read_text(encoding="utf-8"))
    if missing:
        raise LabError(
            f"this machine lacks {', '.join(missing)}; mend it with\n"
            f"  apt-get install --no-install-recommends {' '.join(missing)}"
        )
    if shutil.which("modprobe"):
        # Best effort: where modules are built in or belong to an outer host, there are none.
        subprocess.run(
            ["modprobe", "--quiet", "--all", *_MODULES], check=False, stderr=subprocess.DEVNULL
        )
    if not Path("/dev/net/tun").exists():
        raise LabError("no /dev/net/tun on this machine; load its module with `modprobe tun`")


def make_room(hosts: int) -> None:
    """See to it that so many more systemd hosts find the inotify instances that they need.

    All hosts share root's limit, 128 by default, and units fail on a host that finds it used up.
    Raised only if it must be, and said; it falls back when the machine boots again.
    """
    limit = int(_INOTIFY.read_text(encoding="utf-8"))
    needed = _inotify_instances() + hosts * _INOTIFY_PER_HOST
    if needed > limit:
        raised = max(1024, 2 * needed)
        say(f"raising fs.inotify.max_user_instances from {limit} to {raised} until the next boot")
        _INOTIFY.write_text(f"{raised}\n", encoding="utf-8")


def _inotify_instances() -> int:
    """How many there are on this machine now."""
    count = 0
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            count += str(descriptor.readlink()) == "anon_inode:inotify"
    return count


def become_operator() -> None:
    """Make sure to be root, and to find root's commands: plain `su` keeps a user's PATH.

    :raises LabError: for anybody but root
    """
    if os.geteuid() != 0:
        raise LabError("namespaces and containers need root; run the lab with sudo")
    if "/usr/sbin" not in os.environ.get("PATH", "").split(":"):
        os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin')}:/usr/sbin:/sbin"


def cache_dir() -> Path:
    """Where images are kept: ``$WGSD_LAB_CACHE``, or ``.cache/lab`` in the project."""
    project = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("WGSD_LAB_CACHE") or project / ".cache" / "lab").resolve()
