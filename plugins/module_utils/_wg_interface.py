# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module wg_interface does: the file first, then its unit or the running interface.

Private to this collection.
"""

from __future__ import annotations

import base64
import dataclasses
import socket
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from . import _wg_live, _wg_peers
from ._files import FileState, read_file, remove_file, write_file
from ._instances import has_interface, keep_interface_apart
from ._module import command_runner
from ._systemd import Systemd, UnitState
from ._wg_file import InterfaceSettings, PeerSettings, WgQuickFile, masked
from ._wg_own import check_lasting, copy_of, next_key_of, path_of
from ._wg_own import own_key as own_key_of
from ._wg_plan import LivePlan, plan
from ._wg_routes import Table
from ._wg_tools import WgTools
from ._wg_wanted import (
    PeerEdits,
    Wanted,
    check_options,
    check_own,
    check_private_key,
    edit,
    lasting_port,
)
from .wgsd.config import CONFIG_FOLDER
from .wgsd.device import x25519
from .wgsd.errors import DependencyError, UsageError, WgsdError
from .wgsd.keys import KEY_BYTES, PublicKey, decode_base64_key
from .wgsd.model import Device

MODE = 0o600
#: Stands in a predicted file for the key that only a real run makes; diffs mask it.
_KEY_TO_COME = base64.b64encode(bytes(KEY_BYTES)).decode("ascii")


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the interface into the state that the module's options ask for.

    Raises:
        WgsdError: it cannot be; see the message.
    """
    options = dict(module.params)
    if options["peers_json"] is not None:
        options["peers"] = _wg_peers.from_json(options["peers_json"])
        module.no_log_values |= _wg_peers.secrets(options["peers"])
    wanted = check_options(options)
    if wanted.private_key:
        # The option may have had blanks around it.
        module.no_log_values.add(wanted.private_key)
    interface = Interface(module, wanted)
    return interface.absent() if module.params["state"] == "absent" else interface.present()


def exists(name: str) -> bool:
    """Whether there is a network interface of that name here."""
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


@dataclasses.dataclass
class Outcome:
    """What comes of the file.

    Attributes:
        device: The running interface, None if there is none or it cannot be read here.
    """

    before: FileState
    old: WgQuickFile | None
    new: WgQuickFile
    own_key: PublicKey | None
    edits: PeerEdits
    device: Device | None

    @property
    def old_settings(self) -> InterfaceSettings | None:
        """The interface as the file had it; None if there was no file."""
        return self.old.interface_settings() if self.old else None

    @property
    def old_peers(self) -> dict[PublicKey, PeerSettings]:
        """The peers as the file had them, and the next keys of those that it has no more."""
        had, has = self.old.peers() if self.old else {}, self.new.peers()
        heirs = {
            peer.successor: dataclasses.replace(peer, public_key=peer.successor, successor=None)
            for key, peer in had.items()
            if peer.successor and key not in has
        }
        return {**heirs, **had}

    @property
    def old_text(self) -> str:
        """The file's text before."""
        return self.old.render() if self.old else ""

    @property
    def adopts(self) -> bool:
        """Whether this changes what a file says that the module has not made."""
        return (
            self.old is not None
            and not self.old.made_here
            and self.new.render() != self.old.render()
        )

    @property
    def changed(self) -> bool:
        """Whether the file is to be written."""
        before = (self.before.mode, self.before.uid, self.before.gid)
        return self.new.render() != self.old_text or before != (MODE, 0, 0)


