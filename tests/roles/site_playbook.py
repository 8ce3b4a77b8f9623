# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks, site.yml before all, run on the hosts of a lab, and a ping meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

from tests.lab.podman import Host
from tests.lab.systemd import SystemdLab

PROJECT = Path(__file__).resolve().parents[2]
#: Packets a second of a ping that runs through something.
RATE = 20
_RECAP = re.compile(r"^(\S+)\s+: (ok=\d+ .*)$", re.MULTILINE)

# Of the running interface only what is not the client's: endpoints, keepalives and order are.
_STATE = """
find /etc/wireguard /etc/wgsd /etc/systemd/system /usr/local -type f -exec sha256sum {} + | sort
wg show all allowed-ips | sort
dpkg-query --show
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run of Ansible left: exit status, output, and the recap as host -> word -> number."""

    status: int
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """The last lines of the output as numbers."""
        return {
            host: {word: int(n) for word, n in re.findall(r"(\w+)=(\d+)", counts)}
            for host, counts in _RECAP.findall(self.output)
        }

    def count(self, word: str) -> dict[str, int]:
        """Return one number of the recap, by host."""
        return {host: counts[word] for host, counts in self.recap.items()}


class Site:
    """The playbooks on the hosts of one lab."""

    def __init__(self, lab: SystemdLab) -> None:
        self.lab = lab

    def run(
        self,
        *arguments: str,
        collections: Path | None = None,
        playbook: str = "wgsd.mesh.site",
    ) -> Run:
        """Run a playbook as a user does.

        :param collections: where the collection lies; by default this checkout is it
        """
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
        if collections:
            environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
        command = [str(Path(sys.executable).with_name("ansible-playbook"))]
        command += ["--inventory", str(self.lab.inventory), "--diff", *arguments, playbook]
        result = subprocess.run(
            command,
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(result.returncode, result.stdout)

    def build(self, *arguments: str, collections: Path | None = None) -> Run:
        """Run the playbook to the end."""
        run = self.run(*arguments, collections=collections)
        assert run.status == 0, run.output
        return run

    def state(self) -> dict[str, list[str]]:
        """Return what the roles write and set, as lines of text, of all hosts that are on."""
        return {
            name: host.run(["sh", "-c", _STATE]).stdout.splitlines()
            for name, host in self.lab.hosts.items()
            if host.pid() is not None
        }


@dataclasses.dataclass
class Pings:
    """What became of a ping's packets; known once it has ended."""

    sent: int = 0
    lost: int = 0
    output: str = ""


@contextlib.contextmanager
def pinging(host: Host, address: str) -> t.Iterator[Pings]:
    """Ping *address* from *host*, `RATE` times a second, while something happens."""
    pings = Pings()
    command = ["ping", "-q", "-i", str(1 / RATE), address]
    process = host.popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield pings
    finally:
        # The process is nsenter, and ping its child.
        os.killpg(process.pid, signal.SIGINT)
        pings.output = process.communicate(timeout=10)[0]
    found = re.search(r"(\d+) packets transmitted, (\d+) received", pings.output)
    assert found, pings.output
    pings.sent, received = map(int, found.groups())
    # The last packet may still be under way.
    pings.lost = max(0, pings.sent - received - 1)
    assert pings.sent > RATE, f"too short to tell anything: {pings.output}"
