# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's next key: where it is kept, and how the host changes to it. Others: `_wg_successors`.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import pathlib
import socket
import time
import typing as t

from . import _wg_poke
from ._files import FileState, read_file, remove_file, write_file
from ._wg_file import WgQuickFile
from ._wg_own import check_lasting
from .wgsd.device import Backend, open_device, x25519
from .wgsd.errors import DeviceError, UsageError, WgsdError
from .wgsd.keys import PublicKey, decode_base64_key
from .wgsd.model import Device

FOLDER = pathlib.Path("/etc/wireguard")
MODE = 0o600

#: Runs a command and returns its exit status, output and errors, as AnsibleModule.run_command.
Run = t.Callable[[list[str]], tuple[int, str, str]]


class Step(enum.Enum):
    """One of the steps to the next key, each of which happens as a whole or not at all."""

    WRITE_FILE = "write the next key into {file}"
    SET_DEVICE = "give the next key to the running interface"
    FORGET_NEXT = "remove {next}"


@dataclasses.dataclass(frozen=True)
class Whereabouts:
    """Which key is where, told by the public halves.

    Attributes:
        file: What the interface starts with; None if that is not known.
        device: What it runs with; None if it does not run.
        next: What is kept for later; None if nothing is.
    """

    file: PublicKey | None
    device: PublicKey | None
    next: PublicKey | None

    @property
    def current(self) -> PublicKey | None:
        """The key that others know this host by."""
        return self.device or self.file


def steps(where: Whereabouts) -> tuple[Step, ...]:
    """Return the steps that are left to the next key, in their order. Pure.

    The file comes first: a host that crashes and boots again starts with the key that the others
    expect. What is kept for later goes last, so that a rerun knows what there is to complete.
    """
    if where.next is None:
        return ()
    left = []
    if where.file != where.next:
        left.append(Step.WRITE_FILE)
    if where.device is not None and where.device != where.next:
        left.append(Step.SET_DEVICE)
    return (*left, Step.FORGET_NEXT)


def public(private_key: str, source: str) -> PublicKey:
    """Return the public key of *private_key*, in base64.

    Raises:
        UsageError: it is none. The message has *source* and no part of the key.
    """
    try:
        return x25519.public_key(decode_base64_key(private_key))
    except ValueError as exc:
        raise UsageError(
            f"{source}: not a private key: {exc}", "give what 'wg genkey' made"
        ) from None


class OwnKey:
    """The private keys of one interface on this host.

    Args:
        opener: Opens a device by its name.

    Raises:
        UsageError: the interface has no file, or one that wg-quick would not take.
    """

    def __init__(
        self,
        name: str,
        run: Run,
        *,
        folder: pathlib.Path = FOLDER,
        opener: t.Callable[[str], Backend] = open_device,
    ) -> None:
        self._name = name
        self._run = run
        self._opener = opener
        self.path = folder / f"{name}.conf"
        self.next_path = folder / f"{name}.key-next"
        self._before = read_file(self.path)
        if self._before.content is None:
            raise UsageError(
                f"{self.path} is not there, so {name} has no key that another could follow",
                "set the host up first, with the playbook wgsd.mesh.site",
            )
        self._file = WgQuickFile.parse(self._before.text, str(self.path))
        settings = self._file.interface_settings()
        check_lasting(self.path, settings)
        self._key_file = settings.private_key_file and pathlib.Path(settings.private_key_file)
        self._in_file = settings.private_key
        self.next_state = read_file(self.next_path)
        self._next = self.next_state.text.strip() or None

    @property
    def file(self) -> WgQuickFile:
        """The interface's file as it is."""
        return self._file

    def whereabouts(self) -> Whereabouts:
        """Find out which key is where.

        Raises:
            UsageError: one of the files has something else than a key.
            DeviceError: the device cannot be read.
        """
        device = self.device()
        return Whereabouts(
            self._configured(),
            device.public_key if device else None,
            public(self._next, str(self.next_path)) if self._next else None,
        )

    def device(self) -> Device | None:
        """Take a snapshot of the device; None if the interface does not run."""
        try:
            with self._opener(self._name) as backend:
                return backend.read()
        except DeviceError:
            if _runs(self._name):
                raise
            return None

    def make(self) -> str:
        """Make a private key.

        Raises:
            WgsdError: wg cannot be run.
        """
        code, output, errors = self._run(["wg", "genkey"])
        if code:
            raise WgsdError(
                f"wg genkey failed: {errors.strip()}", "on Debian, apt install wireguard-tools"
            )
        return output.strip()

    def keep(self, private_key: str | None) -> None:
        """Keep *private_key* as the next one; None for none."""
        if private_key is None:
            remove_file(self.next_path)
        else:
            write_file(self.next_path, FileState(f"{private_key}\n".encode(), MODE))
        self._next = private_key

    def do(self, step: Step) -> None:
        """Do one step.

        Raises:
            WgsdError: it failed, and nothing has changed by it.
        """
        if self._next is None:
            raise UsageError(f"{self.next_path} is not there", "prepare the next key first")
        if step is Step.WRITE_FILE:
            self._write(self._next)
        elif step is Step.SET_DEVICE:
            self._set(self._next)
        else:
            self.keep(None)

    def _write(self, private_key: str) -> None:
        # Others may know this host by an older key, and have a preshared key for it.
        former, coming = self._configured(), public(private_key, str(self.next_path))
        if former is not None:
            self._file.interface.add_former_key(former, coming)
        if self._in_file or not self._key_file:
            self._file.interface.set("PrivateKey", private_key)
        text = self._file.render().encode()
        write_file(self.path, dataclasses.replace(self._before, content=text))
        # The one that counts comes last: until then a rerun does all of this again.
        if self._key_file:
            now = read_file(self._key_file)
            mode = now.mode if now.content is not None else MODE
            content = f"{private_key}\n".encode()
            write_file(self._key_file, FileState(content, mode, now.uid, now.gid))

    def _set(self, private_key: str) -> None:
        wanted = public(private_key, str(self.next_path))
        with self._opener(self._name) as backend:
            backend.configure(private_key=decode_base64_key(private_key))
            now = backend.read().public_key
        if now != wanted:
            raise DeviceError(
                f"{self._name} was given the key {wanted}, and has {now}",
                "another program configures it at the same time: find it and run this again",
            )

    def _configured(self) -> PublicKey | None:
        # A hook that loads a file has the last word when the interface starts.
        text, source = self._in_file, str(self.path)
        if self._key_file:
            content = read_file(self._key_file).text.strip()
            text, source = content or text, str(self._key_file)
        return public(text, source) if text else None


def switch(
    own: OwnKey,
    todo: t.Sequence[Step],
    name: str,
    patience: float,
    opener: t.Callable[[str], Backend] = open_device,
) -> list[PublicKey]:
    """Do the steps, and wait until the tunnels go on by the new key.

    Returns:
        The peers that had a session before and have not got a new one within *patience* seconds.
    """
    poking: _wg_poke.Poking | None = None
    with contextlib.ExitStack() as stack:
        for step in todo:
            if step is Step.SET_DEVICE:
                backend = stack.enter_context(opener(name))
                poking = _wg_poke.Poking(name, backend, backend.read(), time.time())
            own.do(step)
            if step is Step.SET_DEVICE and poking:
                poking.begin()
        return poking.wait(patience) if poking else []


def _runs(name: str) -> bool:
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False
