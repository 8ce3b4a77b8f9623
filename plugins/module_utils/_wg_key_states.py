# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module wg_key does: the four steps of a rotation, each as a state of a host.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from . import _wg_key, _wg_successors
from ._files import read_file, write_file
from ._module import command_runner
from ._systemd import Systemd
from ._wg_file import masked
from ._wg_key import MODE, OwnKey, Whereabouts, public
from ._wg_successors import Successor
from .wgsd.config import check_interface
from .wgsd.device import open_device
from .wgsd.errors import UsageError, WgsdError
from .wgsd.keys import PublicKey
from .wgsd.model import Device, PeerChange
from .wgsd.takeover import Pair


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the interface into the state that the module's options ask for.

    Raises:
        WgsdError: it cannot be; see the message.
    """
    if module.params["private_key"] is not None and module.params["state"] != "prepared":
        raise UsageError("private_key goes with state=prepared only", "leave out one of both")
    rotation = Rotation(module)
    states: dict[str, t.Callable[[], dict[str, t.Any]]] = {
        "prepared": rotation.prepared,
        "announced": rotation.announced,
        "switched": rotation.switched,
        "settled": rotation.settled,
    }
    return states[module.params["state"]]()


class Rotation:
    """One interface on this host, on the way to its own next key or to its peers'."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._check_mode = bool(module.check_mode)
        self._name = check_interface(module.params["name"])
        self._run = command_runner(module)
        self._own = OwnKey(self._name, self._run)
        self._where = self._own.whereabouts()

    def prepared(self) -> dict[str, t.Any]:
        """Have the next key."""
        given = self._module.params["private_key"]
        where, state = self._where, self._own.next_state
        if given is not None:
            given = given.strip()
            wanted: PublicKey | None = public(given, "private_key")
            if wanted == where.current and where.file == where.current:
                return self._have_none_prepared()
        else:
            wanted = where.next
        if where.next is not None and where.next == wanted:
            # Its file may have been written by hand.
            if (state.mode, state.uid, state.gid) == (MODE, 0, 0):
                return self._result([], where, next_key=wanted)
            given = state.text.strip()
            steps = [f"take {self._own.next_path} from all but root"]
        else:
            steps = ["prepare the next key"]
        if not self._check_mode:
            private_key = given or self._own.make()
            wanted = public(private_key, "wg genkey")
            self._own.keep(private_key)
        return self._result(steps, where, next_key=wanted)

    def _have_none_prepared(self) -> dict[str, t.Any]:
        """Have no next key: the one that was given is in use already."""
        steps = []
        if self._own.next_state.content is not None:
            steps.append(f"remove {self._own.next_path}")
            if not self._check_mode:
                self._own.keep(None)
        return self._result(steps, self._where, next_key=self._where.current)

    def switched(self) -> dict[str, t.Any]:
        """Have the next key in use."""
        where = self._where
        todo = _wg_key.steps(where)
        paths = {"file": self._own.path, "next": self._own.next_path}
        steps = [step.value.format(**paths) for step in todo]
        late: list[str] = []
        if not self._check_mode and todo:
            titles = {key: peer.title for key, peer in self._own.file.peers().items()}
            found = _wg_key.switch(self._own, todo, self._name, self._module.params["patience"])
            late = [titles.get(key, key.base64) for key in found]
            for title in late:
                self._module.warn(
                    f"{self._name}: no session with {title} by the new key yet; see on that host: "
                    "wgsd status"
                )
        current = where.next or where.current
        result = self._result(steps, dataclasses.replace(where, device=current), next_key=None)
        if where.current != current:
            result["diff"] = [
                {
                    "before_header": f"{self._name} public key",
                    "after_header": f"{self._name} public key",
                    "before": f"{where.current}\n",
                    "after": f"{current}\n",
                },
                *result["diff"],
            ]
        return {**result, "unconfirmed": late}

    def announced(self) -> dict[str, t.Any]:
        """Have the device know the next keys of peers, and somebody who waits for them."""
        device = self._own.device()
        if device is None:
            raise UsageError(
                f"{self._name} does not run, so it cannot get to know the next keys of its peers",
                f"start it: systemctl start wg-quick@{self._name}",
            )
        file, before = self._own.file, self._own.file.render()
        found, unknown = _wg_successors.pairs(self._successors(), file, device)
        _wg_successors.note(found, file)
        missing = _wg_successors.announcements(found, device)
        steps = [f"add the next key of {s.title}: {change.public_key}" for s, change in missing]
        pairs = [pair for _successor, pair in found]
        unit = _wg_successors.unit_name(self._name, pairs)
        systemd = Systemd(self._run)
        running = bool(pairs) and self._has_time(systemd, unit)
        if pairs and not running:
            steps.append(f"start {unit}")
        if not self._check_mode:
            # First, since from then on the peers may switch at any time.
            self._write(before, file.render())
            if steps:
                try:
                    self._announce(
                        [change for _s, change in missing], pairs, systemd, unit, running
                    )
                except WgsdError:
                    self._write(file.render(), before)
                    raise
        return {
            **self._with_file(self._result(steps, self._where), before),
            "unknown": [s.title for s in unknown],
        }

    def settled(self) -> dict[str, t.Any]:
        """Have the next keys of peers in the file."""
        device = self._own.device()
        file, before = self._own.file, self._own.file.render()
        successors = self._successors()
        known = {**(device.peers if device else {}), **file.peers()}
        names = {peer.name for peer in file.peers().values()}
        unknown = [
            s.title
            for s in successors
            if s.old not in known and s.new not in known and s.name not in names
        ]
        plan = _wg_successors.settle(successors, file, device)
        if not self._check_mode:
            if plan.changes:
                self._apply(plan.changes)
            self._write(before, file.render())
        result = self._result(list(plan.steps), self._where)
        return {**self._with_file(result, before), "unknown": unknown}

    def _write(self, before: str, after: str) -> None:
        """Write *after* into the interface's file, unless that is what is there *before*."""
        if after != before:
            state = read_file(self._own.path)
            write_file(self._own.path, dataclasses.replace(state, content=after.encode("utf-8")))

    def _with_file(self, result: dict[str, t.Any], before: str) -> dict[str, t.Any]:
        """Return *result* with what was changed in the interface's file, if anything was."""
        after, path = self._own.file.render(), str(self._own.path)
        if after == before:
            return result
        shown = {"before": masked(before), "after": masked(after, before)}
        file_diff = {"before_header": path, "after_header": path, **shown}
        return {**result, "changed": True, "diff": [file_diff, *result["diff"]]}

    def _successors(self) -> list[Successor]:
        own = {self._where.file, self._where.device, self._where.next} - {None}
        return _wg_successors.others(_wg_successors.parse(self._module.params["successors"]), own)

    def _has_time(self, systemd: Systemd, unit: str) -> bool:
        """Whether somebody waits for the next keys already, and for long enough."""
        try:
            state = systemd.unit(unit)
        except WgsdError:
            if not self._check_mode:
                raise
            return False
        left = state.since + self._module.params["seconds"] - time.time()
        return state.is_active and left > self._module.params["seconds"] / 2

    def _announce(
        self,
        missing: t.Sequence[PeerChange],
        pairs: t.Sequence[Pair],
        systemd: Systemd,
        unit: str,
        running: bool,
    ) -> None:
        if not running and systemd.unit(unit).is_active:
            # It takes back what it waited for, so this comes first.
            systemd.do("stop", unit)
            device = self._own.device()
            missing = self._missing(device, pairs) if device else missing
        self._apply(missing)
        if running:
            return
        seconds = self._module.params["seconds"]
        command = _wg_successors.command(unit, self._name, pairs, seconds)
        code, output, errors = self._run(command)
        if code:
            lines = systemd.journal(unit)
            self._apply([PeerChange(change.public_key, remove=True) for change in missing])
            raise WgsdError(
                f"{unit} did not start: {(errors or output).strip()}\n{lines}\n",
                f"{_wg_successors.ENGINE} may be missing or older than this collection: bring the "
                "host up to date with the playbook wgsd.mesh.site",
            )

    def _missing(self, device: Device, pairs: t.Iterable[Pair]) -> list[PeerChange]:
        found = [(Successor(pair.old, pair.new), pair) for pair in pairs]
        return [change for _s, change in _wg_successors.announcements(found, device)]

    def _apply(self, changes: t.Sequence[PeerChange]) -> None:
        with open_device(self._name) as backend:
            backend.apply(changes)

    def _result(
        self, steps: list[str], where: Whereabouts, next_key: PublicKey | None = None
    ) -> dict[str, t.Any]:
        told = next_key or (where.next if self._module.params["state"] != "switched" else None)
        return {
            "changed": bool(steps),
            "public_key": where.current.base64 if where.current else None,
            "next_public_key": told.base64 if told else None,
            "steps": steps,
            "diff": [{"prepared": "".join(f"{self._name}: {step}\n" for step in steps)}]
            if steps
            else [],
        }
