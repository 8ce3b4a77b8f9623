#!/usr/bin/python
# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module wgsd_firewall: what a mesh needs opened in the host's own firewall."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wgsd_firewall
short_description: Open what a WireGuard mesh needs in the host's own firewall
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Lets WireGuard's packets in, and, if asked for, queries to the registry or everything that comes
    through the tunnel.
  - Only incoming packets are dealt with. A registry forwards nothing, and outgoing packets are the
    operator's business.
  - Openings come into effect at once and survive a reboot. Nothing is reloaded or restarted, and no
    connection is dropped.
  - Only what this module has added is ever changed or removed. An opening that was there before
    stays.
options:
  backend:
    description:
      - The firewall that this host has.
      - Where a host changes from one to another, first run O(state=absent) with the old one.
      - Required if O(state=present). With O(state=absent), if omitted, each in which there is
        something that this module has opened for O(interface).
    type: str
    choices: [nftables, ufw, firewalld]
  interface:
    description:
      - The WireGuard interface.
      - Openings of different interfaces do not affect each other.
    type: str
    required: true
  listen_port:
    description:
      - UDP port of WireGuard, which is opened for everybody.
      - None is opened if omitted. Peers behind a NAT need none, since they send first.
    type: int
  dns:
    description:
      - Whether queries, UDP and TCP port 53, are let in by the tunnel, and only by the tunnel. A
        registry needs this.
    type: bool
    default: false
  trust_interface:
    description: Whether everything is let in by the tunnel.
    type: bool
    default: false
  chain:
    description:
      - The chains that decide about incoming packets, each as family, table and chain.
      - A host with separate tables for IPv4 and IPv6 has two.
      - Only for O(backend=nftables).
    type: list
    elements: str
    default: [inet filter input]
  zone:
    description:
      - The zone in which O(listen_port) is opened.
      - The default zone if omitted.
      - Only for O(backend=firewalld).
    type: str
  state:
    description: With V(absent), everything that this module has opened for O(interface) is closed.
    type: str
    choices: [present, absent]
    default: present
requirements:
  - For O(backend=nftables), C(nft) (Debian package nftables)
  - For O(backend=ufw), C(ufw) (Debian package ufw)
  - For O(backend=firewalld), C(firewall-cmd) (Debian package firewalld)
extends_documentation_fragment:
  - wgsd.mesh.attributes
attributes:
  check_mode:
    support: full
    details:
      - Where the firewall is not installed yet, all openings are predicted. There is a warning
        then.
  diff_mode:
    support: full
notes:
  - Needs root.
  - With nftables, the rules are put at the head of O(chain), since an accept in another table does
    not override a drop. They are kept in C(/etc/nftables.d/wgsd-INTERFACE.nft), which
    C(/etc/nftables.conf) includes. One line is appended to it, unless it includes that file anyway.
    C(nft) checks both before anything is changed, against an empty ruleset as after a boot.
  - With nftables and ufw, rules carry the comment C(wgsd INTERFACE).
  - With ufw, a rule that somebody else has made for the same packets is left alone. It is an error
    if that rule does not let them in.
  - With firewalld, entries go to the permanent and to the running configuration. What was added is
    written down in C(/var/lib/wgsd-firewall).
  - firewalld tells interfaces apart by their zones alone. Binding the tunnel to a zone of its own
    would close what is open for it now. So for O(dns) the rules are for packets to the tunnel's
    addresses, and those must be set. For O(trust_interface) the tunnel is bound to C(trusted).
seealso:
  - module: wgsd.mesh.wg_interface
  - module: wgsd.mesh.wgsd_responder
  - module: wgsd.mesh.wgsd_resolver
"""

EXAMPLES = r"""
- name: Let WireGuard and queries in on a registry
  wgsd.mesh.wgsd_firewall:
    backend: nftables
    interface: wg0
    listen_port: 51820
    dns: true

