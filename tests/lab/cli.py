# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's command line: ``python3 -m tests.lab VERB``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from . import image, machine
from .apt_sources import SUITES
from .errors import LabError
from .lock import locked
from .nat import KINDS, Nat
from .progress import say, step
from .signals import signals_raise
from .systemd import DEFAULT_HOSTS, DEFAULT_PREFIX, DEFAULT_SUITE, SystemdLab
from .topology import LETTERS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 done, 1 failed, 2 bad usage. ``exec`` has its command's status."""
    arguments = _parser().parse_args(argv)
    try:
        machine.become_operator()
        with signals_raise():
            return int(arguments.verb(arguments) or 0)
    except (LabError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


def _up(arguments: argparse.Namespace) -> None:
    lab = SystemdLab(
        prefix=arguments.prefix,
        hosts=arguments.hosts.split(","),
        nats=[Nat(getattr(arguments, f"nat_{letter}")) for letter in LETTERS],
        suite=arguments.suite,
        state=arguments.state,
    )
    with step("lab up"), locked(arguments.prefix):
        try:
            lab.up()
        except BaseException:
            if not lab.attach():  # what is half up helps nobody; a lab that was whole stays
                lab.down()
            raise
    say(f"enter a host with: ssh -F {shlex.quote(str(lab.access.config))} {list(lab.hosts)[-1]}")
    say(f"inventory for Ansible: {lab.inventory}")


def _down(arguments: argparse.Namespace) -> None:
    with step(f"removing lab {arguments.prefix}"), locked(arguments.prefix):
        SystemdLab(prefix=arguments.prefix, state=arguments.state).down()


def _status(arguments: argparse.Namespace) -> int:
    lab = SystemdLab(prefix=arguments.prefix, state=arguments.state)
    if not lab.attach():
        print(f"lab {arguments.prefix} is down")
        return 1
    print(f"lab {arguments.prefix} is up: Debian {lab.description.suite}, state in {lab.state}")
    for name, host in lab.hosts.items():
        state = "off"
        if host.pid() is not None:
            state = host.run(["systemctl", "is-system-running"], check=False).stdout.strip()
        print(f"  {name:<12} {state}")
    for site in lab.description.sites:
        router = lab.router(site.name)
        print(f"  router {router.site.letter:<5} {router.nat.kind}, {router.site.wan_address}")
    return 0


def _exec(arguments: argparse.Namespace) -> None:
    command = _attached(arguments).host(arguments.host).command(arguments.command)
    os.execvp(command[0], command)


def _netexec(arguments: argparse.Namespace) -> None:
    lab = _attached(arguments)
    command = lab.node(arguments.node).command(arguments.command)
    os.execvp(command[0], command)


def _ssh_config(arguments: argparse.Namespace) -> None:
    print(_attached(arguments).access.config)


def _inventory(arguments: argparse.Namespace) -> None:
    print(_attached(arguments).inventory)


def _nat(arguments: argparse.Namespace) -> None:
    lab = _attached(arguments)
    lab.set_nat(arguments.router, Nat(arguments.kind, not arguments.let_in, arguments.loss))


def _stop_host(arguments: argparse.Namespace) -> None:
    _attached(arguments).host(arguments.host).stop()


def _kill_host(arguments: argparse.Namespace) -> None:
    _attached(arguments).host(arguments.host).kill()


def _start_host(arguments: argparse.Namespace) -> None:
    _attached(arguments).host(arguments.host).start()


def _gc(_arguments: argparse.Namespace) -> None:
    for name in image.collect_garbage(machine.cache_dir()):
        say(f"removed the image {name}")


def _attached(arguments: argparse.Namespace) -> SystemdLab:
    lab = SystemdLab(prefix=arguments.prefix, state=arguments.state)
    if not lab.attach():
        raise LabError(
            f"lab {arguments.prefix} is not up; `up --prefix {arguments.prefix}` makes it"
        )
    return lab


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--prefix", default=DEFAULT_PREFIX, help="which lab (%(default)s)")
    common.add_argument("--state", type=Path, help="its state folder (by default in the cache)")

    up = verbs.add_parser("up", parents=[common], help="bring a lab of systemd hosts up")
    up.set_defaults(verb=_up)
    up.add_argument(
        "--hosts", default=",".join(DEFAULT_HOSTS), help="comma-separated (%(default)s)"
    )
    up.add_argument("--suite", default=DEFAULT_SUITE, choices=SUITES, help="Debian (%(default)s)")
    for number, letter in enumerate(LETTERS):
        shown = f"NAT of router {letter} (port-restricted)" if number < 2 else argparse.SUPPRESS
        up.add_argument(f"--nat-{letter}", default="port-restricted", choices=KINDS, help=shown)

    for name, verb, text in (
        ("down", _down, "remove a lab and all it made; cached images stay"),
        ("status", _status, "show hosts and routers; status 1 if the lab is down"),
        ("ssh-config", _ssh_config, "print the path for `ssh -F`"),
        ("inventory", _inventory, "print the path for `ansible-playbook -i`"),
    ):
        verbs.add_parser(name, parents=[common], help=text).set_defaults(verb=verb)

    for name, verb, text in (
        ("stop-host", _stop_host, "shut a host down"),
        ("kill-host", _kill_host, "cut a host's power"),
        ("start-host", _start_host, "boot a host that is off; its disk is as it was"),
    ):
        power = verbs.add_parser(name, parents=[common], help=text)
        power.set_defaults(verb=verb)
        power.add_argument("host", metavar="HOST")

    execute = verbs.add_parser("exec", parents=[common], help="run a command on a host")
    execute.set_defaults(verb=_exec)
    execute.add_argument("host", metavar="HOST")
    execute.add_argument("command", metavar="CMD", nargs="+", help="after `--`")

    netexec = verbs.add_parser(
        "netexec",
        parents=[common],
        help="run a command of this machine in the network of a host, a router or the internet",
    )
    netexec.set_defaults(verb=_netexec)
    netexec.add_argument("node", metavar="NODE")
    netexec.add_argument("command", metavar="CMD", nargs="+", help="after `--`")

    nat = verbs.add_parser("nat", parents=[common], help="make a router do another NAT")
    nat.set_defaults(verb=_nat)
    nat.add_argument("router", metavar="ROUTER", help="its letter, or its site's name")
    nat.add_argument("kind", metavar="KIND", choices=KINDS, help=", ".join(KINDS))
    nat.add_argument("--let-in", action="store_true", help="do not drop uninvited packets early")
    nat.add_argument("--loss", type=int, default=0, metavar="PERCENT", help="of forwarded packets")

    collect = verbs.add_parser("gc", help="remove cached images of old recipes")
    collect.set_defaults(verb=_gc)
    return parser
