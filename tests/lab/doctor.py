# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbook `doctor` does, on bare hosts: the same module, in the same order."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import secrets
import time
import typing as t
from pathlib import Path

from ansible_collections.wgsd.mesh.plugins.plugin_utils._diagnosis import diagnose

from . import BareLab, Nat, Site
from .mesh import INTERFACE, PORT, SERVER, ZONE, Mesh
from .module import run_module
from .netns import Node
from .topology import REGISTRY

#: A little less than the playbook has: here no SSH comes before.
SECONDS, ALONE = 8.0, 3.0
#: Longer than clients are silent.
SPANNING = 110.0
#: The first words of every file here.
LICENCE = [line.lstrip("# ") for line in Path(__file__).read_text("utf-8").splitlines()[:3]]
#: Where findings are kept as they were, for docs/troubleshooting.md; see tools/troubleshooting.
RECORD = os.environ.get("WGSD_DOCTOR_RECORD")


#: Each process of the tests has labs of its own.
PREFIX = f"doc-{os.environ.get('PYTEST_XDIST_WORKER', '')}".rstrip("-")
#: How long clients try before an examination, so that they have done what they can.
TRIED = 3.0


@contextlib.contextmanager
def hosts(
    *sites: Site,
    alice: Nat | None = None,
    bob: Nat | None = None,
    ports: t.Mapping[str, int] | None = None,
) -> t.Iterator[Mesh]:
    """A mesh without daemons, in which nobody knows the registry yet.

    Args:
        ports: Listening ports of hosts that share a NAT.
    """
    sites = sites or (Site("alice", alice or Nat()), Site("bob", bob or Nat()))
    with BareLab(PREFIX, sites) as lab, Mesh(lab, ports=ports) as mesh:
        # Where the service manager would have the responder report.
        lab.registry.path("/run/wgsd-responder").mkdir()
        yield mesh


def build(mesh: Mesh, *, direct: bool = False, responder: dict[str, t.Any] | None = None) -> Mesh:
    """Start what a finished mesh runs."""
    mesh.start_responder(**(responder or {}))
    connect(mesh)
    if direct:
        mesh.wait_direct("alice", "bob")
    return mesh


def wait_tried(mesh: Mesh) -> None:
    """Wait until both clients have set the endpoints that the zone has, and a little longer."""
    for name, other in (("alice", "bob"), ("bob", "alice")):
        mesh.wait(lambda a=name, b=other: mesh.peer(a, b).endpoint, f"endpoint on {name}", 60)
    time.sleep(TRIED)


def wait_silent(mesh: Mesh) -> None:
    """Wait until both clients have tried in vain for 20 s, and have fallen silent."""
    wait_tried(mesh)
    for name, other in (("alice", "bob"), ("bob", "alice")):
        mesh.wait(lambda a=name, b=other: not mesh.peer(a, b).endpoint, f"silence of {name}", 60)


def connect(mesh: Mesh) -> None:
    for name in ("alice", "bob"):
        mesh.connect(name)
        mesh.start_client(name)


def drop(node: Node, rule: str, hook: str = "input") -> None:
    """Have a node drop packets, before or behind what lies in between."""
    node.run(
        ["nft", "-f", "-"],
        stdin=f"""table inet site_firewall {{
  chain {hook} {{
    type filter hook {hook} priority filter; policy accept;
    {rule} drop
  }}
}}
""",
    )


def first(diagnosis: dict[str, t.Any], cause: str, *words: str) -> dict[str, t.Any]:
    """Return the first problem, which is to be *cause* and to have *words* in its text."""
    text = "\n".join(diagnosis["lines"])
    print(text)
    assert diagnosis["problems"], text
    problem = diagnosis["problems"][0]
    assert problem["cause"] == cause, text
    for word in words:
        assert word in problem["text"], text
    assert not diagnosis["well"]
    return problem