- name: Let in what peers send through the tunnel, in a chain of another name
  wgsd.mesh.wgsd_firewall:
    backend: nftables
    interface: wg0
    trust_interface: true
    chain: inet firewall incoming

- name: Close all of it
  wgsd.mesh.wgsd_firewall:
    backend: ufw
    interface: wg0
    state: absent

- name: Close all of it, whichever firewall it was opened in
  wgsd.mesh.wgsd_firewall:
    interface: wg0
    state: absent
"""

RETURN = r"""
rules:
  description: What this module keeps open (in check mode, would keep), in the firewall's words.
  returned: success
  type: list
  elements: str
  sample:
    - inet filter input udp dport 51820 accept comment "wgsd wg0"
added:
  description: What was added.
  returned: success
  type: list
  elements: str
  sample:
    - inet filter input udp dport 51820 accept comment "wgsd wg0"
removed:
  description: What was removed.
  returned: success
  type: list
  elements: str
  sample: []
"""

import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wgsd.mesh.plugins.module_utils import (
    _firewall,
    _firewall_firewalld,
    _firewall_nftables,
    _firewall_ufw,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._files import (
    FileState,
    read_file,
    remove_file,
    write_file,
)
from ansible_collections.wgsd.mesh.plugins.module_utils._interface_name import check_interface
from ansible_collections.wgsd.mesh.plugins.module_utils._module import command_runner, run_guarded
from ansible_collections.wgsd.mesh.plugins.module_utils._systemd import Systemd
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Open, or close again, what the module's options ask for.

    Raises:
        WgsdError: it cannot be; see the message.
    """
    options = module.params
    interface = check_interface(options["interface"])
    wanted = _firewall.openings(
        interface,
        options["listen_port"],
        dns=options["dns"],
        trust_interface=options["trust_interface"],
    )
    if options["state"] == "absent":
        wanted = ()
    backends = [backend(module, interface) for backend in (Nftables, Ufw, Firewalld)]
    if options["backend"]:
        due = [backend for backend in backends if backend.name == options["backend"]]
    else:
        due = [backend for backend in backends if backend.has_ours()]
    return _together([backend.converge(wanted) for backend in due])


