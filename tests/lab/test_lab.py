# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab itself: it comes up whole, stays apart from other labs, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import BareLab, LabError, Nat, SystemdLab, netns, podman
from tests.lab.lock import locked
from tests.lab.systemd import default_state

PROJECT = Path(__file__).resolve().parents[2]
PREFIX, OTHER_PREFIX = "tlab", "tlab2"


def interfaces() -> list[str]:
    """The machine's own network interfaces."""
    shown = subprocess.run(["ip", "-json", "link"], check=True, capture_output=True).stdout
    return sorted(link["ifname"] for link in json.loads(shown))


def wgsd_cgroups(prefix: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/wgsd-lab-{prefix}"))


@pytest.mark.lab
class TestBareLab:
    def test_leaves_no_process_and_no_interface_behind(self) -> None:
        before = interfaces()
        with BareLab(PREFIX) as lab:
            device = lab.host("alice").start_wireguard()
            sleeper = lab.host("bob").popen(["sleep", "infinity"])
            assert set(netns.find(PREFIX)) >= {"alice", "bob", "registry", "internet"}
        assert netns.find(PREFIX) == {}
        assert device.process.wait(5) == -signal.SIGKILL
        assert sleeper.wait(5) == -signal.SIGKILL
        assert interfaces() == before

    def test_ends_a_process_that_is_still_on_its_way_into_a_node(self) -> None:
        for _time in range(5):
            with BareLab(PREFIX, []) as lab:
                sleepers = [lab.registry.popen(["sleep", "infinity"]) for _time in range(5)]
            assert {sleeper.wait(5) for sleeper in sleepers} == {-signal.SIGKILL}

    def test_is_removed_after_an_exception_in_its_block(self) -> None:
        with pytest.raises(ZeroDivisionError), BareLab(PREFIX):
            raise ZeroDivisionError
        assert netns.find(PREFIX) == {}

    def test_is_removed_when_it_fails_to_come_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.lab.router.ruleset", lambda *_: "no such rule")
        with pytest.raises(LabError, match="nft"), BareLab(PREFIX):
            pass
        assert netns.find(PREFIX) == {}

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_is_removed_on_a_signal(self, number: signal.Signals) -> None:
        with program_with_a_lab() as program:
            program.send_signal(number)
            program.wait(10)
        assert netns.find(PREFIX) == {}

    def test_that_was_killed_is_removed_by_the_next_of_its_name(self) -> None:
        with program_with_a_lab() as program:
            program.kill()
        stale = netns.find(PREFIX)
        assert "alice" in stale
        with BareLab(PREFIX) as lab:
            assert lab.host("alice").pid != stale["alice"].pid
        assert netns.find(PREFIX) == {}

    def test_stands_beside_another_of_the_same_addresses_and_device_names(self) -> None:
        with BareLab(PREFIX) as one, BareLab(OTHER_PREFIX) as other:
            keys = {lab.host("alice").start_wireguard("wg0").public_key for lab in (one, other)}
            assert len(keys) == 2
            one.host("alice").run(["ping", "-c1", "-W2", "203.0.113.4"])
        assert netns.find(OTHER_PREFIX) == {}

    def test_lets_every_host_call_its_device_wg0_and_reach_the_registry_by_it(self) -> None:
        with BareLab(PREFIX) as lab:
            registry = lab.registry.start_wireguard("wg0", address="10.0.0.254/24")
            for number, name in enumerate(("alice", "bob"), start=1):
                host = lab.host(name)
                peer = host.start_wireguard("wg0", address=f"10.0.0.{number}/24")
                registry.set("peer", peer.public_key, "allowed-ips", f"10.0.0.{number}/32")
                peer.set("peer", registry.public_key, "endpoint", "203.0.113.4:51820")
                peer.set("peer", registry.public_key, "allowed-ips", "10.0.0.254/32")
                host.run(["ping", "-c1", "-W5", "10.0.0.254"])
                assert f"{host.outside}:51820" in registry.show("endpoints")

    def test_is_not_removed_by_another_process_that_wants_its_prefix(self) -> None:
        refused = pytest.raises(LabError, match="another process works on")
        with program_with_a_lab(), refused, locked(PREFIX, patience=0.2):
            pass

    def test_has_the_mission_s_addresses(self) -> None:
        with BareLab(PREFIX) as lab:
            assert lab.registry.address == "203.0.113.4"
            alice, bob = lab.host("alice"), lab.host("bob")
            assert (alice.address, alice.outside) == ("192.168.1.10", "198.51.100.10")
            assert (bob.address, bob.outside) == ("192.168.1.20", "192.0.2.20")

    def test_tells_what_a_failed_command_said(self) -> None:
        with BareLab(PREFIX) as lab, pytest.raises(LabError, match=r"alice: ls /nowhere .*No such"):
            lab.host("alice").run(["ls", "/nowhere"])

    def test_refuses_a_prefix_that_could_not_be_part_of_a_name(self) -> None:
        with pytest.raises(LabError, match="bad prefix"):
            BareLab("no spaces")

    def test_refuses_to_make_a_nat_double_that_was_built_single(self) -> None:
        with BareLab(PREFIX) as lab, pytest.raises(LabError, match="cannot become double"):
            lab.router("a").set_nat("double")


class program_with_a_lab:  # noqa: N801 - reads as a phrase in a with statement
    """Another program that has brought a lab up and sleeps in its block."""

    _SCRIPT = (
        "import signal, sys, time\n"
        # Whoever runs the tests may ignore these, and children inherit that (nohup(1)).
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from tests.lab import BareLab\n"
        "with BareLab(sys.argv[1]):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
    )

    def __enter__(self) -> subprocess.Popen[str]:
        self._program = subprocess.Popen(
            [sys.executable, "-c", self._SCRIPT, PREFIX],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._program.stdout
        assert self._program.stdout.readline() == "up\n"
        return self._program

    def __exit__(self, *_: object) -> None:
        assert self._program.stdout
        self._program.stdout.close()
        self._program.kill()
        self._program.wait()


@pytest.fixture(scope="module")
def systemd_lab() -> Iterator[SystemdLab]:
    with SystemdLab(PREFIX) as lab:
        yield lab


def ssh(lab: SystemdLab, host: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-F", str(lab.access.config), host, *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.systemd
class TestSystemdLab:
    def test_boots_its_hosts_until_systemd_says_running(self, systemd_lab: SystemdLab) -> None:
        for host in systemd_lab.hosts.values():
            assert host.run(["systemctl", "is-system-running"]).stdout == "running\n"
            assert host.run(["hostname", "--fqdn"]).stdout == f"{host.name}\n"

    def test_lets_peers_reach_the_registry_through_their_nats(
        self, systemd_lab: SystemdLab
    ) -> None:
        for name in ("alice", "bob"):
            systemd_lab.host(name).run(["ping", "-c1", "-W2", "203.0.113.4"])

    def test_has_no_way_from_a_host_to_the_machine_s_networks(
        self, systemd_lab: SystemdLab
    ) -> None:
        routes = systemd_lab.node("internet").run(["ip", "route", "show", "default"]).stdout
        assert routes == ""

    def test_is_entered_by_ssh(self, systemd_lab: SystemdLab) -> None:
        for name in systemd_lab.hosts:
            result = ssh(systemd_lab, name, "hostname; systemctl is-system-running")
            assert (result.stdout, result.returncode) == (f"{name}\nrunning\n", 0)

    def test_is_reached_by_ansible_with_its_inventory(self, systemd_lab: SystemdLab) -> None:
        ansible = Path(sys.executable).with_name("ansible")
        result = subprocess.run(
            [ansible, "-i", systemd_lab.inventory, "all", "-m", "ansible.builtin.ping"],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.stdout.count("SUCCESS") == 3, result.stdout + result.stderr

    def test_offers_the_packages_that_roles_install_without_a_network(
        self, systemd_lab: SystemdLab
    ) -> None:
        alice = systemd_lab.host("alice")
        assert alice.run(["which", "wg"], check=False).returncode == 1
        alice.run(["apt-get", "update"])
        alice.run(["apt-get", "install", "-y", "wireguard-tools", "python3-pyroute2"])
        alice.run(["wg", "--version"])

    def test_keeps_the_disk_of_a_host_that_lost_power(self, systemd_lab: SystemdLab) -> None:
        bob = systemd_lab.host("bob")
        bob.run(["tee", "/etc/kept"], stdin="still here")
        bob.kill()
        assert ssh(systemd_lab, "bob", "true").returncode == 255
        with pytest.raises(LabError, match="bob is off"):
            bob.run(["true"])
        bob.start()
        assert ssh(systemd_lab, "bob", "cat", "/etc/kept").stdout == "still here"

    def test_is_taken_up_by_another_process(self, systemd_lab: SystemdLab) -> None:
        systemd_lab.set_nat("a", Nat("symmetric", loss=1))
        again = SystemdLab(PREFIX)
        assert again.attach()
        assert again.router("alice").nat == Nat("symmetric", loss=1)
        assert again.host("alice").pid() == systemd_lab.host("alice").pid()

    def test_stands_beside_another_and_leaves_nothing_behind(self, systemd_lab: SystemdLab) -> None:
        before = interfaces()
        with SystemdLab(OTHER_PREFIX, hosts=["registry", "alice"]) as other:
            assert ssh(other, "alice", "touch", "/only-in-the-other").returncode == 0
            assert ssh(systemd_lab, "alice", "ls", "/only-in-the-other").returncode == 2
            inits = [host.pid() for host in other.hosts.values()]
        assert netns.find(OTHER_PREFIX) == {}
        assert not any(pid and Path(f"/proc/{pid}/exe").exists() for pid in inits)
        assert not podman.run_dir(OTHER_PREFIX).exists()
        assert not default_state(OTHER_PREFIX).exists()
        assert wgsd_cgroups(OTHER_PREFIX) == []
        assert interfaces() == before
        assert OTHER_PREFIX not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")

    def test_is_removed_after_an_exception_in_its_block(self) -> None:
        with pytest.raises(ZeroDivisionError), SystemdLab(OTHER_PREFIX, hosts=["registry"]):
            raise ZeroDivisionError
        assert netns.find(OTHER_PREFIX) == {}
        assert wgsd_cgroups(OTHER_PREFIX) == []


@pytest.mark.systemd
class TestCommandLine:
    def test_brings_a_lab_up_twice_and_takes_it_down(self, tmp_path: Path) -> None:
        here = ["--prefix", OTHER_PREFIX, "--state", str(tmp_path / "state")]
        try:
            assert lab_verb("up", "--hosts", "registry,alice", *here).returncode == 0
            again = lab_verb("up", "--hosts", "registry,alice", *here)
            assert "is up already" in again.stderr
            assert "symmetric" not in lab_verb("status", *here).stdout
            assert lab_verb("nat", *here, "a", "symmetric").returncode == 0
            assert "symmetric" in lab_verb("status", *here).stdout
            assert lab_verb("exec", *here, "alice", "--", "sh", "-c", "exit 7").returncode == 7
            assert lab_verb("stop-host", *here, "alice").returncode == 0
            assert "alice        off" in lab_verb("status", *here).stdout
            assert lab_verb("up", "--hosts", "registry,alice", *here).returncode == 0
            assert "off" not in lab_verb("status", *here).stdout
            refused = lab_verb("up", "--hosts", "registry,carol", *here)
            assert "take it down first" in refused.stderr
        finally:
            lab_verb("down", *here)
        assert lab_verb("status", *here).returncode == 1
        assert not (tmp_path / "state").exists()

    def test_says_how_to_get_a_lab_that_is_not_up(self) -> None:
        result = lab_verb("exec", "--prefix", OTHER_PREFIX, "alice", "--", "true")
        assert "is not up; `up --prefix tlab2` makes it" in result.stderr
        assert result.returncode == 1


def lab_verb(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=600,
    )
