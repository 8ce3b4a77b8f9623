# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recipe of a lab host's image: what mmdebstrap installs, and what is then done to it.

mmdebstrap runs this file in the end, as ``python3 image_recipe.py ROOT``. The image is kept by
the hash of this file, so all that decides what an image holds stands here.

Hosts have no way to the internet, yet roles must really install their packages. So the image
carries them as a local apt repository, and that repository is all that its apt knows of.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

MMDEBSTRAP_OPTIONS = (
    "--variant=apt",
    "--mode=root",
    "--format=directory",
    "--skip=cleanup/apt/lists",  # they are the local repository's by then
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=force-unsafe-io",
)
# What a small Debian server has, and what people reach for when they look at a network.
# python3-apt is here since Ansible's apt module cannot run in check mode without it.
INSTALLED = (
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "openssh-server",
    "openssh-sftp-server",
    "python3",
    "python3-apt",
    "sudo",
    "kmod",
    "procps",
    "iproute2",
    "iputils-ping",
    "nftables",
    "ca-certificates",
    "tcpdump",
    "bind9-dnsutils",
)
# What roles install. With everything these depend on, it lies in the local repository.
OFFERED = (
    "wireguard-tools",
    "wireguard-go",
    "python3-dnspython",
    "python3-pyroute2",
    "python3-yaml",
    "python3-systemd",
    "python3-cryptography",
    "python3-prometheus-client",
    "ufw",
    "firewalld",
    "netbase",  # firewalld does not start without /etc/protocols
    "systemd-resolved",
)
# Units that fail or dawdle in a container.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "getty.target",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-udevd.service",
)
REPOSITORY = "var/lib/wgsd-lab/apt"
SSH_SOCKET = "/run/wgsd-lab/ssh.sock"

_SSH_SOCKET_UNIT = f"""\
[Unit]
Description=The lab's way in: sshd on a Unix socket, since a host has no network to the lab

[Socket]
ListenStream={SSH_SOCKET}
SocketMode=0600
Accept=yes

[Install]
WantedBy=sockets.target
"""
_SSH_SERVICE_UNIT = """\
[Unit]
Description=One SSH session of the lab
CollectMode=inactive-or-failed

[Service]
ExecStart=-/usr/sbin/sshd -i
StandardInput=socket
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes
RuntimeDirectoryMode=0755
KillMode=process
"""
_SSHD_CONFIG = """\
PermitRootLogin prohibit-password
PasswordAuthentication no
PrintMotd no
UseDNS no
MaxSessions 50
AuthorizedKeysFile /etc/wgsd-lab/authorized_keys
HostKey /etc/wgsd-lab/ssh_host_ed25519_key
"""


def offer_packages(root: Path) -> None:
    """Download what roles install, with all that it depends on and the image lacks."""
    repository = root / REPOSITORY
    (repository / "partial").mkdir(parents=True)
    download = ["apt-get", "install", "--yes", "--download-only", "--no-install-recommends"]
    subprocess.run(
        [*download, "-o", f"Dir::Cache::archives={repository}", *OFFERED],
        check=True,
        env={**os.environ, "APT_CONFIG": os.environ["MMDEBSTRAP_APT_CONFIG"]},
    )
    for leftover in (repository / "partial", repository / "lock"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    stanzas = [package_stanza(deb) for deb in sorted(repository.glob("*.deb"))]
    packages = "\n".join(stanzas).encode()
    (repository / "Packages").write_bytes(packages)
    (repository / "Release").write_text(
        f"Date: {email.utils.formatdate(usegmt=True)}\n"
        f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )


def package_stanza(deb: Path) -> str:
    """What a ``Packages`` index of a flat repository says of ``deb``."""
    control = subprocess.run(
        ["dpkg-deb", "--field", str(deb)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    content = deb.read_bytes()
    return (
        f"{control.rstrip()}\nFilename: ./{deb.name}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )


def know_only_local_packages(root: Path) -> None:
    """Point apt to the local repository alone, and read its list once for all hosts."""
    apt = root / "etc/apt"
    for path in (apt / "sources.list.d").iterdir():
        path.unlink()
    (apt / "sources.list").write_text(f"deb [trusted=yes] file:/{REPOSITORY} ./\n")
    (apt / "apt.conf.d/99wgsd-lab").write_text(
        'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n'
    )
    (apt / "apt.conf.d/99mmdebstrap").unlink(missing_ok=True)  # the machine's proxy, for one
    for path in (root / "var/lib/apt/lists").iterdir():
        if path.is_file():
            path.unlink()
    subprocess.run(["chroot", str(root), "apt-get", "update"], check=True)


def let_ssh_in(root: Path) -> None:
    """sshd for each connection to a Unix socket; the lab brings keys of its own."""
    units = root / "etc/systemd/system"
    (units / "wgsd-lab-ssh.socket").write_text(_SSH_SOCKET_UNIT)
    (units / "wgsd-lab-ssh@.service").write_text(_SSH_SERVICE_UNIT)
    (root / "etc/ssh/sshd_config.d/wgsd-lab.conf").write_text(_SSHD_CONFIG)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    systemctl = ["systemctl", f"--root={root}"]
    subprocess.run([*systemctl, "enable", "wgsd-lab-ssh.socket"], check=True)
    subprocess.run([*systemctl, "mask", "ssh.service", "ssh.socket"], check=True)


def fit_for_containers(root: Path) -> None:
    """Leave out what has no place on a container, and what belongs to the build alone."""
    subprocess.run(["systemctl", f"--root={root}", "mask", *MASKED], check=True)
    (root / "etc/machine-id").write_text("")
    resolv_conf = root / "etc/resolv.conf"
    resolv_conf.unlink(missing_ok=True)
    resolv_conf.write_text("# A lab host has no resolver: no packet leaves the machine.\n")


def main() -> None:
    root = Path(sys.argv[1])
    offer_packages(root)
    know_only_local_packages(root)
    let_ssh_in(root)
    fit_for_containers(root)


if __name__ == "__main__":
    main()
