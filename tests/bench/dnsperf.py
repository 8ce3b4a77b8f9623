# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of dnsperf, which sends as fast as answers come, and what they found."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing as t

from tests.lab.errors import LabError
from tests.lab.netns import Node

#: What upstream was measured with: sockets, and queries under way in all.
CLIENTS = 4
OUTSTANDING = 100


@dataclasses.dataclass(frozen=True)
class Load:
    """A run's result.

    Attributes:
        rate: Answers a second.
        rcodes: Answers by rcode.
    """

    sent: int
    completed: int
    lost: int
    rate: float
    rcodes: t.Mapping[str, int]


def command(
    server: str,
    queries: pathlib.Path,
    *,
    port: int = 53,
    seconds: float | None = None,
    rounds: int | None = None,
    rate: int | None = None,
    edns: bool = False,
    dnssec: bool = False,
    outstanding: int = OUTSTANDING,
    yields: bool = False,
    cpus: t.Collection[int] = (),
) -> list[str]:
    """Return the command line of a run.

    Args:
        queries: A file with a name and a type on each line.
        seconds: How long to run.
        rounds: How often to run through the file; instead of *seconds*.
        rate: Queries a second at most.
        dnssec: Whether to ask for signatures (the DO bit), by EDNS.
        yields: Whether to run only where nobody else wants to (SCHED_IDLE). Niceness would not do:
            it counts within a session only, where the kernel makes groups of them (sched(7)).
        cpus: Where to run; anywhere by default.
    """
    words = ["chrt", "--idle", "0"] if yields else []
    if cpus:
        words += ["taskset", "--cpu-list", ",".join(map(str, cpus))]
    words += ["dnsperf", "-f", "inet", "-s", server, "-p", str(port), "-d", str(queries)]
    words += ["-c", str(CLIENTS), "-q", str(outstanding)]
    if seconds is not None:
        words += ["-l", f"{seconds:g}"]
    if rounds is not None:
        words += ["-n", str(rounds)]
    if rate is not None:
        words += ["-Q", str(rate)]
    if edns:
        words.append("-e")
    if dnssec:
        words.append("-D")
    return words


def run(node: Node, server: str, queries: pathlib.Path, **options: t.Any) -> Load:
    """Run dnsperf in *node*; the options are those of `command`.

    Raises:
        LabError: dnsperf failed, or nothing was answered.
    """
    load = parse(node.run(command(server, queries, **options), timeout=120).stdout)
    if not load.completed:
        raise LabError(f"{server} answered none of {load.sent} queries")
    return load


def parse(output: str) -> Load:
    """Read the statistics that dnsperf prints at its end.

    Raises:
        LabError: they are not there.
    """

    def number(name: str) -> float:
        found = re.search(rf"{name}: +([0-9.]+)", output)
        if not found:
            raise LabError(f"dnsperf says nothing of {name!r}:\n{output}")
        return float(found[1])

    codes = re.search(r"Response codes: +(.*)", output)
    return Load(
        sent=int(number("Queries sent")),
        completed=int(number("Queries completed")),
        lost=int(number("Queries lost")),
        rate=number("Queries per second"),
        rcodes={
            name: int(count)
            for name, count in re.findall(r"([A-Z]+) (\d+) ", codes[1] if codes else "")
        },
    )
