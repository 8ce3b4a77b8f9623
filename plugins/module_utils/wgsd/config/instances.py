# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several meshes on one host: an instance of a daemon for each, and what belongs to it."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from ..errors import UsageError
from .settings import DEFAULT_STATE_DIR

CONFIG_FOLDER = pathlib.Path("/etc/wgsd")
RUNTIME_FOLDER = pathlib.Path("/run")
#: One label of a host name: it goes into names of files and units as it is.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Instance:
    """One instance of a daemon.

    Attributes:
        daemon: ``responder`` or ``client``.
        name: Empty for the one that a host with one mesh has.
    """

    daemon: str
    name: str = ""

    @property
    def service(self) -> str:
        """What people call its unit: ``wgsd-client@lab``."""
        return f"wgsd-{self.daemon}" + (f"@{self.name}" if self.name else "")

    @property
    def unit(self) -> str:
        """The whole name of its unit."""
        return f"{self.service}.service"

    @property
    def config_name(self) -> str:
        """The name of its configuration file."""
        return f"{self.daemon}{self._suffix}.yml"

    @property
    def state_dir(self) -> pathlib.Path:
        """Where it keeps its state unless it is told otherwise."""
        return DEFAULT_STATE_DIR.with_name(f"{DEFAULT_STATE_DIR.name}{self._suffix}")

    @property
    def runtime_dir(self) -> pathlib.Path:
        """Where it reports. Clients share a folder: their reports have names of their own."""
        own = f"-{self.daemon}{self._suffix}" if self.daemon == "responder" else ""
        return RUNTIME_FOLDER / f"wgsd{own}"

    @property
    def _suffix(self) -> str:
        return f"-{self.name}" if self.name else ""


def check_instance(name: str) -> str:
    """Return *name* if an instance can be called that; empty stands for the one without a name.

    Raises:
        UsageError: it cannot.
    """
    if name and not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an instance", "use 1 to 63 letters, digits and inner hyphens"
        )
    return name


def configured(daemon: str, folder: pathlib.Path) -> dict[Instance, pathlib.Path]:
    """Return the instances that have a configuration in *folder*, the one without a name first."""
    found = {}
    for path in sorted(folder.glob(f"{daemon}*.yml")):
        name = path.name[len(daemon) : -len(".yml")].lstrip("-")
        instance = Instance(daemon, name)
        if (not name or _NAME.fullmatch(name)) and instance.config_name == path.name:
            found[instance] = path
    return dict(sorted(found.items(), key=lambda item: item[0].name))
