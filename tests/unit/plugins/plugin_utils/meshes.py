# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Meshes of any size as their hosts tell of them, for tests that need no host."""

from __future__ import annotations

import base64
import hashlib
import typing as t

from ansible_collections.wgsd.mesh.plugins.plugin_utils import _status
from ansible_collections.wgsd.mesh.plugins.plugin_utils._status import Answer

NOW = 1_800_000_000.0
ZONE = "example.com."


def key_of(name: str) -> str:
    """Return a public key that is always the same for a name."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


def peer(name: str, state: str = "direct", **fields: t.Any) -> dict[str, t.Any]:
    """Return a peer as ``wgsd status`` tells of it."""
    direct = state == "direct"
    number = int(hashlib.sha256(name.encode()).hexdigest()[:4], 16)
    return {
        "public_key": key_of(name),
        "name": name,
        "registry": name == "registry",
        "discovered": False,
        "state": state,
        "direct": direct,
        "since": NOW - 7500,
        "reason": None if direct else "no handshake with 192.0.2.30:40112: is it on?",
        "endpoint": f"192.0.2.{number % 250 + 1}:{40000 + number % 20000}" if direct else None,
        "endpoint_source": "its own packets" if direct else None,
        "directory_endpoint": "192.0.2.30:40112",
        "directory_failure": None,
        "last_handshake": NOW - 29 if direct else None,
        "handshake_age": 29.0 if direct else None,
        "answers_probes": True if direct else None,
        "rtt": 0.018 if direct else None,
        "allowed_ips": ["10.0.0.1/32"],
        "last_action": None,
        **fields,
    }


def told(name: str, peers: t.Sequence[dict[str, t.Any]], **part: t.Any) -> dict[str, t.Any]:
    """Return what a host says of itself and its peers."""
    registry = name == "registry"
    report = {
        "zones": [
            {
                "zone": ZONE,
                "device": "wg0",
                "serial": 774243419,
                "known": True,
                "peers_served": len(peers),
            }
        ],
        "trouble": [],
    }
    directory = {
        "zone": ZONE,
        "servers": ["10.0.0.254:53"],
        "follows": "10.0.0.254:53",
        "asks": None,
        "serial": 774243419,
        "notified_at": NOW - 192,
        "silent": [],
        "trouble": None,
        "seen_at": "198.51.100.10:61907",
    }
    client = {"version": "0.1.0", "pid": 812, "started": NOW - 9000, "problem": None}
    gone = {"version": None, "problem": "no client has reported"}
    return {
        "version": "0.1.0",
        "now": NOW,
        "problems": [],
        "interfaces": [
            {
                "interface": "wg0",
                "backend": "kernel",
                "mtu": 1420,
                "public_key": key_of(name),
                "listen_port": 61907,
                "error": None,
                "agent": not registry,
                "client": gone if registry else client,
                "directory": None if registry else directory,
                "moved": None,
                "not_added": [],
                "responder": {"instance": None, "report": report, "problem": None}
                if registry
                else None,
                "peers": list(peers),
                **part,
            }
        ],
    }


class Fleet:
    """Hosts that all see each other directly, until a test wants something else.

    Attributes:
        answers: What each has told, by its name.
        instances: Those of their daemons, where they have a name.
    """

    def __init__(self, *names: str) -> None:
        self.names = ("registry", *names)
        self.answers: dict[str, dict[str, t.Any]] = {
            name: told(name, [peer(other) for other in self.names if other != name])
            for name in self.names
        }
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.instances: dict[str, str] = {}

    @classmethod
    def of(cls, count: int) -> Fleet:
        """Return so many hosts, of which one is the registry."""
        return cls(*(f"peer{number}" for number in range(1, count)))

    def part(self, name: str) -> dict[str, t.Any]:
        return self.answers[name]["interfaces"][0]

    def see(self, one: str, other: str, state: str, **fields: t.Any) -> None:
        """Let a host see another in a state."""
        peers = self.part(one)["peers"]
        index = next(i for i, each in enumerate(peers) if each["name"] == other)
        peers[index] = peer(other, state, **fields)

    def cut(self, one: str, other: str, state: str = "unreachable") -> None:
        """Let two hosts have no tunnel."""
        for here, there in ((one, other), (other, one)):
            self.see(here, there, state)

    def lose(self, name: str, outcome: str = "unreachable", message: str = "timed out") -> None:
        """Let a host not answer; the others have no tunnel to it."""
        self.outcomes[name] = (outcome, message)
        del self.answers[name]
        for other in self.answers:
            self.see(other, name, "unreachable")

    def hosts(self) -> list[Answer]:
        return [
            Answer(
                host=f"{name}.example.net",
                name=name,
                is_registry=name == "registry",
                outcome=self.outcomes.get(name, ("answered", ""))[0],
                message=self.outcomes.get(name, ("answered", ""))[1],
                told=self.answers.get(name, {}),
                instance=self.instances.get(name, ""),
            )
            for name in self.names
        ]

    def mesh(self) -> _status.Mesh:
        return _status.assemble(self.hosts(), NOW)