def examine(
    mesh: Mesh,
    one: str = "alice",
    other: str = "bob",
    *,
    unreachable: t.Collection[str] = (),
    clocks: t.Mapping[str, float] | None = None,
    record: str = "",
    seconds: float = 0.0,
) -> dict[str, t.Any]:
    """Examine two hosts and the registry, and return the diagnosis.

    If a busy machine has let clients fall silent before, they are examined for longer, as the
    diagnosis says.

    Args:
        unreachable: Hosts that Ansible cannot log in to.
        clocks: Seconds that a host's clock is ahead.
        record: What to call the findings if they are to be kept.
        seconds: How long to try, whatever the clients do; 0 for the usual time.
    """
    found = _findings(mesh, one, other, unreachable, clocks or {}, seconds or SECONDS)
    diagnosis = diagnose(found)
    if not seconds and [problem["cause"] for problem in diagnosis["problems"]] == ["silence"]:
        found = _findings(mesh, one, other, unreachable, clocks or {}, SPANNING)
        diagnosis = diagnose(found)
    if RECORD and record:
        keep(found, Path(RECORD, f"{record}.json"))
    return diagnosis


def _findings(
    mesh: Mesh,
    one: str,
    other: str,
    unreachable: t.Collection[str],
    clocks: t.Mapping[str, float],
    seconds: float,
) -> dict[str, t.Any]:
    names = list(dict.fromkeys((one, other, REGISTRY)))
    reached = [name for name in names if name not in unreachable]
    salt, nonce = secrets.token_hex(8), secrets.token_hex(8)

    def on(name: str, **options: t.Any) -> dict[str, t.Any]:
        return run_module(
            mesh.lab.host(name),
            "wgsd_examine",
            {
                "name": name,
                "interface": INTERFACE,
                "salt": salt,
                "controller_time": time.time(),
                **options,
            },
            clock=clocks.get(name, 0.0),
            timeout=60.0 + seconds,
        )

    hosts: dict[str, dict[str, t.Any]] = {
        name: {
            "address": mesh.addresses[name],
            "endpoint": mesh.registry_endpoint if name == REGISTRY else "",
            "trouble": "" if name in reached else "it does not answer by SSH",
        }
        for name in names
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for name, found in zip(reached, pool.map(on, reached)):
            hosts[name]["survey"] = found
        targets = [
            {
                "name": name,
                "address": mesh.addresses[name],
                "public_key": hosts[name].get("survey", {}).get("interface", {}).get("public_key"),
            }
            for name in names
        ]

        def others(name: str) -> list[dict[str, t.Any]]:
            return [target for target in targets if target["name"] != name]

        def probe(name: str) -> dict[str, t.Any]:
            is_registry = name == REGISTRY
            to = [mesh.registry_endpoint, f"{mesh.lab.registry.address}:{PORT + 1}"]
            return on(
                name,
                seconds=seconds,
                peers=others(name),
                zone=ZONE,
                servers=[SERVER],
                nonce=nonce,
                send_to=[] if is_registry else to,
                watch=[PORT + 1] if is_registry else [],
            )

        if REGISTRY in reached:
            hosts[REGISTRY]["alone"] = on(
                REGISTRY, seconds=ALONE, peers=others(REGISTRY), large=False
            )
        for name, found in zip(reached, pool.map(probe, reached)):
            hosts[name]["probe"] = found
    return {
        "from": one,
        "to": other,
        "registry": REGISTRY,
        "zone": ZONE,
        "interface": INTERFACE,
        "addresses": {name: [mesh.addresses[name]] for name in mesh.addresses},
        "hosts": hosts,
    }


def keep(findings: t.Mapping[str, t.Any], path: Path) -> None:
    """Write down what a diagnosis reads of findings, a line for each host."""
    lines = [f' "licence": {json.dumps(LICENCE)}']
    lines += [
        f" {json.dumps(name)}: {json.dumps(value, sort_keys=True)}"
        for name, value in findings.items()
        if name != "hosts"
    ]
    hosts = (
        f"  {json.dumps(name)}: {json.dumps(_kept(facts), sort_keys=True)}"
        for name, facts in findings["hosts"].items()
    )
    lines.append(' "hosts": {\n' + ",\n".join(hosts) + "\n }")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _kept(facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    kept = dict(facts)
    if "survey" in facts:
        survey = facts["survey"]
        kept["survey"] = {
            "clock": survey["clock"],
            "interface": {"peers": survey["interface"]["peers"]},
        }
    if "alone" in facts:
        kept["alone"] = {"probe": {"peers": facts["alone"]["probe"]["peers"]}}
    if "probe" in facts:
        kept["probe"] = {
            name: value
            for name, value in facts["probe"].items()
            if name not in ("changed", "failed", "invocation", "warnings")
        }
    return kept
