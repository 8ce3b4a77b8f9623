# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller outside of the mesh: a bare host without a tunnel, that runs Ansible's commands."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import sys
import typing as t

from .bare import BareHost, BareLab
from .responder import ALICE, PUBLIC, TUNNEL, ZONE, Bed

BIN = pathlib.Path(sys.executable).parent
NAME = "registry.example.net"
PUBLIC6 = "2001:db8::4"
SECRET = base64.b64encode(bytes(range(32))).decode()
#: The key that the registry lets in, and the same one with a slip.
KEY = {"name": "ops.example.com.", "secret": SECRET}
WRONG = {**KEY, "secret": base64.b64encode(bytes(32)).decode()}


class Controller:
    """Ansible on a host of the lab that knows the registry's name.

    Attributes:
        warnings: What the last command wrote besides its output, in one line.
    """

    def __init__(self, host: BareHost) -> None:
        self._host = host
        self.warnings = ""
        hosts = f"127.0.0.1 localhost\n{PUBLIC} {NAME}\n{PUBLIC6} {NAME}\n"
        host.path("/run/hosts").write_text(hosts)
        host.run(["mount", "--bind", "/run/hosts", "/etc/hosts"])

    def lookup(self, *expressions: str, **variables: t.Any) -> t.Any:
        """What templates come to, as a list, or what Ansible says if they fail."""
        message = "{{ [" + ", ".join(expressions) + "] }}"
        code, said = self._ansible(
            "ansible",
            *("localhost", "--inventory=localhost,", "--connection=local"),
            *("--module-name=ansible.builtin.debug", "--args=" + json.dumps({"msg": message})),
            "--extra-vars=" + json.dumps({"wgsd_zone": ZONE, **variables}),
        )
        return said if code else json.loads(said.partition("=>")[2].rpartition("}")[0] + "}")["msg"]

    def inventory(self, *arguments: str, **options: t.Any) -> tuple[int, str]:
        """Exit status and output of ``ansible-inventory`` with a file of these options."""
        path = self._host.path("/run/lab.wgsd.yml")
        path.write_text(json.dumps({"plugin": "wgsd.mesh.wgsd", "zone": ZONE, **options}))
        return self._ansible("ansible-inventory", "--inventory=/run/lab.wgsd.yml", *arguments)

    def _ansible(self, command: str, *arguments: str) -> tuple[int, str]:
        done = self._host.run(
            [str(BIN / command), *arguments],
            check=False,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
            },
        )
        self.warnings = " ".join(done.stderr.split())
        said = done.stdout if done.returncode == 0 else done.stdout + done.stderr
        return done.returncode, said


@contextlib.contextmanager
def registry_for_controllers(
    lab: BareLab, folder: pathlib.Path, **zone: t.Any
) -> t.Iterator[tuple[Bed, Controller]]:
    """A responder that also serves outside the tunnel, and a controller there.

    The zone is Alice's, Bob's and Carol's, of whom she has no endpoint.
    """
    bed = Bed(lab, folder, sys.executable)
    try:
        bed.start_device()
        bed.start(
            listen=[TUNNEL, PUBLIC, f"[{PUBLIC6}]:53"],
            keys={KEY["name"]: {"secret": SECRET}},
            zone={"allow_query": ["tunnel", f"key {KEY['name']}"], **zone},
        )
        bed.until(lambda: bed.port_of(ALICE) is not None)
        yield bed, Controller(lab.host("alice"))
    finally:
        bed.close()
