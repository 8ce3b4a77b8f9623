# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""wgsd_resolver on a host of a mesh that boots: who is asked about what by systemd-resolved.

Names of the zone are asked for at the registry's own responder. All other names go to a server
that stands for the host's provider.
"""

from __future__ import annotations

import re
import socket
import threading
import time
import typing as t

import dns.message
import dns.rrset
import pytest

from tests.lab.netns import Node
from tests.lab.podman import Host
from tests.lab.systemd import SystemdLab
from tests.lab.topology import REGISTRY_ADDRESS
from tests.roles.one_task import run_task
from tests.roles.site_playbook import Site

pytestmark = [pytest.mark.roles, pytest.mark.long]

ZONE = "example.com."
REGISTRY = "10.0.0.254"
#: A name in it that has an address, the registry's.
NAME = f"ns1.{ZONE}"
#: What the provider's server answers to every question for an address.
ELSEWHERE = "192.0.2.99"
DROP_IN = "/etc/systemd/system/wg-quick@wg0.service.d"
#: Seconds in which systemd-resolved, and a unit with it, is up.
PATIENCE = 20.0


class Provider:
    """A DNS server for all names, which remembers what it was asked about."""

    def __init__(self, node: Node) -> None:
        self.asked: set[str] = set()
        with node.network():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((REGISTRY_ADDRESS, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            wire, client = self._socket.recvfrom(4096)
            if not wire:
                return
            query = dns.message.from_wire(wire)
            question = query.question[0]
            self.asked.add(question.name.to_text().lower())
            answer = dns.message.make_response(query, recursion_available=True)
            if question.rdtype == 1:
                answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", ELSEWHERE))
            self._socket.sendto(answer.to_wire(), client)

    def close(self, node: Node) -> None:
        with node.network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (REGISTRY_ADDRESS, 53))
        self._thread.join()
        self._socket.close()


class Alice:
    """A peer with systemd-resolved, which asks the provider about everything."""

    def __init__(self, lab: SystemdLab, provider: Provider) -> None:
        self.lab = lab
        self.provider = provider
        self.host: Host = lab.host("alice")

    def task(self, **options: t.Any) -> dict[str, t.Any]:
        options = {"interface": "wg0", "zone": ZONE, "servers": [REGISTRY], **options}
        return run_task(self.lab, "alice", "wgsd_resolver", **options)

    def lookup(self, name: str) -> str:
        """What ``resolvectl query`` says about the address of *name*, or that it says nothing."""
        self.host.run(["resolvectl", "flush-caches"])
        done = self.host.run(["resolvectl", "query", "-4", "--legend=no", name], check=False)
        return done.stdout + done.stderr

    def asks_the_registry(self) -> bool:
        """Whether a name of the zone is found, and nobody but the registry was asked about it."""
        self.provider.asked.clear()
        return REGISTRY in self.lookup(NAME) and NAME not in self.provider.asked

    def wait(self, what: t.Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, self.state()
            time.sleep(0.3)

    def state(self) -> str:
        """What systemd-resolved knows of wg0."""
        verbs = "for v in dns domain default-route; do resolvectl $v wg0; done"
        return re.sub(r"Link \d+", "Link", self.host.run(["sh", "-c", verbs]).stdout)


@pytest.fixture(scope="module")
def alice() -> t.Iterator[Alice]:
    with SystemdLab(prefix="resolver", hosts=("registry", "alice")) as lab:
        Site(lab).build()
        node = lab.host("registry").node
        provider = Provider(node)
        found = Alice(lab, provider)
        # As long as there is no systemd-resolved.
        result = found.task(fails=True)
        assert "apt install systemd-resolved" in result["msg"]
        found.host.run(["apt-get", "install", "-qy", "systemd-resolved"])
        conf = f"[Resolve]\nDNS={REGISTRY_ADDRESS}\n"
        write = "mkdir -p /etc/systemd/resolved.conf.d && cat > /etc/systemd/resolved.conf.d/a.conf"
        found.host.run(["sh", "-c", write], stdin=conf)
        found.host.run(["systemctl", "restart", "systemd-resolved"])
        yield found
        provider.close(node)


@pytest.fixture(autouse=True)
def cleaned(alice: Alice) -> t.Iterator[None]:
    yield
    alice.task(state="absent")


def test_names_of_the_zone_go_to_the_registry_and_no_others_do(alice: Alice) -> None:
    assert ELSEWHERE in alice.lookup(NAME)
    predicted = alice.task(check_mode=True)
    assert ELSEWHERE in alice.lookup(NAME)
    result = alice.task()
    assert predicted["steps"] == result["steps"]
    assert alice.asks_the_registry()
    assert ELSEWHERE in alice.lookup("www.example.net")
    assert "www.example.net." in alice.provider.asked
    assert not alice.task()["changed"]


def test_a_restart_of_systemd_resolved_or_of_the_interface_keeps_it(alice: Alice) -> None:
    alice.task()
    alice.host.run(["systemctl", "restart", "systemd-resolved"])
    assert alice.asks_the_registry(), alice.state()
    assert not alice.task()["changed"]
    alice.host.run(["systemctl", "restart", "wg-quick@wg0"])
    alice.wait(alice.asks_the_registry)
    assert not alice.task()["changed"]


def test_a_boot_keeps_it(alice: Alice) -> None:
    alice.task()
    alice.host.kill()
    alice.host.start()
    alice.host.wait_until_running()
    alice.wait(alice.asks_the_registry)
    assert not alice.task()["changed"]


def test_the_interface_is_not_restarted(alice: Alice) -> None:
    command = ["systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "wg-quick@wg0"]
    before = alice.host.run(command).stdout
    alice.task()
    alice.task(state="absent")
    assert alice.host.run(command).stdout == before


def test_afterwards_everything_is_as_it_was_before(alice: Alice) -> None:
    before = alice.state()
    alice.task()
    assert alice.state() != before
    assert alice.task(state="absent")["changed"]
    assert alice.state() == before
    assert alice.host.run(["test", "-e", DROP_IN], check=False).returncode == 1
    assert ELSEWHERE in alice.lookup(NAME)
    assert not alice.task(state="absent")["changed"]


def test_a_resolver_that_validates_still_finds_the_names(alice: Alice) -> None:
    conf = "/etc/systemd/resolved.conf.d/b.conf"
    alice.host.run(["sh", "-c", f"cat > {conf}"], stdin="[Resolve]\nDNSSEC=yes\n")
    alice.host.run(["systemctl", "restart", "systemd-resolved"])
    try:
        assert "resolvectl dnssec wg0 no" in alice.task()["steps"]
        assert alice.asks_the_registry()
        assert not alice.task()["changed"]
    finally:
        alice.host.run(["rm", conf])
        alice.host.run(["systemctl", "restart", "systemd-resolved"])
