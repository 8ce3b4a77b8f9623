# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the device tests on a kernel that has WireGuard, which the machine's own need not have.

QEMU (without KVM) boots Debian's cloud kernel with this machine's root, read-only, as its own, and
runs pytest there once for each version of pyroute2. The exit status is that of the tests.

What is fetched, the kernel and the Python environments, is kept by its recipe in $WGSD_KERNEL_CACHE
or `.cache/kernel`. WGSD_KERNEL_TIMEOUT is the seconds after which the machine is stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import pathlib
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
INIT = pathlib.Path(__file__).resolve().with_name("init")
CACHE = pathlib.Path(os.environ.get("WGSD_KERNEL_CACHE") or ROOT / ".cache" / "kernel").resolve()
TIMEOUT = float(os.environ.get("WGSD_KERNEL_TIMEOUT") or 900)

#: Debian 12's own kernel has its virtio drivers as modules and could not mount its root.
SUITE = "trixie"
KERNEL_PACKAGE = "linux-image-cloud-amd64"
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Debian 12 ships the first and Debian 13 the second; the last is the newest.
PYROUTE2 = ("pyroute2==0.7.2", "pyroute2==0.8.1", "pyroute2")
PYTEST = "pytest>=8"
#: Raise it when the way in which the kernel is unpacked changes.
LAYOUT = "1"

QEMU = "qemu-system-x86_64"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
MEMORY = "1024M"
#: QEMU 7.2 now and then leaves wrong flags behind an emulated cmpxchg16b: the guest then oopses in
#: its slab allocator. The kernel does without that instruction where the processor lacks it.
CPU = "max,-cx16"
#: The last line of the guest's output starts with this and holds the exit status.
STATUS_MARK = "wgsd-exit-status:"


class BedError(Exception):
    """The tests could not be run."""


def main(pytest_arguments: t.Sequence[str]) -> int:
    check_machine()
    kernel = cached("kernel", (SUITE, KERNEL_PACKAGE, LAYOUT), fetch_kernel)
    interpreters = []
    for requirement in PYROUTE2:
        recipe = (requirement, PYTEST, sys.version, sys.base_prefix)
        folder = cached("python", recipe, lambda path, req=requirement: make_python(path, req))
        interpreters.append(folder / "bin" / "python")
    return boot(kernel, interpreters, pytest_arguments)


def check_machine() -> None:
    """Fail with a remedy if something that the bed needs is not here."""
    if os.uname().machine != "x86_64":
        raise BedError("this bed boots amd64 kernels only: run it on an amd64 machine")
    if os.geteuid() != 0:
        raise BedError("virtiofsd must be root to share this machine's root: run it as root")
    needed = (QEMU, VIRTIOFSD, "depmod", "dpkg-deb", "apt-get", "ip", "wg")
    missing = [tool for tool in needed if shutil.which(tool) is None]
    if missing:
        packages = INIT.with_name("apt-packages.txt")
        raise BedError(f"not installed: {', '.join(missing)}: install the packages in {packages}")
    # The kernel's command line is split at spaces.
    if any(char.isspace() for char in f"{INIT}{CACHE}"):
        raise BedError(f"a path has a space: move {ROOT}, or set WGSD_KERNEL_CACHE")


def cached(
    what: str, recipe: t.Sequence[str], make: t.Callable[[pathlib.Path], None]
) -> pathlib.Path:
    """Return the folder that *make* fills, made once for each recipe; half a one is never seen."""
    digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]
    folder = CACHE / f"{what}-{digest}"
    if folder.exists():
        return folder
    print(f"making {folder.name} ({recipe[0]}), kept in {CACHE}", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    # An environment knows its own path, so the contents are linked to by the recipe's name.
    contents = pathlib.Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=CACHE))
    try:
        make(contents)
        contents.chmod(0o755)
        try:
            folder.symlink_to(contents.name)
        except FileExistsError:
            # Another run was faster.
            shutil.rmtree(contents)
    except BaseException:
        shutil.rmtree(contents, ignore_errors=True)
        raise
    return folder


