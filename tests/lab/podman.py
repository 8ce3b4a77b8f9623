# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd hosts: rootful podman containers that boot an image in a node's network.

podman lives in a node of its own, the holder, whose /run is private: its storage, its state and
the hosts' disks (overlays over the image, in memory) lie there, never near the machine's own
podman, and are gone with the holder.
"""

from __future__ import annotations

import resource
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import netns
from .errors import LabError
from .image_recipe import SSH_SOCKET
from .netns import Node

HOLDER = "podman"
# Enough for any host; a machine without CAP_SYS_RESOURCE may not set more than it has itself.
_MAX_FILES = 524288
_MAX_PROCESSES = 32768
_CAPABILITIES = "SYS_ADMIN,NET_ADMIN,NET_RAW,SYS_PTRACE,SYS_NICE,AUDIT_WRITE,DAC_READ_SEARCH"
_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "TERM=xterm",
)
# systemd in a container wants a pure cgroup2 tree. On a machine that boots with systemd that is
# what is there; elsewhere (cgroup v1, hybrid) only this mount namespace gets one.
_PURE_CGROUP2 = """
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -R -l /sys/fs/cgroup || true
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
"""
_PRIVATE_RUN = """
lab={run_dir}
mkdir -p $lab/new
mount -t tmpfs -o mode=755 tmpfs $lab/new
mkdir $lab/new${{lab#/run}}
mount --bind $lab $lab/new${{lab#/run}}
mount --no-mtab --move $lab/new /run
rmdir $lab/new
mount -t tmpfs tmpfs /dev/shm
mkdir -p /run/netns /run/podman /run/hosts /sys/fs/cgroup/{cgroup}
"""
_REMOVE_CGROUPS = """
tree=/sys/fs/cgroup/{cgroup}
for attempt in $(seq 50); do
  [ ! -d $tree ] || find $tree -depth -type d -exec rmdir {{}} + 2>/dev/null || true
  [ ! -d $tree ] && exit 0
  sleep 0.1
done
echo "the cgroup $tree still has processes" >&2
exit 1
"""


def run_dir(prefix: str) -> Path:
    """Where a lab's sockets lie on the machine: short, since a socket's path has 107 bytes.

    No folder is shared by labs: one that goes could take it from under one that comes up.
    """
    return Path(f"/run/wgsd-lab-{prefix}")


def machine_kind() -> str:
    """What the lab found this machine to be, for people."""
    init = Path("/proc/1/comm").read_text(encoding="utf-8").strip()
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", "/sys/fs/cgroup"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    if kind == "cgroup2fs":
        return f"PID 1 is {init}, cgroup2: the hosts' cgroups go into the machine's tree"
    return f"PID 1 is {init}, cgroup v1 or hybrid: the hosts get a cgroup2 tree of their own"


class Podman:
    """The hosts of one lab."""

    def __init__(self, prefix: str, holder: Node) -> None:
        self.prefix = prefix
        self.holder = holder

    @classmethod
    def create(cls, prefix: str) -> Podman:
        """Make the holder and podman's configuration in it."""
        setup = _PURE_CGROUP2 + _PRIVATE_RUN.format(
            run_dir=shlex.quote(str(run_dir(prefix))), cgroup=_cgroup(prefix)
        )
        run_dir(prefix).mkdir(parents=True, exist_ok=True)
        podman = cls(prefix, netns.create(prefix, HOLDER, setup))
        podman.holder.path("/run/podman/containers.conf").write_text(_containers_conf())
        return podman

    @classmethod
    def attach(cls, prefix: str) -> Podman | None:
        """The podman that another process has made; None if it is gone."""
        holder = netns.find(prefix).get(HOLDER)
        return cls(prefix, holder) if holder else None

    def boot(self, name: str, node: Node, rootfs: Path, files: dict[str, tuple[int, str]]) -> Host:
        """Boot a host of the image ``rootfs`` in the network of ``node``.

        :param files: what lies on the host's disk before it boots: path -> (mode, text)
        """
        host = Host(self, name, node)
        base = f"/run/hosts/{name}"
        layers = f"lowerdir={rootfs},upperdir={base}/upper,workdir={base}/work"
        self.holder.run(["mkdir", "-p", f"{base}/upper", f"{base}/work", f"{base}/disk"])
        self.holder.run(["mount", "-t", "overlay", "-o", layers, "overlay", f"{base}/disk"])
        for inside, (mode, text) in files.items():
            path = self.holder.path(f"{base}/disk{inside}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(mode)
        door = run_dir(self.prefix) / "hosts" / name
        door.mkdir(parents=True, exist_ok=True)
        options = [
            "--detach",
            f"--name={name}",
            f"--hostname={name}",
            # Without an address for its own name a host waits 5 s for every `hostname -f`.
            f"--add-host={name}:127.0.1.1",
            "--dns=none",
            f"--network=ns:/proc/{node.pid}/ns/net",
            "--systemd=always",
            "--stop-signal=SIGRTMIN+3",
            f"--cgroup-parent=/{_cgroup(self.prefix)}",
            f"--cap-add={_CAPABILITIES}",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--security-opt=unmask=ALL",
            "--device=/dev/net/tun",
            f"--volume={door}:{Path(SSH_SOCKET).parent}",
            f"--pidfile={base}/pid",
        ]
        self.call(["run", *options, "--rootfs", f"{base}/disk", "/sbin/init"])
        return host

    def call(self, arguments: Sequence[str], check: bool = True) -> str:
        """Run podman with ``arguments``; what it prints.

        :raises LabError: when podman fails, unless ``check`` is false
        """
        command = [
            "env",
            "CONTAINERS_CONF=/run/podman/containers.conf",
            "podman",
            "--root=/run/podman/root",
            "--runroot=/run/podman/runroot",
            "--tmpdir=/run/podman/tmp",
            "--storage-driver=vfs",
            "--network-config-dir=/run/podman/networks",
        ]
        return self.holder.run([*command, *arguments], check=check, timeout=120).stdout


class Host:
    """One systemd host."""

    def __init__(self, podman: Podman, name: str, node: Node) -> None:
        self.name = name
        self.node = node
        self._podman = podman

    def pid(self) -> int | None:
        """The host's init as the machine sees it; None while the host is off."""
        try:
            text = self._podman.holder.path(f"/run/hosts/{self.name}/pid").read_text()
            pid = int(text)
            # A pid is the host's only while it is the first process of a PID namespace there.
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        ids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
        return pid if len(ids) > 2 and ids[-1] == "1" and "\nState:\tZ" not in status else None

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` on the host, in its root folder.

        :raises LabError: while the host is off
        """
        pid = self.pid()
        if pid is None:
            raise LabError(f"{self.name} is off; start it with `start-host {self.name}`")
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        enter = ["nsenter", f"--target={pid}", *spaces, "--wdns=/"]
        return [*enter, "--", "/usr/bin/env", "-i", *_ENVIRONMENT, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` on the host as root, to its end, and catch what it writes.

        :raises LabError: if ``check`` and it ends with another status than 0
        :raises subprocess.TimeoutExpired: after ``timeout`` seconds
        """
        return netns.run_caught(self.name, argv, self.command(argv), stdin, check, timeout)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` on the host."""
        options.setdefault("start_new_session", True)
        return self.node.adopt(subprocess.Popen(self.command(argv), **options))

    def wait_until_running(self, patience: float = 120.0) -> None:
        """Return once systemd has started everything and nothing of it has failed.

        :raises LabError: when a unit failed, or after ``patience`` seconds
        """
        deadline = time.monotonic() + patience
        state = "off"
        while time.monotonic() < deadline:
            if self.pid() is not None:
                state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
            if state == "running":
                return
            if state == "degraded":
                failed = self.run(["systemctl", "--failed", "--no-legend", "--plain"]).stdout
                raise LabError(f"{self.name}: units have failed:\n{failed}")
            time.sleep(0.05)
        logs = self._podman.call(["logs", "--tail=20", self.name], check=False)
        raise LabError(f"{self.name} is {state!r} after {patience:.0f} s\n{logs}")

    def stop(self) -> None:
        """Shut the host down, as a person does."""
        self._podman.call(["stop", "--time=20", self.name])

    def kill(self) -> None:
        """Cut the host's power."""
        self._podman.call(["kill", "--signal=KILL", self.name])

    def start(self) -> None:
        """Boot the host again, with the disk it had; nothing if it is on.

        Its network namespace has outlived it, so what a reboot would have cleared is cleared here.
        """
        if self.pid() is not None:
            return
        self.node.run(["nft", "flush", "ruleset"])
        links = self.node.run(["ip", "-brief", "link"]).stdout.split("\n")
        for interface in [line.split()[0].split("@")[0] for line in links if line]:
            if interface not in ("lo", "eth0"):
                self.node.run(["ip", "link", "delete", interface], check=False)
        self._podman.call(["start", self.name])
        self.wait_until_running()


def remove_traces(prefix: str) -> None:
    """Remove what a lab's hosts leave when all their processes have ended: cgroups and sockets."""
    script = _PURE_CGROUP2 + _REMOVE_CGROUPS.format(cgroup=_cgroup(prefix))
    result = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "--", "bash", "-c", script],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    if result.returncode != 0:
        raise LabError(f"lab {prefix}: {result.stderr.strip()}")
    shutil.rmtree(run_dir(prefix), ignore_errors=True)


def _cgroup(prefix: str) -> str:
    return f"wgsd-lab-{prefix}"


def _containers_conf() -> str:
    """podman's settings; limits are no higher than the machine's own."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    files, processes = _at_most(files, _MAX_FILES), _at_most(processes, _MAX_PROCESSES)
    limits = [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]
    quoted = ", ".join(f'"{limit}"' for limit in limits)
    return f"""\
[containers]
default_ulimits = [{quoted}]
pids_limit = 0
base_hosts_file = "none"
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def _at_most(limit: int, most: int) -> int:
    return most if limit == resource.RLIM_INFINITY else min(limit, most)