def _together(results: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    lists = {
        key: [one for result in results for one in result[key]]
        for key in ("rules", "added", "removed", "diff")
    }
    for key in ("rules", "added", "removed"):
        lists[key].sort()
    return {"changed": any(result["changed"] for result in results), **lists}


class Backend:
    """The firewall of this host, and what is ours in it."""

    name = tool = package = ""

    def __init__(self, module: AnsibleModule, interface: str) -> None:
        self._module = module
        self._check_mode = bool(module.check_mode)
        self._interface = interface
        self._run = command_runner(module)

    def converge(self, wanted: tuple[_firewall.Opening, ...]) -> dict[str, t.Any]:
        """Have *wanted* open, and nothing else of ours; return the module's result."""
        raise NotImplementedError

    def has_ours(self) -> bool:
        """Whether something here bears our mark; of a firewall that cannot be read, no."""
        raise NotImplementedError

    def _is_there(self, wanted: tuple[_firewall.Opening, ...]) -> bool:
        """Whether the firewall is installed; where it is not, nothing is ours."""
        if self._module.get_bin_path(self.tool):
            return True
        error = UsageError(
            f"the command {self.tool} is not on this host", f"apt install {self.package}"
        )
        if wanted and not self._check_mode:
            raise error
        if wanted:
            self._module.warn(f"openings were predicted without looking: {error}")
        return False

    def _call(self, *arguments: str, data: str | None = None) -> tuple[int, str, str]:
        return self._run([self.tool, *arguments], data)

    def _do(self, *arguments: str, data: str | None = None, remedy: str = "") -> str:
        code, output, errors = self._call(*arguments, data=data)
        if code:
            raise WgsdError(
                f"{self.tool} {' '.join(arguments)} failed: {(errors or output).strip()}", remedy
            )
        return output

    def _result(
        self,
        have: t.Iterable[object],
        change: _firewall.Change[t.Any],
        files: t.Iterable[dict[str, str]] = (),
    ) -> dict[str, t.Any]:
        before = [str(rule) for rule in have]
        added, removed = (sorted(map(str, rules)) for rules in (change.added, change.removed))
        after = [*before, *added]
        for rule in removed:
            after.remove(rule)
        files = list(files)
        diff = [
            _firewall.text_diff(
                f"rules in {self.name}",
                _firewall.lines(before),
                _firewall.lines(after),
            )
        ]
        return {
            "changed": bool(change or files),
            "rules": sorted(after),
            "added": added,
            "removed": removed,
            "diff": [*diff, *files],
        }


class Nftables(Backend):
    """Rules at the head of the operator's own chains, and a file that brings them back."""

    name = package = "nftables"
    tool = "nft"

    def has_ours(self) -> bool:
        """Whether our file is there, or rules of ours are loaded."""
        nft = _firewall_nftables
        if nft.file_path(self._interface).exists():
            return True
        code, listing, _errors = self._call("--handle", "--terse", "list", "ruleset")
        return code == 0 and bool(nft.parse(listing, self._interface).rules)

    def converge(self, wanted: tuple[_firewall.Opening, ...]) -> dict[str, t.Any]:
        """Have *wanted* open, and nothing else of ours; return the module's result."""
        nft = _firewall_nftables
        is_there = self._is_there(wanted)
        chains = list(dict.fromkeys(map(nft.check_chain, self._module.params["chain"])))
        rules = nft.rules(chains, wanted, self._interface)
        listing = self._do("--handle", "--terse", "list", "ruleset") if is_there else ""
        loaded = nft.parse(listing, self._interface)
        if is_there and wanted:
            self._check_chains(chains, loaded)
        change = _firewall.difference(loaded.rules, rules)
        files = self._files(rules, is_there)
        due = {path: (old, new) for path, (old, new) in files.items() if old.text != new}
        if is_there and wanted:
            self._check_files(files[nft.file_path(self._interface)][1])
            self._warn_of_boot()
        if not self._check_mode:
            if change:
                self._do("--file", "-", data=nft.script(change.added, change.removed))
            self._write(due)
        diffs = [_firewall.text_diff(str(path), old.text, new) for path, (old, new) in due.items()]
        return self._result(loaded.rules, change, diffs)

    def _check_chains(self, chains: t.Iterable[str], loaded: _firewall_nftables.Ruleset) -> None:
        for chain in chains:
            if chain not in loaded.chains:
                others = ", ".join(f"'{one}'" for one in loaded.input_chains)
                raise UsageError(
                    f"nftables has no chain '{chain}'",
                    "name the one that decides about incoming packets in the option chain; "
                    + (
                        f"there is {others}"
                        if others
                        else "none is loaded: is nftables.service running?"
                    ),
                )

    def _files(
        self, rules: t.Iterable[_firewall_nftables.Rule], is_there: bool
    ) -> dict[pathlib.Path, tuple[FileState, str]]:
        """Return the files as they are, and what they should say."""
        nft = _firewall_nftables
        path = nft.file_path(self._interface)
        text = nft.file_text(rules, self._interface)
        others = set(nft.FOLDER.glob(nft.PATTERN)) - {path}
        conf = read_file(nft.CONF)
        if conf.content is None and is_there and text:
            raise UsageError(
                f"{nft.CONF} is missing, so nothing would bring the rules back at boot",
                "put it back: it comes with the Debian package nftables",
            )
        return {
            path: (read_file(path), text),
            nft.CONF: (conf, nft.with_include(conf.text, {*others, path} if text else others)),
        }

    def _check_files(self, text: str) -> None:
        """Let nft read what it will read at boot, where there are no chains but those of files.

        Some files cannot be read there, such as those that name an interface by its index. Then
        what is loaded has to do.
        """
        path = _firewall_nftables.CONF
        # The empty line is for a file whose last line has no end.
        conf = f'include "{path}"\n\n'
        check = [self.tool, "--check", "--file", "-"]
        apart = ["unshare", "--net", *check]
        command = apart if self._run(apart, conf)[0] == 0 else check
        code, _output, errors = self._run(command, conf)
        if code:
            raise UsageError(
                f"{path} cannot be loaded as it is: {errors.strip()}", "see 'nft --check --file'"
            )
        code, _output, errors = self._run(command, conf + text)
        if code:
            raise UsageError(
                f"{path} could not be loaded with our rules, so there would be no firewall after "
                f"a reboot: {errors.strip()}",
                "the chain must be made by that file, or by one that it includes",
            )

    def _warn_of_boot(self) -> None:
        try:
            is_enabled = Systemd(self._run).unit("nftables.service").enabled
        except WgsdError:
            return
        if not is_enabled:
            self._module.warn(
                f"nftables.service is not enabled: unless something else loads "
                f"{_firewall_nftables.CONF}, the host has no rules after a reboot"
            )

    def _write(self, due: t.Mapping[pathlib.Path, tuple[FileState, str]]) -> None:
        nft = _firewall_nftables
        for path, (old, text) in due.items():
            if not text and path != nft.CONF:
                remove_file(path)
                continue
            if path != nft.CONF:
                nft.FOLDER.mkdir(mode=0o755, exist_ok=True)
                old = FileState(old.content, 0o644)
            write_file(path, FileState(text.encode(), old.mode, old.uid, old.gid))
        is_ours = nft.FOLDER.is_dir() and not nft.mentions_folder(read_file(nft.CONF).text)
        if due and is_ours and not any(nft.FOLDER.iterdir()):
            nft.FOLDER.rmdir()


class Ufw(Backend):
    """Rules that the command ufw adds and deletes one by one."""

    name = tool = package = "ufw"

    def has_ours(self) -> bool:
        """Whether one of ufw's files has a rule with our comment."""
        comment = _firewall.mark(self._interface)
        files = _firewall_ufw.RULES
        return any(_firewall_ufw.has_comment(read_file(path).text, comment) for path in files)

    def converge(self, wanted: tuple[_firewall.Opening, ...]) -> dict[str, t.Any]:
        """Have *wanted* open, and nothing else of ours; return the module's result."""
        ufw = _firewall_ufw
        listing = self._do("show", "added") if self._is_there(wanted) else ""
        comment = _firewall.mark(self._interface)
        rules = ufw.parse(listing)
        change = ufw.plan(rules, map(ufw.words, wanted), comment)
        if not self._check_mode:
            for rule in change.added:
                self._do(*rule.split(), "comment", comment)
            for rule in change.removed:
                self._do("--force", "delete", *rule.split())
        if wanted and listing and "Status: inactive" in self._do("status"):
            self._module.warn("ufw is not active: nothing counts until 'ufw enable'")
        return self._result(
            dict.fromkeys(rule.words for rule in rules if rule.comment == comment), change
        )


class Firewalld(Backend):
    """Entries in zones, on the disk and in the running firewall, and a record of ours."""

    name = package = "firewalld"
    tool = "firewall-cmd"

    def has_ours(self) -> bool:
        """Whether there is a record of what was added."""
        return _firewall_firewalld.record_path(self._interface).exists()

    def converge(self, wanted: tuple[_firewall.Opening, ...]) -> dict[str, t.Any]:
        """Have *wanted* open, and nothing else of ours; return the module's result."""
        firewalld = _firewall_firewalld
        path = firewalld.record_path(self._interface)
        stored = read_file(path)
        record = firewalld.load_record(stored.text, path)
        is_there = self._is_there(wanted) and self._runs(bool(wanted or record))
        entries = self._entries(wanted, is_there)
        have = self._have({entry.zone for entry in (*entries, *record)}) if is_there else set()
        plan = firewalld.plan(have, entries, record)
        mine = sorted(entry for entry in record if entry in have)
        if not self._check_mode:
            # Written down first: what is open and not written down stays open forever.
            self._write(path, stored, {*record, *plan.record})
            for entry in plan.change.added:
                self._do(*entry.options("add"))
            for entry in plan.change.removed:
                self._do(*entry.options("remove"))
            self._write(path, read_file(path), plan.record)
        return self._result(mine, plan.change)

    def _runs(self, is_needed: bool) -> bool:
        code, output, errors = self._call("--state")
        if code == 0 or not is_needed:
            return code == 0
        error = UsageError(
            f"firewalld does not run: {(errors or output).strip()}",
            "systemctl enable --now firewalld",
        )
        if not self._check_mode:
            raise error
        self._module.warn(f"openings were predicted without looking: {error}")
        return False

    def _entries(
        self, wanted: tuple[_firewall.Opening, ...], is_there: bool
    ) -> list[_firewall_firewalld.Entry]:
        if not wanted:
            return []
        zone = self._module.params["zone"]
        if not zone:
            zone = self._do("--get-default-zone").strip() if is_there else "default"
        code, output, _errors = (
            self._call(f"--get-zone-of-interface={self._interface}") if is_there else (1, "", "")
        )
        bound = "" if code else output.strip()
        trusts = any(opening.interface and not opening.protocol for opening in wanted)
        if trusts and bound not in ("", _firewall_firewalld.TRUSTED):
            raise UsageError(
                f"{self._interface} is in firewalld's zone {bound}, and can be in no other",
                f"open what it needs there, or: firewall-cmd --permanent --zone={bound} "
                f"--remove-interface={self._interface}, and the same without --permanent",
            )
        addresses = self._addresses() if any(opening.port == 53 for opening in wanted) else []
        return _firewall_firewalld.entries(wanted, zone, bound or zone, addresses)

    def _addresses(self) -> list[str]:
        """Return the tunnel's addresses."""
        command = ["ip", "-json", "address", "show", "dev", self._interface]
        code, output, errors = self._run(command)
        addresses = [] if code else _firewall_firewalld.parse_addresses(output)
        if not addresses:
            error = UsageError(
                f"{self._interface} has no address, and firewalld opens DNS for addresses: "
                f"{errors.strip() or 'none is set'}",
                "configure the interface first, with wgsd.mesh.wg_interface",
            )
            if not self._check_mode:
                raise error
            self._module.warn(f"the openings for DNS were not predicted: {error}")
        return addresses

    def _have(self, zones: t.Iterable[str]) -> set[_firewall_firewalld.Entry]:
        found: set[_firewall_firewalld.Entry] = set()
        for zone in sorted(zones):
            for permanent in (True, False):
                scope = ["--permanent"] if permanent else []
                code, output, errors = self._call(*scope, f"--zone={zone}", "--list-all")
                if code:
                    raise UsageError(
                        f"firewalld does not list its zone {zone}: {errors.strip()}",
                        "see 'firewall-cmd --get-zones'",
                    )
                found |= _firewall_firewalld.parse_zone(output, zone, permanent=permanent)
        return found

    def _write(
        self,
        path: pathlib.Path,
        stored: FileState,
        record: t.Iterable[_firewall_firewalld.Entry],
    ) -> None:
        text = _firewall_firewalld.dump_record(record)
        if text == stored.text:
            return
        folder = path.parent
        if text:
            folder.mkdir(mode=0o755, exist_ok=True)
            write_file(path, FileState(text.encode(), 0o644))
        else:
            remove_file(path)
            if not any(folder.iterdir()):
                folder.rmdir()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "backend": {
                "type": "str",
                "choices": ["nftables", "ufw", "firewalld"],
            },
            "interface": {"type": "str", "required": True},
            "listen_port": {"type": "int"},
            "dns": {"type": "bool", "default": False},
            "trust_interface": {"type": "bool", "default": False},
            "chain": {"type": "list", "elements": "str", "default": ["inet filter input"]},
            "zone": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("backend",))],
        supports_check_mode=True,
    )
    run_guarded(module, run)


if __name__ == "__main__":
    main()
