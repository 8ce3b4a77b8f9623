# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""QEMU without KVM boots Debian's cloud kernel: nothing to build, and slow."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import time
import typing as t

from .bed import running
from .errors import BedError
from .fetch import PACKAGES, cached, check_tools, command, unpack

#: Debian 12's own kernel has its virtio drivers as modules and could not mount its root.
SUITE = "trixie"
PACKAGE = "linux-image-cloud-amd64"
#: Raise it when the way in which the kernel is unpacked changes.
LAYOUT = "1"
QEMU = "qemu-system-x86_64"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
MEMORY = "1024M"
#: QEMU 7.2 now and then leaves wrong flags behind an emulated cmpxchg16b: the guest then oopses in
#: its slab allocator. The kernel does without that instruction where the processor lacks it.
CPU = "max,-cx16"


class Qemu:
    """A machine whose root is this machine's by virtiofs. See `bed.Bed`."""

    name = "qemu"

    def kernel(self) -> pathlib.Path:
        """The newest kernel of the suite, unpacked."""
        check_tools(PACKAGES, QEMU, VIRTIOFSD, "depmod", "dpkg-deb", "apt-get")
        return cached("kernel", (SUITE, PACKAGE, LAYOUT), _unpack)

    @contextlib.contextmanager
    def machine(
        self, kernel: pathlib.Path, scratch: pathlib.Path, init: t.Sequence[str]
    ) -> t.Iterator[subprocess.Popen[bytes]]:
        """See `bed.Bed.machine`."""
        program, *words = init
        vhost, log = scratch / "vhost", scratch / "virtiofsd"
        with contextlib.ExitStack() as stack:
            share = stack.enter_context(
                running(
                    [VIRTIOFSD, f"--socket-path={vhost}", "-osource=/", "-osandbox=chroot",
                     "-ocache=always", "--rlimit-nofile=0"],
                    log,
                )
            )  # fmt: skip
            deadline = time.monotonic() + 10
            while not vhost.exists():
                if share.poll() is not None or time.monotonic() > deadline:
                    raise BedError(f"virtiofsd does not start:\n{log.read_text()}")
                time.sleep(0.02)
            yield stack.enter_context(
                running(
                    [QEMU, "-machine", "q35,accel=tcg,memory-backend=memory", "-cpu", CPU,
                     "-m", MEMORY,
                     "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
                     "-nodefaults", "-display", "none", "-no-reboot",
                     "-serial", f"file:{scratch / 'console'}", "-serial", "stdio",
                     "-chardev", f"socket,id=vhost,path={vhost}",
                     "-device", "vhost-user-fs-pci,chardev=vhost,tag=hostroot",
                     "-kernel", str(kernel / "vmlinuz"),
                     "-append", "root=hostroot rootfstype=virtiofs rw console=ttyS0 panic=-1 "
                                f"init={program} -- {' '.join(words)}"],
                )
            )  # fmt: skip


def _unpack(folder: pathlib.Path) -> None:
    unpack(SUITE, PACKAGE, "linux-image-6", folder)
    # The tools of Debian 12 look for modules in /lib.
    (folder / "lib").symlink_to("usr/lib")
    (modules,) = (folder / "lib" / "modules").iterdir()
    command("depmod", "-b", str(folder), modules.name)
    (image_file,) = (folder / "boot").glob("vmlinuz-*")
    (folder / "vmlinuz").symlink_to(image_file.relative_to(folder))
