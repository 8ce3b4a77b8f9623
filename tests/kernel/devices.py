# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real WireGuard devices for tests, of the kernel or of wireguard-go, in namespaces of their own.

A namespace has no name: it goes when the last process and file descriptor in it goes, so a test
that dies leaves nothing behind.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import itertools
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import typing as t

from wgsd.keys import PublicKey

#: "userspace" or "kernel": what the tests of this run are about. Never guessed, never skipped.
KIND = os.environ.get("WGSD_DEVICE_KIND", "userspace")

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def run(*words: str, given: str | None = None, keep: t.Sequence[int] = ()) -> str:
    """Run a program in this thread's namespace and return its output without the last newline."""
    done = subprocess.run(
        words, input=given, capture_output=True, text=True, check=False, pass_fds=keep
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout.rstrip("\n")


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Namespace:
    """A network namespace; `entered` moves this thread into it."""

    def __init__(self) -> None:
        before = self._open_own()
        try:
            _check(_libc.unshare(_CLONE_NEWNET))
            self.fd = self._open_own()
            run("ip", "link", "set", "lo", "up")
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET))
            os.close(before)

    def close(self) -> None:
        os.close(self.fd)

    @contextlib.contextmanager
    def entered(self) -> t.Iterator[None]:
        before = self._open_own()
        _check(_libc.setns(self.fd, _CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET))
            os.close(before)

    @staticmethod
    def _open_own() -> int:
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class WireGuard:
    """One device, in the namespace of the thread that lets it appear."""

    def __init__(self, kind: str = KIND) -> None:
        # All namespaces share the folder of the userspace sockets: no name comes twice.
        self.name = f"wgd{os.getpid() % 100000}x{next(_numbers)}"
        self._kind = kind
        self._process: subprocess.Popen[bytes] | None = None

    def appear(self) -> None:
        """Make the device, without key and peers."""
        if self._kind == "kernel":
            run("ip", "link", "add", "name", self.name, "type", "wireguard")
            return
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `disappear` closes it
        self._process = subprocess.Popen(
            ["wireguard-go", "--foreground", self.name],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        wait_until(self._accepts, f"wireguard-go makes {self.name}")

    def disappear(self) -> None:
        """Remove the device, if it is there."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
            self._log.close()
            self.socket_path.unlink(missing_ok=True)
        elif self._kind == "kernel":
            # For each peer that goes with its device the kernel waits some 10 ms for a grace
            # period; for those that go before, one expedited grace period is enough.
            subprocess.run(
                ["wg", "setconf", self.name, "/dev/null"], capture_output=True, check=False
            )
            subprocess.run(["ip", "link", "del", self.name], capture_output=True, check=False)

    @property
    def socket_path(self) -> pathlib.Path:
        return pathlib.Path("/var/run/wireguard", f"{self.name}.sock")

    def _accepts(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self._log.seek(0)
            raise AssertionError(f"wireguard-go has ended: {self._log.read().decode()}")
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket_path)) == 0

    def up(self, address: str | None = None) -> None:
        if address:
            run("ip", "address", "add", address, "dev", self.name)
        run("ip", "link", "set", self.name, "up")

    def set(self, *words: str, given: str | None = None) -> None:
        """Change it by the tool ``wg``, which shares no code with the engine."""
        run("wg", "set", self.name, *words, given=given)

    def show(self, what: str) -> dict[str, str]:
        """Return what ``wg show DEVICE WHAT`` tells of each peer."""
        lines = run("wg", "show", self.name, what).splitlines()
        return dict(line.split("\t", 1) for line in lines)


@contextlib.contextmanager
def device(kind: str = KIND) -> t.Iterator[WireGuard]:
    """Make a device and take it away at the end."""
    made = WireGuard(kind)
    try:
        made.appear()
        yield made
    finally:
        made.disappear()


@contextlib.contextmanager
def namespace() -> t.Iterator[Namespace]:
    """Make a namespace and let go of it at the end."""
    made = Namespace()
    try:
        yield made
    finally:
        made.close()


def keypair() -> tuple[str, PublicKey]:
    """Return a private key in base64 and its public key, made by the tool ``wg``."""
    private = run("wg", "genkey")
    return private, PublicKey.from_base64(run("wg", "pubkey", given=private))


def some_key() -> PublicKey:
    """Return a public key whose private key nobody has."""
    return PublicKey(os.urandom(32))


def secret() -> bytes:
    """Return a preshared key."""
    return base64.b64decode(run("wg", "genpsk"))


def wait_until(holds: t.Callable[[], bool], what: str, seconds: float = 10.0) -> float:
    """Poll until *holds*; return the seconds that it took."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() < start + seconds, f"not within {seconds} s: {what}"
        time.sleep(0.005)
    return time.monotonic() - start
