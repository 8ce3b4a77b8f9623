# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: three hosts, two NATs, one playbook, and the proof that the tunnel is direct.

``python3 -m tests.demo up`` builds it and leaves it up, ``down`` removes it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import pathlib
import shlex
import subprocess
import sys
import time
import typing as t

from .lab.errors import LabError
from .lab.signals import signals_raise
from .lab.systemd import SystemdLab

ROOT = pathlib.Path(__file__).resolve().parents[1]
PREFIX = "demo"
ZONE = "example.com."
SERVER = "10.0.0.254"
BOB = "10.0.0.2"
INTERFACE = "wg0"
#: Seconds within which Alice and Bob are to be connected once the playbook has ended.
PATIENCE = 30.0
PINGS = 20
PING_BYTES = 1000


class DemoError(Exception):
    """A step did not show what it should."""


def main() -> int:
    """Run a verb; 0 if every step showed what it should, else 1."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.demo", description=__doc__)
    parser.add_argument("verb", choices=["up", "down"])
    lab = SystemdLab(prefix=PREFIX)
    try:
        with signals_raise():
            if parser.parse_args().verb == "down":
                lab.down()
                print("The demo's hosts and networks are gone; the image stays in the cache.")
            else:
                up(lab)
    except (DemoError, LabError) as exc:
        print(f"\ndemo: {exc}", file=sys.stderr)
        print(
            "The lab is left as it is, to be looked at; `make demo-down` removes it.",
            file=sys.stderr,
        )
        return 1
    return 0


def up(lab: SystemdLab) -> None:
    """Build the lab, run the playbook, show the outcome.

    Raises:
        DemoError: a step failed, with what to look at.
        LabError: the lab did not come up.
    """
    with step("Three hosts: a registry in public, Alice and Bob each behind a NAT of their own"):
        lab.up()
    with step("ansible-playbook playbooks/site.yml"):
        run_playbook(lab)
    alice = lab.host("alice")
    bob_key = public_key(lab, "bob")
    with step("Alice and Bob find each other"):
        wait_for_handshake(lab, bob_key)
    with step(f"What the registry serves: dig @{SERVER} _wireguard._udp.{ZONE} PTR, and Bob's SRV"):
        instance = ask(lab, f"_wireguard._udp.{ZONE}", "PTR", bob_key)
        ask(lab, instance, "SRV")
    with step("Alice's device: wg show, where Bob's endpoint is the hole in his NAT"):
        show(alice.run(["wg", "show", INTERFACE]).stdout)
        check_endpoint(lab, bob_key)
    with step("The same in words: wgsd status"):
        show(alice.run(["wgsd", "status"]).stdout)
    with step(f"{PINGS} pings from Alice to Bob, {PING_BYTES} bytes each, and who carried them"):
        ping_directly(lab, bob_key)
    enter = f"ssh -F {shlex.quote(os.path.relpath(lab.access.config))} alice"
    print(
        f"\nThe lab is still up. Enter a host (registry, alice, bob) with\n  {enter}\n"
        f"run the playbook again with\n  .venv/bin/ansible-playbook "
        f"-i {os.path.relpath(lab.inventory)} playbooks/site.yml\n"
        "and remove it all with\n  make demo-down"
    )


@contextlib.contextmanager
def step(title: str) -> t.Iterator[None]:
    """Say what is done, and how long it took."""
    print(f"\n=== {title}", flush=True)
    begun = time.monotonic()
    yield
    print(f"--- {time.monotonic() - begun:.1f} s", flush=True)


def show(text: str) -> None:
    """Print what a command printed, set off from what the demo says itself."""
    for line in text.strip().splitlines():
        print(f"    {line}")
    sys.stdout.flush()


def run_playbook(lab: SystemdLab) -> None:
    """Run site.yml on the lab's hosts, its output going to the terminal."""
    command = ["ansible-playbook", "-i", str(lab.inventory), "playbooks/site.yml"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise DemoError("site.yml failed; what went wrong is above")


def public_key(lab: SystemdLab, host: str) -> str:
    """Return the public key of a host's interface in base64."""
    return lab.host(host).run(["wg", "show", INTERFACE, "public-key"]).stdout.strip()


def wait_for_handshake(lab: SystemdLab, bob_key: str) -> None:
    """Wait until Alice's device has had a handshake with Bob."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for line in (
            lab.host("alice")
            .run(["wg", "show", INTERFACE, "latest-handshakes"])
            .stdout.splitlines()
        ):
            key, _tab, when = line.partition("\t")
            if key == bob_key and int(when):
                return
        time.sleep(0.2)
    journal = lab.host("alice").run(["journalctl", "-u", "wgsd-client", "-n", "20", "--no-pager"])
    show(journal.stdout)
    raise DemoError(
        f"no handshake between Alice and Bob within {PATIENCE:.0f} s; her agent's log is above"
    )


def ask(lab: SystemdLab, name: str, rdtype: str, wanted_key: str | None = None) -> str:
    """Show what dig, run in Alice's network, prints for a question.

    Returns:
        The name in a PTR answer that stands for *wanted_key*, which must be there.
    """
    dig = ["dig", "+noall", "+answer", "+additional", f"@{SERVER}", name, rdtype]
    answer = lab.node("alice").run(dig).stdout
    if not answer.strip():
        raise DemoError(f"{shlex.join(dig)} got no answer")
    show(answer)
    if wanted_key is None:
        return ""
    label = base64.b32encode(base64.b64decode(wanted_key)).decode().lower()
    targets = [line.split()[-1] for line in answer.splitlines()]
    for target in targets:
        if target.startswith(label):
            return target
    raise DemoError("Bob is not in the PTR answer")


def check_endpoint(lab: SystemdLab, bob_key: str) -> None:
    """Check that Alice sends to Bob at the public address of his router."""
    endpoints = lab.host("alice").run(["wg", "show", INTERFACE, "endpoints"]).stdout
    endpoint = dict(line.split("\t") for line in endpoints.splitlines())[bob_key]
    wan = lab.router("bob").site.wan_address
    if endpoint.rpartition(":")[0] != wan:
        raise DemoError(f"Alice sends to {endpoint}, which is not Bob's router {wan}")
    print(f"    {endpoint} is Bob's router; Bob himself is 192.168.1.x, like Alice.")


def transferred(lab: SystemdLab, host: str) -> dict[str, int]:
    """Return the bytes received and sent, added up, per peer of a host."""
    output = lab.host(host).run(["wg", "show", INTERFACE, "transfer"]).stdout
    return {
        key: int(received) + int(sent)
        for key, received, sent in (line.split("\t") for line in output.splitlines())
    }


def ping_directly(lab: SystemdLab, bob_key: str) -> None:
    """Ping Bob from Alice and show by the counters that the registry carried none of it."""
    before = {host: transferred(lab, host) for host in ("alice", "registry")}
    ping = ["ping", "-c", str(PINGS), "-i", "0.1", "-s", str(PING_BYTES), BOB]
    show("\n".join(lab.host("alice").run(ping).stdout.splitlines()[-3:]))
    after = {host: transferred(lab, host) for host in ("alice", "registry")}
    payload = 2 * PINGS * PING_BYTES
    direct = after["alice"][bob_key] - before["alice"][bob_key]
    relayed = sum(after["registry"].values()) - sum(before["registry"].values())
    print(f"    ping payload, there and back:             {payload:>7} bytes")
    print(f"    Alice's device, to and from Bob:          {direct:>7} bytes")
    print(f"    the registry's device, all peers at once: {relayed:>7} bytes")
    if direct < payload or relayed > payload / 10:
        raise DemoError("the pings did not go directly")
    print("    The pings went directly from Alice to Bob.")


if __name__ == "__main__":
    sys.exit(main())