class Interface:
    """One interface on this host: its file, its unit, its device."""

    def __init__(self, module: AnsibleModule, wanted: Wanted) -> None:
        self._module = module
        self._check_mode = bool(module.check_mode)
        self._wanted = wanted
        self._name = wanted.name
        self._path = path_of(wanted.name)
        self._copy = copy_of(wanted.name)
        self._next_key = next_key_of(wanted.name)
        run_command = command_runner(module)
        self._tools, self._systemd = WgTools(run_command), Systemd(run_command)
        self._unit = f"wg-quick@{wanted.name}.service"
        self._steps: list[str] = []

    def present(self) -> dict[str, t.Any]:
        """Configure the interface and have it up."""
        running = exists(self._name)
        outcome = self._work_out(running)
        if self._wanted.instance is not None and (outcome.changed or not running):
            # What is as it is to be takes nothing from others.
            keep_interface_apart(self._wanted.instance, self._name, CONFIG_FOLDER)
        live = self._plan(outcome) if running else LivePlan()
        for warning in live.warnings:
            self._module.warn(warning)
        unit_verbs = self._unit_verbs(running)
        adopts = outcome.adopts and read_file(self._copy).content is None
        if adopts:
            self._steps.append(f"keep {self._path} as it was in {self._copy}")
        self._steps += live.steps
        self._steps += [f"{verb} {self._unit}" for verb in unit_verbs]
        changed = outcome.changed or bool(self._steps)
        removed = {change.public_key for change in live.peers if change.remove}
        removed &= self._wanted.absent_keys
        outcome.edits.removed += sorted(removed.difference(outcome.edits.removed))
        if not self._check_mode:
            self._carry_out(outcome, live, unit_verbs, adopts=adopts)
        return self._result(
            changed,
            outcome.own_key,
            outcome.new.peers().values(),
            outcome.edits,
            self._diff(outcome.old_text, outcome.new.render(), outcome.before.mode),
            listen_port=outcome.new.interface_settings().listen_port,
            former_keys=outcome.new.interface.former_keys,
        )

    def absent(self) -> dict[str, t.Any]:
        """Have the interface down, and with purge, its file gone or as it was once found."""
        text, copy = read_file(self._path).text, read_file(self._copy)
        file = self._parse(text)
        kept, kept_text = file, text
        if self._wanted.purge and copy.content is not None:
            kept, kept_text = self._parse(copy.text), copy.text
        elif self._wanted.purge and (file is None or file.made_here):
            kept, kept_text = None, ""
        owned = self._is_ours(file, copied=copy.content is not None)
        unit = self._systemd.unit(self._unit) if owned else UnitState()
        verbs = [verb for verb, due in (("stop", unit.is_active), ("disable", unit.enabled)) if due]
        self._steps += [f"{verb} {self._unit}" for verb in verbs]
        brought_up_by_hand = owned and exists(self._name) and not unit.is_active
        if brought_up_by_hand:
            self._steps.append(f"wg-quick down {self._name}")
        restores = self._wanted.purge and copy.content is not None
        due = [self._next_key] if self._wanted.purge and owned else []
        due += [self._path] if self._wanted.purge and not restores and kept is None else []
        due = [path for path in due if path.exists()]
        self._steps += [f"remove {path}" for path in due]
        if restores:
            self._steps.append(f"put {self._copy} back as {self._path}")
        if not self._check_mode:
            for verb in verbs:
                self._systemd.do(verb, self._unit)
            if brought_up_by_hand:
                self._tools.down(self._name)
            for path in due:
                remove_file(path)
            if restores:
                write_file(self._path, FileState(copy.content, MODE))
                remove_file(self._copy)
        result = self._result(
            bool(self._steps),
            own_key_of(kept.interface_settings()) if kept else None,
            kept.peers().values() if kept else (),
            PeerEdits(),
            self._diff(text, kept_text, MODE),
            former_keys=kept.interface.former_keys if kept else (),
        )
        return {**result, "owned": owned}

    def _is_ours(self, file: WgQuickFile | None, *, copied: bool) -> bool:
        """Whether the interface is the mesh's whose instance the module was told, or nobody's.

        Raises:
            UsageError: it is another mesh's.
        """
        instance = self._wanted.instance
        if instance is None:
            return True
        try:
            keep_interface_apart(instance, self._name, CONFIG_FOLDER)
        except UsageError as exc:
            raise UsageError(
                exc.message,
                "give the interface and the instance of the mesh that this host is to leave",
            ) from None
        is_there = file is not None or exists(self._name)
        made_here = file is not None and file.made_here
        return (
            not is_there
            or made_here
            or copied
            or has_interface(instance, self._name, CONFIG_FOLDER)
        )

    def _parse(self, text: str) -> WgQuickFile | None:
        """Return the file with this *text*; None if it is empty."""
        return WgQuickFile.parse(text, str(self._path)) if text.strip() else None

    def _work_out(self, running: bool) -> Outcome:
        """Find out what the file is to be. Writes nothing, and makes a key only if one is due."""
        before = read_file(self._path)
        text = before.text
        old = self._parse(text)
        new = old.copy() if old else WgQuickFile.new(str(self._path))
        settings = new.interface_settings()
        check_lasting(self._path, settings)
        own_key = own_key_of(settings)
        given = self._wanted.private_key
        if given:
            given_key = x25519.public_key(decode_base64_key(given))
            check_private_key(str(self._path), settings, own_key, given_key)
        if not settings.private_key and not settings.private_key_file:
            to_come = self._check_mode and not given
            key = given or (_KEY_TO_COME if to_come else self._tools.private_key())
            new.interface.set("PrivateKey", key)
            own_key = None if to_come else own_key_of(new.interface_settings())
        device = self._device() if running else None
        live = device.peers if device else (None if running else {})
        edits = edit(new, self._wanted.for_host(own_key), live)
        if old is None and self._wanted.listen_port is None:
            new.interface.set("ListenPort", str(lasting_port(socket.gethostname(), self._name)))
        check_own(new, own_key)
        return Outcome(before, old, new, own_key, edits, device)

    def _device(self) -> Device | None:
        try:
            return _wg_live.device(self._name)
        except DependencyError as exc:
            if not self._check_mode:
                raise
            self._tell_blind(exc)
            return None

    def _tell_blind(self, exc: DependencyError) -> None:
        self._module.warn(f"{self._name} runs and cannot be compared with its file: {exc}")

    def _plan(self, outcome: Outcome) -> LivePlan:
        """Compare the running interface with the file."""
        if outcome.device is None:
            return LivePlan()
        settings = outcome.new.interface_settings()
        try:
            former = outcome.old_settings or settings
            state = _wg_live.read(
                outcome.device, Table.parse(settings.table), Table.parse(former.table)
            )
        except DependencyError as exc:
            if not self._check_mode:
                raise
            self._tell_blind(exc)
            return LivePlan()
        return plan(
            settings,
            outcome.own_key,
            outcome.new.peers(),
            outcome.old_peers,
            state,
            now=time.time(),
            purge=self._wanted.purge,
            absent=self._wanted.absent_keys,
            past=outcome.old_settings,
            unmark=self._wanted.fwmark == 0,
        )

    def _unit_verbs(self, running: bool) -> list[str]:
        try:
            unit = self._systemd.unit(self._unit)
        except WgsdError:
            if not self._check_mode:
                raise
            unit = UnitState()
        verbs = [] if unit.enabled else ["enable"]
        if not running:
            # The unit stays active when its interface is removed by hand.
            verbs.append("restart" if unit.is_active else "start")
        return verbs

    def _carry_out(
        self, outcome: Outcome, live: LivePlan, unit_verbs: t.Iterable[str], *, adopts: bool
    ) -> None:
        """Change the running interface, then the file: should the first fail, a rerun repeats it.

        An interface that does not run starts from its file, so this comes after it.
        """
        text = outcome.new.render()
        if outcome.changed:
            self._tools.validate(self._path, text)
        _wg_live.apply(self._name, live, outcome.own_key)
        if adopts:
            write_file(self._copy, FileState(outcome.before.content, MODE))
        if outcome.changed:
            write_file(self._path, FileState(text.encode(), MODE))
        for verb in unit_verbs:
            self._systemd.do(verb, self._unit)

    def _backend(self) -> str | None:
        if not exists(self._name):
            return None
        try:
            return _wg_live.kind(self._name)
        except DependencyError:
            # A real run would have failed by now.
            return None

    def _diff(self, before: str, after: str, mode: int) -> list[dict[str, str]]:
        """Return what differs, for whoever has asked: a thousand peers make a long text."""
        if not self._module._diff:
            return []
        path = str(self._path)
        diffs = []
        # The same text twice shows nothing, and is a lot to send with a thousand peers.
        if before != after:
            diffs.append(
                {
                    "before_header": path,
                    "after_header": path,
                    "before": masked(before),
                    "after": masked(after, before),
                }
            )
        if before and mode != MODE:
            diffs.append({"prepared": f"{path}: mode {mode:04o} -> {MODE:04o}\n"})
        if self._steps:
            diffs.append({"prepared": "".join(f"{self._name}: {step}\n" for step in self._steps)})
        return diffs

    def _result(
        self,
        changed: bool,
        own_key: PublicKey | None,
        peers: t.Iterable[PeerSettings],
        edits: PeerEdits,
        diff: list[dict[str, str]],
        listen_port: int | None = None,
        former_keys: t.Iterable[PublicKey] = (),
    ) -> dict[str, t.Any]:
        there = list(peers)
        result = {
            "changed": changed,
            "listen_port": listen_port,
            "public_key": own_key.base64 if own_key else None,
            "former_keys": [key.base64 for key in former_keys],
            "backend": self._backend(),
            "peers_with_endpoint": [
                peer.name or peer.public_key.base64 for peer in there if peer.endpoint
            ],
            "peers_added": [key.base64 for key in edits.added],
            "peers_changed": [key.base64 for key in edits.changed],
            "peers_removed": [key.base64 for key in edits.removed],
            "steps": self._steps,
            "diff": diff,
        }
        if self._module.params["return_peers"]:
            result["peers"] = [
                {
                    "public_key": peer.public_key.base64,
                    "name": peer.name,
                    "allowed_ips": list(peer.allowed_ips),
                    "endpoint": peer.endpoint,
                    "persistent_keepalive": peer.persistent_keepalive,
                }
                for peer in there
            ]
        return result
