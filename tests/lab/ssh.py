# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to a systemd host for people and Ansible: real SSH over a Unix socket.

The mission's hosts have no network path from the machine that runs Ansible, so the lab adds none:
systemd on each host starts an sshd for every connection to a socket that lies in a folder which
host and machine share. Keys are made for one lab and thrown away with it.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .podman import run_dir

_PERSIST_SECONDS = 60
_KEY_ALIAS = "wgsd-lab"


@dataclass(frozen=True)
class Access:
    """The files by which one lab's hosts are reached; all lie in the lab's state folder."""

    prefix: str
    state: Path

    @property
    def config(self) -> Path:
        return self.state / "ssh_config"

    @property
    def control_dir(self) -> Path:
        """Where multiplexed connections have their sockets: one folder per lab, a short path."""
        return run_dir(self.prefix) / "control"

    @property
    def _key(self) -> Path:
        return self.state / "id_ed25519"

    @property
    def _host_key(self) -> Path:
        return self.state / "ssh_host_ed25519_key"

    @property
    def _known_hosts(self) -> Path:
        return self.state / "known_hosts"

    def create(self, hosts: Sequence[str]) -> None:
        """Make the keys and the configuration for ``ssh -F``."""
        for key in (self._key, self._host_key):
            if not key.exists():
                make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {self.prefix}"]
                subprocess.run([*make, "-f", str(key)], check=True)
        public = self._host_key.with_suffix(".pub").read_text(encoding="utf-8")
        self._known_hosts.write_text(f"{_KEY_ALIAS} {public}", encoding="utf-8")
        self.control_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config.write_text(self._config_text(hosts), encoding="utf-8")

    def host_files(self) -> dict[str, tuple[int, str]]:
        """What a host's disk holds so that this lab gets in: path -> (mode, text)."""
        public = self._key.with_suffix(".pub").read_text(encoding="utf-8")
        private_host = self._host_key.read_text(encoding="utf-8")
        return {
            "/etc/wgsd-lab/authorized_keys": (0o600, public),
            "/etc/wgsd-lab/ssh_host_ed25519_key": (0o600, private_host),
        }

    def _config_text(self, hosts: Sequence[str]) -> str:
        connect = shlex.join(
            [sys.executable, "-IS", str(Path(__file__).with_name("ssh_connect.py").resolve())]
        )
        doors = str(run_dir(self.prefix) / "hosts")
        return f"""\
# Made by the lab {self.prefix} and thrown away with it: ssh -F {self.config} {hosts[0]}
Host {" ".join(hosts)}
  User root
  ProxyCommand {connect} {doors}/%n/ssh.sock
  ProxyUseFdpass yes
  IdentityFile "{self._key}"
  IdentitiesOnly yes
  PreferredAuthentications publickey
  HostKeyAlias {_KEY_ALIAS}
  UserKnownHostsFile "{self._known_hosts}"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  ConnectTimeout 20
  LogLevel ERROR
  ControlMaster auto
  ControlPath {self.control_dir}/%n
  ControlPersist {_PERSIST_SECONDS}
"""