def fetch_kernel(folder: pathlib.Path) -> None:
    """Unpack the newest kernel of the suite, from the mirror that this machine uses."""
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
        sources.write_text(f"deb [signed-by={KEYRING}] {mirrors[0]} {SUITE} main\n")
        options = [
            f"-oDir::Etc::SourceList={sources}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={state / 'lists'}",
            f"-oDir::State::Status={state / 'status'}",
            f"-oDir::Cache={state / 'cache'}",
            "-oAPT::Sandbox::User=root",
        ]
        command("apt-get", *options, "-qq", "update")
        depends = command("apt-cache", *options, "depends", "--important", KERNEL_PACKAGE)
        image = next(
            (word for word in depends.split() if word.startswith("linux-image-6")), KERNEL_PACKAGE
        )
        command("apt-get", *options, "-qq", "download", image, cwd=state)
        (package,) = state.glob("*.deb")
        command("dpkg-deb", "-x", str(package), str(folder))
    # The tools of Debian 12 look for modules in /lib.
    (folder / "lib").symlink_to("usr/lib")
    (modules,) = (folder / "lib" / "modules").iterdir()
    command("depmod", "-b", str(folder), modules.name)
    (image_file,) = (folder / "boot").glob("vmlinuz-*")
    (folder / "vmlinuz").symlink_to(image_file.relative_to(folder))


def make_python(folder: pathlib.Path, requirement: str) -> None:
    """Make a Python environment that has pytest and one version of pyroute2."""
    command(sys.executable, "-m", "venv", str(folder))
    command(str(folder / "bin" / "pip"), "install", "--quiet", requirement, PYTEST)


def command(*words: str, cwd: pathlib.Path | None = None) -> str:
    """Run a program and return its output; its error output goes into the exception."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BedError(f"{' '.join(words)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def boot(
    kernel: pathlib.Path, interpreters: t.Sequence[pathlib.Path], pytest_arguments: t.Sequence[str]
) -> int:
    """Boot the kernel, print what the tests print, and return their exit status."""
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="wgsd-kernel-"))
        )
        vhost, console, log = scratch / "vhost", scratch / "console", scratch / "virtiofsd"
        share = stack.enter_context(
            running(
                [VIRTIOFSD, f"--socket-path={vhost}", "-osource=/", "-osandbox=chroot",
                 "-ocache=always", "--rlimit-nofile=0"],
                log,
            )
        )  # fmt: skip
        while not vhost.exists():
            if share.poll() is not None or time.monotonic() > start + 10:
                raise BedError(f"virtiofsd does not start:\n{log.read_text()}")
            time.sleep(0.02)
        guest_words = [kernel, *interpreters, "pytest", *pytest_arguments]
        machine = stack.enter_context(
            running(
                [QEMU, "-machine", "q35,accel=tcg,memory-backend=memory", "-cpu", CPU,
                 "-m", MEMORY, "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
                 "-nodefaults", "-display", "none", "-no-reboot",
                 "-serial", f"file:{console}", "-serial", "stdio",
                 "-chardev", f"socket,id=vhost,path={vhost}",
                 "-device", "vhost-user-fs-pci,chardev=vhost,tag=hostroot",
                 "-kernel", str(kernel / "vmlinuz"),
                 "-append", "root=hostroot rootfstype=virtiofs ro console=ttyS0 panic=-1 "
                            f"init={INIT} -- {' '.join(map(str, guest_words))}"],
                None,
            )
        )  # fmt: skip
        status = follow(machine, start + TIMEOUT)
        if status is None:
            late = time.monotonic() > start + TIMEOUT
            why = f"was stopped after {TIMEOUT:g} s" if late else "ended without a result"
            kernel_log = console.read_text(errors="replace")[-4000:]
            raise BedError(f"the machine {why}; the end of its kernel log:\n{kernel_log}")
    print(f"kernel tests: {time.monotonic() - start:.0f} s, exit status {status}", flush=True)
    return status


@contextlib.contextmanager
def running(
    words: t.Sequence[str], log: pathlib.Path | None
) -> t.Iterator[subprocess.Popen[bytes]]:
    """Run a program that does not outlive the block, nor this process, however that ends."""
    libc = ctypes.CDLL(None)
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log.open("wb")) if log else None
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=errors or subprocess.PIPE,
            stderr=errors or subprocess.STDOUT,
            preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),  # PR_SET_PDEATHSIG
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def follow(machine: subprocess.Popen[bytes], deadline: float) -> int | None:
    """Print the machine's output until it ends; return the status that the last line holds."""
    assert machine.stdout is not None
    status = None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(machine.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(machine.stdout.fileno(), 65536)
            *lines, pending = (pending + chunk).replace(b"\r", b"").split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if text.startswith(STATUS_MARK):
                    status = int(text[len(STATUS_MARK) :])
                else:
                    print(text, flush=True)
            if not chunk:
                break
    return status


if __name__ == "__main__":
    # Leave by the exits of the blocks above when asked to end.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: sys.exit(128 + got))
    try:
        sys.exit(main(sys.argv[1:]))
    except BedError as exc:
        print(f"tests/kernel/run.py: {exc}", file=sys.stderr)
        sys.exit(2)
